//! Sliding windows: as KIP-450 defines them, and as Kafka Streams makes them of those that are there.

use super::log::{Log, Record};
use super::rules::Rules;
use super::told::Final;
use std::collections::{BTreeMap, BTreeSet};

/// The finals of sliding windows, ends included.
pub(crate) fn sliding(log: &Log, rules: &Rules) -> Vec<Final> {
    let records = log.by_time(|record| record.side.is_some() || !rules.empty_records_take_no_time);
    if rules.sliding_from_what_is_there {
        let mut made = Made {
            log,
            rules,
            windows: BTreeMap::new(),
            told: Vec::new(),
            waiting: BTreeMap::new(),
            reached: i64::MIN,
            kept: i64::MIN,
        };
        for (record, reached) in records.iter().filter(|(record, _)| record.side.is_some()) {
            made.take(record, *reached);
        }
        return made.told;
    }
    let watermark = records.last().map_or(i64::MIN, |(_, reached)| *reached);
    let close = |start: i64| start + log.difference + 1 + log.grace;
    let counts = |reached: i64, start: i64| reached < close(start);
    let with_values: Vec<&(Record, i64)> =
        records.iter().filter(|(record, _)| record.side.is_some()).collect();
    let mut windows = BTreeSet::new();
    for (record, reached) in &with_values {
        if counts(*reached, record.at) {
            let starts = [record.at - log.difference, record.at + 1];
            windows.extend(
                starts.into_iter().filter(|start| counts(*reached, *start)).map(|start| (start, record.key)),
            );
        }
    }
    let finals = windows.into_iter().filter(|(start, _)| close(*start) <= watermark).map(|(start, key)| {
        let end = start + log.difference;
        let within = with_values.iter().filter(|(record, reached)| {
            record.key == key && (start..=end).contains(&record.at) && counts(*reached, start)
        });
        (start, end, key, within.map(|(record, _)| record.number).collect::<Vec<_>>())
    });
    finals.filter(|(.., numbers)| !numbers.is_empty()).collect()
}

/// What is in a window, and the greatest timestamp in it.
type Contents = (Vec<u64>, i64);

/// Windows as Kafka Streams makes them.
struct Made<'a> {
    log: &'a Log,
    rules: &'a Rules,
    /// By key and start.
    windows: BTreeMap<(u8, i64), Contents>,
    /// What is told once it is closed, by start and key.
    waiting: BTreeMap<(i64, u8), Vec<u64>>,
    /// How far time has come with what was handed on.
    reached: i64,
    /// From when on windows are kept in the store.
    kept: i64,
    told: Vec<Final>,
}

impl Made<'_> {
    fn take(&mut self, record: &Record, reached: i64) {
        let close = reached - self.log.grace;
        if record.at + self.log.difference < close {
            return;
        }
        if self.rules.nothing_before_1970 && record.at < self.log.difference {
            self.take_early(record, close);
        } else {
            self.take_other(record, close);
        }
    }

    /// Those of a key that begin between, the last first.
    fn there(&self, key: u8, first: i64, last: i64) -> Vec<(i64, Contents)> {
        let there = self.windows.range((key, first)..=(key, last)).rev();
        let there = there.filter(|((_, start), _)| *start >= self.kept);
        there.map(|((_, start), contents)| (*start, contents.clone())).collect()
    }

    fn take_other(&mut self, record: &Record, close: i64) {
        let (at, difference) = (record.at, self.log.difference);
        let first = at - 2 * difference;
        let first = if self.rules.nothing_before_1970 { first.max(0) } else { first };
        let there = self.there(record.key, first, at + 1);
        let is_there = |start: i64| there.iter().any(|(there, _)| *there == start);
        let (mut right, mut left, mut before) = (None, None, None);
        for (start, contents) in &there {
            if *start == at + 1 {
                continue;
            }
            if start + difference < at {
                (left, before) = (Some(contents), Some(contents.1));
                break;
            }
            self.put(record, *start, contents.clone(), close);
            if start + difference > at {
                right = right.or(Some(contents));
            } else if contents.1 < at {
                before = Some(contents.1);
            } else {
                return;
            }
        }
        let behind = before.map(|before| before + 1);
        if let Some(start) = behind.filter(|start| !is_there(*start) && start + difference >= at) {
            self.put(record, start, (Vec::new(), at), close);
        }
        if !is_there(at - difference) {
            let reaches = before.is_some_and(|before| at - difference <= before);
            let base = left.filter(|_| reaches).map(|(numbers, _)| numbers.clone());
            self.put(record, at - difference, (base.unwrap_or_default(), at), close);
        }
        if let Some(right) = right.filter(|right| right.1 > at && !is_there(at + 1)) {
            self.hand_on(record.key, at + 1, right.clone());
        }
    }

    /// All that would be in windows before 1970 is in one that begins with it.
    fn take_early(&mut self, record: &Record, close: i64) {
        let at = record.at;
        let there = self.there(record.key, 0, at + 1);
        let is_there = |start: i64| there.iter().any(|(there, _)| *there == start);
        let (mut right, mut combined) = (None, None);
        for (start, contents) in there.iter().rev() {
            if *start == 0 {
                combined = Some(contents);
            } else if *start <= at {
                right = Some(contents);
                self.put(record, *start, contents.clone(), close);
            }
        }
        let right = right.or(combined);
        if let Some(right) = right.filter(|right| right.1 > at && !is_there(at + 1)) {
            self.hand_on(record.key, at + 1, right.clone());
        }
        if let Some(before) = combined.map(|(_, last)| *last).filter(|last| *last < at && !is_there(last + 1))
        {
            self.put(record, before + 1, (Vec::new(), at), close);
        }
        self.put(record, 0, combined.cloned().unwrap_or((Vec::new(), at)), close);
    }

    fn put(&mut self, record: &Record, start: i64, (mut numbers, last): Contents, close: i64) {
        if start + self.log.difference >= close {
            numbers.push(record.number);
            self.hand_on(record.key, start, (numbers, last.max(record.at)));
        }
    }

    fn hand_on(&mut self, key: u8, start: i64, contents: Contents) {
        self.reached = self.reached.max(contents.1);
        self.waiting.insert((start, key), contents.0.clone());
        self.kept = self.kept.max(start - 2 * self.log.difference - self.log.grace + 1);
        if start >= self.kept {
            self.windows.insert((key, start), contents);
        }
        let after = self.log.difference + self.log.grace + i64::from(!self.rules.told_before_the_close);
        while let Some(first) = self.waiting.first_entry() {
            let (start, key) = *first.key();
            if start + after > self.reached {
                break;
            }
            self.told.push((start, start + self.log.difference, key, first.remove()));
        }
    }
}
