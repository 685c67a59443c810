//! What an embedded changelog can be told when it is opened.

use crate::changelog::DEFAULT_BATCH_BYTES;
use crate::{Clock, Error, Result, SystemClock};
use std::fmt;
use std::sync::Arc;

/// When an append counts as durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Durability {
    /// Once it is on the medium: survives the loss of power. Appends that wait together share one `fsync`.
    #[default]
    Fsync,
    /// Once the operating system has it: survives the end of the process, not the loss of power.
    Os,
}

/// The options of [`EmbeddedChangelog::open`](super::EmbeddedChangelog::open): the defaults, and what is to be otherwise.
///
/// # Examples
/// ```
/// use millpond::changelog::{Durability, EmbeddedOptions};
///
/// let options = EmbeddedOptions::default().durability(Durability::Os).segment_bytes(8 << 20);
/// assert_eq!(options.segment_bytes, 8 << 20);
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct EmbeddedOptions {
    /// When an append is acknowledged. Default: [`Durability::Fsync`].
    pub durability: Durability,
    /// What ages the records for retention. Default: the clock of the machine.
    pub clock: Arc<dyn Clock>,
    /// A new segment is begun after so many stored bytes. Segments are what retention drops, and about two of them
    /// are held in memory. Default: 32 MiB.
    pub segment_bytes: usize,
    /// Records that are appended together, or wait together, are stored in batches of about so many bytes before
    /// compression. A larger record gets a batch of its own. Default: 64 KiB.
    pub max_batch_bytes: usize,
    /// Appends are refused (`Unavailable`) while so many bytes of records wait to be written. Default: 64 MiB.
    pub max_queued_bytes: usize,
    /// The blocks of records that are kept in memory for readers which poll in small steps. Default: 8 MiB.
    pub cache_bytes: usize,
    /// Opens a log whose newest part is damaged, by giving up everything after the damage, acknowledged or not. States that
    /// had read what is given up are refused from then on, and have to be folded again.
    /// Default: false, which makes such damage an error.
    pub salvage: bool,
    /// Refuses (`Invalid`) to create a log where none is, so that a wrong path is not silently an empty log.
    /// Default: false.
    pub open_existing: bool,
}

impl Default for EmbeddedOptions {
    fn default() -> Self {
        Self {
            durability: Durability::default(),
            clock: Arc::new(SystemClock),
            segment_bytes: 32 << 20,
            max_batch_bytes: DEFAULT_BATCH_BYTES,
            max_queued_bytes: 64 << 20,
            cache_bytes: 8 << 20,
            salvage: false,
            open_existing: false,
        }
    }
}

impl EmbeddedOptions {
    /// The same with another [`durability`](Self#structfield.durability).
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// The same with another [`clock`](Self#structfield.clock).
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// The same with another [`segment_bytes`](Self#structfield.segment_bytes).
    #[must_use]
    pub fn segment_bytes(mut self, segment_bytes: usize) -> Self {
        self.segment_bytes = segment_bytes;
        self
    }

    /// The same with another [`max_batch_bytes`](Self#structfield.max_batch_bytes).
    #[must_use]
    pub fn max_batch_bytes(mut self, max_batch_bytes: usize) -> Self {
        self.max_batch_bytes = max_batch_bytes;
        self
    }

    /// The same with another [`max_queued_bytes`](Self#structfield.max_queued_bytes).
    #[must_use]
    pub fn max_queued_bytes(mut self, max_queued_bytes: usize) -> Self {
        self.max_queued_bytes = max_queued_bytes;
        self
    }

    /// The same with another [`cache_bytes`](Self#structfield.cache_bytes).
    #[must_use]
    pub fn cache_bytes(mut self, cache_bytes: usize) -> Self {
        self.cache_bytes = cache_bytes;
        self
    }

    /// The same with another [`salvage`](Self#structfield.salvage).
    #[must_use]
    pub fn salvage(mut self, salvage: bool) -> Self {
        self.salvage = salvage;
        self
    }

    /// The same with another [`open_existing`](Self#structfield.open_existing).
    #[must_use]
    pub fn open_existing(mut self, open_existing: bool) -> Self {
        self.open_existing = open_existing;
        self
    }

    /// The defaults, with as much less memory as makes it about `bytes`, but not below what is of use.
    pub(crate) fn within(bytes: usize) -> Self {
        let usual = Self::default();
        let part = |percent: usize, usual: usize, least: usize| (bytes / 100 * percent).max(least).min(usual);
        Self {
            max_queued_bytes: part(48, usual.max_queued_bytes, 1 << 20),
            // Two of them are in memory. Every segment is a file, so that small ones soon are many.
            segment_bytes: part(23, usual.segment_bytes, 1 << 20),
            cache_bytes: part(6, usual.cache_bytes, 256 << 10),
            ..usual
        }
    }

    pub(super) fn check(&self) -> Result<()> {
        let positive = |name: &str, bytes: usize| {
            if bytes > 0 { Ok(()) } else { Err(Error::invalid(format!("`{name}` must be above 0"))) }
        };
        positive("segment_bytes", self.segment_bytes)?;
        positive("max_batch_bytes", self.max_batch_bytes)?;
        positive("max_queued_bytes", self.max_queued_bytes)
    }
}

impl fmt::Debug for EmbeddedOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedOptions")
            .field("durability", &self.durability)
            .field("segment_bytes", &self.segment_bytes)
            .field("max_batch_bytes", &self.max_batch_bytes)
            .field("max_queued_bytes", &self.max_queued_bytes)
            .field("cache_bytes", &self.cache_bytes)
            .field("salvage", &self.salvage)
            .field("open_existing", &self.open_existing)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_within_a_budget_lie_between_what_is_of_use_and_the_defaults() {
        let sizes = |bytes| {
            let options = EmbeddedOptions::within(bytes);
            options.check().unwrap();
            [options.max_queued_bytes, options.segment_bytes, options.cache_bytes]
        };
        assert_eq!(sizes(0), [1 << 20, 1 << 20, 256 << 10]);
        assert_eq!(sizes(10_000_000), [4_800_000, 2_300_000, 600_000]);
        assert_eq!(sizes(usize::MAX), [64 << 20, 32 << 20, 8 << 20]);
    }
}
