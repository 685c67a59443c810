//! The key of a row of windows: a window, and the key of a group.

use millpond_engine::codec::{CodecError, Key, KeyCodec, KeyPrefix};
use std::cmp::Ordering;
use std::hash::{Hash, Hasher};

/// A group within a window: the key of what is folded by windows.
///
/// They are ordered by where the window begins, then where it ends, then by the group: rows of one time lie together.
///
/// Stored: the beginning as other integers are, the length of the window as the number of its bytes and these, and the key.
///
/// # Examples
/// ```
/// use millpond::Windowed;
///
/// let mut keys = [Windowed::new(60_000, 120_000, "b"), Windowed::new(0, 60_000, "c"), Windowed::new(60_000, 120_000, "a")];
/// keys.sort();
/// assert_eq!(keys.map(|windowed| windowed.key), ["c", "a", "b"]);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Windowed<K> {
    /// The first millisecond of the window, since the Unix epoch.
    pub start_ms: i64,
    /// The first millisecond after the window.
    pub end_ms: i64,
    /// The key of the group.
    pub key: K,
}

impl<K> Windowed<K> {
    /// The group `key` in the window from `start_ms` up to, but without, `end_ms`.
    pub fn new(start_ms: i64, end_ms: i64, key: K) -> Self {
        Self { start_ms, end_ms, key }
    }
}

impl<K: Ord> Ord for Windowed<K> {
    fn cmp(&self, other: &Self) -> Ordering {
        let windows = (self.start_ms, self.end_ms).cmp(&(other.start_ms, other.end_ms));
        windows.then_with(|| self.key.cmp(&other.key))
    }
}

impl<K: Ord> PartialOrd for Windowed<K> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<K: KeyCodec + Hash> KeyCodec for Windowed<K> {
    fn encode_key(&self, out: &mut Vec<u8>) {
        self.start_ms.encode_key(out);
        encode_length(self.start_ms, self.end_ms, out);
        self.key.encode_key(out);
    }

    fn decode_key(input: &mut &[u8]) -> Result<Self, CodecError> {
        let start_ms = i64::decode_key(input)?;
        let end_ms = start_ms.wrapping_add(decode_length(input)?.cast_signed());
        if end_ms < start_ms {
            return Err(CodecError::new("a window ends before it begins"));
        }
        Ok(Self { start_ms, end_ms, key: K::decode_key(input)? })
    }

    fn key_schema() -> String {
        format!("windowed({})", K::key_schema())
    }

    fn key_shape() -> String {
        format!("windowed({})", K::key_shape())
    }

    /// All windows of a group are where the group is.
    fn hash_route<H: Hasher>(&self, state: &mut H) {
        self.key.hash_route(state);
    }
}

/// Appends how long a window is. Of two that begin together, or end, the shorter one stands first, and has no more bytes.
pub(super) fn encode_length(start_ms: i64, end_ms: i64, out: &mut Vec<u8>) {
    let length = end_ms.wrapping_sub(start_ms).cast_unsigned();
    let bytes = length.to_be_bytes();
    let zeros = (length.leading_zeros() / 8) as usize;
    let significant = bytes.get(zeros..).unwrap_or_default();
    out.push(u8::try_from(significant.len()).unwrap_or(8));
    out.extend_from_slice(significant);
}

/// How long a window is, from the front of `input`.
pub(super) fn decode_length(input: &mut &[u8]) -> Result<u64, CodecError> {
    let refuse = || CodecError::new("the length of a window is cut off, or longer than it has to be");
    let count = usize::from(u8::decode_key(input)?);
    let (significant, rest) = input.split_at_checked(count).ok_or_else(refuse)?;
    if count > 8 || significant.first() == Some(&0) {
        return Err(refuse());
    }
    *input = rest;
    Ok(significant.iter().fold(0_u64, |length, byte| (length << 8) | u64::from(*byte)))
}

/// Where windows begin, as the beginning of their keys: all groups of a time.
///
/// # Examples
/// ```
/// use millpond::testing::Driver;
/// use millpond::stream::{Tumbling, WindowStart};
/// use millpond::{GraphBuilder, Topic, Windowed};
/// use std::time::Duration;
///
/// let clicks = Topic::<u32, u64>::new("clicks");
/// let graph = GraphBuilder::new();
/// let minutes = Tumbling::of(Duration::from_secs(60)).grace(Duration::ZERO);
/// let counts = graph.stream(&clicks).group_by_key().windowed(minutes).count("counts");
/// let mut driver = Driver::new(&graph.build()?)?;
/// for (page, at) in [(7, 1_000), (8, 2_000), (7, 61_000)] {
///     driver.put(&clicks, page, 1, at)?;
/// }
/// driver.run()?;
/// let view = driver.view(counts.table())?;
/// let first: Vec<_> = view.prefix(&WindowStart(0))?.collect::<Result<_, _>>()?;
/// assert_eq!(first, [(Windowed::new(0, 60_000, 7), 1), (Windowed::new(0, 60_000, 8), 1)]);
/// # Ok::<(), millpond::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WindowStart(pub i64);

impl<K: Key> KeyPrefix<Windowed<K>> for WindowStart {
    fn encode_prefix(&self, out: &mut Vec<u8>) {
        self.0.encode_key(out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encoded(windowed: &Windowed<i16>) -> Vec<u8> {
        let mut bytes = Vec::new();
        windowed.encode_key(&mut bytes);
        bytes
    }

    #[test]
    fn a_windowed_key_has_its_golden_bytes() {
        let bytes = encoded(&Windowed::new(-1, 299, 2));
        assert_eq!(bytes, [0x7f, 255, 255, 255, 255, 255, 255, 255, 2, 1, 0x2c, 0x80, 2]);
        let all = encoded(&Windowed::new(i64::MIN, i64::MAX, 0));
        assert_eq!(all[..], [0, 0, 0, 0, 0, 0, 0, 0, 8, 255, 255, 255, 255, 255, 255, 255, 255, 0x80, 0]);
        assert!(Windowed::<i16>::decode_whole_key(&[&[0x80; 8][..], &[2, 0, 1, 0x80, 0]].concat()).is_err());
    }

    proptest! {
        #[test]
        fn windowed_keys_round_trip_and_keep_their_order(
            windows in prop::collection::vec((any::<i64>(), any::<u64>(), -2..2_i16), 2),
            near in any::<bool>(),
        ) {
            let keys: Vec<_> = windows
                .into_iter()
                .map(|(start, length, key)| {
                    let (start, length) = if near { (start % 3, length % 700) } else { (start, length) };
                    Windowed::new(start, start.saturating_add(i64::try_from(length).unwrap_or(i64::MAX)), key)
                })
                .collect();
            let bytes: Vec<_> = keys.iter().map(encoded).collect();
            prop_assert_eq!(keys[0].cmp(&keys[1]), bytes[0].cmp(&bytes[1]));
            prop_assert_eq!(Windowed::decode_whole_key(&bytes[0]).unwrap(), keys[0]);
        }
    }
}
