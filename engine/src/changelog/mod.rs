//! The changelog: the immutable, ordered record of every change.
//!
//! A [`Changelog`] holds topics, a topic holds partitions, a partition is a sequence of records numbered by
//! offset. The engine is written against this trait and cannot tell which implementation it runs on.
//!
//! Back-pressure: [`append`](Changelog::append) never blocks, so that it may be called from async code, and takes
//! its place in the order at the call, not when its [`Ack`] is first polled. An implementation with a queue
//! therefore refuses what exceeds it (`Unavailable`, nothing appended) and says through
//! [`room`](Changelog::room) when it is worth trying again.

mod ack;
mod batch;
#[cfg(test)]
mod batch_tests;
#[cfg(all(test, feature = "rocks"))]
mod contract_tests;
#[cfg(feature = "rocks")]
mod embedded;
mod epochs;
mod frame;
mod memory;
mod names;
mod partitioner;
mod producer;
mod record;
mod retention;
mod sequence;
mod term;
mod topic_type;
mod watchers;

pub use ack::{Ack, AckSender, Room};
pub use batch::{DecodedBatch, RecordIter, StoredBatch};
#[cfg(feature = "rocks")]
pub use embedded::{Durability, EmbeddedChangelog, EmbeddedOptions};
pub use memory::MemoryChangelog;
pub use names::{Lease, NameInUse};
pub use partitioner::{murmur2, partition_for_key};
pub use producer::Producer;
pub use term::Term;
pub use topic_type::TopicType;

#[cfg(any(test, fuzzing))]
pub(crate) use frame::{framed, sealed};
pub(crate) use names::SUFFIXES;
pub(crate) use producer::Gate;
pub use record::{Header, MAX_HEADERS_BYTES, MAX_KEY_BYTES, MAX_VALUE_BYTES, Record, RecordRef};
pub(crate) use sequence::Run;
pub(crate) use term::{Misfit, TermId};

use crate::{Error, ErrorKind, Position, Result, TopicPartition};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

/// What a topic is created with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicConfig {
    /// How many partitions; fixed for the life of the topic.
    pub partitions: u32,
    /// Records may be dropped once they are older than this, by record timestamp against the clock; one that is dated
    /// later than it was appended counts as being of that time. Nothing younger is dropped, and an embedded changelog
    /// drops what is older by an eighth, or by a minute.
    pub retention_age: Option<Duration>,
    /// The oldest records may be dropped once the topic holds more stored bytes than this.
    pub retention_bytes: Option<u64>,
}

impl Default for TopicConfig {
    fn default() -> Self {
        Self { partitions: 1, retention_age: None, retention_bytes: None }
    }
}

/// Records are gathered into batches of about so many bytes, before compression.
pub(crate) const DEFAULT_BATCH_BYTES: usize = 64 << 10;

/// The longest name of a topic, in bytes; that of Kafka.
const MAX_TOPIC_BYTES: usize = 249;

/// The most partitions a topic may have.
const MAX_PARTITIONS: u32 = 1 << 16;

impl TopicConfig {
    /// Refuses a topic that cannot be created.
    pub(crate) fn check(&self, topic: &str) -> Result<()> {
        if topic.is_empty() || topic.len() > MAX_TOPIC_BYTES {
            let length = topic.len();
            return Err(Error::invalid(format!(
                "a topic's name takes 1 to {MAX_TOPIC_BYTES} bytes, not {length}"
            )));
        }
        if self.partitions == 0 || self.partitions > MAX_PARTITIONS {
            let partitions = self.partitions;
            return Err(Error::invalid(format!(
                "topic {topic}: 1 to {MAX_PARTITIONS} partitions, not {partitions}"
            )));
        }
        Ok(())
    }

    /// Refuses to change the number of partitions of a topic that is there.
    pub(crate) fn check_same_partitions(&self, topic: &str, wanted: &Self) -> Result<()> {
        if self.partitions == wanted.partitions {
            return Ok(());
        }
        Err(Error::invalid(format!(
            "topic {topic} has {} partitions, not {}: their number is fixed; create another topic",
            self.partitions, wanted.partitions
        )))
    }
}

/// The offsets of a partition that can be read.
struct Readable(Range<u64>);

impl Readable {
    /// Refuses an offset that was trimmed away or is past the end.
    fn check(&self, partition: &TopicPartition, offset: u64) -> Result<()> {
        let Range { start, end } = self.0;
        let (kind, state) = match offset {
            _ if offset < start => (ErrorKind::BehindChangelog, "was trimmed away"),
            _ if offset > end => (ErrorKind::AheadOfChangelog, "is past the end"),
            _ => return Ok(()),
        };
        Err(Error::new(kind, format!("offset {offset} of {partition} {state}: there are {start} to {end}")))
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

/// What was appended to a log that is one sequence; see [`Changelog::appended`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Appended {
    /// The sequence number after the last record that can be read: every record below it can be.
    pub end: u64,
    /// The partitions that have records at or above the number asked for.
    pub partitions: Vec<TopicPartition>,
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
///    acknowledged record is never lost. The one exception is `append_epoch`: its records are readable at once,
///    and a crash before the next `sync` or acknowledged append may take them back together with the mark; the
///    producer then replays the epoch.
/// 3. `append` is all or nothing per call, also across partitions.
/// 4. Nothing at or above a hold is ever trimmed.
/// 5. A log may be *one sequence*: then every record has a place in one order of all records, that of their appends, and
///    [`appended`](Self::appended) tells of it. Records of one append follow each other in the order in which they are
///    given. A log without such an order is read as if its partitions were merged by the timestamps of their next records.
pub trait Changelog: Send + Sync + 'static {
    /// Creates a topic, or gives the one that is there the retention of `config`; writes nothing if it has that
    /// already. Whoever decides how long records are kept calls this: an engine for the topics of its graph, or an
    /// administrator.
    ///
    /// # Errors
    /// `Invalid` if it is there with another number of partitions, or the name is empty or too long.
    fn create_topic(&self, topic: &str, config: &TopicConfig) -> Result<()>;

    /// Creates a topic unless it is there, in which case its retention stays as it is and nothing is written. Whoever
    /// only appends calls this: a [`Producer`] does not know what was decided for the topic.
    ///
    /// # Errors
    /// As for [`create_topic`](Self::create_topic).
    fn ensure_topic(&self, topic: &str, config: &TopicConfig) -> Result<()>;

    /// The topics and their number of partitions, ordered by name.
    ///
    /// # Errors
    /// `Closed` after [`close`](Self::close).
    fn topics(&self) -> Result<Vec<(Arc<str>, u32)>>;

    /// What `topic` was declared to hold. An implementation that does not remember it answers `None`, and topics are then
    /// checked within one graph only.
    ///
    /// # Errors
    /// `Closed` after [`close`](Self::close).
    fn topic_type(&self, topic: &str) -> Result<Option<TopicType>> {
        let _ = topic;
        Ok(None)
    }

    /// Declares what a topic that is there holds, and remembers it durably as [`TopicType::declare`] says. Nothing is
    /// written if it is remembered already.
    ///
    /// # Errors
    /// `Invalid` if the topic is not there, or holds something else.
    fn declare_type(&self, topic: &str, declared: &TopicType) -> Result<()> {
        let _ = (topic, declared);
        Ok(())
    }

    /// Appends records, which take their places in the order given. The [`Ack`] resolves to the position after them once they are durable: for every
    /// partition named, the offset after its last record.
    ///
    /// The ack resolves to an error and nothing was appended: `Invalid` for an unknown partition or a record that
    /// is too large, `Unavailable` if too much is queued already (await [`room`](Self::room) and try again),
    /// `Closed` after close. If the medium fails it is `Unavailable` too, the changelog is poisoned and refuses
    /// appends, and what was not acknowledged may or may not be there when it is opened again.
    fn append(&self, appends: Vec<Append>) -> Ack;

    /// Resolves when an append will be admitted. An implementation without a queue always has room.
    fn room(&self) -> Room {
        Room::now()
    }

    /// Appends what one epoch of `producer` produced, together with its mark, in one atomic step. Returns once
    /// it is readable in order; [`sync`](Self::sync) makes it durable. An epoch whose mark is not after the
    /// last one of this producer was appended before: it is skipped, and `false` is returned. Both
    /// positions of a mark must name every partition that the producer reads.
    ///
    /// # Errors
    /// As for `append`; `Invalid` also if the mark overlaps the last one. Nothing was appended then.
    fn append_epoch(&self, producer: &str, mark: &EpochMark, appends: Vec<Append>) -> Result<bool>;

    /// Where the one sequence of all records ends, and which partitions have records numbered `since` or above; `None` if
    /// the log is not one sequence, or its implementation does not tell.
    ///
    /// # Errors
    /// `Closed` after [`close`](Self::close).
    fn appended(&self, since: u64) -> Result<Option<Appended>> {
        let _ = since;
        Ok(None)
    }

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

    /// How many bytes the records that can be read take where they are stored; `None` if the implementation cannot
    /// tell without effort. What retention has dropped no longer counts, even if its space is freed later.
    ///
    /// # Errors
    /// `Closed` after [`close`](Self::close).
    fn stored_bytes(&self) -> Result<Option<u64>> {
        Ok(None)
    }

    /// How many bytes of disk the changelog takes, with what was dropped and is not freed yet and with everything it keeps
    /// beside records; `None` if it takes none or cannot tell.
    ///
    /// # Errors
    /// `Closed` after [`close`](Self::close), or if the medium failed.
    fn disk_bytes(&self) -> Result<Option<u64>> {
        Ok(None)
    }

    /// Wakes `waker` after every append from now on, and once on close. Kept until the changelog is dropped or
    /// the waker's other owners are gone.
    fn watch(&self, waker: std::sync::Weak<dyn Fn() + Send + Sync>);

    /// Declares that `consumer` has durably folded everything below `position` and may read again from there:
    /// retention stops there. A partition that `position` does not name is not held (name it at offset 0 to hold
    /// all of it, at `u64::MAX` where nothing of it will be read again), and an empty position gives the hold up. Marks of the same producer name that end at or before
    /// it are forgotten, but for the last one.
    ///
    /// # Errors
    /// If the hold could not be stored; the old one stays.
    fn hold(&self, consumer: &str, position: &Position) -> Result<()>;

    /// Gives the name to one engine: until the [`Lease`] is dropped, nobody else gets it.
    ///
    /// # Errors
    /// `Unavailable` while another engine has it.
    fn lease(&self, name: &str) -> Result<Lease> {
        let _ = name;
        Ok(Lease::unguarded())
    }

    /// Who used the name last, in the words of [`set_owner`](Self::set_owner); `None` if that is not known.
    ///
    /// # Errors
    /// `Closed` after [`close`](Self::close).
    fn owner(&self, name: &str) -> Result<Option<String>> {
        let _ = name;
        Ok(None)
    }

    /// Remembers who uses the name. Durable when it returns.
    ///
    /// # Errors
    /// If it could not be stored.
    fn set_owner(&self, name: &str, owner: &str) -> Result<()> {
        let _ = (name, owner);
        Ok(())
    }

    /// The term of the log that runs: the last of [`terms`](Self::terms).
    ///
    /// # Errors
    /// `Closed` after [`close`](Self::close).
    fn term(&self) -> Result<Option<Term>> {
        Ok(self.terms()?.pop())
    }

    /// The last terms of the log, in order, by which a state finds out whether it was folded from this log: from an older
    /// copy, one that gave up records or another one it was not. Empty if the log does not tell; then none is asked.
    ///
    /// # Errors
    /// `Closed` after [`close`](Self::close).
    fn terms(&self) -> Result<Vec<Term>> {
        Ok(Vec::new())
    }

    /// Every name that something is kept under, in order; empty if the implementation does not tell.
    ///
    /// # Examples
    /// ```
    /// use millpond_engine::changelog::{Changelog, MemoryChangelog, TopicConfig};
    /// use millpond_engine::TopicPartition;
    ///
    /// let log = MemoryChangelog::new();
    /// log.create_topic("orders", &TopicConfig::default())?;
    /// log.hold("a-service-of-last-year", &[(TopicPartition::new("orders", 0), 0)].into_iter().collect())?;
    /// assert_eq!(log.names()?[0].name, "a-service-of-last-year");
    ///
    /// // It will not come back: retention need not wait for it.
    /// log.release("a-service-of-last-year")?;
    /// assert!(log.names()?.is_empty());
    /// # Ok::<(), millpond_engine::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Closed` after [`close`](Self::close).
    fn names(&self) -> Result<Vec<NameInUse>> {
        Ok(Vec::new())
    }

    /// Forgets all that is kept under the name and under those that an engine of this name uses beside it: holds, marks and
    /// owner. An engine that is given the name afterwards is a new one, and appends everything that it produces.
    ///
    /// # Errors
    /// `Unavailable` while an engine has the name; `Invalid` if the implementation keeps no names.
    fn release(&self, name: &str) -> Result<()> {
        Err(Error::invalid(format!("this changelog does not keep names, so `{name}` cannot be released")))
    }

    /// Drops what retention allows and no hold needs, and reckons age and size for each topic. Without any hold
    /// nothing but the topic's retention keeps a record. The space may be freed later, since an implementation may
    /// drop large pieces only. Returns the stored bytes freed.
    ///
    /// # Errors
    /// If the medium failed; nothing that is needed was dropped.
    fn enforce_retention(&self) -> Result<u64>;

    /// Makes everything that was appended so far durable.
    ///
    /// # Errors
    /// If the medium failed; the changelog is then poisoned and refuses appends.
    fn sync(&self) -> Result<()>;

    /// Stops accepting appends, makes everything durable, and wakes every waiter. Every later call and every
    /// reader answers `Closed`; closing again does nothing.
    ///
    /// # Errors
    /// As for `sync`.
    fn close(&self) -> Result<()>;
}
