//! A subscriber gets the table at a position and then every change after it, once and in order.
//!
//! Property: the changes laid over the snapshot that they begin with give the table at the position of each of them;
//! each says as `old` what was there; a subscription to one key ends with the value that the table has. Subscribing
//! again in the midst of the load gives the same.
//!
//! Method: subscribers on threads of their own join at any time while an engine folds at full speed; what they replay
//! is compared with the plain fold of the changelog at the position that came with the changes.
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
use millpond::{Engine, Position, Result, View};
use millpond_support::environment::{rounds, seed};
use millpond_support::ledger::{Balance, Books, Ledger, batch, read};
use millpond_support::random::Random;
use std::collections::BTreeMap;
use std::sync::Arc;
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
