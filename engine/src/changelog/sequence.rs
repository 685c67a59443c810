//! The sequence: the one order of all records of a log, over all topics and partitions.
//!
//! Every record that is appended gets the next number. So the records of one partition have ascending numbers, with gaps
//! where others were appended in between, and a batch, which holds records of one partition, stands for one or more
//! runs of numbers. Numbers are never used twice; some may never be used.

use crate::varint::{read_varint, write_varint};
use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

/// Records of one partition that follow each other in the sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// The number of the first one.
    pub sequence: u64,
    /// How many; never 0.
    pub records: u64,
}

impl Run {
    /// The number after the last one.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.sequence + self.records
    }

    /// Adds `next` to `runs`: to the last one, if it follows that without a gap.
    pub(crate) fn extend(runs: &mut Vec<Self>, next: Self) {
        match runs.last_mut() {
            Some(last) if last.end() == next.sequence => last.records += next.records,
            _ => runs.push(next),
        }
    }

    /// The bytes of `runs`; none if there is at most one.
    pub(super) fn encode(runs: &[Self]) -> Vec<u8> {
        let [first, _, ..] = runs else { return Vec::new() };
        let mut out = Vec::with_capacity(runs.len() * 2);
        let mut after = first.sequence;
        for run in runs {
            write_varint(&mut out, run.records);
            write_varint(&mut out, run.sequence.wrapping_sub(after));
            after = run.end();
        }
        out
    }

    /// Reads the runs of `records` records, of which the first has the number `first`; `None` if the bytes are not that.
    pub(super) fn decode(mut bytes: &[u8], first: u64, records: u32) -> Option<Vec<Self>> {
        let mut left = u64::from(records);
        if bytes.is_empty() {
            return Some(vec![Self { sequence: first, records: left }]);
        }
        let (mut runs, mut after) = (Vec::new(), first);
        while !bytes.is_empty() {
            let records = read_varint(&mut bytes)?;
            let gap = read_varint(&mut bytes)?;
            // Where there is no gap there is no other run, and the first one begins with the batch.
            if records == 0 || (gap == 0) != runs.is_empty() {
                return None;
            }
            let sequence = after.checked_add(gap)?;
            after = sequence.checked_add(records)?;
            left = left.checked_sub(records)?;
            runs.push(Self { sequence, records });
        }
        (left == 0 && runs.len() > 1).then_some(runs)
    }
}

/// The places of offsets that ascend, in runs that begin at an offset.
pub(crate) struct Places<'r> {
    runs: &'r [Run],
    /// The offset at which the first of `runs` begins.
    offset: u64,
}

impl<'r> Places<'r> {
    pub(crate) fn new(offset: u64, runs: &'r [Run]) -> Self {
        Self { runs, offset }
    }

    /// The place of `offset`, which lies above those asked for before; `None` if it is in no run.
    #[inline]
    pub(crate) fn of(&mut self, offset: u64) -> Option<u64> {
        loop {
            let (run, rest) = self.runs.split_first()?;
            let passed = offset.checked_sub(self.offset)?;
            if passed < run.records {
                return Some(run.sequence + passed);
            }
            self.offset += run.records;
            self.runs = rest;
        }
    }
}

/// Which partitions got records last, so that whoever follows the log need not look at all of them.
#[derive(Debug, Clone)]
pub(super) struct LastAppends<P> {
    by_end: BTreeMap<u64, P>,
    /// The number of the last record of each partition that has any; no two share it.
    ends: HashMap<P, u64>,
}

impl<P> Default for LastAppends<P> {
    fn default() -> Self {
        Self { by_end: BTreeMap::new(), ends: HashMap::new() }
    }
}

impl<P: Clone + Eq + Hash> LastAppends<P> {
    /// Notes that the last record of `partition` has the number `last`.
    pub(super) fn put(&mut self, partition: P, last: u64) {
        if let Some(before) = self.ends.insert(partition.clone(), last) {
            self.by_end.remove(&before);
        }
        self.by_end.insert(last, partition);
    }

    /// The partitions that hold records numbered `since` or above.
    pub(super) fn since(&self, since: u64) -> impl Iterator<Item = &P> {
        self.by_end.range(since..).map(|(_, partition)| partition)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn runs_are_golden() {
        let runs = [(7, 2), (10, 1), (311, 5)].map(|(sequence, records)| Run { sequence, records });
        let bytes = [2, 0, 1, 1, 5, 0xac, 2];
        assert_eq!(Run::encode(&runs), bytes);
        assert_eq!(Run::decode(&bytes, 7, 8).unwrap(), runs);
        assert_eq!(Run::decode(&[], 7, 8), Some(vec![Run { sequence: 7, records: 8 }]));
        // Another count, a first gap, an empty run, a run that is none, a number past the last one.
        assert_eq!(Run::decode(&bytes, 7, 9), None);
        assert_eq!(Run::decode(&[2, 1, 1, 1], 7, 3), None);
        assert_eq!(Run::decode(&[2, 0, 0, 1], 7, 2), None);
        assert_eq!(Run::decode(&[2, 0, 1, 0], 7, 3), None);
        assert_eq!(Run::decode(&[2, 0, 1, 1], u64::MAX - 2, 3), None);
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(first in any::<u32>(), gaps in prop::collection::vec((1..4_u64, 0..3_u64), 1..30)) {
            let (mut runs, mut next) = (Vec::new(), u64::from(first));
            for (records, gap) in gaps {
                Run::extend(&mut runs, Run { sequence: next, records });
                next += records + gap;
            }
            let records = u32::try_from(runs.iter().map(|run| run.records).sum::<u64>()).unwrap();
            prop_assert_eq!(Run::decode(&Run::encode(&runs), u64::from(first), records), Some(runs));
        }

        #[test]
        fn any_bytes_are_runs_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..20), first: u64, records: u32) {
            if let Some(runs) = Run::decode(&bytes, first, records) {
                prop_assert_eq!(runs.iter().map(|run| run.records).sum::<u64>(), u64::from(records));
                prop_assert!(runs.windows(2).all(|pair| pair[0].end() < pair[1].sequence));
            }
        }
    }
}
