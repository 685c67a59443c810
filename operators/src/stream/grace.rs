//! Grace: for how long a moment is waited for, and the records that come later.
//!
//! A moment is over once time has come further than the grace beyond it. For a record that is late or not, time is that of its own
//! partition; for what is let go, that of all of them: the watermark. Told from now back, since the end of a grace may lie beyond all
//! time. Early, equal and negative timestamps are as others; streams have no tombstones; repeated keys count each; empty input puts
//! nothing out.

use super::Stream;
use super::window::millis;
use millpond_engine::Result;
use millpond_engine::codec::{Key, Value};
use millpond_engine::dataflow::{Context, Event, Failure, Operator};
use std::marker::PhantomData;
use std::time::Duration;

/// So many milliseconds behind a moment others still count to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Grace {
    pub(crate) ms: i64,
}

impl Grace {
    pub(crate) fn of(duration: Duration) -> Self {
        Self { ms: millis(duration) }
    }

    /// This one, where the moments themselves lie so much further on.
    pub(crate) fn after(self, ms: i64) -> Self {
        Self { ms: self.ms.saturating_add(ms) }
    }

    /// Whether the moment is over for who has come as far as `at_ms`.
    pub(crate) fn is_over(self, moment_ms: i64, at_ms: i64) -> bool {
        moment_ms < self.first_open(at_ms)
    }

    /// The first moment that is not over at `at_ms`.
    pub(crate) fn first_open(self, at_ms: i64) -> i64 {
        at_ms.saturating_sub(self.ms)
    }

    /// The first moment at which `moment_ms` is over, as far as there is one.
    pub(crate) fn close_of(self, moment_ms: i64) -> i64 {
        moment_ms.saturating_add(self.ms).saturating_add(1)
    }
}

impl<K: Key, V: Value> Stream<K, V> {
    /// The records that come too late to count to their own moment.
    pub(crate) fn late_by(&self, grace: Grace) -> Self {
        let operator = Late { grace, types: PhantomData::<fn() -> (K, V)> };
        let node = self.builder.operator("late", self.node, &[], &[], operator);
        Self::new(self.builder.clone(), node, self.keyed)
    }
}

/// Leaves out the records that are in time.
struct Late<Types> {
    grace: Grace,
    types: PhantomData<Types>,
}

impl<K: Key, V: Value> Operator for Late<fn() -> (K, V)> {
    type Input = (Vec<Event<K, V>>,);
    type Output = Vec<Event<K, V>>;

    fn run(&self, _: &mut Context<'_>, (mut events,): Self::Input) -> Result<Option<Self::Output>, Failure> {
        events.retain(|Event { stamp, .. }| self.grace.is_over(stamp.timestamp_ms, stamp.stream_time_ms));
        Ok(Some(events))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn moments() -> impl Strategy<Value = i64> {
        prop_oneof![-50..50_i64, any::<i64>(), i64::MIN..i64::MIN + 50, i64::MAX - 50..=i64::MAX]
    }

    proptest! {
        #[test]
        fn a_moment_is_over_a_grace_behind_it(
            ms in prop_oneof![0..50_i64, Just(i64::MAX)],
            moment in moments(),
            at in moments(),
        ) {
            let grace = Grace { ms };
            let close = i128::from(moment) + i128::from(ms) + 1;
            // Before the beginning of time nothing is over.
            prop_assert_eq!(grace.is_over(moment, at), close <= i128::from(at));
            prop_assert_eq!(i128::from(grace.close_of(moment)), close.min(i128::from(i64::MAX)));
        }
    }
}
