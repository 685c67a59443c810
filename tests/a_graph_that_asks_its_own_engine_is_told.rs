//! Code of the graph that asks the engine which is running it is told so, and nothing hangs.
//!
//! Property: every read of a view, every wait and every subscription is `Invalid` when it is called from within a fold of
//! the same engine, on whichever thread its shards run, and answers when it is called from anywhere else, also from
//! within the fold of another engine. Appends from within a fold are not held up by the fold itself. An engine that is
//! closed or dropped from within its own fold ends all the same.
//!
//! Method: folds that make every call there is, of their own table and of another one, in epochs small and large enough
//! for one thread and for several. It once hung: the fold has the rows locked that it would read, and waits for itself.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use millpond::changelog::MemoryChangelog;
use millpond::{Engine, ErrorKind, GraphBuilder, Position, Topic, View};
use millpond_support::waiting::block_on;
use std::sync::{Arc, Mutex, OnceLock};

type Handles = (Arc<Engine>, View<u32, u64>, View<u32, u64>);

/// Every call there is.
fn ask((engine, own, other): &Handles) -> Vec<(&'static str, Option<ErrorKind>)> {
    let kind = |result: millpond::Result<()>| result.err().map(|error| error.kind());
    let mut answers = Vec::new();
    for view in [own, other] {
        answers.extend([
            ("get", kind(view.get(&1).map(drop))),
            ("multi_get", kind(view.multi_get(&[1]).map(drop))),
            ("scan", kind(view.scan().map(drop))),
            ("count", kind(view.count().map(drop))),
            ("snapshot", kind(view.snapshot().map(drop))),
            ("changes", kind(view.changes().map(drop))),
            ("subscribe", kind(view.subscribe(&1).map(drop))),
        ]);
    }
    answers.extend([
        ("Engine::snapshot", kind(engine.snapshot().map(drop))),
        ("wait_for_blocking", kind(engine.wait_for_blocking(&Position::new()))),
        ("wait_for", kind(block_on(engine.wait_for(&Position::new())))),
        ("catch_up", kind(engine.catch_up_blocking().map(drop))),
        ("ready", kind(engine.ready_blocking())),
    ]);
    answers
}

#[test]
fn a_graph_that_asks_its_own_engine_is_told() {
    let events = Topic::<u32, u64>::new("events");
    let handles = Arc::new(OnceLock::<Handles>::new());
    let asked = Arc::new(Mutex::new(Vec::new()));
    let graph = GraphBuilder::new();
    let stream = graph.stream(&events).group_by_key();
    let own = stream.fold("own", || 0_u64, {
        let (handles, asked) = (Arc::clone(&handles), Arc::clone(&asked));
        move |count: &mut u64, _: &u32, _: u64| {
            *count += 1;
            if let Some(handles) = handles.get()
                && *count == 2
            {
                asked.lock().unwrap().extend(ask(handles));
                let (engine, ..) = handles;
                engine.append(&Topic::<u32, u64>::new("notes"), &1, &1).wait_blocking().unwrap();
            }
        }
    });
    let other = stream.count("other");
    let builder = Engine::builder(&graph.build().unwrap()).changelog(Arc::new(MemoryChangelog::new()));
    let engine = Arc::new(builder.in_memory().shards(3).max_lag(1).start().unwrap());
    let views = (engine.view(&own).unwrap(), engine.view(&other).unwrap());
    assert!(handles.set((Arc::clone(&engine), views.0.clone(), views.1)).is_ok());
    let producer = engine.producer(&events).unwrap();
    let mut calls = 0;
    for (epoch, keys) in [0..1, 1..2000_u32].into_iter().enumerate() {
        for _ in 0..2 {
            let keys: Vec<u32> = keys.clone().collect();
            let position = producer.send(keys.iter().map(|key| (key, Some(&1), 0))).wait_blocking().unwrap();
            engine.wait_for_blocking(&position).unwrap();
        }
        let asked = std::mem::take(&mut *asked.lock().unwrap());
        assert_eq!(asked.len(), keys.len() * 19, "epoch {epoch}");
        for (call, kind) in asked {
            assert_eq!(kind, Some(ErrorKind::Invalid), "{call} from within a fold");
            calls += 1;
        }
    }
    println!("{calls} calls from within a fold");
    assert!(ask(handles.get().unwrap()).iter().all(|(_, kind)| kind.is_none()), "from outside all answer");
    let error = {
        let message = Arc::new(Mutex::new(None));
        let graph = GraphBuilder::new();
        let (view, told) = (views.0, Arc::clone(&message));
        graph.stream(&events).group_by_key().fold(
            "mirror",
            || 0_u64,
            move |_, key: &u32, _: u64| {
                *told.lock().unwrap() = Some(view.get(key));
            },
        );
        let log = Arc::new(MemoryChangelog::new());
        let second = Engine::builder(&graph.build().unwrap()).changelog(log).in_memory().start().unwrap();
        second.wait_for_blocking(&second.append(&events, &1, &1).wait_blocking().unwrap()).unwrap();
        let told = message.lock().unwrap().take();
        told.unwrap()
    };
    assert_eq!(error.unwrap(), Some(2), "another engine may be asked");
}

#[test]
fn a_graph_that_gives_up_its_own_engine_ends_it() {
    for keys in [1, 2000_u32] {
        for closes in [false, true] {
            let events = Topic::<u32, u64>::new("events");
            let held = Arc::new(Mutex::new(None::<Engine>));
            let answer = Arc::new(Mutex::new(None));
            let graph = GraphBuilder::new();
            let counts = graph.stream(&events).group_by_key().fold("counts", || 0_u64, {
                let (held, answer) = (Arc::clone(&held), Arc::clone(&answer));
                move |count: &mut u64, key: &u32, _: u64| {
                    *count += 1;
                    let given_up = if *key == keys / 2 { held.lock().unwrap().take() } else { None };
                    match given_up {
                        Some(engine) if closes => *answer.lock().unwrap() = Some(engine.close_blocking()),
                        given_up => drop(given_up),
                    }
                }
            });
            let log = Arc::new(MemoryChangelog::new());
            let dir = tempfile::tempdir().unwrap();
            let graph = graph.build().unwrap();
            let open =
                || Engine::builder(&graph).changelog(log.clone()).state_dir(dir.path()).shards(3).start();
            let engine = open().unwrap();
            let mut changes = engine.view(&counts).unwrap().changes().unwrap().1;
            let producer = engine.producer(&events).unwrap();
            *held.lock().unwrap() = Some(engine);
            let records: Vec<u32> = (0..keys).collect();
            let position =
                producer.send(records.iter().map(|key| (key, Some(&1), 0))).wait_blocking().unwrap();
            // The epoch that is under way is published or not; then nothing more comes.
            while let Some(changes) = changes.next_blocking() {
                changes.unwrap();
            }
            drop(changes);
            // Subscriptions end first; the closure is answered a moment later.
            while closes && answer.lock().unwrap().is_none() {
                std::thread::yield_now();
            }
            let told = answer.lock().unwrap().take().map(|result| result.unwrap_err().kind());
            assert_eq!(told, closes.then_some(ErrorKind::Invalid));
            // The directory is free once it is closed, which is a matter of milliseconds.
            let engine = loop {
                match open() {
                    Ok(engine) => break engine,
                    Err(error) => assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}"),
                }
                std::thread::yield_now();
            };
            engine.wait_for_blocking(&position).unwrap();
            assert_eq!(engine.view(&counts).unwrap().count().unwrap(), u64::from(keys));
        }
    }
}
