//! Folding the groups of a stream into a table.
//!
//! There are no tombstones in a stream: a group is never deleted. An absent key begins with the aggregate's `init`.
//! Repeated keys are folded one after the other, in offset order if they come from one partition; the table emits one
//! change for all of them. Late timestamps are folded when they arrive. Empty input changes nothing.

use super::Stream;
use crate::aggregate::{Aggregate, Fold, count, reduce};
use crate::table::Table;
use millpond_engine::Result;
use millpond_engine::codec::{Key, Value};
use millpond_engine::dataflow::{Batch, Context, Event, Inputs, Operator, Output};
use millpond_engine::graph::StoreOptions;
use millpond_engine::state::TableRef;
use std::marker::PhantomData;

/// A stream whose equal keys are together, ready to be folded.
pub struct GroupedStream<K, V> {
    stream: Stream<K, V>,
}

impl<K: Key, V: Value> GroupedStream<K, V> {
    pub(super) fn new(stream: Stream<K, V>) -> Self {
        Self { stream }
    }

    /// Folds each group with `aggregate` into the table `store`.
    pub fn aggregate<A: Aggregate<K, V>>(
        &self,
        store: impl Into<StoreOptions<A::Acc>>,
        aggregate: A,
    ) -> Table<K, A::Acc> {
        let builder = &self.stream.builder;
        let table: TableRef<K, A::Acc> = builder.table("fold", store.into());
        let recorder = crate::table::Recorder::default();
        let operator = FoldStream { table, aggregate, recorder: recorder.clone(), value: PhantomData };
        let node = builder.operator("fold", &[self.stream.node], &[table.index()], &[], operator);
        Table::stored(builder, node, table, recorder)
    }

    /// Folds each group with a closure, beginning with `init()`.
    pub fn fold<A: Value>(
        &self,
        store: impl Into<StoreOptions<A>>,
        init: impl Fn() -> A + Send + Sync + 'static,
        fold: impl Fn(&mut A, &K, V) + Send + Sync + 'static,
    ) -> Table<K, A> {
        self.aggregate(store, Fold::new(init, fold))
    }

    /// Counts the records of each group.
    pub fn count(&self, store: impl Into<StoreOptions<u64>>) -> Table<K, u64> {
        self.aggregate(store, count())
    }

    /// Combines the values of each group, two at a time.
    pub fn reduce(
        &self,
        store: impl Into<StoreOptions<Option<V>>>,
        combine: impl Fn(V, V) -> V + Send + Sync + 'static,
    ) -> Table<K, Option<V>> {
        self.aggregate(store, reduce(combine))
    }
}

struct FoldStream<K, V, A: Aggregate<K, V>> {
    table: TableRef<K, A::Acc>,
    aggregate: A,
    recorder: crate::table::Recorder,
    value: PhantomData<fn() -> V>,
}

impl<K: Key, V: Value, A: Aggregate<K, V>> Operator for FoldStream<K, V, A> {
    fn run(&self, context: &mut Context<'_>, mut inputs: Inputs<'_>) -> Result<Output> {
        let events: Vec<Event<K, V>> = inputs.take(0)?;
        let table = context.table(&self.table)?;
        let updates = table.fold(context, events, self.recorder.record(), |key, acc, value| {
            self.aggregate.fold(acc.get_or_insert_with(|| self.aggregate.init()), key, value);
        })?;
        if !context.is_read() {
            return Ok(Output::Nothing);
        }
        Ok(Output::Local(Batch::new(table.changes(context, updates)?)))
    }
}
