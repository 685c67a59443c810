//! The checkpoints below a prefix of a store, as users see them.

use crate::checkpoint::Checkpoint;
use crate::depot::Depot;
use crate::pruning::Pruned;
use crate::running::{Blocking, offload};
use crate::saving::Copy;
use crate::scratch::Scratch;
use millpond_engine::store::{RocksOptions, RocksStore, StateStore};
use millpond_engine::{Clock, Engine, Error, Position, Result, StateInfo, SystemClock};
use object_store::ObjectStore;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The checkpoints of one service: below a prefix of its own in an object store.
///
/// Any number of processes may have one for the same prefix. See [the crate](crate) for an example of the whole.
///
/// Whatever is awaited may be dropped at any time: nothing that looks complete is left of it.
#[derive(Clone)]
#[doc(alias = "backup")]
pub struct Checkpoints {
    depot: Depot,
    clock: Arc<dyn Clock>,
    scratch: Option<PathBuf>,
    blocking: Blocking,
}

impl fmt::Debug for Checkpoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { depot, scratch, .. } = self;
        f.debug_struct("Checkpoints").field("depot", depot).field("scratch", scratch).finish_non_exhaustive()
    }
}

impl Checkpoints {
    /// The checkpoints below `prefix`, such as `backups/orders`, in `store`.
    ///
    /// # Errors
    /// `Invalid` if objects cannot have such a prefix.
    ///
    /// # Examples
    /// ```
    /// use millpond_checkpoints::Checkpoints;
    /// use object_store::memory::InMemory;
    /// use std::sync::Arc;
    ///
    /// let checkpoints = Checkpoints::new(Arc::new(InMemory::new()), "backups/orders")?;
    /// assert!(checkpoints.list_blocking()?.is_empty());
    /// # Ok::<(), millpond::Error>(())
    /// ```
    pub fn new(store: Arc<dyn ObjectStore>, prefix: &str) -> Result<Self> {
        Ok(Self {
            depot: Depot::new(store, prefix)?,
            clock: Arc::new(SystemClock),
            scratch: None,
            blocking: Blocking::default(),
        })
    }

    /// Takes the time from this clock: when a checkpoint was made, and when something that was begun has been abandoned.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Lays the copies that are sent into this directory, instead of beside the state. On the file system of the state they are
    /// links, and take no space; on another one they take as much as the state does.
    #[must_use]
    pub fn scratch(mut self, dir: impl AsRef<Path>) -> Self {
        self.scratch = Some(dir.as_ref().to_owned());
        self
    }

    /// Saves the state of an engine, as it is while the engine runs, as the newest checkpoint: at least what was published at the
    /// call, and verified. Only files that the store does not have are sent.
    ///
    /// # Errors
    /// As for [`Engine::checkpoint`]; `Unavailable` if the store fails, `Invalid` if it does not let us, or holds checkpoints of
    /// another service below the prefix. The engine goes on in all these cases.
    ///
    /// # Examples
    /// ```
    /// use millpond::{Engine, GraphBuilder, Topic};
    /// use millpond_checkpoints::Checkpoints;
    /// # use object_store::memory::InMemory;
    /// # use std::sync::Arc;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), millpond::Error> {
    /// # let dir = tempfile::tempdir().expect("a directory");
    /// # let path = dir.path();
    /// # let store = Arc::new(InMemory::new());
    ///
    /// let clicks = Topic::<u32, u64>::new("clicks");
    /// let graph = GraphBuilder::new();
    /// graph.stream(&clicks).group_by_key().count("counts");
    /// let engine = Engine::open(path, &graph.build()?)?;
    /// let checkpoints = Checkpoints::new(store, "clicks")?;
    ///
    /// let first = checkpoints.save(&engine).await?;
    /// engine.append(&clicks, &1, &1).await?;
    /// engine.catch_up().await?;
    /// let second = checkpoints.save(&engine).await?;
    /// assert!(second.uploaded_bytes < second.bytes, "most of it was there");
    /// assert_eq!(second.position, engine.position());
    /// assert_eq!(checkpoints.list().await?, [first, second]);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn save(&self, engine: &Engine) -> Result<Checkpoint> {
        let Some(state) = engine.state_dir() else {
            // It has ended, and this tells why.
            engine.drain().await?;
            return Err(Error::invalid(
                "no checkpoint can be saved: the state is kept in memory only; give the engine a directory with \
                 `EngineBuilder::dir` or `state_dir`",
            ));
        };
        let scratch = self.claim_scratch(state).await?;
        let position = engine.checkpoint(scratch.copy()).await?;
        self.save_copy(scratch, position).await
    }

    /// As [`save`](Self::save), for threads that may block.
    ///
    /// # Errors
    /// As for `save`.
    pub fn save_blocking(&self, engine: &Engine) -> Result<Checkpoint> {
        self.blocking.wait(self.save(engine))
    }

    /// Saves the state in the state directory `dir`, which no engine has open: one that was closed, or a copy.
    ///
    /// # Errors
    /// `Invalid` if there is no state in it; `Unavailable` if an engine has it open; as for [`save`](Self::save).
    pub async fn save_dir(&self, dir: impl AsRef<Path>) -> Result<Checkpoint> {
        let dir = dir.as_ref().to_owned();
        // A directory that is none is not made one.
        let state = offload(move || {
            StateInfo::read(&dir)?;
            dir.canonicalize().map_err(|error| Error::unavailable("cannot find the state").with_source(error))
        });
        let state = state.await?;
        let scratch = self.claim_scratch(state.clone()).await?;
        let copy = scratch.copy().to_owned();
        let position = offload(move || {
            let options = RocksOptions::default().block_cache_bytes(1 << 20).compaction_threads(1);
            // It keeps engines away meanwhile.
            let store = RocksStore::open(&state, &options)?;
            store.checkpoint(&copy, &mut |_| Ok(()))?;
            StateInfo::read(&copy).map(|info| info.position)
        });
        let position = position.await?;
        self.save_copy(scratch, position).await
    }

    /// As [`save_dir`](Self::save_dir), for threads that may block.
    ///
    /// # Errors
    /// As for `save_dir`.
    pub fn save_dir_blocking(&self, dir: impl AsRef<Path>) -> Result<Checkpoint> {
        self.blocking.wait(self.save_dir(dir.as_ref()))
    }

    async fn claim_scratch(&self, state: PathBuf) -> Result<Scratch> {
        let scratch = self.scratch.clone();
        offload(move || Scratch::claim(&state, scratch.as_deref())).await
    }

    async fn save_copy(&self, scratch: Scratch, position: Position) -> Result<Checkpoint> {
        let copy = Copy { dir: scratch.copy(), position, now_ms: self.clock.now_ms() };
        let saved = self.depot.save(copy).await;
        // Files are deleted, which may take its time.
        offload(move || {
            drop(scratch);
            Ok(())
        })
        .await?;
        saved
    }

    /// All checkpoints, the oldest first.
    ///
    /// # Errors
    /// `Unavailable` if the store fails; `Corrupt` if a manifest is damaged, or of a later version.
    pub async fn list(&self) -> Result<Vec<Checkpoint>> {
        let mut all = Vec::new();
        for id in self.depot.ids().await? {
            // None if it was pruned meanwhile.
            if let Some(manifest) = self.depot.manifest(&id).await? {
                all.push(manifest.told(id));
            }
        }
        Ok(all)
    }

    /// As [`list`](Self::list), for threads that may block.
    ///
    /// # Errors
    /// As for `list`.
    pub fn list_blocking(&self) -> Result<Vec<Checkpoint>> {
        self.blocking.wait(self.list())
    }

    /// The id of the newest checkpoint.
    async fn newest(&self) -> Result<Option<String>> {
        Ok(self.depot.ids().await?.pop())
    }

    /// Restores the newest checkpoint into the state directory `dir`, which must not be there or be empty; it is what an engine
    /// is told with [`state_dir`](millpond_engine::EngineBuilder::state_dir). Every file of it is compared with its hash; then all
    /// of them are there at once.
    ///
    /// Opened under the name of the engine that was saved, it takes the place of that one; under another name it is a clone.
    ///
    /// # Errors
    /// `Invalid` if there is no checkpoint, or something in the directory; `Corrupt`, with the names of the object and the file, if
    /// one is missing or damaged; `Unavailable` if the store or the medium fails. The directory is as it was.
    pub async fn restore(&self, dir: impl AsRef<Path>) -> Result<Checkpoint> {
        let Some(id) = self.newest().await? else {
            return Err(Error::invalid(format!("there is no checkpoint below {}", self.depot.place())));
        };
        self.depot.restore(&id, dir.as_ref()).await
    }

    /// As [`restore`](Self::restore), for threads that may block.
    ///
    /// # Errors
    /// As for `restore`.
    pub fn restore_blocking(&self, dir: impl AsRef<Path>) -> Result<Checkpoint> {
        self.blocking.wait(self.restore(dir.as_ref()))
    }

    /// Restores the checkpoint of this id, as [`restore`](Self::restore) does the newest one.
    ///
    /// # Errors
    /// As for `restore`.
    pub async fn restore_id(&self, id: &str, dir: impl AsRef<Path>) -> Result<Checkpoint> {
        self.depot.restore(id, dir.as_ref()).await
    }

    /// As [`restore_id`](Self::restore_id), for threads that may block.
    ///
    /// # Errors
    /// As for `restore`.
    pub fn restore_id_blocking(&self, id: &str, dir: impl AsRef<Path>) -> Result<Checkpoint> {
        self.blocking.wait(self.depot.restore(id, dir.as_ref()))
    }

    /// Sees to it that a process has something to begin with, before it opens its engine: a state that is in the state directory
    /// `dir` stays as it is; else the newest checkpoint is restored there. `None` if there is nothing to restore, or no need to: an
    /// engine then goes on, or folds its changelog from the start.
    ///
    /// # Errors
    /// As for [`restore`](Self::restore), but for a state that is there and a store without checkpoints.
    ///
    /// # Examples
    /// ```
    /// use millpond::{Engine, GraphBuilder, Topic};
    /// # use millpond_checkpoints::Checkpoints;
    /// # use object_store::memory::InMemory;
    /// # use std::sync::Arc;
    /// # let dir = tempfile::tempdir().expect("a directory");
    /// # let path = dir.path();
    /// # let checkpoints = Checkpoints::new(Arc::new(InMemory::new()), "clicks")?;
    ///
    /// let clicks = Topic::<u32, u64>::new("clicks");
    /// let graph = GraphBuilder::new();
    /// graph.stream(&clicks).group_by_key().count("counts");
    /// if let Some(restored) = checkpoints.seed_blocking(path.join("state"))? {
    ///     println!("going on from {}", restored.position);
    /// }
    /// let engine = Engine::open(path, &graph.build()?)?;
    /// # checkpoints.save_blocking(&engine)?;
    /// # assert_eq!(checkpoints.seed_blocking(path.join("state"))?, None);
    /// # assert!(checkpoints.seed_blocking(path.join("elsewhere"))?.is_some());
    /// # Ok::<(), millpond::Error>(())
    /// ```
    pub async fn seed(&self, dir: impl AsRef<Path>) -> Result<Option<Checkpoint>> {
        let dir = dir.as_ref();
        if dir.join("CURRENT").exists() {
            return Ok(None);
        }
        let Some(id) = self.newest().await? else { return Ok(None) };
        self.depot.restore(&id, dir).await.map(Some)
    }

    /// As [`seed`](Self::seed), for threads that may block.
    ///
    /// # Errors
    /// As for `seed`.
    pub fn seed_blocking(&self, dir: impl AsRef<Path>) -> Result<Option<Checkpoint>> {
        self.blocking.wait(self.seed(dir.as_ref()))
    }

    /// Reads the checkpoint of this id from its first to its last byte, and compares every file with its hash: a backup that nobody
    /// has ever read is none.
    ///
    /// # Errors
    /// `Invalid` if there is no such checkpoint; `Corrupt`, with the names of the object and the file, if one is missing or damaged;
    /// `Unavailable` if the store fails.
    ///
    /// # Examples
    /// ```
    /// # use millpond::{Engine, GraphBuilder, Topic};
    /// # use millpond_checkpoints::Checkpoints;
    /// # use object_store::memory::InMemory;
    /// # use std::sync::Arc;
    /// # let dir = tempfile::tempdir().expect("a directory");
    /// # let checkpoints = Checkpoints::new(Arc::new(InMemory::new()), "clicks")?;
    /// # let graph = GraphBuilder::new();
    /// # graph.stream(&Topic::<u32, u64>::new("clicks")).group_by_key().count("counts");
    /// # let engine = Engine::open(dir.path(), &graph.build()?)?;
    /// let saved = checkpoints.save_blocking(&engine)?;
    /// assert_eq!(checkpoints.verify_blocking(&saved.id)?, saved);
    /// # Ok::<(), millpond::Error>(())
    /// ```
    pub async fn verify(&self, id: &str) -> Result<Checkpoint> {
        self.depot.verify(id).await
    }

    /// As [`verify`](Self::verify), for threads that may block.
    ///
    /// # Errors
    /// As for `verify`.
    pub fn verify_blocking(&self, id: &str) -> Result<Checkpoint> {
        self.blocking.wait(self.depot.verify(id))
    }

    /// Deletes all but the newest `keep` checkpoints, the files that none of these needs, and what was begun and abandoned. What is
    /// being saved meanwhile, here or by others, loses nothing.
    ///
    /// # Errors
    /// `Invalid` for 0; `Corrupt` if a manifest that is to be kept cannot be read, since it may need any file: nothing is deleted
    /// then. `Unavailable` if the store fails; the rest is deleted by the next prune.
    ///
    /// # Examples
    /// ```
    /// # use millpond::{Engine, GraphBuilder, Topic};
    /// # use millpond_checkpoints::Checkpoints;
    /// # use object_store::memory::InMemory;
    /// # use std::sync::Arc;
    /// # let dir = tempfile::tempdir().expect("a directory");
    /// # let checkpoints = Checkpoints::new(Arc::new(InMemory::new()), "clicks")?;
    /// # let graph = GraphBuilder::new();
    /// # graph.stream(&Topic::<u32, u64>::new("clicks")).group_by_key().count("counts");
    /// # let engine = Engine::open(dir.path(), &graph.build()?)?;
    /// let saved = [checkpoints.save_blocking(&engine)?, checkpoints.save_blocking(&engine)?];
    /// assert_eq!(checkpoints.prune_blocking(1)?.checkpoints, [saved[0].id.clone()]);
    /// assert_eq!(checkpoints.list_blocking()?, [saved[1].clone()]);
    /// # Ok::<(), millpond::Error>(())
    /// ```
    pub async fn prune(&self, keep: usize) -> Result<Pruned> {
        self.depot.prune(keep, self.clock.now_ms()).await
    }

    /// As [`prune`](Self::prune), for threads that may block.
    ///
    /// # Errors
    /// As for `prune`.
    pub fn prune_blocking(&self, keep: usize) -> Result<Pruned> {
        self.blocking.wait(self.prune(keep))
    }
}
