//! Code that fails where something closes: at which of what closes it does.
//!
//! What closes follows each other as records do, by time, and then by keys. One is to blame if the epoch fails with it and all that comes
//! before it, and does not without it. So it is the same for every epoch in which they close, and is found by halves: what is told of it is
//! left out then, on every way through the graph, and the row itself stays where it is.

use super::Task;
use super::epoch::EpochFailure;
use super::input::EpochInput;
use crate::dataflow::Skipped;
use crate::flow::{Closing, Closings, LeftOutClosings};
use crate::{Error, Result};

/// What of an epoch is left out.
#[derive(Debug, Default)]
pub(super) struct LeftOutOfEpoch {
    /// Records, by their places.
    pub(super) records: Skipped,
    pub(super) closings: LeftOutClosings,
}

impl Task {
    /// The thing that closes at which the epoch fails, with what went wrong there; `None` if it is nothing that could be left out: an alarm,
    /// or a change of a table that goes by its time.
    ///
    /// # Errors
    /// If the epoch could not be taken back.
    pub(super) fn closing_to_blame(
        &self,
        input: &EpochInput,
        left_out: &LeftOutOfEpoch,
        mut place: u64,
    ) -> Result<Option<(Closing, Error)>> {
        let noting = Closings::noting(&left_out.closings);
        let Err(_) = self.attempt(input, &left_out.records, &noting, true) else {
            self.roll_back()?;
            return Ok(None);
        };
        let attempt = |closings: &Closings<'_>| -> Result<Option<EpochFailure>> {
            match self.attempt(input, &left_out.records, closings, true) {
                Err(failure) if failure.is_of_user() => Ok(Some(failure)),
                Err(EpochFailure { error, .. }) => Err(error),
                Ok(_) => self.roll_back().map(|()| None),
            }
        };
        let mut all = noting.at(place);
        loop {
            let before = Closings::until(&left_out.closings, place, None);
            let Some(failure) = attempt(&before)? else { break };
            // What closes before fails as well, at a step behind the one at which this has failed: it had not been come to, so that what closes
            // there is noted only now.
            let Some(earlier) = failure.closing_place().filter(|earlier| *earlier < place) else {
                return Ok(None);
            };
            place = earlier;
            all = before.at(place);
        }
        let fails_with = |count: usize| {
            let last = count.checked_sub(1).and_then(|last| all.get(last));
            let closings = Closings::until(&left_out.closings, place, last);
            Ok(attempt(&closings)?.map(|failure| failure.error))
        };
        // With so many it does not fail, with so many it does.
        let (mut fit, mut fail) = (0, all.len());
        let Some(mut error) = fails_with(fail)? else { return Ok(None) };
        while fail - fit > 1 {
            let middle = fit + (fail - fit) / 2;
            match fails_with(middle)? {
                Some(earlier) => (fail, error) = (middle, earlier),
                None => fit = middle,
            }
        }
        Ok(fail.checked_sub(1).and_then(|last| all.into_iter().nth(last)).map(|closing| (closing, error)))
    }

    /// What it is, for an error: the moment, the table and the key.
    pub(super) fn told_of(&self, closing: &Closing) -> String {
        let table = self.setting.graph.table_of(closing.node).unwrap_or_default();
        format!(
            "closed at {} ms in table `{table}`, of the key {} (as it is encoded), dated {} ms",
            closing.close_ms(),
            closing.key.escape_ascii(),
            closing.timestamp_ms
        )
    }
}
