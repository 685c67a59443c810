//! The catalogue: which tables a state holds.
//!
//! A table is known by its name. What becomes of each table when a graph is opened is decided first, on the catalogue in
//! memory ([`assign`]), and written down afterwards ([`Catalogue::carry_out`]): an engine that cannot be opened changes
//! nothing. A table that is gone is retired; its id stays reserved.

mod assign;
mod compare;
#[cfg(feature = "rocks")]
mod found;
#[cfg(feature = "rocks")]
mod info;

#[cfg(test)]
mod tests;

pub(crate) use assign::{Assignment, OlderVersion, TaskGroup, topics_of};
#[cfg(feature = "rocks")]
pub(crate) use found::Found;
#[cfg(feature = "rocks")]
pub use info::{StateInfo, TableInfo};

use crate::graph::Graph;
use crate::store::layout::{self, CatalogueEntry, MAIN_GROUP, TableId, TableStage};
use crate::store::{StateStore, StoreSnapshot};
use crate::time::Reached;
use crate::{Error, Result, fault};
use std::collections::BTreeMap;

/// The group of tables that are being built.
pub(crate) const BUILD_GROUP: u16 = 1;

/// A change of the stored catalogue that was decided on.
enum CatalogueWrite {
    /// Entries, and where groups stand from now on.
    Entries(Vec<CatalogueEntry>, Vec<(u16, Option<Reached>)>),
    /// A retired table, whose rows go.
    Retired(CatalogueEntry),
}

/// The catalogue of a state.
pub(crate) struct Catalogue {
    entries: Vec<CatalogueEntry>,
    next: Option<TableId>,
    /// Where each group stands that has consumed anything.
    reached: BTreeMap<u16, Reached>,
    pending: Vec<CatalogueWrite>,
}

impl Catalogue {
    /// Reads the catalogue; an empty state gets a format version.
    ///
    /// # Errors
    /// `Corrupt` for an unknown format version or an entry that does not decode.
    pub(crate) fn open(store: &dyn StateStore) -> Result<Self> {
        if read_format_version(&mut |key, read| store.read(key, read))?.is_none() {
            let stored = layout::encode_format_version(layout::FORMAT_VERSION);
            let row = (layout::FORMAT_VERSION_KEY, Some(stored.as_slice()));
            store.ingest(&mut std::iter::once(row))?;
        }
        let now = store.snapshot()?;
        let entries: Vec<CatalogueEntry> =
            read_all(&*now, layout::catalogue_range(), |_, stored| layout::decode_catalogue_entry(stored))?;
        let reached = read_reached(&*now)?;
        let next = entries.iter().map(|entry| entry.id).max().map_or(Some(TableId::FIRST), TableId::next);
        Ok(Self { entries, next, reached, pending: Vec::new() })
    }

    /// Writes down what was decided.
    ///
    /// # Errors
    /// If the store failed; opening the state again decides on what is left.
    pub(crate) fn carry_out(&mut self, store: &dyn StateStore) -> Result<()> {
        for write in std::mem::take(&mut self.pending) {
            match write {
                CatalogueWrite::Entries(entries, reached) => write_entries(store, &entries, &reached)?,
                CatalogueWrite::Retired(entry) => {
                    let (table, version) = (&entry.name, entry.version);
                    tracing::info!(
                        table,
                        version,
                        "deleting the rows of a table that the graph does not have any more, or has as another one"
                    );
                    delete_rows(store, &entry)?;
                }
            }
        }
        Ok(())
    }

    /// Retires tables: their rows are to be deleted.
    fn retire(&mut self, ids: &[TableId]) {
        for entry in self.entries.iter_mut().filter(|entry| ids.contains(&entry.id)) {
            entry.state = TableStage::Retired;
            self.reached.remove(&former_group(entry.id));
            self.pending.push(CatalogueWrite::Retired(entry.clone()));
        }
    }

    /// Deletes what is left of tables that were retired before: the engine may have ended, or the store failed, after their
    /// successors took their places and before their rows were gone.
    fn sweep(&mut self, store: &dyn StateStore) -> Result<()> {
        let snapshot = store.snapshot()?;
        for entry in self.entries.iter().filter(|entry| entry.state == TableStage::Retired) {
            let mut left = self.reached.remove(&former_group(entry.id)).is_some();
            snapshot.read(&layout::count_key(entry.id), &mut |count| left |= count.is_some())?;
            let (first, past) = layout::table_range(entry.id);
            snapshot.scan(&first..&past, crate::store::Direction::Forward, &mut |_, _| {
                left = true;
                false
            })?;
            if left {
                self.pending.push(CatalogueWrite::Retired(entry.clone()));
            }
        }
        Ok(())
    }

    /// Puts the tables of a finished build in the place of the old ones, in one step. Returns the ids that are no
    /// longer needed: [`delete`](Self::delete) them.
    ///
    /// # Errors
    /// If the store failed; the build is then as unfinished as before.
    pub(crate) fn complete(
        &mut self,
        store: &dyn StateStore,
        graph: &Graph,
        built: &BTreeMap<usize, TableId>,
        reached: &Reached,
    ) -> Result<Vec<TableId>> {
        let mut entries = self.entries.clone();
        let mut unneeded = Vec::new();
        for entry in &mut entries {
            let replaced = built
                .keys()
                .any(|&table| graph.tables.get(table).is_some_and(|spec| *spec.name == *entry.name));
            if built.values().any(|id| *id == entry.id) {
                entry.state = TableStage::Ready;
                entry.group = MAIN_GROUP;
            } else if entry.state == TableStage::Building || (is_kept(entry) && replaced) {
                entry.state = TableStage::Retired;
                unneeded.push(entry.id);
            }
        }
        let reached = [(MAIN_GROUP, Some(reached.clone())), (BUILD_GROUP, None)];
        write_entries(store, &entries, &reached)?;
        self.entries = entries;
        Ok(unneeded)
    }

    /// Deletes the rows of retired tables.
    ///
    /// # Errors
    /// If the store failed; the next attempt begins anew.
    pub(crate) fn delete(&mut self, store: &dyn StateStore, ids: &[TableId]) -> Result<()> {
        self.retire(ids);
        self.carry_out(store)
    }
}

fn is_building(entry: &CatalogueEntry) -> bool {
    entry.state == TableStage::Building
}

fn is_kept(entry: &CatalogueEntry) -> bool {
    matches!(entry.state, TableStage::Ready | TableStage::Former)
}

/// The group of a table that is not kept up to date any more: its rows have a position of their own.
fn former_group(id: TableId) -> u16 {
    id.raw() + BUILD_GROUP
}

/// Writes catalogue entries and where groups stand, in one step.
fn write_entries(
    store: &dyn StateStore,
    entries: &[CatalogueEntry],
    reached: &[(u16, Option<Reached>)],
) -> Result<()> {
    let mut rows: Vec<(Vec<u8>, Option<Vec<u8>>)> = entries
        .iter()
        .map(|entry| (layout::catalogue_key(entry.id).to_vec(), Some(layout::encode_catalogue_entry(entry))))
        .collect();
    rows.extend(reached.iter().map(|(group, reached)| {
        (layout::position_key(*group).to_vec(), reached.as_ref().map(layout::encode_reached))
    }));
    rows.sort();
    fault::point("catalogue.before_write")?;
    store.ingest(&mut rows.iter().map(|(key, value)| (key.as_slice(), value.as_deref())))?;
    fault::point("catalogue.after_write")
}

/// Deletes all that is kept of a retired table but its entry.
fn delete_rows(store: &dyn StateStore, entry: &CatalogueEntry) -> Result<()> {
    let (first, past) = layout::table_range(entry.id);
    let position = layout::position_key(former_group(entry.id));
    let (catalogue, count) = (layout::catalogue_key(entry.id), layout::count_key(entry.id));
    let stored = layout::encode_catalogue_entry(entry);
    let rows = [(&position[..], None), (&catalogue[..], Some(stored.as_slice())), (&count[..], None)];
    fault::point("catalogue.before_retire")?;
    store.replace_range(&first..&past, &mut rows.into_iter())?;
    fault::point("catalogue.after_retire")
}

/// A read of one row of the engine's own.
type ReadRow<'a> = &'a mut dyn FnMut(&[u8], &mut dyn FnMut(Option<&[u8]>)) -> Result<()>;

/// The format version, which every state has but an empty one.
///
/// # Errors
/// `Corrupt` for one that this build does not know.
fn read_format_version(read: ReadRow<'_>) -> Result<Option<u32>> {
    let mut version = Ok(None);
    read(layout::FORMAT_VERSION_KEY, &mut |stored| {
        version = stored.map(layout::decode_format_version).transpose();
    })?;
    match version? {
        Some(other) if other != layout::FORMAT_VERSION => Err(Error::corrupt(format!(
            "the state has format version {other}, this build reads {}; open it with the release that wrote it, or delete \
             the state directory: it is rebuilt from the changelog",
            layout::FORMAT_VERSION
        ))),
        version => Ok(version),
    }
}

/// How far each group has come that has consumed anything.
fn read_reached(state: &dyn StoreSnapshot) -> Result<BTreeMap<u16, Reached>> {
    read_all(state, layout::position_range(), |key, stored| {
        Ok((layout::decode_position_key(key)?, layout::decode_reached(stored)?))
    })
}

/// Decodes every row of the engine's own whose key lies in a range.
fn read_all<T, C: FromIterator<T>>(
    state: &dyn StoreSnapshot,
    (first, past): ([u8; 3], [u8; 3]),
    decode: impl Fn(&[u8], &[u8]) -> Result<T>,
) -> Result<C> {
    let mut decoded = Vec::new();
    state.scan(&first..&past, crate::store::Direction::Forward, &mut |key, stored| {
        decoded.push(decode(key, stored));
        true
    })?;
    decoded.into_iter().collect()
}
