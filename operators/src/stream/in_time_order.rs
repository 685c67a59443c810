//! Putting a stream in the order of time: each record is held until all partitions have come beyond it.
//!
//! A record is let go once the watermark has come a grace beyond its timestamp, in the order of timestamps. Late: one whose own
//! partition had come further than that when it was read goes another way. Early ones wait. Of equal timestamps the order is that of
//! the log, and of several values of one record that in which they were made. Negative timestamps are as others, repeated keys come
//! each, and there are no tombstones in a stream. Empty input lets go what is due all the same, as far as time has come.
//!
//! What waits for a later epoch is kept by time: one shard reads the range that is due and sends each row where its key is. What
//! comes and goes in one epoch is not kept at all.

use super::Stream;
use super::arrive::{Arrival, Arrive};
use super::grace::Grace;
use super::moment::Moment;
use millpond_engine::Result;
use millpond_engine::codec::{Key, Value};
use millpond_engine::dataflow::{Context, Detail, Event, Failure, Operator, Stamp};
use millpond_engine::graph::{NodeRef, TableOptions, TableRef};
use std::fmt;
use std::ops::Deref;
use std::time::Duration;

impl<K: Key, V: Value> Stream<K, V> {
    /// The records in the order of their timestamps, over all keys and partitions: each is held until every partition has come
    /// further than `grace` beyond it, and then let go. What is folded, joined or worked on behind it does not depend on how
    /// records of several partitions happened to follow each other. It costs that much time, and the space for what waits, which
    /// is kept in the table `store`.
    ///
    /// A record is late if its own partition had come further than `grace` beyond it when it was read: it is not among them, but
    /// [`late`](InTimeOrder::late). Records of equal timestamps keep the order of the log.
    ///
    /// # Examples
    /// ```
    /// use millpond::testing::Driver;
    /// use millpond::{GraphBuilder, Topic};
    /// use std::time::Duration;
    ///
    /// let readings = Topic::<u32, char>::new("readings");
    /// let graph = GraphBuilder::new();
    /// let ordered = graph.stream(&readings).in_time_order("waiting", Duration::from_millis(10));
    /// let text = ordered.group_by_key().fold("text", String::new, |text, _, letter| text.push(letter));
    /// let late = ordered.late().group_by_key().count("late");
    /// let mut driver = Driver::new(&graph.build()?)?;
    /// for (letter, at) in [('c', 8), ('a', 1), ('b', 5), ('d', 20), ('x', 9), ('e', 31)] {
    ///     driver.put(&readings, 7, letter, at)?;
    /// }
    /// driver.run()?;
    /// assert_eq!(driver.table(&text)?, [(7, "abcd".to_owned())].into(), "the last one still waits");
    /// assert_eq!(driver.table(&late)?, [(7, 1)].into());
    /// # Ok::<(), millpond::Error>(())
    /// ```
    pub fn in_time_order(&self, store: impl Into<TableOptions<V>>, grace: Duration) -> InTimeOrder<K, V> {
        let grace = Grace::of(grace);
        let node = self.let_go(store.into(), grace);
        InTimeOrder::new(Stream::new(self.builder.clone(), node, true), self.clone(), grace)
    }

    /// The node that lets the records go, once whatever takes it on in time has come so far.
    pub(super) fn let_go(&self, store: TableOptions<V>, grace: Grace) -> NodeRef<Vec<Event<K, V>>> {
        let builder = &self.builder;
        let store = store.written_by(format!("in_time_order(grace {} ms)", grace.ms));
        let waiting: TableRef<Moment<K>, V> = builder.table("in_time_order", store);
        let arrive = Arrive::new(waiting, grace, self.keyed);
        let arrivals = builder.exchange("arrive", self.node, &[], arrive);
        let operator = LetGo { waiting, grace };
        let node = builder.operator("in_time_order", arrivals, &[waiting.index()], &[], operator);
        builder.looks_at_time(node, grace.ms);
        builder.follows_updates(node);
        node
    }
}

/// A stream whose records come in the order of their timestamps, made of one of values `B`: see [`Stream::in_time_order`] and
/// [`Stream::join_as_of`]. It has all the methods of a [`Stream`].
pub struct InTimeOrder<K, V, B = V> {
    stream: Stream<K, V>,
    before: Stream<K, B>,
    grace: Grace,
}

impl<K, V, B> fmt::Debug for InTimeOrder<K, V, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InTimeOrder")
            .field("stream", &self.stream)
            .field("grace", &self.grace)
            .finish_non_exhaustive()
    }
}

impl<K, V, B> Deref for InTimeOrder<K, V, B> {
    type Target = Stream<K, V>;

    fn deref(&self) -> &Stream<K, V> {
        &self.stream
    }
}

impl<K: Key, V: Value, B: Value> InTimeOrder<K, V, B> {
    pub(super) fn new(stream: Stream<K, V>, before: Stream<K, B>, grace: Grace) -> Self {
        Self { stream, before, grace }
    }

    /// The records that came too late to be put in order, as they came.
    #[must_use]
    pub fn late(&self) -> Stream<K, B> {
        self.before.late_by(self.grace)
    }
}

/// Keeps what has to wait, and lets go what is due.
struct LetGo<K, V> {
    waiting: TableRef<Moment<K>, V>,
    grace: Grace,
}

impl<K: Key, V: Value> LetGo<K, V> {
    fn released(&self, moment: Moment<K>, value: V) -> Event<K, V> {
        let Moment { timestamp_ms, origin, key } = moment;
        let stamp = Stamp::of_release(self.grace.close_of(timestamp_ms), origin, timestamp_ms);
        Event { key, value, stamp }
    }
}

impl<K: Key, V: Value> Operator for LetGo<K, V> {
    type Input = (Vec<Event<K, Arrival<V, V>>>,);
    type Output = Vec<Event<K, V>>;

    fn run(
        &self,
        context: &mut Context<'_>,
        (arrivals,): Self::Input,
    ) -> Result<Option<Self::Output>, Failure> {
        let (table, watermark) = (context.table(&self.waiting)?, context.watermark());
        // A value that cannot be stored is the failure of its record, also where it does not have to wait.
        let keeps_all = table.may_refuse();
        let (mut rows, mut released) = (Vec::new(), Vec::new());
        for Event { key, value, stamp } in arrivals {
            let timestamp_ms = stamp.timestamp_ms;
            let (origin, value, is_new) = match value {
                Arrival::Now(value) => (stamp.origin(), value, true),
                Arrival::Due(origin, value) => (origin, value, false),
            };
            if is_new && self.grace.is_over(timestamp_ms, stamp.stream_time_ms) {
                continue;
            }
            let moment = Moment { timestamp_ms, origin, key };
            if !self.grace.is_over(timestamp_ms, watermark) {
                rows.push(Event { key: moment, value: Some(value), stamp });
                continue;
            }
            if is_new && keeps_all {
                rows.push(Event { key: moment.clone(), value: Some(value.clone()), stamp });
            }
            if !is_new || keeps_all {
                rows.push(Event { key: moment.clone(), value: None, stamp });
            }
            released.push(self.released(moment, value));
        }
        table.fold(context, rows, Detail::Changes, |_, row, value| *row = value)?;
        released.sort_by_key(|event| event.stamp);
        context.tell(&mut released);
        Ok(Some(released))
    }
}
