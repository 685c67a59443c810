//! Where the records of both sides meet.
//!
//! Records are taken one after the other: each looks for those of the other side that came before it. So a pair is made once, by the
//! second of the two; which of them that is shows in the place of the pair alone.

use super::arrive::Arrival;
use super::held::{Held, Stretch};
use super::side::{Due, Side};
use super::work::{Wanted, Work};
use crate::stream::moment::Moment;
use crate::stream::step::CHARGED_TOGETHER;
use millpond_engine::Result;
use millpond_engine::codec::{Key, Value};
use millpond_engine::dataflow::{Context, Event, Failure, Operator, Origin, Stamp};
use std::fmt::Display;
use std::marker::PhantomData;
use std::sync::Arc;

/// Joins the records of two sides.
pub(super) struct Meet<K, V, T, W, F, E> {
    pub(super) left: Arc<Side<K, V>>,
    pub(super) right: Arc<Side<K, T>>,
    pub(super) join: F,
    pub(super) types: PhantomData<fn() -> (W, E)>,
}

impl<K, V, T, W, F, E> Operator for Meet<K, V, T, W, F, E>
where
    K: Key,
    V: Value,
    T: Value,
    W: Value,
    E: Display + 'static,
    F: Fn(&K, Option<&V>, Option<&T>) -> Result<Option<W>, E> + Send + Sync + 'static,
{
    type Input = (Vec<Event<K, Arrival<V, T>>>,);
    type Output = Vec<Event<K, W>>;

    fn run(
        &self,
        context: &mut Context<'_>,
        (arrivals,): Self::Input,
    ) -> Result<Option<Self::Output>, Failure> {
        let (wanted_left, wanted_right) = self.wanted(&arrivals);
        let mut left = Work::begin(context, &self.left, wanted_left)?;
        let mut right = Work::begin(context, &self.right, wanted_right)?;
        let mut out = Vec::new();
        for Event { key, value, stamp } in arrivals {
            match value {
                Arrival::Left(value) => {
                    let sides = (&*self.left, &*self.right);
                    let join = |key: &K, left: &V, right: &T| (self.join)(key, Some(left), Some(right));
                    meet(context, sides, (&mut left, &mut right), (key, value, stamp), &mut out, join)?;
                }
                Arrival::Right(value) => {
                    let sides = (&*self.right, &*self.left);
                    let join = |key: &K, right: &T, left: &V| (self.join)(key, Some(left), Some(right));
                    meet(context, sides, (&mut right, &mut left), (key, value, stamp), &mut out, join)?;
                }
                Arrival::Due(due, false) => take_due(&mut left, key, due, stamp),
                Arrival::Due(due, true) => take_due(&mut right, key, due, stamp),
            }
        }
        self.tell_unmatched(context, (&left, &right), &mut out)?;
        left.store(context)?;
        right.store(context)?;
        Ok(Some(out))
    }
}

impl<K, V, T, W, F, E> Meet<K, V, T, W, F, E>
where
    K: Key,
    V: Value,
    T: Value,
    E: Display,
    F: Fn(&K, Option<&V>, Option<&T>) -> Result<Option<W>, E>,
{
    /// Which rows of either side the epoch looks into.
    fn wanted(&self, arrivals: &[Event<K, Arrival<V, T>>]) -> (Wanted<K>, Wanted<K>) {
        let (mut left, mut right) = (Wanted::default(), Wanted::default());
        for Event { key, value, stamp } in arrivals {
            match value {
                Arrival::Left(_) => wants((&self.left, &self.right), (&mut left, &mut right), key, stamp),
                Arrival::Right(_) => wants((&self.right, &self.left), (&mut right, &mut left), key, stamp),
                Arrival::Due(Due::Unmatched { row, .. }, is_right) => {
                    let at_ms = stamp.timestamp_ms;
                    let (wanted, number) = if *is_right {
                        (&mut right, self.right.stretch_of(at_ms))
                    } else {
                        (&mut left, self.left.stretch_of(at_ms))
                    };
                    wanted.rows.push(Stretch { number, key: key.clone(), row: *row });
                }
                Arrival::Due(Due::Rows { .. }, _) => {}
            }
        }
        (left, right)
    }

    /// Tells of the records that are closed and have met none, in the order of closes, keys and origins.
    fn tell_unmatched(
        &self,
        context: &mut Context<'_>,
        (left, right): (&Work<'_, K, V>, &Work<'_, K, T>),
        out: &mut Vec<Event<K, W>>,
    ) -> Result<(), Failure> {
        let watermark = context.watermark();
        let lonely_left = left.unmatched(watermark).into_iter().map(|(moment, value)| Lonely {
            close_ms: self.left.grace.close_of(moment.timestamp_ms),
            moment,
            value: (Some(value), None),
        });
        let lonely_right = right.unmatched(watermark).into_iter().map(|(moment, value)| Lonely {
            close_ms: self.right.grace.close_of(moment.timestamp_ms),
            moment,
            value: (None, Some(value)),
        });
        let mut all: Vec<Lonely<K, V, T>> = lonely_left.chain(lonely_right).collect();
        if all.is_empty() {
            return Ok(());
        }
        all.sort_by(|a, b| a.order().cmp(&b.order()));
        let (mut encoded, mut before) = (Vec::new(), None);
        let mut number = 0;
        for Lonely { close_ms, moment: Moment { timestamp_ms, key, .. }, value } in all {
            encoded.clear();
            key.encode_key(&mut encoded);
            let first = Stamp::of_closing(close_ms, &encoded, timestamp_ms);
            // Those of one key and one close are all told in one epoch.
            number = if before == Some(first.origin()) { number + 1 } else { 0 };
            before = Some(first.origin());
            let stamp = first.branch(number);
            if !context.tells(&stamp, &key) {
                continue;
            }
            context.at(&stamp);
            let joined = (self.join)(&key, value.0.as_ref(), value.1.as_ref());
            let joined = joined.map_err(|reason| context.failed(&stamp, reason))?;
            out.extend(joined.map(|value| Event { key, value, stamp }));
        }
        out.sort_by_key(|event| event.stamp);
        Ok(())
    }
}

/// A record that has met none.
struct Lonely<K, V, T> {
    close_ms: i64,
    moment: Moment<K>,
    value: (Option<V>, Option<T>),
}

impl<K, V, T> Lonely<K, V, T> {
    fn order(&self) -> (i64, &K, Origin) {
        (self.close_ms, &self.moment.key, self.moment.origin)
    }
}

/// Notes which rows a record of the first side looks into.
fn wants<K: Key, A: Value, B: Value>(
    (mine, theirs): (&Side<K, A>, &Side<K, B>),
    (own, others): (&mut Wanted<K>, &mut Wanted<K>),
    key: &K,
    stamp: &Stamp,
) {
    let at_ms = stamp.timestamp_ms;
    if mine.grace.is_over(at_ms, stamp.stream_time_ms) {
        return;
    }
    own.grows(key, mine.stretch_of(at_ms));
    let (stretches, _) = theirs.reached_by(mine.reach, at_ms);
    for number in stretches {
        others.is_met(key, number);
    }
}

fn take_due<K: Key, V: Value>(work: &mut Work<'_, K, V>, key: K, due: Due, stamp: Stamp) {
    match due {
        Due::Rows { number, row } => work.take_gone(Stretch { number, key, row }, stamp),
        Due::Unmatched { origin, row } => {
            let moment = Moment { timestamp_ms: stamp.timestamp_ms, origin, key };
            work.take_due(moment, row, stamp);
        }
    }
}

/// Lets a record of the first side meet those of the second that are there, unless it is late, and adds it.
fn meet<K: Key, A: Value, B: Value, W, E: Display>(
    context: &mut Context<'_>,
    (mine, theirs): (&Side<K, A>, &Side<K, B>),
    (own, others): (&mut Work<'_, K, A>, &mut Work<'_, K, B>),
    (key, value, stamp): (K, A, Stamp),
    out: &mut Vec<Event<K, W>>,
    join: impl Fn(&K, &A, &B) -> Result<Option<W>, E>,
) -> Result<(), Failure> {
    let Stamp { timestamp_ms, stream_time_ms, .. } = stamp;
    if mine.grace.is_over(timestamp_ms, stream_time_ms) {
        return Ok(());
    }
    // Neither had the one come to the close of the other. Each is in time for itself, or it would not be there.
    let is_in_time = |held: &Held<B>| {
        !mine.grace.is_over(timestamp_ms, held.stream_time_ms)
            && !theirs.grace.is_over(held.timestamp_ms, stream_time_ms)
    };
    let (stretches, moments) = theirs.reached_by(mine.reach, timestamp_ms);
    let met = others.find(&key, (stretches, &moments), is_in_time);
    for (index, found) in met.iter().enumerate() {
        let Some(held) = others.record(&key, found.place) else { continue };
        let mut stamp = stamp.branch(index);
        stamp.timestamp_ms = timestamp_ms.max(held.timestamp_ms);
        stamp.stream_time_ms = stream_time_ms.max(held.stream_time_ms);
        context.at(&stamp);
        let joined = join(&key, &value, &held.value).map_err(|reason| context.failed(&stamp, reason))?;
        out.extend(joined.map(|value| Event { key: key.clone(), value, stamp }));
        others.note_met(&key, found.place, stamp);
        if out.len().is_multiple_of(CHARGED_TOGETHER) {
            context.charge::<Event<K, W>>(CHARGED_TOGETHER)?;
        }
    }
    let is_matched = !met.is_empty();
    let held = Held { timestamp_ms, stream_time_ms, origin: stamp.origin(), is_matched, value };
    own.add(key, held, stamp);
    Ok(())
}
