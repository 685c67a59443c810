//! Grouped records by hopping windows, and what is folded of them.

use super::Hopping;
use super::asked::Sliced;
use super::close::{Close, Due, Entering};
use super::slices::{Assign, AssignAll, Late, Slice, add};
use crate::aggregate::{Fold, Merge, count};
use crate::stream::window::folding::Folding;
use crate::stream::window::{WindowRows, WindowView, Windowed};
use crate::stream::{GroupedStream, Stream};
use crate::table::StoredTable;
use millpond_engine::Error;
use millpond_engine::codec::{Key, Value};
use millpond_engine::graph::{Feeds, TableOptions, TableRef};
use millpond_engine::query::{Stored, StoredRef};
use std::convert::Infallible;
use std::fmt;
use std::marker::PhantomData;
use std::sync::{Arc, OnceLock};

/// The records of groups by hopping windows, ready to be folded.
///
/// [`GroupedStream::windowed`] gives it for [`Hopping`].
pub struct HoppingStream<K, V> {
    grouped: GroupedStream<K, V>,
    assigned: GroupedStream<Windowed<K>, (u64, V)>,
    windows: Hopping,
}

impl<K, V> fmt::Debug for HoppingStream<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HoppingStream").field("windows", &self.windows).finish_non_exhaustive()
    }
}

impl<K: Key, V: Value> HoppingStream<K, V> {
    pub(super) fn new(grouped: &GroupedStream<K, V>, windows: Hopping) -> Self {
        let Stream { builder, node, .. } = &grouped.stream;
        if let Some(why) = windows.unfit() {
            builder.refuse(Error::invalid(why));
        }
        let assigned = builder.operator("windowed", *node, &[], &[], Assign::new(windows));
        // What is late is, too, a matter of how far partitions have come.
        builder.looks_at_time(assigned, 0);
        let stream = Stream::new(builder.clone(), assigned, true);
        Self { grouped: grouped.clone(), assigned: GroupedStream { stream }, windows }
    }

    /// Counts the records of each group in each window. See [`Hopping`] for an example.
    pub fn count(&self, store: impl Into<TableOptions<Slice<u64>>>) -> HoppingTable<K, V, u64> {
        self.aggregate(store, count())
    }

    /// Folds each group with closures, beginning with `init()`; `merge` makes one value of two, of different times.
    ///
    /// The order of records must not matter: see [`Merge`].
    pub fn fold<A: Value>(
        &self,
        store: impl Into<TableOptions<Slice<A>>>,
        init: impl Fn() -> A + Send + Sync + 'static,
        fold: impl Fn(&mut A, &K, V) + Send + Sync + 'static,
        merge: impl Fn(&mut A, A) + Send + Sync + 'static,
    ) -> HoppingTable<K, V, A> {
        self.aggregate(store, Fold::new(init, fold).with_merge(merge))
    }

    /// Combines the values of each group into one, two at a time, as many of one time and of several as it comes: `combine` is
    /// associative and commutative.
    pub fn reduce(
        &self,
        store: impl Into<TableOptions<Slice<V>>>,
        combine: impl Fn(V, V) -> V + Send + Sync + 'static,
    ) -> HoppingTable<K, V, V> {
        let folding = Folding::combining(combine);
        self.folded("reduce", store.into(), "", folding)
    }

    /// Folds each group with an `aggregate` that merges.
    pub fn aggregate<A: Merge<K, V>>(
        &self,
        store: impl Into<TableOptions<Slice<A::Acc>>>,
        aggregate: A,
    ) -> HoppingTable<K, V, A::Acc> {
        let (id, folding) = (aggregate.id(), Folding::of(aggregate));
        self.folded("fold", store.into(), &id, folding)
    }

    fn folded<A: Value>(
        &self,
        kind: &'static str,
        store: TableOptions<Slice<A>>,
        id: &str,
        folding: Folding<K, V, A>,
    ) -> HoppingTable<K, V, A> {
        // With other windows it is another table.
        let written_by = format!("{id} {}", self.windows.id()).trim_start().to_owned();
        let store = store.written_by(written_by.as_str());
        let Folding { first, more, .. } = folding.clone();
        let (table, rows) =
            self.assigned.folded(kind, store.clone(), move |windowed, row, (class, value)| {
                let key = &windowed.key;
                add(row, class, value, |value| first(key, value), |acc, value| more(acc, key, value));
                Ok::<(), Infallible>(())
            });
        // Whatever merges does not depend on the order.
        let table = table.commuting();
        let feeds = table.builder.feeds(table.node);
        let closed = Arc::default();
        let (grouped, windows) = (self.grouped.clone(), self.windows);
        HoppingTable { grouped, table, rows, store, written_by, folding, windows, feeds, closed }
    }

    /// The records that count to no window, as their partition had come to the close of all of them before.
    #[must_use]
    pub fn late(&self) -> Stream<K, V> {
        let Stream { builder, node, .. } = &self.grouped.stream;
        let late = builder.operator("late", *node, &[], &[], Late::new(self.windows));
        Stream::new(builder.clone(), late, true)
    }
}

/// What was folded by hopping windows: the rows of those that are final, and questions to all of them.
///
/// What is kept is not a row for each window: a record is folded once, in the row of its slice of time. Windows are put together when they
/// are [asked](Self::windows_of) for, and when they [close](Self::on_close).
pub struct HoppingTable<K, V, A> {
    grouped: GroupedStream<K, V>,
    table: StoredTable<Windowed<K>, Slice<A>>,
    rows: TableRef<Windowed<K>, Slice<A>>,
    store: TableOptions<Slice<A>>,
    written_by: String,
    folding: Folding<K, V, A>,
    windows: Hopping,
    feeds: Feeds,
    /// What is put out on close, once it was asked for.
    closed: Arc<OnceLock<Stream<Windowed<K>, A>>>,
}

impl<K, V, A> fmt::Debug for HoppingTable<K, V, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HoppingTable")
            .field("table", &self.table)
            .field("windows", &self.windows)
            .finish_non_exhaustive()
    }
}

impl<K: Key, V: Value, A: Value> HoppingTable<K, V, A> {
    /// The row of each group and window when the window is closed: once, if a record counted to it, in the order of closes and keys,
    /// dated with the last millisecond of the window. A window is closed once every partition that feeds it has come to its end and the
    /// grace.
    ///
    /// What the next windows share with one that is closed is carried on to them, in the tables `<store>.open` and `<store>.fronts`, so
    /// that a window costs the same however many slices it has.
    #[must_use]
    #[doc(alias = "suppress")]
    #[doc(alias = "emitStrategy")]
    pub fn on_close(&self) -> Stream<Windowed<K>, A> {
        self.closed.get_or_init(|| self.closing()).clone()
    }

    fn closing(&self) -> Stream<Windowed<K>, A> {
        let (builder, windows, slices) = (&self.table.builder, self.windows, self.rows);
        let open: TableRef<Windowed<K>, Slice<A>> = builder.table("open", self.store.beside("open"));
        let fronts: TableRef<Windowed<K>, Slice<A>> = builder.table("fronts", self.store.beside("fronts"));
        let entering = Entering { windows, types: PhantomData::<fn() -> (K, A)> };
        let entering = builder.operator("entering", self.table.node, &[], &[], entering);
        // It reads what stands behind it as it was before the epoch.
        let due = builder.exchange("due", entering, &[], Due { windows, open });
        let close = Close { windows, slices, open, fronts, merge: Arc::clone(&self.folding.merge) };
        let writes = [open.index(), fronts.index()];
        let closed = builder.operator("on_close", (entering, due), &writes, &[slices.index()], close);
        builder.looks_at_time(closed, windows.grace_ms);
        Stream::new(builder.clone(), closed, true)
    }

    /// The windows as a table `store` of their own, with a row for each from its first record on: to be joined, grouped, subscribed to.
    ///
    /// IMPORTANT: each record is folded into every window that it counts to, so it costs in proportion to how many windows overlap.
    pub fn table(&self, store: impl Into<TableOptions<A>>) -> StoredTable<Windowed<K>, A> {
        let Stream { builder, node, .. } = &self.grouped.stream;
        let assigned = builder.operator("windowed", *node, &[], &[], AssignAll::new(self.windows));
        builder.looks_at_time(assigned, 0);
        let assigned = GroupedStream { stream: Stream::new(builder.clone(), assigned, true) };
        let Folding { first, more, .. } = self.folding.clone();
        let store = store.into().written_by(self.written_by.as_str());
        let table =
            assigned.fold_by("fold", store, move |windowed: &Windowed<K>, row: &mut Option<A>, value| {
                match row {
                    Some(acc) => more(acc, &windowed.key, value),
                    None => *row = Some(first(&windowed.key, value)),
                }
                Ok::<(), Infallible>(())
            });
        table.commuting()
    }

    /// Questions to the windows, by keys and by times: each is put together of its slices when it is read. `rows` are those of a view of
    /// this table (`engine.view(&counts)`), or of a snapshot. See [`WindowView`].
    #[must_use]
    pub fn windows_of(&self, rows: impl Into<WindowRows<Windowed<K>, Slice<A>>>) -> WindowView<K, A> {
        let (rows, windows, feeds) = (rows.into(), self.windows, self.feeds.clone());
        WindowView::new(Sliced { rows, windows, feeds, merge: Arc::clone(&self.folding.merge) })
    }
}

impl<K, V, A> millpond_engine::query::sealed::Sealed for HoppingTable<K, V, A> {}

impl<K: Key, V: Value, A: Value> Stored for HoppingTable<K, V, A> {
    type Key = Windowed<K>;
    type Value = Slice<A>;

    fn stored(&self) -> StoredRef<Windowed<K>, Slice<A>> {
        self.table.stored()
    }
}
