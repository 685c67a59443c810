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
pub(crate) use served::{ServedTable, Serving};
pub(crate) use view::view_of;

use crate::codec::{Key, Value};

/// A handle of a graph's table that can be asked: what [`Engine::view`](crate::Engine::view) takes.
///
/// Nobody else needs to implement it: what can be asked is what a [`StoredRef`] names, and that comes from the builder of
/// the graph only.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be asked",
    label = "a table that is computed on the fly has no rows",
    note = "keep its rows under a name with `materialize`, and ask the `StoredTable` that it returns"
)]
pub trait Stored {
    /// The type of the keys.
    type Key: Key;
    /// The type of the values.
    type Value: Value;

    /// The table that holds the rows.
    fn stored(&self) -> StoredRef<Self::Key, Self::Value>;
}
