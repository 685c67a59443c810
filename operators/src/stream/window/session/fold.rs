//! The node that keeps open sessions, closes them, and tells of both.
//!
//! It has two outlets: the sessions that are closed, and the updates of the table of all sessions, which it writes itself.

use super::open::join;
use super::told::{Outcome, Told, What, outcomes};
use super::{Session, SessionKey};
use crate::alarm::{AlarmedRows, Given, Kept, Moment};
use crate::stream::Windowed;
use crate::stream::outlet::Portion;
use millpond_engine::Result;
use millpond_engine::codec::{Key, Span, Value};
use millpond_engine::dataflow::{Changes, Context, Detail, Event, Failure, Operator, Stamp, Update};
use millpond_engine::graph::TableRef;
use std::collections::{BTreeMap, BTreeSet};
use std::marker::PhantomData;

/// The number of the outlet with what is closed, and of that with the updates of the table.
const CLOSED: usize = 0;
const TABLE: usize = 1;

/// What the node puts out for its outlets.
pub(super) type Folded<K, A> = (Portion<Vec<Event<Windowed<K>, A>>>, Portion<Vec<Update<SessionKey<K>, A>>>);

/// What becomes of rows of the table.
type Rows<K, A> = Vec<Event<SessionKey<K>, Option<A>>>;

/// Keeps sessions of values of the type `V`.
pub(super) struct Sessions<K, V, A, F, M> {
    pub(super) windows: Session,
    pub(super) open: AlarmedRows<K, Vec<Span<A>>>,
    pub(super) table: TableRef<SessionKey<K>, A>,
    pub(super) fold: F,
    pub(super) merge: M,
    pub(super) value: PhantomData<fn() -> V>,
}

impl<K, V, A, F, M> Operator for Sessions<K, V, A, F, M>
where
    K: Key,
    V: Value,
    A: Value,
    F: Fn(&K, &mut Option<A>, V) + Send + Sync + 'static,
    M: Fn(A, A) -> A + Send + Sync + 'static,
{
    type Input = Given<K, V>;
    type Output = Folded<K, A>;

    fn run(&self, context: &mut Context<'_>, input: Self::Input) -> Result<Option<Self::Output>, Failure> {
        let table = context.table(&self.table)?;
        let detail = context.outlet(TABLE).unwrap_or(Detail::Changes);
        let every = detail == Detail::Updates || table.may_refuse();
        let are_read = context.outlet(CLOSED).is_some();
        let (mut told, mut closed) = (Vec::new(), Vec::new());
        self.open.fold(context, input, Detail::Changes, |key, moment, kept, stamp| {
            match moment {
                Moment::Record(value) => self.take(key, value, kept, (stamp, every), &mut told),
                Moment::Alarm(at_ms) => {
                    for (session, value) in self.close(key, at_ms, kept) {
                        if are_read {
                            closed.push(closing(session.clone(), value.clone(), *stamp));
                        }
                        if !every {
                            told.push(Told { session, what: What::Final(value), stamp: *stamp });
                        }
                    }
                }
            }
            Ok(())
        })?;
        let events =
            if every { told.into_iter().map(update).collect() } else { self.outcomes(context, told)? };
        let updates = table.fold(context, events, detail, |_, row, value| *row = value)?;
        closed.sort_by_key(|event| event.stamp);
        Ok(Some((Portion::new(closed), Portion::new(updates))))
    }
}

impl<K, V, A, F, M> Sessions<K, V, A, F, M>
where
    K: Key,
    A: Value,
    F: Fn(&K, &mut Option<A>, V),
    M: Fn(A, A) -> A,
{
    /// Takes in a record, and tells what has become of sessions; with values if `every` one of these is wanted.
    fn take(
        &self,
        key: &K,
        value: V,
        kept: &mut Kept<Vec<Span<A>>>,
        (stamp, every): (&Stamp, bool),
        told: &mut Vec<Told<K, A>>,
    ) {
        let sessions = kept.state.get_or_insert_default();
        let fold = |acc: &mut Option<A>| (self.fold)(key, acc, value);
        let joined = join(sessions, stamp.timestamp_ms, self.windows, fold, &self.merge);
        let Some((before, index)) = joined else { return };
        let Some(session) = sessions.get(index) else { return };
        let bounds = (session.start_ms, session.last_ms);
        let is_new = !before.contains(&bounds);
        let mut tell =
            |bounds, what| told.push(Told { session: session_of(key, bounds), what, stamp: *stamp });
        for bounds in before.into_iter().filter(|before| *before != bounds) {
            tell(bounds, What::Gone);
        }
        let value = every.then(|| session.value.clone());
        tell(bounds, What::Open { is_new, value });
        kept.alarm_ms = sessions.first().map(|first| self.windows.close_of(first.last_ms));
    }

    /// The sessions that are closed at `at_ms`.
    fn close(&self, key: &K, at_ms: i64, kept: &mut Kept<Vec<Span<A>>>) -> Vec<(SessionKey<K>, A)> {
        let mut sessions = kept.state.take().unwrap_or_default();
        let past = sessions.partition_point(|session| self.windows.close_of(session.last_ms) <= at_ms);
        let closed = sessions.drain(..past);
        let closed = closed
            .map(|session| (session_of(key, (session.start_ms, session.last_ms)), session.value))
            .collect();
        kept.alarm_ms = sessions.first().map(|first| self.windows.close_of(first.last_ms));
        kept.state = (!sessions.is_empty()).then_some(sessions);
        closed
    }

    /// What is to be written of the sessions of which something was told, if only the outcome is wanted.
    fn outcomes(&self, context: &Context<'_>, told: Vec<Told<K, A>>) -> Result<Rows<K, A>, Failure> {
        let outcomes = outcomes(told);
        let asked = outcomes.iter().filter(|event| matches!(event.value, Outcome::AsItIs));
        let keys: Vec<K> =
            asked.map(|event| event.key.key.clone()).collect::<BTreeSet<_>>().into_iter().collect();
        let rows = context.table(&self.open.table())?.look_up(context, &keys.iter().collect::<Vec<_>>())?;
        let rows: BTreeMap<K, Vec<Span<A>>> =
            keys.into_iter().zip(rows).filter_map(|(key, row)| Some((key, row?.value))).collect();
        let event = |Event { key, value, stamp }: Event<SessionKey<K>, Outcome<A>>| {
            let value = match value {
                Outcome::Gone => None,
                Outcome::Value(value) => Some(value),
                Outcome::AsItIs => {
                    let sessions = rows.get(&key.key).into_iter().flatten();
                    sessions
                        .into_iter()
                        .find(|session| session.start_ms == key.start_ms)
                        .map(|found| found.value.clone())
                }
            };
            Event { key, value, stamp }
        };
        Ok(outcomes.into_iter().map(event).collect())
    }
}

fn session_of<K: Key>(key: &K, (start_ms, last_ms): (i64, i64)) -> SessionKey<K> {
    SessionKey::new(start_ms, last_ms.saturating_add(1), key.clone())
}

/// A session that is closed, dated with its last record.
fn closing<K: Key, A>(session: SessionKey<K>, value: A, mut stamp: Stamp) -> Event<Windowed<K>, A> {
    let last_ms = session.end_ms.saturating_sub(1);
    (stamp.timestamp_ms, stamp.stream_time_ms) = (last_ms, last_ms);
    Event { key: session.into(), value, stamp }
}

/// What was told with its value, as what becomes of the row.
fn update<K, A>(Told { session, what, stamp }: Told<K, A>) -> Event<SessionKey<K>, Option<A>> {
    let value = match what {
        What::Gone => None,
        What::Open { value, .. } => value,
        What::Final(value) => Some(value),
    };
    Event { key: session, value, stamp }
}

/// The outlet of what is closed.
pub(super) struct Closed<K, A>(pub(super) PhantomData<fn() -> (K, A)>);

impl<K: Key, A: Value> Operator for Closed<K, A> {
    type Input = (Folded<K, A>,);
    type Output = Vec<Event<Windowed<K>, A>>;

    fn run(
        &self,
        context: &mut Context<'_>,
        ((closed, _),): Self::Input,
    ) -> Result<Option<Self::Output>, Failure> {
        let mut closed = closed.take()?;
        context.tell(&mut closed);
        Ok(Some(closed))
    }
}

/// The outlet of the table of all sessions.
pub(super) struct All<K, A> {
    pub(super) table: TableRef<SessionKey<K>, A>,
}

impl<K: Key, A: Value> Operator for All<K, A> {
    type Input = (Folded<K, A>,);
    type Output = Changes<SessionKey<K>, A>;

    fn run(
        &self,
        context: &mut Context<'_>,
        ((_, updates),): Self::Input,
    ) -> Result<Option<Self::Output>, Failure> {
        if !context.is_read() {
            return Ok(None);
        }
        let table = context.table(&self.table)?;
        Ok(Some(table.changes(context, updates.take()?)?))
    }
}
