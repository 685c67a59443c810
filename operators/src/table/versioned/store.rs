//! Where a versioned table keeps its rows.

use super::key::VersionRow;
use millpond_engine::codec::{Bincode, Value};
use millpond_engine::graph::TableOptions;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt;

/// Where a versioned table keeps the latest rows, and where their versions.
///
/// A plain `&str` or [`TableOptions`] says where the latest rows are kept; versions are then in `<name>.versions`, with the same version
/// of their meaning and [`Bincode`] values. A pair of [`TableOptions`] says both: for values that need another codec.
///
/// # Examples
/// ```
/// use millpond::codec::Json;
/// use millpond::{TableOptions, VersionStore};
///
/// let by_name: VersionStore<u64> = "rates".into();
/// assert_eq!(by_name.versions().name(), "rates.versions");
/// let readable: VersionStore<u64> =
///     (TableOptions::with_codec("rates", Json), TableOptions::with_codec("all_rates", Json)).into();
/// assert_eq!(readable.versions().name(), "all_rates");
/// ```
pub struct VersionStore<V> {
    latest: TableOptions<V>,
    versions: TableOptions<VersionRow<V>>,
}

impl<V: Value> fmt::Debug for VersionStore<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { latest, versions } = self;
        f.debug_struct("VersionStore").field("latest", latest).field("versions", versions).finish()
    }
}

impl<V> VersionStore<V> {
    /// Where the latest rows are kept.
    #[must_use]
    pub fn latest(&self) -> &TableOptions<V> {
        &self.latest
    }

    /// Where the versions are kept.
    #[must_use]
    pub fn versions(&self) -> &TableOptions<VersionRow<V>> {
        &self.versions
    }

    pub(super) fn into_parts(self) -> (TableOptions<V>, TableOptions<VersionRow<V>>) {
        (self.latest, self.versions)
    }
}

impl<V: Value + Serialize + DeserializeOwned> From<TableOptions<V>> for VersionStore<V> {
    fn from(latest: TableOptions<V>) -> Self {
        let versions = TableOptions::with_codec(&format!("{}.versions", latest.name()), Bincode);
        Self { versions: versions.version(latest.table_version()), latest }
    }
}

impl<V: Value + Serialize + DeserializeOwned> From<&str> for VersionStore<V> {
    fn from(name: &str) -> Self {
        TableOptions::named(name).into()
    }
}

impl<V> From<(TableOptions<V>, TableOptions<VersionRow<V>>)> for VersionStore<V> {
    fn from((latest, versions): (TableOptions<V>, TableOptions<VersionRow<V>>)) -> Self {
        Self { latest, versions }
    }
}
