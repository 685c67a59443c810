//! The laws of [`ValueCodec`] and [`KeyCodec`].
//!
//! A decoder that aborts the process (by allocating what a hostile length asks for) cannot be caught here: the
//! test run itself then ends.

use super::{Laws, Violation, agree};
use millpond_engine::codec::{CodecError, KeyCodec, ValueCodec};
use proptest::arbitrary::any;
use proptest::collection::vec;
use proptest::strategy::Strategy;
use std::fmt::Debug;

/// What happens to an encoding on its way: bytes overwritten, cut off, added.
type Damage = (Vec<(usize, u8)>, usize, Vec<u8>);

impl Laws {
    /// See [`laws::value_codec`](super::value_codec).
    ///
    /// # Errors
    /// The law that is broken.
    pub fn value_codec<V, C>(&self, codec: &C, values: impl Strategy<Value = V>) -> Result<(), Violation>
    where
        V: PartialEq + Debug,
        C: ValueCodec<V>,
    {
        self.check("a value survives its encoding", &values, |value| {
            agree(&value, &whole(codec.decode(&encoded(codec, &value)?))?)
        })?;
        self.check("an encoder only appends", &(&values, any::<[u8; 3]>()), |(value, before)| {
            let mut out = before.to_vec();
            codec.encode(&value, &mut out).map_err(|error| error.to_string())?;
            agree(&[before.to_vec(), encoded(codec, &value)?].concat(), &out)
        })?;
        // In a text format white space belongs to the value, and so do more digits of a fraction.
        let extra = any::<u8>()
            .prop_filter("text goes on", |byte| !byte.is_ascii_whitespace() && !byte.is_ascii_digit());
        self.check("trailing bytes are not ignored", &(&values, extra), |(value, extra)| {
            let mut bytes = encoded(codec, &value)?;
            bytes.push(extra);
            // Another value is well and good: a codec of raw bytes reads whatever there is.
            if codec.decode(&bytes).is_ok_and(|other| other == value) {
                Err(format!("{bytes:?} decoded to {value:?} as well"))
            } else {
                Ok(())
            }
        })?;
        self.check("decoding never panics", &(&values, damage()), |(value, damage)| {
            // Whether damaged bytes still mean something is up to the layout.
            let _: Result<V, CodecError> = codec.decode(&damaged(encoded(codec, &value)?, &damage));
            Ok(())
        })
    }

    /// See [`laws::key_codec`](super::key_codec).
    ///
    /// # Errors
    /// The law that is broken.
    pub fn key_codec<K>(&self, keys: impl Strategy<Value = K>) -> Result<(), Violation>
    where
        K: KeyCodec + Ord + Debug,
    {
        self.check("a key survives its encoding", &(&keys, any::<[u8; 3]>()), |(key, after)| {
            let bytes = [encoded_key(&key), after.to_vec()].concat();
            let mut rest = bytes.as_slice();
            agree(&key, &whole(K::decode_key(&mut rest))?)?;
            agree(&after.as_slice(), &rest).map_err(|reason| format!("what follows the key: {reason}"))
        })?;
        let pairs = (&keys, &keys);
        self.check("the order of the bytes is the order of the keys", &pairs, |(a, b)| {
            agree(&a.cmp(&b), &encoded_key(&a).cmp(&encoded_key(&b)))
        })?;
        self.check("no key is a prefix of another", &pairs, |(a, b)| {
            let (first, second) = (encoded_key(&a), encoded_key(&b));
            let is_prefix = first != second && second.starts_with(&first);
            if is_prefix { Err(format!("{second:?} starts with {first:?}")) } else { Ok(()) }
        })?;
        self.check("decoding accepts exactly what encoding wrote", &(&keys, damage()), |(key, damage)| {
            let bytes = damaged(encoded_key(&key), &damage);
            let mut rest = bytes.as_slice();
            match K::decode_key(&mut rest) {
                Err(_) => Ok(()),
                Ok(other) => {
                    let read = bytes.strip_suffix(rest).unwrap_or_default();
                    agree(&encoded_key(&other).as_slice(), &read)
                        .map_err(|reason| format!("{read:?} decoded to {other:?}: {reason}"))
                }
            }
        })
    }
}

fn encoded<V, C: ValueCodec<V>>(codec: &C, value: &V) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    codec.encode(value, &mut bytes).map_err(|error| format!("does not encode: {error}"))?;
    Ok(bytes)
}

fn encoded_key<K: KeyCodec>(key: &K) -> Vec<u8> {
    let mut bytes = Vec::new();
    key.encode_key(&mut bytes);
    bytes
}

fn whole<T>(decoded: Result<T, CodecError>) -> Result<T, String> {
    decoded.map_err(|error| format!("does not decode what it encoded: {error}"))
}

fn damage() -> impl Strategy<Value = Damage> {
    (vec((0_usize..64, any::<u8>()), 0..4), 0_usize..16, vec(any::<u8>(), 0..16))
}

fn damaged(mut bytes: Vec<u8>, (overwritten, cut, added): &Damage) -> Vec<u8> {
    for &(at, byte) in overwritten {
        if let Some(index) = at.checked_rem(bytes.len())
            && let Some(place) = bytes.get_mut(index)
        {
            *place = byte;
        }
    }
    bytes.truncate(bytes.len().saturating_sub(*cut));
    bytes.extend(added);
    bytes
}
