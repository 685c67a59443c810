//! Subscriptions: a state, then every change after it.
//!
//! The subscriber joins while no epoch can be published: the snapshot it gets and the first change it is sent have no
//! epoch between them and none in common. A subscriber of a key is told of epochs only, and reads the value together
//! with the epoch that it belongs to: what it is told of that epoch or an earlier one is not news.

use super::{Snapshot, TableSnapshot};
use crate::codec::{Key, Value};
use crate::flow::Change;
use crate::state::{Next, Queue, Slot, TableState, Taken};
use crate::{Error, Position, Result};
use std::sync::Arc;

/// The changes of one epoch, as they were published.
pub struct Published<K, V>(Taken<K, V>);

impl<K, V> Published<K, V> {
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

/// Every change of a table after a snapshot of it.
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
/// engine.catch_up_blocking()?;
/// let published = changes.try_next()?.expect("an epoch was published");
/// let change = &published.changes()[0];
/// assert_eq!((change.old, change.new), (Some(3), None));
/// # Ok::<(), millpond::Error>(())
/// ```
pub struct ChangeStream<K, V> {
    table: Arc<TableState<K, V>>,
    queue: Arc<Queue<K, V>>,
}

impl<K: Key, V: Value> ChangeStream<K, V> {
    pub(super) fn open(table: &Arc<TableState<K, V>>) -> Result<(TableSnapshot<K, V>, Self)> {
        table.ask()?;
        let _held = table.shared().hold_publishing();
        let start = Snapshot::capture(table.shared())?.table(Arc::clone(table));
        let queue = table.subscribers().add_stream();
        Ok((start, Self { table: Arc::clone(table), queue }))
    }

    /// The changes of the next epoch that has any. Views show them already.
    ///
    /// What waits for all streams of an engine is bounded: see [`Memory`](crate::Memory). When it is exceeded, the stream
    /// for which most is waiting is cut off; one that has taken everything before the newest epoch never is.
    ///
    /// # Errors
    /// `Closed` or the reason of the stop when the engine has ended; `Unavailable` if this subscriber fell too far
    /// behind, or the table was replaced by a newer version: subscribe again. `Invalid` for code of the graph itself.
    pub async fn next(&mut self) -> Result<Published<K, V>> {
        loop {
            let notified = self.queue.notified();
            if let Some(published) = self.take()? {
                return Ok(published);
            }
            notified.await;
        }
    }

    /// The changes of the next epoch that has any, if they are there already.
    ///
    /// # Errors
    /// As for [`next`](Self::next).
    pub fn try_next(&mut self) -> Result<Option<Published<K, V>>> {
        match self.take()? {
            Some(published) => Ok(Some(published)),
            None => self.table.shared().check().map(|()| None),
        }
    }

    fn take(&self) -> Result<Option<Published<K, V>>> {
        self.table.shared().host().id.check_outside()?;
        match self.queue.take() {
            Next::Changes(taken) => Ok(Some(Published(taken))),
            Next::Nothing => Ok(None),
            Next::CutOff => {
                self.table.shared().check()?;
                Err(Error::unavailable(format!(
                    "a subscriber of table `{}` fell too far behind: of the {} bytes that may wait for all subscribers of \
                     the engine it held most; subscribe again, and take changes faster or give the engine more memory",
                    self.table.name(),
                    self.table.subscribers().limit()
                )))
            }
            Next::Ended => Err(ended(&self.table)),
        }
    }
}

/// Why no change of `table` will come any more.
fn ended<K: Key, V: Value>(table: &TableState<K, V>) -> Error {
    table.shared().check().err().unwrap_or_else(|| {
        Error::unavailable(format!(
            "table `{}` was replaced by a newer version; subscribe again",
            table.name()
        ))
    })
}

/// Every value of one key, beginning with the one it has.
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
/// assert_eq!(apples.next().await?, Some(2));
/// # Ok::<(), millpond::Error>(())
/// # })?;
/// # Ok::<(), millpond::Error>(())
/// ```
pub struct KeyStream<K, V> {
    key: K,
    table: Arc<TableState<K, V>>,
    slot: Arc<Slot>,
    /// The epoch to which `current` belongs.
    seen: u64,
    current: Option<V>,
    _leaves: Leaves,
}

/// Takes the subscriber out of its table when it is dropped.
struct Leaves(Option<Box<dyn FnOnce() + Send + Sync>>);

impl Drop for Leaves {
    fn drop(&mut self) {
        if let Some(leave) = self.0.take() {
            leave();
        }
    }
}

impl<K: Key, V: Value> KeyStream<K, V> {
    pub(super) fn open(table: &Arc<TableState<K, V>>, key: &K) -> Result<Self> {
        table.ask()?;
        let slot = {
            // Between this and the reading of the value lies no epoch of which the subscriber is not told.
            let _held = table.shared().hold_publishing();
            table.subscribers().add_key(key)
        };
        let leaves = {
            let (table, key, slot) = (Arc::downgrade(table), key.clone(), Arc::downgrade(&slot));
            Leaves(Some(Box::new(move || {
                if let Some(table) = table.upgrade() {
                    table.subscribers().leave(&key, &slot);
                }
            })))
        };
        let (key, table) = (key.clone(), Arc::clone(table));
        let mut stream = Self { key, table, slot, seen: 0, current: None, _leaves: leaves };
        (stream.current, stream.seen) = read(&stream.table, &stream.key)?;
        Ok(stream)
    }

    /// The value after the last change that was returned.
    #[must_use]
    pub fn current(&self) -> Option<&V> {
        self.current.as_ref()
    }

    /// Waits for the next epoch that changes the key, and returns its new value (`None` if it was deleted). If the key
    /// has changed more than once meanwhile, that is its newest value: nothing waits for a slow subscriber, and it is
    /// never cut off.
    ///
    /// # Errors
    /// `Closed` or the reason of the stop when the engine has ended; `Unavailable` if the table was replaced by a newer
    /// version: subscribe again. `Invalid` for code of the graph itself; `Corrupt` if a stored row does not decode.
    pub async fn next(&mut self) -> Result<Option<V>> {
        loop {
            let notified = self.slot.notified();
            self.table.shared().host().id.check_outside()?;
            if self.table.shared().check().is_err() || self.table.subscribers().have_ended() {
                return Err(ended(&self.table));
            }
            if self.slot.changed() > self.seen {
                let (value, epoch) = read(&self.table, &self.key)?;
                self.seen = epoch;
                self.current.clone_from(&value);
                return Ok(value);
            }
            notified.await;
        }
    }
}

/// The value of `key`, and an epoch at which it is that.
fn read<K: Key, V: Value>(table: &Arc<TableState<K, V>>, key: &K) -> Result<(Option<V>, u64)> {
    if let Some(found) = table.visible_at(key) {
        return Ok(found);
    }
    // The snapshot is let go at once: as long as it lives, the store keeps what it shows.
    let snapshot = Snapshot::capture(table.shared())?;
    let epoch = snapshot.published.epoch;
    Ok((snapshot.table(Arc::clone(table)).get(key)?, epoch))
}
