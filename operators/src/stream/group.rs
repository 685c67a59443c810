//! Folding the groups of a stream into a table.
//!
//! There are no tombstones in a stream: a group is never deleted. An absent key begins with the aggregate's `init`
//! (`reduce`: with its first value). Repeated keys are folded one after the other, in the order of the log; the table emits one change for all of them. Late timestamps are folded when they arrive. Empty input changes nothing.

use super::Stream;
use crate::aggregate::{Aggregate, Fold, count};
use crate::table::StoredTable;
use millpond_engine::Result;
use millpond_engine::codec::{Key, Value};
use millpond_engine::dataflow::{Batch, Context, Event, Inputs, Operator, Output};
use millpond_engine::graph::{StoreOptions, TableRef};
use std::marker::PhantomData;

/// A stream whose equal keys are together, ready to be folded.
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
/// let ada = "ada".to_owned();
/// engine.producer(&trips)?.send([12, 30, 6].iter().map(|km| (&ada, Some(km), 0))).wait_blocking()?;
/// engine.catch_up_blocking()?;
///
/// assert_eq!(engine.view(&count)?.get(&ada)?, Some(3));
/// assert_eq!(engine.view(&longest)?.get(&ada)?, Some(30));
/// assert_eq!(engine.view(&total)?.get(&ada)?, Some(48));
/// assert_eq!(engine.view(&mean_km)?.get(&ada)?.and_then(|mean| mean.mean()), Some(16.0));
/// assert_eq!(engine.view(&top)?.get(&ada)?.map(|top| top.as_slice().to_vec()), Some(vec![30, 12]));
/// assert_eq!(engine.view(&recent)?.get(&ada)?, Some([30, 6].into()));
/// assert_eq!(engine.view(&over_10)?.get(&ada)?, Some(2));
/// # Ok::<(), millpond::Error>(())
/// ```
pub struct GroupedStream<K, V> {
    stream: Stream<K, V>,
}

impl<K: Key, V: Value> GroupedStream<K, V> {
    pub(super) fn new(stream: Stream<K, V>) -> Self {
        Self { stream }
    }

    /// Folds each group with `aggregate` into the table `store`.
    ///
    /// The module [`aggregate`](crate::aggregate) has `sum`, `mean`, `min`, `max`, `top_k`, `distinct_count`, `last_n`.
    pub fn aggregate<A: Aggregate<K, V>>(
        &self,
        store: impl Into<StoreOptions<A::Acc>>,
        aggregate: A,
    ) -> StoredTable<K, A::Acc> {
        self.fold_by("fold", store.into(), move |key, acc: &mut Option<A::Acc>, value| {
            aggregate.fold(acc.get_or_insert_with(|| aggregate.init()), key, value);
        })
    }

    /// Folds each group with a closure, beginning with `init()`.
    pub fn fold<A: Value>(
        &self,
        store: impl Into<StoreOptions<A>>,
        init: impl Fn() -> A + Send + Sync + 'static,
        fold: impl Fn(&mut A, &K, V) + Send + Sync + 'static,
    ) -> StoredTable<K, A> {
        self.aggregate(store, Fold::new(init, fold))
    }

    /// Counts the records of each group.
    pub fn count(&self, store: impl Into<StoreOptions<u64>>) -> StoredTable<K, u64> {
        self.aggregate(store, count())
    }

    /// Combines the values of each group into one, two at a time: the first is taken as it is, then each with what
    /// those before it came to.
    pub fn reduce(
        &self,
        store: impl Into<StoreOptions<V>>,
        combine: impl Fn(V, V) -> V + Send + Sync + 'static,
    ) -> StoredTable<K, V> {
        self.fold_by("reduce", store.into(), move |_, row: &mut Option<V>, value| {
            *row = Some(match row.take() {
                Some(so_far) => combine(so_far, value),
                None => value,
            });
        })
    }

    fn fold_by<A: Value>(
        &self,
        kind: &'static str,
        store: StoreOptions<A>,
        step: impl Fn(&K, &mut Option<A>, V) + Send + Sync + 'static,
    ) -> StoredTable<K, A> {
        let builder = &self.stream.builder;
        let table: TableRef<K, A> = builder.table(kind, store);
        let operator = FoldStream { table, step, value: PhantomData };
        let node = builder.operator(kind, &[self.stream.node], &[table.index()], &[], operator);
        builder.follows_updates(node);
        StoredTable::from_node(builder, node, table)
    }
}

struct FoldStream<K, V, A, F> {
    table: TableRef<K, A>,
    step: F,
    value: PhantomData<fn() -> V>,
}

impl<K, V, A, F> Operator for FoldStream<K, V, A, F>
where
    K: Key,
    V: Value,
    A: Value,
    F: Fn(&K, &mut Option<A>, V) + Send + Sync + 'static,
{
    fn run(&self, context: &mut Context<'_>, mut inputs: Inputs<'_>) -> Result<Output> {
        let events: Vec<Event<K, V>> = inputs.take(0)?;
        let table = context.table(&self.table)?;
        let record = context.record();
        let updates = table.fold(context, events, record, &self.step)?;
        if !context.is_read() {
            return Ok(Output::Nothing);
        }
        Ok(Output::Local(Batch::new(table.changes(context, updates)?)))
    }
}
