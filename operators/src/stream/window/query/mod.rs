//! Asking tables of windows: one window of a key, a key over time, a time over keys, what is still open.
//!
//! Invariant: every question is answered from one epoch, and reads what it answers with and little else. Where windows begin can be
//! counted off, so a key over time is a row for each of them, looked up some at a time; stretches of time in which no key has a row are
//! passed over. Rows lie in the order of time, so a time over keys is a scan. A window is in the answers as long as it is kept, be there
//! rows left of which it was put together or not.
//!
//! | file | what it is |
//! |---|---|
//! | `asked` | what can be asked of a kind of windows |
//! | `grid` | where windows begin that are the same for all keys, and what is in them |
//! | `beside` | rows of several times, key by key |
//! | `over_time` | the windows of a key, one after the other |

mod asked;
mod beside;
mod grid;
mod over_time;

pub use grid::WindowRows;
pub use over_time::WindowsOfKey;

pub(super) use asked::Asked;
pub(super) use beside::{Beside, RowsOfKey};
pub(super) use grid::{Grid, Plain};
pub(super) use over_time::{Found, Left, Spans, Steps};

use asked::OfGrid;

use super::Windowed;
use millpond_engine::Result;
use millpond_engine::codec::{AsKey, Key, Value};
use std::fmt;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

/// The keys of a window with what is in it, in their order; sessions in the order of their ends.
pub type WindowsAt<K, A> = Box<dyn Iterator<Item = Result<(Windowed<K>, A)>> + Send>;

/// Questions to a table of windows: what `windows_of` of such a table gives for a [`View`](millpond_engine::query::View) or a
/// [`TableSnapshot`](millpond_engine::query::TableSnapshot) of it.
///
/// On a view each question is answered as things stand when it is asked; on a snapshot all of them are of one moment. Windows are named by
/// where they begin, in milliseconds since the Unix epoch.
///
/// # Examples
/// ```
/// use millpond::stream::Tumbling;
/// use millpond::testing::Driver;
/// use millpond::{GraphBuilder, Topic};
/// use std::time::Duration;
///
/// let clicks = Topic::<String, u64>::new("clicks");
/// let graph = GraphBuilder::new();
/// let minutes = Tumbling::of(Duration::from_secs(60)).grace(Duration::from_secs(10));
/// let counts = graph.stream(&clicks).group_by_key().windowed(minutes).count("counts");
/// let mut driver = Driver::new(&graph.build()?)?;
/// for (page, second) in [("home", 1), ("shop", 30), ("home", 65), ("home", 200)] {
///     driver.put(&clicks, page.to_owned(), 1, second * 1_000)?;
/// }
/// driver.run()?;
///
/// let counts = counts.windows_of(&driver.view(&counts)?);
/// assert_eq!(counts.get("home", 60_000)?, Some(1));
/// assert!(counts.get("home", 61_000).is_err(), "no window begins there");
///
/// let starts = |row: millpond::Result<(millpond::Windowed<String>, u64)>| row.map(|(windowed, _)| windowed.start_ms);
/// let home = counts.windows("home", 0..180_000)?.map(starts).collect::<Result<Vec<_>, _>>()?;
/// assert_eq!(home, [0, 60_000]);
/// assert_eq!(counts.latest("home")?.map(|(windowed, _)| windowed.start_ms), Some(180_000));
/// assert_eq!(counts.at(59_999)?.count(), 2, "home and shop");
///
/// // The record at 200 s has closed all but the last one.
/// let open = counts.open("home")?.map(starts).collect::<Result<Vec<_>, _>>()?;
/// assert_eq!(open, [180_000]);
/// # Ok::<(), millpond::Error>(())
/// ```
#[doc(alias = "ReadOnlyWindowStore")]
pub struct WindowView<K, A> {
    windows: Arc<dyn Asked<K, A>>,
}

impl<K, A> Clone for WindowView<K, A> {
    fn clone(&self) -> Self {
        Self { windows: Arc::clone(&self.windows) }
    }
}

impl<K, A> fmt::Debug for WindowView<K, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WindowView").finish_non_exhaustive()
    }
}

impl<K: Key, A: Value> WindowView<K, A> {
    /// Of windows that are the same for all keys.
    pub(super) fn of_grid(grid: impl Grid<K, A> + 'static) -> Self {
        Self::new(OfGrid(grid))
    }

    pub(super) fn new(windows: impl Asked<K, A> + 'static) -> Self {
        Self { windows: Arc::new(windows) }
    }

    /// What is in the window of `key` that begins at `start_ms`, or `None` if nothing is.
    ///
    /// # Errors
    /// `Invalid` if no window begins there; otherwise as for [`View::get`](millpond_engine::query::View::get).
    pub fn get(&self, key: &(impl AsKey<K> + ?Sized), start_ms: i64) -> Result<Option<A>> {
        self.windows.get(&key.as_key(), start_ms)
    }

    /// The windows of `key` that begin within `starts_ms` and have something in them, the earliest first; `.rev()` for the latest first.
    /// All are of one moment, and are read some at a time: who stops early has read little.
    ///
    /// # Errors
    /// As for [`View::snapshot`](millpond_engine::query::View::snapshot); errors of the store come as items, and end it.
    #[doc(alias = "fetch")]
    pub fn windows(
        &self,
        key: &(impl AsKey<K> + ?Sized),
        starts_ms: impl RangeBounds<i64>,
    ) -> Result<WindowsOfKey<K, A>> {
        let first = match starts_ms.start_bound() {
            Bound::Included(&start) => Some(start),
            Bound::Excluded(&start) => start.checked_add(1),
            Bound::Unbounded => Some(i64::MIN),
        };
        let last = match starts_ms.end_bound() {
            Bound::Included(&end) => Some(end),
            Bound::Excluded(&end) => end.checked_sub(1),
            Bound::Unbounded => Some(i64::MAX),
        };
        self.windows.windows(key.as_key().into_owned(), first.zip(last))
    }

    /// The last window of `key` that has something in it.
    ///
    /// # Errors
    /// As for [`get`](Self::get).
    pub fn latest(&self, key: &(impl AsKey<K> + ?Sized)) -> Result<Option<(Windowed<K>, A)>> {
        self.windows(key, ..)?.next_back().transpose()
    }

    /// The windows of `key` that have something in them and are not closed: whose contents may still change, with the input that the
    /// answer is of.
    ///
    /// # Errors
    /// As for [`windows`](Self::windows).
    pub fn open(&self, key: &(impl AsKey<K> + ?Sized)) -> Result<WindowsOfKey<K, A>> {
        self.windows.now()?.open(key.as_key().into_owned())
    }

    /// All keys in the window that has the moment `ms`; where several have it, in the last of them to begin. Sessions come in the order
    /// of their ends, others in the order of keys.
    ///
    /// # Errors
    /// As for [`windows`](Self::windows).
    #[doc(alias = "fetchAll")]
    pub fn at(&self, ms: i64) -> Result<WindowsAt<K, A>> {
        self.windows.now()?.at(ms)
    }

    /// How far the table had come in time: all windows are closed whose end and grace lie at or before it. `None` as long as a
    /// partition that feeds the table has shown no record.
    ///
    /// # Errors
    /// As for [`View::snapshot`](millpond_engine::query::View::snapshot).
    pub fn watermark(&self) -> Result<Option<i64>> {
        Ok(Some(self.windows.now()?.watermark()?).filter(|watermark| *watermark > i64::MIN))
    }
}
