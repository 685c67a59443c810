//! Joining a stream with a table: each record meets the row that the table has at that moment.
//!
//! Within an epoch, records and table updates interleave by timestamp, the table first where they are equal; across
//! epochs the order is arrival. So the answer does not depend on where an epoch was cut. A later change of the table
//! does not reach records that have gone by.
//!
//! Deleted and absent keys: the inner join drops the record, the left join passes `None`. Repeated keys meet the row each
//! at its own time. A late record meets the row as it was, if the update that it should not see is in the same epoch;
//! otherwise as it is. Empty input on either side gives nothing, or changes nothing.

use super::Stream;
use crate::table::Table;
use crate::table::access::Access;
use millpond_engine::Result;
use millpond_engine::codec::{Key, Value};
use millpond_engine::dataflow::{
    Batch, Change, Changes, Context, Event, Inputs, Operator, Output, Stamp, Update,
};
use std::collections::HashMap;
use std::marker::PhantomData;
use std::sync::Arc;

pub(super) fn join<K: Key, V: Value, T: Value, W: Value>(
    stream: &Stream<K, V>,
    table: &Table<K, T>,
    join: impl Fn(&K, V, Option<&T>) -> Option<W> + Send + Sync + 'static,
) -> Stream<K, W> {
    let stream = stream.exchanged();
    table.access.record_updates();
    let operator = StreamTableJoin { access: Arc::clone(&table.access), join, types: PhantomData };
    let reads = table.access.reads();
    let node = stream.builder.operator("join", &[stream.node, table.node], &[], &reads, operator);
    Stream::new(stream.builder.clone(), node, true)
}

struct StreamTableJoin<K, V, T, F> {
    access: Arc<dyn Access<K, T>>,
    join: F,
    types: PhantomData<fn() -> V>,
}

/// What happened to one key of the table within the epoch.
struct History<'u, K, T> {
    change: Option<&'u Change<K, T>>,
    updates: Vec<&'u Update<K, T>>,
}

impl<K, T> Default for History<'_, K, T> {
    fn default() -> Self {
        Self { change: None, updates: Vec::new() }
    }
}

impl<'u, K, T> History<'u, K, T> {
    /// The last update before a record with `stamp`.
    fn update(&self, stamp: &Stamp) -> Option<&'u Update<K, T>> {
        self.updates.iter().rev().copied().find(|update| stamp.sees(&update.stamp))
    }
}

impl<K, V, T, W, F> Operator for StreamTableJoin<K, V, T, F>
where
    K: Key,
    V: Value,
    T: Value,
    W: Value,
    F: Fn(&K, V, Option<&T>) -> Option<W> + Send + Sync + 'static,
{
    fn run(&self, context: &mut Context<'_>, mut inputs: Inputs<'_>) -> Result<Output> {
        let events: Vec<Event<K, V>> = inputs.take(0)?;
        let Changes { changes, updates } = inputs.take::<Changes<K, T>>(1)?;
        let mut histories: HashMap<&K, History<'_, K, T>> = HashMap::with_capacity(changes.len());
        for change in &changes {
            histories.entry(&change.key).or_default().change = Some(change);
        }
        for update in &updates {
            histories.entry(&update.key).or_default().updates.push(update);
        }
        // A key without a change has the row that it had at the start of the epoch, whatever it had in between.
        let is_unchanged = |key: &&K| histories.get(key).is_none_or(|history| history.change.is_none());
        let unchanged: Vec<&K> = events.iter().map(|event| &event.key).filter(is_unchanged).collect();
        let mut rows = self.access.look_up(context, &unchanged)?.into_iter();
        let mut out = Vec::with_capacity(events.len());
        for Event { key, value, stamp } in events {
            context.at(&stamp);
            let history = histories.get(&key);
            let row;
            let old = if let Some(change) = history.and_then(|history| history.change) {
                change.old.as_ref()
            } else {
                row = rows.next().flatten();
                row.as_ref()
            };
            let update = history.and_then(|history| history.update(&stamp));
            let met = update.map_or(old, |update| update.value.as_ref());
            let joined = (self.join)(&key, value, met);
            out.extend(joined.map(|value| Event { key, value, stamp }));
        }
        Ok(Output::Local(Batch::new(out)))
    }
}

#[cfg(test)]
mod tests {
    use crate::GraphBuilder;
    use crate::testing::Driver;
    use millpond_engine::Topic;

    #[test]
    fn a_record_meets_the_row_of_its_moment_also_where_a_joined_side_came_and_went() {
        let (reads, lefts, rights) =
            (Topic::<u8, i64>::new("reads"), Topic::<u8, i64>::new("lefts"), Topic::<u8, i64>::new("rights"));
        let seen = Topic::<u8, (i64, Option<i64>)>::new("seen");
        let graph = GraphBuilder::new();
        let (left, right) = (graph.table(&lefts, "lefts"), graph.table(&rights, "rights"));
        let both = left.outer_join(&right, |_, left, right| left.unwrap_or(&0) + right.unwrap_or(&0));
        graph.stream(&reads).left_join(&both, |_, at, row| (at, row.copied())).to(&seen);

        let mut driver = Driver::new(&graph.build().unwrap()).unwrap();
        driver.put(&rights, 1, 10, 0).unwrap();
        driver.run().unwrap();
        driver.put(&lefts, 1, 5, 20).unwrap();
        driver.delete(&lefts, 1, 40).unwrap();
        for at in [10, 20, 30, 40, 50] {
            driver.put(&reads, 1, at, at).unwrap();
        }
        driver.run().unwrap();
        let seen: Vec<_> =
            driver.records(&seen).unwrap().into_iter().filter_map(|record| record.value).collect();
        assert_eq!(seen, [(10, Some(10)), (20, Some(15)), (30, Some(15)), (40, Some(10)), (50, Some(10))]);
    }
}
