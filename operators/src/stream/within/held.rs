//! The rows of a join: the records of one key and one stretch of time, in chunks.
//!
//! Invariant: records are only added behind others, up to [`CHUNK`] in a row, until all rows of the stretch go at once. The first row of
//! a stretch says how many there are, so that each is looked up by its key and nothing is searched for; and however many records a
//! key has, what an epoch writes again is the last of its rows.

use millpond_engine::codec::{CodecError, Key, KeyCodec, KeyPrefix};
use millpond_engine::dataflow::Origin;
use serde::{Deserialize, Serialize};
use std::hash::{Hash, Hasher};

/// So many records are in one row.
pub(super) const CHUNK: usize = 64;

/// Records of one key that wait for those of another stream, as a join stores them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct HeldRecords<V> {
    /// How many rows the stretch has; the first one knows.
    pub(super) rows: u32,
    pub(super) records: Vec<Held<V>>,
}

impl<V> HeldRecords<V> {
    pub(super) fn new() -> Self {
        Self { rows: 1, records: Vec::new() }
    }
}

/// A record that waits.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Held<V> {
    pub(super) timestamp_ms: i64,
    pub(super) stream_time_ms: i64,
    pub(super) origin: Origin,
    /// Whether it has met another, as far as anybody is to know.
    pub(super) is_matched: bool,
    pub(super) value: V,
}

/// A row: which stretch of time, the key, and the number of the row among those of both.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Stretch<K> {
    pub(super) number: i64,
    pub(super) key: K,
    pub(super) row: u32,
}

impl<K: KeyCodec + Hash> KeyCodec for Stretch<K> {
    fn encode_key(&self, out: &mut Vec<u8>) {
        self.number.encode_key(out);
        self.key.encode_key(out);
        self.row.encode_key(out);
    }

    fn decode_key(input: &mut &[u8]) -> Result<Self, CodecError> {
        Ok(Self { number: i64::decode_key(input)?, key: K::decode_key(input)?, row: u32::decode_key(input)? })
    }

    fn key_schema() -> String {
        format!("stretch({})", K::key_schema())
    }

    fn key_shape() -> String {
        format!("stretch({})", K::key_shape())
    }

    /// What waits is where its key is.
    fn hash_route<H: Hasher>(&self, state: &mut H) {
        self.key.hash_route(state);
    }
}

/// The number of a stretch, as the beginning of its rows.
pub(super) struct StretchNumber(pub(super) i64);

impl<K: Key> KeyPrefix<Stretch<K>> for StretchNumber {
    fn encode_prefix(&self, out: &mut Vec<u8>) {
        self.0.encode_key(out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use millpond_engine::codec::{Bincode, ValueCodec};
    use millpond_engine::dataflow::Stamp;

    #[test]
    fn stretches_have_their_golden_bytes() {
        let stretch = Stretch { number: -1, key: 2_i16, row: 3 };
        let mut bytes = Vec::new();
        stretch.encode_key(&mut bytes);
        assert_eq!(bytes, [0x7f, 255, 255, 255, 255, 255, 255, 255, 0x80, 2, 0, 0, 0, 3]);
        assert_eq!(Stretch::decode_whole_key(&bytes).unwrap(), stretch);
    }

    #[test]
    fn records_that_wait_have_their_golden_bytes() {
        let origin = Stamp::new(0, 5).origin();
        let held = Held { timestamp_ms: -2, stream_time_ms: 7, origin, is_matched: true, value: 9_u8 };
        let mut bytes = Vec::new();
        Bincode.encode(&HeldRecords { rows: 1, records: vec![held] }, &mut bytes).unwrap();
        assert_eq!(bytes, [1, 1, 3, 14, 5, 0, 0, 1, 9]);
    }
}
