//! Rows that are valid for a time: each comes and goes at times that it names.
//!
//! Late: one to whose end its own partition had come already never comes; one to whose beginning it had comes at once. Early ones wait,
//! and the row that they replace goes when they are told, as it says nothing any more. Equal and negative times are as good as others; a
//! time that ends before it begins never comes. A tombstone deletes at once what is valid and what waits. Repeated keys: the last one
//! counts. Empty input: what has come to its time comes and goes all the same.
//!
//! What waits is kept beside the table, in `<store>.waiting`: a list of the one row with its time, and an empty one once it is valid.

use super::{StoredTable, Table};
use crate::stream::{Alarmed, Emit, Process, alarmed};
use crate::upsert::Upsert;
use millpond_engine::codec::{Key, Span, Value};
use millpond_engine::graph::TableOptions;
use std::marker::PhantomData;
use std::ops::Range;

impl<K: Key, V: Value> Table<K, V> {
    /// The rows that are valid, kept under a name: each from the first of the two times that `times` finds in it up to, but without, the
    /// second, in milliseconds since the Unix epoch. What derives from the table is told of rows that come and go, dated with the moment
    /// at which they do. Rows that are not valid yet are kept in the table `<store>.waiting`, and when which is to be looked at in
    /// `<store>.waiting.alarms`.
    ///
    /// Time is what the records say, as for [`expire_after`](Self::expire_after). A row that is replaced by one that is not valid yet goes
    /// at once. `i64::MAX` never comes.
    ///
    /// # Examples
    /// ```
    /// use millpond::testing::Driver;
    /// use millpond::{GraphBuilder, Topic};
    ///
    /// // Offer -> (price, from when, until when).
    /// let offers = Topic::<u32, (u32, i64, i64)>::new("offers").partitions(1);
    /// let graph = GraphBuilder::new();
    /// let valid = graph.table(&offers, "offers").while_valid("valid", |_, (_, from, until)| *from..*until);
    /// let mut driver = Driver::new(&graph.build()?)?;
    /// driver.put(&offers, 1, (120, 2_000, 5_000), 1_000)?;
    /// driver.put(&offers, 2, (80, 0, 2_500), 1_500)?;
    /// driver.run()?;
    /// assert_eq!(driver.table(&valid)?.into_keys().collect::<Vec<_>>(), [2]);
    /// driver.put(&offers, 3, (70, 9_000, 9_999), 2_500)?;
    /// driver.run()?;
    /// assert_eq!(driver.table(&valid)?.into_keys().collect::<Vec<_>>(), [1]);
    /// # Ok::<(), millpond::Error>(())
    /// ```
    #[must_use]
    #[doc(alias = "temporal filter")]
    pub fn while_valid(
        &self,
        store: impl Into<TableOptions<V>>,
        times: impl Fn(&K, &V) -> Range<i64> + Send + Sync + 'static,
    ) -> StoredTable<K, V> {
        let store = store.into();
        let valid = Valid { times, types: PhantomData::<fn() -> (K, V)> };
        let (told, _) =
            alarmed::alarmed(&self.to_stream(), "while_valid", store.of_spans("waiting"), valid, true);
        told.upsert_table(store)
    }
}

struct Valid<F, Types> {
    times: F,
    types: PhantomData<Types>,
}

impl<K, V, F> Process<K, Upsert<V>> for Valid<F, fn() -> (K, V)>
where
    K: Key,
    V: Value,
    F: Fn(&K, &V) -> Range<i64> + Send + Sync + 'static,
{
    type State = Vec<Span<V>>;
    type OutKey = K;
    type OutValue = Upsert<V>;

    fn process(
        &self,
        key: &K,
        upsert: Upsert<V>,
        waiting: &mut Option<Vec<Span<V>>>,
        emit: &mut Emit<K, Upsert<V>>,
    ) {
        let was_valid = waiting.take().is_some_and(|waiting| waiting.is_empty());
        let now_ms = emit.stream_time_ms();
        let told = match upsert {
            Upsert::Put(value) => {
                let Range { start, end } = (self.times)(key, &value);
                // The last moment there is never comes.
                if (now_ms >= end && end < i64::MAX) || start >= end {
                    Upsert::Delete
                } else if now_ms >= start {
                    *waiting = Some(Vec::new());
                    emit.set_alarm(Some(end));
                    Upsert::Put(value)
                } else {
                    *waiting = Some(vec![Span { start_ms: start, last_ms: end.saturating_sub(1), value }]);
                    emit.set_alarm(Some(start));
                    Upsert::Delete
                }
            }
            Upsert::Delete => Upsert::Delete,
        };
        if was_valid || matches!(told, Upsert::Put(_)) {
            emit.push(key.clone(), told);
        }
    }
}

impl<K, V, F> Alarmed<K, Upsert<V>> for Valid<F, fn() -> (K, V)>
where
    K: Key,
    V: Value,
    F: Fn(&K, &V) -> Range<i64> + Send + Sync + 'static,
{
    fn alarm(&self, key: &K, _: i64, waiting: &mut Option<Vec<Span<V>>>, emit: &mut Emit<K, Upsert<V>>) {
        match waiting.take().and_then(|mut waiting| waiting.pop()) {
            Some(Span { last_ms, value, .. }) => {
                *waiting = Some(Vec::new());
                emit.set_alarm(Some(last_ms.saturating_add(1)));
                emit.push(key.clone(), Upsert::Put(value));
            }
            None => emit.push(key.clone(), Upsert::Delete),
        }
    }
}
