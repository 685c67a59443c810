//! Upserts: a new value for a key, or its deletion, spelled out.

/// What a record says about its key.
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
