//! Fault points that can be armed.
//!
//! A [`point`] does nothing (one relaxed load) until a test arms it, in its own process ([`arm`]) or, for a child that
//! shall die, through the environment: `MILLPOND_FAULTS="changelog.append.after_write:3:abort"` (name, the how-manieth
//! hit, `error`, `panic` or `abort`; more than one separated by commas). An armed point fires once. The state is that of
//! the process: tests that arm points must not run beside others that pass them.

use crate::{Error, Result};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

/// What an armed point does when it fires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    /// Returns an `Unavailable` error, as a failing medium would.
    Error,
    /// Panics, as a defect would.
    Panic,
    /// Aborts the process, as `kill -9` would.
    Abort,
}

/// Every point there is.
const POINTS: &[&str] = &[
    "changelog.append.before_write",
    "changelog.append.after_write",
    "changelog.append.before_ack",
    "changelog.roll.before_index",
    "changelog.roll.before_flush",
    "changelog.roll.after_flush",
    "changelog.topic.before_write",
    "changelog.topic.after_write",
    "changelog.type.before_write",
    "changelog.type.after_write",
    "changelog.sync.before",
    "changelog.sync.after",
    "changelog.trim.before_mark",
    "changelog.trim.before_delete",
    "changelog.trim.after_delete",
    "changelog.move.before_write",
    "changelog.move.after_write",
    "changelog.close.before_sync",
    "store.ingest.before_file",
    "store.ingest.after_file",
    "store.ingest.after_ingest",
    "drain.before_sync",
    "drain.after_sync",
    "drain.before_ingest",
    "drain.after_ingest",
    "drain.after_drop",
    "epoch.before_append",
    "epoch.after_append",
    "epoch.before_publish",
    "epoch.after_publish",
    "catalogue.before_write",
    "catalogue.after_write",
    "catalogue.before_retire",
    "catalogue.after_retire",
    "build.before_complete",
    "build.after_complete",
    "checkpoint.before_copy",
    "checkpoint.before_rename",
    "checkpoint.after_rename",
];

/// Whether any point may be armed. Starts as true, so that the first point looks into the environment.
static ACTIVE: AtomicBool = AtomicBool::new(true);
static ARMED: LazyLock<Mutex<Armed>> = LazyLock::new(|| Mutex::new(Armed::from_environment()));

#[derive(Debug, Default)]
struct Armed {
    points: BTreeMap<String, FaultPlan>,
    /// What was wrong with the environment variable: reported by the next point, so that no test passes because
    /// its faults were misspelt.
    misspelt: Option<String>,
}

#[derive(Debug)]
struct FaultPlan {
    /// How many hits are left before it fires; 0 once it fired.
    left: u64,
    action: Action,
}

impl Armed {
    fn from_environment() -> Self {
        let mut armed = Self::default();
        let Ok(faults) = std::env::var("MILLPOND_FAULTS") else { return armed };
        for fault in faults.split(',').filter(|fault| !fault.is_empty()) {
            if armed.parse(fault).is_none() {
                armed.misspelt = Some(format!("MILLPOND_FAULTS has {fault:?}, which is not name:hit:action"));
            }
        }
        armed
    }

    fn parse(&mut self, fault: &str) -> Option<()> {
        let (name, rest) = fault.split_once(':')?;
        let (hit, action) = rest.split_once(':')?;
        let action = match action {
            "error" => Action::Error,
            "panic" => Action::Panic,
            "abort" => Action::Abort,
            _ => return None,
        };
        let left = hit.parse().ok().filter(|&hit: &u64| hit > 0)?;
        POINTS.contains(&name).then_some(())?;
        self.points.insert(name.into(), FaultPlan { left, action });
        Some(())
    }

    fn hit(&mut self, name: &str) -> Result<Option<Action>> {
        if let Some(misspelt) = &self.misspelt {
            return Err(Error::invalid(misspelt.clone()));
        }
        let Some(plan) = self.points.get_mut(name).filter(|plan| plan.left > 0) else { return Ok(None) };
        plan.left -= 1;
        Ok((plan.left == 0).then_some(plan.action))
    }
}

fn armed() -> MutexGuard<'static, Armed> {
    ARMED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Passes the point `name`.
///
/// # Errors
/// `Unavailable` if the point fires with [`Action::Error`].
///
/// # Panics
/// If the point fires with [`Action::Panic`].
#[inline]
pub fn point(name: &'static str) -> Result<()> {
    if ACTIVE.load(Ordering::Relaxed) { slow_point(name) } else { Ok(()) }
}

#[cold]
fn slow_point(name: &'static str) -> Result<()> {
    debug_assert!(POINTS.contains(&name), "{name} is not listed");
    let mut armed = armed();
    if armed.points.is_empty() && armed.misspelt.is_none() {
        ACTIVE.store(false, Ordering::Relaxed);
    }
    let action = armed.hit(name)?;
    drop(armed);
    match action {
        None => Ok(()),
        Some(Action::Error) => Err(Error::unavailable(format!("the fault point {name} fired"))),
        Some(Action::Panic) => panic!("the fault point {name} fired"),
        Some(Action::Abort) => std::process::abort(),
    }
}

/// Makes the point `name` fire at its `nth_hit` from now, counted from 1.
///
/// # Errors
/// `Invalid` if there is no such point or `nth_hit` is 0.
///
/// # Examples
/// ```
/// use millpond::fault::{self, Action};
///
/// fault::arm("changelog.append.before_write", 1, Action::Error)?;
/// assert!(fault::point("changelog.append.before_write").is_err());
/// assert!(fault::fired("changelog.append.before_write"));
/// fault::disarm();
/// # Ok::<(), millpond::Error>(())
/// ```
pub fn arm(name: &str, nth_hit: u64, action: Action) -> Result<()> {
    if !POINTS.contains(&name) || nth_hit == 0 {
        return Err(Error::invalid(format!(
            "there is no fault point {name} with a hit {nth_hit}; see points()"
        )));
    }
    let mut armed = armed();
    armed.points.insert(name.into(), FaultPlan { left: nth_hit, action });
    ACTIVE.store(true, Ordering::Relaxed);
    Ok(())
}

/// Whether the armed point `name` has fired.
#[must_use]
pub fn fired(name: &str) -> bool {
    armed().points.get(name).is_some_and(|plan| plan.left == 0)
}

/// Takes every point back.
pub fn disarm() {
    armed().points.clear();
}

/// The names of all points, so that a test can visit every one.
#[must_use]
pub fn points() -> &'static [&'static str] {
    POINTS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_is_parsed_strictly() {
        let mut armed = Armed::default();
        assert!(armed.parse("changelog.sync.before:2:error").is_some());
        assert_eq!(armed.hit("changelog.sync.before").unwrap(), None);
        assert_eq!(armed.hit("changelog.sync.before").unwrap(), Some(Action::Error));
        assert_eq!(armed.hit("changelog.sync.before").unwrap(), None);
        for wrong in
            ["changelog.sync.before:0:error", "changelog.sync.before:1:explode", "no.such.point:1:error", "x"]
        {
            assert!(armed.parse(wrong).is_none(), "{wrong}");
        }
    }
}
