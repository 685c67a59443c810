//! Tables that change seldom: what becomes of a row within a time is told once, at the end of it.
//!
//! The time begins with the first change of a row of which nothing waits, by how far the partition of its record had come: so late and
//! early timestamps, equal and negative ones play no part beyond that. A tombstone waits as a value does. Repeated keys: the last change
//! is told. A row that is what it was when the time is over has not changed. Empty input: what has waited long enough is told all the
//! same.
//!
//! What waits is kept beside the table, in `<store>.waiting`: a list of the value, and an empty one for a deletion.

use super::{StoredTable, Table};
use crate::stream::millis;
use crate::stream::{Alarmed, Emit, Process, alarmed};
use crate::upsert::Upsert;
use millpond_engine::codec::{Key, Span, Value};
use millpond_engine::graph::TableOptions;
use std::marker::PhantomData;
use std::time::Duration;

impl<K: Key, V: Value> Table<K, V> {
    /// The same rows, which change at most once in `time` each, kept under a name: a change waits so long, for others of the same row,
    /// and the last of them is told, dated with the end of that time. What waits is kept in the table `<store>.waiting`, so that it may be
    /// larger than memory.
    ///
    /// Time is what the records say, as for [`expire_after`](Self::expire_after), so that which changes are told depends on the records
    /// alone. The last change of a row is told when time has come so far; as long as it does not the row is as it was.
    ///
    /// # Examples
    /// ```
    /// use millpond::testing::Driver;
    /// use millpond::{GraphBuilder, Topic};
    /// use std::time::Duration;
    ///
    /// let prices = Topic::<String, u32>::new("prices").partitions(1);
    /// let told = Topic::<String, u32>::new("told");
    /// let graph = GraphBuilder::new();
    /// let settled = graph.table(&prices, "prices").settled("settled", Duration::from_secs(10));
    /// settled.to_stream().to_upserts(&told);
    /// let mut driver = Driver::new(&graph.build()?)?;
    /// for (price, at) in [(5, 1_000), (7, 4_000), (6, 10_999), (9, 12_000)] {
    ///     driver.put(&prices, "tea".to_owned(), price, at)?;
    /// }
    /// driver.run()?;
    /// assert_eq!(driver.table(&settled)?["tea"], 6);
    /// # Ok::<(), millpond::Error>(())
    /// ```
    #[must_use]
    #[doc(alias = "suppress")]
    #[doc(alias = "untilTimeLimit")]
    pub fn settled(&self, store: impl Into<TableOptions<V>>, time: Duration) -> StoredTable<K, V> {
        let store = store.into();
        let time_ms = millis(time);
        let waiting = store.of_spans("waiting").written_by(format!("settled({time_ms} ms)"));
        let settled = Settled { time_ms, types: PhantomData::<fn() -> V> };
        let (told, _) = alarmed::alarmed(&self.to_stream(), "settled", waiting, settled, true);
        told.upsert_table(store)
    }
}

struct Settled<V> {
    time_ms: i64,
    types: PhantomData<fn() -> V>,
}

impl<K: Key, V: Value> Process<K, Upsert<V>> for Settled<V> {
    type State = Vec<Span<V>>;
    type OutKey = K;
    type OutValue = Upsert<V>;

    fn process(
        &self,
        _: &K,
        upsert: Upsert<V>,
        waiting: &mut Option<Vec<Span<V>>>,
        emit: &mut Emit<K, Upsert<V>>,
    ) {
        let now_ms = emit.stream_time_ms();
        if waiting.is_none() {
            emit.set_alarm(Some(now_ms.saturating_add(self.time_ms)));
        }
        let value = upsert.into_option().map(|value| Span { start_ms: now_ms, last_ms: now_ms, value });
        *waiting = Some(value.into_iter().collect());
    }
}

impl<K: Key, V: Value> Alarmed<K, Upsert<V>> for Settled<V> {
    fn alarm(&self, key: &K, _: i64, waiting: &mut Option<Vec<Span<V>>>, emit: &mut Emit<K, Upsert<V>>) {
        let value = waiting.take().and_then(|mut waiting| waiting.pop());
        emit.push(key.clone(), value.map(|span| span.value).into());
    }
}
