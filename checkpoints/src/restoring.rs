//! Restoring: every file is hashed as it arrives, and all of them are put in place with one rename.

use crate::checkpoint::{Checkpoint, Manifest};
use crate::depot::{Depot, Folder};
use crate::files::failed;
use crate::ids;
use crate::running::offload;
use crate::saving::name;
use crate::transfer::all;
use millpond_engine::{Error, Result, StateInfo, StatePlace};
use std::fs;
use std::path::{Path, PathBuf};

impl Depot {
    /// The ids of all checkpoints, the newest last.
    pub(crate) async fn ids(&self) -> Result<Vec<String>> {
        let names = self.list(Folder::Manifests).await?.into_keys();
        let id = |name: String| name.strip_suffix(".json").map(str::to_owned);
        Ok(names.filter_map(id).filter(|id| ids::number(id).is_some()).collect())
    }

    /// The manifest of a checkpoint; none if there is no such checkpoint any more.
    pub(crate) async fn manifest(&self, id: &str) -> Result<Option<Manifest>> {
        let bytes = self.get(Folder::Manifests, &name(id)).await?;
        bytes.map(|bytes| Manifest::from_bytes(id, &bytes)).transpose()
    }

    /// The manifest of a checkpoint that somebody has named.
    async fn named(&self, id: &str) -> Result<Manifest> {
        self.manifest(id).await?.ok_or_else(|| {
            Error::invalid(format!(
                "there is no checkpoint {id} below {}: `Checkpoints::list` tells those that are there",
                self.place()
            ))
        })
    }

    /// Restores a checkpoint into the state directory `dir`.
    pub(crate) async fn restore(&self, id: &str, dir: &Path) -> Result<Checkpoint> {
        let manifest = self.named(id).await?;
        let target = dir.to_owned();
        let place = offload(move || {
            let place = StatePlace::claim(&target, None)?;
            let copy = place.copy();
            fs::create_dir(copy).map_err(|error| failed("create", copy, error))?;
            Ok(place)
        });
        let place = place.await?;
        let told = manifest.told(id.to_owned());
        let from = self.place();
        tracing::info!(from, id, dir = %dir.display(), bytes = told.bytes, "restoring a checkpoint");
        self.fetch(id, &manifest, Some(place.copy().to_owned())).await?;
        let expected = manifest.state;
        offload(move || {
            let found = StateInfo::read(place.copy())?;
            if found != expected {
                return Err(Error::internal(format!(
                    "what was restored is another state than was saved: {found:?} instead of {expected:?}"
                )));
            }
            place.put_in_place()
        })
        .await?;
        tracing::info!(from, id, dir = %dir.display(), position = %told.position, "a checkpoint is restored");
        Ok(told)
    }

    /// Reads all of a checkpoint, and nothing else.
    pub(crate) async fn verify(&self, id: &str) -> Result<Checkpoint> {
        let manifest = self.named(id).await?;
        self.fetch(id, &manifest, None).await?;
        Ok(manifest.told(id.to_owned()))
    }

    /// Reads all files of a checkpoint, into `dir` if there is one.
    async fn fetch(&self, id: &str, manifest: &Manifest, dir: Option<PathBuf>) -> Result<()> {
        let path = |file: &str| dir.as_ref().map(|dir| dir.join(file));
        let downloads = manifest.files.iter().map(|entry| self.download(id, entry, path(&entry.name)));
        let Err(error) = all(downloads.collect()).await else { return Ok(()) };
        // Whoever prunes deletes the manifest first.
        if let Ok(false) = self.is_there(Folder::Manifests, &name(id)).await {
            return Err(Error::unavailable(format!(
                "checkpoint {id} was pruned while it was read: take another one, or keep more of them"
            ))
            .with_source(error));
        }
        Err(error)
    }
}
