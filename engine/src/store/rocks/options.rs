//! How RocksDB is set up for rows that arrive in sorted files and are read one by one.

use super::level_zero::COMPACT_FROM_FILES;
use rocksdb::{
    BlockBasedIndexType, BlockBasedOptions, Cache, DBCompressionType, LogLevel, LruCacheOptions, Options,
    ReadOptions, statistics::StatsLevel,
};

/// RocksDB's own brake, which would let drains hang, is put out of reach; [`pressure`](super::level_zero::pressure) is
/// ours.
const NEVER_FILES: i32 = 1 << 20;

/// The options of a state directory: the defaults, and what is to be otherwise.
///
/// # Examples
/// ```
/// use millpond::store::RocksOptions;
///
/// let options = RocksOptions::default().block_cache_bytes(256 << 20).compaction_threads(4);
/// assert_eq!(options.block_cache_bytes, 256 << 20);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RocksOptions {
    /// The budget of the block cache, which holds blocks of rows, filters and indexes, in bytes.
    pub block_cache_bytes: usize,
    /// How many threads compact in the background.
    pub compaction_threads: u32,
    /// How many files of the state are kept open at most.
    pub max_open_files: u32,
}

/// With a block cache below this one thread compacts: each takes a few mebibytes for what it reads, writes and filters.
const ONE_THREAD_BELOW_BYTES: usize = 16 << 20;

impl RocksOptions {
    /// The same with another [`block_cache_bytes`](Self#structfield.block_cache_bytes).
    #[must_use]
    pub fn block_cache_bytes(mut self, block_cache_bytes: usize) -> Self {
        self.block_cache_bytes = block_cache_bytes;
        self
    }

    /// The same with another [`compaction_threads`](Self#structfield.compaction_threads).
    #[must_use]
    pub fn compaction_threads(mut self, compaction_threads: u32) -> Self {
        self.compaction_threads = compaction_threads;
        self
    }

    /// The same with another [`max_open_files`](Self#structfield.max_open_files).
    #[must_use]
    pub fn max_open_files(mut self, max_open_files: u32) -> Self {
        self.max_open_files = max_open_files;
        self
    }

    /// The defaults, with such a block cache, and as much less memory for compactions as befits it.
    pub(crate) fn within(block_cache_bytes: usize) -> Self {
        let usual = Self::default();
        let threads = if block_cache_bytes < ONE_THREAD_BELOW_BYTES { 1 } else { usual.compaction_threads };
        Self { block_cache_bytes, compaction_threads: threads, ..usual }
    }
}

impl Default for RocksOptions {
    fn default() -> Self {
        Self { block_cache_bytes: 64 << 20, compaction_threads: 2, max_open_files: 512 }
    }
}

/// Everything that RocksDB is opened with. Kept, because a column family or a sorted file may be made later.
pub(super) struct Tuning {
    pub(super) cache: Cache,
    pub(super) database: Options,
    pub(super) family: Options,
    pub(super) writer: Options,
    pub(super) read: ReadOptions,
}

impl Tuning {
    pub(super) fn new(options: &RocksOptions) -> Self {
        Self::with_cache(options, cache(options.block_cache_bytes))
    }

    /// The same with a cache that others have, too: blocks are known by the file that they are of, whoever has it open.
    pub(super) fn with_cache(options: &RocksOptions, cache: Cache) -> Self {
        let family = family(&cache, options);
        Self {
            database: database(options),
            writer: family.clone(),
            family,
            cache,
            read: ReadOptions::default(),
        }
    }
}

fn database(options: &RocksOptions) -> Options {
    let threads = i32::try_from(options.compaction_threads.max(1)).unwrap_or(i32::MAX);
    let mut database = Options::default();
    database.create_if_missing(true);
    database.set_max_background_jobs(threads.saturating_add(1));
    database.set_max_subcompactions(options.compaction_threads.max(1));
    database.set_max_open_files(i32::try_from(options.max_open_files).unwrap_or(i32::MAX));
    // Opening takes the counts of some twenty files, however many there are. Skipping that would make the
    // estimate of rows 0 after every reopen.
    database.set_skip_stats_update_on_db_open(false);
    // A compaction has a buffer for each file that it reads or writes.
    let buffer_bytes = (options.block_cache_bytes / 64).clamp(64 << 10, 256 << 10);
    database.set_compaction_readahead_size(buffer_bytes);
    database.set_writable_file_max_buffer_size(buffer_bytes as u64);
    database.set_bytes_per_sync(1 << 20);
    database.set_max_manifest_file_size(4 << 20);
    database.set_keep_log_file_num(2);
    database.set_max_log_file_size(1 << 20);
    database.set_log_level(LogLevel::Warn);
    database.set_stats_dump_period_sec(0);
    database.set_stats_persist_period_sec(0);
    database.enable_statistics();
    database.set_statistics_level(StatsLevel::ExceptHistogramOrTimers);
    database
}

fn family(cache: &Cache, options: &RocksOptions) -> Options {
    let mut family = Options::default();
    family.set_block_based_table_factory(&blocks(cache));
    // IMPORTANT: if the last level is given a compression of its own, every drain is written with that one.
    family.set_compression_type(DBCompressionType::Lz4);
    family.set_level_compaction_dynamic_level_bytes(true);
    family.set_max_bytes_for_level_base(256 << 20);
    // The filters of a file are in memory until it is complete: a byte or two for each row.
    family.set_target_file_size_base(options.block_cache_bytes.clamp(4 << 20, 32 << 20) as u64);
    family.set_level_zero_file_num_compaction_trigger(COMPACT_FROM_FILES.cast_signed());
    family.set_level_zero_slowdown_writes_trigger(NEVER_FILES);
    family.set_level_zero_stop_writes_trigger(NEVER_FILES);
    family.set_soft_pending_compaction_bytes_limit(0);
    family.set_hard_pending_compaction_bytes_limit(0);
    // NOTE: level 0 is not pinned in the cache. RocksDB would pin files up to one and a half times this size
    // only, and a level 0 of large files would take the budget that reads need.
    // Nothing is ever written to the memtable.
    family.set_write_buffer_size(64 << 10);
    family.set_arena_block_size(4 << 10);
    family
}

/// Half of each shard of the cache is kept for filters and indexes.
pub(super) fn cache(bytes: usize) -> Cache {
    let mut options = LruCacheOptions::default();
    options.set_capacity(bytes);
    options.set_num_shard_bits(shard_bits(bytes));
    Cache::new_lru_cache_opts(&options)
}

/// As many shards as keep queries and the fold out of each other's way, but none smaller than a mebibyte, which would be
/// too small for the blocks it gets. With 64 shards instead of 16 the 99th percentile of cold reads beside a fold at
/// full speed went from 32 us to 11 us.
fn shard_bits(bytes: usize) -> i32 {
    let mebibytes = (bytes >> 20).max(1);
    i32::try_from(mebibytes.ilog2()).unwrap_or(0).clamp(2, 6)
}

fn blocks(cache: &Cache) -> BlockBasedOptions {
    let mut blocks = BlockBasedOptions::default();
    blocks.set_block_cache(cache);
    blocks.set_block_size(4 << 10);
    blocks.set_bloom_filter(10.0, false);
    blocks.set_whole_key_filtering(true);
    blocks.set_optimize_filters_for_memory(true);
    // A whole filter or index is one block of megabytes: a cache that is short of room would read it again
    // for every row. Partitions are small, and what leads to them stays. Partitions of 16 KiB make a read out
    // of a cache of a sixth of the state 15 % cheaper than partitions of 4 KiB.
    blocks.set_index_type(BlockBasedIndexType::TwoLevelIndexSearch);
    blocks.set_partition_filters(true);
    blocks.set_metadata_block_size(16 << 10);
    blocks.set_cache_index_and_filter_blocks(true);
    blocks.set_pin_top_level_index_and_filter(true);
    blocks
}
