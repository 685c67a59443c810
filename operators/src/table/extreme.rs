//! The extremes of the groups of a table, with a row for each value instead of one big value for each group.
//!
//! An index has a row for each group and value, in order, with how many members have it. When a row of the table changes,
//! its old value leaves its group and its new one joins; a deleted row only leaves. What a group says is read off the end of
//! the index: `min` and `max` are absent, and so is the list of `top_k`, for a group without members. Equal values
//! count as often as there are members, and cannot be told apart otherwise. Repeated keys arrive as one change per
//! epoch, unless every update of the result counts: then it is told after every step. Late timestamps play no part. Empty
//! input changes nothing.

use super::GroupedTable;
use super::StoredTable;
use super::distinct::{Counted, count, index, member};
use super::first::{Before, End, First};
use super::regroup::Delta;
use millpond_engine::Result;
use millpond_engine::codec::{Key, Value};
use millpond_engine::dataflow::{Changes, Context, Detail, Event, Failure, Operator};
use millpond_engine::graph::{Interleaving, TableOptions, TableRef};
use std::collections::{BTreeMap, BTreeSet};
use std::marker::PhantomData;

impl<K: Key, V: Value> GroupedTable<K, V> {
    /// The least value that `of` takes from the rows of each group; a group without rows is absent. When the row that has it
    /// changes or is deleted, the next one is known.
    ///
    /// There is a row for each group and value in the table `<store>.index`, so that groups may have any number of members:
    /// what a change costs does not grow with them. The values must be keys. To know whose the value is, take a tuple
    /// that ends in what tells the rows apart. An accumulator of all members, to be combined with others in one
    /// table, is [`aggregate::min`](crate::aggregate::min) in its `retractable()` form.
    ///
    /// # Examples
    /// ```
    /// use millpond::testing::Driver;
    /// use millpond::{GraphBuilder, Topic};
    ///
    /// // Offer -> (product, price)
    /// let offers = Topic::<u64, (String, u32)>::new("offers");
    /// let graph = GraphBuilder::new();
    /// let by_product = graph.table(&offers, "offers").group_by(|_, (product, price)| (product.clone(), *price));
    /// let cheapest = by_product.min("cheapest", |price| *price);
    /// let dearest = by_product.max("dearest", |price| *price);
    /// let top = by_product.top_k("top", 2, |price| *price);
    /// let mut driver = Driver::new(&graph.build()?)?;
    /// let tea = || "tea".to_owned();
    /// for (offer, price) in [(1, 5), (2, 3), (3, 9)] {
    ///     driver.put(&offers, offer, (tea(), price), 0)?;
    /// }
    /// driver.run()?;
    /// assert_eq!(driver.table(&cheapest)?, [(tea(), 3)].into());
    /// assert_eq!(driver.table(&top)?, [(tea(), vec![9, 5])].into());
    ///
    /// // The dearest offer is taken back: the next one is known.
    /// driver.delete(&offers, 3, 0)?;
    /// driver.run()?;
    /// assert_eq!(driver.table(&dearest)?, [(tea(), 5)].into());
    /// assert_eq!(driver.table(&top)?, [(tea(), vec![5, 3])].into());
    /// # Ok::<(), millpond::Error>(())
    /// ```
    pub fn min<T: Key>(
        &self,
        store: impl Into<TableOptions<T>>,
        of: impl Fn(&V) -> T + Send + Sync + 'static,
    ) -> StoredTable<K, T> {
        self.extreme("min", store.into(), (End::Least, 1), one(), of)
    }

    /// The greatest value that `of` takes from the rows of each group; otherwise as [`min`](Self::min).
    pub fn max<T: Key>(
        &self,
        store: impl Into<TableOptions<T>>,
        of: impl Fn(&V) -> T + Send + Sync + 'static,
    ) -> StoredTable<K, T> {
        self.extreme("max", store.into(), (End::Greatest, 1), one(), of)
    }

    /// The `k` greatest values that `of` takes from the rows of each group, greatest first; fewer if the group has fewer
    /// members. Otherwise as [`min`](Self::min). With another `k` it is another table: raise its version.
    pub fn top_k<T: Key>(
        &self,
        store: impl Into<TableOptions<Vec<T>>>,
        k: usize,
        of: impl Fn(&V) -> T + Send + Sync + 'static,
    ) -> StoredTable<K, Vec<T>> {
        let many = Answer { members: Vec::as_slice, of: |members| (!members.is_empty()).then_some(members) };
        self.extreme("top_k", store.into().written_by(format!("top_k({k})")), (End::Greatest, k), many, of)
    }

    fn extreme<T: Key, W: Value>(
        &self,
        kind: &'static str,
        store: TableOptions<W>,
        (end, most): (End, usize),
        answer: Answer<T, W>,
        of: impl Fn(&V) -> T + Send + Sync + 'static,
    ) -> StoredTable<K, W> {
        let index = index(&self.builder, &store);
        let table: TableRef<K, W> = self.builder.table(kind, store);
        let operator = Extreme { index, table, end, most, answer, of, row: PhantomData };
        let writes = [index.index(), table.index()];
        let node = self.builder.operator(kind, self.node, &writes, &[], operator);
        self.builder.interleaving(node, Interleaving::Commutes);
        StoredTable::from_node(&self.builder, node, table)
    }
}

/// How the first members of a group are kept.
struct Answer<T, W> {
    members: fn(&W) -> &[T],
    of: fn(Vec<T>) -> Option<W>,
}

fn one<T>() -> Answer<T, T> {
    Answer { members: std::slice::from_ref, of: |members| members.into_iter().next() }
}

struct Extreme<G, V, T, W, F> {
    index: TableRef<(G, T), u64>,
    table: TableRef<G, W>,
    end: End,
    /// How many members are told.
    most: usize,
    answer: Answer<T, W>,
    of: F,
    row: PhantomData<fn() -> V>,
}

impl<G, V, T, W, F> Operator for Extreme<G, V, T, W, F>
where
    G: Key,
    V: Value,
    T: Key,
    W: Value,
    F: Fn(&V) -> T + Send + Sync + 'static,
{
    type Input = (Vec<Event<G, Delta<V>>>,);
    type Output = Changes<G, W>;

    fn run(
        &self,
        context: &mut Context<'_>,
        (deltas,): Self::Input,
    ) -> Result<Option<Self::Output>, Failure> {
        let counted = count(context, &self.index, deltas, |delta| member(&self.of, &delta))?;
        let mut groups: BTreeMap<&G, Vec<&Counted<G, T>>> = BTreeMap::new();
        for counted in &counted {
            groups.entry(&counted.group).or_default().push(counted);
        }
        let table = context.table(&self.table)?;
        let keys: Vec<&G> = groups.keys().copied().collect();
        let answers = table.look_up(context, &keys)?;
        let mut before = Before::new(&self.index);
        let every = context.detail() == Detail::Updates || table.may_refuse();
        let mut results = Vec::with_capacity(groups.len());
        for ((group, steps), answer) in groups.into_iter().zip(answers) {
            self.tell(context, &mut before, (group, &steps), (answer.as_ref(), every), &mut results)?;
        }
        let record = context.detail();
        let updates = table.fold(context, results, record, |_, row, new| *row = new)?;
        if !context.is_read() {
            return Ok(None);
        }
        Ok(Some(table.changes(context, updates)?))
    }
}

impl<G, V, T, W, F> Extreme<G, V, T, W, F>
where
    G: Key,
    T: Key,
    W: Value,
{
    /// What `group` says after the steps of the epoch, or after `every` one of them; `answer` is what it said before.
    fn tell(
        &self,
        context: &mut Context<'_>,
        before: &mut Before<'_, G, T, u64>,
        (group, steps): (&G, &[&Counted<G, T>]),
        (answer, every): (Option<&W>, bool),
        results: &mut Vec<Event<G, Option<W>>>,
    ) -> Result<(), Failure> {
        let mut first = First::new(self.end);
        let mut touched: BTreeSet<&T> = BTreeSet::new();
        for step in steps {
            if touched.insert(&step.value) {
                first.set(&step.value, (step.old > 0).then_some(step.old));
            }
        }
        let told = answer.map_or(&[][..], self.answer.members);
        first.know(others(told, &touched), told.len() < self.most);
        for (number, step) in steps.iter().enumerate() {
            first.set(&step.value, (step.new > 0).then_some(step.new));
            if !every && number + 1 < steps.len() {
                continue;
            }
            context.at(&step.stamp);
            let members = loop {
                if let Some(rows) = first.rows(self.most, members_of) {
                    let values =
                        rows.into_iter().flat_map(|(value, _, members)| std::iter::repeat_n(value, members));
                    break values.cloned().collect::<Vec<T>>();
                }
                let from = (self.end, told.first());
                first.know(before.read(context, group, from, &touched, self.most, members_of)?, true);
            };
            context.charge::<T>(members.len())?;
            results.push(Event { key: group.clone(), value: (self.answer.of)(members), stamp: step.stamp });
        }
        Ok(())
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "rows are looked at where they are")]
fn members_of(members: &u64) -> usize {
    usize::try_from(*members).unwrap_or(usize::MAX)
}

/// The values that were told and are not touched. Of the last one there may be more members than were told.
fn others<T: Key>(told: &[T], touched: &BTreeSet<&T>) -> Vec<(T, u64)> {
    let equal = told.chunk_by(|a, b| a == b);
    let rows = equal.filter_map(|equal| Some((equal.first()?, equal.len() as u64)));
    rows.filter(|(value, _)| !touched.contains(value))
        .map(|(value, members)| (value.clone(), members))
        .collect()
}
