//! Stateless steps over a stream, one record after the other: `filter`, `map`, `flat_map` and their kin.
//!
//! Each record is worked on by itself: repeated keys, absent keys and late timestamps have no meaning here. There are no
//! tombstones in a stream. Empty input gives empty output. A panic in the closure is a failure of its record; the steps in
//! [`fallible`](super::fallible) fail by an error. Steps that keep the key keep the shard; the others need an exchange
//! before the next operator that works by key. What runs them all is in [`step`](super::step).

use super::Stream;
use millpond_engine::codec::{Key, Value};
use millpond_engine::dataflow::Event;

impl<K: Key, V: Value> Stream<K, V> {
    /// The records for which `keep` is true, under the same keys.
    ///
    /// A record that is left out is told to nobody: what an earlier one of its key has made of a table stays. Where it
    /// is to go, make a deletion of it ([`Upsert::Delete`](crate::Upsert::Delete)) and store the stream with
    /// [`upsert_table`](Stream::upsert_table). Another closure is
    /// [another meaning](millpond_engine::graph::TableOptions#when-the-meaning-changes) of the tables below.
    ///
    /// ```
    /// use millpond::testing::Driver;
    /// use millpond::{GraphBuilder, Topic};
    ///
    /// let readings = Topic::<u32, i32>::new("readings");
    /// let graph = GraphBuilder::new();
    /// let frost = graph.stream(&readings).filter(|_, celsius| *celsius < 0).to_table("frost");
    /// let mut driver = Driver::new(&graph.build()?)?;
    /// driver.put(&readings, 1, 12, 0)?;
    /// driver.put(&readings, 2, -3, 0)?;
    /// driver.run()?;
    /// assert_eq!(driver.table(&frost)?, [(2, -3)].into());
    /// # Ok::<(), millpond::Error>(())
    /// ```
    #[must_use]
    pub fn filter(&self, keep: impl Fn(&K, &V) -> bool + Send + Sync + 'static) -> Self {
        self.step("filter", self.keyed, move |event, out| {
            if keep(&event.key, &event.value) {
                out.push(event);
            }
        })
    }

    /// The records with another value each, under the same key: nothing is sent to other shards.
    ///
    /// ```
    /// use millpond::testing::Driver;
    /// use millpond::{GraphBuilder, Topic};
    ///
    /// let names = Topic::<u32, String>::new("names");
    /// let graph = GraphBuilder::new();
    /// let lengths = graph.stream(&names).map_values(|_, name| name.len()).to_table("lengths");
    /// let mut driver = Driver::new(&graph.build()?)?;
    /// driver.put(&names, 1, "ada".to_owned(), 0)?;
    /// driver.run()?;
    /// assert_eq!(driver.table(&lengths)?, [(1, 3)].into());
    /// # Ok::<(), millpond::Error>(())
    /// ```
    #[must_use]
    #[doc(alias = "mapValues")]
    pub fn map_values<W: Value>(&self, map: impl Fn(&K, V) -> W + Send + Sync + 'static) -> Stream<K, W> {
        self.step("map_values", self.keyed, move |Event { key, value, stamp }, out| {
            let value = map(&key, value);
            out.push(Event { key, value, stamp });
        })
    }

    /// The records with another key and value each. What works by key behind it first sends them to the shards of their
    /// new keys, where they come in the order of the log; keep the key with [`map_values`](Self::map_values) if you can.
    ///
    /// ```
    /// use millpond::testing::Driver;
    /// use millpond::{GraphBuilder, Topic};
    ///
    /// let names = Topic::<u32, String>::new("names");
    /// let graph = GraphBuilder::new();
    /// let ids = graph.stream(&names).map(|id, name| (name, id)).to_table("ids");
    /// let mut driver = Driver::new(&graph.build()?)?;
    /// driver.put(&names, 1, "ada".to_owned(), 0)?;
    /// driver.run()?;
    /// assert_eq!(driver.table(&ids)?, [("ada".to_owned(), 1)].into());
    /// # Ok::<(), millpond::Error>(())
    /// ```
    #[must_use]
    pub fn map<L: Key, W: Value>(
        &self,
        map: impl Fn(K, V) -> (L, W) + Send + Sync + 'static,
    ) -> Stream<L, W> {
        self.step("map", false, move |Event { key, value, stamp }, out| {
            let (key, value) = map(key, value);
            out.push(Event { key, value, stamp });
        })
    }

    /// The records for which `map` gives another key and value; the others are left out, as by [`filter`](Self::filter).
    ///
    /// ```
    /// use millpond::testing::Driver;
    /// use millpond::{GraphBuilder, Topic};
    ///
    /// let names = Topic::<u32, Option<String>>::new("names");
    /// let graph = GraphBuilder::new();
    /// let ids = graph.stream(&names).filter_map(|id, name| Some((name?, id))).to_table("ids");
    /// let mut driver = Driver::new(&graph.build()?)?;
    /// driver.put(&names, 1, Some("ada".to_owned()), 0)?;
    /// driver.put(&names, 2, None, 0)?;
    /// driver.run()?;
    /// assert_eq!(driver.table(&ids)?, [("ada".to_owned(), 1)].into());
    /// # Ok::<(), millpond::Error>(())
    /// ```
    #[must_use]
    pub fn filter_map<L: Key, W: Value>(
        &self,
        map: impl Fn(K, V) -> Option<(L, W)> + Send + Sync + 'static,
    ) -> Stream<L, W> {
        self.step("filter_map", false, move |Event { key, value, stamp }, out| {
            out.extend(map(key, value).map(|(key, value)| Event { key, value, stamp }));
        })
    }

    /// The records for which `map` gives another value, under the same key; the others are left out, as by
    /// [`filter`](Self::filter).
    ///
    /// ```
    /// use millpond::testing::Driver;
    /// use millpond::{GraphBuilder, Topic};
    ///
    /// let orders = Topic::<u32, (String, Option<u64>)>::new("orders");
    /// let graph = GraphBuilder::new();
    /// let paid = graph.stream(&orders).filter_map_values(|_, (_, cents)| cents).to_table("paid");
    /// let mut driver = Driver::new(&graph.build()?)?;
    /// driver.put(&orders, 1, ("tea".to_owned(), Some(450)), 0)?;
    /// driver.put(&orders, 2, ("jam".to_owned(), None), 0)?;
    /// driver.run()?;
    /// assert_eq!(driver.table(&paid)?, [(1, 450)].into());
    /// # Ok::<(), millpond::Error>(())
    /// ```
    #[must_use]
    pub fn filter_map_values<W: Value>(
        &self,
        map: impl Fn(&K, V) -> Option<W> + Send + Sync + 'static,
    ) -> Stream<K, W> {
        self.step("filter_map_values", self.keyed, move |Event { key, value, stamp }, out| {
            if let Some(value) = map(&key, value) {
                out.push(Event { key, value, stamp });
            }
        })
    }

    /// Any number of records in place of each, in the order in which they are given: none, one, or many. All carry the
    /// timestamp of the record that they were made from, and fail with it.
    ///
    /// ```
    /// use millpond::testing::Driver;
    /// use millpond::{GraphBuilder, Topic};
    ///
    /// let lines = Topic::<u32, String>::new("lines");
    /// let graph = GraphBuilder::new();
    /// let words = graph
    ///     .stream(&lines)
    ///     .flat_map(|_, line| line.split(' ').map(|word| (word.to_owned(), ())).collect::<Vec<_>>())
    ///     .group_by_key()
    ///     .count("words");
    /// let mut driver = Driver::new(&graph.build()?)?;
    /// driver.put(&lines, 1, "so so".to_owned(), 0)?;
    /// driver.run()?;
    /// assert_eq!(driver.table(&words)?, [("so".to_owned(), 2)].into());
    /// # Ok::<(), millpond::Error>(())
    /// ```
    #[must_use]
    pub fn flat_map<L: Key, W: Value, I: IntoIterator<Item = (L, W)>>(
        &self,
        map: impl Fn(K, V) -> I + Send + Sync + 'static,
    ) -> Stream<L, W> {
        self.step("flat_map", false, move |Event { key, value, stamp }, out| {
            let made = map(key, value).into_iter().enumerate();
            out.extend(made.map(|(index, (key, value))| Event { key, value, stamp: stamp.branch(index) }));
        })
    }

    /// Any number of values in place of each, under the same key: nothing is sent to other shards.
    ///
    /// ```
    /// use millpond::testing::Driver;
    /// use millpond::{GraphBuilder, Topic};
    ///
    /// // Order -> the cents of its items.
    /// let orders = Topic::<u32, Vec<u64>>::new("orders");
    /// let graph = GraphBuilder::new();
    /// let items = graph.stream(&orders).flat_map_values(|_, items| items);
    /// let dearest = items.group_by_key().reduce("dearest", u64::max);
    /// let mut driver = Driver::new(&graph.build()?)?;
    /// driver.put(&orders, 1, vec![450, 1200], 0)?;
    /// driver.run()?;
    /// assert_eq!(driver.table(&dearest)?, [(1, 1200)].into());
    /// # Ok::<(), millpond::Error>(())
    /// ```
    #[must_use]
    #[doc(alias = "flatMapValues")]
    pub fn flat_map_values<W: Value, I: IntoIterator<Item = W>>(
        &self,
        map: impl Fn(&K, V) -> I + Send + Sync + 'static,
    ) -> Stream<K, W> {
        self.step("flat_map_values", self.keyed, move |Event { key, value, stamp }, out| {
            let made = map(&key, value).into_iter().enumerate();
            out.extend(made.map(|(index, value)| Event {
                key: key.clone(),
                value,
                stamp: stamp.branch(index),
            }));
        })
    }

    /// The records under another key each. Where records of several partitions meet under one key, they come in the order
    /// of the log: that of their appends, however late their timestamps are.
    ///
    /// ```
    /// use millpond::testing::Driver;
    /// use millpond::{GraphBuilder, Topic};
    ///
    /// let players = Topic::<String, (u8, u32)>::new("players");
    /// let graph = GraphBuilder::new();
    /// let teams = graph.stream(&players).re_key(|_, (team, _)| *team).group_by_key().count("teams");
    /// let mut driver = Driver::new(&graph.build()?)?;
    /// driver.put(&players, "ada".to_owned(), (1, 10), 0)?;
    /// driver.put(&players, "bo".to_owned(), (1, 7), 0)?;
    /// driver.run()?;
    /// assert_eq!(driver.table(&teams)?, [(1, 2)].into());
    /// # Ok::<(), millpond::Error>(())
    /// ```
    #[must_use]
    #[doc(alias = "selectKey")]
    pub fn re_key<L: Key>(&self, key: impl Fn(&K, &V) -> L + Send + Sync + 'static) -> Stream<L, V> {
        self.step("re_key", false, move |Event { key: old, value, stamp }, out| {
            out.push(Event { key: key(&old, &value), value, stamp });
        })
    }

    /// The records with their timestamps beside their values: milliseconds since the Unix epoch, as the record carried it
    /// that each was made from. Timestamps order nothing.
    ///
    /// ```
    /// use millpond::testing::Driver;
    /// use millpond::{GraphBuilder, Topic};
    ///
    /// let readings = Topic::<u32, i32>::new("readings");
    /// let graph = GraphBuilder::new();
    /// let read_at = graph.stream(&readings).with_timestamps().map_values(|_, (_, ms)| ms).to_table("read_at");
    /// let mut driver = Driver::new(&graph.build()?)?;
    /// driver.put(&readings, 1, -3, 1_700_000_000_000)?;
    /// driver.run()?;
    /// assert_eq!(driver.table(&read_at)?, [(1, 1_700_000_000_000)].into());
    /// # Ok::<(), millpond::Error>(())
    /// ```
    #[must_use]
    pub fn with_timestamps(&self) -> Stream<K, (V, i64)> {
        self.step("with_timestamps", self.keyed, |Event { key, value, stamp }, out| {
            out.push(Event { key, value: (value, stamp.timestamp_ms), stamp });
        })
    }

    /// The same records; `look` is called with each. It may be called again for the same record when an epoch is run
    /// again, and must not change anything that a result depends on.
    ///
    /// ```
    /// use millpond::{GraphBuilder, Topic};
    ///
    /// let readings = Topic::<u32, i32>::new("readings");
    /// let graph = GraphBuilder::new();
    /// let seen = graph.stream(&readings).inspect(|sensor, celsius| println!("{sensor}: {celsius}"));
    /// seen.to_table("last");
    /// # Ok::<(), millpond::Error>(())
    /// ```
    #[must_use]
    #[doc(alias = "foreach")]
    #[doc(alias = "peek")]
    pub fn inspect(&self, look: impl Fn(&K, &V) + Send + Sync + 'static) -> Self {
        self.step("inspect", self.keyed, move |event, out| {
            look(&event.key, &event.value);
            out.push(event);
        })
    }
}
