//! What is restored from a store goes on where it was saved, and comes to equal the engine that ran on.
//!
//! Property: a new process that is seeded with the newest checkpoint, a clone under another name, and a state that takes the place
//! of one that was lost equal the original once they have folded the tail; on the same log, whether it is embedded, in
//! memory, or one of somebody else with gaps. A later checkpoint sends what is new, and nothing else.
//!
//! Method: small services on every kind of log, in a directory and in memory; files of several parts.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod service;

use async_trait::async_trait;
use millpond::ErrorKind::{Closed, Invalid, Unavailable};
use millpond::changelog::{Changelog, EmbeddedChangelog, EmbeddedOptions, MemoryChangelog};
use millpond::{Engine, ErrorKind, GraphBuilder, StateInfo, Topic};
use millpond_checkpoints::Checkpoints;
use millpond_support::environment::seed;
use millpond_support::files::copy;
use millpond_support::own_log::OwnLog;
use millpond_support::random::Random;
use millpond_support::waiting::block_on;
use object_store::ObjectStore;
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use service::{Call, Hook, Hooked, Service, contents, texts};
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};

fn stores(dir: &Path) -> [Arc<dyn ObjectStore>; 2] {
    fs::create_dir(dir.join("bucket")).unwrap();
    let local = LocalFileSystem::new_with_prefix(dir.join("bucket")).unwrap();
    [Arc::new(local), Arc::new(InMemory::new())]
}

fn logs(dir: &Path) -> [Arc<dyn Changelog>; 3] {
    let embedded = EmbeddedChangelog::open(dir.join("changelog"), EmbeddedOptions::default()).unwrap();
    [Arc::new(embedded), Arc::new(MemoryChangelog::new()), OwnLog::with_gaps(7)]
}

fn identity(state: &Path) -> String {
    StateInfo::read(state).unwrap().identity.unwrap()
}

#[test]
fn a_new_process_a_clone_and_a_backup_equal_the_one_that_ran_on() {
    let mut random = Random::new(seed());
    let dir = tempfile::tempdir().unwrap();
    for (number, log) in logs(dir.path()).into_iter().enumerate() {
        let service = Service::on(log);
        for (store, kind) in
            stores(&tempfile::tempdir_in(&dir).unwrap().keep()).into_iter().zip(["local", "memory"])
        {
            let dir = dir.path().join(format!("{number}-{kind}"));
            let [state, seeded, clone, lost] =
                ["state", "seeded", "clone", "lost"].map(|name| dir.join(name));
            let checkpoints = Checkpoints::new(store, "backups/texts").unwrap();
            assert_eq!(checkpoints.seed_blocking(&seeded).unwrap(), None);
            service.append(texts(&mut random, 50, 100));
            let engine = service.start(&state);
            let saved = checkpoints.save_blocking(&engine).unwrap();
            assert_eq!(
                (&saved.position, saved.state.service.as_deref()),
                (&engine.position(), Some("texts"))
            );
            let before = service.rows(&engine);
            service.append(texts(&mut random, 50, 100));

            // A new process beside it, whose log knows of a name each.
            let restored = checkpoints.seed_blocking(&seeded).unwrap().unwrap();
            assert_eq!(restored, saved);
            assert_eq!(service.rows_in(&seeded), before);
            let second = service.start_as("second", &seeded);
            assert_eq!(second.position(), engine.position());
            checkpoints.restore_id_blocking(&saved.id, &clone).unwrap();
            let cloned = service.start_as("clone", &clone);
            let all = service.rows(&engine);
            assert!(all != before && service.rows(&second) == all && service.rows(&cloned) == all);
            for engine in [second, cloned] {
                engine.close_blocking().unwrap();
            }
            // It is there, so that nothing is done.
            assert_eq!(checkpoints.seed_blocking(&seeded).unwrap(), None);

            // The original is lost, and what takes its place is the same service.
            let original = identity(&state);
            engine.close_blocking().unwrap();
            drop(engine);
            fs::rename(&state, &lost).unwrap();
            checkpoints.restore_blocking(&state).unwrap();
            let engine = service.start(&state);
            assert_eq!(service.rows(&engine), all);
            engine.close_blocking().unwrap();
            let others = [identity(&seeded), identity(&clone)];
            assert!(identity(&state) == original && !others.contains(&original) && others[0] != others[1]);
        }
    }
}

/// A backup of a service on the embedded changelog is a checkpoint and a later copy of its log.
#[test]
fn a_service_on_an_embedded_log_comes_back_with_a_copy_of_its_log() {
    let mut random = Random::new(seed());
    let dir = tempfile::tempdir().unwrap();
    let checkpoints = Checkpoints::new(Arc::new(InMemory::new()), "texts").unwrap();
    let [home, other] = ["home", "other"].map(|name| dir.path().join(name));
    let service = Service::new();
    let open = |dir: &Path| Engine::open(dir, &service.graph).unwrap();
    let engine = open(&home);
    for (key, text) in texts(&mut random, 20, 100) {
        engine.append_blocking(&service.topic, &key, &text).unwrap();
    }
    engine.catch_up_blocking().unwrap();
    checkpoints.save_blocking(&engine).unwrap();
    engine.append_blocking(&service.topic, &1, &"one".to_owned()).unwrap();
    let all = service.rows(&engine);
    engine.close_blocking().unwrap();
    copy(&home.join("changelog"), &other.join("changelog"));
    checkpoints.restore_blocking(other.join("state")).unwrap();
    let engine = open(&other);
    assert_eq!(service.rows(&engine), all);
    engine.close_blocking().unwrap();
    // Without its log it is a state of something that is not there.
    checkpoints.restore_blocking(dir.path().join("alone/state")).unwrap();
    let error = Engine::open(dir.path().join("alone"), &service.graph).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AheadOfChangelog, "{error}");
}

/// Counts what is written.
#[derive(Debug, Default)]
struct Writes(Mutex<Vec<String>>);

#[async_trait]
impl Hook for Writes {
    async fn before(&self, call: &Call) -> object_store::Result<()> {
        if ["put", "complete"].contains(&call.kind) {
            self.0.lock().unwrap().push(call.location.clone());
        }
        Ok(())
    }
}

impl Writes {
    fn files(&self) -> usize {
        let written = std::mem::take(&mut *self.0.lock().unwrap());
        assert!(written.last().is_none_or(|last| last.contains("/manifests/")), "{written:?}");
        written.iter().filter(|location| location.contains("/files/")).count()
    }
}

#[test]
fn only_what_is_new_is_sent_and_the_manifest_comes_last() {
    let mut random = Random::new(seed());
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    let writes = Arc::new(Writes::default());
    let checkpoints =
        Checkpoints::new(Hooked::new(Arc::new(InMemory::new()), writes.clone()), "texts").unwrap();
    let service = Service::new();
    let engine = service.start(&state);
    // Some in files of several parts.
    service.append(texts(&mut random, 10, 2 << 20));
    engine.catch_up_blocking().unwrap();
    let first = checkpoints.save_blocking(&engine).unwrap();
    assert_eq!((writes.files(), first.uploaded_bytes), (first.files, first.bytes));
    assert!(first.bytes > 9 << 20);
    service.append(texts(&mut random, 1, 1000));
    engine.catch_up_blocking().unwrap();
    let second = checkpoints.save_blocking(&engine).unwrap();
    let sent = writes.files();
    assert!(sent < second.files && second.uploaded_bytes < 1 << 20, "{sent} of {second:?}");
    let restored = dir.path().join("restored");
    checkpoints.restore_blocking(&restored).unwrap();
    assert_eq!(service.rows_in(&restored), service.rows(&engine));
    // As it is, saved again from where it lies.
    let copied = checkpoints.save_dir_blocking(&restored).unwrap();
    assert_eq!(copied.position, second.position);
    assert!(copied.uploaded_bytes < 1 << 20);
    assert_eq!(checkpoints.list_blocking().unwrap(), [first, second, copied]);
    let left: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "{left:?}");
}

#[test]
fn what_cannot_be_is_refused_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (state, full) = (dir.path().join("state"), dir.path().join("full"));
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let checkpoints = Checkpoints::new(Arc::clone(&store), "a").unwrap();
    let refused = |outcome: Result<_, millpond::Error>, kind, why: &str| {
        let error: millpond::Error = outcome.map(drop).unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(why), "{error}");
    };
    refused(
        checkpoints.restore_blocking(&state).map(drop),
        Invalid,
        "there is no checkpoint below `a` in InMemory",
    );
    refused(Checkpoints::new(Arc::clone(&store), "a//b").map(drop), Invalid, "`a//b`");
    refused(checkpoints.prune_blocking(0).map(drop), Invalid, "at least one");
    refused(checkpoints.save_dir_blocking(dir.path()).map(drop), Invalid, "there is no state");
    let service = Service::new();
    let engine = service.start(&state);
    refused(checkpoints.save_dir_blocking(&state).map(drop), Unavailable, "has it open");
    checkpoints.save_blocking(&engine).unwrap();
    fs::create_dir(&full).unwrap();
    fs::write(full.join("mine"), "something").unwrap();
    refused(checkpoints.restore_blocking(&full).map(drop), Invalid, "where there is something already");
    refused(checkpoints.seed_blocking(&full).map(drop), Invalid, "where there is something already");
    refused(checkpoints.restore_blocking(&state).map(drop), Invalid, "where there is something already");
    refused(checkpoints.restore_id_blocking("7", dir.path().join("x")).map(drop), Invalid, "no checkpoint 7");

    // Another service does not get among them.
    let stored = block_on(contents(&store));
    let other = service.start_as("other", &dir.path().join("other"));
    refused(
        checkpoints.save_blocking(&other).map(drop),
        Invalid,
        "of `texts`, and this is the state of `other`",
    );
    let in_memory = GraphBuilder::new();
    in_memory.table(&Topic::<u32, u32>::new("t"), "t");
    let in_memory = Engine::builder(&in_memory.build().unwrap()).in_memory().start().unwrap();
    refused(checkpoints.save_blocking(&in_memory).map(drop), Invalid, "in memory only");
    engine.close_blocking().unwrap();
    refused(checkpoints.save_blocking(&engine).map(drop), Closed, "closed");
    assert_eq!(block_on(contents(&store)), stored);
    assert_eq!(fs::read_to_string(full.join("mine")).unwrap(), "something");
    // An empty directory will do.
    let empty = dir.path().join("empty");
    fs::create_dir(&empty).unwrap();
    checkpoints.restore_blocking(&empty).unwrap();
}

/// The blocking forms do not panic there, and what is awaited can be sent to another thread.
#[tokio::test]
async fn blocking_within_a_runtime_is_possible() {
    fn is_send<T: Send>(future: T) -> T {
        future
    }
    let dir = tempfile::tempdir().unwrap();
    let checkpoints = Checkpoints::new(Arc::new(InMemory::new()), "").unwrap();
    let service = Service::new();
    let engine = service.start(&dir.path().join("state"));
    let saved = checkpoints.save_blocking(&engine).unwrap();
    assert_eq!(is_send(checkpoints.list()).await.unwrap(), std::slice::from_ref(&saved));
    let again = is_send(checkpoints.save(&engine)).await.unwrap();
    assert!(again.id > saved.id);
    is_send(checkpoints.verify(&again.id)).await.unwrap();
    is_send(checkpoints.restore(dir.path().join("a"))).await.unwrap();
    is_send(checkpoints.seed(dir.path().join("b"))).await.unwrap().unwrap();
    is_send(checkpoints.save_dir(dir.path().join("b"))).await.unwrap();
    assert_eq!(is_send(checkpoints.prune(1)).await.unwrap().checkpoints, [saved.id, again.id]);
    drop(checkpoints);
}
