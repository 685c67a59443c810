//! Fetching what codecs await: beside the fold, each on a thread of its own, until it is there.
//!
//! The folding thread neither fetches nor waits for it alone: the other task goes on, queries are answered, and closing the engine
//! does not wait for a fetch that is on its way. So these threads hold nothing of the engine while they do.

use super::signal::Signal;
use super::threads::Common;
use crate::task::{Awaiting, Core};
use crate::{Error, ErrorKind, Result};
use std::sync::{Arc, Weak};
use std::time::Duration;

/// The first wait between two tries; each further one is twice as long, up to [`LONGEST`].
const FIRST: Duration = Duration::from_millis(50);

const LONGEST: Duration = Duration::from_secs(10);

impl Common {
    /// Begins to fetch what the tasks wait for, where that was not begun.
    ///
    /// # Errors
    /// `Unavailable` if no thread can be started.
    pub(super) fn begin_to_fetch(self: &Arc<Self>, core: &Core) -> Result<()> {
        let [main, build] = core.awaiting();
        let main = main.map(|awaiting| (awaiting, true));
        let build = build.map(|awaiting| (awaiting, false));
        for (awaiting, main) in main.into_iter().chain(build) {
            if !awaiting.begin() {
                continue;
            }
            self.service.awaiting.add(awaiting, main);
            let fetching = Fetching {
                awaiting: Arc::clone(awaiting),
                signal: Arc::clone(&self.fetch),
                common: Arc::downgrade(self),
            };
            std::thread::Builder::new()
                .name("millpond-fetch".to_owned())
                .spawn(move || fetching.run())
                .map_err(|error| {
                    Error::unavailable("cannot start a thread that fetches what a codec awaits")
                        .with_source(error)
                })?;
        }
        Ok(())
    }
}

struct Fetching {
    awaiting: Arc<Awaiting>,
    signal: Arc<Signal>,
    common: Weak<Common>,
}

impl Fetching {
    fn run(self) {
        let mut tries = self.awaiting.rounds();
        while self.wait(tries) {
            let error = match self.awaiting.fetch() {
                Ok(()) => break,
                Err(error) => error,
            };
            if error.kind() != ErrorKind::Unavailable {
                self.awaiting.give_up(error);
                break;
            }
            tracing::warn!(%error, "records wait to be decoded; it is tried again");
            tries = tries.saturating_add(1);
        }
        if let Some(common) = self.common.upgrade() {
            common.service.awaiting.remove(&self.awaiting);
            common.fold.raise();
        }
    }

    /// Waits before the next try, of which there were so many. `false` if the engine has ended.
    fn wait(&self, tries: u32) -> bool {
        let longest = FIRST.saturating_mul(1 << tries.saturating_sub(1).min(16)).min(LONGEST);
        let open = if tries == 0 { !self.signal.is_closing() } else { self.signal.wait_for(longest) };
        open && self.common.upgrade().is_some_and(|common| common.is_running())
    }
}
