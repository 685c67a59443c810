//! Subscriptions: a state, then every change after it, pushed.
//!
//! The subscriber joins while no epoch can be published: the snapshot it gets and the first change it is sent have no
//! epoch between them and none in common.

use super::{Snapshot, TableSnapshot};
use crate::codec::{Key, Value};
use crate::dataflow::Change;
use crate::state::{Pushed, TableState};
use crate::{Error, Position, Result};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::mpsc;

/// The changes of one epoch, as they were published.
pub struct Published<K, V>(Arc<Pushed<K, V>>);

impl<K, V> Published<K, V> {
    /// The input that the table includes with these changes.
    #[must_use]
    pub fn position(&self) -> &Position {
        &self.0.position
    }

    /// At most one change per key, in ascending order of key.
    #[must_use]
    pub fn changes(&self) -> &[Change<K, V>] {
        &self.0.changes
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
/// engine.append(&stock, &"apples".to_owned(), &3).wait()?;
/// engine.catch_up()?;
///
/// let (start, mut changes) = engine.view(&table)?.changes()?;
/// assert_eq!(start.get(&"apples".to_owned())?, Some(3));
/// engine.delete(&stock, &"apples".to_owned()).wait()?;
/// engine.catch_up()?;
/// let published = changes.try_next()?.expect("an epoch was published");
/// let change = &published.changes()[0];
/// assert_eq!((change.old, change.new), (Some(3), None));
/// # Ok::<(), millpond::Error>(())
/// ```
pub struct ChangeStream<K, V> {
    table: Arc<TableState<K, V>>,
    receiver: mpsc::UnboundedReceiver<Arc<Pushed<K, V>>>,
    waiting: Arc<AtomicUsize>,
}

impl<K: Key, V: Value> ChangeStream<K, V> {
    pub(super) fn open(table: &Arc<TableState<K, V>>) -> Result<(TableSnapshot<K, V>, Self)> {
        let _held = table.shared().hold_publishing();
        let start = Snapshot::capture(table.shared())?.table(Arc::clone(table));
        let (receiver, waiting) = table.subscribers().add();
        Ok((start, Self { table: Arc::clone(table), receiver, waiting }))
    }

    /// The changes of the next epoch that has any. Views show them already.
    ///
    /// # Errors
    /// `Closed` or the reason of the stop when the engine has ended; `Unavailable` if this subscriber fell more than
    /// 1,048,576 changes behind, or the table was replaced by a newer version: subscribe again.
    pub async fn next(&mut self) -> Result<Published<K, V>> {
        let pushed = self.receiver.recv().await;
        self.taken(pushed)
    }

    /// The changes of the next epoch that has any, if they are there already.
    ///
    /// # Errors
    /// As for [`next`](Self::next).
    pub fn try_next(&mut self) -> Result<Option<Published<K, V>>> {
        match self.receiver.try_recv() {
            Ok(pushed) => self.taken(Some(pushed)).map(Some),
            Err(mpsc::error::TryRecvError::Empty) => self.table.shared().check().map(|()| None),
            Err(mpsc::error::TryRecvError::Disconnected) => self.taken(None).map(Some),
        }
    }

    fn taken(&self, pushed: Option<Arc<Pushed<K, V>>>) -> Result<Published<K, V>> {
        if let Some(pushed) = pushed {
            self.waiting.fetch_sub(pushed.changes.len(), Ordering::AcqRel);
            return Ok(Published(pushed));
        }
        let table = &self.table;
        table.shared().check()?;
        Err(Error::unavailable(format!(
            "a subscriber of table `{}` fell too far behind, or the table was replaced by a newer version; \
             subscribe again",
            table.name()
        )))
    }
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
/// let mut apples = engine.view(&table)?.subscribe(&"apples".to_owned())?;
/// assert_eq!(apples.current(), None);
/// engine.append(&stock, &"pears".to_owned(), &1).await?;
/// engine.append(&stock, &"apples".to_owned(), &2).await?;
/// assert_eq!(apples.next().await?, Some(2));
/// # Ok::<(), millpond::Error>(())
/// # })?;
/// # Ok::<(), millpond::Error>(())
/// ```
pub struct KeyStream<K, V> {
    key: K,
    changes: ChangeStream<K, V>,
    current: Option<V>,
}

impl<K: Key, V: Value> KeyStream<K, V> {
    pub(super) fn open(table: &Arc<TableState<K, V>>, key: &K) -> Result<Self> {
        // The snapshot is let go at once: as long as it lives, the store keeps what it shows.
        let (start, changes) = ChangeStream::open(table)?;
        let current = start.get(key)?;
        Ok(Self { key: key.clone(), changes, current })
    }

    /// The value after the last change that was returned.
    #[must_use]
    pub fn current(&self) -> Option<&V> {
        self.current.as_ref()
    }

    /// Waits for the next epoch that changes the key, and returns its new value (`None` if it was deleted).
    ///
    /// # Errors
    /// As for [`ChangeStream::next`].
    pub async fn next(&mut self) -> Result<Option<V>> {
        loop {
            let published = self.changes.next().await?;
            let found = published.changes().binary_search_by(|change| change.key.cmp(&self.key));
            if let Some(change) = found.ok().and_then(|index| published.changes().get(index)) {
                self.current.clone_from(&change.new);
                return Ok(change.new.clone());
            }
        }
    }
}
