//! Joining a stream with a table: each record meets the row that the table has at that moment.
//!
//! That moment is its place in the log: it meets what all records before it, and it itself, have made of the table,
//! wherever epochs were cut, also if the table is computed, grouped or joined from others, or stored from a stream of
//! another table's changes. A later change of the table does not reach records that have gone by. Timestamps play no part,
//! late, equal or not.
//!
//! Deleted and absent keys: the inner join drops the record, the left join passes `None`. Repeated keys meet the row each
//! at its own place. Empty input on either side gives nothing, or changes nothing. An error of the join is the failure of
//! its record.

use super::Stream;
use crate::table::Table;
use crate::table::access::{Access, Wanted};
use crate::table::history::Starts;
use millpond_engine::Result;
use millpond_engine::codec::{Key, Value};
use millpond_engine::dataflow::{Changes, Context, Event, Failure, Operator, Stamp, Update};
use millpond_engine::graph::{Builder, NodeRef};
use std::collections::HashMap;
use std::convert::Infallible;
use std::fmt::Display;
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
        self.joined("join", table, move |key, value, row| {
            Ok::<_, Infallible>(row.map(|row| join(key, value, row)))
        })
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
        self.joined("left_join", table, move |key, value, row| {
            Ok::<_, Infallible>(Some(join(key, value, row)))
        })
    }

    /// As [`join`](Self::join), where an error is the failure of the record of this stream.
    ///
    /// ```
    /// use millpond::testing::Driver;
    /// use millpond::{GraphBuilder, Topic};
    ///
    /// let (orders, prices) = (Topic::<u32, u64>::new("orders"), Topic::<u32, u64>::new("prices"));
    /// let graph = GraphBuilder::new();
    /// let prices_table = graph.table(&prices, "prices");
    /// let due = graph
    ///     .stream(&orders)
    ///     .try_join(&prices_table, |_, pieces, price| pieces.checked_mul(*price).ok_or("too dear"))
    ///     .to_table("due");
    /// let mut driver = Driver::new(&graph.build()?)?;
    /// driver.put(&prices, 1, 450, 0)?;
    /// driver.put(&orders, 1, 2, 0)?;
    /// driver.put(&orders, 1, u64::MAX, 0)?;
    /// let error = driver.run().unwrap_err().to_string();
    /// assert!(error.contains("orders/0 offset 1") && error.contains("too dear"), "{error}");
    /// assert_eq!(driver.table(&due)?, [(1, 900)].into());
    /// # Ok::<(), millpond::Error>(())
    /// ```
    #[must_use]
    pub fn try_join<T: Value, W: Value, E: Display + 'static>(
        &self,
        table: &Table<K, T>,
        join: impl Fn(&K, V, &T) -> Result<W, E> + Send + Sync + 'static,
    ) -> Stream<K, W> {
        self.joined("try_join", table, move |key, value, row| {
            row.map(|row| join(key, value, row)).transpose()
        })
    }

    /// As [`left_join`](Self::left_join), where an error is the failure of the record of this stream: such as one that must meet
    /// a row and does not.
    ///
    /// ```
    /// use millpond::testing::{Driver, Settings};
    /// use millpond::{FailurePolicy, GraphBuilder, Topic};
    ///
    /// let (orders, prices) = (Topic::<u32, u64>::new("orders"), Topic::<u32, u64>::new("prices"));
    /// let dead = Topic::<u32, u64>::new("dead");
    /// let graph = GraphBuilder::new();
    /// let prices_table = graph.table(&prices, "prices");
    /// let due = graph
    ///     .stream(&orders)
    ///     .try_left_join(&prices_table, |item, pieces, price| match price {
    ///         Some(price) => Ok(pieces * price),
    ///         None => Err(format!("item {item} has no price")),
    ///     })
    ///     .to_table("due");
    /// let policy = FailurePolicy::DeadLetter("dead".into());
    /// let mut driver = Driver::with_settings(&graph.build()?, Settings { policy, ..Settings::default() })?;
    /// driver.put(&orders, 1, 2, 0)?;
    /// driver.put(&prices, 1, 450, 0)?;
    /// driver.put(&orders, 1, 3, 0)?;
    /// driver.run()?;
    /// assert_eq!(driver.table(&due)?, [(1, 1350)].into());
    /// assert_eq!(driver.records(&dead)?[0].value, Some(2));
    /// # Ok::<(), millpond::Error>(())
    /// ```
    #[must_use]
    pub fn try_left_join<T: Value, W: Value, E: Display + 'static>(
        &self,
        table: &Table<K, T>,
        join: impl Fn(&K, V, Option<&T>) -> Result<W, E> + Send + Sync + 'static,
    ) -> Stream<K, W> {
        self.joined("try_left_join", table, move |key, value, row| join(key, value, row).map(Some))
    }

    /// What `join` makes of each record and the row that it meets; nothing where it makes nothing.
    fn joined<T: Value, W: Value, E: Display + 'static>(
        &self,
        label: &str,
        table: &Table<K, T>,
        join: impl Fn(&K, V, Option<&T>) -> Result<Option<W>, E> + Send + Sync + 'static,
    ) -> Stream<K, W> {
        let stream = self.exchanged();
        let join = move |key: K, value, row: Option<&T>| {
            Ok::<_, E>(join(&key, value, row)?.map(|joined| (key, joined)))
        };
        let node = meeting(label, &stream.builder, stream.node, table, |key| Some(key), join);
        Stream::new(stream.builder, node, true)
    }
}

/// Has each event of `events`, which are on the shards of the keys that `name` takes from theirs, meet the row of this key; those that
/// name none meet none.
pub(super) fn meeting<L, V, K, T, M, W, E>(
    label: &str,
    builder: &Builder,
    events: NodeRef<Vec<Event<L, V>>>,
    table: &Table<K, T>,
    name: fn(&L) -> Option<&K>,
    join: impl Fn(L, V, Option<&T>) -> Result<Option<(M, W)>, E> + Send + Sync + 'static,
) -> NodeRef<Vec<Event<M, W>>>
where
    L: Key,
    V: Value,
    K: Key,
    T: Value,
    M: Key,
    W: Value,
    E: Display + 'static,
{
    let types = PhantomData::<fn() -> (V, M, W, E)>;
    let operator = StreamTableJoin { access: Arc::clone(&table.access), name, join, types };
    let node = builder.operator(label, (events, table.node), &[], &table.access.reads(), operator);
    builder.follows_updates(node);
    // What comes out is of the stream: a table that is seldom updated holds nothing back.
    builder.taken_on_in_time_by(node, &[0]);
    node
}

struct StreamTableJoin<L, K, T, F, Types> {
    access: Arc<dyn Access<K, T>>,
    name: fn(&L) -> Option<&K>,
    join: F,
    types: PhantomData<Types>,
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

impl<L, K, V, T, M, W, E, F> Operator for StreamTableJoin<L, K, T, F, fn() -> (V, M, W, E)>
where
    L: Key,
    K: Key,
    V: Value,
    T: Value,
    M: Key,
    W: Value,
    E: Display + 'static,
    F: Fn(L, V, Option<&T>) -> Result<Option<(M, W)>, E> + Send + Sync + 'static,
{
    type Input = (Vec<Event<L, V>>, Changes<K, T>);
    type Output = Vec<Event<M, W>>;

    fn run(
        &self,
        context: &mut Context<'_>,
        (events, changes): Self::Input,
    ) -> Result<Option<Self::Output>, Failure> {
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
        let wanted = events.iter().filter_map(|event| Some(((self.name)(&event.key)?, &event.stamp)));
        let unchanged: Vec<Wanted<'_, K>> = wanted.filter(|(key, _)| !histories.contains_key(key)).collect();
        let mut rows = self.access.look_up(context, &unchanged)?.into_iter();
        let mut out = Vec::with_capacity(events.len());
        for Event { key, value, stamp } in events {
            context.at(&stamp);
            let looked_up;
            let row = match (self.name)(&key).map(|named| histories.get(named)) {
                None => None,
                Some(Some(history)) => history.at(&stamp),
                Some(None) => {
                    looked_up = rows.next().flatten();
                    looked_up.as_ref()
                }
            };
            let joined = (self.join)(key, value, row).map_err(|reason| context.failed(&stamp, reason))?;
            out.extend(joined.map(|(key, value)| Event { key, value, stamp }));
        }
        Ok(Some(out))
    }
}
