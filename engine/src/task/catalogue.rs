//! The catalogue: which tables a state holds, compared with the tables a graph wants.
//!
//! A table is known by its name. Adding, removing or reordering others never touches it. A table that is new to a
//! state which has already consumed input, or whose version was raised, is built apart, from the start of the
//! changelog, together with everything that derives from it; a table that is gone is retired and its id stays
//! reserved.

use crate::graph::{Graph, TableSpec};
use crate::store::StateStore;
use crate::store::layout::{self, CatalogueEntry, MAIN_GROUP, TableId, TableState};
use crate::{Error, Position, Result, fault};
use std::collections::{BTreeMap, BTreeSet};

/// The group of tables that are being built.
pub(crate) const BUILD_GROUP: u16 = 1;

/// A set of nodes and the tables they write.
pub(crate) struct Group {
    pub(crate) nodes: BTreeSet<usize>,
    /// By the table's number in the graph.
    pub(crate) ids: Vec<Option<TableId>>,
    pub(crate) position: Position,
    pub(crate) counts: BTreeMap<TableId, u64>,
}

/// How a state is taken up by a graph.
pub(crate) struct Assignment {
    pub(crate) main: Group,
    pub(crate) build: Option<Group>,
    /// Tables that answer with the rows of an older version meanwhile.
    pub(crate) former: Vec<Option<TableId>>,
}

/// The catalogue of a state.
pub(crate) struct Catalogue {
    entries: Vec<CatalogueEntry>,
    next: Option<TableId>,
}

impl Catalogue {
    /// Reads the catalogue; an empty state gets a format version.
    ///
    /// # Errors
    /// `Corrupt` for an unknown format version or an entry that does not decode.
    pub(crate) fn open(store: &dyn StateStore) -> Result<Self> {
        let mut version = Ok(None);
        store.read(layout::FORMAT_VERSION_KEY, &mut |stored| {
            version = stored.map(layout::decode_format_version).transpose();
        })?;
        match version? {
            Some(layout::FORMAT_VERSION) => {}
            Some(other) => {
                return Err(Error::corrupt(format!(
                    "the state has format version {other}, this build reads {}; open it with the release that wrote \
                     it, or delete the state directory: it is rebuilt from the changelog",
                    layout::FORMAT_VERSION
                )));
            }
            None => {
                let stored = layout::encode_format_version(layout::FORMAT_VERSION);
                let row = (layout::FORMAT_VERSION_KEY, Some(stored.as_slice()));
                store.ingest(&mut std::iter::once(row))?;
            }
        }
        let (first, past) = layout::catalogue_range();
        let mut entries = Vec::new();
        let mut failed = None;
        store.snapshot()?.scan(&first..&past, crate::store::Direction::Forward, &mut |_, stored| {
            match layout::decode_catalogue_entry(stored) {
                Ok(entry) => entries.push(entry),
                Err(error) => failed = Some(error),
            }
            failed.is_none()
        })?;
        if let Some(error) = failed {
            return Err(error);
        }
        let next = entries.iter().map(|entry| entry.id).max().map_or(Some(TableId::FIRST), TableId::next);
        Ok(Self { entries, next })
    }

    /// Decides what becomes of every table, and writes it down.
    ///
    /// # Errors
    /// `Invalid` for a table whose types or codec changed under the same version, or whose version is older than
    /// the state's.
    pub(crate) fn assign(&mut self, store: &dyn StateStore, graph: &Graph) -> Result<Assignment> {
        let position = read_position(store, MAIN_GROUP)?;
        let consumed = position.is_some();
        let mut build = BTreeSet::new();
        for (index, spec) in graph.tables.iter().enumerate() {
            match self.kept(&spec.name) {
                Some(entry) if entry.version == spec.version => {
                    unchanged(entry, spec)?;
                    if entry.state == TableState::Former {
                        // A rebuild was begun and given up; its input has gone past these rows.
                        build.insert(index);
                    }
                }
                Some(entry) if entry.version > spec.version => {
                    return Err(Error::invalid(format!(
                        "the state holds version {} of table `{}`, the graph has version {}; run the newer code, or \
                         raise the version to rebuild the table",
                        entry.version, spec.name, spec.version
                    )));
                }
                Some(_) => {
                    build.insert(index);
                }
                None if consumed => {
                    build.insert(index);
                }
                None => {}
            }
        }
        let affected = affected(graph, &mut build);
        self.retire_removed(store, graph)?;
        self.leave_behind(store, graph, &build)?;
        let former = self.former(graph, &build);
        let all: BTreeSet<usize> = (0..graph.nodes.len()).collect();
        let main_tables: BTreeSet<usize> =
            (0..graph.tables.len()).filter(|table| !build.contains(table)).collect();
        let main = Group {
            nodes: all.difference(&affected).copied().collect(),
            ids: self.take_up(store, graph, &main_tables, MAIN_GROUP)?,
            position: position.unwrap_or_default(),
            counts: self.counts(store, is_kept)?,
        };
        let build = if build.is_empty() { None } else { Some(self.build_group(store, graph, &build)?) };
        if build.is_none() {
            self.drop_build(store)?;
        }
        Ok(Assignment { main, build, former })
    }

    /// The table that answers under `name`, kept up to date or not.
    fn kept(&self, name: &str) -> Option<&CatalogueEntry> {
        self.entries.iter().find(|entry| entry.name == name && is_kept(entry))
    }

    /// Marks the tables in whose place others are built: from here on the position goes past their rows.
    fn leave_behind(&mut self, store: &dyn StateStore, graph: &Graph, build: &BTreeSet<usize>) -> Result<()> {
        let names: BTreeSet<&str> =
            build.iter().filter_map(|&table| graph.tables.get(table)).map(|spec| &*spec.name).collect();
        let mut left = Vec::new();
        for entry in &mut self.entries {
            if entry.state == TableState::Ready && names.contains(entry.name.as_str()) {
                entry.state = TableState::Former;
                left.push(entry.clone());
            }
        }
        write(store, &left, None)
    }

    /// The older versions that can answer while their successors are built: those whose types are the same.
    fn former(&self, graph: &Graph, build: &BTreeSet<usize>) -> Vec<Option<TableId>> {
        let former = |(index, spec): (usize, &TableSpec)| {
            let entry = self.kept(&spec.name).filter(|_| build.contains(&index))?;
            can_read(entry, spec).then_some(entry.id)
        };
        graph.tables.iter().enumerate().map(former).collect()
    }

    /// Gives each of `tables` the id it has in `group`, or a new one.
    fn take_up(
        &mut self,
        store: &dyn StateStore,
        graph: &Graph,
        tables: &BTreeSet<usize>,
        group: u16,
    ) -> Result<Vec<Option<TableId>>> {
        let state = if group == MAIN_GROUP { TableState::Ready } else { TableState::Building };
        let mut added = Vec::new();
        let mut ids = Vec::with_capacity(graph.tables.len());
        for (index, spec) in graph.tables.iter().enumerate() {
            if !tables.contains(&index) {
                ids.push(None);
                continue;
            }
            let known = self
                .entries
                .iter()
                .find(|entry| *entry.name == *spec.name && entry.group == group && entry.state == state);
            if let Some(entry) = known {
                ids.push(Some(entry.id));
                continue;
            }
            let id = self.next.ok_or_else(|| Error::invalid("the state has used up its 65,534 table ids"))?;
            self.next = id.next();
            ids.push(Some(id));
            added.push(entry(spec, id, group, state));
        }
        write(store, &added, None)?;
        self.entries.extend(added);
        Ok(ids)
    }

    /// The group that builds `wanted` and everything they derive from, taken up where it was left if it is the same.
    fn build_group(
        &mut self,
        store: &dyn StateStore,
        graph: &Graph,
        wanted: &BTreeSet<usize>,
    ) -> Result<Group> {
        let nodes = builders(graph, wanted);
        let tables: BTreeSet<usize> = nodes
            .iter()
            .filter_map(|&id| graph.nodes.get(id))
            .flat_map(|n| n.writes.iter().copied())
            .collect();
        let begun: Vec<&CatalogueEntry> = self.building().collect();
        let same = begun.len() == tables.len()
            && tables.iter().filter_map(|&table| graph.tables.get(table)).all(|spec| {
                begun.iter().any(|entry| {
                    *entry.name == *spec.name
                        && entry.version == spec.version
                        && unchanged(entry, spec).is_ok()
                })
            });
        if !same {
            self.drop_build(store)?;
        }
        let ids = self.take_up(store, graph, &tables, BUILD_GROUP)?;
        let position = read_position(store, BUILD_GROUP)?.unwrap_or_default();
        Ok(Group { nodes, ids, position, counts: self.counts(store, is_building)? })
    }

    /// The row counts of the tables that are `wanted`. Two groups must not know the counts of the same table: the drain of one
    /// would write down what the other has since changed.
    fn counts(
        &self,
        store: &dyn StateStore,
        wanted: impl Fn(&CatalogueEntry) -> bool,
    ) -> Result<BTreeMap<TableId, u64>> {
        let mut counts = read_counts(store)?;
        counts.retain(|id, _| self.entries.iter().any(|entry| entry.id == *id && wanted(entry)));
        Ok(counts)
    }

    fn building(&self) -> impl Iterator<Item = &CatalogueEntry> {
        self.entries.iter().filter(|entry| is_building(entry))
    }

    /// Retires whatever an earlier build has left.
    fn drop_build(&mut self, store: &dyn StateStore) -> Result<()> {
        let begun: Vec<TableId> = self.building().map(|entry| entry.id).collect();
        // The rows first: without a position they would be folded into once more.
        self.retire(store, &begun)?;
        if read_position(store, BUILD_GROUP)?.is_none() {
            return Ok(());
        }
        let key = layout::position_key(BUILD_GROUP);
        store.ingest(&mut std::iter::once((&key[..], None)))
    }

    fn retire_removed(&mut self, store: &dyn StateStore, graph: &Graph) -> Result<()> {
        let wanted: BTreeSet<&str> = graph.tables.iter().map(|table| &*table.name).collect();
        let removed: Vec<TableId> = self
            .entries
            .iter()
            .filter(|entry| is_kept(entry) && !wanted.contains(entry.name.as_str()))
            .map(|entry| entry.id)
            .collect();
        self.retire(store, &removed)
    }

    /// Marks tables as retired and deletes their rows.
    pub(crate) fn retire(&mut self, store: &dyn StateStore, ids: &[TableId]) -> Result<()> {
        for entry in &mut self.entries {
            if !ids.contains(&entry.id) {
                continue;
            }
            entry.state = TableState::Retired;
            let (first, past) = layout::table_range(entry.id);
            let (catalogue, count) = (layout::catalogue_key(entry.id), layout::count_key(entry.id));
            let stored = layout::encode_catalogue_entry(entry);
            let rows = [(&catalogue[..], Some(stored.as_slice())), (&count[..], None)];
            fault::point("catalogue.before_retire")?;
            store.replace_range(&first..&past, &mut rows.into_iter())?;
            fault::point("catalogue.after_retire")?;
        }
        Ok(())
    }

    /// Puts the tables of a finished build in the place of the old ones, in one step. Returns the ids that are no
    /// longer needed.
    ///
    /// # Errors
    /// If the store failed; the build is then as unfinished as before.
    pub(crate) fn complete(
        &mut self,
        store: &dyn StateStore,
        graph: &Graph,
        built: &BTreeMap<usize, TableId>,
        position: &Position,
    ) -> Result<Vec<TableId>> {
        let mut entries = self.entries.clone();
        let mut unneeded = Vec::new();
        for entry in &mut entries {
            let replaced = built
                .keys()
                .any(|&table| graph.tables.get(table).is_some_and(|spec| *spec.name == *entry.name));
            if built.values().any(|id| *id == entry.id) {
                entry.state = TableState::Ready;
                entry.group = MAIN_GROUP;
            } else if entry.state == TableState::Building || (is_kept(entry) && replaced) {
                entry.state = TableState::Retired;
                unneeded.push(entry.id);
            }
        }
        write(store, &entries, Some(position))?;
        self.entries = entries;
        Ok(unneeded)
    }
}

fn is_building(entry: &CatalogueEntry) -> bool {
    entry.state == TableState::Building
}

fn is_kept(entry: &CatalogueEntry) -> bool {
    matches!(entry.state, TableState::Ready | TableState::Former)
}

/// Writes catalogue entries; `built` is where the main group stands once it has taken in the build.
fn write(store: &dyn StateStore, entries: &[CatalogueEntry], built: Option<&Position>) -> Result<()> {
    let mut rows: Vec<(Vec<u8>, Option<Vec<u8>>)> = entries
        .iter()
        .map(|entry| (layout::catalogue_key(entry.id).to_vec(), Some(layout::encode_catalogue_entry(entry))))
        .collect();
    if let Some(position) = built {
        rows.push((layout::position_key(MAIN_GROUP).to_vec(), Some(layout::encode_position(position))));
        rows.push((layout::position_key(BUILD_GROUP).to_vec(), None));
    }
    if rows.is_empty() {
        return Ok(());
    }
    rows.sort();
    fault::point("catalogue.before_write")?;
    store.ingest(&mut rows.iter().map(|(key, value)| (key.as_slice(), value.as_deref())))?;
    fault::point("catalogue.after_write")
}

fn entry(spec: &TableSpec, id: TableId, group: u16, state: TableState) -> CatalogueEntry {
    CatalogueEntry {
        name: spec.name.to_string(),
        id,
        kind: spec.kind.to_owned(),
        version: spec.version,
        key_schema: spec.key_schema.clone(),
        value_codec: spec.value_codec.to_owned(),
        value_schema: spec.value_schema.clone(),
        group,
        state,
        row_format: layout::ROW_FORMAT,
    }
}

/// Whether the rows of `entry` have the types of `spec`. What the table is for does not matter to its readers: a fold
/// may become a join and still answer meanwhile.
fn can_read(entry: &CatalogueEntry, spec: &TableSpec) -> bool {
    entry.key_schema == spec.key_schema
        && entry.value_codec == spec.value_codec
        && entry.value_schema == spec.value_schema
        && entry.row_format == layout::ROW_FORMAT
}

/// Whether `spec` can go on with the table of `entry`.
fn unchanged(entry: &CatalogueEntry, spec: &TableSpec) -> Result<()> {
    let stored = [&entry.kind, &entry.key_schema, &entry.value_codec, &entry.value_schema];
    let wanted = [spec.kind, &spec.key_schema, spec.value_codec, &spec.value_schema];
    let names = ["kind", "key type", "value codec", "value type"];
    for ((name, stored), wanted) in names.iter().zip(stored).zip(wanted) {
        if stored != wanted {
            return Err(Error::invalid(format!(
                "the state holds table `{}` with {name} `{stored}`, the graph has `{wanted}`; go back to the former, or \
                 raise the table's version to rebuild it from the changelog",
                spec.name
            )));
        }
    }
    if entry.row_format != layout::ROW_FORMAT {
        return Err(Error::corrupt(format!(
            "table `{}` has rows of format {}, this build reads {}; raise its version to rebuild it",
            spec.name,
            entry.row_format,
            layout::ROW_FORMAT
        )));
    }
    Ok(())
}

/// The nodes that cannot run until `tables` are there: their writers and all that derives from them. Tables that
/// derived nodes write are added to `tables`.
fn affected(graph: &Graph, tables: &mut BTreeSet<usize>) -> BTreeSet<usize> {
    let mut affected = BTreeSet::new();
    for (id, node) in graph.nodes.iter().enumerate() {
        if node.writes.iter().any(|table| tables.contains(table))
            || node.inputs.iter().any(|input| affected.contains(input))
        {
            affected.insert(id);
            tables.extend(&node.writes);
        }
    }
    affected
}

/// The nodes that write `tables`, and all that they derive from.
fn builders(graph: &Graph, tables: &BTreeSet<usize>) -> BTreeSet<usize> {
    let mut needed = BTreeSet::new();
    for (id, node) in graph.nodes.iter().enumerate().rev() {
        if needed.contains(&id) || node.writes.iter().any(|table| tables.contains(table)) {
            needed.insert(id);
            needed.extend(&node.inputs);
        }
    }
    needed
}

fn read_position(store: &dyn StateStore, group: u16) -> Result<Option<Position>> {
    let mut position = Ok(None);
    store.read(&layout::position_key(group), &mut |stored| {
        position = stored.map(layout::decode_position).transpose();
    })?;
    position
}

fn read_counts(store: &dyn StateStore) -> Result<BTreeMap<TableId, u64>> {
    let (first, past) = layout::count_range();
    let mut counts = Ok(BTreeMap::new());
    store.snapshot()?.scan(&first..&past, crate::store::Direction::Forward, &mut |key, stored| {
        let decoded = layout::decode_count_key(key).and_then(|id| Ok((id, layout::decode_count(stored)?)));
        match (&mut counts, decoded) {
            (Ok(counts), Ok((id, rows))) => {
                counts.insert(id, rows);
            }
            (_, Err(error)) => counts = Err(error),
            (Err(_), Ok(_)) => {}
        }
        counts.is_ok()
    })?;
    counts
}
