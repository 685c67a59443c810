//! The rows of a join: the records of one key and one stretch of time, of either side, in chunks.
//!
//! Invariant: records are only added behind others, up to [`CHUNK`] of a side in a row, until the stretch is forgotten as a whole. The
//! first row of a stretch has those of both sides, so that mostly one row is all there is of a key; what does not fit goes into further
//! rows, of one side each. The first row says how many of these there are, so that each is looked up by its key and nothing is searched
//! for; and however many records a key has, what an epoch writes again are the first and the last of its rows.

use millpond_engine::codec::{CodecError, Key, KeyCodec, KeyPrefix};
use millpond_engine::dataflow::Origin;
use serde::{Deserialize, Serialize};
use std::hash::{Hash, Hasher};

/// So many records of a side are in one row.
pub(super) const CHUNK: u32 = 64;

/// Records of one key that may still meet those of another stream, as a join of two streams stores them: values `V` of the left stream,
/// and `T` of the right one.
///
/// A plain `&str` stands for a table of that name with [`Bincode`](millpond_engine::codec::Bincode) values at version 0; give
/// [`TableOptions`](millpond_engine::graph::TableOptions) for another codec or version. What is to be told if it meets none is noted
/// beside it, in `<table>.left.unmatched` and `<table>.right.unmatched`.
///
/// # Examples
/// ```
/// use millpond::codec::Json;
/// use millpond::stream::Within;
/// use millpond::{GraphBuilder, TableOptions, Topic};
/// use std::time::Duration;
///
/// let (orders, payments) = (Topic::<u32, u64>::new("orders"), Topic::<u32, u64>::new("payments"));
/// let graph = GraphBuilder::new();
/// let within = Within::after(Duration::from_secs(60)).grace(Duration::from_secs(5));
/// let waiting = TableOptions::with_codec("paid", Json).version(1);
/// graph.stream(&orders).join_within(&graph.stream(&payments), within, waiting, |_, due, paid| (*due, *paid));
/// # graph.build()?;
/// # Ok::<(), millpond::Error>(())
/// ```
#[doc(alias = "StreamJoined")]
#[derive(Debug, Serialize, Deserialize)]
pub struct HeldRecords<V, T> {
    /// How many further rows there are of the left side, and of the right one; the first one knows.
    pub(super) further: (u32, u32),
    pub(super) records: Vec<Held<V, T>>,
}

impl<V: Clone, T: Clone> Clone for HeldRecords<V, T> {
    fn clone(&self) -> Self {
        Self { further: self.further, records: self.records.clone() }
    }

    /// The table keeps what a row was before an epoch, in the same place each time.
    fn clone_from(&mut self, other: &Self) {
        self.further = other.further;
        self.records.clone_from(&other.records);
    }
}

impl<V, T> HeldRecords<V, T> {
    pub(super) fn new() -> Self {
        Self { further: (0, 0), records: Vec::new() }
    }

    pub(super) fn push(&mut self, held: Held<V, T>) {
        let records = &mut self.records;
        if records.len() == records.capacity() {
            // Most keys have one record or two within the bounds, and there are many keys: a list begins with room for four.
            records.reserve_exact(records.len().max(1));
        }
        records.push(held);
    }

    /// How many records of a side are in this row.
    pub(super) fn count(&self, is_right: bool) -> u32 {
        let records = self.records.iter().filter(|held| held.value.is_right() == is_right);
        u32::try_from(records.count()).unwrap_or(u32::MAX)
    }
}

/// A record that waits.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Held<V, T> {
    pub(super) timestamp_ms: i64,
    pub(super) stream_time_ms: i64,
    pub(super) origin: Origin,
    /// Whether it has met another, if anybody is to know.
    pub(super) is_matched: bool,
    pub(super) value: Either<V, T>,
}

/// What a record of the left stream says, or one of the right stream.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum Either<V, T> {
    Left(V),
    Right(T),
}

impl<V, T> Either<V, T> {
    pub(super) fn is_right(&self) -> bool {
        matches!(self, Self::Right(_))
    }
}

/// A row: which stretch of time, the key, and the number of the row among those of both.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Stretch<K> {
    pub(super) number: i64,
    pub(super) key: K,
    pub(super) row: u32,
}

/// The number of the `index`th further row of a side, counted from 0, among the rows of a stretch.
pub(super) fn further_row(index: u32, is_right: bool) -> u32 {
    index.saturating_mul(2).saturating_add(1 + u32::from(is_right))
}

/// Whether a further row is one of the right side.
pub(super) fn is_right_row(row: u32) -> bool {
    row.is_multiple_of(2)
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
        let held = |timestamp_ms, value: Either<u8, char>| Held {
            timestamp_ms,
            stream_time_ms: 7,
            origin: Stamp::new(0, 5).origin(),
            is_matched: true,
            value,
        };
        let records = vec![held(-2, Either::Left(9)), held(3, Either::Right('x'))];
        let row = HeldRecords { further: (4, 0), records };
        let mut bytes = Vec::new();
        Bincode.encode(&row, &mut bytes).unwrap();
        assert_eq!(bytes, [4, 0, 2, 3, 14, 5, 0, 0, 1, 0, 9, 6, 14, 5, 0, 0, 1, 1, b'x']);
        assert_eq!((row.count(false), row.count(true)), (1, 1));
        assert_eq!([further_row(0, false), further_row(0, true), further_row(1, false)], [1, 2, 3]);
    }
}
