//! Joining two streams: records of one key that happened within a time of each other.
//!
//! A pair is made once, when the second of the two comes, and dated with the later of them. Late: a record whose own partition had come
//! to its close when it was read meets nothing, and goes another way; a record that comes once the partition of either had come to the
//! close of the other does not meet it. So what meets is decided by the two records alone, whatever came first and wherever epochs were
//! cut. Early records wait for the others. Equal timestamps meet, also where the bounds are zero; negative ones are as others.
//! Streams have no tombstones. Of repeated keys each record meets each. Empty input tells of what is closed all the same, as far as
//! time has come: of a record that has met none, in the joins that say so, once and at its close, so that it is never taken back.
//!
//! | file | what it is |
//! |---|---|
//! | `bounds` | how far apart two records may be |
//! | `held` | the rows in which records wait |
//! | `side` | the two sides: what a record reaches, what is due, and what is forgotten |
//! | `arrive` | how records of both sides, and what is due, come together |
//! | `meet` | the join: what becomes of rows in an epoch |
//! | `cells` | which rows the records of an epoch look into |
//! | `pairs` | which records meet |
//! | `unmatched` | those that have met none |
//! | `joined` | what comes out, and what came too late |
//!
//! Sources: the rules for what meets are those of Kafka Streams' `JoinWindows` for streams in order; that a record which met none is told
//! at its close, and that each record keeps how far its partition had come, is what makes them hold in any order.

mod arrive;
mod bounds;
mod cells;
mod held;
mod joined;
mod meet;
mod pairs;
mod side;
mod unmatched;

pub use bounds::{Within, WithinBounds};
pub use held::HeldRecords;
pub use joined::StreamJoin;

use super::Stream;
use arrive::{Arrive, Merge};
use bounds::Reach;
use meet::Meet;
use millpond_engine::Result;
use millpond_engine::codec::{Bincode, Key, Value};
use millpond_engine::graph::{Interleaving, TableOptions, TableRef};
use side::{Side, Sides};
use std::convert::Infallible;
use std::fmt::Display;
use std::marker::PhantomData;
use std::sync::Arc;

impl<K: Key, V: Value> Stream<K, V> {
    /// Joins each record with those of `other` under its key that happened within a time of it.
    ///
    /// Each pair comes once, when the second of the two has come, dated with the later of them. A record waits in the table `store`
    /// until its [close](WithinBounds::grace). A record that comes later than its own close is [late](StreamJoin::late_left), and two
    /// records do not meet if the partition of one had come to the close of the other.
    ///
    /// A stream can be joined with itself: then each record meets itself, too.
    ///
    /// # Examples
    /// ```
    /// use millpond::stream::Within;
    /// use millpond::testing::Driver;
    /// use millpond::{GraphBuilder, Topic};
    /// use std::time::Duration;
    ///
    /// let (orders, payments) = (Topic::<u32, u64>::new("orders"), Topic::<u32, u64>::new("payments"));
    /// let graph = GraphBuilder::new();
    /// let within = Within::after(Duration::from_secs(60)).grace(Duration::from_secs(5));
    /// let paid = graph
    ///     .stream(&orders)
    ///     .join_within(&graph.stream(&payments), within, "paid", |_, due, paid| (*due, *paid))
    ///     .to_table("last_paid");
    /// let mut driver = Driver::new(&graph.build()?)?;
    /// driver.put(&payments, 1, 450, 31_000)?;
    /// driver.put(&orders, 1, 450, 30_000)?;
    /// driver.put(&orders, 2, 120, 30_000)?;
    /// driver.put(&payments, 2, 120, 90_001)?;
    /// driver.run()?;
    /// assert_eq!(driver.table(&paid)?, [(1, (450, 450))].into());
    /// # Ok::<(), millpond::Error>(())
    /// ```
    #[doc(alias = "join")]
    pub fn join_within<T: Value, W: Value>(
        &self,
        other: &Stream<K, T>,
        within: Within,
        store: impl Into<TableOptions<HeldRecords<V, T>>>,
        join: impl Fn(&K, &V, &T) -> W + Send + Sync + 'static,
    ) -> StreamJoin<K, V, T, W> {
        let join = move |key: &K, left: &V, right: &T| Ok::<_, Infallible>(join(key, left, right));
        self.try_join_within(other, within, store, join)
    }

    /// As [`join_within`](Self::join_within), where an error is the failure of the second of the two records.
    ///
    /// # Examples
    /// ```
    /// use millpond::stream::Within;
    /// use millpond::{GraphBuilder, Topic};
    /// use std::time::Duration;
    ///
    /// let (orders, payments) = (Topic::<u32, u64>::new("orders"), Topic::<u32, u64>::new("payments"));
    /// let graph = GraphBuilder::new();
    /// let within = Within::after(Duration::from_secs(60)).grace(Duration::from_secs(5));
    /// let change = graph.stream(&orders).try_join_within(&graph.stream(&payments), within, "paid", |_, due, paid| {
    ///     paid.checked_sub(*due).ok_or("paid too little")
    /// });
    /// change.to_table("change");
    /// # graph.build()?;
    /// # Ok::<(), millpond::Error>(())
    /// ```
    pub fn try_join_within<T: Value, W: Value, E: Display + 'static>(
        &self,
        other: &Stream<K, T>,
        within: Within,
        store: impl Into<TableOptions<HeldRecords<V, T>>>,
        join: impl Fn(&K, &V, &T) -> Result<W, E> + Send + Sync + 'static,
    ) -> StreamJoin<K, V, T, W> {
        self.joined_within(other, within, store.into(), Kind::Inner, move |key, left, right| {
            // Only pairs are told.
            left.zip(right).map(|(left, right)| join(key, left, right)).transpose()
        })
    }

    /// As [`join_within`](Self::join_within), but each record of this stream that has met none comes through at its close, once, with
    /// `None` and its own timestamp: in the order of closes, keys, and then of the log. It is never taken back.
    ///
    /// # Examples
    /// ```
    /// use millpond::stream::Within;
    /// use millpond::testing::Driver;
    /// use millpond::{GraphBuilder, Topic};
    /// use std::time::Duration;
    ///
    /// let (orders, payments) = (Topic::<u32, u64>::new("orders"), Topic::<u32, u64>::new("payments"));
    /// let graph = GraphBuilder::new();
    /// let within = Within::after(Duration::from_secs(60)).grace(Duration::ZERO);
    /// let is_paid = graph
    ///     .stream(&orders)
    ///     .left_join_within(&graph.stream(&payments), within, "paid", |_, _, paid| paid.is_some())
    ///     .to_table("is_paid");
    /// let mut driver = Driver::new(&graph.build()?)?;
    /// driver.put(&orders, 1, 450, 30_000)?;
    /// driver.put(&orders, 2, 120, 30_000)?;
    /// driver.put(&payments, 1, 450, 31_000)?;
    /// // Both streams have come so far that nobody can pay for the second order in time.
    /// driver.put(&orders, 3, 80, 90_001)?;
    /// driver.put(&payments, 4, 1, 90_001)?;
    /// driver.run()?;
    /// assert_eq!(driver.table(&is_paid)?, [(1, true), (2, false)].into());
    /// # Ok::<(), millpond::Error>(())
    /// ```
    #[doc(alias = "leftJoin")]
    pub fn left_join_within<T: Value, W: Value>(
        &self,
        other: &Stream<K, T>,
        within: Within,
        store: impl Into<TableOptions<HeldRecords<V, T>>>,
        join: impl Fn(&K, &V, Option<&T>) -> W + Send + Sync + 'static,
    ) -> StreamJoin<K, V, T, W> {
        let join = move |key: &K, left: &V, right: Option<&T>| Ok::<_, Infallible>(join(key, left, right));
        self.try_left_join_within(other, within, store, join)
    }

    /// As [`left_join_within`](Self::left_join_within), where an error is the failure of the second of two records. Where it is
    /// told that a record has met none that is left out by itself, with a dead letter of its own.
    ///
    /// # Examples
    /// See [`try_join_within`](Self::try_join_within).
    pub fn try_left_join_within<T: Value, W: Value, E: Display + 'static>(
        &self,
        other: &Stream<K, T>,
        within: Within,
        store: impl Into<TableOptions<HeldRecords<V, T>>>,
        join: impl Fn(&K, &V, Option<&T>) -> Result<W, E> + Send + Sync + 'static,
    ) -> StreamJoin<K, V, T, W> {
        self.joined_within(other, within, store.into(), Kind::Left, move |key, left, right| {
            left.map(|left| join(key, left, right)).transpose()
        })
    }

    /// As [`left_join_within`](Self::left_join_within), for the records of either stream that have met none.
    ///
    /// # Examples
    /// ```
    /// use millpond::stream::Within;
    /// use millpond::testing::Driver;
    /// use millpond::{GraphBuilder, Topic};
    /// use std::time::Duration;
    ///
    /// let (sent, received) = (Topic::<u32, char>::new("sent"), Topic::<u32, char>::new("received"));
    /// let graph = GraphBuilder::new();
    /// let within = Within::of(Duration::from_millis(10)).grace(Duration::ZERO);
    /// let both = graph
    ///     .stream(&sent)
    ///     .outer_join_within(&graph.stream(&received), within, "both", |_, sent, received| {
    ///         (sent.copied(), received.copied())
    ///     })
    ///     .to_table("last");
    /// let mut driver = Driver::new(&graph.build()?)?;
    /// driver.put(&sent, 1, 'a', 100)?;
    /// driver.put(&received, 2, 'b', 100)?;
    /// driver.put(&sent, 3, 'c', 111)?;
    /// driver.put(&received, 3, 'c', 112)?;
    /// driver.run()?;
    /// let found = driver.table(&both)?;
    /// assert_eq!(found[&1], (Some('a'), None));
    /// assert_eq!(found[&2], (None, Some('b')));
    /// assert_eq!(found[&3], (Some('c'), Some('c')));
    /// # Ok::<(), millpond::Error>(())
    /// ```
    #[doc(alias = "outerJoin")]
    pub fn outer_join_within<T: Value, W: Value>(
        &self,
        other: &Stream<K, T>,
        within: Within,
        store: impl Into<TableOptions<HeldRecords<V, T>>>,
        join: impl Fn(&K, Option<&V>, Option<&T>) -> W + Send + Sync + 'static,
    ) -> StreamJoin<K, V, T, W> {
        let join =
            move |key: &K, left: Option<&V>, right: Option<&T>| Ok::<_, Infallible>(join(key, left, right));
        self.try_outer_join_within(other, within, store, join)
    }

    /// As [`outer_join_within`](Self::outer_join_within), where an error is the failure of the second of two records. Where it is
    /// told that a record has met none that is left out by itself, with a dead letter of its own.
    ///
    /// # Examples
    /// See [`try_join_within`](Self::try_join_within).
    pub fn try_outer_join_within<T: Value, W: Value, E: Display + 'static>(
        &self,
        other: &Stream<K, T>,
        within: Within,
        store: impl Into<TableOptions<HeldRecords<V, T>>>,
        join: impl Fn(&K, Option<&V>, Option<&T>) -> Result<W, E> + Send + Sync + 'static,
    ) -> StreamJoin<K, V, T, W> {
        self.joined_within(other, within, store.into(), Kind::Outer, move |key, left, right| {
            join(key, left, right).map(Some)
        })
    }

    fn joined_within<T: Value, W: Value, E: Display + 'static>(
        &self,
        other: &Stream<K, T>,
        within: Within,
        store: TableOptions<HeldRecords<V, T>>,
        kind: Kind,
        join: impl Fn(&K, Option<&V>, Option<&T>) -> Result<Option<W>, E> + Send + Sync + 'static,
    ) -> StreamJoin<K, V, T, W> {
        let builder = &self.builder;
        let id = format!("{} {}", kind.label(), within.id());
        let side = |name: &str, reach: Reach, tells_unmatched: bool| {
            let unmatched = tells_unmatched.then(|| {
                let name = format!("{}.{name}.unmatched", store.name());
                let options = TableOptions::with_codec(&name, Bincode).version(store.table_version());
                builder.table("unmatched", options.written_by(&id))
            });
            Side { unmatched, reach, grace: within.grace_of(reach) }
        };
        let left = side("left", within.of_left(), kind != Kind::Inner);
        let right = side("right", within.of_right(), kind == Kind::Outer);
        let (graces, unmatched) = ((left.grace, right.grace), [left.unmatched, right.unmatched]);
        let rows = builder.table("join_within", store.written_by(&id));
        let sides = Arc::new(Sides { rows, left, right, width_ms: within.width_ms() });

        let merge = Merge(PhantomData::<fn() -> (K, V, T)>);
        let both = builder.operator("sides", (self.node, other.node), &[], &[], merge);
        builder.interleaving(both, Interleaving::Merges);
        let keyed = self.keyed && other.keyed;
        // What is noted is read as it was before the epoch, so that the node which writes it may stand behind.
        let arrive = Arrive { sides: Arc::clone(&sides), keyed };
        let arrivals = builder.exchange("arrive", both, &[], arrive);
        let mut writes = vec![rows.index()];
        writes.extend(unmatched.iter().flatten().map(TableRef::index));
        let delay_ms = sides.delay_ms();
        let meet = Meet { sides: Arc::clone(&sides), join, types: PhantomData };
        let node = builder.operator(kind.label(), arrivals, &writes, &[], meet);
        builder.looks_at_time(node, delay_ms);
        builder.follows_updates(node);
        // Which records meet does not depend on which of them came first.
        builder.interleaving(node, Interleaving::Merges);
        sides.forget_closed(builder);
        let stream = Stream::new(builder.clone(), node, true);
        StreamJoin::new(stream, self.clone(), other.clone(), graces)
    }
}

/// Which records that have met none are told.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Inner,
    Left,
    Outer,
}

impl Kind {
    fn label(self) -> &'static str {
        match self {
            Self::Inner => "join_within",
            Self::Left => "left_join_within",
            Self::Outer => "outer_join_within",
        }
    }
}
