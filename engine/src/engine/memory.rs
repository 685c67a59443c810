//! How the memory budget of an engine is spent.

/// The parts of a memory budget, in bytes.
///
/// Beside the parts named here, the changelog that an engine opens itself takes up to a fifth of their sum: appends
/// that wait to be written, segments that are being written, and a cache. It takes no more than it does by default
/// ([`EmbeddedOptions`](crate::changelog::EmbeddedOptions), some 136 MiB), and has a floor of 3 MiB below which it would
/// only get slow. A changelog that is given to the engine has options of its own.
///
/// | of a [`budget`](Memory::budget) | for |
/// |---|---|
/// | 25 % | hot entries |
/// | 10 % | generations |
/// | 20 % | the block cache of the state |
/// | 6 % | input |
/// | 12 % | the changelog that the engine opens itself |
/// | 5 % | changes that wait for subscribers |
/// | 22 % | left for what is on its way through an epoch, for compactions and for the allocator |
///
/// What the allocator makes of it is not ours to say. That of glibc keeps freed memory in an arena per thread: with
/// `MALLOC_ARENA_MAX=2` in its environment a process that folds a state many times larger than its budget takes about a
/// third less.
///
/// # Examples
/// ```
/// use millpond::Memory;
///
/// let memory = Memory::budget(64 << 20);
/// assert_eq!(memory.hot_bytes, (64 << 20) / 100 * 25);
/// // The same with more for queries that miss the hot entries.
/// let memory = Memory { block_cache_bytes: 32 << 20, ..memory };
/// # assert_eq!(memory.block_cache_bytes, 32 << 20);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// Typed entries that folds and queries find without the store.
    pub hot_bytes: usize,
    /// Encoded epochs that are not drained yet; folding waits beyond this.
    pub generation_bytes: usize,
    /// Blocks, indexes and filters of the store.
    pub block_cache_bytes: usize,
    /// Batches read ahead from the changelog and records on their way through an epoch.
    pub input_bytes: usize,
}

/// How many times more than this the named parts are.
const PARTS_PER_SUBSCRIBERS: usize = 12;

/// What subscribers have at the least, in bytes.
const LEAST_SUBSCRIBER_BYTES: usize = 256 << 10;

impl Memory {
    /// Splits a budget for the whole engine, as the table above says.
    #[must_use]
    pub fn budget(bytes: usize) -> Self {
        Self {
            hot_bytes: bytes / 100 * 25,
            generation_bytes: bytes / 100 * 10,
            block_cache_bytes: bytes / 100 * 20,
            input_bytes: bytes / 100 * 6,
        }
    }

    /// What may wait for the subscribers of all tables together: a twelfth of the named parts, at least 256 KiB.
    ///
    /// Subscribers of changes that have taken everything but the newest epoch are not bounded by it; of the others the one
    /// for which most is waiting is cut off when it is exceeded. For subscribers of a key nothing waits.
    #[must_use]
    pub fn subscriber_bytes(&self) -> usize {
        let parts = self.parts().into_iter().map(|part| part / PARTS_PER_SUBSCRIBERS);
        parts.fold(0, usize::saturating_add).max(LEAST_SUBSCRIBER_BYTES)
    }

    fn parts(&self) -> [usize; 4] {
        [self.hot_bytes, self.generation_bytes, self.block_cache_bytes, self.input_bytes]
    }

    /// What is left to a changelog that the engine opens itself.
    pub(super) fn changelog_bytes(&self) -> usize {
        // Of a budget the parts are 61 %, so a fifth of them is 12 %.
        self.parts().into_iter().map(|part| part / 5).fold(0, usize::saturating_add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_not_overspent() {
        for bytes in [1 << 20, 64 << 20, 1 << 30] {
            let memory = Memory::budget(bytes);
            let Memory { hot_bytes, generation_bytes, block_cache_bytes, input_bytes } = memory;
            let state = hot_bytes + generation_bytes + block_cache_bytes + input_bytes;
            let spent = state + memory.changelog_bytes();
            assert!(spent <= bytes / 100 * 74 && spent > bytes / 100 * 72, "{spent} of {bytes}");
            let subscribers = memory.subscriber_bytes();
            assert!(spent + subscribers <= bytes / 100 * 79 || subscribers == LEAST_SUBSCRIBER_BYTES);
        }
        let endless = Memory { hot_bytes: usize::MAX, ..Memory::budget(usize::MAX) };
        assert!(endless.changelog_bytes() > usize::MAX / 5);
    }
}
