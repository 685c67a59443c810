//! What tables forget as time comes on: which rows, how many, and when their space is given back.
//!
//! Below which key a table has forgotten its rows is published and stored with how many it has. It is what the graph says of how far
//! partitions have come, or what it was before if that is more: a graph that keeps rows for longer brings none back. Rows are counted
//! once more when they are forgotten, by a scan of what is between the former cutoff and the next one.
//!
//! Invariant: what the store is told to forget was durably forgotten before.

use super::{Setting, Task};
use crate::graph::Graph;
use crate::query::each_key;
use crate::state::{Generation, RowCounts};
use crate::store::layout::{self, RowCount, TableId};
use crate::store::{Row, StateStore};
use crate::time::StreamTimes;
use crate::{Error, Result};
use std::collections::BTreeMap;
use std::ops::Range;

/// Rows of a state: what is stored, and what is not drained yet.
struct Rows<'a> {
    store: &'a dyn StateStore,
    generations: &'a [&'a Generation],
}

/// What a table has in memory of rows that were forgotten.
pub(super) enum InMemory {
    /// These rows.
    Rows(Vec<Vec<u8>>),
    /// So many of all that there are that it pays to look at each.
    Many,
}

/// What was forgotten and is in memory, by the number of the table.
pub(super) type ForgottenRows = Vec<(usize, InMemory)>;

/// If one in so many of the rows in memory was forgotten, it pays to look at every one of them instead of asking for each that was.
const ONE_IN: usize = 16;

/// Raises the cutoffs in `counts` to where they are once partitions have come as far as `times`, for the tables of `graph` that have
/// an id, and takes the rows below out of the counts. `each` is told of every one.
///
/// # Errors
/// Those of the store and of `each`.
fn raise(
    graph: &Graph,
    ids: &[Option<TableId>],
    times: &StreamTimes,
    counts: &mut BTreeMap<TableId, RowCount>,
    rows: &Rows<'_>,
    each: &mut dyn FnMut(usize, &[u8]) -> Result<()>,
) -> Result<bool> {
    let mut snapshot = None;
    for (table, first_kept) in graph.first_kept(times) {
        let Some(id) = ids.get(table).copied().flatten() else { continue };
        let Some(count) = counts.get_mut(&id) else { continue };
        let mut cutoff = layout::table_range(id).0.to_vec();
        cutoff.extend(first_kept);
        if count.cutoff.as_deref() >= Some(&*cutoff) {
            continue;
        }
        let from =
            count.cutoff.take().map_or_else(|| layout::table_range(id).0.to_vec(), |from| from.to_vec());
        if snapshot.is_none() {
            snapshot = Some(rows.store.snapshot()?);
        }
        let Some(stored) = &snapshot else { continue };
        let mut forgotten = 0;
        each_key(&**stored, rows.generations, &*from..&*cutoff, &mut |row| {
            forgotten += 1;
            each(table, row)
        })?;
        *count = RowCount { rows: count.rows.saturating_sub(forgotten), cutoff: Some(cutoff.into()) };
    }
    Ok(snapshot.is_some())
}

/// As the tables with these ids have forgotten their rows once partitions have come as far as `times`, where all of them are stored. What
/// is new of it is stored, too: that rows are counted anew, or kept for less long.
///
/// # Errors
/// Those of the store.
pub(super) fn at_rest(
    setting: &Setting,
    store: &dyn StateStore,
    ids: &[Option<TableId>],
    times: &StreamTimes,
    counts: &mut BTreeMap<TableId, RowCount>,
) -> Result<()> {
    let rows = Rows { store, generations: &[] };
    if raise(&setting.graph, ids, times, counts, &rows, &mut |_, _| Ok(()))? {
        let counts: Vec<_> = counts
            .iter()
            .filter(|(_, count)| count.cutoff.is_some())
            .map(|(&table, count)| (layout::count_key(table), layout::encode_count(count)))
            .collect();
        store.ingest(&mut counts.iter().map(|(key, count)| -> Row<'_> { (key, Some(count)) }))?;
    }
    Ok(())
}

/// The keys of stored rows that are forgotten.
pub(super) fn forgotten(counts: &RowCounts) -> Vec<Range<Vec<u8>>> {
    let ranges = counts.iter().filter_map(|(&table, count)| {
        let cutoff = count.cutoff.as_ref()?;
        Some(layout::table_range(table).0.to_vec()..cutoff.to_vec())
    });
    ranges.collect()
}

impl Task {
    /// Forgets what is to be forgotten with an epoch that has come as far as `times`, of which `newest` are the rows. Answers with what
    /// is to be [dropped](Self::drop_forgotten) from memory once it is published.
    ///
    /// # Errors
    /// Those of the store.
    pub(super) fn forget(
        &self,
        times: &StreamTimes,
        counts: &mut BTreeMap<TableId, RowCount>,
        generations: &[&Generation],
    ) -> Result<ForgottenRows> {
        let mut in_memory = ForgottenRows::new();
        let store = self.shared.store()?;
        let rows = Rows { store: &*store, generations };
        raise(&self.setting.graph, &self.ids, times, counts, &rows, &mut |index, row| {
            let table = self.table(index).ok_or_else(|| Error::internal("a table with rows is not there"))?;
            if in_memory.last().is_none_or(|(last, _)| *last != index) {
                in_memory.push((index, InMemory::Rows(Vec::new())));
            }
            let Some((_, found)) = in_memory.last_mut() else { return Ok(()) };
            if let InMemory::Rows(rows) = found
                && table.holds(row)?
            {
                rows.push(row.to_vec());
                if rows.len() > table.hot().0 / ONE_IN {
                    *found = InMemory::Many;
                }
            }
            Ok(())
        })?;
        Ok(in_memory)
    }

    /// Drops from memory what is published as forgotten.
    ///
    /// # Errors
    /// `Corrupt` if a key does not decode.
    pub(super) fn drop_forgotten(&self, forgotten: &ForgottenRows) -> Result<()> {
        forgotten.iter().try_for_each(|(index, found)| match (self.table(*index), found) {
            (Some(table), InMemory::Rows(rows)) => table.forget(rows),
            (Some(table), InMemory::Many) => {
                table.forget_all();
                Ok(())
            }
            (None, _) => Ok(()),
        })
    }
}
