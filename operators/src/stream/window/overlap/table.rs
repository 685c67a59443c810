//! What was folded by windows that overlap, and what becomes of it.

use super::Overlapping;
use crate::stream::window::folding::{Folding, Merging};
use crate::stream::window::keep::Keep;
use crate::stream::window::{WindowRows, WindowView, Windowed};
use crate::stream::{GroupedStream, Stream};
use crate::table::StoredTable;
use millpond_engine::codec::{Key, Value};
use millpond_engine::graph::{Feeds, TableOptions, TableRef};
use millpond_engine::query::{Stored, StoredRef};
use std::fmt;
use std::sync::{Arc, OnceLock};

/// The rows of stretches of time, of which windows are put together.
pub struct Folded<K, A: Value, W: Overlapping> {
    pub(in crate::stream::window) table: StoredTable<Windowed<K>, W::Row<A>>,
    pub(in crate::stream::window) rows: TableRef<Windowed<K>, W::Row<A>>,
    pub(in crate::stream::window) store: TableOptions<W::Row<A>>,
    pub(in crate::stream::window) merge: Arc<Merging<A>>,
}

impl<K, A: Value, W: Overlapping> fmt::Debug for Folded<K, A, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Folded").field("table", &self.table).finish_non_exhaustive()
    }
}

/// What was folded by windows that overlap: the rows of those that are final, and questions to all of them.
///
/// What is kept is not a row for each window: a record is folded once, in the row of its stretch of time. Windows are put together when
/// they are [asked](Self::windows_of) for, and when they [close](Self::on_close).
pub struct OverlappingTable<K, V, A: Value, W: Overlapping> {
    pub(in crate::stream::window) grouped: GroupedStream<K, V>,
    pub(in crate::stream::window) windows: W,
    pub(in crate::stream::window) keep: Keep,
    pub(in crate::stream::window) folded: Folded<K, A, W>,
    pub(in crate::stream::window) written_by: String,
    pub(in crate::stream::window) folding: Folding<K, V, A>,
    pub(super) feeds: Feeds,
    /// What is put out on close, once it was asked for.
    pub(super) closed: Arc<OnceLock<Stream<Windowed<K>, A>>>,
}

impl<K, V, A: Value, W: Overlapping> fmt::Debug for OverlappingTable<K, V, A, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OverlappingTable")
            .field("table", &self.folded.table)
            .field("windows", &self.windows)
            .finish_non_exhaustive()
    }
}

impl<K: Key, V: Value, A: Value, W: Overlapping> OverlappingTable<K, V, A, W> {
    /// The row of each group and window when the window is closed: once, if a record counted to it, in the order of closes and keys,
    /// dated with the last millisecond of the window. A window is closed once every partition that feeds it has come to its end and the
    /// grace.
    ///
    /// Which windows are not closed is kept in the table `<store>.open`, and what hopping windows carry on from one to the next, so that a
    /// window costs the same however many slices of time it has, in `<store>.fronts`.
    #[must_use]
    #[doc(alias = "suppress")]
    #[doc(alias = "emitStrategy")]
    pub fn on_close(&self) -> Stream<Windowed<K>, A> {
        self.closed.get_or_init(|| self.windows.on_close(&self.folded)).clone()
    }

    /// Questions to the windows, by keys and by times: each is put together when it is read. `rows` are those of a view of this table
    /// (`engine.view(&counts)`), or of a snapshot. See [`WindowView`].
    #[must_use]
    pub fn windows_of(&self, rows: impl Into<WindowRows<Windowed<K>, W::Row<A>>>) -> WindowView<K, A> {
        self.windows.asked(rows.into(), self.feeds.clone(), Arc::clone(&self.folded.merge))
    }
}

impl<K, V, A: Value, W: Overlapping> millpond_engine::query::sealed::Sealed for OverlappingTable<K, V, A, W> {}

impl<K: Key, V: Value, A: Value, W: Overlapping> Stored for OverlappingTable<K, V, A, W> {
    type Key = Windowed<K>;
    type Value = W::Row<A>;

    fn stored(&self) -> StoredRef<Windowed<K>, W::Row<A>> {
        self.folded.table.stored()
    }
}
