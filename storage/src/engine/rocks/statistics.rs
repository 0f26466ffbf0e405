//! Figures about the database, for INFO and for back-pressure.

use super::open::Rocks;
use rocksdb::properties;
use rocksdb::statistics::Ticker;

/// What RocksDB has done since it was opened, and how it stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Tables and write-ahead log.
    pub disk_bytes: u64,
    pub table_bytes: u64,
    /// What would be left after a full compaction, about.
    pub live_bytes: u64,
    pub memtable_bytes: u64,
    pub cache_bytes: u64,
    pub cache_hits: u64,
    pub cache_misses: u64,
    /// Reads that a bloom filter made unnecessary.
    pub filter_hits: u64,
    /// Keys and values as handed in.
    pub payload_bytes_written: u64,
    pub wal_bytes_written: u64,
    pub flush_bytes_written: u64,
    pub compaction_bytes_written: u64,
    pub pending_compaction_bytes: u64,
    pub running_compactions: u64,
    pub stalled_us: u64,
    pub background_errors: u64,
}

/// What RocksDB has still to do because of what was written. It slows writers down from 20 files in the lowest level
/// on, and when three of a family's memtables are full; it stops them at 36 files, and at four.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Tables in the lowest level of the family that has most of them.
    pub level_0_files: u64,
    /// Memtables of the family with most of them that wait to be flushed.
    pub full_memtables: u64,
    pub compaction_bytes: u64,
    /// What RocksDB allows now; zero if it does not slow anybody down.
    pub delayed_bytes_per_second: u64,
    pub is_stopped: bool,
}

impl Rocks {
    pub fn statistics(&self) -> Statistics {
        let ticker = |ticker| self.options.get_ticker_count(ticker);
        Statistics {
            disk_bytes: self.disk_bytes(),
            table_bytes: self.sum(properties::TOTAL_SST_FILES_SIZE),
            live_bytes: self.sum(properties::ESTIMATE_LIVE_DATA_SIZE),
            memtable_bytes: self.sum(properties::CUR_SIZE_ALL_MEM_TABLES),
            cache_bytes: self.memory.cache.get_usage() as u64,
            cache_hits: ticker(Ticker::BlockCacheHit),
            cache_misses: ticker(Ticker::BlockCacheMiss),
            filter_hits: ticker(Ticker::BloomFilterUseful),
            payload_bytes_written: ticker(Ticker::BytesWritten),
            wal_bytes_written: ticker(Ticker::WalFileBytes),
            flush_bytes_written: ticker(Ticker::FlushWriteBytes),
            compaction_bytes_written: ticker(Ticker::CompactWriteBytes),
            pending_compaction_bytes: self.sum(properties::ESTIMATE_PENDING_COMPACTION_BYTES),
            running_compactions: self.whole(properties::NUM_RUNNING_COMPACTIONS),
            stalled_us: ticker(Ticker::StallMicros),
            background_errors: self.whole(properties::BACKGROUND_ERRORS),
        }
    }

    /// What the files of the data directory take.
    pub fn disk_bytes(&self) -> u64 {
        let Ok(files) = std::fs::read_dir(self.db.path()) else { return 0 };
        files.flatten().filter_map(|file| file.metadata().ok()).map(|metadata| metadata.len()).sum()
    }

    /// How far flushes and compactions are behind what is written.
    pub fn backlog(&self) -> Backlog {
        let level_0 = properties::num_files_at_level(0);
        Backlog {
            level_0_files: self.most(&level_0),
            full_memtables: self.most(properties::NUM_IMMUTABLE_MEM_TABLE),
            compaction_bytes: self.sum(properties::ESTIMATE_PENDING_COMPACTION_BYTES),
            delayed_bytes_per_second: self.whole(properties::ACTUAL_DELAYED_WRITE_RATE),
            is_stopped: self.whole(properties::IS_WRITE_STOPPED) > 0,
        }
    }

    /// Tables per level, of all families together, the lowest level first.
    pub fn level_files(&self) -> Vec<u64> {
        let files = |family: &str, level: usize| {
            let family = self.db.cf_handle(family)?;
            let text = self.db.property_value_cf(family, properties::num_files_at_level(level)).ok().flatten()?;
            text.trim().parse::<u64>().ok()
        };
        let families = || super::layout::FAMILIES.iter().copied().chain(["default"]);
        let level = |level| families().map(|family| files(family, level)).sum::<Option<u64>>();
        // A level that does not exist has no such property.
        (0..).map_while(level).collect()
    }

    /// The largest value that a property has among the families.
    fn most(&self, name: &properties::PropName) -> u64 {
        let one = |family: &str| {
            let family = self.db.cf_handle(family)?;
            self.db.property_value_cf(family, name).ok().flatten()?.trim().parse::<u64>().ok()
        };
        super::layout::FAMILIES.iter().copied().filter_map(one).max().unwrap_or(0)
    }

    /// Whether RocksDB slows writers down or holds them up: whoever can should make fewer.
    pub fn is_stalled(&self) -> bool {
        self.whole(properties::IS_WRITE_STOPPED) > 0 || self.whole(properties::ACTUAL_DELAYED_WRITE_RATE) > 0
    }

    fn whole(&self, name: &properties::PropName) -> u64 {
        self.db.property_int_value(name).ok().flatten().unwrap_or(0)
    }

    pub(super) fn sum(&self, name: &properties::PropName) -> u64 {
        let one = |family: &str| {
            let family = self.db.cf_handle(family)?;
            self.db.property_int_value_cf(family, name).ok().flatten()
        };
        super::layout::FAMILIES.iter().copied().chain(["default"]).filter_map(one).sum()
    }
}
