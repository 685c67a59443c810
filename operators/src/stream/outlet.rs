//! Nodes with several outputs: each of the nodes behind them takes its own.
//!
//! Such a node puts out one batch with a [`Portion`] for each outlet. The copies of the batch that the outlets get share
//! the portions, so that nothing is copied; each portion is there to be taken once.

use millpond_engine::{Error, Result};
use std::sync::{Arc, Mutex, PoisonError};

/// What one outlet of a node is to take.
pub(crate) struct Portion<T>(Arc<Mutex<Option<T>>>);

impl<T> Clone for Portion<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Portion<T> {
    pub(crate) fn new(items: T) -> Self {
        Self(Arc::new(Mutex::new(Some(items))))
    }

    /// Takes it out of all copies.
    pub(crate) fn take(&self) -> Result<T> {
        let mut items = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        items
            .take()
            .ok_or_else(|| Error::internal("two outlets take the same portion; the graph is wired wrongly"))
    }
}
