//! The changelog: the immutable, ordered record of every change.
//!
//! A [`Changelog`] holds topics, a topic holds partitions, a partition is a sequence of records numbered by
//! offset. The engine is written against this trait and cannot tell which implementation it runs on.

mod record;

pub use record::{Header, Record, RecordRef};

use crate::{Position, Result, TopicPartition};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

/// What a topic is created with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicConfig {
    /// How many partitions; fixed for the life of the topic.
    pub partitions: u32,
    /// Records may be dropped once they are older than this (by record timestamp against the clock).
    pub retention_age: Option<Duration>,
    /// The oldest records may be dropped once the topic holds more stored bytes than this.
    pub retention_bytes: Option<u64>,
}

impl Default for TopicConfig {
    fn default() -> Self {
        Self { partitions: 1, retention_age: None, retention_bytes: None }
    }
}

/// Records for one partition, appended together.
#[derive(Debug, Clone)]
pub struct Append {
    /// Where to.
    pub partition: TopicPartition,
    /// What; in this order.
    pub records: Vec<Record>,
}

/// One epoch of a producing task: the input it covered, remembered beside what it appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EpochMark {
    /// Where the epoch began.
    pub from: Position,
    /// Where it ended.
    pub to: Position,
}

/// A stored batch of records: one contiguous piece of one partition, still compressed and unchecked.
///
/// Batches are cheap to clone and to send; [`decode`](StoredBatch::decode) does the work, so that the engine
/// can spread it over its shards.
#[derive(Debug, Clone)]
pub struct StoredBatch {
    // The changelog work package fills this in: base offset, record count, greatest timestamp, frame bytes.
}

/// Reads one partition in offset order.
pub trait PartitionReader: Send {
    /// The next batches, together about `max_bytes` of stored bytes, at least one if there is any; empty at
    /// the end of the partition. The first batch may begin below the offset asked for: skip to it.
    ///
    /// # Errors
    /// `Corrupt` names topic, partition and offset. `BehindChangelog` if the offset was trimmed away.
    fn poll(&mut self, max_bytes: usize) -> Result<Vec<StoredBatch>>;

    /// The offset of the next record that `poll` has not returned yet.
    fn offset(&self) -> u64;
}

/// Called whenever records became readable or the changelog was closed. Must be quick and must not call back.
pub type Waker = Arc<dyn Fn() + Send + Sync>;

/// The immutable, ordered record of every change.
///
/// # Contract
/// 1. Offsets of a partition are dense and ascending, begin at 0 and never change their record.
/// 2. A record is readable only once it is durable (embedded log: by the durability that was chosen), and an
///    acknowledged record is never lost.
/// 3. `append` is all or nothing per call, also across partitions.
/// 4. Nothing at or above a hold is ever trimmed.
pub trait Changelog: Send + Sync + 'static {
    /// Creates a topic; does nothing if it is there with the same number of partitions (the retention is
    /// updated).
    ///
    /// # Errors
    /// `Invalid` if it is there with another number of partitions, or the name is empty or too long.
    fn create_topic(&self, topic: &str, config: &TopicConfig) -> Result<()>;

    /// The topics and their number of partitions, ordered by name.
    ///
    /// # Errors
    /// `Closed` after [`close`](Self::close).
    fn topics(&self) -> Result<Vec<(Arc<str>, u32)>>;

    /// Appends records. The [`Ack`] resolves to the position after them once they are durable.
    fn append(&self, appends: Vec<Append>) -> Ack;

    /// Appends what one epoch of `producer` produced, together with its mark, in one atomic step. Returns once
    /// it is readable in order; [`sync`](Self::sync) makes it durable. An epoch whose mark is not after the
    /// last one of this producer was appended before: it is skipped, and `false` is returned.
    ///
    /// # Errors
    /// As for `append`; nothing was appended then.
    fn append_epoch(&self, producer: &str, mark: &EpochMark, appends: Vec<Append>) -> Result<bool>;

    /// The marks of `producer` that end after `position`, in order: a replay from `position` cuts its epochs
    /// at exactly these.
    ///
    /// # Errors
    /// `Corrupt` if a mark does not decode.
    fn epochs_after(&self, producer: &str, position: &Position) -> Result<Vec<EpochMark>>;

    /// A reader of `partition` that begins at `offset`.
    ///
    /// # Errors
    /// `Invalid` for an unknown partition, `BehindChangelog` if `offset` was trimmed away,
    /// `AheadOfChangelog` if it is past the end.
    fn reader(&self, partition: &TopicPartition, offset: u64) -> Result<Box<dyn PartitionReader>>;

    /// The offsets that can be read: from the oldest record kept to the next one to be appended.
    ///
    /// # Errors
    /// `Invalid` for an unknown partition.
    fn offsets(&self, partition: &TopicPartition) -> Result<Range<u64>>;

    /// Wakes `waker` after every append from now on, and once on close. Kept until the changelog is dropped or
    /// the waker's other owners are gone.
    fn watch(&self, waker: std::sync::Weak<dyn Fn() + Send + Sync>);

    /// Declares that `consumer` has durably folded everything below `position` and may read again from there:
    /// retention stops there. Marks of the same producer name that end at or before it are forgotten.
    ///
    /// # Errors
    /// If the hold could not be stored; the old one stays.
    fn hold(&self, consumer: &str, position: &Position) -> Result<()>;

    /// Drops what retention allows and no hold needs. Returns the bytes freed.
    ///
    /// # Errors
    /// If the medium failed; nothing that is needed was dropped.
    fn enforce_retention(&self) -> Result<u64>;

    /// Makes everything that was appended so far durable.
    ///
    /// # Errors
    /// If the medium failed; the changelog is then poisoned and refuses appends.
    fn sync(&self) -> Result<()>;

    /// Stops accepting appends, makes everything durable, and wakes every waiter.
    ///
    /// # Errors
    /// As for `sync`.
    fn close(&self) -> Result<()>;
}

/// The promise of an [`append`](Changelog::append): resolves to the position after the appended records.
///
/// Await it, or call [`wait`](Ack::wait) outside of async code. Dropping it does not take the append back.
#[derive(Debug)]
pub struct Ack(tokio::sync::oneshot::Receiver<Result<Position>>);
