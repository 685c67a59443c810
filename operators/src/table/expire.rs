//! Rows that expire: each goes at a time of its own, and whatever derives from the table is told.
//!
//! Late: after a time to live, an update that was past it when it came counts for nothing, and of those that count the latest by
//! timestamp decides when the row goes; at a time that the row itself names, one that had come by then leaves no row. Early: one ahead of
//! the others stays so much longer. Equal timestamps: the later update replaces the value. Negative ones are as good as others. A
//! tombstone deletes at once, however late, and takes the time along. Repeated keys: each update finds what the one before has left; one
//! that comes when the row has gone begins anew. Empty input: what has come to its time goes all the same.

use super::{StoredTable, Table};
use crate::stream::millis;
use crate::stream::{Alarmed, Emit, Process, Stream, alarmed};
use crate::upsert::Upsert;
use millpond_engine::codec::{Key, Value};
use millpond_engine::graph::TableOptions;
use std::marker::PhantomData;
use std::time::Duration;

impl<K: Key, V: Value> Stream<K, Upsert<V>> {
    /// A table of the last value of each key, which goes a time after its last update. As [`Table::expire_after`], where every record is
    /// an update, also one that says what the row says already.
    #[must_use]
    pub fn expire_after(
        &self,
        store: impl Into<TableOptions<V>>,
        time_to_live: Duration,
    ) -> StoredTable<K, V> {
        let time_to_live_ms = millis(time_to_live);
        let store = store.into().written_by(format!("expire_after({time_to_live_ms} ms)"));
        let after = After { time_to_live_ms, types: PhantomData::<fn() -> V> };
        alarmed::alarmed(self, "expire_after", store, after, true).1
    }

    /// A table of the last value of each key, which goes at the time that `until` finds in it, in milliseconds since the Unix epoch. See
    /// [`Table::expire_at`].
    #[must_use]
    pub fn expire_at(
        &self,
        store: impl Into<TableOptions<V>>,
        until: impl Fn(&K, &V) -> i64 + Send + Sync + 'static,
    ) -> StoredTable<K, V> {
        let at = At { until, types: PhantomData::<fn() -> (K, V)> };
        alarmed::alarmed(self, "expire_at", store.into(), at, true).1
    }
}

impl<K: Key, V: Value> Table<K, V> {
    /// The rows that were updated within `time_to_live`, kept under a name. A row goes when time has come so far beyond the greatest
    /// timestamp of its updates, and what derives from the table is told of it as of any deletion, dated with that moment; if the key is
    /// updated again it begins anew. When which key is to be looked at is kept in the table `<store>.alarms`.
    ///
    /// Time is what the records say: how far the partition of a record had come, and the least that all partitions that feed the table
    /// have come to. An update counts if its own partition had not come so far beyond it already. What happens to a key is the same
    /// however epochs are cut.
    ///
    /// NOTE: a record that leaves a row of this table as it was is no update. Where it should be one, such as a sign of life, begin with
    /// [upserts](crate::GraphBuilder::upserts), which have the same method.
    ///
    /// # Examples
    /// ```
    /// use millpond::testing::Driver;
    /// use millpond::{GraphBuilder, Topic};
    /// use std::time::Duration;
    ///
    /// // Ship -> (fleet, how far it is).
    /// let positions = Topic::<String, (u8, u32)>::new("positions").partitions(1);
    /// let graph = GraphBuilder::new();
    /// let moving = graph.table(&positions, "positions").expire_after("moving", Duration::from_secs(60));
    /// let fleets = moving.group_by(|_, (fleet, _)| (*fleet, ())).count("fleets");
    /// let mut driver = Driver::new(&graph.build()?)?;
    /// for (ship, fleet, at) in [("ada", 1, 1_000), ("bob", 1, 30_000), ("carla", 2, 61_000)] {
    ///     driver.put(&positions, ship.to_owned(), (fleet, 7), at)?;
    /// }
    /// driver.run()?;
    /// assert_eq!(driver.table(&moving)?.into_keys().collect::<Vec<_>>(), ["bob", "carla"]);
    /// assert_eq!(driver.table(&fleets)?, [(1, 1), (2, 1)].into());
    /// # Ok::<(), millpond::Error>(())
    /// ```
    #[must_use]
    #[doc(alias = "ttl")]
    pub fn expire_after(
        &self,
        store: impl Into<TableOptions<V>>,
        time_to_live: Duration,
    ) -> StoredTable<K, V> {
        self.to_stream().expire_after(store, time_to_live)
    }

    /// The rows to whose time, which `until` finds in them, it has not come yet, kept under a name; in milliseconds since the Unix epoch.
    /// A row goes when time has come to it, as with [`expire_after`](Self::expire_after), and one to whose time its own partition had
    /// come already is none. A time that has changed with the row is the one that counts. `i64::MAX` never comes.
    ///
    /// ```
    /// use millpond::testing::Driver;
    /// use millpond::{GraphBuilder, Topic};
    ///
    /// // Auction -> when it ends.
    /// let auctions = Topic::<u32, i64>::new("auctions").partitions(1);
    /// let graph = GraphBuilder::new();
    /// let running = graph.table(&auctions, "auctions").expire_at("running", |_, ends| *ends);
    /// let mut driver = Driver::new(&graph.build()?)?;
    /// for (auction, ends, at) in [(1, 5_000, 1_000), (2, 9_000, 2_000), (3, 8_000, 5_000)] {
    ///     driver.put(&auctions, auction, ends, at)?;
    /// }
    /// driver.run()?;
    /// assert_eq!(driver.table(&running)?, [(2, 9_000), (3, 8_000)].into());
    /// # Ok::<(), millpond::Error>(())
    /// ```
    #[must_use]
    pub fn expire_at(
        &self,
        store: impl Into<TableOptions<V>>,
        until: impl Fn(&K, &V) -> i64 + Send + Sync + 'static,
    ) -> StoredTable<K, V> {
        self.to_stream().expire_at(store, until)
    }
}

/// Rows go a time after their last update.
struct After<V> {
    time_to_live_ms: i64,
    types: PhantomData<fn() -> V>,
}

impl<K: Key, V: Value> Process<K, Upsert<V>> for After<V> {
    type State = V;
    type OutKey = ();
    type OutValue = ();

    fn process(&self, _: &K, upsert: Upsert<V>, row: &mut Option<V>, emit: &mut Emit<(), ()>) {
        let Upsert::Put(value) = upsert else {
            *row = None;
            return;
        };
        let until_ms = emit.timestamp_ms().saturating_add(self.time_to_live_ms);
        // Told from the moment back, as the time may lie beyond all time.
        let over_ms = emit.stream_time_ms().checked_sub(self.time_to_live_ms);
        if over_ms.is_none_or(|over_ms| over_ms < emit.timestamp_ms()) {
            emit.set_alarm(Some(emit.alarm().map_or(until_ms, |known_ms| known_ms.max(until_ms))));
            *row = Some(value);
        }
    }
}

impl<K: Key, V: Value> Alarmed<K, Upsert<V>> for After<V> {
    fn alarm(&self, _: &K, _: i64, row: &mut Option<V>, _: &mut Emit<(), ()>) {
        *row = None;
    }
}

/// Rows go at a time that they name.
struct At<F, Types> {
    until: F,
    types: PhantomData<Types>,
}

impl<K, V, F> Process<K, Upsert<V>> for At<F, fn() -> (K, V)>
where
    K: Key,
    V: Value,
    F: Fn(&K, &V) -> i64 + Send + Sync + 'static,
{
    type State = V;
    type OutKey = ();
    type OutValue = ();

    fn process(&self, key: &K, upsert: Upsert<V>, row: &mut Option<V>, emit: &mut Emit<(), ()>) {
        *row = upsert.into_option();
        let Some(until_ms) = row.as_ref().map(|value| (self.until)(key, value)) else { return };
        // The last moment there is never comes.
        if until_ms > emit.stream_time_ms() || until_ms == i64::MAX {
            emit.set_alarm(Some(until_ms));
        } else {
            *row = None;
        }
    }
}

impl<K, V, F> Alarmed<K, Upsert<V>> for At<F, fn() -> (K, V)>
where
    K: Key,
    V: Value,
    F: Fn(&K, &V) -> i64 + Send + Sync + 'static,
{
    fn alarm(&self, _: &K, _: i64, row: &mut Option<V>, _: &mut Emit<(), ()>) {
        *row = None;
    }
}
