//! How the memory budget of an engine is spent.

/// The parts of a memory budget, in bytes.
///
/// Beside the parts named here, the changelog that an engine opens itself takes up to a fifth of their sum: appends
/// that wait to be written, segments that are being written, and a cache. It takes no more than it does by default
/// ([`EmbeddedOptions`](crate::changelog::EmbeddedOptions), some 136 MiB), and has a floor of 3 MiB below which it would
/// only get slow. A changelog that is given to the engine has options of its own.
///
/// Of a [`budget`](Memory::budget) 20 MiB, or five eighths of one below 32 MiB, are left to the program and its threads. Of the
/// rest
///
/// | part | is for |
/// |---|---|
/// | 25 %, and 15 % of what exceeds 256 MiB | hot entries |
/// | 18 % | rows that are not drained yet |
/// | 20 % | the block cache of the state |
/// | 5 % | input |
/// | 13 % | the changelog that the engine opens itself |
/// | 5 % | changes that wait for subscribers |
/// | 14 % | what is on its way through an epoch, compactions and the allocator |
///
/// What the allocator makes of it is not ours to say. That of glibc keeps freed memory in an arena per thread: with
/// `MALLOC_ARENA_MAX=2` in its environment a process that folds a state many times larger than its budget takes about a
/// third less.
///
/// A value is never cut into pieces, so beside the budget there is room for some values of the largest size: about ten of a
/// mebibyte, and up to thirty where one takes a quarter of the budget, as a compaction holds one of each file that it reads.
/// With `MALLOC_MMAP_THRESHOLD_=1048576` in its environment, a third less: glibc gives blocks of that size back at once.
///
/// # Examples
/// ```
/// use millpond::Memory;
///
/// let memory = Memory::budget(64 << 20);
/// assert_eq!(memory.hot_bytes, (44 << 20) / 100 * 25);
/// // The same with more for queries that miss the hot entries.
/// let memory = memory.block_cache_bytes(32 << 20);
/// # assert_eq!(memory.block_cache_bytes, 32 << 20);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Memory {
    /// Typed entries that folds and queries find without the store.
    pub hot_bytes: usize,
    /// Encoded rows that are not drained yet, with what a drain needs for them, and what hot entries that cannot be evicted
    /// before it take beyond their part; folding waits beyond this.
    pub generation_bytes: usize,
    /// Blocks, indexes and filters of the store.
    pub block_cache_bytes: usize,
    /// Batches read ahead from the changelog and records on their way through an epoch.
    pub input_bytes: usize,
}

/// What a program and its threads take that holds no data: the pages of its code, stacks, what RocksDB opens with.
const PROGRAM_BYTES: usize = 20 << 20;

/// Above this what is on its way through an epoch takes no larger part of what is for data: hot entries get it.
const LARGE_BYTES: usize = 256 << 20;

/// How many times more than this the named parts are.
const PARTS_PER_SUBSCRIBERS: usize = 12;

/// What subscribers have at the least, in bytes.
const LEAST_SUBSCRIBER_BYTES: usize = 256 << 10;

/// The least budget that is taken for one: less was meant to be mebibytes.
pub(super) const LEAST_MEMORY_BYTES: usize = 64 << 10;

impl Memory {
    /// Splits a budget for the whole engine, as the table above says.
    #[must_use]
    pub fn budget(bytes: usize) -> Self {
        let bytes = data_bytes(bytes);
        Self {
            hot_bytes: bytes / 100 * 25 + bytes.saturating_sub(LARGE_BYTES) / 100 * 15,
            generation_bytes: bytes / 100 * 18,
            block_cache_bytes: bytes / 100 * 20,
            input_bytes: bytes / 100 * 5,
        }
    }

    /// The same with another [`hot_bytes`](Self#structfield.hot_bytes).
    #[must_use]
    pub fn hot_bytes(mut self, hot_bytes: usize) -> Self {
        self.hot_bytes = hot_bytes;
        self
    }

    /// The same with another [`generation_bytes`](Self#structfield.generation_bytes).
    #[must_use]
    pub fn generation_bytes(mut self, generation_bytes: usize) -> Self {
        self.generation_bytes = generation_bytes;
        self
    }

    /// The same with another [`block_cache_bytes`](Self#structfield.block_cache_bytes).
    #[must_use]
    pub fn block_cache_bytes(mut self, block_cache_bytes: usize) -> Self {
        self.block_cache_bytes = block_cache_bytes;
        self
    }

    /// The same with another [`input_bytes`](Self#structfield.input_bytes).
    #[must_use]
    pub fn input_bytes(mut self, input_bytes: usize) -> Self {
        self.input_bytes = input_bytes;
        self
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
    #[cfg(any(test, feature = "rocks"))]
    pub(super) fn changelog_bytes(&self) -> usize {
        // Of what is for data the parts are 68 %, so a fifth of them is 13 %.
        self.parts().into_iter().map(|part| part / 5).fold(0, usize::saturating_add)
    }
}

/// What of a budget is for data.
fn data_bytes(budget: usize) -> usize {
    budget - PROGRAM_BYTES.min(budget / 8 * 5)
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
            let bytes = data_bytes(bytes);
            let large = bytes.saturating_sub(LARGE_BYTES) / 100 * 20;
            assert!(spent <= bytes / 100 * 82 + large && spent > bytes / 100 * 80, "{spent} of {bytes}");
            let subscribers = memory.subscriber_bytes();
            assert!(spent + subscribers <= bytes / 100 * 88 + large || subscribers == LEAST_SUBSCRIBER_BYTES);
        }
        let endless = Memory { hot_bytes: usize::MAX, ..Memory::budget(usize::MAX) };
        assert!(endless.changelog_bytes() > usize::MAX / 5);
    }
}
