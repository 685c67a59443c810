//! The marks that producing tasks left: which of their epochs were appended already.
//!
//! Pure logic, shared by the implementations, which store the marks each in their own way. The last mark of a
//! producer is never forgotten, since it alone tells a replayed epoch from a new one.

use super::Append;
use crate::{Error, Position, Result};
use std::collections::{BTreeMap, VecDeque};

/// One epoch of a producing task: the input it covered, remembered beside what it appended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct EpochMark {
    /// Where the epoch began.
    pub from: Position,
    /// Where it ended.
    pub to: Position,
}

impl EpochMark {
    /// The mark of an epoch that covered the input between two positions.
    #[must_use]
    pub fn new(from: Position, to: Position) -> Self {
        Self { from, to }
    }
}

/// Epochs: what a producing engine appended for which input, so that a replay appends nothing twice.
pub trait EpochLog: Send + Sync {
    /// Appends what one epoch of `producer` produced, together with its mark, in one atomic step. Returns once
    /// it is readable in order; [`sync`](super::AppendLog::sync) makes it durable. An epoch whose mark is not after the
    /// last one of this producer was appended before: it is skipped, and `false` is returned. Both
    /// positions of a mark must name every partition that the producer reads.
    ///
    /// # Errors
    /// As for `append`; `Invalid` also if the mark overlaps the last one. Nothing was appended then.
    fn append_epoch(&self, producer: &str, mark: &EpochMark, appends: Vec<Append>) -> Result<bool>;

    /// The marks of `producer` that end after `position`, in order: a replay from `position` cuts its epochs
    /// at exactly these.
    ///
    /// # Errors
    /// `Corrupt` if a mark does not decode.
    fn epochs_after(&self, producer: &str, position: &Position) -> Result<Vec<EpochMark>>;
}

/// The marks of every producer, in order, numbered without gaps.
#[derive(Debug, Clone, Default)]
pub(super) struct Epochs(BTreeMap<String, Marks>);

#[derive(Debug, Clone, Default)]
struct Marks {
    /// The number of the first mark in `kept`.
    first: u64,
    kept: VecDeque<EpochMark>,
}

impl Epochs {
    /// Whether `mark` is new and has to be appended (`false`: it was appended before).
    pub(super) fn is_new(&self, producer: &str, mark: &EpochMark) -> Result<bool> {
        if !mark.to.includes(&mark.from) || mark.from.includes(&mark.to) {
            return Err(Error::invalid(format!(
                "the epoch of {producer} does not go forward, {} to {}",
                mark.from, mark.to
            )));
        }
        let Some(last) = self.0.get(producer).and_then(|marks| marks.kept.back()) else { return Ok(true) };
        if last.to.includes(&mark.to) {
            return Ok(false);
        }
        if mark.from.includes(&last.to) {
            return Ok(true);
        }
        Err(Error::invalid(format!(
            "the epoch of {producer} from {} to {} overlaps the last one appended, which ended at {}; cut replayed \
             epochs where `epochs_after` says",
            mark.from, mark.to, last.to
        )))
    }

    /// Remembers a mark that was appended; returns its number.
    pub(super) fn push(&mut self, producer: &str, mark: EpochMark) -> u64 {
        let marks = self.0.entry(producer.into()).or_default();
        marks.kept.push_back(mark);
        marks.first + marks.kept.len() as u64 - 1
    }

    /// The number that the next mark of `producer` will get.
    pub(super) fn next_number(&self, producer: &str) -> u64 {
        self.0.get(producer).map_or(0, |marks| marks.first + marks.kept.len() as u64)
    }

    #[cfg(feature = "rocks")]
    /// Takes in a stored mark; they must come in the order of their numbers.
    pub(super) fn restore(&mut self, producer: &str, number: u64, mark: EpochMark) -> Result<()> {
        let marks = self.0.entry(producer.into()).or_default();
        if marks.kept.is_empty() {
            marks.first = number;
        }
        if marks.first + marks.kept.len() as u64 != number {
            return Err(Error::corrupt(format!(
                "epoch mark {number} of {producer} does not follow the one before"
            )));
        }
        marks.kept.push_back(mark);
        Ok(())
    }

    pub(super) fn after(&self, producer: &str, position: &Position) -> Vec<EpochMark> {
        let kept = self.0.get(producer).map(|marks| marks.kept.iter());
        kept.into_iter().flatten().filter(|mark| !position.includes(&mark.to)).cloned().collect()
    }

    /// The numbers of the marks that end at or before `position`, but for the last one.
    pub(super) fn forgettable(&self, producer: &str, position: &Position) -> std::ops::Range<u64> {
        let Some(marks) = self.0.get(producer) else { return 0..0 };
        let but_last = marks.kept.len().saturating_sub(1);
        let done = marks.kept.iter().take(but_last).take_while(|mark| position.includes(&mark.to)).count();
        marks.first..marks.first + done as u64
    }

    /// Forgets the marks below `number`.
    pub(super) fn forget(&mut self, producer: &str, number: u64) {
        let Some(marks) = self.0.get_mut(producer) else { return };
        while marks.first < number && marks.kept.pop_front().is_some() {
            marks.first += 1;
        }
    }

    /// Forgets the marks at and above `number`, as a crash before they were durable would.
    pub(super) fn truncate(&mut self, producer: &str, number: u64) {
        let Some(marks) = self.0.get_mut(producer) else { return };
        let left = usize::try_from(number.saturating_sub(marks.first)).unwrap_or(usize::MAX);
        marks.kept.truncate(left);
    }

    /// The numbers of the marks of `producer` that are kept.
    pub(super) fn kept(&self, producer: &str) -> std::ops::Range<u64> {
        self.0.get(producer).map_or(0..0, |marks| marks.first..marks.first + marks.kept.len() as u64)
    }

    /// Forgets every mark of `producer`.
    pub(super) fn release(&mut self, producer: &str) {
        self.0.remove(producer);
    }

    pub(super) fn producers(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TopicPartition;

    fn at(offset: u64) -> Position {
        [(TopicPartition::new("a", 0), offset)].into_iter().collect()
    }

    fn mark(from: u64, to: u64) -> EpochMark {
        EpochMark { from: at(from), to: at(to) }
    }

    fn appended(marks: &[(u64, u64)]) -> Epochs {
        let mut epochs = Epochs::default();
        for &(from, to) in marks {
            epochs.push("p", mark(from, to));
        }
        epochs
    }

    #[test]
    fn a_replayed_epoch_is_not_new_and_an_overlapping_one_is_refused() {
        let epochs = appended(&[(0, 5), (7, 9)]);
        assert!(epochs.is_new("p", &mark(9, 12)).unwrap());
        assert!(epochs.is_new("p", &mark(10, 12)).unwrap());
        assert!(!epochs.is_new("p", &mark(7, 9)).unwrap());
        assert!(!epochs.is_new("p", &mark(0, 5)).unwrap());
        assert!(epochs.is_new("p", &mark(8, 12)).is_err());
        assert!(epochs.is_new("other", &mark(0, 5)).unwrap());
        assert!(epochs.is_new("other", &mark(5, 5)).is_err());
    }

    #[test]
    fn the_last_mark_is_never_forgotten() {
        let mut epochs = appended(&[(0, 5), (5, 9), (9, 12)]);
        assert_eq!(epochs.after("p", &at(5)), [mark(5, 9), mark(9, 12)]);
        assert_eq!(epochs.forgettable("p", &at(8)), 0..1);
        assert_eq!(epochs.forgettable("p", &at(100)), 0..2);
        epochs.forget("p", 2);
        assert!(!epochs.is_new("p", &mark(9, 12)).unwrap());
        assert_eq!(epochs.next_number("p"), 3);
        epochs.truncate("p", 2);
        assert_eq!(epochs.next_number("p"), 2);
    }
}
