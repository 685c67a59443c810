//! Fault points: a seam for tests that want the engine to fail at an exact step. Not for production.
//!
//! Code that changes stored state passes named points. They are there with the feature `fault-injection` only, which is
//! off unless asked for: without it a point compiles to nothing, no environment variable is looked at, and this module is
//! empty to its users. With it, anyone who can set the environment of the process can end it.
//!
//! IMPORTANT: nothing but the module `injection` may know that faults can be injected.

#[cfg(feature = "fault-injection")]
mod injection;
#[cfg(not(feature = "fault-injection"))]
mod nothing;

#[cfg(feature = "fault-injection")]
pub use injection::{Action, arm, disarm, fired, point, points};
#[cfg(not(feature = "fault-injection"))]
pub(crate) use nothing::point;
