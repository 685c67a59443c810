//! RocksDB by hand: what one writes without millpond, with the options that its documents recommend.

use super::Outcome;
use rocksdb::{BlockBasedOptions, Cache, DB, DBCompressionType, Options, WriteOptions};
use std::path::Path;

/// Opens a database in `dir` with a block cache of `cache_bytes`.
pub fn open(dir: &Path, cache_bytes: usize) -> Outcome<DB> {
    let mut blocks = BlockBasedOptions::default();
    blocks.set_block_cache(&Cache::new_lru_cache(cache_bytes));
    blocks.set_bloom_filter(10.0, false);
    blocks.set_cache_index_and_filter_blocks(true);
    blocks.set_pin_l0_filter_and_index_blocks_in_cache(true);
    let mut options = Options::default();
    options.create_if_missing(true);
    options.set_block_based_table_factory(&blocks);
    options.set_compression_type(DBCompressionType::Lz4);
    options.set_level_compaction_dynamic_level_bytes(true);
    options.increase_parallelism(2);
    options.set_bytes_per_sync(1 << 20);
    Ok(DB::open(&options, dir)?)
}

/// Writes without a log: the changelog is the log.
pub fn without_log() -> WriteOptions {
    let mut options = WriteOptions::default();
    options.disable_wal(true);
    options
}
