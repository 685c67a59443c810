//! The subscribers of a table: every epoch's changes, pushed as they are published.
//!
//! Invariant: a subscriber gets every epoch after the one it joined at, in order and once. One that falls too far
//! behind is cut off rather than skipped over, and learns of it.

use crate::Position;
use crate::dataflow::Change;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::mpsc;

/// How many changes may wait for a subscriber, beside those of one epoch.
const MAX_WAITING_CHANGES: usize = 1 << 20;

/// The changes of one epoch.
pub(crate) struct Pushed<K, V> {
    pub(crate) position: Position,
    /// In ascending order of key.
    pub(crate) changes: Vec<Change<K, V>>,
}

type Sender<K, V> = mpsc::UnboundedSender<Arc<Pushed<K, V>>>;
pub(crate) type Receiver<K, V> = mpsc::UnboundedReceiver<Arc<Pushed<K, V>>>;

/// A queue and how many changes wait in it.
type Subscriber<K, V> = (Sender<K, V>, Arc<AtomicUsize>);

/// Everyone who wants to know of changes.
pub(crate) struct Subscribers<K, V> {
    senders: Mutex<Vec<Subscriber<K, V>>>,
    count: AtomicUsize,
}

impl<K, V> Default for Subscribers<K, V> {
    fn default() -> Self {
        Self { senders: Mutex::default(), count: AtomicUsize::new(0) }
    }
}

impl<K, V> Subscribers<K, V> {
    /// Adds a subscriber; the counter is how many changes wait for it, which it lowers as it takes them.
    pub(crate) fn add(&self) -> (Receiver<K, V>, Arc<AtomicUsize>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let mut senders = self.senders.lock().unwrap_or_else(PoisonError::into_inner);
        senders.push((sender, Arc::clone(&waiting)));
        self.count.store(senders.len(), Ordering::Release);
        (receiver, waiting)
    }

    /// Ends every subscription: no change will come any more.
    pub(crate) fn close(&self) {
        self.senders.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.count.store(0, Ordering::Release);
    }

    /// Hands the changes of an epoch to everyone; they are collected only if there is someone.
    pub(crate) fn publish(&self, position: &Position, changes: impl FnOnce() -> Vec<Change<K, V>>) {
        if self.count.load(Ordering::Acquire) == 0 {
            return;
        }
        let pushed = Arc::new(Pushed { position: position.clone(), changes: changes() });
        if pushed.changes.is_empty() {
            return;
        }
        let mut senders = self.senders.lock().unwrap_or_else(PoisonError::into_inner);
        senders.retain(|(sender, waiting)| {
            waiting.fetch_add(pushed.changes.len(), Ordering::AcqRel) < MAX_WAITING_CHANGES
                && sender.send(Arc::clone(&pushed)).is_ok()
        });
        self.count.store(senders.len(), Ordering::Release);
    }
}
