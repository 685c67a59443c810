//! What flows: values with their stamps, how they find their shard, and how much of them there may be.
//!
//! Architecture invariant: this is the bottom. It knows codecs, and neither operators, nor tables, nor the changelog.

mod batch;
mod branch;
mod closings;
mod failure;
mod handles;
mod meter;
mod origin;
mod pass;
mod router;
mod stamp;

pub use batch::{Change, Changes, Event, Update};
pub use failure::Failure;
pub use handles::{NodeRef, TableIndex, TableRef};
pub use origin::Origin;
pub(crate) use pass::Due;
pub use pass::{Charges, Detail, Pass};
pub use router::Router;
pub(crate) use stamp::ClosingPlace;
pub use stamp::{Stamp, Stamped};

pub(crate) use batch::{Batch, NodeOutput, Output};
use branch::Branch;
pub(crate) use closings::{Closing, Closings, LeftOutClosings};
pub(crate) use handles::{GraphId, NodeId};
pub(crate) use meter::Meter;
