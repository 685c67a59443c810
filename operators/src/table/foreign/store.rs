//! Where a foreign-key join keeps its result and its index.

use millpond_engine::codec::{Bincode, Value};
use millpond_engine::graph::TableOptions;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt;

/// Where a foreign-key join keeps its result, and its index: the rows of the left table once more, by foreign key. Where
/// [`Table::re_key`](crate::Table::re_key) keeps its own, too.
///
/// A plain `&str` or [`TableOptions`] says where the result is kept; the index is then named `<name>.index`, has the
/// same version and [`Bincode`] values. A pair of [`TableOptions`], the result's and the index's, says both: for rows that
/// need another codec.
///
/// # Examples
/// ```
/// use millpond::codec::Json;
/// use millpond::{ForeignStore, TableOptions};
///
/// let by_name: ForeignStore<u64, String> = "orders_with_customers".into();
/// assert_eq!(by_name.index().name(), "orders_with_customers.index");
/// let with_version: ForeignStore<u64, String> = TableOptions::named("joined").version(2).into();
/// assert_eq!(with_version.index().table_version(), 2);
/// let both: ForeignStore<u64, String> =
///     (TableOptions::named("joined"), TableOptions::with_codec("by_customer", Json)).into();
/// assert_eq!(both.index().name(), "by_customer");
/// ```
pub struct ForeignStore<V, W> {
    result: TableOptions<W>,
    index: TableOptions<V>,
}

impl<V: 'static, W: 'static> fmt::Debug for ForeignStore<V, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { result, index } = self;
        f.debug_struct("ForeignStore").field("result", result).field("index", index).finish()
    }
}

impl<V, W> ForeignStore<V, W> {
    /// Where the result is kept.
    #[must_use]
    pub fn result(&self) -> &TableOptions<W> {
        &self.result
    }

    pub(in crate::table) fn into_parts(self) -> (TableOptions<W>, TableOptions<V>) {
        (self.result, self.index)
    }

    /// Where the index is kept.
    #[must_use]
    pub fn index(&self) -> &TableOptions<V> {
        &self.index
    }
}

impl<V: Value + Serialize + DeserializeOwned, W: Value> From<TableOptions<W>> for ForeignStore<V, W> {
    fn from(result: TableOptions<W>) -> Self {
        let index = TableOptions::with_codec(&format!("{}.index", result.name()), Bincode);
        Self { index: index.version(result.table_version()), result }
    }
}

impl<V, W> From<&str> for ForeignStore<V, W>
where
    V: Value + Serialize + DeserializeOwned,
    W: Value + Serialize + DeserializeOwned,
{
    fn from(name: &str) -> Self {
        TableOptions::named(name).into()
    }
}

impl<V, W> From<(TableOptions<W>, TableOptions<V>)> for ForeignStore<V, W> {
    fn from((result, index): (TableOptions<W>, TableOptions<V>)) -> Self {
        Self { result, index }
    }
}
