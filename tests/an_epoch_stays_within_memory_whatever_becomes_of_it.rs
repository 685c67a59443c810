//! An epoch is sized by all that it becomes, not by its input records alone.
//!
//! Method: values that count how many of them are alive at once. Records that become 1,000 values each, by `flat_map` and by
//! a `Process`, into values of few keys and of as many keys; a table of which one row is joined to 50,000 others, and a graph
//! of 100 tables; all with a small budget. An epoch of 15,000 records once became 15 million values, 2 GiB with a budget of
//! 64 MiB; and the rows of all the small epochs that it became were once in memory before any was drained.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use millpond::changelog::MemoryChangelog;
use millpond::stream::Emit;
use millpond::{Engine, Graph, GraphBuilder, Memory, Process, Topic};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

static ALIVE: AtomicI64 = AtomicI64::new(0);
static MOST: AtomicI64 = AtomicI64::new(0);

/// The counters are for one test at a time.
fn counters() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    MOST.store(ALIVE.load(Ordering::SeqCst), Ordering::SeqCst);
    turn
}

/// A number of which it is known how many there are.
#[derive(Debug, PartialEq)]
struct Counted(u64);

impl Counted {
    fn new(number: u64) -> Self {
        let alive = ALIVE.fetch_add(1, Ordering::SeqCst) + 1;
        MOST.fetch_max(alive, Ordering::SeqCst);
        Self(number)
    }
}

impl Clone for Counted {
    fn clone(&self) -> Self {
        Self::new(self.0)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        ALIVE.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Serialize for Counted {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Counted {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        u64::deserialize(deserializer).map(Self::new)
    }
}

/// Each record makes so many.
const MADE: u64 = 1_000;

struct Many;

impl Process<u64, Counted> for Many {
    type State = u64;
    type OutKey = u64;
    type OutValue = Counted;

    fn process(&self, key: &u64, _: Counted, state: &mut Option<u64>, emit: &mut Emit<u64, Counted>) {
        *state = Some(*key);
        (0..MADE).for_each(|number| emit.push(number, Counted::new(number)));
    }
}

const BUDGET: usize = 16 << 20;

/// Folds `records` records that are all there before the engine is.
fn fold(graph: &Graph, input: &Topic<u64, Counted>, records: u64) {
    let log = Arc::new(MemoryChangelog::new());
    let producer =
        millpond::changelog::Producer::new(log.clone(), input, Arc::new(millpond::SystemClock)).unwrap();
    for first in (0..records).step_by(1_000) {
        let batch: Vec<(u64, Counted)> = (first..first + 1_000).map(|key| (key, Counted::new(key))).collect();
        producer.send(batch.iter().map(|(key, value)| (key, Some(value), 0))).wait_blocking().unwrap();
    }
    let memory = Memory::budget(BUDGET).hot_bytes(1 << 20);
    let engine = Engine::builder(graph).in_memory().changelog(log).memory_split(memory).start().unwrap();
    engine.catch_up_blocking().unwrap();
    engine.close_blocking().unwrap();
}

fn most() -> i64 {
    MOST.load(Ordering::SeqCst)
}

#[test]
fn a_flat_map_into_many_values() {
    let turn = counters();
    let input = Topic::<u64, Counted>::new("in");
    let graph = GraphBuilder::new();
    let made = graph.stream(&input).flat_map(|key, _| (0..MADE).map(move |n| (n, Counted::new(key))));
    made.group_by_key().count("counts");
    fold(&graph.build().unwrap(), &input, 2_000);
    assert!(most() < 400_000, "{} values were alive at once", most());
    drop(turn);
}

#[test]
fn a_flat_map_into_many_rows() {
    let turn = counters();
    let input = Topic::<u64, Counted>::new("in");
    let graph = GraphBuilder::new();
    let made =
        graph.stream(&input).flat_map(|key, _| (0..MADE).map(move |n| (key * MADE + n, Counted::new(n))));
    made.group_by_key().reduce("latest", |_, new| new);
    fold(&graph.build().unwrap(), &input, 1_000);
    assert!(most() < 200_000, "{} values were alive at once", most());
    drop(turn);
}

#[test]
fn a_process_that_emits_many_values() {
    let turn = counters();
    let input = Topic::<u64, Counted>::new("in");
    let graph = GraphBuilder::new();
    graph.stream(&input).process("many", Many).0.group_by_key().count("counts");
    fold(&graph.build().unwrap(), &input, 2_000);
    assert!(most() < 400_000, "{} values were alive at once", most());
    drop(turn);
}

#[test]
fn many_tables_over_one_topic() {
    let turn = counters();
    let input = Topic::<u64, Counted>::new("in");
    let graph = GraphBuilder::new();
    for number in 0..100 {
        graph.table(&input, format!("table {number}").as_str());
    }
    fold(&graph.build().unwrap(), &input, 4_000);
    // 400,000 rows, of which no more than the hot state may keep and one epoch needs.
    assert!(most() < 300_000, "{} values were alive at once", most());
    drop(turn);
}

/// The values before are kept too.
#[test]
fn one_row_that_many_others_name() {
    let turn = counters();
    let (input, names) = (Topic::<u64, Counted>::new("in"), Topic::<u8, u64>::new("names"));
    let graph = GraphBuilder::new();
    let left = graph.table(&input, "left");
    let right = graph.table(&names, "right");
    left.foreign_left_join(&right, "joined", |_, _| 1_u8, |_, row, name| row.0 + name.copied().unwrap_or(0));
    fold(&graph.build().unwrap(), &input, 20_000);
    assert!(most() < 300_000, "{} values were alive at once", most());
    drop(turn);
}

/// Each of them is kept for whoever follows the table.
#[test]
fn a_large_row_with_many_updates_that_are_followed() {
    let turn = counters();
    let input = Topic::<u64, Counted>::new("in");
    let graph = GraphBuilder::new();
    let lists = graph.stream(&input).re_key(|_, _| 7_u8).group_by_key().fold(
        "lists",
        || (0..5_000).map(|number| Counted::new(number << 40)).collect(),
        |list: &mut Vec<Counted>, _, value| list[0] = value,
    );
    lists
        .to_stream()
        .map_values(|_, list| list.into_option().map_or(0, |list| list.len() as u64))
        .group_by_key()
        .count("updates");
    fold(&graph.build().unwrap(), &input, 2_000);
    assert!(most() < 600_000, "{} values were alive at once", most());
    drop(turn);
}
