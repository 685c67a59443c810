//! Grouped records by sliding windows, and what is folded of them.

use super::Sliding;
use super::close::{Close, Defining, Due};
use super::moments::{Assign, Late, Moments, Placed, add};
use crate::aggregate::{Fold, Merge, count};
use crate::stream::window::Windowed;
use crate::stream::window::folding::Folding;
use crate::stream::{GroupedStream, Stream};
use crate::table::StoredTable;
use millpond_engine::Error;
use millpond_engine::codec::{Key, Value};
use millpond_engine::graph::{TableOptions, TableRef};
use std::convert::Infallible;
use std::fmt;
use std::marker::PhantomData;
use std::sync::{Arc, OnceLock};

/// The records of groups by sliding windows, ready to be folded.
///
/// [`GroupedStream::windowed`] gives it for [`Sliding`].
pub struct SlidingStream<K, V> {
    grouped: GroupedStream<K, V>,
    assigned: GroupedStream<Windowed<K>, Placed<V>>,
    windows: Sliding,
}

impl<K, V> fmt::Debug for SlidingStream<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SlidingStream").field("windows", &self.windows).finish_non_exhaustive()
    }
}

impl<K: Key, V: Value> SlidingStream<K, V> {
    pub(super) fn new(grouped: &GroupedStream<K, V>, windows: Sliding) -> Self {
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

    /// Counts the records of each group in each window. See [`Sliding`] for an example.
    pub fn count(&self, store: impl Into<TableOptions<Moments<u64>>>) -> SlidingTable<K, V, u64> {
        self.aggregate(store, count())
    }

    /// Folds each group with closures, beginning with `init()`; `merge` makes one value of two, of different moments.
    ///
    /// The order of records must not matter: see [`Merge`].
    pub fn fold<A: Value>(
        &self,
        store: impl Into<TableOptions<Moments<A>>>,
        init: impl Fn() -> A + Send + Sync + 'static,
        fold: impl Fn(&mut A, &K, V) + Send + Sync + 'static,
        merge: impl Fn(&mut A, A) + Send + Sync + 'static,
    ) -> SlidingTable<K, V, A> {
        self.aggregate(store, Fold::new(init, fold).with_merge(merge))
    }

    /// Combines the values of each group into one, two at a time, as many of one moment and of several as it comes: `combine` is
    /// associative and commutative.
    pub fn reduce(
        &self,
        store: impl Into<TableOptions<Moments<V>>>,
        combine: impl Fn(V, V) -> V + Send + Sync + 'static,
    ) -> SlidingTable<K, V, V> {
        self.folded("reduce", store.into(), "", Folding::combining(combine))
    }

    /// Folds each group with an `aggregate` that merges.
    pub fn aggregate<A: Merge<K, V>>(
        &self,
        store: impl Into<TableOptions<Moments<A::Acc>>>,
        aggregate: A,
    ) -> SlidingTable<K, V, A::Acc> {
        let id = aggregate.id();
        self.folded("fold", store.into(), &id, Folding::of(aggregate))
    }

    fn folded<A: Value>(
        &self,
        kind: &'static str,
        store: TableOptions<Moments<A>>,
        id: &str,
        folding: Folding<K, V, A>,
    ) -> SlidingTable<K, V, A> {
        // With other windows it is another table.
        let store = store.written_by(format!("{id} {}", self.windows.id()).trim_start());
        let Folding { first, more, .. } = folding.clone();
        let (table, rows) =
            self.assigned.folded(kind, store.clone(), move |windowed, row, (place, value)| {
                let key = &windowed.key;
                add(row, place, value, |value| first(key, value), |acc, value| more(acc, key, value));
                Ok::<(), Infallible>(())
            });
        // Whatever merges does not depend on the order.
        let table = table.commuting();
        SlidingTable { table, rows, store, folding, windows: self.windows, closed: Arc::default() }
    }

    /// The records that count to no window, as their partition had come to the close of all that could have them before.
    #[must_use]
    pub fn late(&self) -> Stream<K, V> {
        let Stream { builder, node, .. } = &self.grouped.stream;
        let late = builder.operator("late", *node, &[], &[], Late::new(self.windows));
        Stream::new(builder.clone(), late, true)
    }
}

/// What was folded by sliding windows: the rows of those that are final.
pub struct SlidingTable<K, V, A> {
    table: StoredTable<Windowed<K>, Moments<A>>,
    rows: TableRef<Windowed<K>, Moments<A>>,
    store: TableOptions<Moments<A>>,
    folding: Folding<K, V, A>,
    windows: Sliding,
    /// What is put out on close, once it was asked for.
    closed: Arc<OnceLock<Stream<Windowed<K>, A>>>,
}

impl<K, V, A> fmt::Debug for SlidingTable<K, V, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SlidingTable")
            .field("table", &self.table)
            .field("windows", &self.windows)
            .finish_non_exhaustive()
    }
}

impl<K: Key, V: Value, A: Value> SlidingTable<K, V, A> {
    /// The row of each group and window when the window is closed: once, if a record counted to it, in the order of closes and keys,
    /// dated with the last millisecond of the window. A window is closed once every partition that feeds it has come to its end and the
    /// grace.
    ///
    /// Which windows are not closed is kept in the table `<store>.open`.
    #[must_use]
    #[doc(alias = "suppress")]
    #[doc(alias = "emitStrategy")]
    pub fn on_close(&self) -> Stream<Windowed<K>, A> {
        self.closed.get_or_init(|| self.closing()).clone()
    }

    fn closing(&self) -> Stream<Windowed<K>, A> {
        let (builder, windows, rows) = (&self.table.builder, self.windows, self.rows);
        let open: TableRef<Windowed<K>, Moments<A>> = builder.table("open", self.store.beside("open"));
        let defining = Defining { windows, types: PhantomData::<fn() -> (K, A)> };
        let defined = builder.operator("defining", self.table.node, &[], &[], defining);
        // It reads what stands behind it as it was before the epoch.
        let due = builder.exchange("due", defined, &[], Due { windows, open });
        let close = Close { windows, rows, open, merge: Arc::clone(&self.folding.merge) };
        let closed = builder.operator("on_close", (defined, due), &[open.index()], &[rows.index()], close);
        builder.looks_at_time(closed, windows.grace_ms);
        Stream::new(builder.clone(), closed, true)
    }
}
