//! The rows of versions: of one key together, in the order in which one replaces the other.
//!
//! One row has no key: it says up to where versions may be gone.

use millpond_engine::codec::{CodecError, KeyCodec};
use millpond_engine::dataflow::{Origin, Stamp};
use serde::{Deserialize, Serialize};
use std::hash::{Hash, Hasher};

/// The key of a version, as the table of [versions](super::VersionedTable::versions) has it: versions of a key are ordered by their
/// time, and those of one time in the order in which they replace each other.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VersionKey<K> {
    pub(crate) key: Option<K>,
    pub(crate) order: VersionOrder,
}

/// Which of two versions of a key replaces the other: the one that happened later; of those that happened at one time the one whose
/// partition had come further, and then the one that stands behind in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct VersionOrder {
    pub(crate) timestamp_ms: i64,
    pub(crate) stream_time_ms: i64,
    pub(crate) origin: Origin,
}

impl VersionOrder {
    pub(crate) fn of(stamp: &Stamp) -> Self {
        let Stamp { timestamp_ms, stream_time_ms, .. } = *stamp;
        Self { timestamp_ms, stream_time_ms, origin: stamp.origin() }
    }

    /// Before all versions of `timestamp_ms`.
    pub(crate) fn before(timestamp_ms: i64) -> Self {
        Self { timestamp_ms, stream_time_ms: i64::MIN, origin: Origin::FIRST }
    }

    /// Behind all versions of `timestamp_ms`.
    pub(crate) fn behind(timestamp_ms: i64) -> Self {
        Self { timestamp_ms, stream_time_ms: i64::MAX, origin: Origin::LAST }
    }
}

impl<K> VersionKey<K> {
    pub(crate) fn new(key: K, order: VersionOrder) -> Self {
        Self { key: Some(key), order }
    }

    /// The row that says up to where versions may be gone.
    pub(crate) fn bound() -> Self {
        Self { key: None, order: VersionOrder::before(0) }
    }
}

impl<K: KeyCodec + Hash> KeyCodec for VersionKey<K> {
    fn encode_key(&self, out: &mut Vec<u8>) {
        self.key.encode_key(out);
        self.order.timestamp_ms.encode_key(out);
        self.order.stream_time_ms.encode_key(out);
        self.order.origin.encode_key(out);
    }

    fn decode_key(input: &mut &[u8]) -> Result<Self, CodecError> {
        let key = Option::decode_key(input)?;
        let (timestamp_ms, stream_time_ms) = (i64::decode_key(input)?, i64::decode_key(input)?);
        let origin = Origin::decode_key(input)?;
        Ok(Self { key, order: VersionOrder { timestamp_ms, stream_time_ms, origin } })
    }

    fn key_schema() -> String {
        format!("version({})", K::key_schema())
    }

    fn key_shape() -> String {
        format!("version({})", K::key_shape())
    }

    /// All versions of a key are where the key is.
    fn hash_route<H: Hasher>(&self, state: &mut H) {
        if let Some(key) = &self.key {
            key.hash_route(state);
        }
    }
}

/// The row of a version, as the table of [versions](super::VersionedTable::versions) has it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct VersionRow<V>(pub(crate) Row<V>);

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Row<V> {
    Put(V),
    /// The key was deleted.
    Delete,
    /// Of the row without a key: what lies before may be gone.
    Bound(i64),
}

impl<V> VersionRow<V> {
    /// The value, if the key was not deleted.
    pub(crate) fn into_value(self) -> Option<V> {
        match self.0 {
            Row::Put(value) => Some(value),
            Row::Delete | Row::Bound(_) => None,
        }
    }

    pub(crate) fn is_delete(&self) -> bool {
        matches!(self.0, Row::Delete)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn version_keys_have_their_golden_bytes() {
        let order = VersionOrder { timestamp_ms: 1, stream_time_ms: -1, origin: Stamp::new(0, 2).origin() };
        let mut bytes = Vec::new();
        VersionKey::new(3_u8, order).encode_key(&mut bytes);
        let mut golden = vec![1, 3, 0x80, 0, 0, 0, 0, 0, 0, 1, 0x7f, 255, 255, 255, 255, 255, 255, 255];
        golden.extend([0, 0, 0, 0, 0, 0, 0, 2]);
        golden.extend([0; 16]);
        assert_eq!(bytes, golden);
    }

    proptest! {
        #[test]
        fn version_keys_round_trip_and_keep_their_order(
            parts in prop::collection::vec((prop::option::of(-2..2_i16), -3..3_i64, -3..3_i64, 0..3_u64), 2),
        ) {
            let keys: Vec<_> = parts
                .into_iter()
                .map(|(key, timestamp_ms, stream_time_ms, place)| {
                    let origin = Stamp::new(0, place).origin();
                    VersionKey { key, order: VersionOrder { timestamp_ms, stream_time_ms, origin } }
                })
                .collect();
            let encoded: Vec<_> = keys
                .iter()
                .map(|key| {
                    let mut bytes = Vec::new();
                    key.encode_key(&mut bytes);
                    bytes
                })
                .collect();
            prop_assert_eq!(keys[0].cmp(&keys[1]), encoded[0].cmp(&encoded[1]));
            prop_assert_eq!(&VersionKey::decode_whole_key(&encoded[0]).unwrap(), &keys[0]);
        }
    }
}
