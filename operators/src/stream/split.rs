//! Sending each record one of several ways: `split`, `branch`, and a topic chosen per record.
//!
//! Each record is worked on by itself: repeated keys, absent keys and late timestamps have no meaning here, and there are no
//! tombstones in a stream. Empty input gives empty output. The closure is asked once for each record, however many ways
//! there are; a way that is not there is the failure of the record, and so is a panic.

use super::ProducerRecord;
use super::Stream;
use super::outlet::Portion;
use crate::upsert::Upsert;
use millpond_engine::codec::{Key, Value};
use millpond_engine::dataflow::{Context, Event, Failure, Operator};
use millpond_engine::graph::NodeRef;
use millpond_engine::{Result, Topic};
use std::marker::PhantomData;

impl<K: Key, V: Value> Stream<K, V> {
    /// Several streams, of which `way` says for each record which one it goes to, counted from 0. How many there are is as
    /// many as the pattern takes. A number that is not below is the failure of the record.
    ///
    /// ```
    /// use millpond::testing::Driver;
    /// use millpond::{GraphBuilder, Topic};
    ///
    /// let orders = Topic::<u32, u64>::new("orders");
    /// let graph = GraphBuilder::new();
    /// let [small, large, huge] = graph.stream(&orders).split(|_, cents| match cents {
    ///     0..1_000 => 0,
    ///     1_000..100_000 => 1,
    ///     _ => 2,
    /// });
    /// let large = large.to_table("large");
    /// small.merge(&huge).to_table("unusual");
    /// let mut driver = Driver::new(&graph.build()?)?;
    /// driver.put(&orders, 1, 450, 0)?;
    /// driver.put(&orders, 2, 4_500, 0)?;
    /// driver.run()?;
    /// assert_eq!(driver.table(&large)?, [(2, 4_500)].into());
    /// # Ok::<(), millpond::Error>(())
    /// ```
    #[must_use]
    pub fn split<const N: usize>(&self, way: impl Fn(&K, &V) -> usize + Send + Sync + 'static) -> [Self; N] {
        let splitter = self.splitter("split", N, way);
        std::array::from_fn(|index| self.way_of(splitter, index))
    }

    /// The records for which `predicate` is true, and the others.
    ///
    /// ```
    /// use millpond::testing::Driver;
    /// use millpond::{GraphBuilder, Topic};
    ///
    /// let readings = Topic::<u32, i32>::new("readings");
    /// let graph = GraphBuilder::new();
    /// let (frost, _) = graph.stream(&readings).branch(|_, celsius| *celsius < 0);
    /// let frost = frost.group_by_key().count("frost");
    /// let mut driver = Driver::new(&graph.build()?)?;
    /// for celsius in [12, -3, -5] {
    ///     driver.put(&readings, 1, celsius, 0)?;
    /// }
    /// driver.run()?;
    /// assert_eq!(driver.table(&frost)?, [(1, 2)].into());
    /// # Ok::<(), millpond::Error>(())
    /// ```
    #[must_use]
    #[doc(alias = "partition")]
    pub fn branch(&self, predicate: impl Fn(&K, &V) -> bool + Send + Sync + 'static) -> (Self, Self) {
        let splitter = self.splitter("branch", 2, move |key, value| usize::from(!predicate(key, value)));
        (self.way_of(splitter, 0), self.way_of(splitter, 1))
    }

    /// Appends each record to one of `topics`, exactly once whatever happens; `way` says to which, counted from 0. A number
    /// that is not below is the failure of the record. There are [`upserts_to_one_of`](Stream::upserts_to_one_of) for deletions and
    /// [`records_to_one_of`](Self::records_to_one_of) for headers; to topics of several types, [`split`](Self::split) and send
    /// each stream its way.
    ///
    /// ```
    /// use millpond::testing::Driver;
    /// use millpond::{GraphBuilder, Topic};
    ///
    /// let orders = Topic::<u32, u64>::new("orders");
    /// let (free, paid) = (Topic::<u32, u64>::new("free"), Topic::<u32, u64>::new("paid"));
    /// let graph = GraphBuilder::new();
    /// graph.stream(&orders).to_one_of([&free, &paid], |_, cents| usize::from(*cents > 0));
    /// let mut driver = Driver::new(&graph.build()?)?;
    /// driver.put(&orders, 1, 0, 0)?;
    /// driver.put(&orders, 2, 450, 0)?;
    /// driver.run()?;
    /// assert_eq!(driver.records(&paid)?[0].key, 2);
    /// # Ok::<(), millpond::Error>(())
    /// ```
    #[doc(alias = "TopicNameExtractor")]
    pub fn to_one_of<'t>(
        &self,
        topics: impl IntoIterator<Item = &'t Topic<K, V>>,
        way: impl Fn(&K, &V) -> usize + Send + Sync + 'static,
    ) {
        self.each_way(topics, way, Stream::to);
    }

    /// Appends what `record` makes of each record to one of `topics`, and says to which, counted from 0: otherwise as
    /// [`to_one_of`](Self::to_one_of) and [`to_records`](Self::to_records).
    ///
    /// ```
    /// use millpond::testing::Driver;
    /// use millpond::stream::ProducerRecord;
    /// use millpond::{GraphBuilder, Topic};
    ///
    /// let orders = Topic::<u32, u64>::new("orders");
    /// let [free, paid] = ["free", "paid"].map(Topic::<u32, String>::new);
    /// let graph = GraphBuilder::new();
    /// graph.records(&orders).records_to_one_of([&free, &paid], |_, order| match order.value {
    ///     None | Some(0) => (0, ProducerRecord::tombstone()),
    ///     Some(cents) => (1, ProducerRecord::new(format!("{cents} cents")).with_headers(order.headers)),
    /// });
    /// let mut driver = Driver::new(&graph.build()?)?;
    /// driver.put(&orders, 1, 0, 0)?;
    /// driver.put(&orders, 2, 450, 0)?;
    /// driver.run()?;
    /// assert_eq!(driver.records(&free)?[0].value, None);
    /// assert_eq!(driver.records(&paid)?[0].value.as_deref(), Some("450 cents"));
    /// # Ok::<(), millpond::Error>(())
    /// ```
    #[doc(alias = "TopicNameExtractor")]
    pub fn records_to_one_of<'t, W: Value>(
        &self,
        topics: impl IntoIterator<Item = &'t Topic<K, W>>,
        record: impl Fn(&K, V) -> (usize, ProducerRecord<W>) + Send + Sync + 'static,
    ) {
        let records = self.map_values(record);
        records.each_way(
            topics,
            |_, (way, _)| *way,
            |stream, topic| stream.to_records(topic, |_, (_, record)| record),
        );
    }

    /// Splits the stream into as many ways as there are topics, and sends each to its topic.
    fn each_way<'t, W: Value>(
        &self,
        topics: impl IntoIterator<Item = &'t Topic<K, W>>,
        way: impl Fn(&K, &V) -> usize + Send + Sync + 'static,
        send: impl Fn(&Self, &'t Topic<K, W>),
    ) {
        let topics: Vec<&Topic<K, W>> = topics.into_iter().collect();
        let splitter = self.splitter("to_one_of", topics.len(), way);
        for (index, topic) in topics.into_iter().enumerate() {
            send(&self.way_of(splitter, index), topic);
        }
    }

    fn splitter(
        &self,
        label: &'static str,
        ways: usize,
        way: impl Fn(&K, &V) -> usize + Send + Sync + 'static,
    ) -> NodeRef<Ways<K, V>> {
        let operator = Split { label, ways, way, types: PhantomData::<fn() -> (K, V)> };
        self.builder.operator(label, self.node, &[], &[], operator)
    }

    fn way_of(&self, splitter: NodeRef<Ways<K, V>>, index: usize) -> Self {
        let operator = Way { index, types: PhantomData::<fn() -> (K, V)> };
        let node = self.builder.outlet(&format!("way {index}"), splitter, &[], operator);
        Self::new(self.builder.clone(), node, self.keyed)
    }
}

impl<K: Key, V: Value> Stream<K, Upsert<V>> {
    /// As [`to_one_of`](Stream::to_one_of); deletions become tombstones.
    ///
    /// ```
    /// use millpond::testing::Driver;
    /// use millpond::{GraphBuilder, Topic};
    ///
    /// let stock = Topic::<u32, u64>::new("stock");
    /// let (low, high) = (Topic::<u32, u64>::new("low"), Topic::<u32, u64>::new("high"));
    /// let graph = GraphBuilder::new();
    /// graph.upserts(&stock).upserts_to_one_of([&low, &high], |item, _| usize::from(*item >= 100));
    /// let mut driver = Driver::new(&graph.build()?)?;
    /// driver.put(&stock, 7, 3, 0)?;
    /// driver.delete(&stock, 100, 0)?;
    /// driver.run()?;
    /// assert_eq!(driver.records(&low)?[0].value, Some(3));
    /// assert_eq!(driver.records(&high)?[0].value, None);
    /// # Ok::<(), millpond::Error>(())
    /// ```
    #[doc(alias = "TopicNameExtractor")]
    pub fn upserts_to_one_of<'t>(
        &self,
        topics: impl IntoIterator<Item = &'t Topic<K, V>>,
        way: impl Fn(&K, &Upsert<V>) -> usize + Send + Sync + 'static,
    ) {
        self.each_way(topics, way, Stream::to_upserts);
    }
}

/// What the splitting node puts out: what goes each way.
type Ways<K, V> = Vec<Portion<Vec<Event<K, V>>>>;

/// Sorts events by the way that they go.
struct Split<F, Types> {
    label: &'static str,
    ways: usize,
    way: F,
    types: PhantomData<Types>,
}

impl<K, V, F> Operator for Split<F, fn() -> (K, V)>
where
    K: Key,
    V: Value,
    F: Fn(&K, &V) -> usize + Send + Sync + 'static,
{
    type Input = (Vec<Event<K, V>>,);
    type Output = Ways<K, V>;

    fn run(
        &self,
        context: &mut Context<'_>,
        (events,): Self::Input,
    ) -> Result<Option<Self::Output>, Failure> {
        let wanted: Vec<bool> = (0..self.ways).map(|way| context.outlet(way).is_some()).collect();
        let mut ways: Vec<Vec<Event<K, V>>> = wanted.iter().map(|_| Vec::new()).collect();
        for event in events {
            context.at(&event.stamp);
            let index = (self.way)(&event.key, &event.value);
            let Some((way, wanted)) = ways.get_mut(index).zip(wanted.get(index)) else {
                let (label, ways) = (self.label, self.ways);
                let reason =
                    format!("`{label}` has {ways} ways, counted from 0, and was told to take number {index}");
                return Err(context.failed(&event.stamp, reason));
            };
            if *wanted {
                way.push(event);
            }
        }
        let portions: Vec<_> = ways.into_iter().map(Portion::new).collect();
        Ok(Some(portions))
    }
}

/// Takes the events that go one way.
struct Way<Types> {
    index: usize,
    types: PhantomData<Types>,
}

impl<K: Key, V: Value> Operator for Way<fn() -> (K, V)> {
    type Input = (Ways<K, V>,);
    type Output = Vec<Event<K, V>>;

    fn run(&self, _context: &mut Context<'_>, (ways,): Self::Input) -> Result<Option<Self::Output>, Failure> {
        let events = ways.get(self.index).map_or_else(|| Ok(Vec::new()), Portion::take)?;
        Ok(Some(events))
    }
}
