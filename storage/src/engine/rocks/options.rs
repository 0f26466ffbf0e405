//! How RocksDB is set up for this work.
//!
//! Memory: the block cache has the whole budget, and memtables, filters and index blocks are charged to it. Space:
//! lz4 where data moves often, zstd where it rests. Safety: everything that checks is on, and a log that ends torn is
//! cut where it tore. Compaction is rate-limited, so that reads and fsyncs get through.

use super::layout::{KEYS, LOG, PARTS, SLOT_PREFIX, VERSION_PREFIX};
use rocksdb::WriteBufferManager;
use rocksdb::statistics::StatsLevel;
use rocksdb::{
    BlockBasedIndexType, BlockBasedOptions, BottommostLevelCompaction, Cache, CompactOptions, DBCompressionType,
    DBRecoveryMode, LogLevel, Options, SliceTransform,
};

const MIB: usize = 1 << 20;

/// What the operator decides about.
#[derive(Clone, Copy, Debug)]
pub struct RocksOptions {
    /// Block cache, filters and memtables together.
    pub memory_bytes: usize,
    /// What flushes and compactions write at most.
    pub background_bytes_per_second: u64,
    /// What write-ahead logs may take. They are made unnecessary by flushing before.
    pub wal_bytes_max: u64,
    pub background_jobs: i32,
}

impl Default for RocksOptions {
    fn default() -> RocksOptions {
        RocksOptions {
            memory_bytes: 256 * MIB,
            background_bytes_per_second: 512 * MIB as u64,
            wal_bytes_max: 256 * MIB as u64,
            background_jobs: 2,
        }
    }
}

/// The part of the budget that memtables may take, about.
const MEMTABLES_PART: usize = 3;

impl RocksOptions {
    /// What the state, or the log, grows by before it is flushed; memtables of both are kept while that is done.
    pub(super) fn flush_bytes(&self) -> u64 {
        let memory = (self.memory_bytes / MEMTABLES_PART / 4).clamp(MIB, 64 * MIB) as u64;
        memory.min((self.wal_bytes_max / 8).max(MIB as u64 / 2))
    }
}
const BITS_PER_KEY: f64 = 10.0;

/// RocksDB never flushes by itself: [`super::saving`] has everything flushed long before any of RocksDB's own bounds.
const MEMTABLE_BYTES_MAX: usize = 64 << 30;

/// How large the filter of a memtable is, compared to what is written between two flushes.
const MEMTABLE_BLOOM_PART: f64 = 0.02;

/// The budget as RocksDB sees it; shared by all families.
pub(super) struct Memory {
    pub cache: Cache,
    pub memtables: WriteBufferManager,
}

impl Memory {
    pub fn new(options: &RocksOptions) -> Memory {
        let cache = Cache::new_lru_cache(options.memory_bytes);
        // Without a bound of its own: it charges memtables to the cache, and `saving` bounds them.
        let memtables = WriteBufferManager::new_write_buffer_manager_with_cache(0, false, cache.clone());
        Memory { cache, memtables }
    }
}

/// Options of the whole database.
pub(super) fn database(options: &RocksOptions, memory: &Memory) -> Options {
    let mut db = Options::default();
    db.create_if_missing(true);
    db.create_missing_column_families(true);
    db.set_paranoid_checks(true);
    db.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
    db.set_track_and_verify_wals_in_manifest(true);
    // What was written without the write-ahead log is on the disk as it was at one moment.
    db.set_atomic_flush(true);
    db.set_max_total_wal_size(u64::MAX);
    // Bounds nothing, since there is a manager. But it is what a new write-ahead log is given on the disk.
    db.set_db_write_buffer_size(options.flush_bytes() as usize);
    db.set_bytes_per_sync(MIB as u64);
    db.set_wal_bytes_per_sync(MIB as u64);
    db.set_write_buffer_manager(&memory.memtables);
    db.set_max_background_jobs(options.background_jobs);
    let rate = i64::try_from(options.background_bytes_per_second).unwrap_or(i64::MAX);
    db.set_ratelimiter(rate, 20_000, 10);
    db.enable_statistics();
    // Times of single operations cost more than they tell.
    db.set_statistics_level(StatsLevel::ExceptHistogramOrTimers);
    db.set_stats_dump_period_sec(0);
    db.set_log_level(LogLevel::Warn);
    db.set_keep_log_file_num(4);
    db.set_max_log_file_size(16 * MIB);
    db.set_max_open_files(1024);
    db
}

/// Options of one family.
pub(super) fn family(name: &str, options: &RocksOptions, memory: &Memory) -> Options {
    let mut family = Options::default();
    let mut blocks = BlockBasedOptions::default();
    blocks.set_block_cache(&memory.cache);
    blocks.set_cache_index_and_filter_blocks(true);
    blocks.set_pin_l0_filter_and_index_blocks_in_cache(true);
    // In pieces. The filter of a large table is megabytes, more than a shard of the cache may hold: it would be read
    // and checked anew for every key that is looked for.
    blocks.set_index_type(BlockBasedIndexType::TwoLevelIndexSearch);
    blocks.set_partition_filters(true);
    blocks.set_pin_top_level_index_and_filter(true);
    blocks.set_format_version(5);
    blocks.set_block_size(8 << 10);
    family.set_write_buffer_size(MEMTABLE_BYTES_MAX);
    family.set_max_write_buffer_number(4);
    family.set_level_compaction_dynamic_level_bytes(true);
    family.set_compression_type(DBCompressionType::Lz4);
    family.set_bottommost_compression_type(DBCompressionType::Zstd);
    match name {
        KEYS | PARTS => {
            blocks.set_bloom_filter(BITS_PER_KEY, false);
            blocks.set_whole_key_filtering(true);
            let prefix = if name == KEYS { SLOT_PREFIX } else { VERSION_PREFIX };
            family.set_prefix_extractor(SliceTransform::create_fixed_prefix(prefix));
            family.set_memtable_whole_key_filtering(true);
            let bloom_bytes = options.flush_bytes() as f64 * MEMTABLE_BLOOM_PART;
            family.set_memtable_prefix_bloom_ratio(bloom_bytes / MEMTABLE_BYTES_MAX as f64);
        }
        // Entries are deleted soon after they were written; packing them tightly would be wasted.
        LOG => family.set_bottommost_compression_type(DBCompressionType::Lz4),
        _ => {}
    }
    family.set_block_based_table_factory(&blocks);
    family
}

/// For a compaction that is to leave nothing of what was deleted.
pub(super) fn whole_compaction() -> CompactOptions {
    let mut options = CompactOptions::default();
    options.set_exclusive_manual_compaction(false);
    options.set_bottommost_level_compaction(BottommostLevelCompaction::Force);
    options
}
