//! Folding the groups of a stream into a table.
//!
//! There are no tombstones in a stream: a group is never deleted. An absent key begins with the aggregate's `init`
//! (`reduce`: with its first value). Repeated keys are folded one after the other, in the order of the log; the table emits
//! one change for all of them. Late timestamps are folded when they arrive. Empty input changes nothing. An error of
//! `try_fold` is the failure of its record, and what it has made of the accumulator is undone.

use super::Stream;
use crate::aggregate::{Aggregate, Fold, count};
use crate::table::StoredTable;
use millpond_engine::codec::{Key, Value};
use millpond_engine::dataflow::{Changes, Context, Event, Failure, Operator, Stamp};
use millpond_engine::graph::{TableOptions, TableRef};
use std::convert::Infallible;
use std::fmt::{self, Display};
use std::marker::PhantomData;

impl<K: Key, V: Value> Stream<K, V> {
    /// Groups the records by their key. They are sent to the shards of their keys if a step before may have changed these.
    /// See [`GroupedStream`] for an example.
    #[must_use]
    #[doc(alias = "groupByKey")]
    pub fn group_by_key(&self) -> GroupedStream<K, V> {
        GroupedStream { stream: self.exchanged() }
    }

    /// Groups the records by the key that `key` gives them. Where records of several partitions meet in one group, they come
    /// in the order of the log, however late their timestamps are. A record leaves no group again: if a player goes to
    /// another team, both have counted a record. Group a [table](crate::Table::group_by) where members move.
    ///
    /// ```
    /// use millpond::testing::Driver;
    /// use millpond::{GraphBuilder, Topic};
    ///
    /// let players = Topic::<String, (u8, u32)>::new("players");
    /// let graph = GraphBuilder::new();
    /// let teams = graph.stream(&players).group_by(|_, (team, _)| *team).count("teams");
    /// let mut driver = Driver::new(&graph.build()?)?;
    /// driver.put(&players, "ada".to_owned(), (1, 10), 0)?;
    /// driver.put(&players, "bo".to_owned(), (1, 7), 0)?;
    /// driver.run()?;
    /// assert_eq!(driver.table(&teams)?, [(1, 2)].into());
    /// # Ok::<(), millpond::Error>(())
    /// ```
    #[must_use]
    #[doc(alias = "groupBy")]
    pub fn group_by<L: Key>(&self, key: impl Fn(&K, &V) -> L + Send + Sync + 'static) -> GroupedStream<L, V> {
        self.re_key(key).group_by_key()
    }

    /// As [`group_by`](Self::group_by), where an error is the failure of the record.
    ///
    /// ```
    /// use millpond::{GraphBuilder, Topic};
    ///
    /// let orders = Topic::<u64, String>::new("orders");
    /// let graph = GraphBuilder::new();
    /// graph.stream(&orders).try_group_by(|_, text| text.parse::<u32>()).count("orders_of_customers");
    /// ```
    #[must_use]
    pub fn try_group_by<L: Key, E: Display + 'static>(
        &self,
        key: impl Fn(&K, &V) -> Result<L, E> + Send + Sync + 'static,
    ) -> GroupedStream<L, V> {
        self.try_re_key(key).group_by_key()
    }
}

/// A stream whose equal keys are together, ready to be folded.
///
/// The records of a group are folded one after the other in the order of the log, late or not. A group is there from its
/// first record on and never deleted, for there are no tombstones in a stream: fold a table's
/// [groups](crate::Table::group_by) where members leave again.
///
/// # Examples
/// ```
/// use millpond::aggregate::{last_n, mean, sum, top_k};
/// use millpond::{Engine, GraphBuilder, Topic};
/// # use millpond::changelog::MemoryChangelog;
/// # use std::sync::Arc;
/// # let changelog = Arc::new(MemoryChangelog::new());
///
/// let trips = Topic::<String, u32>::new("trips");
/// let graph = GraphBuilder::new();
/// let by_driver = graph.stream(&trips).group_by_key();
/// let count = by_driver.count("count");
/// let longest = by_driver.reduce("longest", u32::max);
/// let total = by_driver.aggregate("total", sum(|km: &u32| *km));
/// let mean_km = by_driver.aggregate("mean", mean(|km: &u32| *km));
/// let top = by_driver.aggregate("top", top_k(2, |km: &u32| *km));
/// let recent = by_driver.aggregate("recent", last_n(2, |km: &u32| *km));
/// let over_10 = by_driver.fold("over_10", || 0_u32, |n, _, km| *n += u32::from(km > 10));
/// let engine = Engine::builder(&graph.build()?).in_memory().changelog(changelog).start()?;
/// engine.producer(&trips)?.send([12, 30, 6].iter().map(|km| ("ada", Some(km), 0))).wait_blocking()?;
/// engine.catch_up_blocking()?;
///
/// assert_eq!(engine.view(&count)?.get("ada")?, Some(3));
/// assert_eq!(engine.view(&longest)?.get("ada")?, Some(30));
/// assert_eq!(engine.view(&total)?.get("ada")?, Some(48));
/// assert_eq!(engine.view(&mean_km)?.get("ada")?.and_then(|mean| mean.mean()), Some(16.0));
/// assert_eq!(engine.view(&top)?.get("ada")?.map(|top| top.as_slice().to_vec()), Some(vec![30, 12]));
/// assert_eq!(engine.view(&recent)?.get("ada")?, Some([30, 6].into()));
/// assert_eq!(engine.view(&over_10)?.get("ada")?, Some(2));
/// # Ok::<(), millpond::Error>(())
/// ```
#[doc(alias = "KGroupedStream")]
pub struct GroupedStream<K, V> {
    pub(super) stream: Stream<K, V>,
}

impl<K, V> fmt::Debug for GroupedStream<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupedStream").field("stream", &self.stream).finish()
    }
}

impl<K, V> Clone for GroupedStream<K, V> {
    fn clone(&self) -> Self {
        Self { stream: self.stream.clone() }
    }
}

impl<K: Key, V: Value> GroupedStream<K, V> {
    /// Folds each group with `aggregate` into the table `store`.
    ///
    /// The module [`aggregate`](crate::aggregate) has `sum`, `mean`, `min`, `max`, `top_k`, `distinct_count`, `last_n`.
    ///
    /// IMPORTANT: with another aggregate, or other steps before it, the rows that are there stay as they were folded, unless
    /// the table's [version](TableOptions::version) is raised: see
    /// [when the meaning changes](TableOptions#when-the-meaning-changes).
    pub fn aggregate<A: Aggregate<K, V>>(
        &self,
        store: impl Into<TableOptions<A::Acc>>,
        aggregate: A,
    ) -> StoredTable<K, A::Acc> {
        let store = store.into().written_by(aggregate.id());
        let commutes = aggregate.commutes();
        let table = self.fold_by("fold", store, move |key, acc: &mut Option<A::Acc>, value| {
            aggregate.fold(acc.get_or_insert_with(|| aggregate.init()), key, value);
            Ok::<(), Infallible>(())
        });
        if commutes { table.commuting() } else { table }
    }

    /// Folds each group with a closure, beginning with `init()`.
    ///
    /// Records of a key come one after the other in the order of the log, late or not. A group is there from its first
    /// record on and is never deleted. A panic is the failure of its record, and what was made of the accumulator is undone.
    ///
    /// IMPORTANT: a closure that has changed, here or in a step before, folds on upon the rows that the former one has left,
    /// unless the table's [version](TableOptions::version) is raised, which folds all anew: see
    /// [when the meaning changes](TableOptions#when-the-meaning-changes). A [`fold_id`](TableOptions::fold_id) has the engine
    /// notice.
    ///
    /// ```
    /// use millpond::testing::Driver;
    /// use millpond::{GraphBuilder, TableOptions, Topic};
    ///
    /// let deposits = Topic::<u32, i64>::new("deposits");
    /// let graph = GraphBuilder::new();
    /// let large = graph.stream(&deposits).group_by_key().fold(
    ///     TableOptions::named("large").version(1), // 2 once "large" is something else
    ///     || 0_u32,
    ///     |count, _account, cents| *count += u32::from(cents >= 1_000),
    /// );
    /// let mut driver = Driver::new(&graph.build()?)?;
    /// driver.put(&deposits, 7, 2_500, 0)?;
    /// driver.put(&deposits, 8, 250, 0)?;
    /// driver.run()?;
    /// assert_eq!(driver.table(&large)?, [(7, 1), (8, 0)].into());
    /// # Ok::<(), millpond::Error>(())
    /// ```
    pub fn fold<A: Value>(
        &self,
        store: impl Into<TableOptions<A>>,
        init: impl Fn() -> A + Send + Sync + 'static,
        fold: impl Fn(&mut A, &K, V) + Send + Sync + 'static,
    ) -> StoredTable<K, A> {
        self.aggregate(store, Fold::new(init, fold))
    }

    /// As [`fold`](Self::fold), where an error is the failure of the record, for the failure policy to handle. What the
    /// closure has made of the accumulator by then is thrown away.
    ///
    /// ```
    /// use millpond::testing::Driver;
    /// use millpond::{GraphBuilder, Topic};
    ///
    /// let payments = Topic::<u32, u8>::new("payments");
    /// let graph = GraphBuilder::new();
    /// let paid = graph.stream(&payments).group_by_key().try_fold(
    ///     "paid",
    ///     || 0_u8,
    ///     |sum, account, amount| {
    ///         *sum = sum.checked_add(amount).ok_or_else(|| format!("account {account} is full"))?;
    ///         Ok::<_, String>(())
    ///     },
    /// );
    /// let mut driver = Driver::new(&graph.build()?)?;
    /// driver.put(&payments, 7, 200, 0)?;
    /// driver.put(&payments, 7, 100, 0)?;
    /// let error = driver.run().unwrap_err().to_string();
    /// assert!(error.contains("payments/0 offset 1") && error.contains("account 7 is full"), "{error}");
    /// # Ok::<(), millpond::Error>(())
    /// ```
    pub fn try_fold<A: Value, E: Display + 'static>(
        &self,
        store: impl Into<TableOptions<A>>,
        init: impl Fn() -> A + Send + Sync + 'static,
        fold: impl Fn(&mut A, &K, V) -> Result<(), E> + Send + Sync + 'static,
    ) -> StoredTable<K, A> {
        self.fold_by("fold", store.into(), move |key, acc: &mut Option<A>, value| {
            fold(acc.get_or_insert_with(&init), key, value)
        })
    }

    /// Counts the records of each group, as many as there were: each occurrence of a key counts, and none is taken back.
    /// See [`GroupedStream`] for an example.
    pub fn count(&self, store: impl Into<TableOptions<u64>>) -> StoredTable<K, u64> {
        self.aggregate(store, count())
    }

    /// Combines the values of each group into one, two at a time: the first is taken as it is, then each with what
    /// those before it came to, in the order of the log. A group of one record is that record. See [`GroupedStream`] for an
    /// example.
    ///
    /// IMPORTANT: with another closure the rows that are there stay as they were, unless the table's
    /// [version](TableOptions::version) is raised: see [when the meaning changes](TableOptions#when-the-meaning-changes).
    pub fn reduce(
        &self,
        store: impl Into<TableOptions<V>>,
        combine: impl Fn(V, V) -> V + Send + Sync + 'static,
    ) -> StoredTable<K, V> {
        self.fold_by("reduce", store.into(), reducing(combine))
    }

    pub(super) fn fold_by<A: Value, E: Display + 'static>(
        &self,
        kind: &'static str,
        store: TableOptions<A>,
        step: impl Fn(&K, &mut Option<A>, V) -> Result<(), E> + Send + Sync + 'static,
    ) -> StoredTable<K, A> {
        self.folded(kind, store, step).0
    }

    /// As [`fold_by`](Self::fold_by), with the table in which the rows are.
    pub(super) fn folded<A: Value, E: Display + 'static>(
        &self,
        kind: &'static str,
        store: TableOptions<A>,
        step: impl Fn(&K, &mut Option<A>, V) -> Result<(), E> + Send + Sync + 'static,
    ) -> (StoredTable<K, A>, TableRef<K, A>) {
        let builder = &self.stream.builder;
        let table: TableRef<K, A> = builder.table(kind, store);
        let operator = FoldStream { table, step, types: PhantomData::<fn() -> (V, E)> };
        let node = builder.operator(kind, self.stream.node, &[table.index()], &[], operator);
        builder.follows_updates(node);
        (StoredTable::from_node(builder, node, table), table)
    }
}

/// The step of a fold that combines values two at a time.
pub(super) fn reducing<K, V>(
    combine: impl Fn(V, V) -> V + Send + Sync + 'static,
) -> impl Fn(&K, &mut Option<V>, V) -> Result<(), Infallible> + Send + Sync + 'static {
    move |_, row, value| {
        *row = Some(match row.take() {
            Some(so_far) => combine(so_far, value),
            None => value,
        });
        Ok(())
    }
}

struct FoldStream<K, A, F, Types> {
    table: TableRef<K, A>,
    step: F,
    types: PhantomData<Types>,
}

impl<K, V, A, E, F> Operator for FoldStream<K, A, F, fn() -> (V, E)>
where
    K: Key,
    V: Value,
    A: Value,
    E: Display + 'static,
    F: Fn(&K, &mut Option<A>, V) -> Result<(), E> + Send + Sync + 'static,
{
    type Input = (Vec<Event<K, V>>,);
    type Output = Changes<K, A>;

    fn run(
        &self,
        context: &mut Context<'_>,
        (events,): Self::Input,
    ) -> Result<Option<Self::Output>, Failure> {
        let table = context.table(&self.table)?;
        let record = context.detail();
        let step = |key: &K, acc: &mut Option<A>, value, _: &Stamp| (self.step)(key, acc, value);
        let updates = table.try_fold(context, events, record, step)?;
        if !context.is_read() {
            return Ok(None);
        }
        Ok(Some(table.changes(context, updates)?))
    }
}
