//! Saving: files first, the manifest last.
//!
//! IMPORTANT: a save says which files it relies upon before it looks whether they are there, and whether somebody means to delete
//! them. A prune goes the other way round (`pruning.rs`): so one of the two sees the other.

use crate::checkpoint::{Checkpoint, FORMAT, FileEntry, Manifest};
use crate::depot::{Depot, Folder};
use crate::files::{self, LocalFile};
use crate::ids;
use crate::pruning::Mark;
use crate::running::offload;
use crate::transfer::all;
use millpond_engine::{Error, Position, Result, StateInfo};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// What a save relies upon.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Intent {
    pub(crate) format: u32,
    pub(crate) begun_at_ms: i64,
    /// The hashes of its files.
    pub(crate) files: BTreeSet<String>,
}

/// A copy that is to be saved.
pub(crate) struct Copy<'a> {
    pub(crate) dir: &'a Path,
    pub(crate) position: Position,
    pub(crate) now_ms: i64,
}

impl Depot {
    /// Stores a copy as the newest checkpoint.
    pub(crate) async fn save(&self, copy: Copy<'_>) -> Result<Checkpoint> {
        let dir = copy.dir.to_owned();
        let (state, files) = offload(move || Ok((StateInfo::read(&dir)?, files::all_in(&dir)?))).await?;
        let number = self.next_number(&state).await?;
        let intent = ids::unique();
        let said = Intent {
            format: FORMAT,
            begun_at_ms: copy.now_ms,
            files: files.iter().map(|file| file.sha256.clone()).collect(),
        };
        self.put(Folder::Saving, &name(&intent), to_json(&said)?).await?;
        let saved = self.save_files(&files, &intent, number, state, &copy).await;
        // Whoever prunes takes it for abandoned one day.
        let forgotten = self.delete(Folder::Saving, &name(&intent)).await;
        let saved = saved?;
        if let Err(error) = forgotten {
            tracing::warn!(id = saved.id, %error, "a checkpoint is saved, and still noted as being saved");
        }
        Ok(saved)
    }

    async fn save_files(
        &self,
        files: &[LocalFile],
        intent: &str,
        number: u64,
        state: StateInfo,
        copy: &Copy<'_>,
    ) -> Result<Checkpoint> {
        let doomed = self.doomed().await?;
        let there = self.list(Folder::Files).await?;
        let (entries, missing) = arrange(files, &there, &doomed, intent);
        let (bytes, uploaded_bytes) = (sum(files.iter()), sum(missing.values().copied()));
        let place = self.place();
        tracing::info!(
            place,
            files = files.len(),
            bytes,
            new = missing.len(),
            uploaded_bytes,
            "saving a checkpoint"
        );
        all(missing.iter().map(|(object, file)| self.upload(file, object)).collect()).await?;
        if !self.is_there(Folder::Saving, &name(intent)).await? {
            return Err(Error::unavailable(
                "saving the checkpoint took so long that it was taken for abandoned, and files that it relies upon may be gone: \
                 try again",
            ));
        }
        let manifest = Manifest {
            format: FORMAT,
            written_by: concat!("millpond ", env!("CARGO_PKG_VERSION")).to_owned(),
            created_at_ms: copy.now_ms,
            position: copy.position.clone(),
            state,
            uploaded_bytes,
            files: entries,
        };
        let stored = manifest.to_bytes()?;
        let id = ids::of_manifest(number, &stored);
        self.put(Folder::Manifests, &name(&id), stored).await?;
        let position = &manifest.position;
        tracing::info!(place, id, %position, bytes, uploaded_bytes, "a checkpoint is saved");
        Ok(manifest.told(id))
    }

    /// The number of the next checkpoint.
    ///
    /// # Errors
    /// `Invalid` if those that are there are of another service.
    async fn next_number(&self, state: &StateInfo) -> Result<u64> {
        let Some(newest) = self.ids().await?.pop() else { return Ok(1) };
        // What cannot be read is in nobody's way.
        let there = self.manifest(&newest).await.ok().flatten().and_then(|manifest| manifest.state.service);
        match (&there, &state.service) {
            (Some(there), Some(service)) if there != service => Err(Error::invalid(format!(
                "{} holds checkpoints of `{there}`, and this is the state of `{service}`: give each service a prefix of its own",
                self.place()
            ))),
            _ => Ok(ids::number(&newest).unwrap_or(0) + 1),
        }
    }

    /// What somebody means to delete just now.
    async fn doomed(&self) -> Result<BTreeSet<String>> {
        let mut doomed = BTreeSet::new();
        for mark in self.list(Folder::Pruning).await?.into_keys() {
            if let Some(Mark { objects, .. }) = self.get_json(Folder::Pruning, &mark).await? {
                doomed.extend(objects);
            }
        }
        Ok(doomed)
    }

    /// What is kept as JSON under a name; none if it is gone.
    pub(crate) async fn get_json<T: for<'de> Deserialize<'de>>(
        &self,
        folder: Folder,
        name: &str,
    ) -> Result<Option<T>> {
        let Some(bytes) = self.get(folder, name).await? else { return Ok(None) };
        serde_json::from_slice(&bytes).map(Some).map_err(|error| {
            let path = self.path(folder, name);
            Error::corrupt(format!(
                "{path} in {} cannot be read: if nothing is being saved or pruned, delete that object",
                self.store
            ))
            .with_source(error)
        })
    }
}

/// The object of a manifest, an intent or a mark.
pub(crate) fn name(id: &str) -> String {
    format!("{id}.json")
}

pub(crate) fn to_json(value: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(|error| Error::internal("there is no JSON of it").with_source(error))
}

fn sum<'a>(files: impl Iterator<Item = &'a LocalFile>) -> u64 {
    files.map(|file| file.bytes).sum()
}

/// Decides which object each file is, and which of these are missing.
///
/// A file that somebody means to delete gets an object of its own, which nobody knows of.
fn arrange<'f>(
    files: &'f [LocalFile],
    there: &BTreeMap<String, u64>,
    doomed: &BTreeSet<String>,
    intent: &str,
) -> (Vec<FileEntry>, BTreeMap<String, &'f LocalFile>) {
    let mut missing = BTreeMap::new();
    let mut entries = Vec::new();
    for file in files {
        let usable = |(object, bytes): &(&String, &u64)| {
            hash_of(object) == file.sha256 && **bytes == file.bytes && !doomed.contains(*object)
        };
        let alike = there.range(file.sha256.clone()..);
        let mut alike = alike.take_while(|(object, _)| object.starts_with(&file.sha256));
        let new = || {
            let own = doomed.contains(&file.sha256);
            if own { format!("{}-{intent}", file.sha256) } else { file.sha256.clone() }
        };
        let found = alike.find(usable).map(|(object, _)| object.clone());
        let object = found.clone().unwrap_or_else(new);
        if found.is_none() {
            missing.insert(object.clone(), file);
        }
        let LocalFile { name, bytes, sha256, .. } = file;
        entries.push(FileEntry { name: name.clone(), bytes: *bytes, sha256: sha256.clone(), object });
    }
    (entries, missing)
}

/// The hash of the content of an object.
pub(crate) fn hash_of(object: &str) -> &str {
    object.split_once('-').map_or(object, |(hash, _)| hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_not_sent_unless_it_is_to_be_deleted_or_damaged() {
        let file = |name: &str, sha256: &str| LocalFile {
            path: name.into(),
            name: name.into(),
            bytes: 7,
            sha256: sha256.into(),
        };
        let files = ["there", "new", "doomed", "other", "cut", "new"].map(|hash| file(hash, hash));
        let there = [("there", 7), ("doomed", 7), ("other", 7), ("other-1", 7), ("cut", 6), ("therefore", 7)];
        let there = there.map(|(object, bytes)| (object.to_owned(), bytes)).into();
        let doomed = ["doomed", "other"].map(str::to_owned).into();
        let (entries, missing) = arrange(&files, &there, &doomed, "i");
        let objects: Vec<_> = entries.iter().map(|entry| &*entry.object).collect();
        assert_eq!(objects, ["there", "new", "doomed-i", "other-1", "cut", "new"]);
        assert_eq!(missing.keys().collect::<Vec<_>>(), ["cut", "doomed-i", "new"]);
    }
}
