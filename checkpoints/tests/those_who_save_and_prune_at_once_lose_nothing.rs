//! Any number of processes save and prune at once, and none loses what another one relies upon.
//!
//! Property: however the calls of several saves and prunes follow each other, every checkpoint whose save was answered is whole, or
//! was pruned as an old one; what restores meanwhile gets a whole state, or is told that it was pruned. Once all are done, the
//! newest is there, and one more prune leaves what is needed and nothing else.
//!
//! Method: two states, saved in turn, so that what one prune deletes is what the next save needs; a store at which
//! everybody waits with the next call until all have come to one, of which one is drawn.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test fails by panicking, and its numbers are small"
)]

mod service;

use async_trait::async_trait;
use futures_util::future::{BoxFuture, join_all};
use millpond::{ErrorKind, StateInfo};
use millpond_checkpoints::Checkpoints;
use millpond_support::environment::{rounds, seed};
use millpond_support::files::copy;
use millpond_support::random::Random;
use object_store::ObjectStore;
use object_store::memory::InMemory;
use service::{Call, Hook, Hooked, Service, contents, texts};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use tokio::sync::oneshot;

/// Lets one call after the other go on, drawn at random once everybody has come to one.
#[derive(Debug)]
struct Turns(Mutex<Waiting>);

#[derive(Debug)]
struct Waiting {
    random: Random,
    /// Who goes on just now.
    ahead: u64,
    /// The calls of each who is not done yet, and how each is let go on.
    calls: BTreeMap<usize, Vec<oneshot::Sender<()>>>,
}

impl Turns {
    fn new(seed: u64) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Waiting { random: Random::new(seed), ahead: 0, calls: BTreeMap::new() })))
    }

    /// One more who takes turns, from now on.
    fn join(self: &Arc<Self>) -> Arc<Taker> {
        let mut waiting = self.0.lock().unwrap();
        let number = waiting.calls.len();
        waiting.calls.insert(number, Vec::new());
        Arc::new(Taker { turns: Arc::clone(self), number })
    }
}

impl Waiting {
    fn go_on(&mut self) {
        if self.calls.values().all(|calls| !calls.is_empty()) && !self.calls.is_empty() {
            // Mostly the same one, so that it gets far ahead.
            if self.random.below(8) == 0 {
                self.ahead = self.random.number();
            }
            let who = (self.ahead % self.calls.len() as u64) as usize;
            let calls = self.calls.values_mut().nth(who).unwrap();
            let call = self.random.index(calls.len());
            if calls.swap_remove(call).send(()).is_err() {
                // Given up meanwhile, since another call of the same one has failed.
                self.go_on();
            }
        }
    }
}

/// Who takes turns.
#[derive(Debug)]
struct Taker {
    turns: Arc<Turns>,
    number: usize,
}

impl Taker {
    /// Nobody waits for this one any more.
    fn leave(&self) {
        let mut waiting = self.turns.0.lock().unwrap();
        waiting.calls.remove(&self.number);
        waiting.go_on();
    }
}

#[async_trait]
impl Hook for Taker {
    async fn before(&self, call: &Call) -> object_store::Result<()> {
        if call.kind == "read" {
            return Ok(());
        }
        let turn = {
            let mut waiting = self.turns.0.lock().unwrap();
            let (sender, turn) = oneshot::channel();
            let Some(calls) = waiting.calls.get_mut(&self.number) else { return Ok(()) };
            calls.push(sender);
            waiting.go_on();
            turn
        };
        turn.await.unwrap();
        Ok(())
    }

    async fn after(&self, _: &Call) -> object_store::Result<()> {
        // What it does next may be to wait for calls that wait already.
        self.turns.0.lock().unwrap().go_on();
        Ok(())
    }
}

/// States of one service that have nothing in common.
fn states(dir: &Path, random: &mut Random) -> Vec<PathBuf> {
    let state = |number| {
        let service = Service::new();
        service.append(texts(random, 5, 50));
        let state = dir.join(format!("state-{number}"));
        service.start(&state).close_blocking().unwrap();
        state
    };
    (0..2).map(state).collect()
}

async fn run(seed: u64, states: &[PathBuf], dir: &Path) {
    println!("run with seed {seed}");
    let mut random = Random::new(seed);
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let checkpoints = Checkpoints::new(Arc::clone(&store), "a").unwrap();
    let turns = Turns::new(random.number());
    let answered = Mutex::new(Vec::new());
    for state in states {
        let saved = checkpoints.save_dir(state).await.unwrap();
        answered.lock().unwrap().push(saved.id);
    }
    let mut works: Vec<BoxFuture<'_, ()>> = Vec::new();
    for number in 0..5 {
        let (answered, taker) = (&answered, turns.join());
        let checkpoints = Checkpoints::new(Hooked::new(Arc::clone(&store), Arc::clone(&taker)), "a").unwrap();
        // One engine at a time has a state open.
        let mut own = Vec::new();
        for _ in 0..if number < 2 { 2 } else { 0 } {
            own.push(dir.join(format!("{seed}-{number}-{}", own.len())));
            copy(&states[random.index(states.len())], &own[own.len() - 1]);
        }
        let target = dir.join(format!("{seed}-{number}-restored"));
        works.push(Box::pin(async move {
            match number {
                0 | 1 => {
                    for state in own {
                        let saved = checkpoints.save_dir(&state).await.unwrap();
                        answered.lock().unwrap().push(saved.id);
                    }
                }
                2 => match checkpoints.restore(&target).await {
                    Ok(saved) => assert_eq!(StateInfo::verify(&target).unwrap(), saved.state),
                    // It was the newest when it was looked for.
                    Err(error) => assert!(
                        error.kind() == ErrorKind::Unavailable
                            || error.message().contains("there is no checkpoint"),
                        "{error}"
                    ),
                },
                _ => {
                    for _ in 0..3 {
                        checkpoints.prune(1).await.unwrap();
                    }
                }
            }
            taker.leave();
        }));
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
    let objects = contents(&store).await;
    assert!(objects.len() <= left.files + 1, "{:?}", objects.keys());
}

#[tokio::test]
async fn what_one_relies_upon_another_does_not_delete() {
    let mut random = Random::new(seed());
    let dir = tempfile::tempdir().unwrap();
    let states = states(dir.path(), &mut random);
    for _ in 0..rounds(16) {
        run(random.number(), &states, dir.path()).await;
    }
}
