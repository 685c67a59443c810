//! A stream of changes misses nothing, whoever stops waiting for it in the midst, and ends with its engine.
//!
//! Property: whatever way a subscriber waits (as a task that gives up at any time, as an adaptor of `futures_util`, on a
//! thread), and however many wait, each sees every epoch once, and then the end (`None`) once the engine is closed. Every
//! subscriber of a key sees the last value. If the engine stops with an error, or a newer version replaces the table, the
//! stream says so once and ends then.
//!
//! Method: hundreds of tasks on a few threads, half of which drop what they wait for after every poll; an engine that folds
//! meanwhile and is then closed. A wake-up that is missed would leave a task waiting for ever, which the test program's time
//! limit tells. Polls by hand show that the last waker is the one that is woken.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use futures_util::{Stream, StreamExt, TryStreamExt};
use millpond::changelog::MemoryChangelog;
use millpond::testing::Driver;
use millpond::{ChangeStream, EpochChanges, KeyStream};
use millpond::{Engine, ErrorKind, GraphBuilder, Result, StoredTable, TableOptions, Topic, View};
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

const KEYS: u32 = 16;
const ROUNDS: u64 = 300;
const TASKS: u32 = 200;

fn topic() -> Topic<u32, u64> {
    Topic::new("numbers")
}

fn start() -> (Engine, StoredTable<u32, u64>) {
    let graph = GraphBuilder::new();
    let latest = graph.table(&topic(), "latest");
    let builder = Engine::builder(&graph.build().unwrap()).changelog(Arc::new(MemoryChangelog::new()));
    (builder.in_memory().shards(2).start().unwrap(), latest)
}

/// Each key gets the numbers of the rounds, in small epochs and large ones.
fn append(engine: &Engine) {
    let producer = engine.producer(&topic()).unwrap();
    for round in 1..=ROUNDS {
        let rows: Vec<u32> = (0..KEYS).collect();
        let position = producer.send(rows.iter().map(|key| (key, Some(&round), 0))).wait_blocking().unwrap();
        if round % 3 == 0 {
            engine.wait_for_blocking(&position).unwrap();
        }
    }
    engine.catch_up_blocking().unwrap();
}

/// Polls `future` once; what it waited for is given up then.
async fn once<F: Future>(future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut polled = None;
    std::future::poll_fn(|context| {
        if let Poll::Ready(output) = future.as_mut().poll(context) {
            polled = Some(output);
        }
        Poll::Ready(())
    })
    .await;
    polled
}

/// The next item, waited for again and again.
async fn impatient<S: Stream + Unpin>(stream: &mut S) -> Option<S::Item> {
    loop {
        if let Some(item) = once(stream.next()).await {
            return item;
        }
        tokio::task::yield_now().await;
    }
}

fn apply(rows: &mut BTreeMap<u32, u64>, epoch: &EpochChanges<u32, u64>) {
    for change in epoch.changes() {
        assert_eq!(rows.get(&change.key), change.old.as_ref(), "an epoch is missing, or came twice");
        rows.insert(change.key, change.new.unwrap());
    }
}

/// Follows the table to the end of the stream.
async fn follow(view: View<u32, u64>, way: u32) -> Result<BTreeMap<u32, u64>> {
    let (start, mut stream) = view.changes()?;
    let mut rows: BTreeMap<u32, u64> = start.scan().collect::<Result<_>>()?;
    drop(start);
    match way % 3 {
        0 => {
            while let Some(epoch) = stream.next().await {
                apply(&mut rows, &epoch?);
            }
        }
        1 => {
            while let Some(epoch) = impatient(&mut stream).await {
                apply(&mut rows, &epoch?);
            }
        }
        _ => {
            let rows = &mut rows;
            stream
                .try_for_each(|epoch| {
                    apply(rows, &epoch);
                    std::future::ready(Ok(()))
                })
                .await?;
        }
    }
    Ok(rows)
}

/// Follows one key until it has the last number, and then to the end.
async fn watch(view: View<u32, u64>, key: u32, is_impatient: bool) -> Result<u64> {
    let mut stream = view.subscribe(&key)?;
    let mut seen = stream.current().copied().unwrap_or(0);
    loop {
        let next = if is_impatient { impatient(&mut stream).await } else { stream.next().await };
        let Some(value) = next else { return Ok(seen) };
        let value = value?.unwrap();
        assert!(value > seen, "told of {value} after {seen}");
        assert_eq!(stream.current(), Some(&value));
        seen = value;
    }
}

#[test]
fn many_tasks_miss_nothing_and_all_of_them_end() {
    let (engine, table) = start();
    let view = engine.view(&table).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(3).build().unwrap();
    let all: Vec<_> = (0..TASKS / 4).map(|task| runtime.spawn(follow(view.clone(), task))).collect();
    let keys: Vec<_> =
        (0..TASKS).map(|task| runtime.spawn(watch(view.clone(), task % KEYS, task % 2 == 0))).collect();
    let thread = std::thread::spawn({
        let view = view.clone();
        move || {
            let (start, mut stream) = view.changes().unwrap();
            let mut rows: BTreeMap<u32, u64> = start.scan().collect::<Result<_>>().unwrap();
            while let Some(epoch) = stream.next_blocking() {
                apply(&mut rows, &epoch.unwrap());
            }
            rows
        }
    });
    append(&engine);
    // A value that nobody has asked for before the end is not read any more: so the keys are given the time.
    let mut last: Vec<_> = (0..KEYS).map(|key| view.subscribe(&key).unwrap()).collect();
    for (key, stream) in (0..KEYS).zip(&mut last) {
        assert_eq!(stream.current(), Some(&ROUNDS), "key {key}");
    }
    engine.close_blocking().unwrap();
    let expected: BTreeMap<u32, u64> = (0..KEYS).map(|key| (key, ROUNDS)).collect();
    runtime.block_on(async {
        for task in all {
            let rows = task.await.unwrap();
            // A task that came to it only now finds that the engine is closed.
            assert!(
                rows.as_ref()
                    .map_or_else(|error| error.kind() == ErrorKind::Closed, |rows| *rows == expected),
                "{rows:?}"
            );
        }
        for task in keys {
            let seen = task.await.unwrap();
            assert!(
                seen.as_ref().map_or_else(|error| error.kind() == ErrorKind::Closed, |seen| *seen <= ROUNDS),
                "{seen:?}"
            );
        }
    });
    assert_eq!(thread.join().unwrap(), expected);
    for stream in &mut last {
        assert!(stream.next_blocking().is_none() && stream.next_blocking().is_none());
    }
}

/// While the engine runs, every subscriber of a key comes to see its last value.
#[test]
fn the_last_value_of_a_key_reaches_everyone_who_waits() {
    let (engine, table) = start();
    let view = engine.view(&table).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(3).build().unwrap();
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| {
            let mut stream = view.subscribe(&(task % KEYS)).unwrap();
            runtime.spawn(async move {
                while stream.current() != Some(&ROUNDS) {
                    let next = if task % 2 == 0 { impatient(&mut stream).await } else { stream.next().await };
                    next.unwrap().unwrap();
                }
            })
        })
        .collect();
    append(&engine);
    runtime.block_on(async {
        for task in tasks {
            task.await.unwrap();
        }
    });
}

/// Counts how often it is woken.
#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn poll<S: Stream + Unpin>(stream: &mut S, woken: &Arc<Woken>) -> Poll<Option<S::Item>> {
    Pin::new(stream).poll_next(&mut Context::from_waker(&Waker::from(Arc::clone(woken))))
}

fn wakes_the_last<S: Stream<Item = Result<T>> + Unpin, T: Debug>(stream: &mut S, change: &mut impl FnMut()) {
    let [first, second] = [Arc::new(Woken::default()), Arc::new(Woken::default())];
    for round in 1..4 {
        assert!(poll(stream, &first).is_pending() && poll(stream, &second).is_pending());
        change();
        assert_eq!(second.0.load(Ordering::SeqCst), round, "the waker of the last poll");
        assert!(matches!(poll(stream, &first), Poll::Ready(Some(Ok(_)))));
    }
    assert_eq!(first.0.load(Ordering::SeqCst), 0, "a waker that was replaced");
}

#[test]
fn the_waker_of_the_last_poll_is_woken() {
    let graph = GraphBuilder::new();
    let latest = graph.table(&topic(), "latest");
    let mut driver = Driver::new(&graph.build().unwrap()).unwrap();
    let view = driver.view(&latest).unwrap();
    let (mut all, mut key) = (view.changes().unwrap().1, view.subscribe(&1).unwrap());
    let mut number = 0;
    let mut change = || {
        number += 1;
        driver.put(&topic(), 1, number, 0).unwrap();
        driver.run().unwrap();
    };
    wakes_the_last(&mut key, &mut change);
    while all.try_next().unwrap().is_some() {}
    wakes_the_last(&mut all, &mut change);
}

/// The next two items: what is told, and that it is the end.
fn told_once<T: Debug>(mut next: impl FnMut() -> Option<Result<T>>) -> ErrorKind {
    let kind = next().unwrap().unwrap_err().kind();
    assert!(next().is_none(), "the stream goes on behind its error");
    kind
}

#[test]
fn the_reason_of_a_stop_is_told_once() {
    let graph = GraphBuilder::new();
    let sums = graph.stream(&topic()).group_by_key().fold(
        "sums",
        || 0_u64,
        |_, _, value| assert!(value != 13, "unlucky"),
    );
    let builder = Engine::builder(&graph.build().unwrap()).changelog(Arc::new(MemoryChangelog::new()));
    let engine = builder.in_memory().start().unwrap();
    let view = engine.view(&sums).unwrap();
    let (mut all, mut key): (ChangeStream<_, _>, KeyStream<_, _>) =
        (view.changes().unwrap().1, view.subscribe(&1).unwrap());
    engine.append(&topic(), &1, &13).wait_blocking().unwrap();
    assert_eq!(told_once(|| all.next_blocking()), ErrorKind::User);
    assert_eq!(told_once(|| key.next_blocking()), ErrorKind::User);
    drop(engine.close_blocking());
    assert!(all.next_blocking().is_none() && key.next_blocking().is_none());
}

#[test]
fn a_newer_version_of_the_table_is_told_once() {
    let graph = |version| {
        let graph = GraphBuilder::new();
        let store = TableOptions::named("sums").version(version);
        let sums = graph.stream(&topic()).group_by_key().reduce(store, |sum, value| sum + value);
        (graph.build().unwrap(), sums)
    };
    let (first, sums) = graph(1);
    let mut driver = Driver::new(&first).unwrap();
    driver.put(&topic(), 1, 2, 0).unwrap();
    driver.run().unwrap();
    drop(sums);
    let (second, sums) = graph(2);
    driver.upgrade(&second).unwrap();
    let view = driver.view(&sums).unwrap();
    assert!(view.is_former());
    let (mut all, mut key) = (view.changes().unwrap().1, view.subscribe(&1).unwrap());
    driver.run().unwrap();
    assert_eq!(told_once(|| all.next_blocking()), ErrorKind::Unavailable);
    assert_eq!(told_once(|| key.next_blocking()), ErrorKind::Unavailable);
    let mut key = view.subscribe(&1).unwrap();
    driver.put(&topic(), 1, 3, 0).unwrap();
    driver.run().unwrap();
    assert_eq!(key.next_blocking().unwrap().unwrap(), Some(5), "whoever subscribes again goes on");
}

/// What a web server does with it: a response that is a stream, sent by whatever thread.
#[test]
fn a_stream_can_be_sent_and_boxed() {
    fn body(
        stream: impl Stream<Item = Result<String>> + Send + Unpin + 'static,
    ) -> Pin<Box<dyn Stream<Item = Result<String>> + Send>> {
        stream.boxed()
    }
    let (engine, table) = start();
    let view = engine.view(&table).unwrap();
    let all = body(view.changes().unwrap().1.map_ok(|epoch| format!("{:?}", epoch.position())));
    let key = body(view.subscribe(&1).unwrap().map_ok(|value| format!("{value:?}")));
    engine.append(&topic(), &1, &7).wait_blocking().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut both = futures_util::stream::select(all, key);
    runtime.block_on(async { both.next().await.unwrap().unwrap() });
    engine.close_blocking().unwrap();
    let left: Vec<String> = runtime.block_on(both.try_collect()).unwrap();
    assert!(left.len() < 2);
}
