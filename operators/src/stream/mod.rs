//! Streams: records on their way.
//!
//! A stream is keyed if equal keys are sure to be on one shard. Operators that need that add an exchange where it is
//! not so; operators that may change the key say so.

mod group;
mod join;
mod map;
mod process;
mod sink;
mod source;

pub use group::GroupedStream;
pub use process::{Emit, Process};

pub(crate) use source::{StreamSource, UpsertSource};

use crate::table::{StoredTable, Table, source as table_source};
use crate::upsert::Upsert;
use map::{FlatMap, Merge};
use millpond_engine::Topic;
use millpond_engine::codec::{Key, Value};
use millpond_engine::dataflow::{Batch, Context, Event, Inputs, Operator, Output};
use millpond_engine::graph::{Builder, NodeId, StoreOptions};
use std::marker::PhantomData;
use std::sync::Arc;

/// A stream of records with keys of type `K` and values of type `V`.
/// Nothing happens when a method is called: it adds a node to the graph. Streams are handles, cheap to clone; one stream can
/// feed many.
///
/// # Examples
/// ```
/// use millpond::{Engine, GraphBuilder, Topic};
/// # use millpond::changelog::MemoryChangelog;
/// # use std::sync::Arc;
/// # let changelog = Arc::new(MemoryChangelog::new());
///
/// let (web, shop) = (Topic::<u64, u32>::new("web"), Topic::<u64, u32>::new("shop"));
/// let (names, large) = (Topic::<u64, String>::new("names"), Topic::<u64, u32>::new("large"));
/// let graph = GraphBuilder::new();
/// let orders = graph.stream(&web).merge(&graph.stream(&shop)).filter(|_, amount| *amount > 0);
/// let (big, small) = orders.split(|_, amount| *amount >= 100);
/// big.inspect(|customer, amount| println!("{customer} spent {amount}")).to(&large);
/// let small = small.re_key(|customer, _| customer % 10).group_by_key().count("small_by_last_digit");
///
/// // Each record meets the row of its customer at that moment.
/// let customers = graph.table(&names, "customers");
/// let greetings = orders
///     .left_join(&customers, |_, amount, name| format!("{}: {amount}", name.map_or("?", String::as_str)))
///     .to_table("greetings");
/// let engine = Engine::builder(&graph.build()?).in_memory().changelog(changelog).start()?;
///
/// engine.producer(&names)?.send([(&7, Some(&"Ada".to_owned()), 0)]).wait_blocking()?;
/// engine.producer(&web)?.send([(&7, Some(&120), 1), (&8, Some(&30), 2)]).wait_blocking()?;
/// engine.producer(&shop)?.send([(&28, Some(&5), 3), (&9, Some(&0), 4)]).wait_blocking()?;
/// engine.catch_up_blocking()?;
/// assert_eq!(engine.view(&small)?.get(&8)?, Some(2));
/// let found = engine.view(&greetings)?.multi_get(&[7, 8, 9])?;
/// assert_eq!(found, [Some("Ada: 120".to_owned()), Some("?: 30".to_owned()), None]);
/// # Ok::<(), millpond::Error>(())
/// ```
pub struct Stream<K, V> {
    pub(crate) builder: Builder,
    pub(crate) node: NodeId,
    pub(crate) keyed: bool,
    types: PhantomData<fn() -> (K, V)>,
}

impl<K, V> Clone for Stream<K, V> {
    fn clone(&self) -> Self {
        Self { builder: self.builder.clone(), node: self.node, keyed: self.keyed, types: PhantomData }
    }
}

impl<K: Key, V: Value> Stream<K, V> {
    pub(crate) fn new(builder: Builder, node: NodeId, keyed: bool) -> Self {
        Self { builder, node, keyed, types: PhantomData }
    }

    /// A stream from a node of one's own that puts out `Vec<Event<K, V>>`; `keyed` if every event is on the shard of
    /// its key.
    #[must_use]
    pub fn from_node(builder: &Builder, node: NodeId, keyed: bool) -> Self {
        Self::new(builder.clone(), node, keyed)
    }

    /// The node that puts the stream out.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// The records for which `keep` is true.
    #[must_use]
    pub fn filter(&self, keep: impl Fn(&K, &V) -> bool + Send + Sync + 'static) -> Self {
        let step = move |event: Event<K, V>, out: &mut Vec<Event<K, V>>| {
            if keep(&event.key, &event.value) {
                out.push(event);
            }
        };
        self.then("filter", self.keyed, FlatMap::new(step))
    }

    /// The records with another value each.
    #[must_use]
    pub fn map_values<W: Value>(&self, map: impl Fn(&K, V) -> W + Send + Sync + 'static) -> Stream<K, W> {
        let step = move |event: Event<K, V>, out: &mut Vec<Event<K, W>>| {
            let value = map(&event.key, event.value);
            out.push(Event { key: event.key, value, stamp: event.stamp });
        };
        self.then("map_values", self.keyed, FlatMap::new(step))
    }

    /// The records with another key and value each.
    #[must_use]
    pub fn map<L: Key, W: Value>(
        &self,
        map: impl Fn(K, V) -> (L, W) + Send + Sync + 'static,
    ) -> Stream<L, W> {
        let step = move |event: Event<K, V>, out: &mut Vec<Event<L, W>>| {
            let (key, value) = map(event.key, event.value);
            out.push(Event { key, value, stamp: event.stamp });
        };
        self.then("map", false, FlatMap::new(step))
    }

    /// Any number of records in place of each.
    #[must_use]
    pub fn flat_map<L: Key, W: Value, I: IntoIterator<Item = (L, W)>>(
        &self,
        map: impl Fn(K, V) -> I + Send + Sync + 'static,
    ) -> Stream<L, W> {
        let step = move |event: Event<K, V>, out: &mut Vec<Event<L, W>>| {
            let stamp = event.stamp;
            let made = map(event.key, event.value).into_iter().enumerate();
            out.extend(made.map(|(index, (key, value))| Event { key, value, stamp: stamp.branch(index) }));
        };
        self.then("flat_map", false, FlatMap::new(step))
    }

    /// The records under another key each. Where records of several partitions meet under one key, they come in the order
    /// of the log: that of their appends.
    #[must_use]
    #[doc(alias = "selectKey")]
    pub fn re_key<L: Key>(&self, key: impl Fn(&K, &V) -> L + Send + Sync + 'static) -> Stream<L, V> {
        let step = move |event: Event<K, V>, out: &mut Vec<Event<L, V>>| {
            let key = key(&event.key, &event.value);
            out.push(Event { key, value: event.value, stamp: event.stamp });
        };
        self.then("re_key", false, FlatMap::new(step))
    }

    /// The records of both streams, in the order of their stamps.
    #[must_use]
    pub fn merge(&self, other: &Self) -> Self {
        let node =
            self.builder.operator("merge", &[self.node, other.node], &[], &[], Merge::<K, V>::default());
        Self::new(self.builder.clone(), node, self.keyed && other.keyed)
    }

    /// The records for which `predicate` is true, and the others.
    #[must_use]
    #[doc(alias = "branch")]
    pub fn split(&self, predicate: impl Fn(&K, &V) -> bool + Send + Sync + 'static) -> (Self, Self) {
        let predicate = Arc::new(predicate);
        let same = Arc::clone(&predicate);
        (
            self.filter(move |key, value| same(key, value)),
            self.filter(move |key, value| !predicate(key, value)),
        )
    }

    /// The same records; `look` is called with each. It may be called again for the same record when an epoch is run
    /// again, and must not change anything that a result depends on.
    #[must_use]
    #[doc(alias = "peek")]
    pub fn inspect(&self, look: impl Fn(&K, &V) + Send + Sync + 'static) -> Self {
        let step = move |event: Event<K, V>, out: &mut Vec<Event<K, V>>| {
            look(&event.key, &event.value);
            out.push(event);
        };
        self.then("inspect", self.keyed, FlatMap::new(step))
    }

    /// Appends every record to `topic`, exactly once whatever happens.
    pub fn to(&self, topic: &Topic<K, V>) {
        let sink = sink::Sink::new(topic, |value: &V| Some(value.clone()));
        self.builder.sink("to", &[self.node], topic, sink);
    }

    /// A table of the last value of each key, in the order of the changelog.
    #[doc(alias = "toTable")]
    pub fn to_table(&self, store: impl Into<StoreOptions<V>>) -> StoredTable<K, V> {
        let upserts = self.map_values(|_, value| Upsert::Put(value));
        table_source::table(&upserts, store.into(), crate::Latest::Offset)
    }

    /// Groups the records by their key.
    #[must_use]
    pub fn group_by_key(&self) -> GroupedStream<K, V> {
        GroupedStream::new(self.exchanged())
    }

    /// Groups the records by the key that `key` gives them.
    #[must_use]
    pub fn group_by<L: Key>(&self, key: impl Fn(&K, &V) -> L + Send + Sync + 'static) -> GroupedStream<L, V> {
        self.re_key(key).group_by_key()
    }

    /// Joins each record with the row that `table` has under its key at that moment; records without one are dropped.
    #[must_use]
    pub fn join<T: Value, W: Value>(
        &self,
        table: &Table<K, T>,
        join: impl Fn(&K, V, &T) -> W + Send + Sync + 'static,
    ) -> Stream<K, W> {
        join::join(self, table, move |key, value, row| row.map(|row| join(key, value, row)))
    }

    /// Joins each record with the row that `table` has under its key at that moment, if any.
    #[must_use]
    pub fn left_join<T: Value, W: Value>(
        &self,
        table: &Table<K, T>,
        join: impl Fn(&K, V, Option<&T>) -> W + Send + Sync + 'static,
    ) -> Stream<K, W> {
        join::join(self, table, move |key, value, row| Some(join(key, value, row)))
    }

    /// Runs an operator of one's own, with a state per key that is kept in the table `store`.
    #[must_use]
    #[doc(alias = "transform")]
    pub fn process<P: Process<K, V>>(
        &self,
        store: impl Into<StoreOptions<P::State>>,
        process: P,
    ) -> Stream<P::OutKey, P::OutValue> {
        process::process(&self.exchanged(), store.into(), process)
    }

    /// The same stream with equal keys on one shard.
    pub(crate) fn exchanged(&self) -> Self {
        if self.keyed {
            return self.clone();
        }
        let node =
            self.builder.exchange::<Event<K, V>>("exchange", &[self.node], &[], ByKey::<K, V>(PhantomData));
        Self::new(self.builder.clone(), node, true)
    }

    fn then<L: Key, W: Value>(&self, label: &str, keyed: bool, operator: impl Operator) -> Stream<L, W> {
        let node = self.builder.operator(label, &[self.node], &[], &[], operator);
        Stream::new(self.builder.clone(), node, keyed)
    }
}

impl<K: Key, V: Value> Stream<K, Upsert<V>> {
    /// Appends every record to `topic`, exactly once whatever happens; deletions become tombstones.
    pub fn to_upserts(&self, topic: &Topic<K, V>) {
        let sink = sink::Sink::new(topic, |value: &Upsert<V>| value.clone().into_option());
        self.builder.sink("to", &[self.node], topic, sink);
    }

    /// A table of the last value of each key; [`Upsert::Delete`] deletes.
    pub fn upsert_table(&self, store: impl Into<StoreOptions<V>>) -> StoredTable<K, V> {
        table_source::table(self, store.into(), crate::Latest::Offset)
    }
}

/// Sends every event to the shard of its key.
struct ByKey<K, V>(PhantomData<fn() -> (K, V)>);

impl<K: Key, V: Value> Operator for ByKey<K, V> {
    fn run(&self, context: &mut Context<'_>, mut inputs: Inputs<'_>) -> millpond_engine::Result<Output> {
        let events: Vec<Event<K, V>> = inputs.take(0)?;
        let parts = context.router().split(events, |event| &event.key);
        Ok(Output::Routed(parts.into_iter().map(Batch::new).collect()))
    }
}
