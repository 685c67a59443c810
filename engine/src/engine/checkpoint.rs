//! Checkpoints: a copy of the state, with its position inside, made while the engine runs.
//!
//! What a checkpoint holds is what an end of the engine at that moment would leave: rows, position, catalogue and builds
//! that are begun. So nothing is to be known of it to open it. It begins with a drain, so that it includes everything that
//! was published at the call, and says the position that it has, read from the copy itself. Nothing of this knows on what
//! changelog the engine runs: the position is all that a copy needs of it.

use super::{Engine, Stepper, waits};
use crate::task::{Service, StateInfo};
use crate::wait::block_on;
use crate::{Error, Position, Result, Wait, panic_message};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

impl Engine {
    /// Copies the state, as it is while the engine runs, into the directory `dir`, which must not be there or be empty; answers
    /// with the position of the copy. That is at least what was published at the call, made durable first. It begins at the
    /// call, whether the answer is awaited or not.
    ///
    /// The copy is a state as any other: open it with [`state_dir`](crate::EngineBuilder::state_dir), and it goes on from its
    /// position, as the original would after an end at that moment; tables that were being built are built on.
    ///
    /// - It takes next to no space: files are linked, and shared with the original, until either replaces them. Copy it to
    ///   another medium if it is to be a backup (the crate `millpond-checkpoints` does, to object stores); in a directory on
    ///   another file system it is copied at once.
    /// - It is verified before it is there: every row of it is read once, with its checksum, on a thread of its own.
    /// - It has rows and position only. The changelog that it is opened with must reach back to its position:
    ///   keep that with a hold of your own ([`hold`](Self::hold)), which is given up with the copy. A log that keeps no
    ///   holds, as Kafka, must be told to retain records for longer than copies are kept.
    /// - It *is* this state, at an earlier position: under the name of this engine and on its changelog (or a copy
    ///   that goes as far) it takes the place of the original, and nothing that was appended is appended again. Beside the
    ///   original it needs a [name](crate::EngineBuilder::name) of its own, under which it is another service from then on.
    /// - A crash leaves the whole copy or none.
    ///
    /// # Errors
    /// `Invalid` if there is something in the directory, for a state that is kept in memory, and for code of the graph
    /// itself; `Unavailable` if the directory cannot be written or the disk is full; `Corrupt`, with the name of the file, if the
    /// state is damaged. The engine goes on in all these cases. The reason of the stop if it has stopped; `Closed`.
    ///
    /// # Examples
    /// ```
    /// use millpond::{Engine, GraphBuilder, Topic};
    /// # use millpond::changelog::MemoryChangelog;
    /// # use std::sync::Arc;
    /// # let changelog = Arc::new(MemoryChangelog::new());
    /// # let dir = tempfile::tempdir().expect("a directory");
    /// # let (path, backups) = (dir.path().join("service"), dir.path().join("backups"));
    ///
    /// let clicks = Topic::<u32, u64>::new("clicks");
    /// let graph = GraphBuilder::new();
    /// let counts = graph.stream(&clicks).group_by_key().count("counts");
    /// let graph = graph.build()?;
    /// let engine = Engine::builder(&graph).dir(&path).changelog(changelog.clone()).start()?;
    /// let position = engine.append_blocking(&clicks, &1, &1)?;
    /// engine.wait_for_blocking(&position)?;
    ///
    /// // What the copy will need of the changelog is kept, whatever retention allows.
    /// engine.hold("backup-1")?;
    /// let copied = engine.checkpoint_blocking(backups.join("1"))?;
    /// assert!(copied.includes(&position));
    /// engine.append_blocking(&clicks, &1, &1)?;
    /// engine.close_blocking()?;
    ///
    /// // The copy takes the place of a state that was lost.
    /// let engine = Engine::builder(&graph).state_dir(backups.join("1")).changelog(changelog).start()?;
    /// engine.ready_blocking()?;
    /// assert_eq!(engine.view(&counts)?.get(&1)?, Some(2));
    /// # Ok::<(), millpond::Error>(())
    /// ```
    #[doc(alias = "backup")]
    pub fn checkpoint(&self, dir: impl AsRef<Path>) -> Wait<Position> {
        let target = dir.as_ref().to_owned();
        let outcome = CheckpointOutcome::default();
        let name = target.display().to_string();
        let begun = self.service().host.id.check_outside().and_then(|()| {
            let (service, drained) = (Arc::clone(self.service()), self.drain());
            let outcome = outcome.clone();
            // Where the directory lies on another file system it takes its time.
            self.threads.spawn("millpond-checkpoint", move || outcome.make(&service, drained, &target))
        });
        let service = Arc::clone(self.service());
        let answer = async move {
            begun?;
            // Also once the engine is closed, which waits for the thread.
            waits::until(&service, |_| outcome.take()).await
        };
        Wait::new(answer, move || format!("the checkpoint {name} is still being written"))
    }

    /// As [`checkpoint`](Self::checkpoint), for threads that may block.
    ///
    /// # Errors
    /// As for `checkpoint`.
    pub fn checkpoint_blocking(&self, dir: impl AsRef<Path>) -> Result<Position> {
        self.checkpoint(dir).wait_blocking()
    }
}

impl Stepper {
    /// As [`Engine::checkpoint_blocking`](crate::Engine::checkpoint_blocking).
    ///
    /// # Errors
    /// As there.
    pub fn checkpoint(&mut self, dir: impl AsRef<Path>) -> Result<Position> {
        self.drain()?;
        checkpoint(self.core.service(), dir.as_ref())
    }
}

/// What becomes of a checkpoint that a thread of its own makes.
#[derive(Clone, Default)]
struct CheckpointOutcome(Arc<Mutex<Option<Result<Position>>>>);

impl CheckpointOutcome {
    /// Makes the checkpoint once `drained` has come, and tells whoever waits for it.
    fn make(&self, service: &Service, drained: Wait<Position>, target: &Path) {
        let made = catch_unwind(AssertUnwindSafe(|| {
            block_on(drained)?;
            checkpoint(service, target)
        }));
        // The engine has no part in it, and goes on.
        let made = made.unwrap_or_else(|panic| {
            Err(Error::internal(format!("making a checkpoint panicked: {}", panic_message(&*panic))))
        });
        match &made {
            Ok(position) => tracing::info!(target = %target.display(), %position, "a checkpoint was made"),
            Err(error) => tracing::warn!(target = %target.display(), %error, "no checkpoint was made"),
        }
        *self.lock() = Some(made);
        service.host.signal();
    }

    /// What came of it, once.
    fn take(&self) -> Result<Option<Position>> {
        self.lock().take().transpose()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Result<Position>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Copies what is in the store to `target`, and answers with the position of the copy.
fn checkpoint(service: &Service, target: &Path) -> Result<Position> {
    let span = tracing::info_span!("checkpoint", target = %target.display());
    let _entered = span.enter();
    let read = service.tasks.position();
    // The store may have gone on beyond what was drained for it.
    let mut position = Position::new();
    let copied = service.tasks.store()?.checkpoint(target, &mut |copy| {
        position = StateInfo::of(copy)?.position;
        Ok(())
    });
    copied.map_err(|error| error.context("no checkpoint was made, and the engine goes on as before"))?;
    // A state that was never drained names no partitions, and a hold at its position would hold nothing of them.
    for (id, _) in read.iter() {
        if position.known(id).is_none() {
            position.set(id.clone(), 0);
        }
    }
    Ok(position)
}
