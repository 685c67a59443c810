//! The store below a prefix: small objects as a whole, names, and what its errors mean.
//!
//! This file does not know what is stored.

use bytes::Bytes;
use futures_util::StreamExt;
use millpond_engine::{Error, ErrorKind, Result};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What lies below a prefix of a store.
#[derive(Debug, Clone)]
pub(crate) struct Depot {
    pub(crate) store: Arc<dyn ObjectStore>,
    prefix: Path,
}

/// Where objects of a kind lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Folder {
    Files,
    Manifests,
    Saving,
    Pruning,
}

impl Folder {
    fn name(self) -> &'static str {
        match self {
            Self::Files => "files",
            Self::Manifests => "manifests",
            Self::Saving => "saving",
            Self::Pruning => "pruning",
        }
    }
}

impl Depot {
    pub(crate) fn new(store: Arc<dyn ObjectStore>, prefix: &str) -> Result<Self> {
        let prefix = Path::parse(prefix).map_err(|error| {
            Error::invalid(format!(
                "`{prefix}` cannot be the prefix of objects: name one such as `backups/orders`"
            ))
            .with_source(error)
        })?;
        Ok(Self { store, prefix })
    }

    pub(crate) fn path(&self, folder: Folder, name: &str) -> Path {
        self.prefix.clone().join(folder.name()).join(name)
    }

    /// The names in a folder, with the sizes of what they name. What lies deeper is not ours.
    pub(crate) async fn list(&self, folder: Folder) -> Result<BTreeMap<String, u64>> {
        let path = self.prefix.clone().join(folder.name());
        let mut listed = self.store.list(Some(&path));
        let mut names = BTreeMap::new();
        while let Some(object) = listed.next().await {
            let object = object.map_err(|error| self.failed("list", &path, error))?;
            if object.location.parent().as_ref() == Some(&path)
                && let Some(name) = object.location.filename()
            {
                names.insert(name.to_owned(), object.size);
            }
        }
        Ok(names)
    }

    /// An object as a whole; none if it is not there.
    pub(crate) async fn get(&self, folder: Folder, name: &str) -> Result<Option<Bytes>> {
        let path = self.path(folder, name);
        let got = match self.store.get(&path).await {
            Ok(got) => got.bytes().await,
            Err(error) => Err(error),
        };
        match got {
            Ok(bytes) => Ok(Some(bytes)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.failed("read", &path, error)),
        }
    }

    pub(crate) async fn is_there(&self, folder: Folder, name: &str) -> Result<bool> {
        let path = self.path(folder, name);
        match self.store.head(&path).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(self.failed("look at", &path, error)),
        }
    }

    pub(crate) async fn put(&self, folder: Folder, name: &str, bytes: Vec<u8>) -> Result<()> {
        let path = self.path(folder, name);
        let put = self.store.put(&path, bytes.into()).await;
        put.map(drop).map_err(|error| self.failed("write", &path, error))
    }

    /// Deletes an object, which may be gone already.
    pub(crate) async fn delete(&self, folder: Folder, name: &str) -> Result<()> {
        let path = self.path(folder, name);
        match self.store.delete(&path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.failed("delete", &path, error)),
        }
    }

    /// The error for `doing` something with an object that the store failed at.
    pub(crate) fn failed(&self, doing: &str, path: &Path, error: object_store::Error) -> Error {
        use object_store::Error as Failure;
        let (kind, advice) = match &error {
            Failure::PermissionDenied { .. } | Failure::Unauthenticated { .. } => {
                (ErrorKind::Invalid, "the store does not let these credentials do that")
            }
            Failure::NotSupported { .. } | Failure::NotImplemented { .. } | Failure::InvalidPath { .. } => {
                (ErrorKind::Invalid, "the store cannot do that: use another one")
            }
            Failure::NotFound { .. } => (ErrorKind::Corrupt, "it is not there"),
            _ => (ErrorKind::Unavailable, "try again"),
        };
        Error::new(kind, format!("cannot {doing} {path} in {}; {advice}", self.store)).with_source(error)
    }

    /// Where all of it is, for whoever reads it.
    pub(crate) fn place(&self) -> String {
        format!("`{}` in {}", self.prefix, self.store)
    }
}
