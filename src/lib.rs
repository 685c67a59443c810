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
//!     # let dir = tempfile::tempdir().expect("a directory");
//!     # let path = dir.path();
//!     let engine = Engine::open(path, &graph.build()?)?;
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
//! | asking it | [`View`], [`Snapshot`], [`KeyStream`], [`ChangeStream`], [`StateReader`] |
//! | the log | [`Topic`], [`changelog`] |
//! | keys and values as bytes | [`codec`], [`derive(Key)`](derive@Key), [`key_codec!`] |
//! | operators of one's own | [`Process`]; beneath it, [`dataflow`] |
//! | a changelog or a store of one's own | [`changelog::backend`], [`store`] |
#![cfg_attr(feature = "testing", doc = "| testing your folds | [`testing`] |")]
//!
//! # Features
//! | feature | brings |
//! |---|---|
//! | `rocks` (default) | state and changelog in directories, in RocksDB; without it everything is kept in memory |
//! | `testing` | laws, a model and a driver for tests of your own |
//! | `uuid`, `chrono`, `time` | keys of the types of these crates |
//! | `fault-injection` | fault points for tests of the engine; not for production |
//!
//! # Stability
//! The least Rust is 1.88. Before 1.0 a minor version may change the API; what is stored is read by every later version.

pub mod changelog;
pub mod dataflow;

#[cfg(feature = "rocks")]
pub use millpond_engine::StateReader;
pub use millpond_engine::codec::Key;
#[cfg(feature = "fault-injection")]
pub use millpond_engine::fault;
pub use millpond_engine::graph::{Graph, TableOptions};
pub use millpond_engine::query::{
    ChangeStream, EpochChanges, KeyStream, Scan, Snapshot, Stored, TableSnapshot, View,
};
pub use millpond_engine::{
    Clock, Engine, EngineBuilder, Error, ErrorKind, FailurePolicy, Health, ManualClock, Memory, Position,
    Result, Stats, Stepper, SystemClock, TableStats, Topic, TopicPartition, Wait,
};
pub use millpond_engine::{codec, key_codec, store};
#[cfg(feature = "testing")]
pub use millpond_operators::testing;
pub use millpond_operators::{
    ForeignStore, GraphBuilder, GroupedStream, GroupedTable, Latest, Process, StoredTable, Stream, Table,
    Upsert, aggregate, stream,
};

/// The README's programs, as tests.
#[cfg(all(doctest, feature = "testing"))]
#[doc = include_str!("../README.md")]
struct Readme;
