//! Stateless steps over a stream: `filter`, `map`, `map_values`, `flat_map`, `re_key`, `inspect`, and `merge`.
//!
//! Each record is worked on by itself: repeated keys, absent keys and late timestamps have no meaning here. There are no
//! tombstones in a stream. Empty input gives empty output. A panic in the closure is a failure of its record.
//!
//! `merge` puts the records of both streams into the order of the log; of a record that comes on both ways, all that was
//! made of it on the first comes before what was made of it on the second.

use millpond_engine::Result;
use millpond_engine::codec::{Key, Value};
use millpond_engine::dataflow::{Batch, Context, Event, Inputs, Operator, Output};
use std::marker::PhantomData;

/// So many values beyond those that came in are charged for together.
pub(super) const CHARGED_TOGETHER: usize = 1 << 10;

type Types<K, V, L, W> = fn() -> (K, V, L, W);

/// Puts out what a closure makes of each event.
pub(super) struct FlatMap<K, V, L, W, F> {
    step: F,
    types: PhantomData<Types<K, V, L, W>>,
}

impl<K, V, L, W, F: Fn(Event<K, V>, &mut Vec<Event<L, W>>)> FlatMap<K, V, L, W, F> {
    pub(super) fn new(step: F) -> Self {
        Self { step, types: PhantomData }
    }
}

impl<K, V, L, W, F> Operator for FlatMap<K, V, L, W, F>
where
    K: Key,
    V: Value,
    L: Key,
    W: Value,
    F: Fn(Event<K, V>, &mut Vec<Event<L, W>>) + Send + Sync + 'static,
{
    fn run(&self, context: &mut Context<'_>, mut inputs: Inputs<'_>) -> Result<Output> {
        let events: Vec<Event<K, V>> = inputs.take(0)?;
        let mut out = Vec::with_capacity(events.len());
        // One for one is what the engine reckons with.
        let mut expected = events.len();
        for event in events {
            context.at(&event.stamp);
            (self.step)(event, &mut out);
            if out.len() >= expected + CHARGED_TOGETHER {
                context.charge::<Event<L, W>>(out.len() - expected)?;
                expected = out.len();
            }
        }
        Ok(Output::Local(Batch::new(out)))
    }
}

/// Puts two streams together.
pub(super) struct Merge<K, V>(PhantomData<fn() -> (K, V)>);

impl<K, V> Default for Merge<K, V> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<K: Key, V: Value> Operator for Merge<K, V> {
    fn run(&self, _context: &mut Context<'_>, mut inputs: Inputs<'_>) -> Result<Output> {
        let mut events: Vec<Event<K, V>> = inputs.take(0)?;
        let others: Vec<Event<K, V>> = inputs.take(1)?;
        for event in &mut events {
            event.stamp = event.stamp.side(false);
        }
        events.extend(others.into_iter().map(|event| Event { stamp: event.stamp.side(true), ..event }));
        // Also where one side is empty: that depends on the number of shards, the order must not.
        if !events.is_sorted_by(|a, b| a.stamp <= b.stamp) {
            events.sort_by_key(|event| event.stamp);
        }
        Ok(Output::Local(Batch::new(events)))
    }
}
