//! Putting streams together: `merge` and `merge_all`.
//!
//! The records come in the order of the log; of a record that comes on several ways, all that was made of it on the first
//! comes before what was made of it on the second, and so on. Repeated, absent keys and late timestamps have no meaning
//! here, and there are no tombstones in a stream. Empty inputs add nothing.

use super::Stream;
use millpond_engine::Result;
use millpond_engine::codec::{Key, Value};
use millpond_engine::dataflow::{All, Context, Event, Failure, Operator};
use millpond_engine::graph::Interleaving;
use std::marker::PhantomData;

impl<K: Key, V: Value> Stream<K, V> {
    /// The records of both streams in the order of the log, whatever their timestamps. Of a record that comes on both
    /// ways, all that was made of it on this one comes before what was made of it on `other`.
    ///
    /// ```
    /// use millpond::testing::Driver;
    /// use millpond::{GraphBuilder, Topic};
    ///
    /// let (web, shop) = (Topic::<u32, u64>::new("web"), Topic::<u32, u64>::new("shop"));
    /// let graph = GraphBuilder::new();
    /// let spent = graph.stream(&web).merge(&graph.stream(&shop)).group_by_key().reduce("spent", |a, b| a + b);
    /// let mut driver = Driver::new(&graph.build()?)?;
    /// driver.put(&web, 1, 450, 0)?;
    /// driver.put(&shop, 1, 50, 0)?;
    /// driver.run()?;
    /// assert_eq!(driver.table(&spent)?, [(1, 500)].into());
    /// # Ok::<(), millpond::Error>(())
    /// ```
    #[must_use]
    pub fn merge(&self, other: &Self) -> Self {
        self.merge_all([other])
    }

    /// The records of this stream and all `others`, as [`merge`](Self::merge) puts two together: of one record, all that
    /// was made of it on this one comes first, then what was made of it on the first of the others, and so on.
    ///
    /// ```
    /// use millpond::testing::Driver;
    /// use millpond::{GraphBuilder, Topic};
    ///
    /// let [web, shop, phone] = ["web", "shop", "phone"].map(Topic::<u32, u64>::new);
    /// let graph = GraphBuilder::new();
    /// let all = graph.stream(&web).merge_all(&[graph.stream(&shop), graph.stream(&phone)]);
    /// let orders = all.group_by_key().count("orders");
    /// let mut driver = Driver::new(&graph.build()?)?;
    /// for topic in [&web, &shop, &phone] {
    ///     driver.put(topic, 1, 450, 0)?;
    /// }
    /// driver.run()?;
    /// assert_eq!(driver.table(&orders)?, [(1, 3)].into());
    /// # Ok::<(), millpond::Error>(())
    /// ```
    #[must_use]
    pub fn merge_all<'s>(&self, others: impl IntoIterator<Item = &'s Self>) -> Self {
        let (mut nodes, mut keyed) = (vec![self.node], self.keyed);
        for other in others {
            nodes.push(other.node);
            keyed &= other.keyed;
        }
        let operator = MergeInputs(PhantomData::<fn() -> (K, V)>);
        let node = self.builder.operator("merge", nodes, &[], &[], operator);
        self.builder.interleaving(node, Interleaving::Merges);
        Self::new(self.builder.clone(), node, keyed)
    }
}

/// Puts its inputs together.
struct MergeInputs<Types>(PhantomData<Types>);

impl<K: Key, V: Value> Operator for MergeInputs<fn() -> (K, V)> {
    type Input = All<Vec<Event<K, V>>>;
    type Output = Vec<Event<K, V>>;

    fn run(
        &self,
        _context: &mut Context<'_>,
        All(inputs): Self::Input,
    ) -> Result<Option<Self::Output>, Failure> {
        let ways = inputs.len();
        let mut merged: Vec<Event<K, V>> = Vec::new();
        for (way, mut events) in inputs.into_iter().enumerate() {
            for event in &mut events {
                event.stamp = event.stamp.way(way, ways);
            }
            if merged.is_empty() {
                merged = events;
            } else {
                merged.append(&mut events);
            }
        }
        // Also where all but one are empty: that depends on the number of shards, the order must not.
        if !merged.is_sorted_by(|a, b| a.stamp <= b.stamp) {
            merged.sort_by_key(|event| event.stamp);
        }
        Ok(Some(merged))
    }
}
