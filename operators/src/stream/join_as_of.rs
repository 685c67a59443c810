//! Joining a stream with what a table was at the time of each record.
//!
//! A record meets the version of its key with the greatest timestamp that is not beyond its own. It waits until both the stream and the
//! table have come a grace beyond it, and meets what was known then: updates whose own partition had come further than that when they
//! came do not count for it, so that it does not depend on what came first. Late: a record whose own partition had come further than
//! the grace beyond it meets nothing, and goes another way. Early ones wait. Equal timestamps of a record and an update meet. Negative
//! ones are as others; deleted and absent keys have no row: the inner join drops the record, the left join passes `None`. Repeated
//! keys meet each their own. Empty input lets go what is due all the same, as far as time has come.

use super::Stream;
use super::arrive::{Arrival, Arrive};
use super::grace::Grace;
use super::in_time_order::InTimeOrder;
use crate::table::versioned::{History, VersionKey, VersionOrder, VersionedTable};
use crate::upsert::Upsert;
use millpond_engine::codec::{Bincode, Key, Value};
use millpond_engine::dataflow::{Context, Event, Failure, Operator};
use millpond_engine::graph::{Interleaving, TableOptions};
use millpond_engine::{Error, Result};
use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::fmt::Display;
use std::marker::PhantomData;
use std::time::Duration;

impl<K: Key, V: Value> Stream<K, V> {
    /// Joins each record with the row that `table` had under its key at the record's timestamp; records without one are dropped.
    ///
    /// A record is held in the table `store` until the stream and the table have come further than `grace` beyond it, which must not
    /// be more than the history of the table, and then let go: in the order of timestamps. It meets what was known of its time then,
    /// whichever came first. Where the table is seldom updated, the partitions of its topic hold the stream up.
    ///
    /// Records that come later than that by their own partition are [late](InTimeOrder::late).
    ///
    /// # Examples
    /// ```
    /// use millpond::testing::Driver;
    /// use millpond::{GraphBuilder, Topic};
    /// use std::time::Duration;
    ///
    /// let (payments, rates) = (Topic::<String, u64>::new("payments"), Topic::<String, u64>::new("rates"));
    /// let graph = GraphBuilder::new();
    /// let table = graph.versioned(&rates, "rates", Duration::from_secs(3600));
    /// let grace = Duration::from_millis(10);
    /// let worth = graph
    ///     .stream(&payments)
    ///     .join_as_of(&table, "waiting", grace, |_, cents, rate| cents * rate)
    ///     .group_by_key()
    ///     .reduce("worth", |all, worth| all + worth);
    /// let mut driver = Driver::new(&graph.build()?)?;
    /// driver.put(&payments, "EUR".to_owned(), 1, 130)?;
    /// driver.put(&rates, "EUR".to_owned(), 105, 100)?;
    /// driver.put(&payments, "EUR".to_owned(), 1, 125)?;
    /// driver.put(&rates, "EUR".to_owned(), 107, 130)?;
    /// // Both come so far that the two are let go.
    /// driver.put(&payments, "EUR".to_owned(), 1, 150)?;
    /// driver.put(&rates, "EUR".to_owned(), 109, 150)?;
    /// driver.run()?;
    /// assert_eq!(driver.table(&worth)?["EUR"], 105 + 107);
    /// # Ok::<(), millpond::Error>(())
    /// ```
    #[doc(alias = "Joined.withGracePeriod")]
    #[doc(alias = "temporal join")]
    pub fn join_as_of<T: Value, W: Value>(
        &self,
        table: &VersionedTable<K, T>,
        store: impl Into<TableOptions<V>>,
        grace: Duration,
        join: impl Fn(&K, V, &T) -> W + Send + Sync + 'static,
    ) -> InTimeOrder<K, W, V> {
        let join = move |key: &K, value, row: &T| Ok::<_, Infallible>(join(key, value, row));
        self.try_join_as_of(table, store, grace, join)
    }

    /// As [`join_as_of`](Self::join_as_of), where an error is the failure of what is joined. The record was let go by time, so what is made of
    /// it is left out, if anything is, and not what it was: see [`FailurePolicy`](millpond_engine::FailurePolicy).
    ///
    /// # Examples
    /// ```
    /// use millpond::testing::Driver;
    /// use millpond::{ErrorKind, GraphBuilder, Topic};
    /// use std::time::Duration;
    ///
    /// let (payments, rates) = (Topic::<String, u64>::new("payments"), Topic::<String, u64>::new("rates"));
    /// let graph = GraphBuilder::new();
    /// let table = graph.versioned(&rates, "rates", Duration::from_secs(3600));
    /// let worth = graph.stream(&payments).try_join_as_of(&table, "waiting", Duration::ZERO, |_, cents, rate| {
    ///     cents.checked_mul(*rate).ok_or("more than there is")
    /// });
    /// worth.to_table("worth");
    /// let mut driver = Driver::new(&graph.build()?)?;
    /// driver.put(&rates, "EUR".to_owned(), 105, 100)?;
    /// driver.put(&payments, "EUR".to_owned(), u64::MAX, 100)?;
    /// driver.run()?; // it waits until both have come further
    /// assert!(driver.advance_time(101).unwrap_err().message().contains("more than there is"));
    /// # Ok::<(), millpond::Error>(())
    /// ```
    pub fn try_join_as_of<T: Value, W: Value, E: Display + 'static>(
        &self,
        table: &VersionedTable<K, T>,
        store: impl Into<TableOptions<V>>,
        grace: Duration,
        join: impl Fn(&K, V, &T) -> Result<W, E> + Send + Sync + 'static,
    ) -> InTimeOrder<K, W, V> {
        self.joined_as_of("join_as_of", table, store.into(), grace, move |key, value, row| {
            row.map(|row| join(key, value, row)).transpose()
        })
    }

    /// As [`join_as_of`](Self::join_as_of), but each record comes through, with `None` if there was no row at its time.
    ///
    /// # Examples
    /// ```
    /// use millpond::testing::Driver;
    /// use millpond::{GraphBuilder, Topic};
    /// use std::time::Duration;
    ///
    /// let (visits, names) = (Topic::<u32, ()>::new("visits"), Topic::<u32, String>::new("names"));
    /// let graph = GraphBuilder::new();
    /// let table = graph.versioned(&names, "names", Duration::from_secs(60));
    /// let greetings = graph
    ///     .stream(&visits)
    ///     .left_join_as_of(&table, "waiting", Duration::ZERO, |_, (), name| name.cloned())
    ///     .to_table("greetings");
    /// let mut driver = Driver::new(&graph.build()?)?;
    /// for at in [90, 101] {
    ///     driver.put(&visits, 1, (), at)?;
    /// }
    /// for (name, at) in [("Ada", 91), ("Ada L.", 101)] {
    ///     driver.put(&names, 1, name.to_owned(), at)?;
    /// }
    /// driver.run()?;
    /// assert_eq!(driver.table(&greetings)?, [(1, None)].into(), "the one at 90 ms has come before the name");
    /// # Ok::<(), millpond::Error>(())
    /// ```
    pub fn left_join_as_of<T: Value, W: Value>(
        &self,
        table: &VersionedTable<K, T>,
        store: impl Into<TableOptions<V>>,
        grace: Duration,
        join: impl Fn(&K, V, Option<&T>) -> W + Send + Sync + 'static,
    ) -> InTimeOrder<K, W, V> {
        let join = move |key: &K, value, row: Option<&T>| Ok::<_, Infallible>(join(key, value, row));
        self.try_left_join_as_of(table, store, grace, join)
    }

    /// As [`left_join_as_of`](Self::left_join_as_of), where an error is the failure of what is joined.
    ///
    /// # Examples
    /// See [`try_join_as_of`](Self::try_join_as_of).
    pub fn try_left_join_as_of<T: Value, W: Value, E: Display + 'static>(
        &self,
        table: &VersionedTable<K, T>,
        store: impl Into<TableOptions<V>>,
        grace: Duration,
        join: impl Fn(&K, V, Option<&T>) -> Result<W, E> + Send + Sync + 'static,
    ) -> InTimeOrder<K, W, V> {
        self.joined_as_of("left_join_as_of", table, store.into(), grace, move |key, value, row| {
            join(key, value, row).map(Some)
        })
    }

    fn joined_as_of<T: Value, W: Value, E: Display + 'static>(
        &self,
        label: &str,
        table: &VersionedTable<K, T>,
        store: TableOptions<V>,
        grace: Duration,
        join: impl Fn(&K, V, Option<&T>) -> Result<Option<W>, E> + Send + Sync + 'static,
    ) -> InTimeOrder<K, W, V> {
        let (builder, grace) = (&self.builder, Grace::of(grace));
        if grace.ms > table.history.ms {
            builder.refuse(Error::invalid(format!(
                "a join as of a time holds its records for {} ms (`{}`), and the versions that they are to meet are kept for {} ms: give \
                 the table a history that is at least as long as the grace",
                grace.ms,
                store.name(),
                table.history.ms
            )));
        }
        let name = store.name().to_owned();
        let version = store.table_version();
        let updates = &table.updates;
        let both = Beside(PhantomData::<fn() -> (K, V, Upsert<T>)>);
        let events = builder.operator("beside", (self.node, updates.node), &[], &[], both);
        let both = Beside(PhantomData::<fn() -> (K, Upsert<T>, V)>);
        let beside = builder.operator("beside", (updates.node, self.node), &[], &[], both);
        let released = Self::new(builder.clone(), events, self.keyed).let_go(store, grace);
        let id = format!("join_as_of(history {} ms)", table.history.ms);
        let versions = table.options.once_more(&format!("{name}.versions"), version).written_by(id.clone());
        let open = TableOptions::with_codec(&format!("{name}.open"), Bincode).version(version).written_by(id);
        let history = History {
            versions: builder.table("join_as_of", versions),
            open: builder.table("join_as_of", open),
            grace: table.history,
        };
        let arrive = Arrive::new(history.open, history.grace, updates.keyed);
        let arrivals = builder.exchange("arrive", beside, &[], arrive);
        let writes = [history.versions.index(), history.open.index()];
        let meet = MeetVersions { history, grace, join, types: PhantomData };
        let node = builder.operator(label, (released, arrivals), &writes, &[], meet);
        // Versions are let go where they are found to be due: as far as both sides have come, of which records stay a grace behind.
        builder.taken_on_in_time_by(node, &[1]);
        builder.looks_at_time(node, grace.ms);
        builder.follows_updates(node);
        // What each record meets does not depend on how the two follow each other.
        builder.interleaving(events, Interleaving::Merges);
        builder.interleaving(beside, Interleaving::Merges);
        builder.interleaving(released, Interleaving::Merges);
        builder.interleaving(node, Interleaving::Merges);
        InTimeOrder::new(Stream::new(builder.clone(), node, true), self.clone(), grace)
    }
}

/// Passes the records of a stream on, where another one takes them on in time, too.
struct Beside<Types>(PhantomData<Types>);

impl<K: Key, V: Value, T: Value> Operator for Beside<fn() -> (K, V, T)> {
    type Input = (Vec<Event<K, V>>, Vec<Event<K, T>>);
    type Output = Vec<Event<K, V>>;

    fn run(&self, _: &mut Context<'_>, (events, _): Self::Input) -> Result<Option<Self::Output>, Failure> {
        Ok(Some(events))
    }
}

type Types<V, W, E> = fn() -> (V, W, E);

/// Has records that were let go meet the versions of their time.
struct MeetVersions<K, V, T, W, E, F> {
    history: History<K, T>,
    grace: Grace,
    join: F,
    types: PhantomData<Types<V, W, E>>,
}

/// Versions of a key, by the order in which they replace each other.
type Known<T> = BTreeMap<VersionOrder, Option<T>>;

impl<K: Key, V: Value, T: Value, W, E, F> MeetVersions<K, V, T, W, E, F> {
    /// Whether a record at `at_ms` is to know of a version.
    fn is_known(&self, version: VersionOrder, at_ms: i64) -> bool {
        version.timestamp_ms <= at_ms && !self.grace.is_over(at_ms, version.stream_time_ms)
    }

    /// The versions that records of this epoch may meet: of each key down to the one that the first of them meets.
    fn known<'e>(
        &self,
        context: &mut Context<'_>,
        events: &'e [Event<K, V>],
        new: &[Event<K, Option<T>>],
    ) -> Result<HashMap<&'e K, Known<T>>, Failure> {
        let mut known: HashMap<&K, Known<T>> = HashMap::new();
        if events.is_empty() {
            return Ok(known);
        }
        let mut times: BTreeMap<&K, (i64, i64)> = BTreeMap::new();
        for Event { key, stamp, .. } in events {
            let at_ms = stamp.timestamp_ms;
            let (first, last) = times.entry(key).or_insert((at_ms, at_ms));
            (*first, *last) = (at_ms.min(*first), at_ms.max(*last));
        }
        // As they were before the epoch, so that none is gone that a record of the epoch may meet.
        let before = context.table_before(&self.history.versions)?;
        for (key, (first, last)) in times {
            let of = |order| VersionKey::new(key.clone(), order);
            let versions = known.entry(key).or_default();
            let range = of(VersionOrder::before(i64::MIN))..=of(VersionOrder::behind(last));
            for row in before.range(range).rev() {
                let (VersionKey { order, .. }, row) = row?;
                versions.insert(order, row.into_value());
                if self.is_known(order, first) {
                    break;
                }
            }
            context.charge::<Event<K, Option<T>>>(versions.len())?;
        }
        for Event { key, value, stamp } in new {
            if let Some(versions) = known.get_mut(key) {
                versions.insert(VersionOrder::of(stamp), value.clone());
            }
        }
        Ok(known)
    }
}

impl<K, V, T, W, E, F> Operator for MeetVersions<K, V, T, W, E, F>
where
    K: Key,
    V: Value,
    T: Value,
    W: Value,
    E: Display + 'static,
    F: Fn(&K, V, Option<&T>) -> Result<Option<W>, E> + Send + Sync + 'static,
{
    type Input = (Vec<Event<K, V>>, Vec<Event<K, Arrival<Upsert<T>, ()>>>);
    type Output = Vec<Event<K, W>>;

    fn run(
        &self,
        context: &mut Context<'_>,
        (events, arrivals): Self::Input,
    ) -> Result<Option<Self::Output>, Failure> {
        let updates = self.history.sift(arrivals);
        let known = self.known(context, &events, &updates.updates)?;
        let met: Vec<Option<T>> = events
            .iter()
            .map(|Event { key, stamp, .. }| {
                let at_ms = stamp.timestamp_ms;
                let mut versions = known.get(key)?.range(..=VersionOrder::behind(at_ms)).rev();
                versions.find(|(order, _)| self.is_known(**order, at_ms))?.1.clone()
            })
            .collect();
        drop(known);
        self.history.keep(context, updates, None)?;
        let mut out = Vec::with_capacity(events.len());
        for (Event { key, value, stamp }, row) in events.into_iter().zip(met) {
            context.at(&stamp);
            let joined = (self.join)(&key, value, row.as_ref());
            let joined = joined.map_err(|reason| context.failed(&stamp, reason))?;
            out.extend(joined.map(|value| Event { key, value, stamp }));
        }
        Ok(Some(out))
    }
}
