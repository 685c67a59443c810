//! How the records of a window that is put together of several parts become a value, and two values one.

use crate::aggregate::Merge;
use std::sync::Arc;

/// How two values become one.
pub(super) type Merging<A> = dyn Fn(&mut A, A) + Send + Sync;

/// How the first record becomes a value.
type First<K, V, A> = dyn Fn(&K, V) -> A + Send + Sync;

/// How a value takes a record in.
type More<K, V, A> = dyn Fn(&mut A, &K, V) + Send + Sync;

/// How the first record becomes a value, how more are taken in, and how two values become one.
pub(super) struct Folding<K, V, A> {
    pub(super) first: Arc<First<K, V, A>>,
    pub(super) more: Arc<More<K, V, A>>,
    pub(super) merge: Arc<Merging<A>>,
}

impl<K, V, A> Clone for Folding<K, V, A> {
    fn clone(&self) -> Self {
        let Self { first, more, merge } = self;
        Self { first: Arc::clone(first), more: Arc::clone(more), merge: Arc::clone(merge) }
    }
}

impl<K: 'static, T: Clone + 'static> Folding<K, T, T> {
    /// Values are combined two at a time.
    pub(super) fn combining(combine: impl Fn(T, T) -> T + Send + Sync + 'static) -> Self {
        let combine = Arc::new(combine);
        let merge = Arc::clone(&combine);
        Self {
            first: Arc::new(|_: &K, value| value),
            more: Arc::new(move |acc: &mut T, _: &K, value| *acc = combine(acc.clone(), value)),
            merge: Arc::new(move |acc: &mut T, other| *acc = merge(acc.clone(), other)),
        }
    }
}

impl<K: 'static, V: 'static, A: 'static> Folding<K, V, A> {
    /// As `aggregate` does it.
    pub(super) fn of(aggregate: impl Merge<K, V, Acc = A>) -> Self {
        let aggregate = Arc::new(aggregate);
        let [first, more, merge] = [(); 3].map(|()| Arc::clone(&aggregate));
        Self {
            first: Arc::new(move |key: &K, value| {
                let mut acc = first.init();
                first.fold(&mut acc, key, value);
                acc
            }),
            more: Arc::new(move |acc: &mut A, key: &K, value| more.fold(acc, key, value)),
            merge: Arc::new(move |acc: &mut A, other| merge.merge(acc, other)),
        }
    }
}

/// Puts `value` together with what there is.
pub(super) fn put<A>(merge: &Merging<A>, into: &mut Option<A>, value: A) {
    match into {
        Some(there) => merge(there, value),
        None => *into = Some(value),
    }
}
