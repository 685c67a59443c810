//! How a table is kept.

use crate::codec::{Bincode, CheckedCodec, RowCodec, Span, SpansCodec, Value, ValueCodec};
use crate::store::layout::FoldId;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt;
use std::sync::Arc;

/// How a table is kept: its name, its version and the codec of its values.
///
/// A plain `&str` stands for a table of that name at version 0 with [`Bincode`] values.
///
/// # When the meaning changes
/// A table is kept from one start to the next, and nothing can tell whether a closure is still the same. If it is
/// not, the engine goes on with the rows that it finds: those which no record changes any more stay what the former code has made
/// of them, and the others begin from there. That goes for the fold itself (`fold`, `aggregate`, `reduce`, `process`) and as
/// much for every step between the changelog and the table: a `filter` that lets more through, a `map` that converts otherwise,
/// the closure of a join.
///
/// - Whoever changes such code **raises the [version](Self::version)** of every stored table behind it. The table is then folded
///   anew from the changelog, with all that derives from it, while its older version goes on answering.
/// - To have the engine notice, give the fold an [id](Self::fold_id) that changes with it: another id under the same version is
///   refused.
///
/// What the engine notices by itself is another shape of keys or values, another codec, another kind of table, and what an
/// operator says of itself, such as the k of `top_k`.
///
/// With [dead letters](crate::FailurePolicy::DeadLetter) the tables that a raised or new one derives from are built anew with it:
/// other records may be left out by the new code, and the tables must agree on which.
///
/// ```
/// use millpond::store::MemoryStore;
/// use millpond::{Engine, GraphBuilder, Result, TableOptions, Topic};
/// # use millpond::changelog::MemoryChangelog;
/// # use std::sync::Arc;
/// # let (changelog, store) = (Arc::new(MemoryChangelog::new()), Arc::new(MemoryStore::new()));
///
/// let orders = Topic::<u32, u64>::new("orders");
/// // What the program was in its releases: from how many cents on an order is large, and the version of the table.
/// let large = |least: u64, version: u32| -> Result<Option<u64>> {
///     let graph = GraphBuilder::new();
///     let large = graph.stream(&orders).filter(move |_, cents| *cents >= least);
///     let large = large.group_by_key().count(TableOptions::named("large").version(version));
///     let engine = Engine::builder(&graph.build()?).store(store.clone()).changelog(changelog.clone()).start()?;
///     engine.append_blocking(&orders, &7, &500)?;
///     engine.ready_blocking()?;
///     engine.catch_up_blocking()?;
///     let found = engine.view(&large)?.get(&7)?;
///     engine.close_blocking()?;
///     Ok(found)
/// };
/// assert_eq!(large(1_000, 0)?, None);
/// assert_eq!(large(100, 0)?, Some(1), "the order that was left out by the former filter is still missing");
/// assert_eq!(large(100, 1)?, Some(3), "all orders, as if the filter had always been this one");
/// # Ok::<(), millpond::Error>(())
/// ```
///
/// # Examples
/// ```
/// use millpond::codec::Json;
/// use millpond::{GraphBuilder, TableOptions, Topic};
///
/// let words = Topic::<String, u32>::new("words");
/// let graph = GraphBuilder::new();
/// let grouped = graph.stream(&words).group_by_key();
/// let _by_name = grouped.count("counts");
/// // The fold has changed since: the table is rebuilt from the changelog.
/// let _second = grouped.reduce(TableOptions::named("most").version(1), u32::max);
/// let _readable = grouped.fold(TableOptions::with_codec("all", Json), Vec::new, |all, _, n| all.push(n));
/// assert!(graph.build()?.describe().contains("table most v1"));
/// # Ok::<(), millpond::Error>(())
/// ```
#[doc(alias = "Materialized")]
pub struct TableOptions<V> {
    pub(crate) name: Arc<str>,
    pub(crate) version: u32,
    pub(super) fold_id: FoldId,
    pub(crate) codec: Arc<dyn RowCodec<V>>,
}

impl<V: 'static> fmt::Debug for TableOptions<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, version, codec, .. } = self;
        f.debug_struct("TableOptions")
            .field("name", name)
            .field("version", version)
            .field("codec", &codec.id())
            .finish()
    }
}

impl<V> Clone for TableOptions<V> {
    fn clone(&self) -> Self {
        let Self { name, version, fold_id, codec } = self;
        Self { name: Arc::clone(name), version: *version, fold_id: fold_id.clone(), codec: Arc::clone(codec) }
    }
}

impl<V: Value> TableOptions<V> {
    /// A table `name` with a codec for its values.
    #[must_use]
    pub fn with_codec(name: &str, codec: impl ValueCodec<V>) -> Self {
        Self {
            name: name.into(),
            version: 0,
            fold_id: FoldId::default(),
            codec: Arc::new(CheckedCodec::new::<V>(codec)),
        }
    }

    /// A table `name` with [`Bincode`] values.
    #[must_use]
    pub fn named(name: &str) -> Self
    where
        V: Serialize + DeserializeOwned,
    {
        Self::with_codec(name, Bincode)
    }

    /// A table `name` with the same codec at `version`. For operators that keep the same kind of rows once more.
    #[must_use]
    pub fn once_more(&self, name: &str, version: u32) -> Self {
        Self { name: name.into(), version, fold_id: FoldId::default(), codec: Arc::clone(&self.codec) }
    }

    /// The same for a table that stands beside this one, with `part` behind its name and a dot. For operators that keep several.
    #[must_use]
    pub fn beside(&self, part: &str) -> Self {
        Self { name: format!("{}.{part}", self.name).into(), ..self.clone() }
    }

    /// The table's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The table's version.
    #[must_use]
    pub fn table_version(&self) -> u32 {
        self.version
    }

    /// The version of the table's meaning. Raise it when the fold changes, or a field of the value: the table is then
    /// rebuilt from the changelog. The engine notices another [shape](crate::codec::Shape) of keys or values, another codec
    /// or another kind of table under the same version, and refuses it; what a closure does it cannot see: see
    /// [when the meaning changes](Self#when-the-meaning-changes).
    #[must_use]
    pub fn version(mut self, version: u32) -> Self {
        self.version = version;
        self
    }

    /// What the fold that writes the table is called, so that the engine notices when it is another one.
    ///
    /// Nothing can tell whether a closure has changed: a state that was folded by the former one is gone on with by the new
    /// one, and half of the rows are what the one makes of records and half what the other does. Whoever changes a fold, or a
    /// step before it, raises the [version](Self::version) ([why](Self#when-the-meaning-changes)). To have the engine see to it, give the fold an id that changes with it, such as a
    /// number beside the code, or a hash of the file that `include_str!` brings in: under the same version another id is
    /// refused. A table that was kept without one takes the first that it is given.
    ///
    /// # Examples
    /// ```
    /// use millpond::store::MemoryStore;
    /// use millpond::{Engine, GraphBuilder, Result, TableOptions, Topic};
    /// # use millpond::changelog::MemoryChangelog;
    /// # use std::sync::Arc;
    /// # let (changelog, store) = (Arc::new(MemoryChangelog::new()), Arc::new(MemoryStore::new()));
    ///
    /// let payments = Topic::<String, u64>::new("payments");
    /// let open = |fold_id, fee: u64| {
    ///     let graph = GraphBuilder::new();
    ///     let options = TableOptions::named("paid").fold_id(fold_id);
    ///     graph.stream(&payments).group_by_key().fold(options, || 0, move |sum, _, cents| *sum += cents + fee);
    ///     Engine::builder(&graph.build()?).store(store.clone()).changelog(changelog.clone()).start()
    /// };
    /// open("without-fee", 0)?.close_blocking()?;
    /// let error = open("with-fee", 5).unwrap_err();
    /// assert!(error.message().contains("`without-fee`"), "{error}");
    /// open("without-fee", 0)?.close_blocking()?;
    /// # Ok::<(), millpond::Error>(())
    /// ```
    #[must_use]
    pub fn fold_id(mut self, fold_id: &str) -> Self {
        fold_id.clone_into(&mut self.fold_id.said);
        self
    }

    /// A table beside this one, named `<name>.<suffix>`, which keeps several such values in a row, each with a stretch of time. For
    /// operators.
    #[must_use]
    pub fn of_spans(&self, suffix: &str) -> TableOptions<Vec<Span<V>>> {
        TableOptions {
            name: format!("{}.{suffix}", self.name).into(),
            version: self.version,
            fold_id: self.fold_id.clone(),
            codec: Arc::new(SpansCodec::new(Arc::clone(&self.codec))),
        }
    }

    /// Says what the operator that writes the table knows of itself, beside its kind, such as `top_k(5)`: what must not change
    /// under the same version, and does not lie in closures. For operators; users have [`fold_id`](Self::fold_id).
    #[must_use]
    pub fn written_by(mut self, operator: impl Into<String>) -> Self {
        // What separates it from the id that the user gives, in the stored form.
        self.fold_id.operator = operator.into().replace(FoldId::SEPARATOR, " ");
        self
    }
}

impl<V: Value + Serialize + DeserializeOwned> From<&str> for TableOptions<V> {
    fn from(name: &str) -> Self {
        Self::named(name)
    }
}
