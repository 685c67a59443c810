//! Whatever call of the store fails, there is a whole checkpoint or none, and a whole state or none.
//!
//! Property: after the nth call of the store has failed, be it made or not, every checkpoint that is listed can be read from its
//! first to its last byte; a directory that was to be restored to is not there, or is the state. Nothing is left beside it,
//! the next attempt does what the first one did not, and what the failures left in the store goes with the next prune. So it is, too,
//! where what is awaited is dropped at the nth call.
//!
//! Method: a store that fails, or never answers, at the nth call, for every n until none is left.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod service;

use async_trait::async_trait;
use millpond::{Engine, ErrorKind, ManualClock, Result};
use millpond_checkpoints::Checkpoints;
use millpond_support::random::Random;
use object_store::ObjectStore;
use object_store::memory::InMemory;
use service::{Call, Hook, Hooked, Service, broken, contents, text};
use std::fs;
use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::Notify;

/// How the nth call goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Fails,
    /// It is done, and nobody knows.
    FailsAfterwards,
    NeverAnswers,
}

#[derive(Debug)]
struct Nth {
    left: AtomicUsize,
    fault: Fault,
    reached: Notify,
}

impl Nth {
    fn next(&self) -> bool {
        self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)) == Ok(1)
    }

    async fn go_wrong(&self) -> object_store::Result<()> {
        self.reached.notify_one();
        if self.fault == Fault::NeverAnswers {
            std::future::pending::<()>().await;
        }
        Err(broken())
    }
}

#[async_trait]
impl Hook for Nth {
    async fn before(&self, _: &Call) -> object_store::Result<()> {
        if self.fault != Fault::FailsAfterwards && self.next() { self.go_wrong().await } else { Ok(()) }
    }

    async fn after(&self, _: &Call) -> object_store::Result<()> {
        if self.fault == Fault::FailsAfterwards && self.next() { self.go_wrong().await } else { Ok(()) }
    }
}

/// Does `work` with a store that goes wrong at the nth call; `None` if it does not come to so many.
async fn at_call<T, F: Future<Output = Result<T>>>(
    (nth, fault): (usize, Fault),
    store: &Arc<dyn ObjectStore>,
    work: impl FnOnce(Checkpoints) -> F,
) -> Option<Option<Result<T>>> {
    let hook = Arc::new(Nth { left: AtomicUsize::new(nth), fault, reached: Notify::new() });
    let hooked = Hooked::new(Arc::clone(store), Arc::clone(&hook));
    let done = {
        let work = work(Checkpoints::new(hooked, "texts").unwrap());
        tokio::select! {
            biased;
            done = work => Some(done),
            () = async { if fault == Fault::NeverAnswers { hook.reached.notified().await } else { std::future::pending().await } } => None,
        }
    };
    (hook.left.load(Ordering::SeqCst) == 0).then_some(done)
}

const FAULTS: [Fault; 3] = [Fault::Fails, Fault::FailsAfterwards, Fault::NeverAnswers];

async fn all_are_whole(checkpoints: &Checkpoints) -> Vec<String> {
    let mut ids = Vec::new();
    for checkpoint in checkpoints.list().await.unwrap() {
        assert_eq!(checkpoints.verify(&checkpoint.id).await.unwrap(), checkpoint);
        ids.push(checkpoint.id);
    }
    ids
}

fn entries(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// What is left once all that was begun is a day old: the newest checkpoint, and nothing that it does not need.
async fn only_the_newest_is_left(
    checkpoints: &Checkpoints,
    clock: &ManualClock,
    store: &Arc<dyn ObjectStore>,
) {
    clock.advance(25 * 60 * 60 * 1000);
    checkpoints.prune(1).await.unwrap();
    let [newest] = &checkpoints.list().await.unwrap()[..] else { panic!("not one is left") };
    checkpoints.verify(&newest.id).await.unwrap();
    let objects: Vec<String> = contents(store).await.into_keys().collect();
    let (files, others): (Vec<_>, Vec<_>) =
        objects.into_iter().partition(|object| object.starts_with("texts/files/"));
    assert_eq!(others, [format!("texts/manifests/{}.json", newest.id)]);
    assert!(files.len() <= newest.files, "{files:?}");
}

/// A text that makes a file of several parts.
const SEVERAL_PARTS: usize = 9 << 20;

/// A service whose state has a file of several parts, and a store.
struct Scene {
    dir: tempfile::TempDir,
    service: Service,
    engine: Engine,
    store: Arc<dyn ObjectStore>,
    clock: Arc<ManualClock>,
    checkpoints: Checkpoints,
}

impl Scene {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let service = Service::new();
        let engine = service.start(&dir.path().join("state"));
        let clock = Arc::new(ManualClock::new(0));
        let checkpoints = Checkpoints::new(Arc::clone(&store), "texts").unwrap().clock(clock.clone());
        let scene = Self { dir, service, engine, store, clock, checkpoints };
        scene.append(1, SEVERAL_PARTS).await;
        scene.checkpoints.save(&scene.engine).await.unwrap();
        scene
    }

    /// Replaces the only row with another one.
    async fn append(&self, seed: u64, bytes: usize) {
        self.service.append([(1, text(&mut Random::new(seed), bytes))]);
        self.engine.catch_up().await.unwrap();
    }
}

#[tokio::test]
async fn a_save_that_fails_anywhere_leaves_no_half_of_a_checkpoint() {
    for fault in FAULTS {
        let scene = Scene::new().await;
        let Scene { dir, engine, store, clock, checkpoints, .. } = &scene;
        let mut outcomes = (0, 0);
        for nth in 1.. {
            scene.append(100 + nth as u64, SEVERAL_PARTS).await;
            let before = all_are_whole(checkpoints).await;
            let save = |failing: Checkpoints| async move { failing.clock(clock.clone()).save(engine).await };
            let Some(done) = at_call((nth, fault), store, save).await else { break };
            let after = all_are_whole(checkpoints).await;
            assert!(after.starts_with(&before) && after.len() <= before.len() + 1);
            assert_eq!(entries(dir.path()), ["state"], "something is left beside the state");
            match done {
                Some(Ok(saved)) => {
                    // All but the note that it was being saved.
                    assert_eq!(after.last(), Some(&saved.id));
                    outcomes.0 += 1;
                }
                Some(Err(error)) => {
                    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
                    outcomes.1 += 1;
                }
                None => outcomes.1 += 1,
            }
            let saved = checkpoints.save(engine).await.unwrap();
            assert_eq!(saved.position, engine.position());
            only_the_newest_is_left(checkpoints, clock, store).await;
        }
        println!("{fault:?}: {outcomes:?} saves were done and failed");
        assert!(outcomes.1 > 6, "{outcomes:?}");
    }
}

#[tokio::test]
async fn a_restore_that_fails_anywhere_leaves_nothing() {
    let scene = Scene::new().await;
    let rows = scene.service.rows(&scene.engine);
    for fault in FAULTS {
        let dir = tempfile::tempdir().unwrap();
        let target = &dir.path().join("restored");
        let mut failed = 0;
        for nth in 1.. {
            let restore = |failing: Checkpoints| async move { failing.restore(target).await };
            match at_call((nth, fault), &scene.store, restore).await {
                None => break,
                Some(Some(Ok(done))) => panic!("{done:?} although call {nth} failed"),
                Some(Some(Err(error))) => assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}"),
                Some(None) => {}
            }
            assert!(!target.exists());
            failed += 1;
            if fault == Fault::FailsAfterwards {
                // Only lists do.
                break;
            }
        }
        assert!(failed > 6 || fault == Fault::FailsAfterwards, "{failed}");
        if !target.exists() {
            scene.checkpoints.restore(target).await.unwrap();
        }
        assert_eq!(entries(dir.path()), ["restored"]);
        assert_eq!(scene.service.rows_in(target), rows);
    }
}

#[tokio::test]
async fn a_prune_that_fails_anywhere_deletes_nothing_that_is_needed() {
    for fault in FAULTS {
        let scene = Scene::new().await;
        let Scene { engine, store, clock, checkpoints, .. } = &scene;
        let mut failed = 0;
        for nth in 1.. {
            scene.append(100 + nth as u64, 100).await;
            let saved = checkpoints.save(engine).await.unwrap();
            let prune = |failing: Checkpoints| async move { failing.clock(clock.clone()).prune(1).await };
            let Some(done) = at_call((nth, fault), store, prune).await else { break };
            failed += 1;
            assert!(done.is_none_or(|done| done.is_err()), "although call {nth} failed");
            assert_eq!(all_are_whole(checkpoints).await.last(), Some(&saved.id));
            only_the_newest_is_left(checkpoints, clock, store).await;
        }
        assert!(failed > 6, "{failed}");
    }
}
