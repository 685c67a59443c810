//! How records of both sides, and what is due, come to where they meet.
//!
//! Records stand in the order of the log; of a record that is on both sides, what it is on the left side comes first. One shard looks
//! for what is due, and sends it where its key is, behind all records.

use super::held::Either;
use super::side::{Due, Sides};
use millpond_engine::codec::{Key, Value};
use millpond_engine::dataflow::{Context, Event, Exchange, Failure, Operator};
use std::marker::PhantomData;
use std::sync::Arc;

/// What arrives for one key.
#[derive(Clone)]
pub(super) enum Arrival<V, T> {
    /// A record of the epoch. It is taken from where it has arrived to where it is stored.
    Now(Option<Either<V, T>>),
    /// Out of the way: there are few, and many records.
    Due(Box<Due>),
}

/// What arrives.
pub(super) type Arrivals<K, V, T> = Vec<Event<K, Arrival<V, T>>>;

/// Puts the records of both sides together.
pub(super) struct Merge<Types>(pub(super) PhantomData<Types>);

impl<K: Key, V: Value, T: Value> Operator for Merge<fn() -> (K, V, T)> {
    type Input = (Vec<Event<K, V>>, Vec<Event<K, T>>);
    type Output = Arrivals<K, V, T>;

    fn run(
        &self,
        _: &mut Context<'_>,
        (left, right): Self::Input,
    ) -> millpond_engine::Result<Option<Self::Output>, Failure> {
        let mut arrivals = Vec::with_capacity(left.len() + right.len());
        arrivals.extend(left.into_iter().map(|Event { key, value, stamp }| Event {
            key,
            value: Arrival::Now(Some(Either::Left(value))),
            stamp: stamp.side(false),
        }));
        arrivals.extend(right.into_iter().map(|Event { key, value, stamp }| Event {
            key,
            value: Arrival::Now(Some(Either::Right(value))),
            stamp: stamp.side(true),
        }));
        arrivals.sort_by_key(|arrival| arrival.stamp);
        Ok(Some(arrivals))
    }
}

/// Sends records to the shards of their keys, and with them what is due.
pub(super) struct Arrive<K, V, T> {
    pub(super) sides: Arc<Sides<K, V, T>>,
    /// Whether both sides are on the shards of their keys already.
    pub(super) keyed: bool,
}

impl<K: Key, V: Value, T: Value> Exchange for Arrive<K, V, T> {
    type Input = (Arrivals<K, V, T>,);
    type Item = Event<K, Arrival<V, T>>;

    fn route(
        &self,
        context: &mut Context<'_>,
        (mut arrivals,): Self::Input,
    ) -> millpond_engine::Result<Vec<Vec<Self::Item>>, Failure> {
        let (router, shard) = (context.router(), context.shard());
        if !context.has_table(&self.sides.rows) {
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
            router.split(arrivals, |arrival| &arrival.key)
        };
        self.sides.find_due(context, |key, due, stamp| {
            if let Some(part) = parts.get_mut(router.shard(&key)) {
                part.push(Event { key, value: Arrival::Due(Box::new(due)), stamp });
            }
        })?;
        Ok(parts)
    }

    fn is_due(&self, context: &mut Context<'_>) -> millpond_engine::Result<bool, Failure> {
        self.sides.is_due(context)
    }
}
