//! The open sessions of a key, in the order of time, with more than a gap between any two.

use super::Session;
use millpond_engine::codec::Span;

/// Takes the record at `at_ms` into `sessions`: into the one that it is in or beside, or into a new one; if it stands between two
/// that it joins, they become one. Shows `was` the bounds of the sessions that are no more as they were, and answers with the place of the
/// one that has it.
pub(super) fn join<A>(
    sessions: &mut Vec<Span<A>>,
    at_ms: i64,
    windows: Session,
    fold: impl FnOnce(&mut Option<A>),
    merge: impl Fn(A, A) -> A,
    mut was: impl FnMut((i64, i64)),
) -> Option<usize> {
    let (earliest, latest) = (at_ms.saturating_sub(windows.gap_ms), at_ms.saturating_add(windows.gap_ms));
    let first = sessions.partition_point(|session| session.last_ms < earliest);
    let past = sessions.partition_point(|session| session.start_ms <= latest);
    let (mut start_ms, mut last_ms) = (at_ms, at_ms);
    let mut value = None;
    let mut later: Vec<A> = Vec::new();
    for Span { start_ms: start, last_ms: last, value: acc } in sessions.drain(first..past) {
        was((start, last));
        (start_ms, last_ms) = (start_ms.min(start), last_ms.max(last));
        if value.is_none() {
            value = Some(acc);
        } else {
            later.push(acc);
        }
    }
    fold(&mut value);
    let value = later.into_iter().fold(value?, merge);
    if sessions.is_empty() {
        // Most keys have one at a time.
        sessions.reserve_exact(1);
    }
    sessions.insert(first, Span { start_ms, last_ms, value });
    Some(first)
}
