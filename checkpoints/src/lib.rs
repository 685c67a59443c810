//! Checkpoints of [millpond](https://docs.rs/millpond)'s state in an object store: the way to seed a new process, to clone a
//! service, and to back one up.
//!
//! An object store is anything that [`object_store`] has an [`ObjectStore`](object_store::ObjectStore) for: S3 and what speaks like
//! it, Google's and Azure's, a directory, memory. This crate brings none of them: you make the one you use, with the
//! features of `object_store` that it takes.
//!
//! ```
//! use millpond::{Engine, GraphBuilder, Topic};
//! use millpond_checkpoints::Checkpoints;
//! use object_store::local::LocalFileSystem;
//! # use millpond::changelog::MemoryChangelog;
//! use std::sync::Arc;
//! # let dir = tempfile::tempdir().expect("a directory");
//! # let (path, bucket) = (dir.path(), dir.path().join("bucket"));
//! # std::fs::create_dir(&bucket).expect("a directory");
//! # let changelog = Arc::new(MemoryChangelog::new());
//!
//! let clicks = Topic::<String, u64>::new("clicks");
//! let graph = GraphBuilder::new();
//! let counts = graph.stream(&clicks).group_by_key().count("counts");
//! let graph = graph.build()?;
//!
//! // An `AmazonS3` in its place, and nothing else is different.
//! let store = LocalFileSystem::new_with_prefix(&bucket).expect("a directory").with_fsync(true);
//! let checkpoints = Checkpoints::new(Arc::new(store), "clicks")?;
//!
//! let engine =
//!     Engine::builder(&graph).state_dir(path.join("state")).changelog(changelog.clone()).name("clicks").start()?;
//! let position = engine.append_blocking(&clicks, "home", &1)?;
//! engine.wait_for_blocking(&position)?;
//! let saved = checkpoints.save_blocking(&engine)?;
//! assert!(saved.position.includes(&position));
//! checkpoints.prune_blocking(3)?; // the last three are kept
//!
//! engine.append_blocking(&clicks, "home", &1)?;
//! engine.close_blocking()?;
//!
//! // A new process, on a machine that has nothing: what is there, or the newest checkpoint, or else all from the start.
//! let elsewhere = path.join("elsewhere");
//! checkpoints.seed_blocking(&elsewhere)?;
//! let engine = Engine::builder(&graph).state_dir(&elsewhere).changelog(changelog).name("clicks").start()?;
//! engine.ready_blocking()?; // the tail after it is folded
//! assert_eq!(engine.view(&counts)?.get("home")?, Some(2));
//! # Ok::<(), millpond::Error>(())
//! ```
//!
//! # What a checkpoint is, and what it is not
//! It is the state of an engine: the rows of its tables and the position up to which they were folded. It goes on from there, on
//! **the same changelog**, which it does not hold:
//! - On Kafka that is all there is to it. The topics must retain records for longer than the checkpoints are kept that are to be
//!   of use; one that is too old is refused with `BehindChangelog`.
//! - With the embedded changelog, the log is the truth, and a checkpoint without it is of use where the log is still there: a
//!   state directory was lost, or another engine on the same log is to be seeded. A backup of such a service is both: *first* a
//!   checkpoint, *then* a copy of the directory of the log (while it is closed, or as a snapshot of the file system), so that the
//!   log goes as far as the state. A state that is ahead of its log is refused with `AheadOfChangelog`. What the log must keep for
//!   the oldest checkpoint is kept with a hold ([`Engine::hold`](millpond_engine::Engine::hold) before the first one,
//!   [`Admin::hold`](millpond_engine::changelog::Admin::hold) with the position of the oldest one after each
//!   [`prune`](Checkpoints::prune)).
//!
//! Under the name of the engine that it was made of, a restored state takes the place of that one: nothing that it has appended
//! is appended again. Under another name it is a clone, a service of its own.
//!
//! # How it lies there
//! | object | what |
//! |---|---|
//! | `files/<SHA-256>` | a file of a state, by its content: what a later checkpoint shares is there already, and is not sent again |
//! | `manifests/<number>-<hash>.json` | a checkpoint: its position, and the files that it is made of. It is written last, and named by its own content, too |
//! | `saving/`, `pruning/` | what is being saved and deleted just now |
//!
//! Sorted files of a state never change, so most of a checkpoint is that of the one before. A file is known by its SHA-256
//! rather than by a checksum of RocksDB's: it has one for each block, none of which names a whole file.
//!
//! - A checkpoint is verified before it is taken: every row was read with its checksum. What arrives is what was verified: it is
//!   hashed as it is sent. What is restored is hashed again, and put in place with one rename.
//! - Whatever fails, and wherever a process ends, there is no checkpoint in the store, or a whole one; no state in the directory,
//!   or a whole one. What was begun and not completed is deleted by a later [`prune`](Checkpoints::prune). (Of stores with
//!   multipart uploads let a rule of the bucket end those that are days old.)
//! - Any number of processes may save, restore and prune at once. A file that a save relies upon is not deleted under it: a save
//!   says what it relies upon before it looks what is there, and a prune says what it means to delete before it looks what is
//!   relied upon, so that one of the two sees the other. That needs a store which lists what was written, as all of today do.
//!
//! # Async and blocking
//! As everywhere in millpond, `x` is to be awaited and `x_blocking` is for threads that may block. A store of a cloud wants to be
//! awaited on tokio; the blocking form has a runtime of its own.

mod checkpoint;
mod checkpoints;
mod depot;
mod files;
mod ids;
mod pruning;
mod restoring;
mod running;
mod saving;
mod scratch;
mod transfer;

pub use checkpoint::Checkpoint;
pub use checkpoints::Checkpoints;
pub use object_store;
pub use pruning::Pruned;

/// The README's program, as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
