//! Fold a changelog into keyed tables and ask them while they are folded.
//!
//! ```
//! use millpond::{Engine, GraphBuilder, Result, Topic};
//!
//! fn main() -> Result<()> {
//!     let lines = Topic::<u64, String>::new("lines");
//!     let graph = GraphBuilder::new();
//!     let words = graph
//!         .stream(&lines)
//!         .flat_map(|_, line| line.split(' ').map(|word| (word.to_owned(), ())).collect::<Vec<_>>())
//!         .group_by_key()
//!         .count("words");
//!     # #[cfg(feature = "rocks")]
//!     # let dir = tempfile::tempdir().expect("a directory");
//!     # #[cfg(feature = "rocks")]
//!     # let path = dir.path();
//!     # #[cfg(feature = "rocks")]
//!     let engine = Engine::open(path, &graph.build()?)?;
//!     # #[cfg(not(feature = "rocks"))]
//!     # let engine = Engine::builder(&graph.build()?).in_memory().start()?;
//!     let position = engine.append(&lines, &1, &"to be or not to be".to_owned()).wait_blocking()?;
//!     engine.wait_for_blocking(&position)?;
//!     assert_eq!(engine.view(&words)?.get("be")?, Some(2));
//!     engine.close_blocking()
//! }
//! ```
//!
//! | to learn about | see |
//! |---|---|
//! | describing a graph | [`GraphBuilder`], [`Stream`], [`Table`], [`StoredTable`], [`aggregate`] |
//! | running it | [`Engine`], [`EngineBuilder`] |
//! | asking it | [`View`], [`Snapshot`], [`KeyStream`], [`ChangeStream`] |
//! | the log | [`Topic`], [`changelog`] |
//! | keys and values as bytes | [`codec`], [`derive(Key)`](derive@Key), [`key_codec!`] |
//! | operators of one's own | [`Process`]; beneath it, [`dataflow`] |
//! | a changelog or a store of one's own | [`changelog::backend`], [`store`] |
#![cfg_attr(feature = "rocks", doc = "| asking its tables from another process | [`StateReader`] |")]
#![cfg_attr(feature = "testing", doc = "| testing your folds | [`testing`] |")]
//!
//! # Async and blocking
//! What waits for a log, for an engine or for a medium has two forms: `x` gives something to await, on any runtime, and
//! `x_blocking` is for threads that may block. What is awaited can be blocked on as well ([`Wait::wait_blocking`]), and given a
//! time limit ([`Wait::within`]). What is dropped unawaited happens all the same. Everything else answers at once and has one
//! form: views and snapshots read memory and, where a row is not in it, a file; [`StateReader::refresh`] opens files, and opening
//! an engine all of them, which an async program does on a thread for blocking work.
//!
//! # Features
//! | feature | brings |
//! |---|---|
//! | `rocks` (default) | state and changelog in directories, in RocksDB; without it everything is kept in memory |
//! | `testing` | laws, a model and a driver for tests of your own, as a dev-dependency |
//! | `uuid`, `chrono`, `time` | keys of the types of these crates |
//! | `calendar` | windows of days, weeks, months and years of a zone, with the time zones of the IANA database |
//! | `fault-injection` | fault points for tests of the engine; not for production |
//!
//! # Stability
//! Versions follow Semantic Versioning: before 1.0 a minor version may change the API, a patch never does.
//! `docs/moving-to-*.md` in the repository lists what changed and what to write instead. What is stored, states and logs, is read
//! by every later version. Enums and structs that will grow are `#[non_exhaustive]`; traits that only this crate implements say
//! so. The API is that of this crate: `millpond-engine`, `millpond-operators` and `millpond-derive` are its parts, and may change
//! with every release.
//!
//! # Least version of Rust
//! 1.88. A minor version may raise it, to one that is at least half a year old, and CHANGELOG.md says so; a patch never
//! does.

pub mod changelog;
pub mod dataflow;

pub use millpond_engine::codec::Key;
#[cfg(feature = "fault-injection")]
pub use millpond_engine::fault;
pub use millpond_engine::graph::{Graph, TableOptions};
pub use millpond_engine::query::{
    ChangeStream, EpochChanges, KeyStream, Scan, Snapshot, Stored, TableSnapshot, View,
};
pub use millpond_engine::{
    Clock, Engine, EngineBuilder, Error, ErrorKind, FailurePolicy, Health, Idle, ManualClock, Memory,
    Position, Result, Stats, Stepper, SystemClock, TableStats, Topic, TopicPartition, Wait, WatermarkStats,
};
#[cfg(feature = "rocks")]
pub use millpond_engine::{StateInfo, StateReader, TableInfo};
pub use millpond_engine::{codec, key_codec, store};
#[cfg(feature = "testing")]
pub use millpond_operators::testing;
pub use millpond_operators::{
    AsOf, ForeignStore, GraphBuilder, GroupedStream, GroupedTable, Latest, Process, StoredTable, Stream,
    Table, Upsert, Version, VersionKey, VersionRow, VersionStore, VersionedTable, Versions, Windowed,
    aggregate,
};

/// Streams, and what their closures are given and give: whole records, what a [`Process`] emits.
pub mod stream {
    pub use millpond_operators::stream::*;
}

/// The README's programs, as tests: they keep what they do in directories, and use the kit for tests.
#[cfg(all(doctest, feature = "rocks", feature = "testing"))]
#[doc = include_str!("../README.md")]
struct Readme;

/// The program of the page on time.
#[cfg(all(doctest, feature = "testing"))]
#[doc = include_str!("../docs/time.md")]
struct OnTime;
