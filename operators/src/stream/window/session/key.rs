//! The key of a row of sessions: a session, and the key of a group.

use crate::stream::window::Windowed;
use crate::stream::window::windowed::{decode_length, encode_length};
use millpond_engine::codec::{CodecError, Key, KeyCodec, KeyPrefix};
use std::cmp::Ordering;
use std::hash::{Hash, Hasher};

/// A group within a session: the key of what is folded by sessions. It is what [`Windowed`] is for other windows.
///
/// They are ordered by where the session ends, then by how long it is, then by the group: those lie together that are closed together, and
/// forgotten.
///
/// Stored: the end as other integers are, the length of the session as the number of its bytes and these, and the key.
///
/// # Examples
/// ```
/// use millpond::Windowed;
/// use millpond::stream::SessionKey;
///
/// let mut keys = [SessionKey::new(60, 90, "b"), SessionKey::new(0, 100, "c"), SessionKey::new(10, 90, "a")];
/// keys.sort();
/// assert_eq!(keys.map(|session| session.key), ["b", "a", "c"]);
/// assert_eq!(Windowed::from(keys[0]), Windowed::new(60, 90, "b"));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SessionKey<K> {
    /// When its first record was, in milliseconds since the Unix epoch.
    pub start_ms: i64,
    /// The first millisecond after its last record.
    pub end_ms: i64,
    /// The key of the group.
    pub key: K,
}

impl<K> SessionKey<K> {
    /// The group `key` in the session from `start_ms` up to, but without, `end_ms`.
    pub fn new(start_ms: i64, end_ms: i64, key: K) -> Self {
        Self { start_ms, end_ms, key }
    }

    fn place(&self) -> (i64, u64) {
        (self.end_ms, self.end_ms.wrapping_sub(self.start_ms).cast_unsigned())
    }
}

impl<K> From<SessionKey<K>> for Windowed<K> {
    fn from(SessionKey { start_ms, end_ms, key }: SessionKey<K>) -> Self {
        Self { start_ms, end_ms, key }
    }
}

impl<K> From<Windowed<K>> for SessionKey<K> {
    fn from(Windowed { start_ms, end_ms, key }: Windowed<K>) -> Self {
        Self { start_ms, end_ms, key }
    }
}

impl<K: Ord> Ord for SessionKey<K> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.place().cmp(&other.place()).then_with(|| self.key.cmp(&other.key))
    }
}

impl<K: Ord> PartialOrd for SessionKey<K> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<K: KeyCodec + Hash> KeyCodec for SessionKey<K> {
    fn encode_key(&self, out: &mut Vec<u8>) {
        self.end_ms.encode_key(out);
        encode_length(self.start_ms, self.end_ms, out);
        self.key.encode_key(out);
    }

    fn decode_key(input: &mut &[u8]) -> Result<Self, CodecError> {
        let end_ms = i64::decode_key(input)?;
        let start_ms = end_ms.wrapping_sub(decode_length(input)?.cast_signed());
        if end_ms < start_ms {
            return Err(CodecError::new("a session ends before it begins"));
        }
        Ok(Self { start_ms, end_ms, key: K::decode_key(input)? })
    }

    fn key_schema() -> String {
        format!("session({})", K::key_schema())
    }

    fn key_shape() -> String {
        format!("session({})", K::key_shape())
    }

    /// All sessions of a group are where the group is.
    fn hash_route<H: Hasher>(&self, state: &mut H) {
        self.key.hash_route(state);
    }
}

/// Where sessions end, as the beginning of their keys: all groups of a time.
///
/// # Examples
/// ```
/// use millpond::stream::{Session, SessionEnd, SessionKey};
/// use millpond::testing::Driver;
/// use millpond::{GraphBuilder, Topic};
/// use std::time::Duration;
///
/// let clicks = Topic::<u32, u64>::new("clicks");
/// let graph = GraphBuilder::new();
/// let sessions = Session::gap(Duration::from_secs(30)).grace(Duration::ZERO);
/// let counts = graph.stream(&clicks).group_by_key().windowed(sessions).count("counts");
/// let mut driver = Driver::new(&graph.build()?)?;
/// for (user, at) in [(7, 1_000), (8, 2_000), (7, 9_000)] {
///     driver.put(&clicks, user, 1, at)?;
/// }
/// driver.run()?;
/// let ended: Vec<_> = driver.view(counts.table())?.prefix(&SessionEnd(9_001))?.collect::<Result<_, _>>()?;
/// assert_eq!(ended, [(SessionKey::new(1_000, 9_001, 7), 2)]);
/// # Ok::<(), millpond::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionEnd(pub i64);

impl<K: Key> KeyPrefix<SessionKey<K>> for SessionEnd {
    fn encode_prefix(&self, out: &mut Vec<u8>) {
        self.0.encode_key(out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encoded(session: &SessionKey<i16>) -> Vec<u8> {
        let mut bytes = Vec::new();
        session.encode_key(&mut bytes);
        bytes
    }

    #[test]
    fn a_key_of_sessions_has_its_golden_bytes() {
        let bytes = encoded(&SessionKey::new(-1, 299, 2));
        assert_eq!(bytes, [0x80, 0, 0, 0, 0, 0, 1, 43, 2, 1, 0x2c, 0x80, 2]);
        let all = encoded(&SessionKey::new(i64::MIN, i64::MAX, 0));
        assert_eq!(
            all[..],
            [255, 255, 255, 255, 255, 255, 255, 255, 8, 255, 255, 255, 255, 255, 255, 255, 255, 0x80, 0]
        );
        assert!(SessionKey::<i16>::decode_whole_key(&[&[0; 8][..], &[1, 1, 0x80, 0]].concat()).is_err());
    }

    proptest! {
        #[test]
        fn keys_of_sessions_round_trip_and_keep_their_order(
            sessions in prop::collection::vec((any::<i64>(), any::<u64>(), -2..2_i16), 2),
            near in any::<bool>(),
        ) {
            let keys: Vec<_> = sessions
                .into_iter()
                .map(|(end, length, key)| {
                    let (end, length) = if near { (end % 3, length % 700) } else { (end, length) };
                    SessionKey::new(end.saturating_sub_unsigned(length), end, key)
                })
                .collect();
            let bytes: Vec<_> = keys.iter().map(encoded).collect();
            prop_assert_eq!(keys[0].cmp(&keys[1]), bytes[0].cmp(&bytes[1]));
            prop_assert_eq!(SessionKey::decode_whole_key(&bytes[0]).unwrap(), keys[0]);
        }
    }
}
