//! What an engine tells of itself.

use super::Handles;
use crate::changelog::Changelog;
use crate::drain::Drain;
use crate::graph::Graph;
use crate::query::Serving;
use crate::task::Counters;
use crate::{Position, Result, TopicPartition};
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

/// Counts and sizes of an engine at one moment.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Stats {
    /// Records folded since the engine was opened.
    pub records_in: u64,
    /// Records appended to derived topics and dead letters.
    pub records_out: u64,
    /// Records sent to the dead letters.
    pub dead_letters: u64,
    /// Epochs published.
    pub epochs: u64,
    /// Drains completed.
    pub drains: u64,
    /// Which input the tables include.
    pub position: Position,
    /// Records of each partition that are not folded yet.
    pub lag: BTreeMap<TopicPartition, u64>,
    /// Generations that are not drained yet, and the bytes they hold.
    pub undrained_generations: usize,
    /// Bytes of generations that are not drained yet.
    pub undrained_bytes: usize,
    /// What the records of the whole changelog take where they are stored, in bytes, also those of topics that the engine
    /// does not read; `None` if the changelog does not tell.
    pub changelog_bytes: Option<u64>,
    /// What the changelog takes on disk, in bytes, with what retention has dropped and is not freed yet; `None` if the
    /// changelog does not tell.
    pub changelog_disk_bytes: Option<u64>,
    /// The tables by name.
    pub tables: BTreeMap<String, TableStats>,
    /// Sizes and counts of the store.
    pub store: Vec<(&'static str, u64)>,
}

/// Counts and sizes of one table.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct TableStats {
    /// Whether the table is still being built.
    pub building: bool,
    /// Rows.
    pub rows: u64,
    /// Entries in memory.
    pub hot_entries: usize,
    /// About how many bytes they take.
    pub hot_bytes: usize,
    /// Values that a fold found in memory.
    pub hits: u64,
    /// Values that it had to fetch from the store.
    pub misses: u64,
}

impl TableStats {
    /// The part of the values that were found in memory, from 0.0 to 1.0; 1.0 if none was asked for.
    #[must_use]
    pub fn hit_rate(&self) -> f64 {
        let total = self.hits + self.misses;
        #[expect(clippy::cast_precision_loss, reason = "a rate needs no more than 52 bits")]
        if total == 0 { 1.0 } else { self.hits as f64 / total as f64 }
    }
}

pub(super) fn collect(
    handles: &Handles,
    counters: &Counters,
    drains: &Mutex<Vec<Arc<Drain>>>,
) -> Result<Stats> {
    handles.shared.check()?;
    let published = handles.shared.published();
    let undrained_bytes =
        drains.lock().unwrap_or_else(PoisonError::into_inner).iter().map(|drain| drain.backlog_bytes()).sum();
    let mut tables = BTreeMap::new();
    for cell in handles.cells.iter() {
        let mut stats = TableStats { building: true, ..TableStats::default() };
        if let Serving::Live(table) = &*cell.serving.read().unwrap_or_else(PoisonError::into_inner) {
            (stats.hot_entries, stats.hot_bytes) = table.hot();
            (stats.hits, stats.misses) = table.cache();
            stats.rows = published.counts.get(&table.id()).copied().unwrap_or(0);
            stats.building = false;
        }
        tables.insert(cell.name.to_string(), stats);
    }
    Ok(Stats {
        records_in: counters.records_in.load(Ordering::Relaxed),
        records_out: counters.records_out.load(Ordering::Relaxed),
        dead_letters: counters.dead_letters.load(Ordering::Relaxed),
        epochs: counters.epochs.load(Ordering::Relaxed),
        drains: counters.drains.load(Ordering::Relaxed),
        position: published.position.clone(),
        lag: lag(&*handles.changelog, &handles.graph, &published.position).collect::<Result<_>>()?,
        undrained_generations: published.generations.len(),
        undrained_bytes,
        changelog_bytes: handles.changelog.stored_bytes()?,
        changelog_disk_bytes: handles.changelog.disk_bytes()?,
        tables,
        store: handles.shared.store()?.measures(),
    })
}

/// How many records of each partition that `graph` reads lie beyond `position`.
pub(super) fn lag<'p>(
    changelog: &'p dyn Changelog,
    graph: &'p Graph,
    position: &'p Position,
) -> impl Iterator<Item = Result<(TopicPartition, u64)>> + 'p {
    let read = position.iter().filter(|(id, _)| graph.reads(&id.topic));
    read.map(|(id, next)| Ok((id.clone(), changelog.offsets(id)?.end.saturating_sub(next))))
}
