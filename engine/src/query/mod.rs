//! Queries: typed, consistent reads of tables while they are folded.
//!
//! Invariants: a read sees whole epochs only and never goes back in time; it never waits for the fold and the fold
//! never waits for it; a missing key is `None`, anything else that stands in the way is an error.

mod scan;
mod snapshot;
mod subscribe;
mod view;

pub use scan::Scan;
pub use snapshot::{Snapshot, TableSnapshot};
pub use subscribe::{ChangeStream, KeyStream, Published as PublishedChanges};
pub use view::View;

pub(crate) use view::{Cell, Serving};

use crate::flow::TableRef;

/// A handle of a graph's table that can be asked: what [`Engine::view`](crate::Engine::view) takes.
pub trait Stored {
    /// The type of the keys.
    type Key;
    /// The type of the values.
    type Value;

    /// The table that holds the rows.
    ///
    /// # Errors
    /// `Invalid` if the table is computed on the fly and not kept.
    fn stored(&self) -> crate::Result<TableRef<Self::Key, Self::Value>>;
}

impl<K, V> Stored for TableRef<K, V> {
    type Key = K;
    type Value = V;

    fn stored(&self) -> crate::Result<TableRef<K, V>> {
        Ok(*self)
    }
}
