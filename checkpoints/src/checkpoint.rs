//! What is known of a checkpoint: its manifest, as it is stored.

use crate::ids;
use millpond_engine::{Error, Position, Result, StateInfo};
use serde::{Deserialize, Serialize};

/// The version of the manifest.
pub(crate) const FORMAT: u32 = 1;

/// A checkpoint in the store: which state it is, up to where, and what it takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Checkpoint {
    /// Its id, by which it can be [restored](crate::Checkpoints::restore_id). A greater one is a newer one.
    pub id: String,
    /// When it was made, in milliseconds since the Unix epoch.
    pub created_at_ms: i64,
    /// Which input its tables include: the changelog that it goes on with must reach back to it.
    pub position: Position,
    /// What it holds: tables, and whose state it is.
    pub state: StateInfo,
    /// What its files take, in bytes.
    pub bytes: u64,
    /// What of these was not in the store before it, in bytes.
    pub uploaded_bytes: u64,
    /// How many files it has.
    pub files: usize,
}

/// A checkpoint as it is stored. Later versions may add fields.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    pub(crate) format: u32,
    pub(crate) written_by: String,
    pub(crate) created_at_ms: i64,
    pub(crate) position: Position,
    pub(crate) state: StateInfo,
    pub(crate) uploaded_bytes: u64,
    pub(crate) files: Vec<FileEntry>,
}

/// A file of a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FileEntry {
    /// What it is called in the directory of the state.
    pub(crate) name: String,
    pub(crate) bytes: u64,
    pub(crate) sha256: String,
    /// What it is called in the store.
    pub(crate) object: String,
}

impl Manifest {
    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>> {
        serde_json::to_vec_pretty(self)
            .map_err(|error| Error::internal("a manifest has no JSON").with_source(error))
    }

    /// The manifest of `id`.
    ///
    /// # Errors
    /// `Corrupt` if it is not what was stored under that id, or of a later version.
    pub(crate) fn from_bytes(id: &str, bytes: &[u8]) -> Result<Self> {
        /// What every version has.
        #[derive(Deserialize)]
        struct Versioned {
            format: u32,
        }
        if !ids::fits(id, bytes) {
            return Err(damaged(id, "its content is not the one that its name tells"));
        }
        let unreadable = |error: serde_json::Error| damaged(id, "it cannot be read").with_source(error);
        let Versioned { format } = serde_json::from_slice(bytes).map_err(unreadable)?;
        if format != FORMAT {
            return Err(Error::corrupt(format!(
                "the manifest of checkpoint {id} has format {format}, this build reads {FORMAT}: use the release that wrote it, \
                 or a later one"
            )));
        }
        let manifest: Self = serde_json::from_slice(bytes).map_err(unreadable)?;
        for file in &manifest.files {
            // They become paths.
            let is_plain = |name: &str| {
                !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\\', '\0', ':'])
            };
            if !is_plain(&file.name) || !is_plain(&file.object) {
                return Err(damaged(id, &format!("it names a file {:?}", file.name)));
            }
        }
        Ok(manifest)
    }

    pub(crate) fn told(&self, id: String) -> Checkpoint {
        Checkpoint {
            id,
            created_at_ms: self.created_at_ms,
            position: self.position.clone(),
            state: self.state.clone(),
            bytes: self.files.iter().map(|file| file.bytes).sum(),
            uploaded_bytes: self.uploaded_bytes,
            files: self.files.len(),
        }
    }
}

fn damaged(id: &str, why: &str) -> Error {
    Error::corrupt(format!(
        "the manifest of checkpoint {id} is damaged: {why}; delete that object, and take another checkpoint"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A manifest of version 1, as it was stored by 0.2.
    const GOLDEN: &str = r#"{
  "format": 1,
  "written_by": "millpond 0.2.0",
  "created_at_ms": 1700000000000,
  "position": {
    "clicks/0": 12
  },
  "state": {
    "position": {
      "clicks/0": 12
    },
    "format_version": 1,
    "identity": "ab",
    "service": "clicks",
    "tables": [
      {
        "name": "counts",
        "version": 2,
        "rows": 3,
        "building": false
      }
    ]
  },
  "uploaded_bytes": 4,
  "files": [
    {
      "name": "000012.sst",
      "bytes": 4,
      "sha256": "cd",
      "object": "cd-ef"
    }
  ]
}"#;

    fn read(text: &str) -> Result<Manifest> {
        Manifest::from_bytes(&ids::of_manifest(1, text.as_bytes()), text.as_bytes())
    }

    #[test]
    fn a_manifest_is_golden() {
        let manifest = read(GOLDEN).unwrap();
        assert_eq!(String::from_utf8(manifest.to_bytes().unwrap()).unwrap(), GOLDEN);
        assert_eq!(manifest.position, "{clicks/0@12}".parse().unwrap());
        assert_eq!(manifest.state.tables[0].rows, 3);
        // A later release may say more.
        assert_eq!(read(&GOLDEN.replacen('{', "{ \"more\": 1,", 1)).unwrap(), manifest);
    }

    #[test]
    fn what_was_changed_or_is_of_a_later_version_is_refused() {
        let id = ids::of_manifest(1, GOLDEN.as_bytes());
        for at in 0..GOLDEN.len() {
            let mut bytes = GOLDEN.as_bytes().to_vec();
            bytes[at] ^= 1;
            let error = Manifest::from_bytes(&id, &bytes).unwrap_err();
            assert!(error.message().contains(&id), "{error}");
        }
        let refused = [
            (GOLDEN.replace("\"format\": 1", "\"format\": 2"), "has format 2"),
            (GOLDEN.replace("000012.sst", "../000012.sst"), "../000012.sst"),
            (GOLDEN.replace("000012.sst", ""), "it names a file"),
            (GOLDEN.replace("cd-ef", "cd/../ef"), "it names a file"),
            ("[]".to_owned(), "it cannot be read"),
        ];
        for (text, why) in refused {
            let error = read(&text).unwrap_err();
            assert!(error.message().contains(why), "{error}");
        }
    }
}
