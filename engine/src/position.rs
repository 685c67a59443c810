//! Positions: which input a state includes.

use crate::topic_partition::shown;
use crate::{Error, TopicPartition};
use rpds::RedBlackTreeMapSync;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// For each partition the offset of the next record: exactly the records below it are included.
///
/// A partition that is absent stands at offset 0.
///
/// # Examples
/// ```
/// use millpond::{Position, TopicPartition};
///
/// let orders = TopicPartition::new("orders", 0);
/// let mut folded: Position = [(orders.clone(), 7)].into_iter().collect();
/// let appended: Position = [(orders.clone(), 8)].into_iter().collect();
/// assert!(!folded.includes(&appended), "the record with offset 7 is not folded yet");
/// folded.advance_to(&appended);
/// assert!(folded.includes(&appended));
/// assert_eq!(folded.offset(&orders), 8);
/// assert_eq!(folded.offset(&TopicPartition::new("orders", 1)), 0);
/// // As text, for a header or a log line, and as JSON.
/// assert_eq!(folded.to_string(), "{orders/0@8}");
/// assert_eq!("{orders/0@8}".parse::<Position>()?, folded);
/// # fn json(folded: &Position) -> Result<String, serde_json::Error> {
/// # serde_json::to_string(folded)
/// # }
/// # assert_eq!(json(&folded).expect("a text"), r#"{"orders/0":8}"#);
/// # Ok::<(), millpond::Error>(())
/// ```
///
/// Copies share what they have in common: copying one costs nothing, and moving one partition on costs the logarithm of their
/// number.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Position {
    offsets: RedBlackTreeMapSync<TopicPartition, u64>,
    /// What [tells](TopicPartition::tell_apart) the partitions that it names from those of another one.
    named: u64,
}

impl Position {
    /// The position before every record.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The next offset of `partition`.
    #[must_use]
    pub fn offset(&self, partition: &TopicPartition) -> u64 {
        self.offsets.get(partition).copied().unwrap_or(0)
    }

    /// The next offset of `partition`, if the position names it.
    pub(crate) fn known(&self, partition: &TopicPartition) -> Option<u64> {
        self.offsets.get(partition).copied()
    }

    /// Sets the next offset of `partition`.
    pub fn set(&mut self, partition: TopicPartition, next_offset: u64) {
        if self.known(&partition).is_none() {
            self.named ^= partition.tell_apart();
        }
        self.offsets.insert_mut(partition, next_offset);
    }

    /// Raises every partition to at least where `other` stands.
    pub fn advance_to(&mut self, other: &Self) {
        for (partition, &offset) in &other.offsets {
            if self.known(partition).is_none_or(|mine| mine < offset) {
                self.set(partition.clone(), offset);
            }
        }
    }

    /// Whether everything below `other` is included in this position.
    #[must_use]
    pub fn includes(&self, other: &Self) -> bool {
        if std::ptr::eq(self, other) {
            return true;
        }
        // A look-up costs some ten times as much as a step through what is in order anyway.
        if other.offsets.size().saturating_mul(8) < self.offsets.size() {
            return other.iter().all(|(partition, offset)| self.offset(partition) >= offset);
        }
        let mut mine = self.iter().peekable();
        other.iter().all(|(partition, offset)| {
            while mine.next_if(|(id, _)| id.compare(partition).is_lt()).is_some() {}
            mine.next_if(|(id, _)| id.compare(partition).is_eq()).map_or(0, |(_, mine)| mine) >= offset
        })
    }

    /// Whether it names no partition: it stands before every record.
    ///
    /// # Examples
    /// ```
    /// use millpond::{Position, TopicPartition};
    ///
    /// let mut position = Position::new();
    /// assert!(position.is_empty());
    /// position.set(TopicPartition::new("orders", 0), 8);
    /// assert!(!position.is_empty());
    /// ```
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.offsets.is_empty()
    }

    /// How many records of the partitions that this position names lie between it and `ahead`.
    pub(crate) fn records_to(&self, ahead: &Self) -> u64 {
        self.iter().map(|(id, next)| ahead.offset(id).saturating_sub(next)).sum()
    }

    /// What [tells](TopicPartition::tell_apart) the partitions that it names from those of another one.
    pub(crate) fn named(&self) -> u64 {
        self.named
    }

    /// How many partitions it names.
    pub(crate) fn partitions(&self) -> usize {
        self.offsets.size()
    }

    /// The partitions with their next offsets, ordered by topic and partition.
    pub fn iter(&self) -> impl Iterator<Item = (&TopicPartition, u64)> {
        self.offsets.iter().map(|(partition, &offset)| (partition, offset))
    }
}

/// The text form, as insides of a tree tell nobody anything.
impl fmt::Debug for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromIterator<(TopicPartition, u64)> for Position {
    fn from_iter<I: IntoIterator<Item = (TopicPartition, u64)>>(offsets: I) -> Self {
        let mut position = Self::new();
        offsets.into_iter().for_each(|(partition, offset)| position.set(partition, offset));
        position
    }
}

/// A map from `topic/partition` to the next offset.
impl Serialize for Position {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de> Deserialize<'de> for Position {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Offsets)
    }
}

/// Reads a position, and refuses one that names a partition twice.
struct Offsets;

impl<'de> Visitor<'de> for Offsets {
    type Value = Position;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("offsets by `topic/partition`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut offsets: A) -> Result<Position, A::Error> {
        let mut position = Position::new();
        while let Some((partition, offset)) = offsets.next_entry::<TopicPartition, u64>()? {
            if position.known(&partition).is_some() {
                return Err(serde::de::Error::custom(format!("a position names {partition} twice")));
            }
            position.set(partition, offset);
        }
        Ok(position)
    }
}

/// The text form: what [`Display`](fmt::Display) writes.
impl FromStr for Position {
    type Err = Error;

    /// # Errors
    /// `Invalid` if it is no such text, or names a partition twice.
    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = |what: &str| {
            Error::invalid(format!(
                "`{}` is no position, {what}: one looks like `{{orders/0@8, orders/1@3}}`",
                shown(text)
            ))
        };
        let inner = text.trim().strip_prefix('{').and_then(|text| text.strip_suffix('}'));
        let inner = inner.ok_or_else(|| wrong("since it does not stand in braces"))?;
        let mut position = Self::new();
        if inner.trim().is_empty() {
            return Ok(position);
        }
        for part in inner.split(',').map(str::trim) {
            let (partition, offset) = part
                .rsplit_once('@')
                .ok_or_else(|| wrong(&format!("since `{}` names no offset", shown(part))))?;
            let is_number = offset.bytes().all(|byte| byte.is_ascii_digit());
            let offset = offset.parse().ok().filter(|_| is_number);
            let offset = offset.ok_or_else(|| wrong("since one of its offsets is no number"))?;
            let partition: TopicPartition = partition.parse()?;
            if position.known(&partition).is_some() {
                return Err(wrong(&format!("since it names {partition} twice")));
            }
            position.set(partition, offset);
        }
        Ok(position)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (index, (partition, offset)) in self.offsets.iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(f, "{separator}{partition}@{offset}")?;
        }
        f.write_str("}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_position() -> impl Strategy<Value = Position> {
        let partition =
            ("[a-c]", 0..30_u32).prop_map(|(topic, partition)| TopicPartition::new(topic, partition));
        proptest::collection::btree_map(partition, 0..4_u64, 0..40)
            .prop_map(|offsets| offsets.into_iter().collect())
    }

    #[test]
    fn what_would_never_be_written_is_no_position() {
        for text in [
            "{a/0@1 a/1@2}",
            "{/0@1}",
            "{{a/0@1}",
            "{a/0@1,}",
            "{,}",
            "{a b/0@1}",
            "{a/0@}",
            "{a/+0@1}",
            "{a/0@-1}",
        ] {
            let error = text.parse::<Position>().expect_err(text);
            assert_eq!(error.kind(), crate::ErrorKind::Invalid, "{text}");
        }
        assert_eq!("{ }".parse::<Position>().unwrap(), Position::new());
        let long = "x".repeat(1 << 20);
        assert!(long.parse::<Position>().unwrap_err().to_string().len() < 500);
        assert!(format!("{{{long}@1}}").parse::<Position>().unwrap_err().to_string().len() < 500);
        assert!(format!("{{a/{long}@1}}").parse::<Position>().unwrap_err().to_string().len() < 500);
    }

    #[test]
    fn it_debugs_as_its_text() {
        let position: Position = "{a/0@1, b/3@7}".parse().unwrap();
        assert_eq!(format!("{:#?}", Some(position)), "Some(\n    {a/0@1, b/3@7},\n)");
    }

    proptest! {
        #[test]
        fn a_position_is_read_back_from_its_text_and_from_json(
            offsets in proptest::collection::btree_map((".{1,6}", 0..30_u32), proptest::num::u64::ANY, 0..6),
        ) {
            let partition = |((topic, partition), offset): ((String, u32), u64)| {
                (TopicPartition::new(topic, partition), offset)
            };
            let position: Position = offsets.into_iter().map(partition).collect();
            let text = position.to_string();
            prop_assert!(text.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "no header: {}", text);
            prop_assert_eq!(&text.parse::<Position>().unwrap(), &position);
            let json = serde_json::to_string(&position).unwrap();
            prop_assert_eq!(&serde_json::from_str::<Position>(&json).unwrap(), &position);
        }

        #[test]
        fn what_is_no_position_is_refused(text in ".{0,30}") {
            if let Ok(position) = text.parse::<Position>() {
                prop_assert_eq!(position.to_string().parse::<Position>().unwrap(), position);
            }
        }

        #[test]
        fn a_position_includes_what_is_below_it_in_every_partition(a in any_position(), b in any_position()) {
            let expected = |a: &Position, b: &Position| b.iter().all(|(id, offset)| a.offset(id) >= offset);
            prop_assert_eq!(a.includes(&b), expected(&a, &b));
            let mut both = a.clone();
            both.advance_to(&b);
            prop_assert!(both.includes(&a) && both.includes(&b));
            prop_assert_eq!(a.includes(&both), expected(&a, &both));
            // Of a position of one partition, whichever way it is looked for.
            for (id, offset) in b.iter() {
                let one: Position = [(id.clone(), offset)].into_iter().collect();
                prop_assert_eq!(a.includes(&one), a.offset(id) >= offset);
                prop_assert_eq!(one.includes(&a), expected(&one, &a));
            }
        }
    }

    #[test]
    fn signs_and_partitions_that_come_twice_are_refused() {
        for text in ["{a/0@+8}", "{a/+0@8}", "{%+F/0@8}", "{a/0@8, %61/0@9}", "a/0@8", "{a/0}"] {
            assert!(text.parse::<Position>().is_err(), "{text}");
        }
        for json in [r#"{"a/0":8,"a/0":9}"#, r#"{"a/0":8,"%61/0":9}"#, r#"{"a":8}"#, "[]"] {
            assert!(serde_json::from_str::<Position>(json).is_err(), "{json}");
        }
    }
}
