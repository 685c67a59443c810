//! What runs the stateless steps of a stream, those of [`steps`](super::steps) and of [`fallible`](super::fallible): a closure
//! that makes any number of events of each, or fails.

use super::Stream;
use millpond_engine::Result;
use millpond_engine::codec::{Key, Value};
use millpond_engine::dataflow::{Context, Event, Failure, Operator};
use std::convert::Infallible;
use std::fmt::Display;
use std::marker::PhantomData;

impl<K: Key, V: Value> Stream<K, V> {
    /// A step that does not fail.
    pub(super) fn step<L: Key, W: Value>(
        &self,
        label: &str,
        keyed: bool,
        step: impl Fn(Event<K, V>, &mut Vec<Event<L, W>>) + Send + Sync + 'static,
    ) -> Stream<L, W> {
        self.try_step(label, keyed, move |event, out| {
            step(event, out);
            Ok::<(), Infallible>(())
        })
    }

    /// A step that puts out what `step` makes of each event, or fails.
    pub(super) fn try_step<L: Key, W: Value, E: Display + 'static>(
        &self,
        label: &str,
        keyed: bool,
        step: impl Fn(Event<K, V>, &mut Vec<Event<L, W>>) -> std::result::Result<(), E> + Send + Sync + 'static,
    ) -> Stream<L, W> {
        let operator = Steps { step, types: PhantomData };
        let node = self.builder.operator(label, self.node, &[], &[], operator);
        Stream::new(self.builder.clone(), node, keyed)
    }
}

/// So many values beyond those that came in are charged for together.
pub(crate) const CHARGED_TOGETHER: usize = 1 << 10;

type Types<K, V, L, W, E> = fn() -> (K, V, L, W, E);

/// Puts out what a closure makes of each event.
struct Steps<K, V, L, W, E, F> {
    step: F,
    types: PhantomData<Types<K, V, L, W, E>>,
}

impl<K, V, L, W, E, F> Operator for Steps<K, V, L, W, E, F>
where
    K: Key,
    V: Value,
    L: Key,
    W: Value,
    E: Display + 'static,
    F: Fn(Event<K, V>, &mut Vec<Event<L, W>>) -> std::result::Result<(), E> + Send + Sync + 'static,
{
    type Input = (Vec<Event<K, V>>,);
    type Output = Vec<Event<L, W>>;

    fn run(
        &self,
        context: &mut Context<'_>,
        (events,): Self::Input,
    ) -> Result<Option<Self::Output>, Failure> {
        let mut out = Vec::with_capacity(events.len());
        // One for one is what the engine reckons with.
        let mut expected = events.len();
        for event in events {
            let stamp = event.stamp;
            context.at(&stamp);
            (self.step)(event, &mut out).map_err(|reason| context.failed(&stamp, reason))?;
            if out.len() >= expected + CHARGED_TOGETHER {
                context.charge::<Event<L, W>>(out.len() - expected)?;
                expected = out.len();
            }
        }
        Ok(Some(out))
    }
}
