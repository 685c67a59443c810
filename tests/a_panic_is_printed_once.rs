//! A panic of user code is printed once, and the error that it becomes names record, step and table.
//!
//! Property: the panic hook of the process is called once for each record at which a closure panics, although the engine runs
//! its epoch again to find the record, and the record alone to make sure. The reason of the stop says topic, partition and
//! offset, the step and the table.
//!
//! Method: a hook that counts, installed before the first engine; failing records among others in one large epoch, over one
//! shard, with both policies.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use millpond::{ErrorKind, FailurePolicy, GraphBuilder, Topic};
use millpond_support::in_memory::{InMemory, catch_up};
use std::sync::atomic::{AtomicU64, Ordering};

static PRINTED: AtomicU64 = AtomicU64::new(0);

/// Folds 100 records, of which those in `failing` panic, and answers with how many panics were printed and what became of it.
fn printed(failing: &'static [u64], policy: FailurePolicy) -> (u64, millpond::Result<()>) {
    let events = Topic::<u64, u64>::new("events");
    let graph = GraphBuilder::new();
    graph.stream(&events).group_by_key().fold(
        "sums",
        || 0_u64,
        move |sum, _, value| {
            assert!(!failing.contains(&value), "the record {value}");
            *sum += value;
        },
    );
    let kept = InMemory::new();
    let producer = kept.producer(&events).unwrap();
    producer
        .send_blocking(
            (0..100)
                .map(|number| (number % 7, number))
                .collect::<Vec<_>>()
                .iter()
                .map(|(key, value)| (key, Some(value), 0)),
        )
        .unwrap();
    let mut stepper = kept.engine(&graph.build().unwrap()).shards(1).on_failure(policy).stepper().unwrap();
    let before = PRINTED.load(Ordering::SeqCst);
    let outcome = catch_up(&mut stepper, 100);
    (PRINTED.load(Ordering::SeqCst) - before, outcome)
}

#[test]
fn a_panic_is_printed_once() {
    std::panic::set_hook(Box::new(|_| {
        PRINTED.fetch_add(1, Ordering::SeqCst);
    }));
    let (printed_once, outcome) = printed(&[41], FailurePolicy::Stop);
    let error = outcome.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::User);
    for part in ["events/0 offset 41", "`fold` of table `sums`", "the record 41"] {
        assert!(error.message().contains(part), "`{part}` is not in: {error}");
    }
    assert_eq!(printed_once, 1);

    let letters = || FailurePolicy::DeadLetter("letters".into());
    for failing in [&[][..], &[0], &[99], &[3, 4, 50, 98]] {
        let (times, outcome) = printed(failing, letters());
        outcome.unwrap();
        assert_eq!(times, failing.len() as u64, "{failing:?}");
    }
}
