//! The table that a reader asks: its rows as readers are shown them.
//!
//! Most tables show what they store. A group's row has the number of its members beside the value, and that of a key with an alarm
//! when it is due, of which nobody is told. The kinds are told apart here and nowhere above: views, snapshots, scans and subscriptions know one type of value.

use crate::codec::{Alarmed, Grouped, Key, Value};
use crate::flow::{Change, Router, TableIndex, TableRef};
use crate::state::{AnyTable, KeyWatch, Next, Pushed, Queue, Seen, TableState, Taken, TaskState};
use crate::store::layout::TableId;
use crate::{Error, Result};
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use tokio::sync::futures::OwnedNotified;

/// What is stored of a row.
#[derive(Clone, Copy)]
enum Kind {
    Whole,
    Groups,
    Alarmed,
}

/// Names a table whose rows can be asked, together with what they show.
pub struct StoredRef<K, V> {
    index: TableIndex,
    kind: Kind,
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
        Self { index: table.index(), kind: Kind::Groups, types: PhantomData }
    }

    /// `table` as it shows the values of its rows, without their alarms.
    #[must_use]
    pub fn of_alarmed(table: TableRef<K, Alarmed<V>>) -> Self {
        Self { index: table.index(), kind: Kind::Alarmed, types: PhantomData }
    }

    /// The table without its types.
    #[must_use]
    pub fn index(&self) -> TableIndex {
        self.index
    }
}

impl<K, V> From<TableRef<K, V>> for StoredRef<K, V> {
    fn from(table: TableRef<K, V>) -> Self {
        Self { index: table.index(), kind: Kind::Whole, types: PhantomData }
    }
}

/// A table, by the kind of its rows.
pub(crate) enum Readable<K, V> {
    Whole(Arc<TableState<K, V>>),
    Groups(Arc<TableState<K, Grouped<V>>>),
    Alarmed(Arc<TableState<K, Alarmed<V>>>),
}

impl<K, V> Clone for Readable<K, V> {
    fn clone(&self) -> Self {
        match self {
            Self::Whole(table) => Self::Whole(Arc::clone(table)),
            Self::Groups(table) => Self::Groups(Arc::clone(table)),
            Self::Alarmed(table) => Self::Alarmed(Arc::clone(table)),
        }
    }
}

/// The same of any kind of table.
macro_rules! any {
    ($readable:expr, $table:ident => $answer:expr) => {
        match $readable {
            Readable::Whole($table) => $answer,
            Readable::Groups($table) => $answer,
            Readable::Alarmed($table) => $answer,
        }
    };
}

impl<K, V> Readable<K, V> {
    pub(crate) fn name(&self) -> &Arc<str> {
        any!(self, table => table.name())
    }
}

impl<K: Key, V: Value> Readable<K, V> {
    /// `table`, which `stored` names, with its types.
    ///
    /// # Errors
    /// `Internal` if it has others.
    pub(crate) fn of(table: Arc<dyn AnyTable>, stored: StoredRef<K, V>, name: &str) -> Result<Self> {
        let table = table.as_any();
        let found = match stored.kind {
            Kind::Whole => table.downcast().map(Self::Whole),
            Kind::Groups => table.downcast().map(Self::Groups),
            Kind::Alarmed => table.downcast().map(Self::Alarmed),
        };
        found.map_err(|_| Error::internal(format!("table `{name}` has other types")))
    }

    #[inline]
    pub(crate) fn shared(&self) -> &Arc<TaskState> {
        any!(self, table => table.shared())
    }

    pub(crate) fn table_id(&self) -> TableId {
        any!(self, table => table.table_id())
    }

    /// As [`TableState::since`].
    pub(crate) fn since(&self) -> u64 {
        any!(self, table => table.since())
    }

    /// As [`TableState::ask`].
    #[inline]
    pub(crate) fn ask(&self) -> Result<()> {
        any!(self, table => table.ask())
    }

    /// As [`TableState::row_key`].
    pub(crate) fn row_key(&self, key: &K) -> Vec<u8> {
        any!(self, table => table.row_key(key))
    }

    /// As [`TableState::has_forgotten`].
    #[inline]
    pub(crate) fn has_forgotten(&self, key: &K) -> bool {
        any!(self, table => table.has_forgotten(key))
    }

    /// As [`TableState::visible`].
    #[inline]
    pub(crate) fn visible(&self, key: &K, router: Router) -> Seen<Option<V>> {
        match self {
            Self::Whole(table) => table.visible(key, router, V::clone),
            Self::Groups(table) => table.visible(key, router, |row| row.value.clone()),
            Self::Alarmed(table) => table.visible(key, router, |row| row.value.clone()),
        }
    }

    /// As [`TableState::visible_at`].
    pub(crate) fn visible_at(&self, key: &K) -> Option<(Option<V>, u64)> {
        match self {
            Self::Whole(table) => table.visible_at(key, V::clone),
            Self::Groups(table) => table.visible_at(key, |row| row.value.clone()),
            Self::Alarmed(table) => table.visible_at(key, |row| row.value.clone()),
        }
    }

    /// As [`TableState::decode`].
    pub(crate) fn decode(&self, key: &K, bytes: &[u8]) -> Result<V> {
        match self {
            Self::Whole(table) => table.decode(key, bytes),
            Self::Groups(table) => Ok(table.decode(key, bytes)?.value),
            Self::Alarmed(table) => Ok(table.decode(key, bytes)?.value),
        }
    }

    /// As [`TableState::decode_row`].
    pub(crate) fn decode_row(&self, row: &[u8], value: &[u8]) -> Result<(K, V)> {
        match self {
            Self::Whole(table) => table.decode_row(row, value),
            Self::Groups(table) => table.decode_row(row, value).map(|(key, row)| (key, row.value)),
            Self::Alarmed(table) => table.decode_row(row, value).map(|(key, row)| (key, row.value)),
        }
    }

    /// Adds a stream of changes. The caller keeps epochs from being published meanwhile.
    pub(super) fn add_stream(&self) -> Pushes<K, V> {
        match self {
            Self::Whole(table) => Pushes::Whole(table.subscribers().add_stream()),
            Self::Groups(table) => Pushes::Groups(table.subscribers().add_stream()),
            Self::Alarmed(table) => Pushes::Alarmed(table.subscribers().add_stream()),
        }
    }

    /// Adds a subscriber of `key`, who [leaves](Self::leave) again. The caller keeps epochs from being published meanwhile.
    pub(super) fn add_key(&self, key: &K) -> Arc<KeyWatch> {
        any!(self, table => table.subscribers().add_key(key))
    }

    /// Takes a subscriber of `key` out again.
    pub(super) fn leave(&self, key: &K) {
        any!(self, table => table.subscribers().leave(key));
    }

    /// Whether no change will come any more.
    pub(super) fn have_ended(&self) -> bool {
        any!(self, table => table.subscribers().have_ended())
    }

    /// How many bytes of changes may wait for all streams of the engine.
    pub(super) fn limit(&self) -> usize {
        any!(self, table => table.subscribers().limit())
    }
}

/// What is pushed to a stream of changes.
pub(super) enum Pushes<K, V> {
    Whole(Arc<Queue<K, V>>),
    Groups(Arc<Queue<K, Grouped<V>>>),
    Alarmed(Arc<Queue<K, Alarmed<V>>>),
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
            Self::Alarmed(queue) => queue.notified(),
        }
    }

    /// As [`Queue::take`].
    pub(super) fn take(&self) -> Next<Epoch<K, V>> {
        match self {
            Self::Whole(queue) => queue.take().map(Epoch::Shared),
            Self::Groups(queue) => {
                queue.take().map(|taken| Epoch::Made(shown(taken.pushed(), |row| &row.value)))
            }
            Self::Alarmed(queue) => {
                queue.take().map(|taken| Epoch::Made(shown(taken.pushed(), |row| &row.value)))
            }
        }
    }
}

/// What the changes of rows show, of each of which `of` is shown.
fn shown<K: Key, R: Value, V: Value>(pushed: &Pushed<K, R>, of: impl Fn(&R) -> &V) -> Pushed<K, V> {
    let value = |row: &Option<R>| row.as_ref().map(|row| of(row).clone());
    let change = |change: &Change<K, R>| Change {
        key: change.key.clone(),
        old: value(&change.old),
        new: value(&change.new),
        stamp: change.stamp,
    };
    Pushed { position: pushed.position.clone(), changes: pushed.changes.iter().map(change).collect() }
}
