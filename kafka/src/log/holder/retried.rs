//! What is tried again and again: somebody is told once that lasts.

use std::fmt::Display;
use std::time::{Duration, Instant};

/// What does not go well at the moment.
#[derive(Default)]
pub(super) struct Retried(Option<(Instant, String)>);

impl Retried {
    /// It did not go well, for this reason.
    pub(super) fn note(&mut self, why: impl Display) {
        let since = self.0.as_ref().map_or_else(Instant::now, |(since, _)| *since);
        self.0 = Some((since, why.to_string()));
    }

    /// It is tried, or waited for; a reason why it takes its time may come later, or may have come.
    pub(super) fn begin(&mut self, what: impl FnOnce() -> String) {
        self.0.get_or_insert_with(|| (Instant::now(), what()));
    }

    /// It went well, or is wanted no more.
    pub(super) fn is_over(&mut self) {
        self.0 = None;
    }

    /// What it is, if it has lasted for `at_least` so long.
    pub(super) fn told(&self, at_least: Duration) -> Option<String> {
        let (since, why) = self.0.as_ref()?;
        let lasts = since.elapsed();
        (lasts >= at_least).then(|| format!("{why} (for {} s)", lasts.as_secs()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_reason_is_told_and_since_when_it_was_the_first() {
        let mut retried = Retried::default();
        assert_eq!(retried.told(Duration::ZERO), None);
        retried.begin(|| "it is tried".into());
        retried.note("one");
        retried.note("another");
        retried.begin(|| "it is tried".into());
        assert_eq!(retried.told(Duration::ZERO).as_deref(), Some("another (for 0 s)"));
        assert_eq!(retried.told(Duration::from_secs(3600)), None);
        retried.is_over();
        assert_eq!(retried.told(Duration::ZERO), None);
    }
}
