//! Any number of processes save and prune at once, and none loses what another one relies upon.
//!
//! Property: however the calls of several saves and prunes follow each other, every checkpoint whose save was answered is whole, or
//! was pruned as an old one; what restores meanwhile gets a whole state, or is told that it was pruned. Once all are done, the
//! newest is there, and one more prune leaves what is needed and nothing else.
//!
//! Method: states that share files in turn, so that what one prune deletes is what the next save needs; a store at which
//! every call is held up by a number of steps that is drawn at random.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod service;

use async_trait::async_trait;
use futures_util::future::{BoxFuture, join_all};
use millpond::ErrorKind;
use millpond_checkpoints::Checkpoints;
use millpond_support::environment::{rounds, seed};
use millpond_support::files::copy;
use millpond_support::random::Random;
use object_store::ObjectStore;
use object_store::memory::InMemory;
use service::{Call, Hook, Hooked, Service, contents, texts};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// Holds up every call.
#[derive(Debug)]
struct HeldUp(Mutex<Random>);

impl HeldUp {
    async fn wait(&self) {
        let steps = { self.0.lock().unwrap().pick(&[0, 0, 1, 2, 5, 30]) };
        for _ in 0..steps {
            tokio::task::yield_now().await;
        }
    }
}

#[async_trait]
impl Hook for HeldUp {
    async fn before(&self, _: &Call) -> object_store::Result<()> {
        self.wait().await;
        Ok(())
    }

    async fn after(&self, _: &Call) -> object_store::Result<()> {
        self.wait().await;
        Ok(())
    }
}

/// States of one service at several moments.
fn states(dir: &Path, random: &mut Random) -> Vec<PathBuf> {
    let service = Service::new();
    let engine = service.start(&dir.join("state"));
    let mut states = Vec::new();
    for number in 0..3 {
        service.append(texts(random, 5, 50));
        engine.catch_up_blocking().unwrap();
        states.push(dir.join(format!("moment-{number}")));
        engine.checkpoint_blocking(&states[number]).unwrap();
    }
    states
}

async fn run(seed: u64, states: &[PathBuf], dir: &Path) {
    println!("run with seed {seed}");
    let mut random = Random::new(seed);
    let plain: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let hook = Arc::new(HeldUp(Mutex::new(Random::new(random.number()))));
    let store = Hooked::new(Arc::clone(&plain), hook);
    let checkpoints = Checkpoints::new(store, "a").unwrap();
    let answered = Mutex::new(Vec::new());
    checkpoints.save_dir(&states[0]).await.unwrap();
    checkpoints.save_dir(&states[1]).await.unwrap();
    let mut works: Vec<BoxFuture<'_, ()>> = Vec::new();
    for number in 0..6 {
        let (checkpoints, answered) = (&checkpoints, &answered);
        // One engine at a time has a state open.
        let state = dir.join(format!("{seed}-{number}"));
        copy(&states[random.index(states.len())], &state);
        let (keep, repeats) = (1 + random.index(2), 1 + random.index(2));
        let target = dir.join(format!("{seed}-{number}-restored"));
        works.push(match number {
            0..3 => Box::pin(async move {
                for _ in 0..repeats {
                    let saved = checkpoints.save_dir(&state).await.unwrap();
                    answered.lock().unwrap().push(saved.id);
                }
            }),
            3 => Box::pin(async move {
                match checkpoints.restore(&target).await {
                    Ok(saved) => assert_eq!(millpond::StateInfo::verify(&target).unwrap(), saved.state),
                    // It was the newest when it was looked for.
                    Err(error) => assert!(
                        error.kind() == ErrorKind::Unavailable || error.message().contains("there is no checkpoint"),
                        "{error}"
                    ),
                }
            }),
            _ => Box::pin(async move {
                for _ in 0..repeats + 1 {
                    checkpoints.prune(keep).await.unwrap();
                }
            }),
        });
    }
    join_all(works).await;
    let ids: Vec<String> = checkpoints.list().await.unwrap().into_iter().map(|saved| saved.id).collect();
    let newest = answered.lock().unwrap().iter().max().unwrap().clone();
    assert_eq!(ids.last(), Some(&newest));
    for id in &ids {
        checkpoints.verify(id).await.unwrap();
    }
    checkpoints.prune(1).await.unwrap();
    let left = checkpoints.verify(&newest).await.unwrap();
    let objects = contents(&plain).await;
    assert!(objects.len() <= left.files + 1, "{:?}", objects.keys());
}

#[tokio::test]
async fn what_one_relies_upon_another_does_not_delete() {
    let mut random = Random::new(seed());
    let dir = tempfile::tempdir().unwrap();
    let states = states(dir.path(), &mut random);
    for _ in 0..rounds(60) {
        run(random.number(), &states, dir.path()).await;
    }
}
