//! A log that has to ask others where its partitions end may not be answered. Whoever awaits that all of it is folded is not held up
//! by that: the call returns, other tasks of the runtime go on, a limit of time passes, and the engine can be closed. Statistics and
//! appends do not ask at all.
//!
//! Method: a log of one's own that stands still when it is asked where it ends, until the test lets it go on; by hand on one thread.
//! `catch_up` once asked when it was called, and within the future where topics are read again: brokers that were halted held up the
//! whole runtime for ten seconds, whatever `within` said.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use millpond::{Engine, ErrorKind, GraphBuilder, StoredTable, Topic, TopicPartition};
use millpond_support::own_log::OwnLog;
use millpond_support::waiting::{Weir, resolves_at_once};
use std::sync::Arc;
use std::time::Duration;

const SOON: Duration = Duration::from_millis(10);

fn log() -> Arc<OwnLog> {
    let mut abilities = OwnLog::usual();
    abilities.knows_ends = false;
    OwnLog::with(abilities)
}

fn numbers() -> Topic<u8, u64> {
    Topic::new("numbers")
}

/// Counts, and counts again what it has appended of them.
fn start(log: &Arc<OwnLog>) -> (Engine, StoredTable<u8, u64>) {
    let (graph, again) = (GraphBuilder::new(), Topic::<u8, u64>::new("again"));
    graph.stream(&numbers()).to(&again);
    let counts = graph.stream(&again).group_by_key().count("counts");
    let engine = Engine::builder(&graph.build().unwrap()).in_memory().changelog(log.clone()).start().unwrap();
    engine.ready_blocking().unwrap();
    (engine, counts)
}

#[test]
fn a_call_returns_and_a_limit_of_time_passes() {
    let (log, weir) = (log(), Weir::default());
    let _opens = weir.opens_at_the_end();
    let (engine, counts) = start(&log);
    engine.append_blocking(&numbers(), &1, &1).unwrap();
    assert!(engine.catch_up_blocking().unwrap().offset(&TopicPartition::new("numbers", 0)) >= 1);

    log.tell_ends_behind(&weir);
    let position = engine.append_blocking(&numbers(), &1, &1).unwrap();
    let error = engine.catch_up().within(SOON).wait_blocking().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
    assert!(error.to_string().contains("has not answered"), "{error}");
    weir.wait_for_someone();
    // Through the topic that is read again, whose end is asked for while the future is polled.
    assert!(!resolves_at_once(engine.wait_for(&position)));
    assert_eq!(
        engine.wait_for(&position).within(SOON).wait_blocking().unwrap_err().kind(),
        ErrorKind::TimedOut
    );
    // Whoever asks for nothing but what is known does not wait.
    let stats = engine.stats();
    assert_eq!(stats.lag.len(), 2);
    assert_eq!(engine.view(&counts).unwrap().get(&2).unwrap(), None);

    let (waiting, third) = (engine.catch_up(), engine.append(&numbers(), &1, &1));
    let later: Vec<_> = (0..100).map(|_| engine.catch_up()).collect();
    weir.open();
    waiting.wait_blocking().unwrap();
    for wait in later {
        assert!(wait.wait_blocking().unwrap().includes(&third_of(&position)));
    }
    third.wait_blocking().unwrap();
    assert_eq!(engine.view(&counts).unwrap().get(&1).unwrap(), Some(3));
    engine.close_blocking().unwrap();
}

/// Where the third record ends, of which all are in one partition.
fn third_of(second: &millpond::Position) -> millpond::Position {
    second.iter().map(|(id, offset)| (id.clone(), offset + 1)).collect()
}

#[test]
fn an_engine_is_closed_while_the_log_is_asked() {
    let (log, weir) = (log(), Weir::default());
    let _opens = weir.opens_at_the_end();
    let (engine, _) = start(&log);
    log.tell_ends_behind(&weir);
    let waiting = engine.catch_up();
    weir.wait_for_someone();
    engine.close_blocking().unwrap();
    assert_eq!(waiting.wait_blocking().unwrap_err().kind(), ErrorKind::Closed);
}
