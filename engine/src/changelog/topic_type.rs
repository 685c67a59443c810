//! What a topic holds, as a changelog remembers it: codecs and shapes of keys and values.
//!
//! The first who declares a topic decides. Later ones must be able to read whatever was written before them, as far as
//! the codec allows its types to grow; a raised revision replaces what was remembered. The stored form is
//! `format u8, kind u8`, and for one type (kind 0) `revision varint` and three texts with their lengths: codec of the values,
//! shape of the keys, shape of the values. Where keys have a codec of their own (kind 2) its name follows as a fourth; else
//! they are in the order of tables, as all keys of 0.1 are. It is golden.

use crate::codec::{Growth, Ordered, Shape, ShapeNode};
use crate::varint::{read_slice, read_varint, write_slice, write_varint};
use crate::{Error, Result};
use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

const FORMAT: u8 = 1;
const ONE: u8 = 0;
const MIXED: u8 = 1;
/// One type, whose keys have a codec of their own.
const ONE_KEYED: u8 = 2;

/// What the keys and values of a topic are.
///
/// A changelog of one's own keeps the [bytes](TopicType::to_bytes) of what [`declare`](TopicType::declare) answers with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicType(Kind);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    One(Held),
    /// Records of many topics.
    Mixed,
}

#[derive(Debug, Clone)]
struct Held {
    revision: u32,
    key_codec: String,
    codec: String,
    /// The shape of the keys: as the type tells it if they are [`Ordered`], else the stored form of a [`Shape`].
    key: String,
    value: String,
    /// What its codec can read of older values; not stored.
    growth: Growth,
}

impl PartialEq for Held {
    fn eq(&self, other: &Self) -> bool {
        (self.revision, &self.key_codec, &self.codec, &self.key, &self.value)
            == (other.revision, &other.key_codec, &other.codec, &other.key, &other.value)
    }
}

impl Eq for Held {}

impl TopicType {
    /// `key` and `value` are each the name of a codec and a shape in it.
    pub(crate) fn new(
        revision: u32,
        (key_codec, key): (&str, String),
        (codec, value): (&str, &Shape),
    ) -> Self {
        Self(Kind::One(Held {
            revision,
            key_codec: key_codec.to_owned(),
            codec: codec.to_owned(),
            key,
            value: value.to_text(),
            growth: value.growth(),
        }))
    }

    /// A topic that holds records of many topics, such as dead letters: it may be read as anything.
    #[must_use]
    pub fn mixed() -> Self {
        Self(Kind::Mixed)
    }

    /// What is to be remembered of a topic once it is declared to be `declared`; `None` if that is what is `kept`.
    ///
    /// # Errors
    /// `Invalid` if `declared` cannot be read where `kept` was written. The message does not name the topic.
    pub fn declare(kept: Option<&Self>, declared: &Self) -> Result<Option<Self>> {
        let (kept, new) = match (kept, declared) {
            (Some(Self(Kind::Mixed)), _) => return Ok(None),
            (_, Self(Kind::Mixed)) => return Ok(Some(declared.clone())),
            (None, Self(Kind::One(new))) => return Ok((!new.is_raw()).then(|| declared.clone())),
            (Some(Self(Kind::One(kept))), Self(Kind::One(new))) => (kept, new),
        };
        if kept == new {
            return Ok(None);
        }
        if new.revision > kept.revision && !new.is_raw() {
            return Ok(Some(declared.clone()));
        }
        kept.check_keys(new)?;
        if new.is_raw() || kept.is_raw() {
            return Ok((!new.is_raw()).then(|| declared.clone()));
        }
        if kept.codec != new.codec {
            return Err(
                kept.refuse(&format!("its values are kept in `{}`, not in `{}`", kept.codec, new.codec))
            );
        }
        let value = new
            .growth
            .union(&ShapeNode::from_text(&kept.value), &ShapeNode::from_text(&new.value))
            .map_err(|differs| kept.refuse(&format!("its values have another type: {differs}")))?
            .to_text();
        // What was read as bytes so far turns out to be something.
        let keyed = if kept.has_raw_keys() { new } else { kept };
        let grown = Held {
            value,
            growth: new.growth,
            key_codec: keyed.key_codec.clone(),
            key: keyed.key.clone(),
            ..kept.clone()
        };
        Ok((grown != *kept).then_some(Self(Kind::One(grown))))
    }

    /// What two uses of one topic in one graph come to, of which either must read what the other one writes.
    ///
    /// # Errors
    /// `Invalid` if one cannot.
    pub(crate) fn joined(&self, other: &Self) -> Result<Self> {
        let revision = self.revision().max(other.revision());
        let (a, b) = (self.at(revision), other.at(revision));
        Self::declare(Some(&b), &a)?;
        let grown = Self::declare(Some(&a), &b)?;
        Ok(grown.unwrap_or(if a.is_raw() { b } else { a }))
    }

    fn revision(&self) -> u32 {
        match &self.0 {
            Kind::One(held) => held.revision,
            Kind::Mixed => 0,
        }
    }

    fn at(&self, revision: u32) -> Self {
        match &self.0 {
            Kind::One(held) => Self(Kind::One(Held { revision, ..held.clone() })),
            Kind::Mixed => Self::mixed(),
        }
    }

    fn is_raw(&self) -> bool {
        matches!(&self.0, Kind::One(held) if held.is_raw())
    }

    /// The stored form.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let Kind::One(held) = &self.0 else { return vec![FORMAT, MIXED] };
        let keyed = held.key_codec != Ordered::ID;
        let mut out = vec![FORMAT, if keyed { ONE_KEYED } else { ONE }];
        write_varint(&mut out, held.revision.into());
        let key_codec = keyed.then_some(&held.key_codec);
        for text in [&held.codec, &held.key, &held.value].into_iter().chain(key_codec) {
            write_slice(&mut out, text.as_bytes());
        }
        out
    }

    /// What [`to_bytes`](Self::to_bytes) stored; `None` for anything else.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (format, mut rest) = bytes.split_first_chunk::<2>()?;
        let held = match format {
            [FORMAT, MIXED] => Kind::Mixed,
            [FORMAT, kind @ (ONE | ONE_KEYED)] => {
                let revision = u32::try_from(read_varint(&mut rest)?).ok()?;
                let mut text = || String::from_utf8(read_slice(&mut rest)?.to_vec()).ok();
                let (codec, key, value) = (text()?, text()?, text()?);
                let key_codec = if *kind == ONE { Ordered::ID.to_owned() } else { text()? };
                if *kind == ONE_KEYED && key_codec == Ordered::ID {
                    return None;
                }
                Kind::One(Held { revision, key_codec, codec, key, value, growth: Growth::None })
            }
            _ => return None,
        };
        rest.is_empty().then_some(Self(held))
    }
}

impl Held {
    fn is_raw(&self) -> bool {
        ShapeNode::from_text(&self.value).is_raw()
    }

    /// Whether keys are read and written as the bytes that they are, whatever these mean.
    fn has_raw_keys(&self) -> bool {
        self.key_codec != Ordered::ID && ShapeNode::from_text(&self.key).is_raw()
    }

    /// Refuses keys that are not those of `new`.
    fn check_keys(&self, new: &Self) -> Result<()> {
        if self.has_raw_keys() || new.has_raw_keys() {
            return Ok(());
        }
        if self.key_codec != new.key_codec {
            return Err(self.refuse(&format!(
                "its keys are written in `{}`, not in `{}` (`Topic::keys` says in what)",
                self.key_codec, new.key_codec
            )));
        }
        if self.key != new.key {
            let (kept, new) = (self.shown_key(), new.shown_key());
            return Err(self.refuse(&format!("its keys are `{kept}`, not `{new}`")));
        }
        Ok(())
    }

    fn shown_key(&self) -> String {
        if self.key_codec == Ordered::ID {
            return self.key.clone();
        }
        ShapeNode::from_text(&self.key).to_string()
    }

    fn refuse(&self, why: &str) -> Error {
        Error::invalid(format!(
            "{why}; use the topic as it was declared, or another topic. If the change is meant and what is there can be \
             read all the same, declare it with `Topic::revision({})`",
            self.revision.saturating_add(1)
        ))
    }
}

impl Serialize for TopicType {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Kind::One(held) = &self.0 else { return serializer.serialize_str("mixed") };
        let mut fields = serializer.serialize_struct("TopicType", 5)?;
        fields.serialize_field("revision", &held.revision)?;
        fields.serialize_field("key_codec", &held.key_codec)?;
        fields.serialize_field("codec", &held.codec)?;
        fields.serialize_field("key", &held.key)?;
        fields.serialize_field("value", &held.value)?;
        fields.end()
    }
}

/// That a topic is not there to be declared.
pub(super) fn no_topic(topic: &str) -> Error {
    Error::invalid(format!("there is no topic `{topic}`; create it before it is declared what it holds"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Topic;
    use crate::codec::{BigEndian, Json, Raw, Utf8};
    use serde::{Deserialize, Serialize};

    fn bincode<K: crate::codec::Key, V>() -> TopicType
    where
        V: crate::codec::Value + Serialize + serde::de::DeserializeOwned,
    {
        Topic::<K, V>::new("t").declared().unwrap().clone()
    }

    fn declare(kept: &TopicType, declared: &TopicType) -> Result<Option<TopicType>, String> {
        TopicType::declare(Some(kept), declared).map_err(|error| error.to_string())
    }

    #[test]
    fn the_first_decides() {
        let (numbers, texts) = (bincode::<u8, u64>(), bincode::<u8, String>());
        assert_eq!(TopicType::declare(None, &numbers).unwrap(), Some(numbers.clone()));
        assert_eq!(declare(&numbers, &numbers), Ok(None));
        assert!(declare(&numbers, &texts).unwrap_err().contains("`u64`"));
        assert!(
            declare(&numbers, &bincode::<u16, u64>()).unwrap_err().contains("its keys are `u8`, not `u16`")
        );
        let json = Topic::<u8, u64>::with_codec("t", Json).declared().unwrap().clone();
        assert!(declare(&numbers, &json).unwrap_err().contains("`bincode-2`, not in `json`"));
        let text = Topic::<u8, String>::with_codec("t", Raw).declared().unwrap().clone();
        assert!(declare(&texts, &text).is_err());
    }

    #[test]
    fn a_raised_revision_replaces_what_was_there() {
        let numbers = bincode::<u8, u64>();
        let texts = Topic::<u16, String>::with_codec("t", Json).revision(2).declared().unwrap().clone();
        assert_eq!(declare(&numbers, &texts), Ok(Some(texts.clone())));
        assert!(declare(&texts, &numbers).unwrap_err().contains("Topic::revision(3)"));
        let unraised = Topic::<u16, String>::with_codec("t", Json).declared().unwrap().clone();
        assert_eq!(declare(&texts, &unraised), Ok(None));
    }

    #[test]
    fn raw_bytes_and_mixed_topics_go_with_anything() {
        let numbers = bincode::<u8, u64>();
        let raw = Topic::<u8, Vec<u8>>::with_codec("t", Raw).declared().unwrap().clone();
        let raw_bytes =
            Topic::<u8, bytes::Bytes>::with_codec("t", Raw).revision(9).declared().unwrap().clone();
        assert_eq!(TopicType::declare(None, &raw).unwrap(), None, "they say nothing");
        assert_eq!(declare(&numbers, &raw), Ok(None));
        assert_eq!(declare(&numbers, &raw_bytes), Ok(None));
        assert!(raw.joined(&numbers).unwrap() == numbers && numbers.joined(&raw).unwrap() == numbers);
        assert!(declare(&bincode::<u16, u64>(), &raw).is_err(), "keys must fit");
        let mixed = TopicType::mixed();
        assert_eq!(declare(&numbers, &mixed), Ok(Some(mixed.clone())));
        assert_eq!(declare(&mixed, &numbers), Ok(None));
    }

    fn keyed<K: crate::codec::Key>(codec: impl crate::codec::ValueCodec<K>) -> TopicType {
        Topic::<K, u64>::new("t").keys(codec).declared().unwrap().clone()
    }

    #[test]
    fn keys_keep_their_codec() {
        let ordered = bincode::<String, u64>();
        assert_eq!(keyed::<String>(Ordered), ordered);
        let text = keyed::<String>(Utf8);
        assert!(declare(&ordered, &text).unwrap_err().contains("written in `millpond`, not in `utf8`"));
        assert!(declare(&text, &ordered).unwrap_err().contains("written in `utf8`, not in `millpond`"));
        assert_eq!(declare(&text, &keyed::<Box<str>>(Utf8)), Ok(None), "the same on the wire");
        let refused = declare(&keyed::<i64>(BigEndian), &keyed::<i32>(BigEndian)).unwrap_err();
        assert!(refused.contains("its keys are `i64`, not `i32`"), "{refused}");
        assert!(declare(&keyed::<(u8, u8)>(Json), &keyed::<(u8, u16)>(Json)).is_err());
        assert!(declare(&text, &keyed::<String>(Json)).is_err());
        let other = Topic::<i64, u64>::new("t").keys(BigEndian).revision(1).declared().unwrap().clone();
        assert_eq!(declare(&text, &other), Ok(Some(other.clone())));
    }

    #[test]
    fn raw_keys_go_with_any_until_it_is_known_what_they_are() {
        let (raw, text) = (keyed::<Vec<u8>>(Raw), keyed::<String>(Utf8));
        assert_eq!(declare(&text, &raw), Ok(None));
        assert_eq!(declare(&raw, &text), Ok(Some(text.clone())));
        assert_eq!(declare(&raw, &bincode::<u16, u64>()), Ok(Some(bincode::<u16, u64>())));
        assert!(declare(&raw, &bincode::<u16, u8>()).is_err(), "values must fit");
        assert!(raw.joined(&text).unwrap() == text && text.joined(&raw).unwrap() == text);
        assert!(declare(&text, &keyed::<[u8; 4]>(Raw)).is_err(), "four bytes are a type");
        assert!(declare(&bincode::<Vec<u8>, u64>(), &bincode::<u16, u64>()).is_err(), "and so are ours");
    }

    #[derive(Clone, Serialize, Deserialize)]
    struct Old {
        a: u8,
    }

    #[derive(Clone, Serialize, Deserialize)]
    struct New {
        a: u8,
        b: Option<u8>,
    }

    #[derive(Clone, Serialize, Deserialize)]
    struct Other {
        b: u8,
    }

    #[test]
    fn json_types_grow_and_stay_grown() {
        let old = Topic::<u8, Old>::with_codec("t", Json).declared().unwrap().clone();
        let new = Topic::<u8, New>::with_codec("t", Json).declared().unwrap().clone();
        let other = Topic::<u8, Other>::with_codec("t", Json).declared().unwrap().clone();
        let grown = declare(&old, &new).unwrap().unwrap();
        assert_eq!(declare(&grown, &new), Ok(None));
        assert_eq!(declare(&grown, &old), Ok(None));
        assert!(declare(&old, &other).is_err());
        assert!(old.joined(&old).is_ok());
        assert!(old.joined(&other).is_err());
        assert!(grown.to_bytes().len() > old.to_bytes().len());
        assert!(declare(&bincode::<u8, Old>(), &bincode::<u8, New>()).unwrap_err().contains("`.b` is new"));
    }

    #[test]
    fn the_stored_form_is_golden() {
        let one = Topic::<u8, Old>::with_codec("t", Json).revision(300).declared().unwrap().clone();
        let value = br#"{"struct":[["a","u8"]]}"#;
        let golden = [&[1, 0, 0xac, 2, 4][..], b"json\x02u8", &[23], value].concat();
        assert_eq!(one.to_bytes(), golden);
        assert_eq!(TopicType::from_bytes(&golden), Some(one));
        assert_eq!(TopicType::mixed().to_bytes(), [1, 1]);
        assert_eq!(TopicType::from_bytes(&[1, 1]), Some(TopicType::mixed()));
        let keyed = Topic::<i64, Old>::with_codec("t", Json).keys(BigEndian).declared().unwrap().clone();
        let golden_keyed =
            [&[1, 2, 0, 4][..], b"json\x05\"i64\"", &[23], value, &[10], b"big-endian"].concat();
        assert_eq!(keyed.to_bytes(), golden_keyed);
        assert_eq!(TopicType::from_bytes(&golden_keyed), Some(keyed));
        let as_ours = [&[1, 2, 0, 4][..], b"json\x02u8", &[23], value, &[8], b"millpond"].concat();
        for bad in [&[][..], &[1], &[2, 1], &[1, 2], &[1, 1, 0], &golden[..golden.len() - 1], &as_ours] {
            assert_eq!(TopicType::from_bytes(bad), None);
        }
    }
}
