//! The table that a reader asks: its rows as readers are shown them.
//!
//! Most tables show what they store. A group's row has the number of its members beside the value, of which nobody is told.
//! The two kinds are told apart here and nowhere above: views, snapshots, scans and subscriptions know one type of value.

use crate::codec::{Grouped, Key, Value};
use crate::flow::{Change, Router, TableIndex, TableRef};
use crate::state::{AnyTable, KeyWatch, Next, Pushed, Queue, Seen, TableState, Taken, TaskState};
use crate::store::layout::TableId;
use crate::{Error, Result};
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use tokio::sync::futures::OwnedNotified;

/// Names a table whose rows can be asked, together with what they show.
pub struct StoredRef<K, V> {
    index: TableIndex,
    of_groups: bool,
    types: PhantomData<fn() -> (K, V)>,
}

impl<K, V> Clone for StoredRef<K, V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K, V> Copy for StoredRef<K, V> {}

impl<K, V> fmt::Debug for StoredRef<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredRef").field("table", &self.index.index).finish_non_exhaustive()
    }
}

impl<K, V> StoredRef<K, V> {
    /// `table` as it shows the values of its groups, without the number of their members.
    #[must_use]
    pub fn of_groups(table: TableRef<K, Grouped<V>>) -> Self {
        Self { index: table.index(), of_groups: true, types: PhantomData }
    }

    /// The table without its types.
    #[must_use]
    pub fn index(&self) -> TableIndex {
        self.index
    }
}

impl<K, V> From<TableRef<K, V>> for StoredRef<K, V> {
    fn from(table: TableRef<K, V>) -> Self {
        Self { index: table.index(), of_groups: false, types: PhantomData }
    }
}

/// A table, by the kind of its rows.
pub(crate) enum Readable<K, V> {
    Whole(Arc<TableState<K, V>>),
    Groups(Arc<TableState<K, Grouped<V>>>),
}

impl<K, V> Clone for Readable<K, V> {
    fn clone(&self) -> Self {
        match self {
            Self::Whole(table) => Self::Whole(Arc::clone(table)),
            Self::Groups(table) => Self::Groups(Arc::clone(table)),
        }
    }
}

/// The same of either kind of table.
macro_rules! either {
    ($readable:expr, $table:ident => $answer:expr) => {
        match $readable {
            Readable::Whole($table) => $answer,
            Readable::Groups($table) => $answer,
        }
    };
}

impl<K, V> Readable<K, V> {
    pub(crate) fn name(&self) -> &Arc<str> {
        either!(self, table => table.name())
    }
}

impl<K: Key, V: Value> Readable<K, V> {
    /// `table`, which `stored` names, with its types.
    ///
    /// # Errors
    /// `Internal` if it has others.
    pub(crate) fn of(table: Arc<dyn AnyTable>, stored: StoredRef<K, V>, name: &str) -> Result<Self> {
        let table = table.as_any();
        let found = if stored.of_groups {
            table.downcast().map(Self::Groups)
        } else {
            table.downcast().map(Self::Whole)
        };
        found.map_err(|_| Error::internal(format!("table `{name}` has other types")))
    }

    #[inline]
    pub(crate) fn shared(&self) -> &Arc<TaskState> {
        either!(self, table => table.shared())
    }

    pub(crate) fn table_id(&self) -> TableId {
        either!(self, table => table.table_id())
    }

    /// As [`TableState::since`].
    pub(crate) fn since(&self) -> u64 {
        either!(self, table => table.since())
    }

    /// As [`TableState::ask`].
    #[inline]
    pub(crate) fn ask(&self) -> Result<()> {
        either!(self, table => table.ask())
    }

    /// As [`TableState::row_key`].
    pub(crate) fn row_key(&self, key: &K) -> Vec<u8> {
        either!(self, table => table.row_key(key))
    }

    /// As [`TableState::has_forgotten`].
    #[inline]
    pub(crate) fn has_forgotten(&self, key: &K) -> bool {
        either!(self, table => table.has_forgotten(key))
    }

    /// As [`TableState::visible`].
    #[inline]
    pub(crate) fn visible(&self, key: &K, router: Router) -> Seen<Option<V>> {
        match self {
            Self::Whole(table) => table.visible(key, router, V::clone),
            Self::Groups(table) => table.visible(key, router, |row| row.value.clone()),
        }
    }

    /// As [`TableState::visible_at`].
    pub(crate) fn visible_at(&self, key: &K) -> Option<(Option<V>, u64)> {
        match self {
            Self::Whole(table) => table.visible_at(key, V::clone),
            Self::Groups(table) => table.visible_at(key, |row| row.value.clone()),
        }
    }

    /// As [`TableState::decode`].
    pub(crate) fn decode(&self, key: &K, bytes: &[u8]) -> Result<V> {
        match self {
            Self::Whole(table) => table.decode(key, bytes),
            Self::Groups(table) => Ok(table.decode(key, bytes)?.value),
        }
    }

    /// As [`TableState::decode_row`].
    pub(crate) fn decode_row(&self, row: &[u8], value: &[u8]) -> Result<(K, V)> {
        match self {
            Self::Whole(table) => table.decode_row(row, value),
            Self::Groups(table) => table.decode_row(row, value).map(|(key, row)| (key, row.value)),
        }
    }

    /// Adds a stream of changes. The caller keeps epochs from being published meanwhile.
    pub(super) fn add_stream(&self) -> Pushes<K, V> {
        match self {
            Self::Whole(table) => Pushes::Whole(table.subscribers().add_stream()),
            Self::Groups(table) => Pushes::Groups(table.subscribers().add_stream()),
        }
    }

    /// Adds a subscriber of `key`, who [leaves](Self::leave) again. The caller keeps epochs from being published meanwhile.
    pub(super) fn add_key(&self, key: &K) -> Arc<KeyWatch> {
        either!(self, table => table.subscribers().add_key(key))
    }

    /// Takes a subscriber of `key` out again.
    pub(super) fn leave(&self, key: &K) {
        either!(self, table => table.subscribers().leave(key));
    }

    /// Whether no change will come any more.
    pub(super) fn have_ended(&self) -> bool {
        either!(self, table => table.subscribers().have_ended())
    }

    /// How many bytes of changes may wait for all streams of the engine.
    pub(super) fn limit(&self) -> usize {
        either!(self, table => table.subscribers().limit())
    }
}

/// What is pushed to a stream of changes.
pub(super) enum Pushes<K, V> {
    Whole(Arc<Queue<K, V>>),
    Groups(Arc<Queue<K, Grouped<V>>>),
}

/// The changes of one epoch: shared with other subscribers, or made for this one.
pub(super) enum Epoch<K, V> {
    Shared(Taken<K, V>),
    Made(Pushed<K, V>),
}

impl<K, V> Epoch<K, V> {
    pub(super) fn pushed(&self) -> &Pushed<K, V> {
        match self {
            Self::Shared(taken) => taken.pushed(),
            Self::Made(pushed) => pushed,
        }
    }
}

impl<K: Key, V: Value> Pushes<K, V> {
    /// As [`Queue::notified`].
    pub(super) fn notified(&self) -> OwnedNotified {
        match self {
            Self::Whole(queue) => queue.notified(),
            Self::Groups(queue) => queue.notified(),
        }
    }

    /// As [`Queue::take`].
    pub(super) fn take(&self) -> Next<Epoch<K, V>> {
        match self {
            Self::Whole(queue) => queue.take().map(Epoch::Shared),
            Self::Groups(queue) => queue.take().map(|taken| Epoch::Made(shown(taken.pushed()))),
        }
    }
}

/// What the changes of groups show.
fn shown<K: Key, V: Value>(pushed: &Pushed<K, Grouped<V>>) -> Pushed<K, V> {
    let value = |row: &Option<Grouped<V>>| row.as_ref().map(|row| row.value.clone());
    let change = |change: &Change<K, Grouped<V>>| Change {
        key: change.key.clone(),
        old: value(&change.old),
        new: value(&change.new),
        stamp: change.stamp,
    };
    Pushed { position: pushed.position.clone(), changes: pushed.changes.iter().map(change).collect() }
}
