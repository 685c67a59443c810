//! What was damaged in the store is found before it is used, and named.
//!
//! Property: after any byte of any object of a checkpoint was changed, or an object was deleted or cut, no restore puts anything
//! in place; the error is `Corrupt` and names the checkpoint, and the object and the file if it is one of those. A check of the
//! checkpoint finds the same, other checkpoints are as good as before, a prune deletes nothing that a manifest may need which
//! cannot be read, and the next save mends a file that was cut.
//!
//! Method: every object in turn, with a byte drawn at random.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod service;

use millpond::{ErrorKind, StateInfo};
use millpond_checkpoints::Checkpoints;
use millpond_support::environment::{rounds, seed};
use millpond_support::random::Random;
use object_store::ObjectStore;
use object_store::memory::InMemory;
use service::{Service, contents, delete, put, texts};
use std::sync::Arc;

#[tokio::test]
async fn no_damage_is_restored() {
    let mut random = Random::new(seed());
    let dir = tempfile::tempdir().unwrap();
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let checkpoints = Checkpoints::new(Arc::clone(&store), "a/b").unwrap();
    let service = Service::new();
    let engine = service.start(&dir.path().join("state"));
    service.append(texts(&mut random, 20, 100));
    engine.catch_up().await.unwrap();
    let saved = checkpoints.save(&engine).await.unwrap();
    let rows = service.rows(&engine);
    // A restore that has failed leaves the place free for the next one.
    let target = &dir.path().join("restored");
    let whole = contents(&store).await;
    assert_eq!(whole.len(), saved.files + 1);
    for (location, bytes) in &whole {
        let is_file = location.contains("/files/");
        for damage in 0..2 + rounds(4) {
            match damage {
                0 => delete(&store, location).await,
                1 => put(&store, location, bytes[..bytes.len() / 2].to_vec()).await,
                _ if bytes.is_empty() => put(&store, location, b"x".to_vec()).await,
                _ => {
                    let mut bytes = bytes.to_vec();
                    let at = random.index(bytes.len());
                    bytes[at] ^= 1 << random.below(8);
                    put(&store, location, bytes).await;
                }
            }
            if contents(&store).await == whole {
                // Half of nothing.
                continue;
            }
            let restored = checkpoints.restore_id(&saved.id, target).await.unwrap_err();
            let checked = checkpoints.verify(&saved.id).await.unwrap_err();
            for error in [restored, checked] {
                // Of a manifest that is gone nobody knows that it was there.
                let kind = if damage == 0 && !is_file { ErrorKind::Invalid } else { ErrorKind::Corrupt };
                assert_eq!(error.kind(), kind, "{error}");
                let name = location.rsplit('/').next().unwrap();
                let told = if is_file { name } else { name.strip_suffix(".json").unwrap() };
                assert!(error.message().contains(told) && error.message().contains(&saved.id), "{error}");
            }
            assert!(!target.exists());
            put(&store, location, bytes.to_vec()).await;
        }
    }
    checkpoints.restore(target).await.unwrap();
    assert_eq!(service.rows_in(target), rows);
}

#[tokio::test]
async fn a_manifest_that_cannot_be_read_keeps_what_it_may_need() {
    let dir = tempfile::tempdir().unwrap();
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let checkpoints = Checkpoints::new(Arc::clone(&store), "a").unwrap();
    let service = Service::new();
    let engine = service.start(&dir.path().join("state"));
    let mut saved = Vec::new();
    for number in 0..3 {
        service.append([(number, "one".repeat(300))]);
        engine.catch_up().await.unwrap();
        saved.push(checkpoints.save(&engine).await.unwrap());
    }
    let manifest = format!("a/manifests/{}.json", saved[1].id);
    let whole = contents(&store).await;
    put(&store, &manifest, b"{}".to_vec()).await;
    let damaged = contents(&store).await;
    let error = checkpoints.prune(2).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Corrupt && error.message().contains(&saved[1].id), "{error}");
    assert_eq!(contents(&store).await, damaged, "nothing is deleted");
    assert_eq!(checkpoints.list().await.unwrap_err().kind(), ErrorKind::Corrupt);
    // Others are as good as before, and new ones can be made.
    checkpoints.restore(dir.path().join("newest")).await.unwrap();
    saved.push(checkpoints.save(&engine).await.unwrap());
    // It may go as an old one, and what only it needed goes, too.
    assert_eq!(checkpoints.prune(2).await.unwrap().checkpoints, [saved[0].id.clone(), saved[1].id.clone()]);
    for kept in &saved[2..] {
        checkpoints.verify(&kept.id).await.unwrap();
    }
    assert!(contents(&store).await.len() < whole.len() + 4);
}

/// A file that is shorter than it should be is not taken for the one that is there.
#[tokio::test]
async fn the_next_save_mends_a_file_that_was_cut() {
    let dir = tempfile::tempdir().unwrap();
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let checkpoints = Checkpoints::new(Arc::clone(&store), "a").unwrap();
    let service = Service::new();
    service.append([(1, "one".repeat(300))]);
    let engine = service.start(&dir.path().join("state"));
    let first = checkpoints.save(&engine).await.unwrap();
    for (location, bytes) in
        contents(&store).await.iter().filter(|(location, _)| location.contains("/files/"))
    {
        put(&store, location, bytes.slice(..bytes.len() / 2).to_vec()).await;
    }
    assert_eq!(checkpoints.verify(&first.id).await.unwrap_err().kind(), ErrorKind::Corrupt);
    let second = checkpoints.save(&engine).await.unwrap();
    checkpoints.verify(&first.id).await.unwrap();
    let target = dir.path().join("restored");
    checkpoints.restore(&target).await.unwrap();
    assert_eq!(StateInfo::verify(&target).unwrap(), second.state);
}
