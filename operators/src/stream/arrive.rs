//! How records come to where some of them have waited, and what is due with them.
//!
//! Records are sent to the shards of their keys, if they are not there. One shard reads the rows that are due, which is a range of a table
//! kept by time, and sends each where its key is, behind all records of the epoch. The table is read as it was before the epoch, so
//! that whoever writes it stands behind.

use super::due;
use super::grace::Grace;
use super::moment::{Moment, Time};
use super::step::CHARGED_TOGETHER;
use millpond_engine::Result;
use millpond_engine::codec::{Key, Value};
use millpond_engine::dataflow::{Context, Event, Exchange, Failure, Origin, Stamp};
use millpond_engine::graph::TableRef;
use std::marker::PhantomData;
use std::ops::Range;

/// What comes to where it waits.
#[derive(Clone)]
pub(crate) enum Arrival<V, R> {
    /// A record of the epoch.
    Now(V),
    /// The row of one that has waited, and is due.
    Due(Origin, R),
}

/// Sends records to the shards of their keys, and with them the rows that are due.
pub(crate) struct Arrive<K, V, R> {
    waiting: TableRef<Moment<K>, R>,
    grace: Grace,
    keyed: bool,
    value: PhantomData<fn() -> V>,
}

impl<K, V, R> Arrive<K, V, R> {
    /// Of records that are on the shards of their keys already if they are `keyed`; what is in `waiting` is due a `grace` behind it.
    pub(crate) fn new(waiting: TableRef<Moment<K>, R>, grace: Grace, keyed: bool) -> Self {
        Self { waiting, grace, keyed, value: PhantomData }
    }
}

impl<K: Key, V: Value, R: Value> Exchange for Arrive<K, V, R> {
    type Input = (Vec<Event<K, V>>,);
    type Item = Event<K, Arrival<V, R>>;

    fn route(
        &self,
        context: &mut Context<'_>,
        (events,): Self::Input,
    ) -> Result<Vec<Vec<Self::Item>>, Failure> {
        let (router, shard) = (context.router(), context.shard());
        let now = |Event { key, value, stamp }| Event { key, value: Arrival::Now(value), stamp };
        let mut arrivals: Vec<Self::Item> = events.into_iter().map(now).collect();
        if !context.has_table(&self.waiting) {
            // It is built apart, and so is whatever would take what is sent.
            return Ok((0..router.shards()).map(|_| Vec::new()).collect());
        }
        let mut parts: Vec<Vec<Self::Item>> = if self.keyed {
            let mut parts: Vec<_> = (0..router.shards()).map(|_| Vec::new()).collect();
            if let Some(here) = parts.get_mut(shard) {
                here.append(&mut arrivals);
            }
            parts
        } else {
            router.split(arrivals, |event| &event.key)
        };
        for (number, row) in (1..).zip(due::rows(context, &self.waiting, self.times(context))?) {
            let (Moment { timestamp_ms, origin, key }, value) = row?;
            if number % CHARGED_TOGETHER == 0 {
                context.charge::<Self::Item>(CHARGED_TOGETHER)?;
            }
            let stamp = Stamp::of_release(self.grace.close_of(timestamp_ms), origin, timestamp_ms);
            if let Some(part) = parts.get_mut(router.shard(&key)) {
                part.push(Event { key, value: Arrival::Due(origin, value), stamp });
            }
        }
        Ok(parts)
    }

    fn is_due(&self, context: &mut Context<'_>) -> Result<bool, Failure> {
        due::has_rows(context, &self.waiting, self.times(context))
    }
}

impl<K, V, R> Arrive<K, V, R> {
    /// The times of what is due with this epoch.
    fn times(&self, context: &Context<'_>) -> Range<Time> {
        due::between(context, |at| Time(self.grace.first_open(at)))
    }
}
