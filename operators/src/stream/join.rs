//! Joining a stream with a table: each record meets the row that the table has at that moment.
//!
//! That moment is its place in the log: it meets what all records before it, and it itself, have made of the table,
//! wherever epochs were cut, also if the table is computed, grouped or joined from others, or stored from a stream of
//! another table's changes. A later change of the table does not reach records that have gone by. Timestamps play no part,
//! late, equal or not.
//!
//! Deleted and absent keys: the inner join drops the record, the left join passes `None`. Repeated keys meet the row each
//! at its own place. Empty input on either side gives nothing, or changes nothing.

use super::Stream;
use crate::table::Table;
use crate::table::access::Access;
use crate::table::history::Starts;
use millpond_engine::Result;
use millpond_engine::codec::{Key, Value};
use millpond_engine::dataflow::{
    Batch, Changes, Context, Event, Failure, Inputs, Operator, Output, Stamp, Update,
};
use std::collections::HashMap;
use std::marker::PhantomData;
use std::sync::Arc;

impl<K: Key, V: Value> Stream<K, V> {
    /// Joins each record with the row that `table` has under its key at that moment; records without one are dropped.
    ///
    /// That moment is the record's place in the log: it meets what all records before it, and it itself, have made of the
    /// table, whatever their timestamps and wherever epochs were cut. A later change of the table does not reach records that
    /// have gone by. A key that is deleted or was never there has no row; records of equal keys meet the row each at its own
    /// place.
    ///
    /// ```
    /// use millpond::testing::Driver;
    /// use millpond::{GraphBuilder, Topic};
    ///
    /// let (orders, prices) = (Topic::<u32, u64>::new("orders"), Topic::<u32, u64>::new("prices"));
    /// let graph = GraphBuilder::new();
    /// let prices_table = graph.table(&prices, "prices");
    /// let due = graph.stream(&orders).join(&prices_table, |_, pieces, price| pieces * price).to_table("due");
    /// let mut driver = Driver::new(&graph.build()?)?;
    /// driver.put(&prices, 1, 450, 0)?;
    /// driver.put(&orders, 1, 2, 0)?;
    /// driver.put(&prices, 1, 500, 0)?;
    /// driver.run()?;
    /// assert_eq!(driver.table(&due)?, [(1, 900)].into());
    /// # Ok::<(), millpond::Error>(())
    /// ```
    #[must_use]
    pub fn join<T: Value, W: Value>(
        &self,
        table: &Table<K, T>,
        join: impl Fn(&K, V, &T) -> W + Send + Sync + 'static,
    ) -> Stream<K, W> {
        self::join(self, table, move |key, value, row| row.map(|row| join(key, value, row)))
    }

    /// As [`join`](Self::join), but each record comes through, with the row if there is one: a key that is deleted or was
    /// never there has none.
    ///
    /// ```
    /// use millpond::testing::Driver;
    /// use millpond::{GraphBuilder, Topic};
    ///
    /// let (visits, names) = (Topic::<u32, ()>::new("visits"), Topic::<u32, String>::new("names"));
    /// let graph = GraphBuilder::new();
    /// let names_table = graph.table(&names, "names");
    /// let greetings = graph
    ///     .stream(&visits)
    ///     .left_join(&names_table, |_, (), name| format!("Hello, {}!", name.map_or("you", String::as_str)))
    ///     .to_table("greetings");
    /// let mut driver = Driver::new(&graph.build()?)?;
    /// driver.put(&visits, 1, (), 0)?;
    /// driver.run()?;
    /// assert_eq!(driver.table(&greetings)?, [(1, "Hello, you!".to_owned())].into());
    /// # Ok::<(), millpond::Error>(())
    /// ```
    #[must_use]
    #[doc(alias = "leftJoin")]
    pub fn left_join<T: Value, W: Value>(
        &self,
        table: &Table<K, T>,
        join: impl Fn(&K, V, Option<&T>) -> W + Send + Sync + 'static,
    ) -> Stream<K, W> {
        self::join(self, table, move |key, value, row| Some(join(key, value, row)))
    }
}

fn join<K: Key, V: Value, T: Value, W: Value>(
    stream: &Stream<K, V>,
    table: &Table<K, T>,
    join: impl Fn(&K, V, Option<&T>) -> Option<W> + Send + Sync + 'static,
) -> Stream<K, W> {
    let stream = stream.exchanged();
    let operator = StreamTableJoin { access: Arc::clone(&table.access), join, types: PhantomData };
    let reads = table.access.reads();
    let node = stream.builder.operator("join", &[stream.node, table.node], &[], &reads, operator);
    stream.builder.follows_updates(node);
    Stream::new(stream.builder.clone(), node, true)
}

struct StreamTableJoin<K, V, T, F> {
    access: Arc<dyn Access<K, T>>,
    join: F,
    types: PhantomData<fn() -> V>,
}

/// What happened to one key of the table within the epoch.
struct History<'u, K, T> {
    start: Option<&'u T>,
    updates: Vec<&'u Update<K, T>>,
}

impl<'u, K, T> History<'u, K, T> {
    /// The row that a record with `stamp` meets.
    fn at(&self, stamp: &Stamp) -> Option<&'u T> {
        let seen = self.updates.partition_point(|update| stamp.sees(&update.stamp));
        match seen.checked_sub(1).and_then(|last| self.updates.get(last)) {
            Some(update) => update.value.as_ref(),
            None => self.start,
        }
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
    fn run(&self, context: &mut Context<'_>, mut inputs: Inputs<'_>) -> Result<Output, Failure> {
        let events: Vec<Event<K, V>> = inputs.take(0)?;
        let changes: Changes<K, T> = inputs.take(1)?;
        let starts = Starts::of(context, &*self.access, &changes)?;
        let mut histories: HashMap<&K, History<'_, K, T>> = HashMap::with_capacity(changes.changes.len());
        for key in starts.keys() {
            histories.insert(key, History { start: starts.row(key), updates: Vec::new() });
        }
        for update in &changes.updates {
            if let Some(history) = histories.get_mut(&update.key) {
                history.updates.push(update);
            }
        }
        let unchanged: Vec<&K> =
            events.iter().map(|event| &event.key).filter(|key| !histories.contains_key(key)).collect();
        let mut rows = self.access.look_up(context, &unchanged)?.into_iter();
        let mut out = Vec::with_capacity(events.len());
        for Event { key, value, stamp } in events {
            context.at(&stamp);
            let joined = match histories.get(&key) {
                Some(history) => (self.join)(&key, value, history.at(&stamp)),
                None => (self.join)(&key, value, rows.next().flatten().as_ref()),
            };
            out.extend(joined.map(|value| Event { key, value, stamp }));
        }
        Ok(Output::Local(Batch::new(out)))
    }
}
