//! Where a join of two streams keeps what still waits.

use super::held::HeldRecords;
use millpond_engine::codec::{Bincode, Value};
use millpond_engine::graph::TableOptions;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt;

/// Where a join of two streams keeps the records of either that may still meet others.
///
/// A plain `&str` stands for tables `<name>.left` and `<name>.right` with [`Bincode`] values at version 0. A pair of
/// [`TableOptions`] says both: for records that need another codec. What no record has met yet is noted beside them, in
/// `<table>.unmatched`, if it is to be told.
///
/// # Examples
/// ```
/// use millpond::codec::Json;
/// use millpond::stream::JoinStore;
/// use millpond::TableOptions;
///
/// let by_name: JoinStore<u64, String> = "paid".into();
/// assert_eq!(by_name.left().name(), "paid.left");
/// let changed = JoinStore::<u64, String>::named("paid").version(1);
/// assert_eq!(changed.right().table_version(), 1);
/// let readable: JoinStore<u64, serde_json::Value> =
///     (TableOptions::named("orders"), TableOptions::with_codec("payments", Json)).into();
/// assert_eq!(readable.right().name(), "payments");
/// ```
#[doc(alias = "StreamJoined")]
pub struct JoinStore<V, T> {
    left: TableOptions<HeldRecords<V>>,
    right: TableOptions<HeldRecords<T>>,
}

impl<V: Value, T: Value> fmt::Debug for JoinStore<V, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinStore").field("left", &self.left).field("right", &self.right).finish()
    }
}

impl<V, T> JoinStore<V, T>
where
    V: Value + Serialize + DeserializeOwned,
    T: Value + Serialize + DeserializeOwned,
{
    /// Tables `<name>.left` and `<name>.right` with [`Bincode`] values.
    #[must_use]
    pub fn named(name: &str) -> Self {
        let left = TableOptions::with_codec(&format!("{name}.left"), Bincode);
        Self { left, right: TableOptions::with_codec(&format!("{name}.right"), Bincode) }
    }
}

impl<V: Value, T: Value> JoinStore<V, T> {
    /// The version of the meaning of both: see [`TableOptions::version`].
    #[must_use]
    pub fn version(self, version: u32) -> Self {
        Self { left: self.left.version(version), right: self.right.version(version) }
    }

    /// Where the records of the left stream are kept.
    #[must_use]
    pub fn left(&self) -> &TableOptions<HeldRecords<V>> {
        &self.left
    }

    /// Where the records of the right stream are kept.
    #[must_use]
    pub fn right(&self) -> &TableOptions<HeldRecords<T>> {
        &self.right
    }

    pub(super) fn into_parts(self) -> (TableOptions<HeldRecords<V>>, TableOptions<HeldRecords<T>>) {
        (self.left, self.right)
    }
}

impl<V, T> From<&str> for JoinStore<V, T>
where
    V: Value + Serialize + DeserializeOwned,
    T: Value + Serialize + DeserializeOwned,
{
    fn from(name: &str) -> Self {
        Self::named(name)
    }
}

impl<V, T> From<(TableOptions<HeldRecords<V>>, TableOptions<HeldRecords<T>>)> for JoinStore<V, T> {
    fn from((left, right): (TableOptions<HeldRecords<V>>, TableOptions<HeldRecords<T>>)) -> Self {
        Self { left, right }
    }
}
