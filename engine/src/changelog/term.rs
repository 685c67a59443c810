//! Terms: the life of a log from one opening to the next, so that a state finds out whether it was folded from this log.
//!
//! Offsets tell nothing of that. A log that lost records, or was put back as an older copy, gives the offsets that it gave
//! before to other records; a copy of another log has offsets too. So each opening that appends begins a term, with an
//! identity that occurs nowhere else, and notes where the log ended then; a state notes in which term it was drained
//! last. It fits if the log has that term, and the next one did not begin before what the state has read. Kafka's brokers
//! find the records they have to give up in the same way, by leader epochs (KIP-101).

use crate::{Position, Result, TopicPartition};

#[cfg(any(test, feature = "rocks"))]
/// What the terms take that a log remembers, in bytes: thousands of openings, as a rule.
const KEPT_BYTES: usize = 1 << 20;

#[cfg(any(test, feature = "rocks"))]
/// How many it remembers, whatever they take.
const KEPT_AT_LEAST: usize = 64;

#[cfg(any(test, feature = "rocks"))]
/// How many of the oldest terms are to be forgotten; they are given in order.
pub(super) fn forgettable(terms: &[Term]) -> usize {
    let mut left = KEPT_BYTES;
    let fit = terms.iter().rev().take_while(|term| {
        // A row for each, with a name, a number and an offset for each partition.
        let partitions = term.start.iter().map(|(id, _)| id.topic.len() + 12);
        let bytes = 64 + partitions.sum::<usize>();
        left.checked_sub(bytes).inspect(|rest| left = *rest).is_some()
    });
    terms.len() - fit.count().max(KEPT_AT_LEAST.min(terms.len()))
}

/// What was appended to a log from one opening to the next.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Term {
    /// Counted from 0.
    pub number: u64,
    /// What no other term has, in any log.
    pub identity: String,
    /// Where the log ended when the term began.
    pub start: Position,
}

/// Terms: by which a state knows the log it was folded from.
pub trait TermLog: Send + Sync {
    /// The last terms of the log, in order, by which a state finds out whether it was folded from this log: from an older
    /// copy, one that gave up records or another one it was not. Empty if the log does not tell; then none is asked.
    ///
    /// # Errors
    /// `Closed` after [`close`](super::Changelog::close).
    fn terms(&self) -> Result<Vec<Term>> {
        Ok(Vec::new())
    }

    /// The term of the log that runs: the last of [`terms`](Self::terms).
    ///
    /// # Errors
    /// `Closed` after [`close`](super::Changelog::close).
    fn term(&self) -> Result<Option<Term>> {
        Ok(self.terms()?.pop())
    }
}

/// A term as a state remembers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TermId {
    pub(crate) number: u64,
    pub(crate) identity: String,
}

/// Why a state does not fit a log.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Misfit {
    /// The log never had the term.
    Foreign,
    /// The state has read this partition up to here, and the log went on from there.
    GivenUp { partition: TopicPartition, read: u64, kept: u64 },
}

impl Term {
    /// A term of a log.
    #[must_use]
    pub fn new(number: u64, identity: String, start: Position) -> Self {
        Self { number, identity, start }
    }

    pub(crate) fn id(&self) -> TermId {
        TermId { number: self.number, identity: self.identity.clone() }
    }
}

impl TermId {
    /// Looks whether a state of this term fits the log with these terms, given in order; `read` is what the state has read.
    /// A term that the log has forgotten fits, and so does a log without terms: nothing can be told.
    pub(crate) fn check<'p>(
        &self,
        terms: &[Term],
        mut read: impl Iterator<Item = (&'p TopicPartition, u64)>,
    ) -> Result<(), Misfit> {
        if terms.first().is_none_or(|first| self.number < first.number) {
            return Ok(());
        }
        let mut later = terms.iter().skip_while(|term| term.number < self.number);
        if later.next().is_none_or(|term| term.identity != self.identity) {
            return Err(Misfit::Foreign);
        }
        let Some(next) = later.next() else { return Ok(()) };
        match read.find(|(id, read)| *read > next.start.offset(id)) {
            Some((id, read)) => {
                Err(Misfit::GivenUp { partition: id.clone(), read, kept: next.start.offset(id) })
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(offset: u64) -> Position {
        [(TopicPartition::new("a", 0), offset)].into_iter().collect()
    }

    fn terms(terms: &[(u64, &str, u64)]) -> Vec<Term> {
        terms.iter().map(|&(number, identity, start)| Term::new(number, identity.into(), at(start))).collect()
    }

    #[test]
    fn terms_are_forgotten_by_what_they_take() {
        let of = |partitions: u32, count: u64| -> Vec<Term> {
            let start: Position =
                (0..partitions).map(|number| (TopicPartition::new("abcd", number), 7)).collect();
            (0..count).map(|number| Term::new(number, "x".into(), start.clone())).collect()
        };
        assert_eq!([forgettable(&of(1, 10_000)), forgettable(&of(1, 15_000))], [0, 15_000 - (1 << 20) / 80]);
        // At least so many, of whatever size.
        assert_eq!([forgettable(&of(10_000, 63)), forgettable(&of(10_000, 70))], [0, 6]);
        assert_eq!(forgettable(&[]), 0);
    }

    #[test]
    fn a_state_fits_the_log_it_was_folded_from_and_what_became_of_it() {
        let log = terms(&[(3, "x", 10), (4, "y", 20), (5, "z", 30)]);
        let fits = |number, identity: &str, read| {
            TermId { number, identity: identity.into() }.check(&log, at(read).iter())
        };
        assert!(fits(3, "x", 20).is_ok() && fits(4, "y", 30).is_ok() && fits(5, "z", 1000).is_ok());
        let given_up = |read, kept| Misfit::GivenUp { partition: TopicPartition::new("a", 0), read, kept };
        assert_eq!(fits(3, "x", 21), Err(given_up(21, 20)));
        assert_eq!(fits(4, "y", 31), Err(given_up(31, 30)));
        // The term of another log, or one that an older copy does not have.
        assert_eq!([fits(4, "x", 1), fits(6, "a", 1)], [Err(Misfit::Foreign), Err(Misfit::Foreign)]);
        // What is not remembered any more, and a log that does not tell.
        assert!(fits(2, "w", 1000).is_ok());
        assert!(TermId { number: 0, identity: "x".into() }.check(&[], at(1).iter()).is_ok());
    }
}
