//! A model of one key that is folded, published, drained and evicted while it is read, run by loom through every
//! order in which two threads can meet.
//!
//! Property: whoever has seen an epoch, in whichever way (what is published, a value in memory, a value in the store),
//! sees at least that epoch afterwards, in whichever way.
//!
//! It once failed with a front that put what is published in place before it stored the number of the epoch:
//! [`SwapsFirst`] keeps that order, as proof that the model would notice.

use loom::sync::Mutex;
use loom::sync::atomic::AtomicU64;
use loom::thread;

/// The primitives of loom, under the names by which `front.rs` asks for them.
mod sync {
    pub(super) use loom::sync::atomic::{AtomicU64, Ordering};
    pub(super) use loom::sync::{Arc, RwLock};
    pub(super) use std::sync::PoisonError;
}

#[path = "entry.rs"]
#[allow(dead_code, reason = "the model needs a part of it")]
#[allow(clippy::duplicate_mod, reason = "compiled once more, with the primitives of loom")]
mod entry;
#[path = "front.rs"]
#[allow(clippy::duplicate_mod, reason = "compiled once more, with the primitives of loom")]
mod front;

use entry::Entry;
use front::Front;
use sync::{Arc, Ordering, RwLock};

/// What a reader and the fold need of a front; what is published is the number of the epoch.
trait Fronts: Send + Sync + 'static {
    fn new() -> Self;
    fn publish(&self, epoch: u64);
    fn published(&self) -> u64;
    fn epoch(&self) -> u64;
}

impl Fronts for Front<u64> {
    fn new() -> Self {
        Self::new(0)
    }

    fn publish(&self, epoch: u64) {
        self.replace(epoch, Arc::new(epoch), || ());
    }

    fn published(&self) -> u64 {
        *self.current()
    }

    fn epoch(&self) -> u64 {
        Self::epoch(self)
    }
}

/// The order that once let a view go back in time.
struct SwapsFirst {
    current: RwLock<u64>,
    epoch: AtomicU64,
}

impl Fronts for SwapsFirst {
    fn new() -> Self {
        Self { current: RwLock::new(0), epoch: AtomicU64::new(0) }
    }

    fn publish(&self, epoch: u64) {
        *self.current.write().unwrap() = epoch;
        self.epoch.store(epoch, Ordering::Release);
    }

    fn published(&self) -> u64 {
        *self.current.read().unwrap()
    }

    fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }
}

/// One key, whose value is the number of the epoch that wrote it last.
struct Key<F> {
    front: F,
    hot: Mutex<Option<Entry<u64>>>,
    store: Mutex<u64>,
}

impl<F: Fronts> Key<F> {
    fn new() -> Self {
        Self { front: F::new(), hot: Mutex::new(Some(Entry::clean(Some(0)))), store: Mutex::new(0) }
    }

    fn fold(&self, epoch: u64) {
        let mut hot = self.hot.lock().unwrap();
        let entry = hot.get_or_insert_with(|| Entry::clean(Some(*self.store.lock().unwrap())));
        entry.before = entry.value;
        entry.value = Some(epoch);
        entry.epoch = epoch;
        drop(hot);
        self.front.publish(epoch);
    }

    fn drain_and_evict(&self) {
        let drained = self.front.published();
        *self.store.lock().unwrap() = drained;
        let mut hot = self.hot.lock().unwrap();
        if hot.as_ref().is_some_and(|entry| entry.epoch <= drained) {
            *hot = None;
        }
    }

    fn get(&self) -> u64 {
        let hot = self.hot.lock().unwrap().as_ref().map(|entry| *entry.visible(self.front.epoch()).unwrap());
        hot.unwrap_or_else(|| *self.store.lock().unwrap())
    }
}

/// Reads in the order of `ways` beside a fold of two epochs with a drain after the first.
fn read_beside_a_fold<F: Fronts>(ways: &'static [fn(&Key<F>) -> u64]) {
    loom::model(move || {
        let key = Arc::new(Key::<F>::new());
        let fold = thread::spawn({
            let key = Arc::clone(&key);
            move || {
                key.fold(1);
                key.drain_and_evict();
                key.fold(2);
            }
        });
        let mut seen = 0;
        for (step, read) in ways.iter().enumerate() {
            let now = read(&key);
            assert!(now >= seen, "step {step}: {now} after {seen}");
            seen = now;
        }
        fold.join().unwrap();
    });
}

#[test]
fn a_value_is_at_least_as_new_as_what_was_published() {
    read_beside_a_fold::<Front<u64>>(&[|key| key.front.published(), Key::get]);
}

#[test]
fn what_is_published_is_at_least_as_new_as_a_value() {
    read_beside_a_fold::<Front<u64>>(&[Key::get, |key| key.front.published()]);
}

#[test]
fn values_never_grow_older() {
    read_beside_a_fold::<Front<u64>>(&[Key::get, Key::get]);
}

#[test]
#[should_panic(expected = " after ")]
fn the_model_notices_a_front_that_swaps_first() {
    read_beside_a_fold::<SwapsFirst>(&[|key| key.front.published(), Key::get]);
}
