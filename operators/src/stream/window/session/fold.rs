//! The node that keeps open sessions, closes them, and tells of both.
//!
//! It has two outlets: the sessions that are closed, and the updates of the table of all sessions, which it writes itself.

use super::open::join;
use super::{Session, SessionKey, end_of};
use crate::alarm::{AlarmedRows, Given, Kept, Moment};
use crate::stream::Windowed;
use crate::stream::outlet::Portion;
use millpond_engine::Result;
use millpond_engine::codec::{Key, Span, Value};
use millpond_engine::dataflow::{Change, Changes, Context, Detail, Event, Failure, Operator, Stamp, Update};
use millpond_engine::graph::TableRef;
use millpond_engine::state::TableState;
use std::collections::HashMap;
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
        let (mut told, mut closed) = (Vec::new(), Vec::new());
        self.open.fold_unfiled(context, input, Detail::Changes, |key, moment, kept, stamp| {
            match moment {
                Moment::Record(value) => self.take(key, value, kept, stamp, every.then_some(&mut told)),
                Moment::Alarm(at_ms) => {
                    let sessions = self.close(key, at_ms, kept).into_iter();
                    closed.extend(sessions.map(|(session, value)| closing(session, value, *stamp)));
                }
            }
            Ok(())
        })?;
        let mut updates = Vec::new();
        if every {
            self.open.file(context, |_, _, _, _| ())?;
            updates = table.fold(context, told, detail, |_, row, value| *row = value)?;
        } else {
            let changes = self.outcome(context, &table, &closed)?;
            if context.is_looked_into(&self.table) {
                let rows = changes.into_iter().map(|Change { key, new, stamp, .. }| Event {
                    key,
                    value: new,
                    stamp,
                });
                updates = table.fold(context, rows.collect(), detail, |_, row, value| *row = value)?;
            } else {
                // It is all in the rows of the open ones already: nothing has to be looked up.
                table.replace(context, changes)?;
            }
        }
        if context.outlet(CLOSED).is_some() {
            closed.sort_by_key(|event| event.stamp);
        } else {
            closed.clear();
        }
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
    /// Takes in a record, and tells what has become of sessions.
    fn take(
        &self,
        key: &K,
        value: V,
        kept: &mut Kept<Vec<Span<A>>>,
        stamp: &Stamp,
        told: Option<&mut Rows<K, A>>,
    ) {
        let sessions = kept.state.get_or_insert_default();
        let fold = |acc: &mut Option<A>| (self.fold)(key, acc, value);
        let mut before = Vec::new();
        let was = |(start_ms, last_ms): (i64, i64)| {
            if told.is_some() {
                before.push((start_ms, end_of(last_ms)));
            }
        };
        let joined = join(sessions, stamp.timestamp_ms, self.windows, fold, &self.merge, was);
        if let (Some(told), Some(session)) = (told, joined.and_then(|index| sessions.get(index))) {
            let bounds = (session.start_ms, end_of(session.last_ms));
            let mut tell =
                |bounds, value| told.push(Event { key: session_of(key, bounds), value, stamp: *stamp });
            for bounds in before.into_iter().filter(|before| *before != bounds) {
                tell(bounds, None);
            }
            tell(bounds, Some(session.value.clone()));
        }
        kept.alarm_ms = sessions.first().map(|first| self.windows.close_of(first.last_ms));
    }

    /// The sessions that are closed at `at_ms`.
    fn close(&self, key: &K, at_ms: i64, kept: &mut Kept<Vec<Span<A>>>) -> Vec<(SessionKey<K>, A)> {
        let mut sessions = kept.state.take().unwrap_or_default();
        let past = sessions.partition_point(|session| self.windows.close_of(session.last_ms) <= at_ms);
        let closed = sessions.drain(..past);
        let closed = closed
            .map(|session| (session_of(key, (session.start_ms, end_of(session.last_ms))), session.value))
            .collect();
        kept.alarm_ms = sessions.first().map(|first| self.windows.close_of(first.last_ms));
        kept.state = (!sessions.is_empty()).then_some(sessions);
        closed
    }

    /// What becomes of sessions, where only the outcome is wanted: one that became longer and longer was never there in between,
    /// and one that `closed` as it was before is there already. Files the open ones on the way.
    fn outcome(
        &self,
        context: &Context<'_>,
        table: &TableState<SessionKey<K>, A>,
        closed: &[Event<Windowed<K>, A>],
    ) -> Result<Vec<Change<SessionKey<K>, A>>, Failure> {
        // Those of a key follow each other.
        let chunks = closed.chunk_by(|a, b| a.key.key == b.key.key);
        let closed_of: HashMap<&K, &[Event<Windowed<K>, A>]> =
            chunks.filter_map(|all| Some((&all.first()?.key.key, all))).collect();
        let mut is_same = table.comparing();
        let mut changes = Vec::new();
        self.open.file(context, |key, before, now, stamp| {
            let [before, now] = [before, now].map(|sessions| sessions.map_or(&[][..], Vec::as_slice));
            let closed = if closed_of.is_empty() { None } else { closed_of.get(key) };
            let closed = closed.into_iter().copied().flatten();
            let closed = closed.map(|event| ((event.key.start_ms, event.key.end_ms), &event.value));
            let mut change = |bounds, old: Option<&A>, new: Option<&A>| {
                let key = session_of(key, bounds);
                changes.push(Change { key, old: old.cloned(), new: new.cloned(), stamp: *stamp });
            };
            // Both are in the order of time.
            let mut before = before.iter().map(bounded).peekable();
            for (bounds, value) in closed.chain(now.iter().map(bounded)) {
                while let Some((gone, was)) = before.next_if(|(earlier, _)| *earlier < bounds) {
                    change(gone, Some(was), None);
                }
                let was = before.next_if(|(same, _)| *same == bounds).map(|(_, was)| was);
                if !was.is_some_and(|was| is_same(was, value)) {
                    change(bounds, was, Some(value));
                }
            }
            before.for_each(|(gone, was)| change(gone, Some(was), None));
        })?;
        Ok(changes)
    }
}

/// Where a session begins and ends, and its value.
fn bounded<A>(session: &Span<A>) -> ((i64, i64), &A) {
    ((session.start_ms, end_of(session.last_ms)), &session.value)
}

fn session_of<K: Key>(key: &K, (start_ms, end_ms): (i64, i64)) -> SessionKey<K> {
    SessionKey::new(start_ms, end_ms, key.clone())
}

/// A session that is closed, dated with its last record.
fn closing<K: Key, A>(session: SessionKey<K>, value: A, mut stamp: Stamp) -> Event<Windowed<K>, A> {
    let last_ms = session.end_ms.saturating_sub(1);
    (stamp.timestamp_ms, stamp.stream_time_ms) = (last_ms, last_ms);
    Event { key: session.into(), value, stamp }
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
