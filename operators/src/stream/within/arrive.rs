//! How records of both sides, and what is due, come to where they meet.
//!
//! Records stand in the order of the log; of a record that is on both sides, what it is on the left side comes first. One shard looks
//! for what is due, and sends it where its key is, behind all records.

use super::side::{Due, Side};
use millpond_engine::codec::{Key, Value};
use millpond_engine::dataflow::{Context, Event, Exchange, Failure, Operator};
use std::marker::PhantomData;
use std::sync::Arc;

/// What arrives for one key.
#[derive(Clone)]
pub(super) enum Arrival<V, T> {
    Left(V),
    Right(T),
    /// A row of the left side, or of the right one.
    Due(Due, bool),
}

/// Puts the records of both sides together.
pub(super) struct Sides<Types>(pub(super) PhantomData<Types>);

impl<K: Key, V: Value, T: Value> Operator for Sides<fn() -> (K, V, T)> {
    type Input = (Vec<Event<K, V>>, Vec<Event<K, T>>);
    type Output = Vec<Event<K, Arrival<V, T>>>;

    fn run(
        &self,
        _: &mut Context<'_>,
        (left, right): Self::Input,
    ) -> millpond_engine::Result<Option<Self::Output>, Failure> {
        let mut arrivals = Vec::with_capacity(left.len() + right.len());
        arrivals.extend(left.into_iter().map(|Event { key, value, stamp }| Event {
            key,
            value: Arrival::Left(value),
            stamp: stamp.side(false),
        }));
        arrivals.extend(right.into_iter().map(|Event { key, value, stamp }| Event {
            key,
            value: Arrival::Right(value),
            stamp: stamp.side(true),
        }));
        arrivals.sort_by_key(|arrival| arrival.stamp);
        Ok(Some(arrivals))
    }
}

/// Sends records to the shards of their keys, and with them the rows that are due.
pub(super) struct Arrive<K, V, T> {
    pub(super) left: Arc<Side<K, V>>,
    pub(super) right: Arc<Side<K, T>>,
    /// Whether both sides are on the shards of their keys already.
    pub(super) keyed: bool,
}

impl<K: Key, V: Value, T: Value> Exchange for Arrive<K, V, T> {
    type Input = (Vec<Event<K, Arrival<V, T>>>,);
    type Item = Event<K, Arrival<V, T>>;

    fn route(
        &self,
        context: &mut Context<'_>,
        (mut arrivals,): Self::Input,
    ) -> millpond_engine::Result<Vec<Vec<Self::Item>>, Failure> {
        let (router, shard) = (context.router(), context.shard());
        if !context.has_table(&self.left.rows) {
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
        if shard == 0 {
            let mut send = |key, due, is_right, stamp| {
                if let Some(part) = parts.get_mut(router.shard(&key)) {
                    part.push(Event { key, value: Arrival::Due(due, is_right), stamp });
                }
            };
            self.left.find_due(context, |key, due, stamp| send(key, due, false, stamp))?;
            self.right.find_due(context, |key, due, stamp| send(key, due, true, stamp))?;
        }
        Ok(parts)
    }

    fn is_due(&self, context: &mut Context<'_>) -> millpond_engine::Result<bool, Failure> {
        Ok(self.left.is_due(context)? || self.right.is_due(context)?)
    }
}
