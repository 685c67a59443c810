//! Windows of one size, and sessions.

use super::log::Log;
use super::rules::Rules;
use super::told::Final;
use std::collections::BTreeMap;

/// A record as windows hold it; 0 is one without a value.
fn number(record: &super::log::Record) -> u64 {
    record.side.map_or(0, |_| record.number)
}

/// The finals of windows of `log.size` that begin every `hop`.
pub(crate) fn grid(log: &Log, hop: i64, rules: &Rules) -> Vec<Final> {
    let mut windows = BTreeMap::<(i64, u8), Vec<u64>>::new();
    let records = log.by_time(|_| true);
    for (record, reached) in &records {
        if record.side.is_none() && !rules.empty_records_count {
            continue;
        }
        let last = record.at.div_euclid(hop) * hop;
        let starts = (0..).map(|back| last - back * hop).take_while(|start| start + log.size > record.at);
        for start in starts.filter(|start| *start >= 0 || !rules.nothing_before_1970) {
            if *reached < start + log.size + log.grace {
                windows.entry((start, record.key)).or_default().push(number(record));
            }
        }
    }
    let watermark = records.last().map_or(i64::MIN, |(_, reached)| *reached);
    windows.retain(|(start, _), _| start + log.size + log.grace <= watermark);
    windows.into_iter().map(|((start, key), numbers)| (start, start + log.size, key, numbers)).collect()
}

/// A session under way: its first and last moment, and the numbers of its records.
type Session = (i64, i64, Vec<u64>);

/// The finals of sessions. Records are taken one after the other, as it may matter which come first.
pub(crate) fn sessions(log: &Log, rules: &Rules) -> Vec<Final> {
    let mut open = BTreeMap::<u8, Vec<Session>>::new();
    let mut finals = Vec::new();
    let close = |last: i64| last + log.gap + log.grace + i64::from(!rules.told_before_the_close);
    for (record, reached) in log.by_time(|_| true) {
        if record.side.is_some() || rules.empty_records_count {
            let sessions = open.entry(record.key).or_default();
            let is_near =
                |session: &Session| session.0 - log.gap <= record.at && record.at <= session.1 + log.gap;
            let (near, apart): (Vec<_>, Vec<_>) = sessions.drain(..).partition(is_near);
            let last = near.iter().map(|session| session.1).fold(record.at, i64::max);
            let counts = if rules.late_records_join_sessions {
                last >= reached - log.gap - log.grace
            } else {
                reached < record.at + 1 + log.grace
            };
            *sessions = apart;
            if counts {
                let first = near.iter().map(|session| session.0).fold(record.at, i64::min);
                let mut numbers: Vec<u64> = near.into_iter().flat_map(|session| session.2).collect();
                numbers.push(number(&record));
                sessions.push((first, last, numbers));
            } else {
                sessions.extend(near);
            }
        }
        for (key, sessions) in &mut open {
            let (told, stay) = sessions.drain(..).partition(|session: &Session| close(session.1) <= reached);
            *sessions = stay;
            finals.extend(told.into_iter().map(|(first, last, numbers)| (first, last, *key, numbers)));
        }
    }
    finals
}
