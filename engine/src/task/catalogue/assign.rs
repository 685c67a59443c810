//! The assignment: what becomes of every table when a graph is opened on a state. Decided in memory; nothing is written.
//!
//! Adding, removing or reordering tables never touches another one. A table that is new to a state which has already
//! consumed input, or whose version was raised, is built apart, from the start of the changelog, together with
//! everything that derives from it.

use super::compare::{can_read, unchanged};
use super::{BUILD_GROUP, Catalogue, CatalogueWrite, former_group, is_building, is_kept};
use crate::graph::{Graph, TableSpec};
use crate::store::StateStore;
use crate::store::layout::{self, CatalogueEntry, MAIN_GROUP, RowCount, TableId, TableStage, Types};
use crate::time::Reached;
use crate::{Error, Result};
use std::collections::{BTreeMap, BTreeSet};

/// A set of nodes and the tables they write.
pub(crate) struct TaskGroup {
    pub(crate) nodes: BTreeSet<usize>,
    /// By the table's number in the graph.
    pub(crate) ids: Vec<Option<TableId>>,
    pub(crate) reached: Reached,
    pub(crate) counts: BTreeMap<TableId, RowCount>,
}

impl TaskGroup {
    /// The topics on which rows of the group depend. One that only streams read is not among them.
    pub(crate) fn depends_on<'g>(&self, graph: &'g Graph) -> BTreeSet<&'g str> {
        topics_of(graph, &self.ids)
    }
}

/// The topics on which rows of those tables depend that have an id; by the table's number in the graph.
pub(crate) fn topics_of<'g>(graph: &'g Graph, ids: &[Option<TableId>]) -> BTreeSet<&'g str> {
    let tables = (0..).zip(ids).filter_map(|(table, id)| id.map(|_| table)).collect();
    let nodes = builders(graph, &tables).into_iter().filter_map(|id| graph.nodes.get(id));
    nodes.filter_map(|node| node.topic()).collect()
}

/// How a state is taken up by a graph.
pub(crate) struct Assignment {
    pub(crate) main: TaskGroup,
    pub(crate) build: Option<TaskGroup>,
    /// Tables that answer with the rows of an older version meanwhile.
    pub(crate) former: Vec<Option<OlderVersion>>,
}

/// An older version of a table.
pub(crate) struct OlderVersion {
    pub(crate) id: TableId,
    /// Where its rows stand.
    pub(crate) reached: Reached,
}

impl Catalogue {
    /// Decides what becomes of every table; [`carry_out`](Self::carry_out) writes it down. `sets_aside` says whether records
    /// that fail are left out.
    ///
    /// # Errors
    /// `Invalid` for a table whose types or codec changed under the same version, or whose version is older than
    /// the state's; those of the store.
    pub(crate) fn assign(
        &mut self,
        store: &dyn StateStore,
        graph: &Graph,
        sets_aside: bool,
    ) -> Result<Assignment> {
        self.sweep(store)?;
        self.take_back(graph);
        let mut build = self.to_build(graph)?;
        self.learn(graph);
        if sets_aside {
            add_what_it_derives_from(graph, &mut build);
        }
        let affected = affected(graph, &mut build);
        self.retire_removed(graph);
        self.leave_behind(graph, &build);
        let former = self.former(graph, &build);
        let all: BTreeSet<usize> = (0..graph.nodes.len()).collect();
        let main_tables: BTreeSet<usize> =
            (0..graph.tables.len()).filter(|table| !build.contains(table)).collect();
        let main = TaskGroup {
            nodes: all.difference(&affected).copied().collect(),
            ids: self.take_up(graph, &main_tables, MAIN_GROUP)?,
            reached: self.reached(MAIN_GROUP),
            counts: self.counts(store, is_kept)?,
        };
        let build = if build.is_empty() { None } else { Some(self.build_group(store, graph, &build)?) };
        if build.is_none() {
            self.drop_build();
        }
        Ok(Assignment { main, build, former })
    }

    fn reached(&self, group: u16) -> Reached {
        self.reached.get(&group).cloned().unwrap_or_default()
    }

    /// The table that answers under `name`, kept up to date or not.
    fn kept(&self, name: &str) -> Option<&CatalogueEntry> {
        self.entries.iter().find(|entry| entry.name == name && is_kept(entry))
    }

    /// Takes back tables that were left behind for a rebuild which was then given up, if no input has been consumed
    /// since: their rows are as good as ever.
    fn take_back(&mut self, graph: &Graph) {
        let main = self.reached(MAIN_GROUP);
        let mut writes = (Vec::new(), Vec::new());
        for entry in self.entries.iter_mut().filter(|entry| entry.state == TableStage::Former) {
            let wanted = graph.tables.iter().any(|spec| is_version(entry, spec));
            if wanted
                && self.reached.get(&entry.group).is_some_and(|reached| reached.position == main.position)
            {
                writes.1.push((entry.group, None));
                self.reached.remove(&entry.group);
                entry.state = TableStage::Ready;
                entry.group = MAIN_GROUP;
                writes.0.push(entry.clone());
            }
        }
        self.decide(writes.0, writes.1);
    }

    /// The tables that are new, or new in their version.
    fn to_build(&self, graph: &Graph) -> Result<BTreeSet<usize>> {
        let consumed = self.reached.contains_key(&MAIN_GROUP);
        let mut build = BTreeSet::new();
        for (index, spec) in graph.tables.iter().enumerate() {
            let current = match self.kept(&spec.name) {
                Some(entry) if entry.version == spec.version => {
                    unchanged(entry, spec)?;
                    // If a rebuild was begun and given up, its input has gone past these rows.
                    entry.state == TableStage::Ready
                }
                Some(entry) if entry.version > spec.version => {
                    return Err(Error::invalid(format!(
                        "the state holds version {} of table `{}`, the graph has version {}; run the newer code, or \
                         raise the version to rebuild the table",
                        entry.version, spec.name, spec.version
                    )));
                }
                Some(_) => false,
                None => !consumed,
            };
            if !current {
                build.insert(index);
            }
        }
        Ok(build)
    }

    /// Entries of 0.1 know types by their names. From here on they know the shapes of the tables that go on with them; and
    /// which fold writes a table, once that is said.
    fn learn(&mut self, graph: &Graph) {
        let mut learned = Vec::new();
        for spec in graph.tables.iter() {
            let lacks = |entry: &&mut CatalogueEntry| {
                is_version(entry, spec)
                    && (entry.types == Types::Names || entry.fold_id.clone().learn(&spec.fold_id))
            };
            for entry in self.entries.iter_mut().filter(lacks) {
                if entry.state != TableStage::Retired && unchanged(entry, spec).is_ok() {
                    entry.types = Types::Shapes;
                    entry.fold_id.learn(&spec.fold_id);
                    entry.key_schema.clone_from(&spec.key_shape);
                    entry.value_schema = spec.value_shape.to_text();
                    learned.push(entry.clone());
                }
            }
        }
        self.decide(learned, Vec::new());
    }

    /// Marks the tables in whose place others are built: from here on the main group goes past their rows, which stay
    /// at its position of now, each in a group of its own.
    fn leave_behind(&mut self, graph: &Graph, build: &BTreeSet<usize>) {
        let names: BTreeSet<&str> =
            build.iter().filter_map(|&table| graph.tables.get(table)).map(|spec| &*spec.name).collect();
        let main = self.reached(MAIN_GROUP);
        let (mut left, mut reached) = (Vec::new(), Vec::new());
        for entry in &mut self.entries {
            if entry.state == TableStage::Ready && names.contains(entry.name.as_str()) {
                entry.state = TableStage::Former;
                entry.group = former_group(entry.id);
                self.reached.insert(entry.group, main.clone());
                reached.push((entry.group, Some(main.clone())));
                left.push(entry.clone());
            }
        }
        self.decide(left, reached);
    }

    /// The older versions that can answer while their successors are built: those whose types are the same.
    fn former(&self, graph: &Graph, build: &BTreeSet<usize>) -> Vec<Option<OlderVersion>> {
        let former = |(index, spec): (usize, &TableSpec)| {
            let entry = self.kept(&spec.name).filter(|_| build.contains(&index))?;
            let reached = || self.reached(entry.group);
            can_read(entry, spec).then(|| OlderVersion { id: entry.id, reached: reached() })
        };
        graph.tables.iter().enumerate().map(former).collect()
    }

    /// Gives each of `tables` the id it has in `group`, or a new one.
    fn take_up(
        &mut self,
        graph: &Graph,
        tables: &BTreeSet<usize>,
        group: u16,
    ) -> Result<Vec<Option<TableId>>> {
        let state = if group == MAIN_GROUP { TableStage::Ready } else { TableStage::Building };
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
        self.entries.extend(added.iter().cloned());
        self.decide(added, Vec::new());
        Ok(ids)
    }

    /// The group that builds `wanted` and everything they derive from, taken up where it was left if it is the same.
    fn build_group(
        &mut self,
        store: &dyn StateStore,
        graph: &Graph,
        wanted: &BTreeSet<usize>,
    ) -> Result<TaskGroup> {
        let nodes = builders(graph, wanted);
        let tables: BTreeSet<usize> = nodes
            .iter()
            .filter_map(|&id| graph.nodes.get(id))
            .flat_map(|n| n.writes.iter().copied())
            .collect();
        let begun: Vec<&CatalogueEntry> = self.building().collect();
        let same = begun.len() == tables.len()
            && tables.iter().filter_map(|&table| graph.tables.get(table)).all(|spec| {
                begun.iter().any(|entry| is_version(entry, spec) && unchanged(entry, spec).is_ok())
            });
        if !same {
            self.drop_build();
        }
        let ids = self.take_up(graph, &tables, BUILD_GROUP)?;
        Ok(TaskGroup {
            nodes,
            ids,
            reached: self.reached(BUILD_GROUP),
            counts: self.counts(store, is_building)?,
        })
    }

    /// The row counts of the tables that are `wanted`. Two groups must not know the counts of the same table: the drain of one
    /// would write down what the other has since changed.
    fn counts(
        &self,
        store: &dyn StateStore,
        wanted: impl Fn(&CatalogueEntry) -> bool,
    ) -> Result<BTreeMap<TableId, RowCount>> {
        let mut counts: BTreeMap<TableId, RowCount> =
            super::read_all(&*store.snapshot()?, layout::count_range(), |key, stored| {
                Ok((layout::decode_count_key(key)?, layout::decode_count(stored)?))
            })?;
        counts.retain(|id, _| self.entries.iter().any(|entry| entry.id == *id && wanted(entry)));
        Ok(counts)
    }

    fn building(&self) -> impl Iterator<Item = &CatalogueEntry> {
        self.entries.iter().filter(|entry| is_building(entry))
    }

    /// Retires whatever an earlier build has left.
    fn drop_build(&mut self) {
        let begun: Vec<TableId> = self.building().map(|entry| entry.id).collect();
        // The rows first: without a position they would be folded into once more.
        self.retire(&begun);
        if self.reached.remove(&BUILD_GROUP).is_some() {
            self.decide(Vec::new(), vec![(BUILD_GROUP, None)]);
        }
    }

    fn retire_removed(&mut self, graph: &Graph) {
        let wanted: BTreeSet<&str> = graph.tables.iter().map(|table| &*table.name).collect();
        let removed: Vec<TableId> = self
            .entries
            .iter()
            .filter(|entry| is_kept(entry) && !wanted.contains(entry.name.as_str()))
            .map(|entry| entry.id)
            .collect();
        self.retire(&removed);
    }

    fn decide(&mut self, entries: Vec<CatalogueEntry>, reached: Vec<(u16, Option<Reached>)>) {
        if !entries.is_empty() || !reached.is_empty() {
            self.pending.push(CatalogueWrite::Entries(entries, reached));
        }
    }
}

/// Whether `entry` is of the table and version of `spec`.
fn is_version(entry: &CatalogueEntry, spec: &TableSpec) -> bool {
    *entry.name == *spec.name && entry.version == spec.version
}

fn entry(spec: &TableSpec, id: TableId, group: u16, state: TableStage) -> CatalogueEntry {
    CatalogueEntry {
        name: spec.name.to_string(),
        id,
        kind: spec.kind.to_owned(),
        version: spec.version,
        types: Types::Shapes,
        key_schema: spec.key_shape.clone(),
        value_codec: spec.value_codec.to_owned(),
        value_schema: spec.value_shape.to_text(),
        group,
        state,
        row_format: layout::ROW_FORMAT,
        fold_id: spec.fold_id.clone(),
    }
}

/// Adds all tables that `tables` derive from, and all that derives from these.
///
/// A build may leave out other records than were left out before, by other code. Were the tables above kept, it would agree
/// with tables of its own that are given up in the end, and not with those that go on: a group would lose members that it
/// never had.
fn add_what_it_derives_from(graph: &Graph, tables: &mut BTreeSet<usize>) {
    let mut known = 0;
    while known < tables.len() {
        known = tables.len();
        let above = builders(graph, tables);
        tables.extend(above.iter().filter_map(|&id| graph.nodes.get(id)).flat_map(|node| &node.writes));
        affected(graph, tables);
    }
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
