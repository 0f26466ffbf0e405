//! How RocksDB is set up for this work.
//!
//! Memory: the block cache has the whole budget, and memtables, filters and index blocks are charged to it. Space:
//! lz4 where data moves often, zstd where it rests. Safety: everything that checks is on, and a log that ends torn is
//! cut where it tore. Compaction is rate-limited, so that reads and fsyncs get through.

use super::layout::{COUNTS, DUE, GARBAGE, KEYS, LOG, PARTS, SLOT_PREFIX, VERSION_PREFIX};
use rocksdb::WriteBufferManager;
use rocksdb::statistics::StatsLevel;
use rocksdb::{
    BlockBasedOptions, BottommostLevelCompaction, Cache, CompactOptions, DBCompressionType, DBRecoveryMode, LogLevel,
    Options, SliceTransform,
};

const MIB: usize = 1 << 20;

/// What the operator decides about.
#[derive(Clone, Copy, Debug)]
pub struct RocksOptions {
    /// Block cache, filters and memtables together.
    pub memory_bytes: usize,
    /// What flushes and compactions write at most.
    pub background_bytes_per_second: u64,
    /// From this size on the oldest part of the write-ahead log is made unnecessary by flushing.
    pub wal_bytes_max: u64,
    pub background_jobs: i32,
}

impl Default for RocksOptions {
    fn default() -> RocksOptions {
        RocksOptions {
            memory_bytes: 256 * MIB,
            background_bytes_per_second: 128 * MIB as u64,
            wal_bytes_max: 256 * MIB as u64,
            background_jobs: 2,
        }
    }
}

/// The part of the budget that memtables may take before the largest is flushed.
const MEMTABLES_PART: usize = 3;
const BITS_PER_KEY: f64 = 10.0;

/// The budget as RocksDB sees it; shared by all families.
pub(super) struct Memory {
    pub cache: Cache,
    pub memtables: WriteBufferManager,
}

impl Memory {
    pub fn new(options: &RocksOptions) -> Memory {
        let cache = Cache::new_lru_cache(options.memory_bytes);
        let memtables = WriteBufferManager::new_write_buffer_manager_with_cache(
            options.memory_bytes / MEMTABLES_PART,
            false,
            cache.clone(),
        );
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
    db.set_max_total_wal_size(options.wal_bytes_max);
    db.set_bytes_per_sync(MIB as u64);
    db.set_wal_bytes_per_sync(MIB as u64);
    db.set_write_buffer_manager(&memory.memtables);
    db.set_max_background_jobs(options.background_jobs);
    let rate = i64::try_from(options.background_bytes_per_second).unwrap_or(i64::MAX);
    db.set_ratelimiter(rate, 100_000, 10);
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
    blocks.set_format_version(5);
    blocks.set_block_size(8 << 10);
    let memtable_bytes = (options.memory_bytes / MEMTABLES_PART / 4).clamp(MIB, 64 * MIB);
    family.set_write_buffer_size(memtable_bytes);
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
            family.set_memtable_prefix_bloom_ratio(0.02);
        }
        // Entries are deleted soon after they were written; packing them tightly would be wasted.
        LOG => family.set_bottommost_compression_type(DBCompressionType::Lz4),
        DUE | COUNTS | GARBAGE => family.set_write_buffer_size((memtable_bytes / 4).max(MIB)),
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
