//! Names: as whom services read a changelog and append to it.
//!
//! Marks and holds belong to a name. Two engines of one name would skip each other's epochs and overwrite each other's
//! holds, so a name is leased to one engine at a time, for as long as it runs; and the log keeps who used it last, so
//! that another service does not take up where that one stopped.

use crate::{Error, Position, Result};
use std::any::Any;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// What engines of the name `x` use beside `x` itself: `x.build` and `x.letters`.
pub(crate) const SUFFIXES: [&str; 2] = [".build", ".letters"];

/// Names: as whom engines read and append.
pub trait NameLog: Send + Sync {
    /// Gives the name to one engine: until the [`Lease`] is dropped, nobody else gets it.
    ///
    /// # Errors
    /// `Unavailable` while another engine has it.
    fn lease(&self, name: &str) -> Result<Lease> {
        let _ = name;
        Ok(Lease::unguarded())
    }

    /// Who used the name last, in the words of [`set_owner`](Self::set_owner); `None` if that is not known.
    ///
    /// # Errors
    /// `Closed` after [`close`](super::Changelog::close).
    fn owner(&self, name: &str) -> Result<Option<String>> {
        let _ = name;
        Ok(None)
    }

    /// Remembers who uses the name. Durable when it returns.
    ///
    /// # Errors
    /// If it could not be stored.
    fn set_owner(&self, name: &str, owner: &str) -> Result<()> {
        let _ = (name, owner);
        Ok(())
    }

    /// Every name that something is kept under, in order; empty if the implementation does not tell.
    ///
    /// # Examples
    /// ```
    /// use millpond::changelog::prelude::*;
    /// use millpond::changelog::{MemoryChangelog, TopicConfig};
    /// use millpond::TopicPartition;
    ///
    /// let log = MemoryChangelog::new();
    /// log.create_topic("orders", &TopicConfig::default())?;
    /// log.hold("a-service-of-last-year", &[(TopicPartition::new("orders", 0), 0)].into_iter().collect())?;
    /// assert_eq!(log.names()?[0].name, "a-service-of-last-year");
    ///
    /// // It will not come back: retention need not wait for it.
    /// log.release("a-service-of-last-year")?;
    /// assert!(log.names()?.is_empty());
    /// # Ok::<(), millpond::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Closed` after [`close`](super::Changelog::close).
    fn names(&self) -> Result<Vec<NameInUse>> {
        Ok(Vec::new())
    }

    /// Forgets all that is kept under the name and under those that an engine of this name uses beside it: holds, marks and
    /// owner. An engine that is given the name afterwards is a new one, and appends everything that it produces.
    ///
    /// # Errors
    /// `Unavailable` while an engine has the name; `Invalid` if the implementation keeps no names.
    fn release(&self, name: &str) -> Result<()> {
        Err(Error::invalid(format!("this changelog does not keep names, so `{name}` cannot be released")))
    }
}

/// A name that a changelog knows, and what it keeps under it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct NameInUse {
    /// The name: that of an engine, or the engine's with `.build` or `.letters` behind it.
    pub name: String,
    /// What retention must leave for it, if it holds anything.
    pub hold: Option<Position>,
    /// How many epochs are remembered that were appended under it.
    pub marks: u64,
    /// Who used it last, as told by [`set_owner`](NameLog::set_owner).
    pub owner: Option<String>,
    /// Whether an engine of this process runs under it.
    pub leased: bool,
}

impl NameInUse {
    /// A name under which nothing is kept yet.
    ///
    /// # Examples
    /// ```
    /// use millpond::changelog::backend::NameInUse;
    ///
    /// let mut name = NameInUse::new("orders-service");
    /// name.marks = 3;
    /// assert_eq!((name.hold, name.owner, name.leased), (None, None, false));
    /// ```
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), hold: None, marks: 0, owner: None, leased: false }
    }
}

/// The only right to use a name, until it is dropped.
///
/// # Examples
/// ```
/// use millpond::changelog::backend::Lease;
/// use std::sync::{Arc, Mutex};
///
/// // A changelog of one's own gives a name to one engine at a time.
/// let name = Arc::new(Mutex::new(()));
/// let taken = Arc::clone(&name);
/// let lease = Lease::guarded(taken);
/// assert_eq!(Arc::strong_count(&name), 2);
/// drop(lease);
/// assert_eq!(Arc::strong_count(&name), 1);
/// ```
#[must_use]
pub struct Lease(Option<Box<dyn Any + Send + Sync>>);

impl Lease {
    /// Of a changelog that does not know who uses it.
    pub fn unguarded() -> Self {
        Self(None)
    }

    /// Drops `guard` when the lease ends.
    pub fn guarded(guard: impl Send + Sync + 'static) -> Self {
        Self(Some(Box::new(guard)))
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease").field("guarded", &self.0.is_some()).finish()
    }
}

/// A name that is leased, until it is dropped.
struct Leased(String, Arc<Leases>);

impl Drop for Leased {
    fn drop(&mut self) {
        self.1.names().remove(&self.0);
    }
}

/// The names that are leased, for a changelog that gives each to one engine at a time. They are of this process and this opened
/// changelog.
///
/// # Examples
/// ```
/// use millpond::changelog::backend::Leases;
/// use std::sync::Arc;
///
/// let leases = Arc::new(Leases::default());
/// let lease = leases.take("orders")?;
/// assert!(leases.take("orders").is_err());
/// drop(lease);
/// leases.take("orders")?;
/// # Ok::<(), millpond::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct Leases(Mutex<BTreeSet<String>>);

impl Leases {
    fn names(&self) -> std::sync::MutexGuard<'_, BTreeSet<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a name, until the lease is dropped.
    ///
    /// # Errors
    /// `Unavailable` while somebody has it.
    pub fn take(self: &Arc<Self>, name: &str) -> Result<Lease> {
        if self.names().insert(name.to_owned()) {
            return Ok(Lease::guarded(Leased(name.to_owned(), Arc::clone(self))));
        }
        Err(Error::unavailable(format!(
            "an engine named `{name}` runs on this changelog already: two of one name would take each other's records for \
             their own; give each a name with `EngineBuilder::name`, or close the other one first"
        )))
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.names().contains(name)
    }

    /// Refuses to take a name away from whoever uses it.
    pub(super) fn check_free(&self, name: &str) -> Result<()> {
        if self.has(name) {
            return Err(Error::unavailable(format!(
                "an engine named `{name}` runs on this changelog; close it before its name is released"
            )));
        }
        Ok(())
    }
}

/// The name `name` and those that go with it.
pub(super) fn family(name: &str) -> impl Iterator<Item = String> + '_ {
    [""].into_iter().chain(SUFFIXES).map(move |suffix| format!("{name}{suffix}"))
}
