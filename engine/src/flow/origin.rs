//! Origins: what tells values apart that wait for their time, and keeps their order.
//!
//! Invariant: origins are ordered as the stamps are from which they were taken, and a stored one is what it was when it was taken.

use super::Stamp;
use crate::codec::{CodecError, KeyCodec};
use serde::{Deserialize, Serialize};

/// Which value of a node it is: the place of its record in the log, and how it was made from it. Unlike a [`Stamp`] it can be
/// stored, as a key or within a value.
///
/// # Examples
/// ```
/// use millpond::dataflow::Stamp;
///
/// let (first, second) = (Stamp::new(9, 1), Stamp::new(5, 2));
/// assert!(first.origin() < second.origin(), "times play no part");
/// assert!(second.branch(0).origin() < second.branch(1).origin());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Origin {
    pub(super) sequence: u64,
    /// The halves of the branch.
    pub(super) branch: (u64, u64),
}

impl Origin {
    /// No other stands before it.
    pub const FIRST: Self = Self { sequence: 0, branch: (0, 0) };

    /// No other stands behind it.
    pub const LAST: Self = Self { sequence: u64::MAX, branch: (u64::MAX, u64::MAX) };
}

impl Stamp {
    /// What tells the value with this stamp from all others of its node.
    #[must_use]
    pub fn origin(&self) -> Origin {
        Origin { sequence: self.sequence, branch: self.branch.halves() }
    }
}

/// As three integers.
impl KeyCodec for Origin {
    fn encode_key(&self, out: &mut Vec<u8>) {
        self.sequence.encode_key(out);
        self.branch.encode_key(out);
    }

    fn decode_key(input: &mut &[u8]) -> Result<Self, CodecError> {
        Ok(Self { sequence: u64::decode_key(input)?, branch: <(u64, u64)>::decode_key(input)? })
    }

    fn key_schema() -> String {
        "origin".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_origins_keep_the_order_of_stamps() {
        let record = |place| Stamp::new(-7, place);
        let closed = |key: &[u8]| Stamp::of_closing(40, key, 39);
        let stamps = [
            record(3),
            record(3).branch(0),
            record(3).branch(1),
            record(300),
            closed(b"a"),
            closed(b"b"),
            closed(b"b").branch(0),
        ];
        let encoded = stamps.map(|stamp| {
            let mut bytes = Vec::new();
            stamp.origin().encode_key(&mut bytes);
            assert_eq!(Origin::decode_whole_key(&bytes).unwrap(), stamp.origin());
            bytes
        });
        assert!(encoded.is_sorted_by(|a, b| a < b));
        let golden = [0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(encoded[0], golden);
    }

    #[test]
    fn what_is_let_go_keeps_the_order_of_times_and_then_of_origins() {
        let released = |close_ms, stamp: Stamp| Stamp::of_release(close_ms, stamp.origin(), close_ms - 1);
        let record = |place| Stamp::new(0, place);
        let deep = (0..30).fold(record(9), |stamp, _| stamp.branch(40));
        let stamps = [
            record(u64::MAX >> 1),
            released(-5, record(7)),
            released(40, record(3).branch(1)),
            released(40, record(3).branch(2)),
            released(40, record(3).branch(70_000)),
            released(40, record(4)),
            released(40, deep),
            released(40, record(10)),
            released(40, Stamp::of_closing(20, b"a", 19)),
            released(41, record(1)),
        ];
        assert!(stamps.is_sorted_by(|a, b| a < b));
        assert_eq!(stamps[2].stream_time_ms, 39);
    }
}
