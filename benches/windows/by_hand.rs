//! The same by hand: `HashMap`s in memory, on one core.

use crate::{Args, GRACE_MS, TOPIC, agree, digest};
use millpond::changelog::Durability;
use millpond_support::bench::measured::{Clock, Measured};
use millpond_support::bench::{Outcome, log};
use rustc_hash::FxHashMap;
use std::collections::BTreeMap;
use std::path::Path;

/// Hands each record of the log with its key, its time, how far its partition and all of them have come to `visit`.
fn read(args: &Args, scratch: &Path, mut visit: impl FnMut(u64, i64, i64, i64)) -> Outcome<Measured> {
    let log = log::open(&scratch.join("log"), Durability::Fsync)?;
    let mut latest = vec![i64::MIN; args.common.partitions as usize];
    let clock = Clock::start();
    log::read(&*log, &[TOPIC], args.common.partitions, |_, record| {
        let (key, _): (u64, u64) = log::decode(&record)?;
        let bytes = record.key.unwrap_or_default();
        let partition = millpond::changelog::partition_for_key(bytes, args.common.partitions);
        let reached = latest.get_mut(partition as usize).ok_or("a partition that is not there")?;
        *reached = record.timestamp_ms.max(*reached);
        let reached = *reached;
        visit(key, record.timestamp_ms, reached, latest.iter().copied().min().unwrap_or(i64::MIN));
        Ok(true)
    })?;
    Ok(clock.stop(args.records()))
}

pub(crate) fn tumbling(args: &Args, scratch: &Path) -> Outcome<Measured> {
    let size = i64::try_from(args.size_ms.max(1))?;
    let mut open: BTreeMap<i64, FxHashMap<u64, u64>> = BTreeMap::new();
    let mut closed: Vec<(i64, FxHashMap<u64, u64>)> = Vec::new();
    let measured = read(args, scratch, |key, at, reached, watermark| {
        let start = at.div_euclid(size) * size;
        if reached < start + size + GRACE_MS {
            *open.entry(start).or_default().entry(key).or_default() += 1;
        }
        while let Some(first) = open.first_entry().filter(|first| first.key() + size + GRACE_MS <= watermark)
        {
            closed.push(first.remove_entry());
        }
    })?;
    let mut totals: FxHashMap<u64, u64> = FxHashMap::default();
    for (key, count) in open.into_iter().chain(closed).flat_map(|(_, counts)| counts) {
        *totals.entry(key).or_default() += count;
    }
    Ok(measured.with_digest(digest(args, |key| Ok(totals.get(&key).copied()))?))
}

/// A session: its first record, its last one, and how many there are.
type Session = (i64, i64, u64);

pub(crate) fn session(args: &Args, scratch: &Path) -> Outcome<Measured> {
    let gap = i64::try_from(args.gap_ms.max(1))?;
    let close = |session: &Session| session.1 + gap + GRACE_MS + 1;
    let mut open: FxHashMap<u64, Vec<Session>> = FxHashMap::default();
    // The keys that are to be looked at again at a time, which is not later than when the first of their sessions closes.
    let mut due: BTreeMap<i64, Vec<u64>> = BTreeMap::new();
    let mut closed: Vec<(u64, Session)> = Vec::new();
    let measured = read(args, scratch, |key, at, reached, watermark| {
        if reached - GRACE_MS <= at {
            let sessions = open.entry(key).or_default();
            let first = sessions.first().map(close);
            join(sessions, at, gap);
            if let Some(now) = sessions.first().map(close)
                && first.is_none_or(|first| now < first)
            {
                due.entry(now).or_default().push(key);
            }
        }
        while let Some(first) = due.first_entry().filter(|first| *first.key() <= watermark) {
            for key in first.remove() {
                let Some(sessions) = open.get_mut(&key) else { continue };
                let past = sessions.partition_point(|session| close(session) <= watermark);
                closed.extend(sessions.drain(..past).map(|session| (key, session)));
                match sessions.first() {
                    Some(session) => due.entry(close(session)).or_default().push(key),
                    None => drop(open.remove(&key)),
                }
            }
        }
    })?;
    let open = open.iter().flat_map(|(key, sessions)| sessions.iter().map(|session| (*key, *session)));
    let mut totals: FxHashMap<u64, u64> = FxHashMap::default();
    let all: Vec<(u64, Session)> = open.chain(closed).collect();
    for (key, (_, _, count)) in &all {
        *totals.entry(*key).or_default() += count;
    }
    agree(
        scratch,
        all.iter().map(|(key, (start, last, count))| {
            Ok([start.cast_unsigned(), (last + 1).cast_unsigned(), *key, *count])
        }),
    )?;
    Ok(measured.with_digest(digest(args, |key| Ok(totals.get(&key).copied()))?))
}

/// Takes the record at `at` into the sessions of its key, which are in the order of time.
fn join(sessions: &mut Vec<Session>, at: i64, gap: i64) {
    let first = sessions.partition_point(|session| session.1 < at - gap);
    let past = sessions.partition_point(|session| session.0 <= at + gap);
    let together = |one: Session, other: Session| (one.0.min(other.0), one.1.max(other.1), one.2 + other.2);
    let session = sessions.drain(first..past).fold((at, at, 1), together);
    sessions.insert(first, session);
}
