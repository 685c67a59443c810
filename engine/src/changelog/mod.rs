//! The changelog: the immutable, ordered record of every change.
//!
//! A [`Changelog`] holds topics, a topic holds partitions, a partition is a sequence of records numbered by
//! offset. The engine is written against this trait and cannot tell which implementation it runs on.
//!
//! A log has a trait for each of its parts: topics, appending, reading, epochs, roles, retention, names and terms; a
//! [`Changelog`] has all of them.

mod abilities;
mod ack;
mod admin;
mod appending;
mod batch;
#[cfg(test)]
mod batch_tests;
#[cfg(any(test, feature = "contract-tests"))]
#[doc(hidden)]
pub mod contract_tests;
mod decoded;
#[cfg(feature = "rocks")]
mod embedded;
mod epochs;
mod frame;
mod header;
mod into_changelog;
mod memory;
mod names;
mod partitioner;
mod placed;
mod producer;
mod producer_record;
mod reading;
mod record;
mod retention;
mod roles;
mod sequence;
mod term;
mod topic_type;
mod topics;
mod watchers;

pub use crate::wait::block_on;
pub use abilities::Abilities;
pub use ack::{Ack, AckSender, Room, RoomSender};
pub use admin::{Admin, ConsumerDescription, PartitionDescription, TopicDescription};
pub use appending::{Append, AppendLog};
pub use batch::StoredBatch;
pub use decoded::{DecodedBatch, RecordIter};
#[cfg(feature = "rocks")]
pub(crate) use embedded::check_exists;
#[cfg(feature = "rocks")]
pub use embedded::{Durability, EmbeddedChangelog, EmbeddedOptions};
pub use epochs::{EpochLog, EpochMark};
pub use into_changelog::{ChangelogOptions, IntoChangelog, OpenedChangelog};
pub use memory::MemoryChangelog;
pub use names::{Lease, Leases, NameInUse, NameLog};
pub use partitioner::{murmur2, partition_for_key};
pub use placed::PlacedRecords;
pub use producer::Producer;
pub use producer_record::ProducerRecord;
pub use reading::{Appended, LogBatch, PartitionReader, ReadLog, Waker, read_below};
pub use retention::RetentionLog;
pub use roles::{Commit, Role, RoleLog};
pub use term::{Term, TermLog};
pub use topic_type::TopicType;
pub use topics::{Compaction, Timestamps, TopicConfig, TopicLog};

pub(crate) use appending::DEFAULT_BATCH_BYTES;
#[cfg(any(test, fuzzing))]
pub(crate) use frame::{framed, sealed};
pub use header::{Header, Headers};
pub(crate) use names::SUFFIXES;
pub(crate) use producer::Gate;
pub(crate) use reading::max_timestamp_at;
pub use record::{MAX_HEADERS_BYTES, MAX_KEY_BYTES, MAX_VALUE_BYTES, Record, RecordRef};
pub(crate) use sequence::Places;
pub use sequence::Run;
pub(crate) use term::{Misfit, TermId};

use crate::Result;
use reading::ReadableOffsets;

/// The immutable, ordered record of every change.
///
/// # Contract
/// 1. Offsets of a partition ascend and never change their record. They begin at 0 and have no gaps, unless the log lacks the
///    ability [`dense_offsets`](Abilities::dense_offsets).
/// 2. A record is readable only once it is durable (embedded log: by the durability that was chosen), and an
///    acknowledged record is never lost. The one exception is `append_epoch`: its records are readable at once,
///    and a crash before the next `sync` or acknowledged append may take them back together with the mark; the
///    producer then replays the epoch.
/// 3. `append` is all or nothing per call, also across partitions; `append_epoch` is so together with its mark.
/// 4. Nothing at or above a hold is ever trimmed.
/// 5. A log may be *one sequence*: then every record has a place in one order of all records, that of their appends, and
///    [`appended`](ReadLog::appended) tells of it. Records of one append follow each other in the order in which they are
///    given. A log without such an order is read as if its partitions were merged by the timestamps of their next records.
///
/// It is what its parts are: [`TopicLog`], [`AppendLog`], [`ReadLog`], [`EpochLog`], [`RoleLog`], [`RetentionLog`],
/// [`NameLog`] and [`TermLog`]. What of the contract not every log can keep it tells by its [abilities](Self::abilities), of which an engine
/// asks when it is opened.
pub trait Changelog:
    TopicLog + AppendLog + ReadLog + EpochLog + RoleLog + RetentionLog + NameLog + TermLog + 'static
{
    /// What the log can do. The answer does not change while the log is open.
    fn abilities(&self) -> Abilities;

    /// What the log is called where an engine speaks of it, in messages: its type, if it says nothing else.
    fn description(&self) -> String {
        std::any::type_name::<Self>().to_owned()
    }

    /// Stops accepting appends, makes everything durable, and wakes every waiter. Every later call and every
    /// reader answers `Closed`; closing again does nothing.
    ///
    /// # Errors
    /// As for `sync`.
    fn close(&self) -> Result<()>;
}

/// The traits of a changelog, for whoever calls one whose type is known: `use millpond::changelog::prelude::*`.
pub mod prelude {
    pub use super::{
        AppendLog, Changelog, EpochLog, LogBatch, NameLog, PartitionReader, ReadLog, RetentionLog, RoleLog,
        TermLog, TopicLog,
    };
}
