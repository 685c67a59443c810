//! What travels between operators: typed values, erased per batch.

use super::{Stamp, Stamped};
use crate::{Error, Result};
use std::any::{Any, type_name};
use std::fmt;

/// One element of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event<K, V> {
    /// The key it is grouped by.
    pub key: K,
    /// Its value.
    pub value: V,
    /// Where it comes from.
    pub stamp: Stamp,
}

/// What one epoch did to one key of a table: the value before the epoch and the value after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change<K, V> {
    /// The key.
    pub key: K,
    /// The value at the start of the epoch.
    pub old: Option<V>,
    /// The value at its end.
    pub new: Option<V>,
    /// The origin of the last update.
    pub stamp: Stamp,
}

/// One of possibly many updates of a key inside an epoch: the value it then had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Update<K, V> {
    /// The key.
    pub key: K,
    /// The value from here on.
    pub value: Option<V>,
    /// The origin of the update.
    pub stamp: Stamp,
}

/// What a table emits in one epoch on one shard.
#[derive(Debug, Clone)]
pub struct Changes<K, V> {
    /// At most one change per key.
    pub changes: Vec<Change<K, V>>,
    /// Every single update, ordered by stamp within a key; kept only for tables that a stream joins.
    pub updates: Vec<Update<K, V>>,
}

impl<K, V> Default for Changes<K, V> {
    fn default() -> Self {
        Self { changes: Vec::new(), updates: Vec::new() }
    }
}

/// Anything that an operator can hand on.
trait AnyBatch: Send {
    fn clone_box(&self) -> Box<dyn AnyBatch>;
    fn into_any(self: Box<Self>) -> Box<dyn Any>;
}

impl<T: Clone + Send + 'static> AnyBatch for T {
    fn clone_box(&self) -> Box<dyn AnyBatch> {
        Box::new(self.clone())
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

/// A batch whose type only its producer and its consumers know.
pub(crate) struct Batch(Box<dyn AnyBatch>);

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch").finish_non_exhaustive()
    }
}

impl Batch {
    /// Erases the type of `batch`.
    pub(crate) fn new<T: Clone + Send + 'static>(batch: T) -> Self {
        Self(Box::new(batch))
    }

    /// A copy, for a second consumer.
    fn duplicate(&self) -> Self {
        Self((*self.0).clone_box())
    }

    /// The batch as what it was made from.
    ///
    /// # Errors
    /// `Internal` if it was made from another type.
    pub(crate) fn downcast<T: 'static>(self) -> Result<T> {
        match self.0.into_any().downcast::<T>() {
            Ok(batch) => Ok(*batch),
            Err(_) => Err(Error::internal(format!(
                "an operator received a batch that is no {}; the graph is wired wrongly",
                type_name::<T>()
            ))),
        }
    }

    /// The items of several batches of `Vec<T>`, in the order of their stamps; those of one stamp keep their order.
    ///
    /// # Errors
    /// As for [`downcast`](Self::downcast).
    pub(crate) fn in_order<T: Stamped + 'static>(parts: Vec<Self>) -> Result<Vec<T>> {
        let parts = parts.into_iter().map(Self::downcast).collect::<Result<Vec<Vec<T>>>>()?;
        let mut items = Vec::with_capacity(parts.iter().map(Vec::len).sum());
        for mut part in parts {
            items.append(&mut part);
        }
        if !items.is_sorted_by(|a: &T, b: &T| a.stamp() <= b.stamp()) {
            items.sort_by(|a, b| a.stamp().cmp(b.stamp()));
        }
        Ok(items)
    }
}

/// What an operator puts out on one shard.
#[derive(Debug)]
pub(crate) enum Output {
    /// For the consumers on the same shard.
    Local(Batch),
    /// An exchange: one batch for each shard, in their order.
    Routed(Vec<Batch>),
    /// Nothing is ever read from this operator.
    Nothing,
}

/// The output of one node on one shard, until its last consumer has taken it.
#[derive(Default)]
pub(crate) struct NodeOutput {
    /// One batch of a local output, or what each shard sent.
    pub(crate) parts: Vec<Batch>,
    /// How many consumers have yet to take it.
    pub(crate) consumers: usize,
}

impl NodeOutput {
    /// The parts: moved to the last consumer, copied for the others.
    pub(crate) fn take(&mut self) -> Vec<Batch> {
        self.consumers = self.consumers.saturating_sub(1);
        if self.consumers == 0 {
            std::mem::take(&mut self.parts)
        } else {
            self.parts.iter().map(Batch::duplicate).collect()
        }
    }
}
