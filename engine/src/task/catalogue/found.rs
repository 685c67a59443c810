//! What a reader finds of a graph's tables in a state that somebody else may have open. Nothing is decided, and nothing
//! is written.

use super::compare::unchanged;
use super::{read_all, read_format_version, read_reached};
use crate::graph::Graph;
use crate::store::StoreSnapshot;
use crate::store::layout::{self, CatalogueEntry, MAIN_GROUP, RowCount, TableId, TableStage};
use crate::time::Reached;
use crate::{Error, Result};
use std::collections::BTreeMap;

/// A state as one of its readers sees it.
pub(crate) struct Found {
    /// By the table's number in the graph; none for a table that the state does not have, or is building.
    pub(crate) ids: Vec<Option<TableId>>,
    /// Of those what is known: why they cannot be asked, and what to do.
    pub(crate) absent: Vec<Option<String>>,
    pub(crate) reached: Reached,
    pub(crate) counts: BTreeMap<TableId, RowCount>,
    /// Who the state is; states of 0.1 do not say.
    pub(crate) identity: Option<String>,
}

impl Found {
    /// Looks for the tables of `graph`.
    ///
    /// # Errors
    /// `Invalid` for a table whose types or codec are others under the same version, or whose version is older than
    /// the state's; `Unavailable` if the state is not complete yet; `Corrupt`.
    pub(crate) fn read(state: &dyn StoreSnapshot, graph: &Graph) -> Result<Self> {
        if read_format_version(&mut |key, read| state.read(key, read))?.is_none() {
            return Err(Error::unavailable("the state is being created: try again once its engine is open"));
        }
        let entries: Vec<CatalogueEntry> =
            read_all(state, layout::catalogue_range(), |_, stored| layout::decode_catalogue_entry(stored))?;
        let ids = graph.tables.iter().map(|spec| {
            let ready = |entry: &&CatalogueEntry| *entry.name == *spec.name && entry.state == TableStage::Ready;
            let Some(entry) = entries.iter().find(ready) else {
                return Ok(Err(why_absent(&entries, &spec.name)));
            };
            if entry.version > spec.version {
                return Err(Error::invalid(format!(
                    "the state holds version {} of table `{}`, the graph has version {}: read it with the newer code",
                    entry.version, spec.name, spec.version
                )));
            }
            if entry.version < spec.version {
                return Ok(Err(format!(
                    "the state holds version {} of table `{}`, the graph has version {}: `refresh` the reader once an engine with \
                     the newer code has built it, or read with the older code",
                    entry.version, spec.name, spec.version
                )));
            }
            unchanged(entry, spec).map(|()| Ok(entry.id))
        });
        let found = ids.collect::<Result<Vec<std::result::Result<TableId, String>>>>()?;
        let ids = found.iter().map(|found| found.as_ref().ok().copied()).collect();
        let absent = found.into_iter().map(std::result::Result::err).collect();
        let mut reached = read_reached(state)?;
        let counts = read_all(state, layout::count_range(), |key, stored| {
            Ok((layout::decode_count_key(key)?, layout::decode_count(stored)?))
        })?;
        let mut identity = Ok(None);
        state.read(layout::IDENTITY_KEY, &mut |stored| {
            identity = stored.map(layout::decode_identity).transpose();
        })?;
        let reached = reached.remove(&MAIN_GROUP).unwrap_or_default();
        Ok(Self { ids, absent, reached, counts, identity: identity? })
    }
}

/// Why there is no table `name` to ask.
fn why_absent(entries: &[CatalogueEntry], name: &str) -> String {
    let is_built = |entry: &CatalogueEntry| *entry.name == *name && entry.state == TableStage::Building;
    if entries.iter().any(is_built) {
        return format!(
            "table `{name}` is being built from the start of its changelog; `refresh` the reader once its engine has built it"
        );
    }
    let ready = entries.iter().filter(|entry| entry.state == TableStage::Ready);
    let others: Vec<String> = ready.map(|entry| format!("`{}`", entry.name)).collect();
    format!(
        "the state has no table `{name}`, but {}: name one of these, or `refresh` the reader once an engine whose graph has the \
         table has built it",
        if others.is_empty() { "none at all".to_owned() } else { others.join(", ") }
    )
}
