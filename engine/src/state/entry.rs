//! An entry of the hot state: the value of one key, and the value before the running epoch.
//!
//! The model in `model.rs` compiles this file a second time.

/// The value of one key in memory.
pub(crate) struct Entry<V> {
    /// The value as the fold left it.
    pub(crate) value: Option<V>,
    /// The value at the start of epoch `epoch`; dropped once that is published if values are large.
    pub(crate) before: Option<V>,
    /// The last epoch that touched the entry.
    pub(crate) epoch: u64,
    /// Where the entry stands in the list of what the running epoch touched.
    pub(crate) dirty: u32,
    /// Whether the entry was used since the last eviction passed by.
    pub(crate) used: bool,
}

impl<V> Entry<V> {
    /// An entry that equals what the store holds.
    pub(crate) fn clean(value: Option<V>) -> Self {
        Self { value, before: None, epoch: 0, dirty: 0, used: true }
    }

    /// Something of every part of it, so that all of it is brought near.
    #[inline]
    pub(crate) fn look(&self) -> (u64, bool, bool) {
        (self.epoch, self.value.is_some(), self.before.is_some())
    }

    /// What a query may see when `published` is the last published epoch. It must have been looked up while the entry
    /// was locked: then no epoch after the next one can have touched the entry.
    pub(crate) fn visible(&self, published: u64) -> Option<&V> {
        if self.epoch <= published { self.value.as_ref() } else { self.before.as_ref() }
    }
}
