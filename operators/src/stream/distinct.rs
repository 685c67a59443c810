//! Of the records of a key within a time, the first.
//!
//! First in the order of the log, whatever the timestamps. The time begins with the record that is let through, by how far its partition
//! had come: so one that is late, early, of an equal or of a negative timestamp is dropped as any other while that time lasts, and what
//! comes when it is over is let through. There are no tombstones in a stream. Empty input lets nothing through, and forgets keys all the
//! same.

use super::alarmed::{self, Alarmed};
use super::emit::Emit;
use super::{Process, Stream};
use crate::stream::millis;
use millpond_engine::codec::{Key, Value};
use millpond_engine::graph::TableOptions;
use std::marker::PhantomData;
use std::time::Duration;

impl<K: Key, V: Value> Stream<K, V> {
    /// Lets the first record of each key through, and drops those that come while the partition of the record has not gone on for `time`
    /// since: repeated ones. What else is a repetition is said by the key: [`re_key`](Self::re_key) before. The keys that were let
    /// through are kept in the table `store`, and go from it when the time is over.
    ///
    /// Time is what the records say. Where the records of a key come from one partition it is the same ones that are let through, however
    /// epochs are cut; so, too, wherever they come from on a log that is one sequence.
    ///
    /// # Examples
    /// ```
    /// use millpond::testing::Driver;
    /// use millpond::{GraphBuilder, Topic};
    /// use std::time::Duration;
    ///
    /// let payments = Topic::<u64, u32>::new("payments").partitions(1);
    /// let graph = GraphBuilder::new();
    /// let once = graph.stream(&payments).distinct_within("seen", Duration::from_secs(60));
    /// let counts = once.group_by_key().count("counts");
    /// let mut driver = Driver::new(&graph.build()?)?;
    /// for at in [1_000, 2_000, 60_999, 61_000, 62_000] {
    ///     driver.put(&payments, 7, 250, at)?;
    /// }
    /// driver.run()?;
    /// assert_eq!(driver.table(&counts)?, [(7, 2)].into());
    /// # Ok::<(), millpond::Error>(())
    /// ```
    #[must_use]
    #[doc(alias = "deduplicate")]
    pub fn distinct_within(&self, store: impl Into<TableOptions<()>>, time: Duration) -> Self {
        let time_ms = millis(time);
        let store = store.into().written_by(format!("distinct_within({time_ms} ms)"));
        let first = First { time_ms, value: PhantomData::<fn() -> V> };
        alarmed::alarmed(self, "distinct_within", store, first, true).0
    }
}

struct First<V> {
    time_ms: i64,
    value: PhantomData<fn() -> V>,
}

impl<K: Key, V: Value> Process<K, V> for First<V> {
    type State = ();
    type OutKey = K;
    type OutValue = V;

    fn process(&self, key: &K, value: V, seen: &mut Option<()>, emit: &mut Emit<K, V>) {
        if seen.is_none() {
            *seen = Some(());
            emit.set_alarm(Some(emit.stream_time_ms().saturating_add(self.time_ms)));
            emit.push(key.clone(), value);
        }
    }
}

impl<K: Key, V: Value> Alarmed<K, V> for First<V> {
    fn alarm(&self, _: &K, _: i64, seen: &mut Option<()>, _: &mut Emit<K, V>) {
        *seen = None;
    }
}
