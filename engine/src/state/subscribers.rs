//! The subscribers of a table: of all its changes, and of single keys.
//!
//! Invariants: a stream of changes gets those of every epoch after the one it joined at, in order and once; what waits
//! for streams is bounded ([`Allowance`]), and one that has fallen too far behind is cut off and learns of it. A
//! subscriber of a key is told that the key has changed, and reads the value when it comes to it: nothing waits for it
//! but the number of an epoch, so it is never cut off, and one that is slow finds the newest value.
//!
//! An epoch costs what changed or what is subscribed to, whichever is less, and nothing without subscribers.

use super::allowance::{Allowance, CountedItem, Queued, WaitingItem};
use super::hot::KeyedHash;
use crate::Position;
use crate::flow::Change;
use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;

/// The changes of one epoch.
pub(crate) struct Pushed<K, V> {
    pub(crate) position: Position,
    /// In ascending order of key.
    pub(crate) changes: Vec<Change<K, V>>,
}

/// The changes of one epoch, out of every queue.
pub(crate) struct Taken<K, V>(Arc<CountedItem<Pushed<K, V>>>);

impl<K, V> Taken<K, V> {
    pub(crate) fn pushed(&self) -> &Pushed<K, V> {
        &self.0.item
    }
}

/// What a queue has for its subscriber.
pub(crate) enum Next<T> {
    Changes(T),
    Nothing,
    /// The subscriber fell too far behind.
    CutOff,
    /// No change will come any more.
    Ended,
}

impl<T> Next<T> {
    pub(crate) fn map<U>(self, map: impl FnOnce(T) -> U) -> Next<U> {
        match self {
            Self::Changes(changes) => Next::Changes(map(changes)),
            Self::Nothing => Next::Nothing,
            Self::CutOff => Next::CutOff,
            Self::Ended => Next::Ended,
        }
    }
}

/// The epochs that wait for one stream of changes.
pub(crate) struct Queue<K, V> {
    state: Mutex<Unread<K, V>>,
    notify: Arc<Notify>,
}

struct Unread<K, V> {
    epochs: VecDeque<WaitingItem<Pushed<K, V>>>,
    bytes: usize,
    cut_off: bool,
    ended: bool,
}

impl<K, V> Queue<K, V> {
    fn new() -> Self {
        let state = Unread { epochs: VecDeque::new(), bytes: 0, cut_off: false, ended: false };
        Self { state: Mutex::new(state), notify: Arc::default() }
    }

    fn state(&self) -> MutexGuard<'_, Unread<K, V>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, pushed: WaitingItem<Pushed<K, V>>) {
        let mut state = self.state();
        if !state.cut_off {
            state.bytes += pushed.counted().bytes;
            state.epochs.push_back(pushed);
        }
        drop(state);
        self.notify.notify_one();
    }

    fn end(&self) {
        self.state().ended = true;
        self.notify.notify_one();
    }

    /// Resolves when there may be more; made before [`take`](Self::take) is asked, so that nothing is missed.
    pub(crate) fn notified(&self) -> OwnedNotified {
        Arc::clone(&self.notify).notified_owned()
    }

    /// Takes the oldest epoch out.
    pub(crate) fn take(&self) -> Next<Taken<K, V>> {
        let mut state = self.state();
        let Some(oldest) = state.epochs.pop_front() else {
            return match (state.cut_off, state.ended) {
                (true, _) => Next::CutOff,
                (false, true) => Next::Ended,
                (false, false) => Next::Nothing,
            };
        };
        state.bytes -= oldest.counted().bytes;
        Next::Changes(Taken(Arc::clone(oldest.counted())))
    }
}

impl<K: Send + Sync, V: Send + Sync> Queued for Queue<K, V> {
    fn waiting_bytes(&self, epoch: u64) -> usize {
        let state = self.state();
        let behind = state.epochs.front().is_some_and(|oldest| oldest.counted().epoch < epoch);
        if behind { state.bytes } else { 0 }
    }

    fn cut_off(&self) {
        let mut state = self.state();
        state.cut_off = true;
        state.bytes = 0;
        let given_up = std::mem::take(&mut state.epochs);
        drop(state);
        drop(given_up);
        self.notify.notify_one();
    }
}

/// The last change of a key that someone subscribes to.
pub(crate) struct KeyWatch {
    /// The last epoch that changed the key.
    changed: AtomicU64,
    notify: Arc<Notify>,
}

impl KeyWatch {
    fn tell(&self, epoch: u64) {
        self.changed.store(epoch, Ordering::Release);
        self.notify.notify_waiters();
    }

    /// The last epoch of which the subscribers were told.
    pub(crate) fn changed(&self) -> u64 {
        self.changed.load(Ordering::Acquire)
    }

    /// Resolves when there may be more; made before [`changed`](Self::changed) is asked.
    pub(crate) fn notified(&self) -> OwnedNotified {
        Arc::clone(&self.notify).notified_owned()
    }
}

/// The slot of a key, and how many subscribers it has.
type Slots<K> = HashMap<K, (Arc<KeyWatch>, usize), KeyedHash>;

/// Everyone who wants to know of changes.
pub(crate) struct Subscribers<K, V> {
    streams: Mutex<Vec<Weak<Queue<K, V>>>>,
    keys: Mutex<Slots<K>>,
    /// How many streams and keys there are: nothing else is looked at if there are none.
    count: AtomicUsize,
    ended: AtomicBool,
    allowance: Arc<Allowance>,
}

impl<K, V> Subscribers<K, V> {
    pub(crate) fn new(allowance: Arc<Allowance>) -> Self {
        Self {
            streams: Mutex::default(),
            keys: Mutex::default(),
            count: AtomicUsize::new(0),
            ended: AtomicBool::new(false),
            allowance,
        }
    }

    /// How many bytes of changes may wait for all streams of the engine.
    pub(crate) fn limit(&self) -> usize {
        self.allowance.limit()
    }

    /// Whether no change will come any more.
    pub(crate) fn have_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    fn keys(&self) -> MutexGuard<'_, Slots<K>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn streams(&self) -> MutexGuard<'_, Vec<Weak<Queue<K, V>>>> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends every subscription: no change will come any more.
    pub(crate) fn close(&self) {
        self.ended.store(true, Ordering::Release);
        for queue in self.streams().iter().filter_map(Weak::upgrade) {
            queue.end();
        }
        self.keys().values().for_each(|(slot, _)| slot.notify.notify_waiters());
    }
}

impl<K, V> Subscribers<K, V>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    /// Adds a stream of changes. The caller keeps epochs from being published meanwhile.
    pub(crate) fn add_stream(&self) -> Arc<Queue<K, V>> {
        let queue = Arc::new(Queue::new());
        let weak = Arc::downgrade(&queue);
        self.allowance.add(Weak::clone(&weak) as Weak<dyn Queued>);
        self.streams().push(weak);
        self.count.fetch_add(1, Ordering::AcqRel);
        if self.have_ended() {
            queue.end();
        }
        queue
    }

    /// Adds a subscriber of `key`. The caller keeps epochs from being published meanwhile, and takes the subscriber
    /// out with [`leave`](Self::leave).
    pub(crate) fn add_key(&self, key: &K) -> Arc<KeyWatch> {
        let mut keys = self.keys();
        if let Some((slot, subscribers)) = keys.get_mut(key) {
            *subscribers += 1;
            return Arc::clone(slot);
        }
        let slot = Arc::new(KeyWatch { changed: AtomicU64::new(0), notify: Arc::default() });
        keys.insert(key.clone(), (Arc::clone(&slot), 1));
        self.count.fetch_add(1, Ordering::AcqRel);
        slot
    }

    /// Takes a subscriber of `key` out again.
    pub(crate) fn leave(&self, key: &K) {
        let mut keys = self.keys();
        let Some((_, subscribers)) = keys.get_mut(key) else { return };
        *subscribers -= 1;
        if *subscribers == 0 {
            keys.remove(key);
            self.count.fetch_sub(1, Ordering::AcqRel);
        }
    }

    /// Whether there is anyone to be told.
    pub(crate) fn are_any(&self) -> bool {
        self.count.load(Ordering::Acquire) > 0
    }

    /// Hands the changes of an epoch to the streams; they are collected, and counted in bytes, only if there is one.
    pub(crate) fn push(
        &self,
        epoch: u64,
        position: &Position,
        collect: impl FnOnce() -> (Vec<Change<K, V>>, usize),
    ) {
        let mut streams = self.streams();
        let before = streams.len();
        let alive: Vec<Arc<Queue<K, V>>> = streams.iter().filter_map(Weak::upgrade).collect();
        streams.retain(|queue| queue.strong_count() > 0);
        self.count.fetch_sub(before - streams.len(), Ordering::AcqRel);
        drop(streams);
        if alive.is_empty() {
            return;
        }
        let (changes, bytes) = collect();
        if changes.is_empty() {
            return;
        }
        let pushed = Pushed { position: position.clone(), changes };
        let pushed = CountedItem::waiting(&self.allowance, pushed, epoch, bytes);
        for queue in alive {
            queue.push(pushed.clone());
        }
    }

    /// Tells the subscribers of keys that `epoch` has changed them. It has touched `touched` keys, over which `each` goes;
    /// `has_changed` says whether it changed one.
    pub(crate) fn tell(
        &self,
        epoch: u64,
        touched: usize,
        each: impl FnOnce(&mut dyn FnMut(&K)),
        has_changed: impl Fn(&K) -> bool,
    ) {
        let keys = self.keys();
        if keys.len() <= touched {
            keys.iter().filter(|(key, _)| has_changed(key)).for_each(|(_, (slot, _))| slot.tell(epoch));
        } else {
            each(&mut |key| {
                if let Some((slot, _)) = keys.get(key)
                    && has_changed(key)
                {
                    slot.tell(epoch);
                }
            });
        }
    }
}
