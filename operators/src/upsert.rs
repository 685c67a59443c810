//! Upserts: a new value for a key, or its deletion, spelled out.

/// What a record says about its key: a value for it, or that it is gone.
///
/// It is no value, which a topic or a table could hold: a stream of upserts is sent on with
/// [`to_upserts`](crate::Stream::to_upserts), where [`Delete`](Self::Delete) becomes a tombstone, and stored with
/// [`upsert_table`](crate::Stream::upsert_table), where it deletes the row.
///
/// # Examples
/// ```
/// use millpond::{Engine, GraphBuilder, Topic, Upsert};
/// # use millpond::changelog::MemoryChangelog;
/// # use std::sync::Arc;
/// # let changelog = Arc::new(MemoryChangelog::new());
///
/// let orders = Topic::<u8, String>::new("orders");
/// let graph = GraphBuilder::new();
/// // What is cancelled goes away.
/// let open = graph
///     .upserts(&orders)
///     .map_values(|_, order| match order {
///         Upsert::Put(order) if order != "cancelled" => Upsert::Put(order),
///         _ => Upsert::Delete,
///     })
///     .upsert_table("open");
/// let engine = Engine::builder(&graph.build()?).in_memory().changelog(changelog).start()?;
/// engine.append(&orders, &1, &"tea".to_owned()).wait_blocking()?;
/// engine.append(&orders, &2, &"jam".to_owned()).wait_blocking()?;
/// engine.append(&orders, &1, &"cancelled".to_owned()).wait_blocking()?;
/// engine.catch_up_blocking()?;
/// assert_eq!(engine.view(&open)?.multi_get(&[1, 2])?, [None, Some("jam".to_owned())]);
/// assert_eq!(Upsert::from(Some(7)).into_option(), Some(7));
/// # Ok::<(), millpond::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Upsert<V> {
    /// The key maps to this value from here on.
    Put(V),
    /// The key is gone.
    Delete,
}

impl<V> Upsert<V> {
    /// The value, or `None` for a deletion.
    pub fn into_option(self) -> Option<V> {
        match self {
            Self::Put(value) => Some(value),
            Self::Delete => None,
        }
    }
}

impl<V> From<Option<V>> for Upsert<V> {
    fn from(value: Option<V>) -> Self {
        value.map_or(Self::Delete, Self::Put)
    }
}
