//! Files on their way: in parts, hashed as they pass, so that nothing is held in memory and nothing arrives that was not
//! meant.

use crate::checkpoint::FileEntry;
use crate::depot::{Depot, Folder};
use crate::files::{Content, LocalFile, PART_BYTES, Part, read_into, write_from};
use crate::running::{offload, spawn};
use futures_util::{StreamExt, stream};
use millpond_engine::{Error, Result};
use object_store::path::Path as Location;
use object_store::{MultipartUpload, ObjectStoreExt};
use std::future::Future;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::mpsc;

/// So many files are on their way at once, each with a few parts in memory.
const AT_ONCE: usize = 4;

/// So many parts wait for whoever is to take them.
const WAITING: usize = 1;

/// Does all of it, some at once. When one fails no other begins, and those that have begun are waited for: nothing of it goes on
/// behind the answer.
pub(crate) async fn all<F: Future<Output = Result<()>>>(work: Vec<F>) -> Result<()> {
    let has_failed = &AtomicBool::new(false);
    let guarded = work.into_iter().map(|work| async move {
        if has_failed.load(Ordering::Relaxed) {
            return Ok(());
        }
        let outcome = work.await;
        has_failed.fetch_or(outcome.is_err(), Ordering::Relaxed);
        outcome
    });
    let outcomes: Vec<_> = stream::iter(guarded).buffer_unordered(AT_ONCE).collect().await;
    outcomes.into_iter().collect()
}

impl Depot {
    /// Stores a file as the object `name`.
    ///
    /// # Errors
    /// `Unavailable` if the store or the medium failed; `Corrupt` if the file is not what it was when it was hashed. There is no
    /// such object then, or what was there before.
    pub(crate) async fn upload(&self, file: &LocalFile, name: &str) -> Result<()> {
        let location = self.path(Folder::Files, name);
        let (sender, mut parts) = mpsc::channel(WAITING);
        let path = file.path.clone();
        spawn(move || read_into(&path, &sender))?;
        if file.bytes <= PART_BYTES as u64 {
            let mut whole = Vec::new();
            while let Some(part) = next(&mut parts, file).await? {
                whole.extend_from_slice(&part);
            }
            let put = self.store.put(&location, whole.into()).await;
            put.map_err(|error| self.failed("write", &location, error))?;
        } else {
            let begun = self.store.put_multipart(&location).await;
            let mut upload = begun.map_err(|error| self.failed("write", &location, error))?;
            if let Err(error) = self.upload_parts(&location, &mut *upload, &mut parts, file).await {
                // What cannot be taken back now is nothing that anybody sees.
                let _ = upload.abort().await;
                return Err(error);
            }
        }
        tracing::debug!(file = file.name, bytes = file.bytes, %location, "a file of a checkpoint is stored");
        Ok(())
    }

    async fn upload_parts(
        &self,
        location: &Location,
        upload: &mut dyn MultipartUpload,
        parts: &mut mpsc::Receiver<Part>,
        file: &LocalFile,
    ) -> Result<()> {
        while let Some(part) = next(parts, file).await? {
            upload.put_part(part.into()).await.map_err(|error| self.failed("write", location, error))?;
        }
        upload.complete().await.map(drop).map_err(|error| self.failed("write", location, error))
    }

    /// Reads the file of checkpoint `id`, into `path` if there is one.
    ///
    /// # Errors
    /// `Corrupt` if it is not there, or not what it was; `Unavailable` if the store or the medium failed.
    pub(crate) async fn download(&self, id: &str, entry: &FileEntry, path: Option<PathBuf>) -> Result<()> {
        let location = self.path(Folder::Files, &entry.object);
        let wrong = |what: String| {
            Error::corrupt(format!(
                "{location} in {}, the file {} of checkpoint {id}, {what}: use another checkpoint, or none: then the state is \
                 folded from the changelog",
                self.store, entry.name
            ))
        };
        let got = match self.store.get(&location).await {
            Err(error @ object_store::Error::NotFound { .. }) => {
                return Err(wrong("is missing".to_owned()).with_source(error));
            }
            got => got.map_err(|error| self.failed("read", &location, error))?,
        };
        let (sender, mut arriving) = mpsc::channel(WAITING);
        let mut stream = got.into_stream();
        let send = async {
            // Nobody takes it any more where it cannot be written.
            let sender = sender;
            while let Some(part) = stream.next().await {
                let part = part.map_err(|error| self.failed("read", &location, error))?;
                if sender.send(part).await.is_err() {
                    break;
                }
            }
            Ok::<_, Error>(())
        };
        let write = offload(move || write_from(path.as_deref(), &mut arriving));
        let (all_sent, written) = futures_util::join!(send, write);
        all_sent?;
        let Content { bytes, sha256 } = written?;
        if (bytes, &sha256) != (entry.bytes, &entry.sha256) {
            let (right, right_hash) = (entry.bytes, &entry.sha256);
            return Err(wrong(format!(
                "is damaged: it has {bytes} bytes of the SHA-256 {sha256}, and had {right} of {right_hash}"
            )));
        }
        Ok(())
    }
}

/// The next part of a file; none at its end, if it was what it should be.
async fn next(parts: &mut mpsc::Receiver<Part>, file: &LocalFile) -> Result<Option<bytes::Bytes>> {
    match parts.recv().await {
        Some(Part::Bytes(part)) => Ok(Some(part)),
        Some(Part::End(Content { bytes, sha256 })) if bytes == file.bytes && sha256 == file.sha256 => {
            Ok(None)
        }
        Some(Part::End(_)) => Err(Error::corrupt(format!(
            "{} changed while it was saved: see that nothing writes there, and try again",
            file.path.display()
        ))),
        Some(Part::Failed(error)) => Err(error),
        None => Err(Error::internal(format!("the reader of {} is gone", file.path.display()))),
    }
}
