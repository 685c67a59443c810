//! Counting the different values of a group, with a row for each of them.
//!
//! An index has a row for each group and value, with how many members have it. A value is counted when its first member
//! comes, and no more when its last one goes; a group without members is absent. The members of a table leave when their
//! rows change or are deleted; those of a stream stay. Repeated values in one epoch change the index and, if every update
//! of the result counts, the result step by step. Late timestamps play no part. Empty input changes nothing.

use super::GroupedTable;
use super::StoredTable;
use super::regroup::Delta;
use millpond_engine::Result;
use millpond_engine::codec::{Bincode, Key, Value};
use millpond_engine::dataflow::{Changes, Context, Detail, Event, Failure, Operator, Stamp};
use millpond_engine::graph::{Builder, Interleaving, NodeRef, TableOptions, TableRef};
use std::marker::PhantomData;

impl<K: Key, V: Value> GroupedTable<K, V> {
    /// Counts the different values that `of` takes from the rows of each group.
    ///
    /// There is a row for each group and value in the table `<store>.index`, so that groups may have any number of members;
    /// the values must be keys. A value is counted when its first member comes, and no more when its last one goes; a group
    /// without members is absent.
    ///
    /// # Examples
    /// ```
    /// use millpond::testing::Driver;
    /// use millpond::{GraphBuilder, Topic};
    ///
    /// // Visitor -> (page, country)
    /// let visits = Topic::<u64, (String, String)>::new("visits");
    /// let graph = GraphBuilder::new();
    /// let by_page = graph.table(&visits, "visits").group_by(|_, (page, country)| (page.clone(), country.clone()));
    /// let countries = by_page.distinct_count("countries", String::clone);
    /// let mut driver = Driver::new(&graph.build()?)?;
    /// for (visitor, country) in [(1, "FR"), (2, "IT"), (3, "FR")] {
    ///     driver.put(&visits, visitor, ("home".to_owned(), country.to_owned()), 0)?;
    /// }
    /// driver.run()?;
    /// assert_eq!(driver.table(&countries)?, [("home".to_owned(), 2)].into());
    /// # Ok::<(), millpond::Error>(())
    /// ```
    pub fn distinct_count<T: Key>(
        &self,
        store: impl Into<TableOptions<u64>>,
        of: impl Fn(&V) -> T + Send + Sync + 'static,
    ) -> StoredTable<K, u64> {
        let of = move |delta: Delta<V>| member(&of, &delta);
        let (node, table) = distinct_count(&self.builder, self.node, store.into(), of);
        StoredTable::from_node(&self.builder, node, table)
    }
}

/// The value of a member, and whether it joins its group.
pub(super) fn member<V, T>(of: impl Fn(&V) -> T, delta: &Delta<V>) -> (T, bool) {
    match delta {
        Delta::Join(value) => (of(value), true),
        Delta::Leave(value) => (of(value), false),
    }
}

/// Where the members of the groups in `store` are kept.
pub(super) fn index<G: Key, T: Key, W: Value>(
    builder: &Builder,
    store: &TableOptions<W>,
) -> TableRef<(G, T), u64> {
    let name = format!("{}.index", store.name());
    builder.table("index", TableOptions::with_codec(&name, Bincode).version(store.table_version()))
}

/// Adds a node that counts the different values of each group, of members that `node` puts out.
pub(crate) fn distinct_count<G: Key, D: Clone + Send + 'static, T: Key>(
    builder: &Builder,
    node: NodeRef<Vec<Event<G, D>>>,
    store: TableOptions<u64>,
    of: impl Fn(D) -> (T, bool) + Send + Sync + 'static,
) -> (NodeRef<Changes<G, u64>>, TableRef<G, u64>) {
    let index = index(builder, &store);
    let table: TableRef<G, u64> = builder.table("distinct_count", store);
    let operator = DistinctCount { index, table, of, member: PhantomData };
    let writes = [index.index(), table.index()];
    let node = builder.operator("distinct_count", node, &writes, &[], operator);
    builder.interleaving(node, Interleaving::Commutes);
    (node, table)
}

/// One member more or less: how many there were of its value, and how many there are.
pub(super) struct Counted<G, T> {
    pub(super) group: G,
    pub(super) value: T,
    pub(super) stamp: Stamp,
    pub(super) old: u64,
    pub(super) new: u64,
}

/// Counts the members of every value; answers in the order of `deltas`.
pub(super) fn count<G: Key, T: Key, D>(
    context: &mut Context<'_>,
    index: &TableRef<(G, T), u64>,
    deltas: Vec<Event<G, D>>,
    of: impl Fn(D) -> (T, bool),
) -> Result<Vec<Counted<G, T>>, Failure> {
    let mut counted = Vec::with_capacity(deltas.len());
    let mut events = Vec::with_capacity(deltas.len());
    for Event { key: group, value: delta, stamp } in deltas {
        context.at(&stamp);
        let (value, joins) = of(delta);
        let at = counted.len();
        events.push(Event { key: (group.clone(), value.clone()), value: (at, joins), stamp });
        counted.push(Counted { group, value, stamp, old: 0, new: 0 });
    }
    context.table(index)?.fold(context, events, Detail::Changes, |_, row, (at, joins)| {
        let old = row.unwrap_or(0);
        let new = if joins { old + 1 } else { old.saturating_sub(1) };
        *row = (new > 0).then_some(new);
        if let Some(counted) = counted.get_mut(at) {
            (counted.old, counted.new) = (old, new);
        }
    })?;
    Ok(counted)
}

struct DistinctCount<G, D, T, F> {
    index: TableRef<(G, T), u64>,
    table: TableRef<G, u64>,
    of: F,
    member: PhantomData<fn() -> D>,
}

impl<G, D, T, F> Operator for DistinctCount<G, D, T, F>
where
    G: Key,
    D: Clone + Send + 'static,
    T: Key,
    F: Fn(D) -> (T, bool) + Send + Sync + 'static,
{
    type Input = (Vec<Event<G, D>>,);
    type Output = Changes<G, u64>;

    fn run(
        &self,
        context: &mut Context<'_>,
        (deltas,): Self::Input,
    ) -> Result<Option<Self::Output>, Failure> {
        let counted = count(context, &self.index, deltas, &self.of)?;
        let events = counted
            .into_iter()
            .filter(|counted| (counted.old == 0) != (counted.new == 0))
            .map(|Counted { group, stamp, new, .. }| Event { key: group, value: new > 0, stamp })
            .collect();
        let table = context.table(&self.table)?;
        let record = context.detail();
        let updates = table.fold(context, events, record, |_, row, is_new| {
            let values = row.unwrap_or(0);
            let values = if is_new { values + 1 } else { values.saturating_sub(1) };
            *row = (values > 0).then_some(values);
        })?;
        if !context.is_read() {
            return Ok(None);
        }
        Ok(Some(table.changes(context, updates)?))
    }
}
