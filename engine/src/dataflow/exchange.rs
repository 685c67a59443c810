//! The exchange: how values reach the shard that owns their key.
//!
//! A routing operator splits its output by [`Router::shard`](super::Router::shard); [`Gather`] on the other side concatenates what
//! shards 0..S sent, in that order, and sorts by stamp, so that the result does not depend on how many shards
//! there were. Values of one stamp keep the order in which they were made.

use super::{Batch, Context, Failure, Inputs, Operator, Output, Stamped};
use crate::Result;
use std::fmt;
use std::marker::PhantomData;

/// The receiving side of an exchange: from `Vec<T>` of every shard to one `Vec<T>` ordered by stamp.
pub struct Gather<T>(PhantomData<fn() -> T>);

impl<T> fmt::Debug for Gather<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gather").finish_non_exhaustive()
    }
}

impl<T> Default for Gather<T> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T: Stamped + Clone + Send + 'static> Operator for Gather<T> {
    fn run(&self, _context: &mut Context<'_>, mut inputs: Inputs<'_>) -> Result<Output, Failure> {
        Ok(Output::Local(Batch::new(Batch::in_order::<T>(inputs.parts(0)?)?)))
    }
}
