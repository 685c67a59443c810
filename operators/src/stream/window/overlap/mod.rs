//! Windows that overlap: a moment is in several of them.
//!
//! A record is folded once, whatever the number of windows that it counts to: into the row of a stretch of time. Windows are put together of
//! such rows when they are closed, and when they are asked for. So what is folded must be able to merge. How time is cut into stretches, and
//! what of a row counts to which window, is what the kinds differ in.
//!
//! | file | what it is |
//! |---|---|
//! | `grouped` | what can be folded by such windows |
//! | `table` | what becomes of it |
//! | `place` | which row a record belongs to, and which records count to no window |

mod grouped;
mod place;
mod table;

pub use grouped::OverlappingStream;
pub use table::OverlappingTable;

pub(super) use table::Folded;

use super::folding::Merging;
use super::{WindowRows, WindowView, Windowed, sealed};
use crate::stream::Stream;
use millpond_engine::codec::{Key, Value};
use millpond_engine::dataflow::Stamp;
use millpond_engine::graph::Feeds;
use std::fmt;
use std::sync::Arc;

/// A kind of windows of which a moment is in several: [`Hopping`](super::Hopping) and [`Sliding`](super::Sliding). There are no others:
/// the trait is sealed.
pub trait Overlapping: fmt::Debug + Copy + Send + Sync + sealed::Sealed + 'static {
    /// What is stored of a stretch of time.
    type Row<A: Value>: Value;

    /// Where in a row a record belongs.
    #[doc(hidden)]
    type Place: Value;

    /// What is known of the record before, so that the place of the next one is found at less cost.
    #[doc(hidden)]
    type Near: Default;

    /// Where the row begins that a record belongs to, and its place in it; `None` if it is late for all windows that have it.
    #[doc(hidden)]
    fn place(self, stamp: &Stamp, near: &mut Self::Near) -> Option<(i64, Self::Place)>;

    /// The key of the row that begins at `start_ms`.
    #[doc(hidden)]
    fn row_key<K>(self, start_ms: i64, key: K) -> Windowed<K>;

    /// Takes `value` in at its place.
    #[doc(hidden)]
    fn add<A: Value, V>(
        row: &mut Option<Self::Row<A>>,
        place: Self::Place,
        value: V,
        first: impl FnOnce(V) -> A,
        more: impl FnOnce(&mut A, V),
    );

    /// With which time the keys of rows begin that have to do with windows which are not closed at the watermark `watermark_ms`: all but
    /// those before it. A window is one of these if the key with the time [`kept_with`](Self::kept_with) is.
    #[doc(hidden)]
    fn first_kept(self, watermark_ms: i64) -> i64;

    /// The time by which it is told whether the window is kept that begins at `start_ms`.
    #[doc(hidden)]
    fn kept_with(self, start_ms: i64) -> i64;

    /// The rows of windows when they are closed.
    #[doc(hidden)]
    fn on_close<K: Key, A: Value>(self, folded: &Folded<K, A, Self>) -> Stream<Windowed<K>, A>;

    /// Questions to windows that are put together of `rows`.
    #[doc(hidden)]
    fn asked<K: Key, A: Value>(
        self,
        rows: WindowRows<Windowed<K>, Self::Row<A>>,
        feeds: Feeds,
        merge: Arc<Merging<A>>,
    ) -> WindowView<K, A>;

    /// What tells these windows from others: a table remembers it.
    #[doc(hidden)]
    fn id(self) -> String;

    /// Why there are no such windows.
    #[doc(hidden)]
    fn unfit(self) -> Option<String>;
}
