//! What an epoch tells of sessions, as it becomes of their table.
//!
//! Where every update is wanted, each is told with its value. Where only the outcome is, a session that became longer and longer was
//! never there in between, and its value is looked at once.

use super::SessionKey;
use millpond_engine::codec::Key;
use millpond_engine::dataflow::{Event, Stamp};

/// One thing that became of one session.
pub(super) struct Told<K, A> {
    pub(super) session: SessionKey<K>,
    pub(super) what: What<A>,
    pub(super) stamp: Stamp,
}

pub(super) enum What<A> {
    /// It has become another one.
    Gone,
    /// It has another value, which is told where every update is wanted; it may be a new one.
    Open { is_new: bool, value: Option<A> },
    /// It is closed, with this value.
    Final(A),
}

/// What is left to be written of a session: nothing if it goes, a value, or that which its key has now.
pub(super) enum Outcome<A> {
    Gone,
    Value(A),
    AsItIs,
}

/// The outcome of each session of which something was told, in the order of sessions.
pub(super) fn outcomes<K: Key, A>(mut told: Vec<Told<K, A>>) -> Vec<Event<SessionKey<K>, Outcome<A>>> {
    told.sort_by(|a, b| a.session.cmp(&b.session));
    let mut outcomes: Vec<Event<SessionKey<K>, Outcome<A>>> = Vec::new();
    let mut came = false;
    for Told { session, what, stamp } in told {
        let is_first = outcomes.last().is_none_or(|last| last.key != session);
        if is_first {
            came = matches!(what, What::Open { is_new: true, .. });
        }
        let goes = matches!(what, What::Gone);
        let value = match what {
            What::Gone => Outcome::Gone,
            What::Open { .. } => Outcome::AsItIs,
            What::Final(value) => Outcome::Value(value),
        };
        match outcomes.last_mut().filter(|_| !is_first) {
            // It came and went: it never was there.
            Some(_) if goes && came => drop(outcomes.pop()),
            Some(last) => (last.value, last.stamp) = (value, stamp),
            None => outcomes.push(Event { key: session, value, stamp }),
        }
    }
    outcomes
}
