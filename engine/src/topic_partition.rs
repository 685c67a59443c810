//! One partition of one topic, and its text form.

use crate::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::str::FromStr;
use std::sync::Arc;

/// So many characters of a text that is none of ours are repeated in a message.
const MOST_SHOWN: usize = 200;

/// One partition of one topic.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    /// The topic's name.
    pub topic: Arc<str>,
    /// The partition, counted from 0.
    pub partition: u32,
}

impl TopicPartition {
    /// Partition `partition` of `topic`.
    #[must_use]
    pub fn new(topic: impl Into<Arc<str>>, partition: u32) -> Self {
        Self { topic: topic.into(), partition }
    }

    /// A partition that is read after `last`, with whose topic it shares the name if it is the same: of thousands of partitions
    /// each would have a copy of its own.
    pub(crate) fn after(last: Option<&Self>, topic: &str, partition: u32) -> Self {
        match last {
            Some(last) if *last.topic == *topic => Self { topic: Arc::clone(&last.topic), partition },
            _ => Self::new(topic, partition),
        }
    }

    /// A hash of it: those of several partitions put together by exclusive or tell one set of them from another, but for a chance of 2^-64.
    pub(crate) fn tell_apart(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        hasher.finish()
    }

    /// The order of partitions, without a look at names that are one and the same.
    pub(crate) fn compare(&self, other: &Self) -> Ordering {
        let topics = if Arc::ptr_eq(&self.topic, &other.topic) {
            Ordering::Equal
        } else {
            self.topic.cmp(&other.topic)
        };
        topics.then(self.partition.cmp(&other.partition))
    }
}

/// `topic/partition`. Characters of a topic's name that would end it elsewhere, or do not belong into a header, are escaped
/// as in a URL.
impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for &byte in self.topic.as_bytes() {
            if is_plain(byte) { write!(f, "{}", char::from(byte))? } else { write!(f, "%{byte:02X}")? }
        }
        write!(f, "/{}", self.partition)
    }
}

impl FromStr for TopicPartition {
    type Err = Error;

    /// Reads what [`Display`](fmt::Display) writes.
    ///
    /// # Errors
    /// `Invalid` if it is no such text.
    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong =
            || Error::invalid(format!("`{}` is no partition: one looks like `orders/0`", shown(text)));
        let (topic, partition) = text.rsplit_once('/').ok_or_else(wrong)?;
        // A sign would be read as well.
        let partition = Some(partition).filter(|partition| !partition.starts_with('+')).ok_or_else(wrong)?;
        let topic = unescaped(topic).filter(|topic| !topic.is_empty()).ok_or_else(wrong)?;
        Ok(Self::new(topic, partition.parse().map_err(|_| wrong())?))
    }
}

/// Whether a byte of a topic's name stands for itself.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_graphic() && !b"%,/@{}\"\\".contains(&byte)
}

/// As much of a text as belongs into a message: it may be anything, and of any length.
pub(crate) fn shown(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(MOST_SHOWN) {
        Some((end, _)) => Cow::Owned(format!("{}..", text.get(..end).unwrap_or_default())),
        None => Cow::Borrowed(text),
    }
}

/// A topic's name without its escapes; `None` for what cannot stand in one that [`Display`](fmt::Display) writes.
fn unescaped(topic: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(topic.len());
    let mut rest = topic.as_bytes();
    while let Some((&byte, behind)) = rest.split_first() {
        rest = behind;
        if byte == b'%' {
            let (digits, behind) = rest.split_at_checked(2)?;
            let digits = std::str::from_utf8(digits).ok().filter(|digits| !digits.contains('+'))?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = behind;
        } else if is_plain(byte) {
            bytes.push(byte);
        } else {
            return None;
        }
    }
    String::from_utf8(bytes).ok()
}

impl Serialize for TopicPartition {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TopicPartition {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}
