//! Grouped records by windows that overlap, and what is folded of them.

use super::place::{Assign, Late, Placed};
use super::{Folded, Overlapping, OverlappingTable};
use crate::aggregate::{Fold, Merge, count};
use crate::stream::window::folding::Folding;
use crate::stream::window::keep::Keep;
use crate::stream::window::{WindowStart, Windowed};
use crate::stream::{GroupedStream, Stream};
use millpond_engine::Error;
use millpond_engine::codec::{Key, Value};
use millpond_engine::graph::TableOptions;
use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// The records of groups by windows that overlap, ready to be folded.
///
/// [`GroupedStream::windowed`] gives it for [`Hopping`](crate::stream::Hopping) and [`Sliding`](crate::stream::Sliding).
#[doc(alias = "TimeWindowedKStream")]
pub struct OverlappingStream<K, V, W: Overlapping> {
    grouped: GroupedStream<K, V>,
    assigned: GroupedStream<Windowed<K>, Placed<V, W>>,
    windows: W,
    keep: Keep,
}

impl<K, V, W: Overlapping> fmt::Debug for OverlappingStream<K, V, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OverlappingStream").field("windows", &self.windows).finish_non_exhaustive()
    }
}

impl<K: Key, V: Value, W: Overlapping> OverlappingStream<K, V, W> {
    pub(in crate::stream::window) fn new(grouped: &GroupedStream<K, V>, windows: W) -> Self {
        let Stream { builder, node, .. } = &grouped.stream;
        if let Some(why) = windows.unfit() {
            builder.refuse(Error::invalid(why));
        }
        let assigned = builder.operator("windowed", *node, &[], &[], Assign::new(windows));
        // What is late is, too, a matter of how far partitions have come.
        builder.looks_at_time(assigned, 0);
        let stream = Stream::new(builder.clone(), assigned, true);
        Self { grouped: grouped.clone(), assigned: GroupedStream { stream }, windows, keep: Keep::default() }
    }

    /// Has the tables of these windows forget a window so long after it was closed, and give back the space of what no window needs that
    /// is kept. Without it all windows can be asked for ever.
    ///
    /// What goes for [windows that follow each other](crate::stream::WindowedStream::keep) goes here. Which windows are forgotten is told
    /// exactly, by the watermark, although a row may be part of windows that are and of others that are not: those who
    /// [ask](OverlappingTable::windows_of) are shown the windows that are kept, and all of these whole.
    ///
    /// # Examples
    /// ```
    /// use millpond::stream::Hopping;
    /// use millpond::testing::Driver;
    /// use millpond::{GraphBuilder, Topic};
    /// use std::time::Duration;
    ///
    /// let clicks = Topic::<u32, u64>::new("clicks");
    /// let graph = GraphBuilder::new();
    /// let seconds = Duration::from_secs;
    /// let minutes = Hopping::of(seconds(60)).every(seconds(20)).grace(Duration::ZERO);
    /// let counts = graph.stream(&clicks).group_by_key().windowed(minutes).keep(seconds(30)).count("counts");
    /// let mut driver = Driver::new(&graph.build()?)?;
    /// for second in [10, 50, 100] {
    ///     driver.put(&clicks, 7, 1, second * 1_000)?;
    /// }
    /// driver.run()?;
    /// let windows = counts.windows_of(&driver.view(&counts)?);
    /// assert_eq!(windows.get(&7, 0)?, None, "it ended at 60 s, and was kept until 90 s");
    /// assert_eq!(windows.get(&7, 20_000)?, Some(1));
    /// # Ok::<(), millpond::Error>(())
    /// ```
    #[must_use]
    #[doc(alias = "withRetention")]
    #[doc(alias = "retentionPeriod")]
    pub fn keep(mut self, keep: Duration) -> Self {
        self.keep = Keep::of(keep);
        self
    }

    /// Counts the records of each group in each window. See [`Hopping`](crate::stream::Hopping) and [`Sliding`](crate::stream::Sliding)
    /// for examples.
    pub fn count(&self, store: impl Into<TableOptions<W::Row<u64>>>) -> OverlappingTable<K, V, u64, W> {
        self.aggregate(store, count())
    }

    /// Folds each group with closures, beginning with `init()`; `merge` makes one value of two, of different times.
    ///
    /// The order of records must not matter: see [`Merge`].
    pub fn fold<A: Value>(
        &self,
        store: impl Into<TableOptions<W::Row<A>>>,
        init: impl Fn() -> A + Send + Sync + 'static,
        fold: impl Fn(&mut A, &K, V) + Send + Sync + 'static,
        merge: impl Fn(&mut A, A) + Send + Sync + 'static,
    ) -> OverlappingTable<K, V, A, W> {
        self.aggregate(store, Fold::new(init, fold).with_merge(merge))
    }

    /// Combines the values of each group into one, two at a time, as many of one time and of several as it comes: `combine` is
    /// associative and commutative.
    pub fn reduce(
        &self,
        store: impl Into<TableOptions<W::Row<V>>>,
        combine: impl Fn(V, V) -> V + Send + Sync + 'static,
    ) -> OverlappingTable<K, V, V, W> {
        self.folded("reduce", store.into(), "", Folding::combining(combine))
    }

    /// Folds each group with an `aggregate` that merges.
    pub fn aggregate<A: Merge<K, V>>(
        &self,
        store: impl Into<TableOptions<W::Row<A::Acc>>>,
        aggregate: A,
    ) -> OverlappingTable<K, V, A::Acc, W> {
        let id = aggregate.id();
        self.folded("fold", store.into(), &id, Folding::of(aggregate))
    }

    fn folded<A: Value>(
        &self,
        kind: &'static str,
        store: TableOptions<W::Row<A>>,
        id: &str,
        folding: Folding<K, V, A>,
    ) -> OverlappingTable<K, V, A, W> {
        // With other windows it is another table.
        let written_by = format!("{id} {}", self.windows.id()).trim_start().to_owned();
        let store = store.written_by(written_by.as_str());
        let Folding { first, more, merge } = folding.clone();
        let (table, rows) =
            self.assigned.folded(kind, store.clone(), move |windowed, row, (place, value)| {
                let key = &windowed.key;
                W::add(row, place, value, |value| first(key, value), |acc, value| more(acc, key, value));
                Ok::<(), Infallible>(())
            });
        let windows = self.windows;
        self.keep.forget(&table.builder, &rows, move |watermark| WindowStart(windows.first_kept(watermark)));
        let feeds = table.builder.feeds(table.node);
        // Whatever merges does not depend on the order.
        let folded = Folded { table: table.commuting(), rows, store, merge };
        let (grouped, keep) = (self.grouped.clone(), self.keep);
        OverlappingTable {
            grouped,
            windows,
            keep,
            folded,
            written_by,
            folding,
            feeds,
            closed: Arc::default(),
        }
    }

    /// The records that count to no window, as their partition had come to the close of all that could have them before.
    #[must_use]
    pub fn late(&self) -> Stream<K, V> {
        let Stream { builder, node, .. } = &self.grouped.stream;
        let late = builder.operator("late", *node, &[], &[], Late::new(self.windows));
        Stream::new(builder.clone(), late, true)
    }
}
