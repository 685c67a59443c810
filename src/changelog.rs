//! The changelog: the immutable, ordered record of every change.
//!
//! A [`Changelog`] holds topics, a topic holds partitions, a partition is a sequence of records numbered by offset. An engine
//! that is given a [directory](crate::EngineBuilder::dir) opens one of its own ([`EmbeddedChangelog`]); tests keep one in memory
//! ([`MemoryChangelog`]). The engine cannot tell which it runs on.
//!
//! | to | see |
//! |---|---|
//! | append | [`Engine::append`](crate::Engine::append), [`Producer`] |
//! | say how a topic is created, and how long its records are kept | [`TopicConfig`] |
//! | know which process of several appends what a service says | [`Role`], [`Stats::role`](crate::Stats#structfield.role) |
//! | look at topics and consumers, hold and release records | [`Admin`] |
//! | append and read raw records | [`Record`], [`prelude`] |
//! | write a changelog of one's own | [`backend`] |

pub use millpond_engine::changelog::{
    Ack, Admin, Append, Changelog, ConsumerDescription, Header, Headers, MAX_HEADERS_BYTES, MAX_KEY_BYTES,
    MAX_VALUE_BYTES, MemoryChangelog, PartitionDescription, Producer, ProducerRecord, Record, Role, Room,
    Timestamps, TopicConfig, TopicDescription, TopicType, partition_for_key, prelude,
};
#[cfg(feature = "rocks")]
pub use millpond_engine::changelog::{Durability, EmbeddedChangelog, EmbeddedOptions};

pub mod backend {
    //! Changelogs of one's own: a trait for each ability of a log, and what their functions take and give.
    //!
    //! A [`Changelog`] is all of [`TopicLog`], [`AppendLog`], [`ReadLog`], [`EpochLog`], [`RoleLog`],
    //! [`RetentionLog`], [`NameLog`] and [`TermLog`]; each says in its contract what the engine relies on, and [`Abilities`] what not every log can do. Whoever only
    //! calls a log whose type is known needs the [`prelude`](super::prelude).

    pub use millpond_engine::changelog::{
        Abilities, Ack, AckSender, Append, AppendLog, Appended, Changelog, ChangelogOptions, Commit,
        Compaction, DecodedBatch, EpochLog, EpochMark, IntoChangelog, Lease, Leases, LogBatch, NameInUse,
        NameLog, OpenedChangelog, PartitionReader, PlacedRecords, ReadLog, RecordIter, RecordRef,
        RetentionLog, Role, RoleLog, Room, RoomSender, Run, StoredBatch, Term, TermLog, TopicLog, Waker,
        block_on, murmur2, read_below,
    };
}
