//! Grouped records by sessions, and what is folded of them.

use super::asked::InOrderOfEnds;
use super::fold::{All, Closed, Sessions};
use super::{Session, SessionEnd, SessionKey};
use crate::aggregate::{self, Merge, count};
use crate::alarm::{AlarmedRows, When};
use crate::stream::window::keep::Keep;
use crate::stream::window::{GroupsBy, WindowRows, WindowView, Windowed};
use crate::stream::{GroupedStream, Stream};
use crate::table::StoredTable;
use millpond_engine::codec::{Key, Span, Value};
use millpond_engine::dataflow::{Context, Event, Failure, Operator};
use millpond_engine::graph::{Feeds, TableOptions, TableRef};
use millpond_engine::query::{Stored, StoredRef};
use millpond_engine::{Error, Result};
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

impl<K: Key, V: Value> GroupsBy<K, V> for Session {
    type Windowed = SessionStream<K, V>;

    fn group(self, grouped: &GroupedStream<K, V>) -> SessionStream<K, V> {
        if let Some(why) = self.unfit() {
            grouped.stream.builder.refuse(Error::invalid(why));
        }
        SessionStream { grouped: grouped.clone(), windows: self, keep: Keep::default() }
    }
}

/// The records of groups by sessions, ready to be folded. See [`Session`] for an example.
///
/// Two sessions may become one, so that what is folded must be able to [merge](Merge).
/// Beside the table that is named, the open sessions of each key are kept as one row of `<store>.open`, and when the first of them
/// closes in `<store>.open.alarms`: what a record costs grows with how many sessions of its key are open, which are few unless partitions
/// are far apart.
#[derive(Debug)]
#[doc(alias = "SessionWindowedKStream")]
pub struct SessionStream<K, V> {
    grouped: GroupedStream<K, V>,
    windows: Session,
    keep: Keep,
}

impl<K: Key, V: Value> SessionStream<K, V> {
    /// Has the tables of these sessions forget a session so long after it was closed, and give its space back. Without it they keep all of
    /// them for ever.
    ///
    /// What goes for [windows that follow each other](crate::stream::WindowedStream::keep) goes here. A session that is open is not
    /// forgotten, however long it is: what counts is when it was closed.
    ///
    /// # Examples
    /// ```
    /// use millpond::stream::{Session, SessionKey};
    /// use millpond::testing::Driver;
    /// use millpond::{GraphBuilder, Topic};
    /// use std::time::Duration;
    ///
    /// let clicks = Topic::<u32, u64>::new("clicks");
    /// let graph = GraphBuilder::new();
    /// let seconds = Duration::from_secs;
    /// let sessions = Session::gap(seconds(30)).grace(Duration::ZERO);
    /// let counts = graph.stream(&clicks).group_by_key().windowed(sessions).keep(seconds(60)).count("counts");
    /// let mut driver = Driver::new(&graph.build()?)?;
    /// for second in [1, 11, 100, 140] {
    ///     driver.put(&clicks, 7, 1, second * 1_000)?;
    /// }
    /// driver.run()?;
    /// let sessions = driver.table(counts.table())?;
    /// let session = |start, end| SessionKey::new(start, end, 7);
    /// // The one that ended at 11 s was closed at 41 s, and kept until 101 s.
    /// assert_eq!(sessions, [(session(100_000, 100_001), 1), (session(140_000, 140_001), 1)].into());
    /// # Ok::<(), millpond::Error>(())
    /// ```
    #[must_use]
    #[doc(alias = "withRetention")]
    #[doc(alias = "retentionPeriod")]
    pub fn keep(mut self, keep: Duration) -> Self {
        self.keep = Keep::of(keep);
        self
    }

    /// Counts the records of each group in each session.
    pub fn count(&self, store: impl Into<TableOptions<u64>>) -> SessionTable<K, u64> {
        self.aggregate(store, count())
    }

    /// Folds each group in each session with a closure, beginning with `init()`, and makes one of two sessions by `merge`, of which the
    /// first is the earlier one. What comes out must not depend on the order in which records are folded, nor on which of them were
    /// folded before two sessions became one; `init()` merged with anything is that.
    ///
    /// ```
    /// use millpond::stream::{Session, SessionKey};
    /// use millpond::testing::Driver;
    /// use millpond::{GraphBuilder, Topic};
    /// use std::collections::BTreeSet;
    /// use std::time::Duration;
    ///
    /// let clicks = Topic::<u32, String>::new("clicks");
    /// let graph = GraphBuilder::new();
    /// let sessions = Session::gap(Duration::from_secs(30)).grace(Duration::ZERO);
    /// let pages = graph.stream(&clicks).group_by_key().windowed(sessions).fold(
    ///     "pages",
    ///     BTreeSet::new,
    ///     |pages, _user, page| drop(pages.insert(page)),
    ///     |pages, mut others| pages.append(&mut others),
    /// );
    /// let mut driver = Driver::new(&graph.build()?)?;
    /// for (page, at) in [("home", 1_000), ("shop", 9_000), ("home", 12_000)] {
    ///     driver.put(&clicks, 7, page.to_owned(), at)?;
    /// }
    /// driver.run()?;
    /// let all = ["home", "shop"].map(str::to_owned).into();
    /// assert_eq!(driver.table(pages.table())?, [(SessionKey::new(1_000, 12_001, 7), all)].into());
    /// # Ok::<(), millpond::Error>(())
    /// ```
    pub fn fold<A: Value>(
        &self,
        store: impl Into<TableOptions<A>>,
        init: impl Fn() -> A + Send + Sync + 'static,
        fold: impl Fn(&mut A, &K, V) + Send + Sync + 'static,
        merge: impl Fn(&mut A, A) + Send + Sync + 'static,
    ) -> SessionTable<K, A> {
        self.aggregate(store, aggregate::Fold::new(init, fold).with_merge(merge))
    }

    /// Combines the values of each group in each session into one, two at a time; so, too, what two sessions came to that become one.
    /// What comes out must not depend on which two come first.
    pub fn reduce(
        &self,
        store: impl Into<TableOptions<V>>,
        combine: impl Fn(V, V) -> V + Send + Sync + 'static,
    ) -> SessionTable<K, V> {
        let combine = Arc::new(combine);
        let merge = {
            let combine = Arc::clone(&combine);
            move |earlier, later| combine(earlier, later)
        };
        let fold = move |_: &K, acc: &mut Option<V>, value| {
            *acc = Some(match acc.take() {
                Some(so_far) => combine(so_far, value),
                None => value,
            });
        };
        self.folded("session_reduce", store.into().written_by(self.windows.id()), fold, merge)
    }

    /// Folds each group in each session with `aggregate`, which must be able to merge.
    pub fn aggregate<A: Merge<K, V>>(
        &self,
        store: impl Into<TableOptions<A::Acc>>,
        aggregate: A,
    ) -> SessionTable<K, A::Acc> {
        // With other sessions it is another table.
        let store = store.into().written_by(format!("{} {}", aggregate.id(), self.windows.id()).trim_start());
        let aggregate = Arc::new(aggregate);
        let merge = {
            let aggregate = Arc::clone(&aggregate);
            move |mut earlier, later| {
                aggregate.merge(&mut earlier, later);
                earlier
            }
        };
        let fold = move |key: &K, acc: &mut Option<A::Acc>, value| {
            aggregate.fold(acc.get_or_insert_with(|| aggregate.init()), key, value);
        };
        self.folded("session_fold", store, fold, merge)
    }

    /// The records that count to no session, as their partition had come further than the grace beyond them: count them, or keep them
    /// elsewhere.
    #[must_use]
    pub fn late(&self) -> Stream<K, V> {
        self.sifted("late", false)
    }

    fn sifted(&self, label: &str, counts: bool) -> Stream<K, V> {
        let Stream { builder, node, .. } = &self.grouped.stream;
        let sift = Sift { windows: self.windows, counts, types: PhantomData::<fn() -> (K, V)> };
        let node = builder.operator(label, *node, &[], &[], sift);
        // What is late is, too, a matter of how far partitions have come.
        builder.looks_at_time(node, 0);
        Stream::new(builder.clone(), node, true)
    }

    fn folded<A: Value>(
        &self,
        kind: &'static str,
        store: TableOptions<A>,
        fold: impl Fn(&K, &mut Option<A>, V) + Send + Sync + 'static,
        merge: impl Fn(A, A) -> A + Send + Sync + 'static,
    ) -> SessionTable<K, A> {
        let Stream { builder, node, .. } = self.sifted("windowed", true);
        let open = AlarmedRows::new(&builder, "open", store.of_spans("open"), When::AtWatermark);
        let table: TableRef<SessionKey<K>, A> = builder.table(kind, store);
        let windows = self.windows;
        self.keep.forget(&builder, &table, move |watermark| SessionEnd(windows.first_open_end(watermark)));
        let operator =
            Sessions { windows: self.windows, open, table, fold, merge, value: PhantomData::<fn() -> V> };
        let node = open.folded_by(&builder, (kind, 0), node, &[table.index()], operator);
        let closed = builder.outlet("on_close", node, &[], Closed::<K, A>(PhantomData));
        builder.looks_at_time(closed, self.windows.delay_ms());
        let all = builder.outlet("sessions", node, &[table.index()], All { table });
        // What changes is not forgotten before it does.
        builder.reads_kept_rows(all);
        let (closed, feeds) = (Stream::new(builder.clone(), closed, true), builder.feeds(node));
        let open = StoredRef::of_alarmed(open.table());
        SessionTable { table: StoredTable::from_node(&builder, all, table), closed, windows, feeds, open }
    }
}

/// Lets those records through that count, or those that do not.
struct Sift<Types> {
    windows: Session,
    counts: bool,
    types: PhantomData<Types>,
}

impl<K: Key, V: Value> Operator for Sift<fn() -> (K, V)> {
    type Input = (Vec<Event<K, V>>,);
    type Output = Vec<Event<K, V>>;

    fn run(&self, _: &mut Context<'_>, (mut events,): Self::Input) -> Result<Option<Self::Output>, Failure> {
        events.retain(|Event { stamp, .. }| {
            self.windows.counts(stamp.timestamp_ms, stamp.stream_time_ms) == self.counts
        });
        Ok(Some(events))
    }
}

/// What was folded by sessions: a table of sessions and groups, and the sessions that are final.
///
/// Which of the two is read decides what is told: the [table](Self::table) has every session from its first record on, and
/// [`on_close`](Self::on_close) each once, when nothing can change it any more.
#[derive(Debug)]
pub struct SessionTable<K, A> {
    table: StoredTable<SessionKey<K>, A>,
    closed: Stream<Windowed<K>, A>,
    windows: Session,
    /// What takes the table on in time.
    feeds: Feeds,
    open: StoredRef<K, Vec<Span<A>>>,
}

impl<K: Key, A: Value> SessionTable<K, A> {
    /// The table of all sessions, open ones and closed ones. Where a record makes a session longer, or one of two, those go that were
    /// there, and the whole comes.
    #[must_use]
    pub fn table(&self) -> &StoredTable<SessionKey<K>, A> {
        &self.table
    }

    /// Questions to the sessions, by keys and by times. `rows` are those of a view of the table (`engine.view(&counts)`), or of a
    /// snapshot. See [`WindowView`].
    ///
    /// What is [open](WindowView::open) of a key is found at once, and so is the [latest](WindowView::latest) session if it is open. Those that
    /// are closed lie in the order of their ends, those of all keys together, so that those of a key over time are found by going
    /// through what was closed in that time: from its beginning to the first session of the key that begins behind it, and from the last
    /// one that was closed for the latest. Where a key is often asked over long times, fold what is [closed](Self::on_close) into a row
    /// of its own.
    ///
    /// # Examples
    /// ```
    /// use millpond::stream::Session;
    /// use millpond::testing::Driver;
    /// use millpond::{GraphBuilder, Topic, Windowed};
    /// use std::time::Duration;
    ///
    /// let clicks = Topic::<u32, u64>::new("clicks");
    /// let graph = GraphBuilder::new();
    /// let sessions = Session::gap(Duration::from_secs(30)).grace(Duration::ZERO);
    /// let counts = graph.stream(&clicks).group_by_key().windowed(sessions).count("counts");
    /// let mut driver = Driver::new(&graph.build()?)?;
    /// for second in [1, 11, 100] {
    ///     driver.put(&clicks, 7, 1, second * 1_000)?;
    /// }
    /// driver.run()?;
    /// let sessions = counts.windows_of(&driver.view(&counts)?);
    /// assert_eq!(sessions.get(&7, 1_000)?, Some(2));
    /// let at = sessions.at(5_000)?.collect::<Result<Vec<_>, _>>()?;
    /// assert_eq!(at, [(Windowed::new(1_000, 11_001, 7), 2)]);
    /// assert_eq!(sessions.latest(&7)?, Some((Windowed::new(100_000, 100_001, 7), 1)));
    /// assert_eq!(sessions.open(&7)?.count(), 1, "the first one is closed");
    /// # Ok::<(), millpond::Error>(())
    /// ```
    #[must_use]
    pub fn windows_of(&self, rows: impl Into<WindowRows<SessionKey<K>, A>>) -> WindowView<K, A> {
        let (rows, windows, feeds, open) = (rows.into(), self.windows, self.feeds.clone(), self.open);
        WindowView::new(InOrderOfEnds { rows, windows, feeds, open })
    }

    /// Each session when it is closed: once, in the order of closes and keys, dated with its last record. It is closed once every
    /// partition that feeds it has come to the gap and the grace behind that.
    #[must_use]
    #[doc(alias = "suppress")]
    #[doc(alias = "emitStrategy")]
    pub fn on_close(&self) -> Stream<Windowed<K>, A> {
        self.closed.clone()
    }
}

impl<K, A> millpond_engine::query::sealed::Sealed for SessionTable<K, A> {}

impl<K: Key, A: Value> Stored for SessionTable<K, A> {
    type Key = SessionKey<K>;
    type Value = A;

    fn stored(&self) -> StoredRef<SessionKey<K>, A> {
        self.table.stored()
    }
}
