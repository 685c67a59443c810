//! The files of a copy: which they are, and their hashes.

use crate::ids::hexadecimal;
use bytes::Bytes;
use millpond_engine::{Error, Result};
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use tokio::sync::mpsc;

/// Files are read, sent and written in parts of so many bytes: at least what stores want of a part.
pub(crate) const PART_BYTES: usize = 8 << 20;

/// A file of a copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LocalFile {
    pub(crate) path: PathBuf,
    pub(crate) name: String,
    pub(crate) bytes: u64,
    pub(crate) sha256: String,
}

/// What came through of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Content {
    pub(crate) bytes: u64,
    pub(crate) sha256: String,
}

/// What a thread hands over that reads a file.
#[derive(Debug)]
pub(crate) enum Part {
    Bytes(Bytes),
    /// All of it was read.
    End(Content),
    Failed(Error),
}

#[derive(Default)]
struct Hasher {
    hash: Sha256,
    bytes: u64,
}

impl Hasher {
    fn take(&mut self, bytes: &[u8]) {
        self.hash.update(bytes);
        self.bytes += bytes.len() as u64;
    }

    fn finish(self) -> Content {
        Content { bytes: self.bytes, sha256: hexadecimal(&self.hash.finalize()) }
    }
}

/// The files in `dir`, hashed, in the order of their names.
pub(crate) fn all_in(dir: &Path) -> Result<Vec<LocalFile>> {
    let failed = |error| failed("list", dir, error);
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let Ok(name) = entry.file_name().into_string() else {
            return Err(Error::internal(format!("a copy has a file of the name {}", entry.path().display())));
        };
        let mut hasher = Hasher::default();
        read(&entry.path(), &mut |part| {
            hasher.take(&part);
            true
        })?;
        let Content { bytes, sha256 } = hasher.finish();
        files.push(LocalFile { path: entry.path(), name, bytes, sha256 });
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(files)
}

/// Reads a file in parts, until `take` has enough.
fn read(path: &Path, take: &mut dyn FnMut(Bytes) -> bool) -> Result<()> {
    let failed = |error| failed("read", path, error);
    let mut file = File::open(path).map_err(failed)?;
    loop {
        let mut part = Vec::new();
        Read::by_ref(&mut file).take(PART_BYTES as u64).read_to_end(&mut part).map_err(failed)?;
        if part.is_empty() || !take(part.into()) {
            return Ok(());
        }
    }
}

/// Reads a file in parts for whoever takes them, no faster than they are taken.
pub(crate) fn read_into(path: &Path, parts: &mpsc::Sender<Part>) {
    let mut hasher = Hasher::default();
    let done = read(path, &mut |part| {
        hasher.take(&part);
        parts.blocking_send(Part::Bytes(part)).is_ok()
    });
    let end = match done {
        Ok(()) => Part::End(hasher.finish()),
        Err(error) => Part::Failed(error),
    };
    // Whoever took them may be gone.
    let _ = parts.blocking_send(end);
}

/// Writes what arrives to a new file, if it is to be written. Says what has arrived.
pub(crate) fn write_from(path: Option<&Path>, parts: &mut mpsc::Receiver<Bytes>) -> Result<Content> {
    let mut file = match path {
        Some(path) => Some(File::create_new(path).map_err(|error| failed("create", path, error))?),
        None => None,
    };
    let mut hasher = Hasher::default();
    while let Some(part) = parts.blocking_recv() {
        hasher.take(&part);
        if let (Some(file), Some(path)) = (&mut file, path) {
            file.write_all(&part).map_err(|error| failed("write", path, error))?;
        }
    }
    Ok(hasher.finish())
}

pub(crate) fn failed(doing: &str, path: &Path, error: std::io::Error) -> Error {
    use std::io::ErrorKind::{NotADirectory, PermissionDenied, QuotaExceeded, StorageFull};
    let advice = match error.kind() {
        StorageFull | QuotaExceeded => "the disk is full: free some space",
        PermissionDenied | NotADirectory => "it must be possible to read and write there",
        _ => "try again, or name a directory on another medium",
    };
    Error::unavailable(format!("cannot {doing} {}; {advice}", path.display())).with_source(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids;

    #[test]
    fn a_file_of_several_parts_arrives_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let bytes: Vec<u8> = (0..=250).cycle().take(PART_BYTES + 1000).collect();
        fs::write(dir.path().join("a"), &bytes).unwrap();
        fs::write(dir.path().join("b"), b"").unwrap();
        let files = all_in(dir.path()).unwrap();
        let hashes = files.iter().map(|file| (&*file.name, file.bytes, file.sha256.clone()));
        let expected = [("a", bytes.len() as u64, ids::sha256(&bytes)), ("b", 0, ids::sha256(b""))];
        assert!(hashes.eq(expected));

        let (sender, mut receiver) = mpsc::channel(1);
        let path = dir.path().join("a");
        let reader = std::thread::spawn(move || read_into(&path, &sender));
        let (to_writer, mut from_reader) = mpsc::channel(1);
        let copy = dir.path().join("copy");
        let writer = std::thread::spawn({
            let copy = copy.clone();
            move || write_from(Some(&copy), &mut from_reader)
        });
        let mut sizes = Vec::new();
        let read = loop {
            match receiver.blocking_recv().unwrap() {
                Part::Bytes(part) => {
                    sizes.push(part.len());
                    to_writer.blocking_send(part).unwrap();
                }
                Part::End(content) => break content,
                Part::Failed(error) => panic!("{error}"),
            }
        };
        drop(to_writer);
        assert_eq!(sizes, [PART_BYTES, 1000]);
        assert_eq!(writer.join().unwrap().unwrap(), read);
        assert_eq!((read.bytes, read.sha256), (bytes.len() as u64, ids::sha256(&bytes)));
        reader.join().unwrap();
        assert!(fs::read(copy).unwrap() == bytes);
    }
}
