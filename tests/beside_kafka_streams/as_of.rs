//! Joins of a stream with what a table was at the time of each record. The two are topics of their own, each with a time.

use super::log::{Log, Record, Side};
use super::rules::Rules;
use super::told::Pair;

/// What each record that is let go has met.
pub(crate) fn joined(log: &Log, rules: &Rules) -> Vec<Pair> {
    if rules.as_of_by_the_stream { by_the_stream(log, rules) } else { by_both(log) }
}

fn pair(record: &Record, met: Option<&Record>) -> Pair {
    (record.key, Some(record.number), met.filter(|update| !update.deletes).map(|update| update.number))
}

fn by_both(log: &Log) -> Vec<Pair> {
    let records = log.by_time(|record| record.side == Some(Side::Left));
    let mut updates = log.by_time(|record| record.side == Some(Side::Right));
    let end = |side: &[(Record, i64)]| side.last().map_or(i64::MIN, |(_, reached)| *reached);
    let watermark = end(&records).min(end(&updates));
    updates.retain(|(update, reached)| *reached < update.at + 1 + log.history);
    let let_go = records.iter().filter(|(record, reached)| {
        let close = record.at + 1 + log.grace;
        *reached < close && close <= watermark
    });
    let joined = let_go.map(|(record, _)| {
        let known = updates.iter().filter(|(update, reached)| {
            update.key == record.key && update.at <= record.at && *reached < record.at + 1 + log.grace
        });
        let met = known.max_by_key(|(update, reached)| (update.at, *reached, update.number));
        pair(record, met.map(|(update, _)| update))
    });
    joined.collect()
}

fn by_the_stream(log: &Log, rules: &Rules) -> Vec<Pair> {
    let (mut versions, mut waiting, mut told) = (Vec::<Record>::new(), Vec::<Record>::new(), Vec::new());
    let (mut time, mut time_of_updates) = (i64::MIN, i64::MIN);
    for record in log.records.iter().filter(|record| record.side.is_some()) {
        if record.side == Some(Side::Right) {
            if record.at >= time_of_updates.saturating_sub(log.history) {
                time_of_updates = time_of_updates.max(record.at);
                let mut of_key = versions.iter().filter(|update| update.key == record.key).peekable();
                let is_all_there_is = of_key.peek().is_some() && of_key.all(|update| update.at == record.at);
                if rules.deletions_leave_no_trace && record.deletes && is_all_there_is {
                    versions.retain(|update| update.key != record.key);
                } else {
                    versions.push(*record);
                }
            }
            continue;
        }
        let is_late = record.at < time.saturating_sub(log.grace);
        time = time.max(record.at);
        let go = if is_late {
            vec![*record]
        } else {
            waiting.push(*record);
            let (go, stay) = waiting.into_iter().partition(|waiting| waiting.at <= time - log.grace);
            waiting = stay;
            go
        };
        told.extend(go.iter().map(|record| {
            let of_key = versions.iter().filter(|update| update.key == record.key);
            let latest = of_key.clone().map(|update| update.at).max();
            let met = of_key
                .filter(|update| update.at <= record.at)
                .max_by_key(|update| (update.at, update.number));
            // What is older than the history is not looked for, but the latest row is there for ever.
            let is_kept = record.at >= time_of_updates.saturating_sub(log.history);
            pair(record, met.filter(|update| is_kept || Some(update.at) == latest))
        }));
    }
    told
}
