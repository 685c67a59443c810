//! A subscriber gets the table at a position and then every change after it, once and in order.
//!
//! Property: the changes laid over the snapshot that they begin with give the table at the position of each of them;
//! each says as `old` what was there; a subscription to one key ends with the value that the table has. Subscribing
//! again in the midst of the load gives the same.
//!
//! Method: subscribers on threads of their own join at any time while an engine folds at full speed; what they replay
//! is compared with the plain fold of the changelog at the position that came with the changes. A table of sessions is kept in
//! another way where other nodes look into it: of two that are the same, one of them such a one, everyone is told the same.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "a test fails by panicking, and its numbers are small"
)]

use millpond::changelog::backend::AppendLog;
use millpond::changelog::{Changelog, MemoryChangelog};
use millpond::dataflow::Change;
use millpond::stream::{Session, SessionKey, SessionTable};
use millpond::{Engine, Graph, GraphBuilder, KeyStream, Position, Result, Topic, View};
use millpond_support::environment::{rounds, seed};
use millpond_support::ledger::{Balance, Books, Ledger, batch, read};
use millpond_support::random::Random;
use millpond_support::records;
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

const BATCHES: u64 = 400;

/// Follows the table until `end`; returns the table at each position on the way.
async fn follow(view: View<u32, Balance>, end: Position) -> Result<Vec<(Position, BTreeMap<u32, Balance>)>> {
    let (start, mut changes) = view.changes()?;
    let mut table: BTreeMap<u32, Balance> = start.scan().collect::<Result<_>>()?;
    let mut position = start.position().clone();
    drop(start);
    let mut seen = vec![(position.clone(), table.clone())];
    while !position.includes(&end) {
        let published = changes.next().await.expect("the engine runs")?;
        assert!(
            published.position().includes(&position) && *published.position() != position,
            "not after {position}"
        );
        position = published.position().clone();
        if let Some(change) = published.changes().first() {
            // Whoever is told of a change finds it: the view is at this epoch or later.
            let snapshot = view.snapshot()?;
            assert!(
                snapshot.position().includes(&position),
                "told of {position}, shown {}",
                snapshot.position()
            );
            if *snapshot.position() == position {
                assert_eq!(snapshot.get(&change.key)?, change.new);
            }
        }
        for change in published.changes() {
            assert_eq!(table.get(&change.key), change.old.as_ref(), "key {} before {position}", change.key);
            match change.new {
                Some(balance) => table.insert(change.key, balance),
                None => table.remove(&change.key),
            };
        }
        seen.push((position.clone(), table.clone()));
    }
    Ok(seen)
}

#[test]
fn changes_follow_a_snapshot_without_a_gap() {
    let mut random = Random::new(seed());
    for _ in 0..rounds(3) {
        run(&mut random);
    }
}

fn run(random: &mut Random) {
    let ledger = Ledger::new(1);
    let log = Arc::new(MemoryChangelog::new());
    let engine = Engine::builder(&ledger.graph)
        .changelog(Arc::clone(&log) as Arc<dyn Changelog>)
        .in_memory()
        .shards(3)
        .epoch_records(random.pick(&[10, 100, 10_000]))
        .drain_interval(Duration::from_millis(1))
        .start()
        .unwrap();
    let view = engine.view(&ledger.balances).unwrap();
    let batches: Vec<_> = (0..BATCHES).map(|number| batch(random, number * 20, 20).0).collect();
    let mut end = Position::new();
    for append in batches.iter().flatten() {
        let offset = end.offset(&append.partition) + append.records.len() as u64;
        end.set(append.partition.clone(), offset);
    }
    let mut followers = Vec::new();
    for (number, appends) in (0..).zip(batches) {
        log.append(appends).wait_blocking().unwrap();
        if number % 80 == 0 {
            let (view, end) = (view.clone(), end.clone());
            followers.push(std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                runtime.block_on(follow(view, end)).unwrap()
            }));
        }
    }
    let mut key = view.subscribe(&3).unwrap();
    engine.wait_for_blocking(&end).unwrap();
    let last = view.get(&3).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    while key.current().copied() != last {
        let before = key.current().map_or(0, |balance| balance.0);
        let next = runtime.block_on(key.next()).unwrap().unwrap();
        assert!(next.is_some_and(|balance| balance.0 > before), "{next:?} after {before}");
    }
    let payments = read(&*log, &ledger.payments).unwrap();
    let mut positions = 0;
    for follower in followers {
        for (position, table) in follower.join().unwrap() {
            assert_eq!(table, *Books::folded(&payments, &position).balances(), "at {position}");
            positions += 1;
        }
    }
    println!("{positions} positions");
    assert!(positions > 5);
}

type Rows = BTreeMap<SessionKey<u8>, String>;

fn rows(view: &View<SessionKey<u8>, String>) -> Rows {
    view.scan().unwrap().map(Result::unwrap).collect()
}

#[test]
fn of_sessions_everyone_is_told_the_same_whether_other_nodes_look_into_them() {
    let mut random = Random::new(seed());
    let mut told = 0;
    for _ in 0..rounds(40) {
        told += told_alike(&mut random);
    }
    assert!(told > 100, "{told} of single keys");
}

fn clicks() -> Topic<u8, u64> {
    Topic::new("clicks").partitions(2)
}

/// Two tables of the same sessions, into the second of which another node looks.
fn alike(random: &mut Random) -> (Graph, [SessionTable<u8, String>; 2]) {
    let graph = GraphBuilder::new();
    let ms = Duration::from_millis;
    let mut sessions = graph.stream(&clicks()).group_by_key().windowed(Session::gap(ms(20)).grace(ms(30)));
    if random.below(2) == 0 {
        sessions = sessions.keep(ms(100));
    }
    let [alone, looked_into] = ["alone", "looked_into"].map(|name| {
        sessions.fold(
            name,
            || "x".to_owned(),
            |text, _, number| text.push_str(&number.to_string()),
            |text, more| text.push_str(&more),
        )
    });
    looked_into.table().group_by(|session, text| (session.key, text.len() as u64)).count("by_key");
    (graph.build().unwrap(), [alone, looked_into])
}

/// How often a subscriber of a key was told something.
fn told_alike(random: &mut Random) -> usize {
    let (topic, (graph, tables)) = (clicks(), alike(random));
    let log = Arc::new(MemoryChangelog::new());
    let changelog = Arc::clone(&log) as Arc<dyn Changelog>;
    let builder = Engine::builder(&graph).changelog(changelog).in_memory();
    let mut stepper = builder.shards(random.pick(&[1, 2, 3])).stepper().unwrap();
    let views = tables.each_ref().map(|table| stepper.view(table.table()).unwrap());
    let mut streams = views.each_ref().map(|view| view.changes().unwrap().1);
    let (mut laid_over, mut watched, mut told) = (Rows::new(), Vec::new(), 0);
    let (mut at_ms, mut waker) = (0, Context::from_waker(Waker::noop()));
    for number in 0..120 {
        at_ms += random.below(12);
        let at_ms = at_ms as i64 - random.below(40) as i64;
        let partition = records::partition(&topic, random.below(2) as u32);
        let record = records::record(&topic, &(random.below(5) as u8), Some(&number)).at(at_ms);
        records::append(&*log, partition, vec![record]).unwrap();
        if random.below(5) == 0 {
            stepper.drain().unwrap();
        }
        if random.below(3) == 0 {
            continue;
        }
        stepper.epoch(1 + random.index(6)).unwrap();
        let [alone, looked_into] = streams.each_mut().map(|stream| stream.try_next().unwrap());
        assert_eq!(alone.is_some(), looked_into.is_some());
        if let Some((alone, looked_into)) = alone.zip(looked_into) {
            assert_eq!(alone.position(), looked_into.position());
            let all = |changes: &[Change<SessionKey<u8>, String>]| {
                let each = changes.iter().map(|change| (change.key, change.old.clone(), change.new.clone()));
                each.collect::<Vec<_>>()
            };
            assert_eq!(all(alone.changes()), all(looked_into.changes()));
            for change in alone.changes() {
                match change.new.clone() {
                    Some(text) => laid_over.insert(change.key, text),
                    None => laid_over.remove(&change.key),
                };
            }
        }
        let [alone, looked_into] = views.each_ref().map(rows);
        assert_eq!(alone, looked_into);
        // What is forgotten is no change.
        assert!(alone.iter().all(|(key, text)| laid_over.get(key) == Some(text)), "{alone:?} {laid_over:?}");
        for key in laid_over.keys() {
            let [one, other] = views.each_ref().map(|view| view.get(key).unwrap());
            assert_eq!((&one, &one), (&other, &alone.get(key).cloned()));
        }
        for subscribers in &mut watched {
            let [one, other]: &mut [KeyStream<SessionKey<u8>, String>; 2] = subscribers;
            let mut next =
                |stream: &mut KeyStream<_, _>| pin!(stream.next()).poll(&mut waker).map(Option::unwrap);
            let [one, other] = [one, other].map(|stream| next(stream).map(Result::unwrap));
            assert_eq!(one, other);
            told += usize::from(matches!(one, Poll::Ready(_)));
        }
        if let Some((key, _)) = alone.iter().nth(random.index(alone.len().max(1))) {
            watched.push(views.each_ref().map(|view| view.subscribe(key).unwrap()));
        }
    }
    told
}
