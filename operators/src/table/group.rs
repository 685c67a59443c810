//! Folding the groups of a table into another table.
//!
//! For a changed row, the old one is retracted from its group and the new one folded into its own. A deleted row is only
//! retracted; a group that loses its last member is deleted, whatever its accumulator says: the number of its members
//! is kept beside it, and nobody but the fold sees it. A group whose members change while its accumulator stays has not
//! changed. Repeated keys arrive as one change per epoch. Late timestamps play no part. Empty input changes
//! nothing; if every update of the groups counts, every step of a row is carried through, otherwise only what became of it. The
//! extremes survive their own retraction in the form that keeps every member (`retractable()`). Retractions and additions
//! of one epoch are ordered by the stamps of the rows' changes, which makes even inexact folds come out the same for every
//! number of shards. Where a closure fails, the record fails that changed the row; a row whose group could not be told before
//! was in none.

use super::StoredTable;
use super::regroup::Delta;
use crate::aggregate::{Fold, Retract, count};
use millpond_engine::Result;
use millpond_engine::codec::{Grouped, Key, Value};
use millpond_engine::dataflow::{Change, Changes, Context, Event, Failure, Operator, Stamp, Update};
use millpond_engine::graph::{Builder, Interleaving, NodeRef, TableOptions, TableRef};
use std::convert::Infallible;
use std::fmt::{self, Display};
use std::marker::PhantomData;

/// A table whose rows are grouped by another key, ready to be folded.
///
/// When a row changes, its old value is taken out of its group and the new one folded in; a deleted row is only taken out.
/// A group that has lost its last member is deleted, whatever its accumulator says, and one that gets a member later
/// begins anew. Timestamps play no part, late or not. Members of a group change in no particular order of their keys: in
/// that of the records that changed them.
///
/// # Examples
/// ```
/// use millpond::aggregate::max;
/// use millpond::{Engine, GraphBuilder, Topic};
/// # use millpond::changelog::MemoryChangelog;
/// # use std::sync::Arc;
/// # let changelog = Arc::new(MemoryChangelog::new());
///
/// // Player -> (team, points)
/// let players = Topic::<String, (u8, u32)>::new("players");
/// let graph = GraphBuilder::new();
/// let by_team = graph.table(&players, "players").group_by(|_, (team, points)| (*team, *points));
/// let sizes = by_team.count("sizes");
/// let points = by_team.reduce("points", |a, b| a + b, |a, b| a - b);
/// let best = by_team.aggregate("best", max(|points: &u32| *points).retractable());
/// let engine = Engine::builder(&graph.build()?).in_memory().changelog(changelog).start()?;
/// let [ada, bo] = ["ada", "bo"].map(str::to_owned);
/// engine.producer(&players)?.send([(&ada, Some(&(1, 10)), 0), (&bo, Some(&(1, 7)), 0)]).wait_blocking()?;
/// engine.catch_up_blocking()?;
/// assert_eq!(engine.view(&points)?.get(&1)?, Some(17));
///
/// // The best one goes to another team: the next best is known, and a team goes with its last member.
/// engine.append(&players, &ada, &(2, 10)).wait_blocking()?;
/// engine.catch_up_blocking()?;
/// assert_eq!(engine.view(&best)?.get(&1)?.and_then(|team| team.max().copied()), Some(7));
/// assert_eq!(engine.view(&sizes)?.get(&2)?, Some(1));
/// engine.delete(&players, &bo).wait_blocking()?;
/// engine.catch_up_blocking()?;
/// assert_eq!(engine.view(&sizes)?.get(&1)?, None);
/// # Ok::<(), millpond::Error>(())
/// ```
/// A fold that cannot take a member out again is refused by the compiler:
/// ```compile_fail,E0277
/// use millpond::aggregate::last_n;
/// use millpond::{GraphBuilder, Topic};
///
/// let players = Topic::<String, (u8, u32)>::new("players");
/// let graph = GraphBuilder::new();
/// let by_team = graph.table(&players, "players").group_by(|_, (team, points)| (*team, *points));
/// let latest = by_team.aggregate("latest", last_n(3, |points: &u32| *points));
/// ```
/// and so is the plain form of an extreme:
/// ```compile_fail,E0277
/// use millpond::aggregate::max;
/// use millpond::{GraphBuilder, Topic};
///
/// let players = Topic::<String, (u8, u32)>::new("players");
/// let graph = GraphBuilder::new();
/// let by_team = graph.table(&players, "players").group_by(|_, (team, points)| (*team, *points));
/// let best = by_team.aggregate("best", max(|points: &u32| *points));
/// ```
#[doc(alias = "KGroupedTable")]
pub struct GroupedTable<K, V> {
    pub(super) builder: Builder,
    pub(super) node: NodeRef<Vec<Event<K, Delta<V>>>>,
}

impl<K, V> fmt::Debug for GroupedTable<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupedTable").field("node", &self.node).finish_non_exhaustive()
    }
}

impl<K: Key, V: Value> GroupedTable<K, V> {
    /// Folds each group with `aggregate` into the table `store`.
    ///
    /// The module [`aggregate`](crate::aggregate) says which aggregates can retract; `min`, `max` and `top_k` can in
    /// their `retractable()` form.
    ///
    /// A row that changes is retracted as it was and folded as it is. When the last member of a group goes, the group does.
    ///
    /// IMPORTANT: with another aggregate, or other steps before it, the rows that are there stay as they were folded, and
    /// members are retracted that the new one never has folded, unless the table's [version](TableOptions::version) is
    /// raised: see [when the meaning changes](TableOptions#when-the-meaning-changes).
    pub fn aggregate<A: Retract<K, V>>(
        &self,
        store: impl Into<TableOptions<A::Acc>>,
        aggregate: A,
    ) -> StoredTable<K, A::Acc> {
        let store = store.into().written_by(aggregate.id());
        self.fold_by("group", store, move |key, group: &mut Option<Grouped<A::Acc>>, delta| match delta {
            Delta::Join(value) => {
                let group = group.get_or_insert_with(|| Grouped { members: 0, value: aggregate.init() });
                group.members += 1;
                aggregate.fold(&mut group.value, key, value);
                Ok(())
            }
            Delta::Leave(value) => leave(group, |acc| {
                aggregate.retract(acc, key, value);
                Ok::<(), Infallible>(())
            }),
        })
    }

    /// Folds each group with a closure and its inverse, beginning with `init()`.
    ///
    /// `retract` undoes what `fold` has made of the same value, and is called with values that were folded only; both are
    /// called when a row changes, `retract` first. A group is deleted with its last member.
    ///
    /// IMPORTANT: closures that have changed, here or in a step before, fold on upon the rows that the former ones have left,
    /// unless the table's [version](TableOptions::version) is raised: see
    /// [when the meaning changes](TableOptions#when-the-meaning-changes).
    ///
    /// ```
    /// use millpond::testing::Driver;
    /// use millpond::{GraphBuilder, Topic};
    ///
    /// // Account -> (branch, cents)
    /// let accounts = Topic::<u32, (u8, i64)>::new("accounts");
    /// let graph = GraphBuilder::new();
    /// let by_branch = graph.table(&accounts, "accounts").group_by(|_, (branch, cents)| (*branch, *cents));
    /// let in_debt = by_branch.fold(
    ///     "in_debt",
    ///     || 0_u32,
    ///     |count, _branch, cents| *count += u32::from(cents < 0),
    ///     |count, _branch, cents| *count -= u32::from(cents < 0),
    /// );
    /// let mut driver = Driver::new(&graph.build()?)?;
    /// driver.put(&accounts, 1, (7, -50), 0)?;
    /// driver.put(&accounts, 2, (7, 300), 0)?;
    /// driver.run()?;
    /// assert_eq!(driver.table(&in_debt)?, [(7, 1)].into());
    /// driver.put(&accounts, 1, (7, 20), 0)?;
    /// driver.run()?;
    /// assert_eq!(driver.table(&in_debt)?, [(7, 0)].into());
    /// # Ok::<(), millpond::Error>(())
    /// ```
    pub fn fold<A: Value>(
        &self,
        store: impl Into<TableOptions<A>>,
        init: impl Fn() -> A + Send + Sync + 'static,
        fold: impl Fn(&mut A, &K, V) + Send + Sync + 'static,
        retract: impl Fn(&mut A, &K, V) + Send + Sync + 'static,
    ) -> StoredTable<K, A> {
        self.aggregate(store, Fold::new(init, fold).with_retract(retract))
    }

    /// Counts the rows of each group; a group without rows is absent. See [`GroupedTable`] for an example.
    pub fn count(&self, store: impl Into<TableOptions<u64>>) -> StoredTable<K, u64> {
        self.aggregate(store, count())
    }

    /// Combines the values of each group into one with `add`, and takes them out again with `subtract`; the first
    /// member is taken as it is. A group is deleted with its last member. See [`GroupedTable`] for an example.
    ///
    /// IMPORTANT: with other closures the rows that are there stay as they were, unless the table's
    /// [version](TableOptions::version) is raised: see [when the meaning changes](TableOptions#when-the-meaning-changes).
    pub fn reduce(
        &self,
        store: impl Into<TableOptions<V>>,
        add: impl Fn(V, V) -> V + Send + Sync + 'static,
        subtract: impl Fn(V, V) -> V + Send + Sync + 'static,
    ) -> StoredTable<K, V> {
        self.fold_by("group", store.into(), move |_, group: &mut Option<Grouped<V>>, delta| match delta {
            Delta::Join(value) => {
                *group = Some(match group.take() {
                    Some(Grouped { members, value: so_far }) => {
                        Grouped { members: members + 1, value: add(so_far, value) }
                    }
                    None => Grouped { members: 1, value },
                });
                Ok(())
            }
            Delta::Leave(value) => leave(group, |acc| {
                *acc = subtract(acc.clone(), value);
                Ok::<(), Infallible>(())
            }),
        })
    }

    pub(super) fn fold_by<A: Value, E: Display + 'static>(
        &self,
        kind: &'static str,
        store: TableOptions<A>,
        step: impl Fn(&K, &mut Option<Grouped<A>>, Delta<V>) -> Result<(), E> + Send + Sync + 'static,
    ) -> StoredTable<K, A> {
        let table: TableRef<K, Grouped<A>> = self.builder.grouped_table(kind, store);
        let operator = FoldTable { table, step, types: PhantomData::<fn() -> (V, E)> };
        let node = self.builder.operator("fold", self.node, &[table.index()], &[], operator);
        // That is what it means to have an inverse.
        self.builder.interleaving(node, Interleaving::Commutes);
        StoredTable::of_groups(&self.builder, node, table)
    }
}

/// What the changes of groups show.
fn shown<K, A>(Changes { changes, updates }: Changes<K, Grouped<A>>) -> Changes<K, A> {
    let value = |row: Option<Grouped<A>>| row.map(|row| row.value);
    let change = |Change { key, old, new, stamp }| Change { key, old: value(old), new: value(new), stamp };
    let update = |Update { key, value: row, stamp }| Update { key, value: value(row), stamp };
    Changes {
        changes: changes.into_iter().map(change).collect(),
        updates: updates.into_iter().map(update).collect(),
    }
}

/// Takes one member out of a group; the group goes with its last member.
pub(super) fn leave<A, E>(
    group: &mut Option<Grouped<A>>,
    retract: impl FnOnce(&mut A) -> Result<(), E>,
) -> Result<(), E> {
    match group {
        Some(Grouped { members, value }) if *members > 1 => {
            *members -= 1;
            retract(value)
        }
        _ => {
            *group = None;
            Ok(())
        }
    }
}

struct FoldTable<K, A, F, Types> {
    table: TableRef<K, Grouped<A>>,
    step: F,
    types: PhantomData<Types>,
}

impl<K, V, A, E, F> Operator for FoldTable<K, A, F, fn() -> (V, E)>
where
    K: Key,
    V: Value,
    A: Value,
    E: Display + 'static,
    F: Fn(&K, &mut Option<Grouped<A>>, Delta<V>) -> Result<(), E> + Send + Sync + 'static,
{
    type Input = (Vec<Event<K, Delta<V>>>,);
    type Output = Changes<K, A>;

    fn run(
        &self,
        context: &mut Context<'_>,
        (deltas,): Self::Input,
    ) -> Result<Option<Self::Output>, Failure> {
        let table = context.table(&self.table)?;
        let record = context.detail();
        let step = |key: &K, group: &mut Option<Grouped<A>>, delta, _: &Stamp| (self.step)(key, group, delta);
        let updates = table.try_fold(context, deltas, record, step)?;
        if !context.is_read() {
            return Ok(None);
        }
        Ok(Some(shown(table.changes(context, updates)?)))
    }
}
