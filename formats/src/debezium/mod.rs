//! Change events of databases, as Debezium writes them.
//!
//! A connector of Debezium writes a record for each change of a row: its key is the row's key, its value an *envelope* with
//! the row `before` and `after`, what happened (`op`) and when (`ts_ms`). A deletion is an envelope without `after`, and as a
//! rule a tombstone behind it. [`DebeziumJson`] and, with the feature `avro`, [`DebeziumAvro`](avro::DebeziumAvro) are
//! codecs of envelopes; [`DebeziumGraph`] makes upserts and deletions of them, which is what tables are made of.
//!
//! | op | what happened | what becomes of it |
//! |---|---|---|
//! | `c`, `r`, `u` | the row was created, read by a snapshot, or updated | an upsert of `after` |
//! | `d` | it was deleted | a deletion |
//! | a tombstone | | a deletion, which changes nothing once more |
//! | `t` | the table was truncated, which no key is told of | a failure of its record, unless it is [ignored](Truncates) |
//! | `m` | somebody wrote a message into the log | nothing |
//!
//! Records that have been flattened (`ExtractNewRecordState`) are no envelopes: they are plain values, and tombstones delete.
//! Where a row's key changes, Debezium writes a deletion of the old key and a creation of the new one.
//!
//! `ts_ms` is the time at which the connector saw the change. A record's own timestamp is as a rule that as well; where it
//! is not, take it from the envelope: `.timestamps_from(|_, envelope| envelope.ts_ms.unwrap_or_default())`.
//!
//! # Examples
//! ```
//! use millpond::testing::Driver;
//! use millpond::{GraphBuilder, Topic};
//! use millpond_formats::debezium::{DebeziumGraph, DebeziumJson, DebeziumKey, Envelope};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
//! struct Customer {
//!     name: String,
//!     city: Option<String>,
//! }
//!
//! let events = Topic::<u64, Envelope<Customer>>::with_codec("shop.public.customers", DebeziumJson::new()).keys(DebeziumKey);
//! let graph = GraphBuilder::new();
//! let customers = graph.debezium_table(&events, "customers");
//! let mut driver = Driver::new(&graph.build()?)?;
//! # use millpond::{TopicPartition, changelog::Record};
//! # let append = |key: &str, value: &str| {
//! #     let record = Record::new(key.to_owned(), value.to_owned());
//! #     driver.append(TopicPartition::new("shop.public.customers", 0), vec![record])
//! # };
//! append(r#"{"id": 7}"#, r#"{"before": null, "after": {"name": "Ada", "city": null}, "op": "c", "ts_ms": 1}"#)?;
//! append(r#"{"id": 8}"#, r#"{"before": null, "after": {"name": "Bo", "city": "Porto"}, "op": "c", "ts_ms": 2}"#)?;
//! append(r#"{"id": 8}"#, r#"{"before": {"name": "Bo"}, "after": null, "op": "d", "ts_ms": 3}"#)?;
//! driver.run()?;
//! let left = driver.table(&customers)?;
//! assert_eq!(left, [(7, Customer { name: "Ada".into(), city: None })].into());
//! # Ok::<(), millpond::Error>(())
//! ```

#[cfg(feature = "avro")]
pub mod avro;
mod graph;
mod json;
mod key;

#[cfg(test)]
mod tests;

pub use graph::DebeziumGraph;
pub use json::DebeziumJson;
pub use key::DebeziumKey;

use millpond_engine::codec::CodecError;
use millpond_operators::Upsert;

/// What happened to a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Op {
    /// It was created: `c`.
    Create,
    /// It was there when the connector looked at the whole table: `r`.
    Read,
    /// It was updated: `u`.
    Update,
    /// It was deleted: `d`.
    Delete,
    /// All rows of its table were deleted: `t`.
    Truncate,
    /// Nothing; somebody has written a message into the database's log: `m`.
    Message,
}

impl Op {
    fn parse(letter: &str) -> Result<Self, CodecError> {
        Ok(match letter {
            "c" => Self::Create,
            "r" => Self::Read,
            "u" => Self::Update,
            "d" => Self::Delete,
            "t" => Self::Truncate,
            "m" => Self::Message,
            other => {
                return Err(CodecError::new(format!(
                    "`{other}` is no operation of Debezium: c, r, u, d, t or m"
                )));
            }
        })
    }

    fn letter(self) -> &'static str {
        match self {
            Self::Create => "c",
            Self::Read => "r",
            Self::Update => "u",
            Self::Delete => "d",
            Self::Truncate => "t",
            Self::Message => "m",
        }
    }
}

/// What to do where a table was truncated at its source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Truncates {
    /// The record fails, for the failure policy to decide: rows that are gone at the source would stay.
    #[default]
    Refuse,
    /// Nothing: rows stay until they are deleted one by one.
    Ignore,
}

/// A change of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Envelope<V> {
    /// The row before; `None` if there was none, the source does not tell, or the codec is not asked [to read
    /// it](DebeziumJson::with_before).
    pub before: Option<V>,
    /// The row from here on; `None` if it is gone.
    pub after: Option<V>,
    /// What happened.
    pub op: Op,
    /// When the connector saw it, in milliseconds since the Unix epoch.
    pub ts_ms: Option<i64>,
}

impl<V> Envelope<V> {
    /// The row is `after` from here on.
    pub fn put(after: V) -> Self {
        Self { before: None, after: Some(after), op: Op::Create, ts_ms: None }
    }

    /// The row is gone.
    #[must_use]
    pub fn delete() -> Self {
        Self { before: None, after: None, op: Op::Delete, ts_ms: None }
    }

    /// The same, seen at this time.
    #[must_use]
    pub fn at(self, ts_ms: i64) -> Self {
        Self { ts_ms: Some(ts_ms), ..self }
    }

    /// What it means for its key; `None` if nothing.
    ///
    /// # Examples
    /// ```
    /// use millpond::Upsert;
    /// use millpond_formats::debezium::Envelope;
    ///
    /// assert_eq!(Envelope::put(7).into_upsert(), Some(Upsert::Put(7)));
    /// assert_eq!(Envelope::<u8>::delete().into_upsert(), Some(Upsert::Delete));
    /// ```
    pub fn into_upsert(self) -> Option<Upsert<V>> {
        match self.op {
            Op::Create | Op::Read | Op::Update => self.after.map(Upsert::Put),
            Op::Delete => Some(Upsert::Delete),
            Op::Truncate | Op::Message => None,
        }
    }
}

/// An envelope of these parts, if they go together.
fn envelope<V>(
    before: Option<V>,
    after: Option<V>,
    op: &str,
    ts_ms: Option<i64>,
    truncates: Truncates,
) -> Result<Envelope<V>, CodecError> {
    let op = Op::parse(op)?;
    match op {
        Op::Create | Op::Read | Op::Update if after.is_none() => {
            return Err(CodecError::new(format!(
                "an envelope with `op` `{}` has no row in `after`",
                op.letter()
            )));
        }
        Op::Truncate if truncates == Truncates::Refuse => {
            return Err(CodecError::new(
                "the table was truncated at its source, which says of no row that it is gone: have the connector skip truncations \
                 (`skipped.operations`) or the codec ignore them (`Truncates::Ignore`), and rebuild the tables if the rows \
                 must go (raise their version)",
            ));
        }
        _ => {}
    }
    let after = if op == Op::Delete { None } else { after };
    Ok(Envelope { before, after, op, ts_ms })
}
