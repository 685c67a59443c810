//! Pruning: old manifests first, then the files that nothing names any more.
//!
//! IMPORTANT: a prune says what it means to delete before it looks, for the last time, what is relied upon: see `saving.rs`. It
//! looks at what is being saved before it looks at what is saved, as the one becomes the other.

use crate::checkpoint::FORMAT;
use crate::depot::{Depot, Folder};
use crate::ids;
use crate::saving::{Intent, hash_of, name, to_json};
use crate::transfer::all;
use millpond_engine::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// What was begun so long ago has been abandoned.
const ABANDONED_MS: i64 = 24 * 60 * 60 * 1000;

/// What [`prune`](crate::Checkpoints::prune) has deleted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Pruned {
    /// The ids of the checkpoints that are gone.
    pub checkpoints: Vec<String>,
    /// How many files nothing needed any more.
    pub files: usize,
    /// What these took, in bytes.
    pub bytes: u64,
}

/// What a prune means to delete.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Mark {
    pub(crate) format: u32,
    pub(crate) begun_at_ms: i64,
    pub(crate) objects: BTreeSet<String>,
}

/// What is needed of the files.
#[derive(Default)]
struct Needed {
    /// By manifests.
    objects: BTreeSet<String>,
    /// By what is being saved.
    hashes: BTreeSet<String>,
}

impl Needed {
    fn has(&self, object: &str) -> bool {
        self.objects.contains(object) || self.hashes.contains(hash_of(object))
    }
}

impl Depot {
    /// Deletes all but the newest `keep` checkpoints, and the files that none of these needs.
    pub(crate) async fn prune(&self, keep: usize, now_ms: i64) -> Result<Pruned> {
        if keep == 0 {
            return Err(Error::invalid(
                "a prune keeps at least one checkpoint: to be rid of all, delete what is below the prefix",
            ));
        }
        let mut old = self.ids().await?;
        old.truncate(old.len().saturating_sub(keep));
        // Before anything is deleted: what cannot be read may need anything.
        self.needed(&old, now_ms).await?;
        for id in &old {
            self.delete(Folder::Manifests, &name(id)).await?;
        }
        let mut pruned = self.prune_files(now_ms).await?;
        let (place, checkpoints) = (self.place(), old.len());
        tracing::info!(
            place,
            checkpoints,
            files = pruned.files,
            bytes = pruned.bytes,
            "checkpoints are pruned"
        );
        pruned.checkpoints = old;
        Ok(pruned)
    }

    /// Deletes the files that nothing needs.
    async fn prune_files(&self, now_ms: i64) -> Result<Pruned> {
        self.forget_abandoned_marks(now_ms).await?;
        let there = self.list(Folder::Files).await?;
        let needed = self.needed(&[], now_ms).await?;
        let objects: BTreeSet<String> = there.keys().filter(|object| !needed.has(object)).cloned().collect();
        if objects.is_empty() {
            return Ok(Pruned::default());
        }
        let mark = name(&ids::unique());
        let said = Mark { format: FORMAT, begun_at_ms: now_ms, objects };
        self.put(Folder::Pruning, &mark, to_json(&said)?).await?;
        let deleted = self.delete_unneeded(&said.objects, now_ms).await;
        self.delete(Folder::Pruning, &mark).await?;
        let deleted = deleted?;
        let bytes = deleted.iter().filter_map(|object| there.get(object)).sum();
        Ok(Pruned { files: deleted.len(), bytes, ..Pruned::default() })
    }

    /// Deletes those of `objects` that nobody has come to need.
    async fn delete_unneeded(&self, objects: &BTreeSet<String>, now_ms: i64) -> Result<Vec<String>> {
        let needed = self.needed(&[], now_ms).await?;
        let unneeded: Vec<String> = objects.iter().filter(|object| !needed.has(object)).cloned().collect();
        all(unneeded.iter().map(|object| self.delete(Folder::Files, object)).collect()).await?;
        Ok(unneeded)
    }

    /// What is needed by all that is being saved and all that is saved, but for the checkpoints of the ids `but`.
    async fn needed(&self, but: &[String], now_ms: i64) -> Result<Needed> {
        let mut needed = Needed::default();
        for intent in self.list(Folder::Saving).await?.into_keys() {
            let Some(Intent { begun_at_ms, files, .. }) = self.get_json(Folder::Saving, &intent).await?
            else {
                continue;
            };
            if now_ms.saturating_sub(begun_at_ms) > ABANDONED_MS {
                tracing::warn!(
                    place = self.place(),
                    intent,
                    "a save was begun a day ago and has not ended: it is given up"
                );
                self.delete(Folder::Saving, &intent).await?;
            } else {
                needed.hashes.extend(files);
            }
        }
        for id in self.ids().await?.iter().filter(|id| !but.contains(id)) {
            // None if somebody else has pruned it meanwhile.
            if let Some(manifest) = self.manifest(id).await? {
                needed.objects.extend(manifest.files.into_iter().map(|file| file.object));
            }
        }
        Ok(needed)
    }

    /// Forgets what somebody meant to delete, and has not for a day.
    async fn forget_abandoned_marks(&self, now_ms: i64) -> Result<()> {
        for mark in self.list(Folder::Pruning).await?.into_keys() {
            let said: Option<Mark> = self.get_json(Folder::Pruning, &mark).await?;
            if said.is_some_and(|said| now_ms.saturating_sub(said.begun_at_ms) > ABANDONED_MS) {
                self.delete(Folder::Pruning, &mark).await?;
            }
        }
        Ok(())
    }
}
