//! Moments: the keys of rows that wait for their time.
//!
//! Invariant: rows of one time lie together, so that what is due is a range of the table, and nothing else of it is read.

use millpond_engine::codec::{CodecError, Key, KeyCodec, KeyPrefix};
use millpond_engine::dataflow::Origin;
use std::hash::{Hash, Hasher};

/// A value of a key that waits: when it happened, which one it is, and its key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Moment<K> {
    pub(crate) timestamp_ms: i64,
    pub(crate) origin: Origin,
    pub(crate) key: K,
}

impl<K: KeyCodec + Hash> KeyCodec for Moment<K> {
    fn encode_key(&self, out: &mut Vec<u8>) {
        self.timestamp_ms.encode_key(out);
        self.origin.encode_key(out);
        self.key.encode_key(out);
    }

    fn decode_key(input: &mut &[u8]) -> Result<Self, CodecError> {
        Ok(Self {
            timestamp_ms: i64::decode_key(input)?,
            origin: Origin::decode_key(input)?,
            key: K::decode_key(input)?,
        })
    }

    fn key_schema() -> String {
        format!("moment({})", K::key_schema())
    }

    fn key_shape() -> String {
        format!("moment({})", K::key_shape())
    }

    /// What waits is where its key is.
    fn hash_route<H: Hasher>(&self, state: &mut H) {
        self.key.hash_route(state);
    }
}

/// A time, as the beginning of moments.
#[derive(PartialEq, PartialOrd)]
pub(crate) struct Time(pub(crate) i64);

impl<K: Key> KeyPrefix<Moment<K>> for Time {
    fn encode_prefix(&self, out: &mut Vec<u8>) {
        self.0.encode_key(out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use millpond_engine::dataflow::Stamp;
    use proptest::prelude::*;

    #[test]
    fn moments_have_their_golden_bytes() {
        let mut bytes = Vec::new();
        Moment { timestamp_ms: 1, origin: Stamp::new(0, 2).origin(), key: 3_u8 }.encode_key(&mut bytes);
        let mut golden = vec![0x80, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2];
        golden.extend([0; 16]);
        golden.push(3);
        assert_eq!(bytes, golden);
    }

    proptest! {
        #[test]
        fn moments_round_trip_and_keep_their_order(
            parts in prop::collection::vec((-3..3_i64, 0..3_u64, -2..2_i16), 2),
        ) {
            let moments: Vec<_> = parts
                .into_iter()
                .map(|(timestamp_ms, place, key)| {
                    Moment { timestamp_ms, origin: Stamp::new(0, place).origin(), key }
                })
                .collect();
            let encoded: Vec<_> = moments
                .iter()
                .map(|moment| {
                    let mut bytes = Vec::new();
                    moment.encode_key(&mut bytes);
                    bytes
                })
                .collect();
            prop_assert_eq!(moments[0].cmp(&moments[1]), encoded[0].cmp(&encoded[1]));
            prop_assert_eq!(&Moment::decode_whole_key(&encoded[0]).unwrap(), &moments[0]);
        }
    }
}
