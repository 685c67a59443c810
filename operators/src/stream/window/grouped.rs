//! Grouped records by windows, and what is folded of them.

use super::assign::{Assign, Late};
use super::close::{Close, Due};
use super::keep::Keep;
use super::query::{Plain, WindowRows, WindowView};
use super::{WindowStart, Windowed, Windows, sealed};
use crate::aggregate::{Aggregate, Fold, count};
use crate::stream::group::reducing;
use crate::stream::{GroupedStream, Stream};
use crate::table::StoredTable;
use millpond_engine::Error;
use millpond_engine::codec::{Key, Value};
use millpond_engine::graph::{Feeds, TableOptions, TableRef};
use millpond_engine::query::{Stored, StoredRef};
use std::convert::Infallible;
use std::fmt;
use std::time::Duration;

impl<K: Key, V: Value> GroupedStream<K, V> {
    /// Divides the records of each group by time. Each counts to the windows that have its timestamp, as long as its own partition had
    /// not come to the close of the window. See [`Tumbling`](super::Tumbling), [`Hopping`](super::Hopping),
    /// [`Sliding`](super::Sliding) and [`Session`](super::Session) for examples.
    #[must_use]
    #[doc(alias = "windowedBy")]
    pub fn windowed<W: GroupsBy<K, V>>(&self, windows: W) -> W::Windowed {
        windows.group(self)
    }
}

/// What records of groups can be divided by in time. There is nothing else: the trait is sealed.
pub trait GroupsBy<K, V>: sealed::Sealed {
    /// The records by windows, ready to be folded.
    type Windowed;

    #[doc(hidden)]
    fn group(self, grouped: &GroupedStream<K, V>) -> Self::Windowed;
}

impl<K: Key, V: Value, W: Windows> GroupsBy<K, V> for W {
    type Windowed = WindowedStream<K, V, W>;

    fn group(self, grouped: &GroupedStream<K, V>) -> WindowedStream<K, V, W> {
        let Stream { builder, node, .. } = &grouped.stream;
        if let Some(why) = self.unfit() {
            builder.refuse(Error::invalid(why));
        }
        let assigned = builder.operator("windowed", *node, &[], &[], Assign::new(self.clone()));
        // What is late is, too, a matter of how far partitions have come.
        builder.looks_at_time(assigned, 0);
        let stream = Stream::new(builder.clone(), assigned, true);
        let assigned = GroupedStream { stream };
        WindowedStream { grouped: grouped.clone(), assigned, windows: self, keep: Keep::default() }
    }
}

/// The records of groups by windows, ready to be folded.
#[doc(alias = "TimeWindowedKStream")]
pub struct WindowedStream<K, V, W> {
    grouped: GroupedStream<K, V>,
    assigned: GroupedStream<Windowed<K>, V>,
    windows: W,
    keep: Keep,
}

impl<K, V, W: fmt::Debug> fmt::Debug for WindowedStream<K, V, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WindowedStream").field("windows", &self.windows).finish_non_exhaustive()
    }
}

impl<K: Key, V: Value, W: Windows> WindowedStream<K, V, W> {
    /// Has the tables of these windows forget the rows of a window so long after it was closed, and give their space back. Without it
    /// they keep all rows for ever: nobody loses any who has not said for how long they are good.
    ///
    /// What is forgotten is decided by how far the partitions have come in time, as closing is, and not by a clock: at each position
    /// the table has the rows of the windows that begin no earlier than the one which has the moment of the watermark, less the grace,
    /// less `keep`. All who ask see exactly that, whatever is stored. A [snapshot](millpond_engine::query::TableSnapshot) goes on
    /// showing what it showed.
    ///
    /// Forgetting is silent: it is no change, nobody is told of it, and nothing that derives from the table loses anything. Tables that
    /// are made of the final rows ([`on_close`](WindowedTable::on_close)) or of changes, be it under the same keys
    /// (`map_values(..).materialize(..)`), are tables of their own, which keep what they have: for how long that is good is for whoever
    /// names them to say, and [`expire_at`](crate::Table::expire_at) has their rows go when the key says so, as a change.
    /// No other table is joined with one that forgets: the graph is refused when it is built, as what a look-up finds would depend
    /// on how epochs are cut.
    ///
    /// It may be changed from one start to the next without another version of the table. If it is shorter, what is beyond it is forgotten
    /// at once; if it is longer, or not said any more, what was forgotten stays so.
    ///
    /// # Examples
    /// ```
    /// use millpond::stream::Tumbling;
    /// use millpond::testing::Driver;
    /// use millpond::{GraphBuilder, Topic, Windowed};
    /// use std::time::Duration;
    ///
    /// let minute = Duration::from_secs(60);
    /// let clicks = Topic::<u32, u64>::new("clicks");
    /// let graph = GraphBuilder::new();
    /// let minutes = graph.stream(&clicks).group_by_key().windowed(Tumbling::of(minute).grace(Duration::ZERO));
    /// let counts = minutes.keep(2 * minute).count("counts");
    /// let finals = counts.on_close().to_table("finals");
    /// let mut driver = Driver::new(&graph.build()?)?;
    /// for at in [10_000, 70_000, 130_000, 200_000] {
    ///     driver.put(&clicks, 7, 1, at)?;
    /// }
    /// driver.run()?;
    /// let view = driver.view(counts.table())?;
    /// assert_eq!(view.get(&Windowed::new(0, 60_000, 7))?, None, "it was closed for more than two minutes");
    /// assert_eq!((view.count()?, view.get(&Windowed::new(60_000, 120_000, 7))?), (3, Some(1)));
    /// assert_eq!(driver.table(&finals)?.len(), 3, "a table of its own");
    /// # Ok::<(), millpond::Error>(())
    /// ```
    #[must_use]
    #[doc(alias = "withRetention")]
    #[doc(alias = "retentionPeriod")]
    pub fn keep(mut self, keep: Duration) -> Self {
        self.keep = Keep::of(keep);
        self
    }

    /// Counts the records of each group in each window.
    pub fn count(&self, store: impl Into<TableOptions<u64>>) -> WindowedTable<K, u64, W> {
        self.aggregate(store, count())
    }

    /// Folds each group in each window with a closure, beginning with `init()`. See [`GroupedStream::fold`].
    pub fn fold<A: Value>(
        &self,
        store: impl Into<TableOptions<A>>,
        init: impl Fn() -> A + Send + Sync + 'static,
        fold: impl Fn(&mut A, &K, V) + Send + Sync + 'static,
    ) -> WindowedTable<K, A, W> {
        self.aggregate(store, Fold::new(init, fold))
    }

    /// Combines the values of each group in each window into one, two at a time. See [`GroupedStream::reduce`].
    pub fn reduce(
        &self,
        store: impl Into<TableOptions<V>>,
        combine: impl Fn(V, V) -> V + Send + Sync + 'static,
    ) -> WindowedTable<K, V, W> {
        let store = store.into().written_by(self.windows.id());
        let (table, rows) = self.assigned.folded("reduce", store, reducing(combine));
        self.table_of(table, rows)
    }

    /// Folds each group in each window with `aggregate`. See [`GroupedStream::aggregate`].
    pub fn aggregate<A: Aggregate<K, V>>(
        &self,
        store: impl Into<TableOptions<A::Acc>>,
        aggregate: A,
    ) -> WindowedTable<K, A::Acc, W> {
        // With other windows it is another table.
        let store = store.into().written_by(format!("{} {}", aggregate.id(), self.windows.id()).trim_start());
        let commutes = aggregate.commutes();
        let (table, rows) =
            self.assigned.folded("fold", store, move |windowed, acc: &mut Option<A::Acc>, value| {
                aggregate.fold(acc.get_or_insert_with(|| aggregate.init()), &windowed.key, value);
                Ok::<(), Infallible>(())
            });
        self.table_of(if commutes { table.commuting() } else { table }, rows)
    }

    /// The records that count to no window, as their partition had come to its close before: count them, or keep them elsewhere.
    ///
    /// # Examples
    /// ```
    /// use millpond::stream::Tumbling;
    /// use millpond::testing::Driver;
    /// use millpond::{GraphBuilder, Topic};
    /// use std::time::Duration;
    ///
    /// let clicks = Topic::<u32, u64>::new("clicks");
    /// let graph = GraphBuilder::new();
    /// let minutes = graph.stream(&clicks).group_by_key().windowed(Tumbling::of(Duration::from_secs(60)).grace(Duration::ZERO));
    /// minutes.count("counts");
    /// let late = minutes.late().group_by_key().count("late");
    /// let mut driver = Driver::new(&graph.build()?)?;
    /// for at in [59_000, 60_000, 58_000] {
    ///     driver.put(&clicks, 7, 1, at)?;
    /// }
    /// driver.run()?;
    /// assert_eq!(driver.table(&late)?, [(7, 1)].into());
    /// # Ok::<(), millpond::Error>(())
    /// ```
    #[must_use]
    pub fn late(&self) -> Stream<K, V> {
        let Stream { builder, node, .. } = &self.grouped.stream;
        let late = builder.operator("late", *node, &[], &[], Late::new(self.windows.clone()));
        Stream::new(builder.clone(), late, true)
    }

    fn table_of<A: Value>(
        &self,
        table: StoredTable<Windowed<K>, A>,
        rows: TableRef<Windowed<K>, A>,
    ) -> WindowedTable<K, A, W> {
        let feeds = table.builder.feeds(table.node);
        let windows = self.windows.clone();
        self.keep.forget(&table.builder, &rows, move |watermark| WindowStart(windows.first_open(watermark)));
        WindowedTable { table, rows, windows: self.windows.clone(), feeds }
    }
}

/// What was folded by windows: a table of windows and groups, and the rows of windows that are final.
///
/// Which of the two is read decides what is told: the [table](Self::table) has every row from its first record on, and
/// [`on_close`](Self::on_close) each row once, when nothing can change it any more.
pub struct WindowedTable<K, A, W> {
    table: StoredTable<Windowed<K>, A>,
    rows: TableRef<Windowed<K>, A>,
    windows: W,
    /// What takes the table on in time.
    feeds: Feeds,
}

impl<K, A, W: fmt::Debug> fmt::Debug for WindowedTable<K, A, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WindowedTable")
            .field("table", &self.table)
            .field("windows", &self.windows)
            .finish_non_exhaustive()
    }
}

impl<K: Key, A: Value, W: Windows> WindowedTable<K, A, W> {
    /// The table of all windows, open ones and closed ones.
    #[must_use]
    pub fn table(&self) -> &StoredTable<Windowed<K>, A> {
        &self.table
    }

    /// Questions to the table, by keys and by times. `rows` are those of a view of it (`engine.view(&counts)`), or of a snapshot. See
    /// [`WindowView`] for an example.
    #[must_use]
    pub fn windows_of(&self, rows: impl Into<WindowRows<Windowed<K>, A>>) -> WindowView<K, A> {
        let (rows, windows, feeds) = (rows.into(), self.windows.clone(), self.feeds.clone());
        WindowView::of_grid(Plain { rows, windows, feeds })
    }

    /// The row of each group and window when the window is closed: once, in the order of closes and keys, dated with the last
    /// millisecond of the window. A window is closed once every partition that feeds it has come to its end and the grace. (Windows that
    /// close more than 2^62 ms from 1970, which is 146 million years, are told in the order of keys alone.)
    #[must_use]
    #[doc(alias = "suppress")]
    #[doc(alias = "emitStrategy")]
    pub fn on_close(&self) -> Stream<Windowed<K>, A> {
        let (builder, node) = (&self.table.builder, self.table.node);
        let table = self.rows;
        let due =
            builder.exchange("due", node, &[table.index()], Due { table, windows: self.windows.clone() });
        let close = Close { table, windows: self.windows.clone() };
        let closed = builder.operator("on_close", (node, due), &[], &[table.index()], close);
        // Windows are kept at least until they are closed.
        builder.reads_kept_rows(due);
        builder.reads_kept_rows(closed);
        builder.looks_at_time(closed, self.windows.grace_ms());
        Stream::new(builder.clone(), closed, true)
    }
}

impl<K, A, W> millpond_engine::query::sealed::Sealed for WindowedTable<K, A, W> {}

impl<K: Key, A: Value, W: Windows> Stored for WindowedTable<K, A, W> {
    type Key = Windowed<K>;
    type Value = A;

    fn stored(&self) -> StoredRef<Windowed<K>, A> {
        self.table.stored()
    }
}
