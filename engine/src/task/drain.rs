//! The drain: published generations become one sorted, durable file, their position inside it.
//!
//! Invariant: everything that the rows of a drain depend on is durable before them: the changelog is synced first, with
//! the records that were folded (they may have been handed to the system only) and what the epochs appended to derived
//! topics. The generations are dropped only after the ingestion, so that readers always
//! find a row in one place or the other.

use super::beginnings::Beginnings;
use super::compaction::FoldedUntil;
use super::origins::Origins;
use super::{Consumer, Setting, forgetting};
use crate::changelog::Commit;
use crate::state::{Newest, TaskState};
use crate::store::Row;
use crate::store::layout;
use crate::{Position, Result, fault};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How long a drain waits for the log to commit what it is about.
const PATIENCE: Duration = Duration::from_secs(1);

/// What waits for a drain.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Backlog {
    /// Bytes of generations.
    pub(crate) generation_bytes: usize,
    /// About how many bytes of hot entries cannot be evicted until then.
    pub(crate) pinned_bytes: usize,
}

impl std::iter::Sum for Backlog {
    fn sum<I: Iterator<Item = Self>>(backlogs: I) -> Self {
        backlogs.fold(Self::default(), |sum, next| Self {
            generation_bytes: sum.generation_bytes + next.generation_bytes,
            pinned_bytes: sum.pinned_bytes + next.pinned_bytes,
        })
    }
}

impl Backlog {
    /// Bytes of memory that a drain would free where hot entries may take `hot_bytes`.
    pub(crate) fn bytes_beside(&self, hot_bytes: usize) -> usize {
        self.generation_bytes + self.pinned_bytes.saturating_sub(hot_bytes)
    }
}

/// What everything beside the folding thread knows of a task; it moves the generations of the task into its store.
pub(crate) struct Drain {
    pub(crate) shared: Arc<TaskState>,
    pub(crate) group: u16,
    /// What is told to the changelog once rows are durable.
    pub(crate) consumer: Consumer,
    pub(crate) setting: Arc<Setting>,
    /// What the rows are of.
    pub(super) origins: Origins,
    pub(super) folded_until: FoldedUntil,
    pub(super) beginnings: Beginnings,
}

impl Drain {
    /// Makes everything published so far durable. `false` if there was nothing to do, if something else answers for the task until it
    /// has come as far, or if the log has not committed it yet, or never will as another engine has taken over: then the folding
    /// thread takes it back. One at a time: see [`Tasks`](super::Tasks).
    ///
    /// # Errors
    /// `Unavailable` if the disk is full, or an error of the store or changelog. What was published stays
    /// readable; nothing was written.
    pub(crate) fn run(&self) -> Result<bool> {
        // What answers for a task that begins again is read from the store, too, and must not be mixed with what comes.
        if self.shared.predecessor().is_some() {
            return Ok(false);
        }
        let published = self.shared.published();
        let Some(last) = published.generations.last() else {
            // What is published is what is stored.
            self.shared.store()?.forget(&forgetting::forgotten(&published.counts));
            return self.note(&published.reached.position).map(|()| false);
        };
        let newest = Newest::new(&published.generations);
        let span = tracing::debug_span!("drain", epoch = last.epoch, rows = newest.len());
        let _entered = span.enter();
        // Before the sync, so that it is durable before the state speaks of it.
        let term = self.consumer.changelog.term()?;
        // What is durable here must not be ahead of what is committed there.
        if self.setting.shares_epochs()
            && self.consumer.changelog.commit(&self.setting.name, PATIENCE)? != Commit::Done
        {
            return Ok(false);
        }
        fault::point("drain.before_sync")?;
        self.consumer.changelog.sync()?;
        fault::point("drain.after_sync")?;
        let mut head: Vec<(Vec<u8>, Vec<u8>)> =
            vec![(layout::position_key(self.group).to_vec(), layout::encode_reached(&last.reached))];
        head.extend(
            last.counts
                .iter()
                .map(|(&table, count)| (layout::count_key(table).to_vec(), layout::encode_count(count))),
        );
        // Behind the counts, in the order of the keys.
        head.extend(term.map(|term| (layout::TERM_KEY.to_vec(), layout::encode_term(&term.id()))));
        head.extend(self.origins.rows(&self.setting)?);
        head.extend(self.folded_until.row(&self.setting, &last.reached.position));
        head.extend(self.beginnings.row());
        let head = head.iter().map(|(key, value)| -> Row<'_> { (key, Some(value)) });
        let store = self.shared.store()?;
        let shared = &self.shared;
        store.wait_for_room_until(&|| shared.host().is_closing() || shared.check().is_err());
        fault::point("drain.before_ingest")?;
        let forgotten = forgetting::forgotten(&last.counts);
        // What is forgotten by now need not be written.
        let is_kept =
            |(key, _): &Row<'_>| !forgotten.iter().any(|gone| *gone.start <= **key && **key < *gone.end);
        store.ingest(&mut head.chain(newest.rows().filter(is_kept)))?;
        fault::point("drain.after_ingest")?;
        self.shared.drop_drained(last.epoch);
        store.forget(&forgotten);
        fault::point("drain.after_drop")?;
        self.setting.counters.drains.fetch_add(1, Ordering::Relaxed);
        self.consumer.hold(&last.reached.position)?;
        Ok(true)
    }

    /// Notes that all of the compacted topics is folded, where there is nothing else to make durable for long. All rows up to
    /// `position` are stored.
    fn note(&self, position: &Position) -> Result<()> {
        self.store_rows(self.folded_until.row(&self.setting, position).into_iter())
    }

    /// Stores what is to be known before the tables of `build` become this task's.
    pub(super) fn take_over(&self, build: &Self) -> Result<()> {
        self.beginnings.take_over(&build.beginnings);
        let folded_until = self.folded_until.row_of_build(&build.folded_until);
        self.store_rows(folded_until.into_iter().chain(self.beginnings.row()))
    }

    fn store_rows(&self, rows: impl Iterator<Item = (Vec<u8>, Vec<u8>)>) -> Result<()> {
        let rows: Vec<_> = rows.collect();
        if rows.is_empty() {
            return Ok(());
        }
        self.shared.store()?.ingest(&mut rows.iter().map(|(key, value)| -> Row<'_> { (key, Some(value)) }))
    }

    /// Whether everything up to `epoch` is durable.
    pub(crate) fn is_drained(&self, epoch: u64) -> bool {
        let published = self.shared.published();
        // An epoch without rows of its own is never drained: that of a build that is complete.
        published.drained >= epoch || published.generations.is_empty()
    }

    /// How much is not drained yet.
    pub(crate) fn backlog(&self) -> Backlog {
        let published = self.shared.published();
        // There is room once the task has come as far, or does without.
        let before = self.shared.predecessor().map(|before| before.shared.published());
        let all = || before.iter().chain([&published]).flat_map(|published| &published.generations);
        Backlog {
            generation_bytes: all().map(|generation| generation.bytes()).sum(),
            pinned_bytes: all().map(|generation| generation.pinned_bytes).sum(),
        }
    }
}
