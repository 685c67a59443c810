//! Who uses a name on a changelog: which state, and what kind of service.
//!
//! Under a name the changelog remembers which input its epochs covered, so that a replay appends nothing twice. An engine
//! that begins anew under a used name therefore appends nothing either until it is past that input. For the same service
//! whose state was deleted that is right; another service would lose what it produces without a word. So a state has an
//! identity, the changelog keeps the owner of each name, and a state that is not the owner must stand behind what was
//! appended under the name, or look like the same service: it reads some of the same topics, appends to none that the
//! owner did not append to, and has a table of the same name.

use crate::changelog::Changelog;
use crate::graph::Graph;
use crate::{Error, Position, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// The engine that a name belongs to, as the changelog keeps it: JSON, of which later releases may add fields.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Owner {
    /// The identity of its state.
    pub(super) state: String,
    reads: BTreeSet<String>,
    appends_to: BTreeSet<String>,
    tables: BTreeSet<String>,
}

impl Owner {
    pub(super) fn new(state: String, graph: &Graph) -> Self {
        let topics = graph.topics.iter().map(|topic| topic.name.to_string());
        Self {
            state,
            reads: topics.filter(|topic| graph.reads(topic)).collect(),
            appends_to: graph
                .nodes
                .iter()
                .filter_map(|node| node.sink.as_deref())
                .map(str::to_owned)
                .collect(),
            tables: graph.tables.iter().map(|table| table.name.to_string()).collect(),
        }
    }

    /// Refuses to use the name if that would lose what this engine, which stands at `position`, produces. Nothing is written.
    ///
    /// # Errors
    /// `Invalid` if the name belongs to another service.
    pub(super) fn check(&self, changelog: &dyn Changelog, name: &str, position: &Position) -> Result<()> {
        let Some(stored) = changelog.owner(name)? else { return Ok(()) };
        let Ok(before) = serde_json::from_str::<Self>(&stored) else {
            return Err(Error::corrupt(format!(
                "what the changelog keeps about the name `{name}` cannot be read; release the name, or use another one"
            )));
        };
        if before.state == self.state || before.is_continued_by(self) || self.appends_to.is_empty() {
            return Ok(());
        }
        // Past all that was appended under the name, nothing is taken for appended.
        if changelog.epochs_after(name, position)?.is_empty() {
            return Ok(());
        }
        Err(Error::invalid(format!(
            "the name `{name}` belongs to another service on this changelog: {before}; this engine, with a state of its \
             own, is {self}. What it produces from input that the other one covered would be taken for appended already. \
             Give it a name of its own with `EngineBuilder::name`; or, if it takes the place of the other one, call \
             `Changelog::release` for the name, after which it appends everything from the start"
        )))
    }

    fn is_continued_by(&self, next: &Self) -> bool {
        let share =
            |a: &BTreeSet<String>, b: &BTreeSet<String>| a.is_empty() || b.is_empty() || !a.is_disjoint(b);
        next.appends_to.is_subset(&self.appends_to)
            && share(&self.reads, &next.reads)
            && share(&self.tables, &next.tables)
    }

    /// Takes the name for this engine.
    ///
    /// # Errors
    /// If it could not be stored.
    pub(super) fn claim(&self, changelog: &dyn Changelog, name: &str) -> Result<()> {
        let owner = serde_json::to_string(self)
            .map_err(|error| Error::internal("the owner of a name has no JSON").with_source(error))?;
        if changelog.owner(name)?.as_ref() == Some(&owner) {
            Ok(())
        } else {
            changelog.set_owner(name, &owner)
        }
    }
}

/// Whether the state of this identity is that of another name, and not of `name`: then what is opened under `name` is a copy
/// of it, which from here on is a state of its own. Under one identity for both, either would be taken for the owner of
/// what the other one has appended.
///
/// # Errors
/// If the changelog is closed.
pub(super) fn is_elsewhere(changelog: &dyn Changelog, name: &str, identity: &str) -> Result<bool> {
    let is = |owner: &str| serde_json::from_str::<Owner>(owner).is_ok_and(|owner| owner.state == identity);
    if changelog.owner(name)?.is_some_and(|owner| is(&owner)) {
        return Ok(false);
    }
    Ok(changelog.names()?.iter().any(|other| other.name != name && other.owner.as_deref().is_some_and(is)))
}

impl std::fmt::Display for Owner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let list = |names: &BTreeSet<String>| match names.len() {
            0 => "none".to_owned(),
            _ => names.iter().map(String::as_str).collect::<Vec<_>>().join(", "),
        };
        let (reads, appends_to, tables) = (list(&self.reads), list(&self.appends_to), list(&self.tables));
        write!(f, "one that reads {reads}, appends to {appends_to} and keeps the tables {tables}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(state: &str, reads: &[&str], appends_to: &[&str], tables: &[&str]) -> Owner {
        let set = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        Owner { state: state.into(), reads: set(reads), appends_to: set(appends_to), tables: set(tables) }
    }

    #[test]
    fn the_stored_owner_is_golden() {
        let golden = r#"{"state":"s","reads":["a","b"],"appends_to":["c"],"tables":[]}"#;
        let owner = owner("s", &["b", "a"], &["c"], &[]);
        assert_eq!(serde_json::to_string(&owner).unwrap(), golden);
        assert_eq!(serde_json::from_str::<Owner>(golden).unwrap(), owner);
        // A later release may say more.
        assert_eq!(serde_json::from_str::<Owner>(&golden.replace('{', r#"{"more":1,"#)).unwrap(), owner);
    }

    #[test]
    fn a_service_is_known_by_what_it_reads_appends_to_and_keeps() {
        let before = owner("1", &["in"], &["out", "more"], &["t", "u"]);
        let same = |reads, appends_to, tables| before.is_continued_by(&owner("2", reads, appends_to, tables));
        assert!(same(&["in"], &["out", "more"], &["t", "u"]));
        assert!(same(&["in", "new"], &["out"], &["u", "v"]) && same(&["in"], &[], &[]));
        assert!(!same(&["in"], &["out", "other"], &["t"]));
        assert!(!same(&["elsewhere"], &["out"], &["t"]) && !same(&["in"], &["out"], &["v"]));
    }
}
