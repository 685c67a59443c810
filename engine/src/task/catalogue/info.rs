//! What a state tells of itself to whoever has no graph for it: a copy that lies somewhere, a backup.

use super::{read_all, read_format_version, read_reached};
use crate::store::layout::{self, CatalogueEntry, MAIN_GROUP, RowCount, TableId, TableStage};
use crate::store::{RocksOptions, SecondaryStore, StoreSnapshot};
use crate::{Error, Position, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// What a state directory holds, be it a checkpoint, a backup or that of an engine that runs.
///
/// # Examples
/// ```
/// use millpond::{Engine, GraphBuilder, StateInfo, Topic};
/// # let dir = tempfile::tempdir().expect("a directory");
/// # let path = dir.path();
///
/// let clicks = Topic::<u32, u64>::new("clicks");
/// let graph = GraphBuilder::new();
/// graph.stream(&clicks).group_by_key().count("counts");
/// let engine = Engine::builder(&graph.build()?).dir(path.join("clicks")).name("clicks").start()?;
/// engine.append_blocking(&clicks, &1, &1)?;
/// engine.append_blocking(&clicks, &2, &1)?;
/// engine.catch_up_blocking()?;
/// engine.checkpoint_blocking(path.join("copy"))?;
///
/// let info = StateInfo::verify(path.join("copy"))?;
/// assert_eq!(info.position, engine.position());
/// assert_eq!(info.service.as_deref(), Some("clicks"));
/// assert_eq!((&*info.tables[0].name, info.tables[0].rows), ("counts", 2));
/// # Ok::<(), millpond::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct StateInfo {
    /// Which input its tables include.
    pub position: Position,
    /// The version of how it is stored.
    pub format_version: u32,
    /// What tells the state from every other one but its own copies; states of 0.1 have none.
    pub identity: Option<String>,
    /// The [name](crate::EngineBuilder::name) of the engine that it was last opened by; none before 0.2.
    pub service: Option<String>,
    /// Its tables, by name and version.
    pub tables: Vec<TableInfo>,
}

/// A table of a [`StateInfo`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TableInfo {
    /// The name that the graph gave it.
    pub name: String,
    /// The version that the graph gave it.
    pub version: u32,
    /// How many rows it has.
    pub rows: u64,
    /// Whether it is still being built from the start of its changelog.
    pub building: bool,
}

impl StateInfo {
    /// Reads it from the state directory `dir`, which an engine may have open: then it is what is durable now.
    ///
    /// # Errors
    /// As for [`StateReader::open`](crate::StateReader::open).
    pub fn read(dir: impl AsRef<Path>) -> Result<Self> {
        SecondaryStore::open(dir.as_ref(), &RocksOptions::within(0), &|state| Self::of(state))
            .map(|(_, info)| info)
    }

    /// The same, once every row of the state was read with its checksum: of a copy that is to be relied upon. It must not be
    /// open. Filters, which only save time, are not read.
    ///
    /// # Errors
    /// As for `read`; `Corrupt`, with the name of the file, if any of it is damaged.
    pub fn verify(dir: impl AsRef<Path>) -> Result<Self> {
        Self::of(&*SecondaryStore::verify(dir.as_ref(), &RocksOptions::within(0))?.shown())
    }

    /// Reads it from a state at one moment: everything that the engine itself keeps there.
    ///
    /// # Errors
    /// `Unavailable` if it is not complete yet; `Corrupt` if something does not decode.
    pub(crate) fn of(state: &dyn StoreSnapshot) -> Result<Self> {
        let Some(format_version) = read_format_version(&mut |key, read| state.read(key, read))? else {
            return Err(Error::unavailable("the state is being created: try again once its engine is open"));
        };
        let entries: Vec<CatalogueEntry> =
            read_all(state, layout::catalogue_range(), |_, stored| layout::decode_catalogue_entry(stored))?;
        let mut reached = read_reached(state)?;
        let counts: BTreeMap<TableId, RowCount> = read_all(state, layout::count_range(), |key, stored| {
            Ok((layout::decode_count_key(key)?, layout::decode_count(stored)?))
        })?;
        let text = |key: &[u8], decode: fn(&[u8]) -> Result<String>| {
            let mut text = Ok(None);
            state.read(key, &mut |stored| text = stored.map(decode).transpose())?;
            text
        };
        let there = entries.iter().filter(|entry| entry.state != TableStage::Retired);
        let table = |entry: &CatalogueEntry| TableInfo {
            name: entry.name.clone(),
            version: entry.version,
            rows: counts.get(&entry.id).map_or(0, |count| count.rows),
            building: entry.state == TableStage::Building,
        };
        let mut tables: Vec<TableInfo> = there.map(table).collect();
        tables.sort();
        Ok(Self {
            position: reached.remove(&MAIN_GROUP).unwrap_or_default().position,
            format_version,
            identity: text(layout::IDENTITY_KEY, layout::decode_identity)?,
            service: text(layout::SERVICE_KEY, layout::decode_service)?,
            tables,
        })
    }
}
