//! Every query of the benchmark `nexmark` comes to what one thread computes from the same events after what SQL says, however epochs are
//! cut, over whatever number of shards, through crashes, and with events that come out of order by almost the grace.
//!
//! Method: the generator's events on a log in memory, with one and with three partitions, are folded by each query in epochs of random
//! sizes, small ones at first, with drains and crashes among them. What its rows come to is compared with what the oracle says, which
//! knows no operator. Three queries by time run in a process of their own on disk as well, which is killed (`kill -9`) over and over
//! somewhere behind an epoch.
//!
//! `MILLPOND_SEED` sets the seed, `MILLPOND_ROUNDS` the number of logs.
#![cfg(feature = "rocks")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

#[path = "../benches/nexmark/digest.rs"]
mod digest;
#[path = "../benches/nexmark/events.rs"]
mod events;
#[path = "../benches/nexmark/generator.rs"]
mod generator;
#[path = "../benches/nexmark/input.rs"]
mod input;
#[path = "../benches/nexmark/oracle/mod.rs"]
mod oracle;
#[path = "../benches/nexmark/queries/mod.rs"]
mod queries;

use generator::{Generator, Shape};
use millpond::changelog::{Changelog, Durability, MemoryChangelog};
use millpond::{Engine, EngineBuilder, Graph};
use millpond_support::bench::log;
use millpond_support::environment::{rounds, seed, variable};
use millpond_support::life::Life;
use millpond_support::process::{ChildProcess, given, tell};
use millpond_support::random::Random;
use queries::{Answers, QUERIES, Query, Running};
use std::path::Path;
use std::sync::Arc;

const EVENTS: usize = 20_000;

/// So many steps at first are of few records.
const SMALL_STEPS: usize = 60;

/// Eighty seconds of events, of two days, out of order by up to three seconds. By a clock of half seconds, so that windows, sessions
/// and auctions end in the very moments in which bids come, or by one of milliseconds.
fn shape(seed: u64, step_ms: u64) -> Shape {
    Shape { seed, per_second: 250, step_ms, group: 750 }
}

fn expected(query: &str, shape: Shape) -> digest::Digest {
    oracle::digest(query, Generator::new(shape).take(EVENTS)).unwrap()
}

#[test]
fn every_query_comes_to_what_the_oracle_says() {
    let seed = seed();
    for round in 0..rounds(2) {
        let mut random = Random::new(seed.wrapping_add(round as u64));
        let shape = shape(random.number(), if round % 2 == 0 { 500 } else { 1 });
        let partitions = if round % 2 == 0 { 3 } else { 1 };
        let log: Arc<dyn Changelog> = Arc::new(MemoryChangelog::new());
        input::write(&*log, partitions, shape, EVENTS as u64).unwrap();
        for query in &QUERIES {
            let found = lived(query, (&log, partitions), shape, &mut random);
            let expected = expected(query.name, shape);
            assert!(expected.rows > 0, "{}: nothing is asked", query.name);
            assert_eq!(found, expected, "seed {seed}, round {round}: {} ({})", query.name, query.asks);
        }
    }
}

/// What `query` comes to over all of the log, by a life with crashes.
fn lived(
    query: &'static Query,
    (log, partitions): (&Arc<dyn Changelog>, u32),
    shape: Shape,
    random: &mut Random,
) -> digest::Digest {
    let open = move || query.graph(partitions, shape).unwrap();
    let mut life: Life<Answers> = Life::new(Arc::clone(log), open).with(|builder| builder.name(query.name));
    for step in 0..SMALL_STEPS * 2 {
        life.step_of(if step < SMALL_STEPS { 9 } else { 900 }, random);
    }
    let (stepper, _) = life.alive();
    while stepper.epoch(5_000).unwrap() {}
    let (stepper, answers) = life.fold_all();
    answers.digest(Running::Stepper(stepper)).unwrap()
}

/// What the child has to do: the query.
const QUERY: &str = "MILLPOND_NEXMARK_QUERY";

#[test]
fn queries_by_time_that_are_killed_come_to_the_same() {
    const KILLS: usize = 4;
    if given().is_some() {
        return;
    }
    let seed = seed();
    let mut random = Random::new(seed);
    let shape = shape(random.number(), 500);
    for name in ["q5", "q8", "q11"] {
        let dir = tempfile::tempdir().unwrap();
        let log = log::open(&dir.path().join("log"), Durability::Os).unwrap();
        input::write(&*log, 2, shape, EVENTS as u64).unwrap();
        drop(log);
        let child = || ChildProcess::spawn(dir.path(), &[(QUERY, name.to_owned())]);
        for _ in 0..KILLS {
            let mut killed = child();
            // Each gets further than the one before: it begins with what was drained.
            for _ in 0..=random.index(12) {
                while killed.line().is_none_or(|line| !line.starts_with("epoch")) {}
            }
            killed.kill_after(random.below(200_000));
        }
        // Whoever takes over is a whole engine, and another one: it has three shards.
        let query = QUERIES.iter().find(|query| query.name == name).unwrap();
        let (graph, answers) = query.graph(2, shape).unwrap();
        let engine = builder(&graph, dir.path()).shards(3).start().unwrap();
        engine.catch_up_blocking().unwrap();
        let found = answers.digest(Running::Engine(&engine)).unwrap();
        assert_eq!(found, expected(name, shape), "seed {seed}: {name}");
        // What the benchmark looks up is there, where anybody can tell its key: not when a session began.
        let mut lookup = answers.lookup(&engine).unwrap();
        let is_there = (0..EVENTS as u64).step_by(7).any(|number| lookup(number).unwrap());
        assert_eq!(is_there, name != "q11", "{name}");
        engine.close_blocking().unwrap();
    }
}

fn builder(graph: &Graph, dir: &Path) -> EngineBuilder {
    let log = log::open(&dir.join("log"), Durability::Os).unwrap();
    let log: Arc<dyn Changelog> = log;
    Engine::builder(graph).state_dir(dir.join("state")).changelog(log)
}

/// Folds a little at a time and drains now and then.
#[test]
fn child() {
    let Some(dir) = given() else { return };
    let name: String = variable(QUERY).unwrap();
    let query = QUERIES.iter().find(|query| query.name == name).unwrap();
    let (graph, _) = query.graph(2, shape(0, 500)).unwrap();
    let mut stepper = builder(&graph, &dir).shards(2).stepper().unwrap();
    let mut epochs = 0;
    while stepper.epoch(250).unwrap() {
        epochs += 1;
        if epochs % 5 == 0 {
            stepper.drain().unwrap();
        }
        tell(&format!("epoch {epochs}"));
    }
}
