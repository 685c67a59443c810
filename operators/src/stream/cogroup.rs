//! Folding the groups of several streams into one accumulator each.
//!
//! It is the fold of what the streams are together: a group is there from its first record on, in whichever of them that comes, and
//! begins with `init`. The records of a group come in the order of the log, over all streams. There are no tombstones in a stream. Repeated
//! keys are folded one after the other; late, early, equal and negative timestamps change nothing, unless they are folded by windows.
//! Empty input changes nothing. A panic is the failure of its record, and what it has made of the accumulator is undone.

use super::window::{
    GroupsBy, Overlapping, OverlappingStream, OverlappingTable, SessionStream, SessionTable, WindowedStream,
    WindowedTable, Windows,
};
use super::{GroupedStream, Stream};
use crate::aggregate::Fold;
use crate::table::StoredTable;
use millpond_engine::codec::{Key, Value};
use millpond_engine::graph::TableOptions;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// A value of one stream or of another: what [cogrouped](GroupedStream::cogroup) streams are together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Either<V, T> {
    /// Of the streams that were named before.
    First(V),
    /// Of the one that was added.
    Second(T),
}

type Folding<K, V, A> = Arc<dyn Fn(&mut A, &K, V) + Send + Sync>;

impl<K: Key, V: Value> GroupedStream<K, V> {
    /// Begins to fold the groups of several streams into one accumulator each: `fold` is how records of this one are taken in, and
    /// [`and`](CogroupedStream::and) adds others.
    ///
    /// # Examples
    /// ```
    /// use millpond::testing::Driver;
    /// use millpond::{GraphBuilder, Topic};
    ///
    /// // Customer -> cents
    /// let (orders, payments) = (Topic::<u32, i64>::new("orders"), Topic::<u32, i64>::new("payments"));
    /// let graph = GraphBuilder::new();
    /// let orders_of = graph.stream(&orders).group_by_key();
    /// let payments_of = graph.stream(&payments).group_by_key();
    /// let owed = orders_of
    ///     .cogroup(|owed: &mut i64, _customer, cents| *owed += cents)
    ///     .and(&payments_of, |owed, _customer, cents| *owed -= cents)
    ///     .fold("owed", || 0);
    /// let mut driver = Driver::new(&graph.build()?)?;
    /// driver.put(&orders, 7, 450, 0)?;
    /// driver.put(&payments, 7, 400, 0)?;
    /// driver.put(&payments, 8, 100, 0)?;
    /// driver.run()?;
    /// assert_eq!(driver.table(&owed)?, [(7, 50), (8, -100)].into());
    /// # Ok::<(), millpond::Error>(())
    /// ```
    /// By windows, each record counts to those that have it:
    /// ```
    /// use millpond::stream::Tumbling;
    /// use millpond::testing::Driver;
    /// use millpond::{GraphBuilder, Topic, Windowed};
    /// use std::time::Duration;
    ///
    /// // Auction -> price, and auction -> seller
    /// let (bids, opened) = (Topic::<u32, u64>::new("bids"), Topic::<u32, String>::new("opened"));
    /// let graph = GraphBuilder::new();
    /// let minutes = Tumbling::of(Duration::from_secs(60)).grace(Duration::ZERO);
    /// let seen = graph
    ///     .stream(&bids)
    ///     .group_by_key()
    ///     .cogroup(|seen: &mut (u64, Option<String>), _auction, price| seen.0 = seen.0.max(price))
    ///     .and(&graph.stream(&opened).group_by_key(), |seen, _auction, seller| seen.1 = Some(seller))
    ///     .windowed(minutes)
    ///     .fold("seen", || (0, None));
    /// let mut driver = Driver::new(&graph.build()?)?;
    /// driver.put(&bids, 7, 120, 2_000)?;
    /// driver.put(&opened, 7, "Ada".to_owned(), 1_000)?;
    /// driver.run()?;
    /// let first = Windowed::new(0, 60_000, 7);
    /// assert_eq!(driver.table(seen.table())?[&first], (120, Some("Ada".to_owned())));
    /// # Ok::<(), millpond::Error>(())
    /// ```
    pub fn cogroup<A: Value>(
        &self,
        fold: impl Fn(&mut A, &K, V) + Send + Sync + 'static,
    ) -> CogroupedStream<K, V, A> {
        CogroupedStream { grouped: self.clone(), fold: Arc::new(fold), commutes: false }
    }
}

/// Several streams whose equal keys are together, and how the records of each are folded. See [`GroupedStream::cogroup`].
#[doc(alias = "CogroupedKStream")]
#[must_use = "nothing is folded yet: say into which table with `.fold(..)`"]
pub struct CogroupedStream<K, V, A> {
    grouped: GroupedStream<K, V>,
    fold: Folding<K, V, A>,
    commutes: bool,
}

impl<K, V, A> fmt::Debug for CogroupedStream<K, V, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CogroupedStream").field("grouped", &self.grouped).finish_non_exhaustive()
    }
}

impl<K: Key, V: Value, A: Value> CogroupedStream<K, V, A> {
    /// Adds the groups of `other`, whose records `fold` takes in. Of a record that comes on several ways, what was made of it on those
    /// named before is folded first.
    pub fn and<T: Value>(
        &self,
        other: &GroupedStream<K, T>,
        fold: impl Fn(&mut A, &K, T) + Send + Sync + 'static,
    ) -> CogroupedStream<K, Either<V, T>, A> {
        let first: Stream<K, Either<V, T>> = self.grouped.stream.map_values(|_, value| Either::First(value));
        let second = other.stream.map_values(|_, value| Either::Second(value));
        let of_first = Arc::clone(&self.fold);
        let fold = move |acc: &mut A, key: &K, value| match value {
            Either::First(value) => of_first(acc, key, value),
            Either::Second(value) => fold(acc, key, value),
        };
        let grouped = GroupedStream { stream: first.merge(&second).exchanged() };
        CogroupedStream { grouped, fold: Arc::new(fold), commutes: self.commutes }
    }

    /// The same, of which you say that it comes to the same whatever the order in which records are folded: see
    /// [`Aggregate::commutes`](crate::aggregate::Aggregate::commutes).
    pub fn commutative(self) -> Self {
        Self { commutes: true, ..self }
    }

    /// Folds each group into a row of the table `store`, beginning with `init()`. What goes for [`GroupedStream::fold`] goes here.
    pub fn fold(
        &self,
        store: impl Into<TableOptions<A>>,
        init: impl Fn() -> A + Send + Sync + 'static,
    ) -> StoredTable<K, A> {
        let fold = Arc::clone(&self.fold);
        let folding = Fold::new(init, move |acc: &mut A, key: &K, value| fold(acc, key, value));
        let grouped = &self.grouped;
        if self.commutes {
            grouped.aggregate(store, folding.commutative())
        } else {
            grouped.aggregate(store, folding)
        }
    }

    /// Divides the records of all streams by time. What takes time on is all of them: a window is closed once every partition of every one
    /// has come to its close.
    pub fn windowed<W: GroupsBy<K, V>>(&self, windows: W) -> CogroupedWindows<W::Windowed, K, V, A> {
        let divided = self.grouped.windowed(windows);
        CogroupedWindows { divided, fold: Arc::clone(&self.fold), commutes: self.commutes }
    }
}

/// The records of several streams by windows, and how those of each are folded.
#[must_use = "nothing is folded yet: say into which table with `.fold(..)`"]
pub struct CogroupedWindows<D, K, V, A> {
    divided: D,
    fold: Folding<K, V, A>,
    commutes: bool,
}

impl<D: fmt::Debug, K, V, A> fmt::Debug for CogroupedWindows<D, K, V, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CogroupedWindows").field("divided", &self.divided).finish_non_exhaustive()
    }
}

impl<K: Key, V: Value, A: Value, W: Windows> CogroupedWindows<WindowedStream<K, V, W>, K, V, A> {
    /// Has tables forget the rows of a window so long after it was closed: see [`WindowedStream::keep`].
    pub fn keep(self, keep: Duration) -> Self {
        Self { divided: self.divided.keep(keep), ..self }
    }

    /// Folds each group in each window into a row of the table `store`, beginning with `init()`.
    pub fn fold(
        &self,
        store: impl Into<TableOptions<A>>,
        init: impl Fn() -> A + Send + Sync + 'static,
    ) -> WindowedTable<K, A, W> {
        let fold = Arc::clone(&self.fold);
        let folding = Fold::new(init, move |acc: &mut A, key: &K, value| fold(acc, key, value));
        let divided = &self.divided;
        if self.commutes {
            divided.aggregate(store, folding.commutative())
        } else {
            divided.aggregate(store, folding)
        }
    }

    /// The records that count to no window, of whichever stream.
    #[must_use]
    pub fn late(&self) -> Stream<K, V> {
        self.divided.late()
    }
}

impl<K: Key, V: Value, A: Value, W: Overlapping> CogroupedWindows<OverlappingStream<K, V, W>, K, V, A> {
    /// Has tables forget a window so long after it was closed: see [`OverlappingStream::keep`].
    pub fn keep(self, keep: Duration) -> Self {
        Self { divided: self.divided.keep(keep), ..self }
    }

    /// Folds each group, beginning with `init()`; `merge` makes one value of two, of different times. The order of records must not
    /// matter: see [`Merge`](crate::aggregate::Merge).
    pub fn fold(
        &self,
        store: impl Into<TableOptions<W::Row<A>>>,
        init: impl Fn() -> A + Send + Sync + 'static,
        merge: impl Fn(&mut A, A) + Send + Sync + 'static,
    ) -> OverlappingTable<K, V, A, W> {
        let fold = Arc::clone(&self.fold);
        self.divided.fold(store, init, move |acc, key, value| fold(acc, key, value), merge)
    }

    /// The records that count to no window, of whichever stream.
    #[must_use]
    pub fn late(&self) -> Stream<K, V> {
        self.divided.late()
    }
}

impl<K: Key, V: Value, A: Value> CogroupedWindows<SessionStream<K, V>, K, V, A> {
    /// Has tables forget a session so long after it was closed: see [`SessionStream::keep`].
    pub fn keep(self, keep: Duration) -> Self {
        Self { divided: self.divided.keep(keep), ..self }
    }

    /// Folds each group in each session into a row of the table `store`, beginning with `init()`; `merge` makes one value of two
    /// sessions that become one, of which the first is the earlier one. What goes for [`SessionStream::fold`] goes here.
    ///
    /// ```
    /// use millpond::stream::Session;
    /// use millpond::testing::Driver;
    /// use millpond::{GraphBuilder, Topic};
    /// use std::time::Duration;
    ///
    /// // User -> page, and user -> cents
    /// let (views, orders) = (Topic::<u32, String>::new("views"), Topic::<u32, u64>::new("orders"));
    /// let graph = GraphBuilder::new();
    /// let visits = graph
    ///     .stream(&views)
    ///     .group_by_key()
    ///     .cogroup(|visit: &mut (u64, u64), _user, _page| visit.0 += 1)
    ///     .and(&graph.stream(&orders).group_by_key(), |visit, _user, cents| visit.1 += cents)
    ///     .windowed(Session::gap(Duration::from_secs(30)).grace(Duration::ZERO))
    ///     .fold("visits", || (0, 0), |visit, later| *visit = (visit.0 + later.0, visit.1 + later.1));
    /// let mut driver = Driver::new(&graph.build()?)?;
    /// driver.put(&views, 7, "home".to_owned(), 1_000)?;
    /// driver.put(&orders, 7, 450, 25_000)?;
    /// driver.put(&views, 7, "home".to_owned(), 90_000)?;
    /// driver.run()?;
    /// let visits: Vec<_> = driver.table(visits.table())?.into_values().collect();
    /// assert_eq!(visits, [(1, 450), (1, 0)]);
    /// # Ok::<(), millpond::Error>(())
    /// ```
    pub fn fold(
        &self,
        store: impl Into<TableOptions<A>>,
        init: impl Fn() -> A + Send + Sync + 'static,
        merge: impl Fn(&mut A, A) + Send + Sync + 'static,
    ) -> SessionTable<K, A> {
        let fold = Arc::clone(&self.fold);
        self.divided.fold(store, init, move |acc, key, value| fold(acc, key, value), merge)
    }

    /// The records that count to no session, of whichever stream.
    #[must_use]
    pub fn late(&self) -> Stream<K, V> {
        self.divided.late()
    }
}
