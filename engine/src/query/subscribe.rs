//! Subscriptions: a state, then every change after it, as a stream.
//!
//! The subscriber joins while no epoch can be published: the snapshot it gets and the first change it is sent have no
//! epoch between them and none in common. A subscriber of a key is told of epochs only, and reads the value together
//! with the epoch that it belongs to: what it is told of that epoch or an earlier one is not news.
//!
//! A stream looks, then asks to be woken, then looks again: what comes in between is found or wakes. Nothing is taken out
//! before it is handed over within the same call, so that whoever stops waiting loses nothing. An engine that is closed
//! ends its streams; anything else that keeps them from going on is told once, as an error, and ends them then.

mod waiting;

use super::readable::{Epoch, Pushes, Readable};
use super::{Snapshot, TableSnapshot};
use crate::codec::{Key, Value};
use crate::flow::Change;
use crate::state::{KeyWatch, Next, Status};
use crate::{Error, Position, Result};
use futures_core::Stream;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use waiting::{Waiting, block_on_next, next};

/// The changes of one epoch, as they were published.
pub struct EpochChanges<K, V>(Epoch<K, V>);

impl<K, V> EpochChanges<K, V> {
    /// The input that the table includes with these changes.
    #[must_use]
    pub fn position(&self) -> &Position {
        &self.0.pushed().position
    }

    /// At most one change per key, in ascending order of key.
    #[must_use]
    pub fn changes(&self) -> &[Change<K, V>] {
        &self.0.pushed().changes
    }
}

impl<K: fmt::Debug, V: fmt::Debug> fmt::Debug for EpochChanges<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EpochChanges")
            .field("position", self.position())
            .field("changes", &self.changes())
            .finish()
    }
}

/// Every change of a table after a snapshot of it: a [`Stream`] of the epochs that changed it.
///
/// The stream ends (`None`) when the engine is closed, after the last epoch. If the engine stops with an error, if the
/// table is replaced by a newer version, or if this subscriber falls too far behind, the stream says so as an error and
/// ends then; subscribe again in the last two cases.
///
/// What waits for all streams of an engine is bounded: see [`Memory`](crate::Memory). When it is exceeded, the stream
/// for which most is waiting is cut off; one that has taken everything before the newest epoch never is.
///
/// # Cancel safety
/// Whoever stops waiting, at any time, loses nothing: an epoch stays in the stream until a call returns it. So
/// [`next`](Self::next) is at home in `tokio::select!` and under a time limit.
///
/// # Examples
/// ```
/// use millpond::{Engine, GraphBuilder, Topic};
/// # use millpond::changelog::MemoryChangelog;
/// # use std::sync::Arc;
/// # let changelog = Arc::new(MemoryChangelog::new());
///
/// let stock = Topic::<String, u32>::new("stock");
/// let graph = GraphBuilder::new();
/// let table = graph.table(&stock, "stock");
/// let engine = Engine::builder(&graph.build()?).in_memory().changelog(changelog).start()?;
/// engine.append(&stock, "apples", &3).wait_blocking()?;
/// engine.catch_up_blocking()?;
///
/// let (start, mut changes) = engine.view(&table)?.changes()?;
/// assert_eq!(start.get("apples")?, Some(3));
/// engine.delete(&stock, "apples").wait_blocking()?;
/// let epoch = changes.next_blocking().transpose()?.expect("the engine runs");
/// let change = &epoch.changes()[0];
/// assert_eq!((change.old, change.new), (Some(3), None));
/// assert!(changes.try_next()?.is_none(), "nothing else has happened");
///
/// engine.close_blocking()?;
/// assert!(changes.next_blocking().is_none(), "and nothing will");
/// # Ok::<(), millpond::Error>(())
/// ```
/// As a stream, for instance to answer an HTTP request with server-sent events, with the adaptors of `futures_util`:
/// ```
/// use futures_util::{StreamExt, TryStreamExt};
/// use millpond::{Engine, GraphBuilder, Topic};
/// # use millpond::changelog::MemoryChangelog;
/// # use std::sync::Arc;
/// # let changelog = Arc::new(MemoryChangelog::new());
///
/// # let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
/// # runtime.block_on(async {
/// let stock = Topic::<String, u32>::new("stock");
/// let graph = GraphBuilder::new();
/// let table = graph.table(&stock, "stock");
/// let engine = Engine::builder(&graph.build()?).in_memory().changelog(changelog).start()?;
/// let (_, changes) = engine.view(&table)?.changes()?;
/// engine.append(&stock, &"apples".to_owned(), &3).await?;
/// engine.append(&stock, &"apples".to_owned(), &5).await?;
/// engine.catch_up_blocking()?;
/// engine.close_blocking()?;
///
/// let lines = changes.map_ok(|epoch| {
///     epoch.changes().iter().map(|change| format!("{}: {:?}", change.key, change.new)).collect::<Vec<_>>()
/// });
/// let lines: Vec<Vec<String>> = lines.try_collect().await?;
/// assert_eq!(lines.concat().last().map(String::as_str), Some("apples: Some(5)"));
/// # Ok::<(), millpond::Error>(())
/// # })?;
/// # Ok::<(), millpond::Error>(())
/// ```
#[must_use = "a stream does nothing unless it is polled"]
pub struct ChangeStream<K, V> {
    table: Readable<K, V>,
    pushes: Pushes<K, V>,
    waiting: Waiting,
}

impl<K: Key, V: Value> ChangeStream<K, V> {
    pub(super) fn open(table: &Readable<K, V>) -> Result<(TableSnapshot<K, V>, Self)> {
        table.ask()?;
        table.shared().host().check_tells_changes(table.name())?;
        let _held = table.shared().hold_publishing();
        let start = Snapshot::capture(table.shared())?.table(table.clone());
        let pushes = table.add_stream();
        Ok((start, Self { table: table.clone(), pushes, waiting: Waiting::default() }))
    }

    /// The changes of the next epoch that has any, once it is published; `None` when the stream has ended. Views show them
    /// already.
    ///
    /// # Errors
    /// The reason of the stop if the engine has stopped; `Unavailable` if this subscriber fell too far behind, or the table
    /// was replaced by a newer version: subscribe again. `Invalid` for code of the graph itself. The stream has ended then.
    pub async fn next(&mut self) -> Option<Result<EpochChanges<K, V>>> {
        next(self).await
    }

    /// As [`next`](Self::next), for threads that may block.
    ///
    /// # Errors
    /// As there.
    pub fn next_blocking(&mut self) -> Option<Result<EpochChanges<K, V>>> {
        block_on_next(self)
    }

    /// The changes of the next epoch that has any, if they are there already.
    ///
    /// # Errors
    /// As for [`next`](Self::next), and `Closed` if the engine was closed.
    pub fn try_next(&mut self) -> Result<Option<EpochChanges<K, V>>> {
        match self.take() {
            Some(taken) => taken.map(Some),
            None => self.table.shared().check().map(|()| None),
        }
    }

    /// What there is to be told: an epoch, or why there will be none.
    fn take(&self) -> Option<Result<EpochChanges<K, V>>> {
        if let Err(error) = self.table.shared().host().id.check_outside() {
            return Some(Err(error));
        }
        match self.pushes.take() {
            Next::Changes(epoch) => Some(Ok(EpochChanges(epoch))),
            Next::Nothing => None,
            Next::CutOff => Some(Err(self.cut_off())),
            Next::Ended => Some(Err(ended(&self.table))),
        }
    }

    /// Why changes are missing. That the engine is closed is no reason: the stream must not end as if it were complete.
    fn cut_off(&self) -> Error {
        if let Status::Poisoned(_) = self.table.shared().status()
            && let Err(reason) = self.table.shared().check()
        {
            return reason;
        }
        Error::unavailable(format!(
            "a subscriber of table `{}` fell too far behind: of the {} bytes that may wait for all subscribers of \
             the engine it held most; subscribe again, and take changes faster or give the engine more memory",
            self.table.name(),
            self.table.limit()
        ))
    }
}

impl<K: Key, V: Value> Stream for ChangeStream<K, V> {
    type Item = Result<EpochChanges<K, V>>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        let mut waiting = std::mem::take(&mut this.waiting);
        let polled =
            waiting.poll(context, || this.pushes.notified(), || this.take(), || is_closed(&this.table));
        this.waiting = waiting;
        polled
    }
}

/// Nothing is pinned in it.
impl<K, V> Unpin for ChangeStream<K, V> {}

impl<K: Key, V: Value> fmt::Debug for ChangeStream<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChangeStream").field("table", self.table.name()).finish_non_exhaustive()
    }
}

/// Why no change of `table` will come any more.
fn ended<K: Key, V: Value>(table: &Readable<K, V>) -> Error {
    table.shared().check().err().unwrap_or_else(|| {
        let why = if table.shared().was_taken_back() {
            "another engine of the service has taken over, and what this one had not committed was taken back"
        } else {
            "it was replaced by a newer version"
        };
        Error::unavailable(format!("table `{}` tells no more changes: {why}; subscribe again", table.name()))
    })
}

/// Whether the engine of `table` was closed, without an error.
fn is_closed<K: Key, V: Value>(table: &Readable<K, V>) -> bool {
    matches!(table.shared().status(), Status::Closed)
}

/// The value of one key, and a [`Stream`] of the newest value after each change. The value that the key has at first is
/// [`current`](Self::current); the stream begins with the one that follows it.
///
/// If the key has changed more than once since the stream was last polled, it gives the newest value only: nothing waits
/// for a slow subscriber, and it is never cut off. Whoever needs every change of the key subscribes to all of them with
/// [`View::changes`](super::View::changes).
///
/// The stream ends (`None`) when the engine is closed. If the engine stops with an error, or if the table is replaced by a
/// newer version, the stream says so as an error and ends then; subscribe again in the last case.
///
/// # Cancel safety
/// Whoever stops waiting, at any time, loses nothing: the next call gives the newest value if an epoch has changed the key
/// since the one that [`current`](Self::current) is of.
///
/// # Examples
/// ```
/// use millpond::{Engine, GraphBuilder, Topic};
/// # use millpond::changelog::MemoryChangelog;
/// # use std::sync::Arc;
/// # let changelog = Arc::new(MemoryChangelog::new());
///
/// # let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
/// # runtime.block_on(async {
/// let stock = Topic::<String, u32>::new("stock");
/// let graph = GraphBuilder::new();
/// let table = graph.table(&stock, "stock");
/// let engine = Engine::builder(&graph.build()?).in_memory().changelog(changelog).start()?;
///
/// let mut apples = engine.view(&table)?.subscribe("apples")?;
/// assert_eq!(apples.current(), None);
/// engine.append(&stock, "pears", &1).await?;
/// engine.append(&stock, "apples", &2).await?;
/// assert_eq!(apples.next().await.transpose()?, Some(Some(2)));
/// engine.close_blocking()?;
/// assert_eq!(apples.next().await.transpose()?, None, "the engine is closed");
/// # Ok::<(), millpond::Error>(())
/// # })?;
/// # Ok::<(), millpond::Error>(())
/// ```
#[must_use = "a stream does nothing unless it is polled"]
pub struct KeyStream<K: Key, V: Value> {
    key: K,
    table: Readable<K, V>,
    slot: Arc<KeyWatch>,
    /// The epoch to which `current` belongs.
    seen: u64,
    current: Option<V>,
    waiting: Waiting,
}

impl<K: Key, V: Value> Drop for KeyStream<K, V> {
    fn drop(&mut self) {
        self.table.leave(&self.key);
    }
}

impl<K: Key, V: Value> KeyStream<K, V> {
    pub(super) fn open(table: &Readable<K, V>, key: &K) -> Result<Self> {
        table.ask()?;
        table.shared().host().check_tells_changes(table.name())?;
        let slot = {
            // Between this and the reading of the value lies no epoch of which the subscriber is not told.
            let _held = table.shared().hold_publishing();
            table.add_key(key)
        };
        let (key, table) = (key.clone(), table.clone());
        let mut stream = Self { key, table, slot, seen: 0, current: None, waiting: Waiting::default() };
        (stream.current, stream.seen) = stream.read()?;
        Ok(stream)
    }

    /// The value after the last change that was returned.
    #[must_use]
    pub fn current(&self) -> Option<&V> {
        self.current.as_ref()
    }

    /// The newest value of the key once an epoch has changed it since the [`current`](Self::current) one: `Some(Ok(None))` if it
    /// was deleted, and `None` when the stream has ended. Where several epochs have changed it and the last one has put it
    /// back, that is the current value again.
    ///
    /// # Errors
    /// The reason of the stop if the engine has stopped; `Unavailable` if the table was replaced by a newer version:
    /// subscribe again. `Invalid` for code of the graph itself; `Corrupt` if a stored row does not decode. The stream has
    /// ended then.
    pub async fn next(&mut self) -> Option<Result<Option<V>>> {
        next(self).await
    }

    /// As [`next`](Self::next), for threads that may block.
    ///
    /// # Errors
    /// As there.
    pub fn next_blocking(&mut self) -> Option<Result<Option<V>>> {
        block_on_next(self)
    }

    /// What there is to be told: a value, or why there will be none.
    fn news(&mut self) -> Option<Result<Option<V>>> {
        let shared = self.table.shared();
        if let Err(error) = shared.host().id.check_outside() {
            return Some(Err(error));
        }
        if shared.check().is_err() || self.table.have_ended() {
            return Some(Err(ended(&self.table)));
        }
        (self.slot.changed() > self.seen).then(|| {
            // If another table has taken its place meanwhile, its rows are gone.
            let is_gone = |error| if self.table.have_ended() { ended(&self.table) } else { error };
            let (value, epoch) = self.read().map_err(is_gone)?;
            self.seen = epoch;
            self.current.clone_from(&value);
            Ok(value)
        })
    }

    /// The value of the key, and an epoch at which it is that.
    fn read(&self) -> Result<(Option<V>, u64)> {
        if let Some((value, epoch)) = self.table.visible_at(&self.key)
            && !self.table.has_forgotten(&self.key)
        {
            return Ok((value, epoch));
        }
        // The snapshot is let go at once: as long as it lives, the store keeps what it shows.
        let snapshot = Snapshot::capture(self.table.shared())?;
        let epoch = snapshot.published.epoch;
        Ok((snapshot.table(self.table.clone()).get(&self.key)?, epoch))
    }
}

impl<K: Key, V: Value> Stream for KeyStream<K, V> {
    type Item = Result<Option<V>>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        let mut waiting = std::mem::take(&mut this.waiting);
        let (slot, table) = (Arc::clone(&this.slot), this.table.clone());
        let polled = waiting.poll(context, || slot.notified(), || this.news(), || is_closed(&table));
        this.waiting = waiting;
        polled
    }
}

/// Nothing is pinned in it.
impl<K: Key, V: Value> Unpin for KeyStream<K, V> {}

impl<K: Key + fmt::Debug, V: Value + fmt::Debug> fmt::Debug for KeyStream<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyStream")
            .field("table", self.table.name())
            .field("key", &self.key)
            .field("current", &self.current)
            .finish_non_exhaustive()
    }
}
