//! The earliest of the failures of a step that goes through values in no order of time.
//!
//! What a record fails for is written into its dead letter, and so must not depend on which keys were in memory, or in which
//! order a table tells of them.

use millpond_engine::Result;
use millpond_engine::dataflow::{Context, Failure, Stamp};
use std::fmt::Display;

/// The earliest failure so far.
#[derive(Default)]
pub(crate) struct Earliest(Option<(Stamp, String)>);

impl Earliest {
    /// What `step` makes of the value with this stamp; `None` if it fails, or if an earlier value did, so that all this will be
    /// undone.
    pub(crate) fn run<T, E: Display>(
        &mut self,
        context: &mut Context<'_>,
        stamp: &Stamp,
        step: impl FnOnce() -> Result<T, E>,
    ) -> Option<T> {
        if self.0.as_ref().is_some_and(|(earliest, _)| earliest <= stamp) {
            return None;
        }
        context.at(stamp);
        match step() {
            Ok(made) => Some(made),
            Err(reason) => {
                self.0 = Some((*stamp, reason.to_string()));
                None
            }
        }
    }

    /// That nothing has failed.
    ///
    /// # Errors
    /// The failure of the record of the earliest value at which anything has.
    pub(crate) fn outcome(self, context: &Context<'_>) -> Result<(), Failure> {
        self.0.map_or(Ok(()), |(stamp, reason)| Err(context.failed(&stamp, reason)))
    }
}
