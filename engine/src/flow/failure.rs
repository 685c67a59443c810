//! Failures: why a step of an epoch did not go through, and which record is to blame.

use super::{Due, Stamp};
use crate::{Error, ErrorKind};
use std::fmt;

/// Why a step of an epoch did not go through: what an [`Operator`](crate::dataflow::Operator) hands on from the tables and the
/// [`Pass`](super::Pass) that it uses, with `?`.
///
/// An [`Error`] becomes one, and then nothing says which record is to blame: one of kind `User` is looked for by running
/// ever smaller epochs. [`Pass::failed`](super::Pass::failed) makes one that names its record.
#[derive(Debug)]
pub struct Failure {
    error: Error,
    /// The value at which it failed, of those that a record became.
    stamp: Option<Stamp>,
    /// What was due where it failed, if that was no record.
    due: Option<Box<Due>>,
    /// Whether the epoch became too large, and is to be cut smaller.
    too_much: bool,
}

impl Failure {
    /// That the record which the value with `stamp` was made from has failed, for the failure policy to handle.
    pub(crate) fn of_record(stamp: Stamp, reason: impl fmt::Display) -> Self {
        Self { error: Error::user(reason.to_string()), stamp: Some(stamp), due: None, too_much: false }
    }

    /// At this alarm.
    pub(super) fn at_alarm(self, due: Due) -> Self {
        Self { due: Some(Box::new(due)), ..self }
    }

    /// That the epoch has become too large for its part of the memory budget.
    pub(crate) fn too_much() -> Self {
        let error = Error::internal("an epoch became too large and is to be cut smaller");
        Self { error, stamp: None, due: None, too_much: true }
    }

    /// What went wrong.
    #[must_use]
    pub fn error(&self) -> &Error {
        &self.error
    }

    /// What the caller can do about it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.error.kind()
    }

    pub(crate) fn stamp(&self) -> Option<Stamp> {
        self.stamp
    }

    pub(crate) fn take_due(&mut self) -> Option<Box<Due>> {
        self.due.take()
    }

    pub(crate) fn is_too_much(&self) -> bool {
        self.too_much
    }

    pub(crate) fn into_error(self) -> Error {
        self.error
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self { error, stamp: None, due: None, too_much: false }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl std::error::Error for Failure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(&self.error)
    }
}
