//! The drain: published generations become one sorted, durable file, their position inside it.
//!
//! Invariant: everything that the rows of a drain depend on is durable before them: the changelog is synced first, with
//! the records that were folded (they may have been handed to the system only) and what the epochs appended to derived
//! topics. The generations are dropped only after the ingestion, so that readers always
//! find a row in one place or the other.

use crate::state::{Newest, Shared};
use crate::store::Row;
use crate::store::layout;
use crate::task::{Consumer, Counters};
use crate::{Result, fault};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

/// What waits for a drain.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Backlog {
    /// Bytes of generations.
    pub(crate) generation_bytes: usize,
    /// About how many bytes of hot entries cannot be evicted until then.
    pub(crate) pinned_bytes: usize,
}

impl Backlog {
    /// What waits for any of `drains`.
    pub(crate) fn of(drains: &Mutex<Vec<Arc<Drain>>>) -> Self {
        let drains = drains.lock().unwrap_or_else(PoisonError::into_inner);
        drains.iter().map(|drain| drain.backlog()).fold(Self::default(), |sum, next| Self {
            generation_bytes: sum.generation_bytes + next.generation_bytes,
            pinned_bytes: sum.pinned_bytes + next.pinned_bytes,
        })
    }

    /// Bytes of memory that a drain would free where hot entries may take `hot_bytes`.
    pub(crate) fn bytes_beside(&self, hot_bytes: usize) -> usize {
        self.generation_bytes + self.pinned_bytes.saturating_sub(hot_bytes)
    }
}

/// Moves the generations of one task into its store.
pub(crate) struct Drain {
    pub(crate) shared: Arc<Shared>,
    pub(crate) group: u16,
    /// What is told to the changelog once rows are durable.
    pub(crate) consumer: Consumer,
    pub(crate) counters: Arc<Counters>,
    /// One drain of an engine at a time: the term that one writes is that of the log when it is written.
    pub(crate) turn: Arc<Mutex<()>>,
}

impl Drain {
    /// Makes everything published so far durable. `false` if there was nothing to do.
    ///
    /// # Errors
    /// `Unavailable` if the disk is full, or an error of the store or changelog. What was published stays
    /// readable; nothing was written.
    pub(crate) fn run(&self) -> Result<bool> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let published = self.shared.published();
        let Some(last) = published.generations.last() else { return Ok(false) };
        let newest = Newest::new(&published.generations);
        let span = tracing::debug_span!("drain", epoch = last.epoch, rows = newest.len());
        let _entered = span.enter();
        // Before the sync, so that it is durable before the state speaks of it.
        let term = self.consumer.changelog.term()?;
        fault::point("drain.before_sync")?;
        self.consumer.changelog.sync()?;
        fault::point("drain.after_sync")?;
        let mut head: Vec<(Vec<u8>, Vec<u8>)> =
            vec![(layout::position_key(self.group).to_vec(), layout::encode_position(&last.position))];
        head.extend(
            last.counts.iter().map(|(&table, &rows)| {
                (layout::count_key(table).to_vec(), layout::encode_count(rows).to_vec())
            }),
        );
        // Behind the counts, in the order of the keys.
        head.extend(term.map(|term| (layout::TERM_KEY.to_vec(), layout::encode_term(&term.id()))));
        let head = head.iter().map(|(key, value)| -> Row<'_> { (key, Some(value)) });
        let store = self.shared.store()?;
        let shared = &self.shared;
        store.wait_for_room_until(&|| shared.host().is_closing() || shared.check().is_err());
        fault::point("drain.before_ingest")?;
        store.ingest(&mut head.chain(newest.rows()))?;
        fault::point("drain.after_ingest")?;
        self.shared.drop_drained(last.epoch);
        fault::point("drain.after_drop")?;
        self.counters.drains.fetch_add(1, Ordering::Relaxed);
        self.consumer.hold(&last.position)?;
        Ok(true)
    }

    /// How much is not drained yet.
    pub(crate) fn backlog(&self) -> Backlog {
        let published = self.shared.published();
        Backlog {
            generation_bytes: published.generations.iter().map(|generation| generation.bytes()).sum(),
            pinned_bytes: published.generations.iter().map(|generation| generation.pinned_bytes).sum(),
        }
    }
}
