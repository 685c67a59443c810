//! Queries: typed, consistent reads of tables while they are folded.
//!
//! Invariants: a read sees whole epochs only and never goes back in time; it never waits for the fold and the fold
//! never waits for it; a missing key is `None`, anything else that stands in the way is an error.

mod readable;
mod scan;
mod served;
mod snapshot;
mod subscribe;
mod view;

pub use readable::StoredRef;
pub use scan::Scan;
pub use snapshot::{Snapshot, TableSnapshot};
pub use subscribe::{ChangeStream, EpochChanges, KeyStream};
pub use view::View;

pub(crate) use readable::Readable;
pub(crate) use scan::each_key;
pub(crate) use served::{ServedTable, Serving};
pub(crate) use view::view_of;

use crate::codec::{Key, Value};

/// What keeps [`Stored`] to the crates of millpond.
#[doc(hidden)]
pub mod sealed {
    /// A handle of a table that millpond itself has made.
    pub trait Sealed {}
}

/// A handle of a graph's table that can be asked: what [`Engine::view`](crate::Engine::view) takes.
///
/// It is sealed: `StoredTable` implements it, which
/// nodes of one's own make with `StoredTable::from_node`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be asked",
    label = "a table that is computed on the fly has no rows",
    note = "keep its rows under a name with `materialize`, and ask the `StoredTable` that it returns"
)]
pub trait Stored: sealed::Sealed {
    /// The type of the keys.
    type Key: Key;
    /// The type of the values.
    type Value: Value;

    /// The table that holds the rows.
    fn stored(&self) -> StoredRef<Self::Key, Self::Value>;
}
