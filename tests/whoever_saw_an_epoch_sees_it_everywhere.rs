//! Whoever has seen an epoch in any way sees at least that epoch in every other way, at once and on any thread.
//!
//! Property: after `wait_for(..).await` of an append, a get, a `multi_get`, a scan, a snapshot and a subscription show it;
//! and whatever of these has shown a value, the others show no older one.
//!
//! Method: tasks on a runtime of several threads each append to a counter of their own without pause, wait as async code
//! does, and read it twice in ways that change with every turn; in memory, and on disk with drains every millisecond
//! and hardly any room for rows. What is waited for was once published before the number of its epoch was, by which
//! reads in memory are judged: 55 of 135,300 waits on disk and 22 of 360,662 in memory read the value before. Waits
//! that block a thread never found it: they take a lock that the fold holds. (The orders in which two threads can meet
//! are gone through by a model, in `engine/src/state/model.rs`.)
#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "a test fails by panicking, and its numbers are small"
)]

use millpond::changelog::{Changelog, EmbeddedChangelog, EmbeddedOptions, MemoryChangelog};
use millpond::{Engine, GraphBuilder, Memory, Result, StoredTable, Topic, View};
use std::sync::Arc;
use std::time::Duration;

const TASKS: u32 = 4;

/// Room for hardly any row.
fn memory() -> Memory {
    Memory::budget(0)
        .hot_bytes(400)
        .generation_bytes(64 << 10)
        .block_cache_bytes(1 << 20)
        .input_bytes(1 << 20)
}

fn topic() -> Topic<u32, u64> {
    Topic::new("ticks")
}

fn latest() -> (millpond::Graph, StoredTable<u32, u64>) {
    let graph = GraphBuilder::new();
    let latest = graph.table(&topic(), "latest");
    (graph.build().unwrap(), latest)
}

/// Reads the counter of `task`, each turn in another way.
fn read(view: &View<u32, u64>, task: u32, turn: u64) -> Result<u64> {
    let value = match turn % 5 {
        0 | 1 => view.get(&task)?,
        2 => view.multi_get(&[task, task + TASKS])?.swap_remove(0),
        3 => view.range(task..=task)?.next().transpose()?.map(|(_, value)| value),
        _ => view.snapshot()?.get(&task)?,
    };
    Ok(value.unwrap_or_default())
}

async fn count(engine: Arc<Engine>, table: StoredTable<u32, u64>, task: u32, turns: u64) -> Result<()> {
    let producer = engine.producer(&topic())?;
    let view = engine.view(&table)?;
    let mut key = view.subscribe(&task)?;
    for turn in 1..=turns {
        let position = producer.put(&task, &turn).await?;
        if turn % 7 == 0 {
            while key.current() != Some(&turn) {
                let told = key.next().await.transpose()?.flatten();
                let seen = read(&view, task, turn / 7)?;
                assert!(Some(seen) >= told, "task {task}: told of {told:?}, then read {seen}");
            }
        } else {
            engine.wait_for(&position).await?;
        }
        let first = read(&view, task, turn)?;
        assert_eq!(first, turn, "task {task}: read {first} after waiting for {turn}");
        let of_another = (task + 1) % TASKS;
        let before = read(&view, of_another, turn / 5)?;
        let after = read(&view, of_another, turn)?;
        assert!(after >= before, "task {task}: read {before} and then {after}");
    }
    Ok(())
}

fn run(log: Arc<dyn Changelog>, state: Option<&std::path::Path>, turns: u64) {
    let (graph, table) = latest();
    let builder = Engine::builder(&graph).changelog(log).shards(2);
    let builder = match state {
        Some(dir) => builder.state_dir(dir).memory_split(memory()).drain_interval(Duration::from_millis(1)),
        None => builder.in_memory(),
    };
    let engine = Arc::new(builder.start().unwrap());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(3).build().unwrap();
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| runtime.spawn(count(Arc::clone(&engine), table.clone(), task, turns)))
        .collect();
    for task in tasks {
        runtime.block_on(task).unwrap().unwrap();
    }
}

#[test]
fn in_memory() {
    run(Arc::new(MemoryChangelog::new()), None, 30_000);
}

#[test]
fn on_disk() {
    let dir = tempfile::tempdir().unwrap();
    let options = EmbeddedOptions::default().durability(millpond::changelog::Durability::Os);
    let log = EmbeddedChangelog::open(dir.path().join("log"), options).unwrap();
    run(Arc::new(log), Some(&dir.path().join("state")), 8_000);
}
