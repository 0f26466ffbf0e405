//! What disk space the database needs besides the files that are there, and how it gives some back.
//!
//! A flush that finds no room ends all writing, and a log that finds none ends the process. So whoever admits writes
//! has to keep room free for what is already accepted: that is counted here.

use super::layout::FAMILIES;
use super::open::Rocks;
use super::options;
use crate::engine::EngineError;
use rocksdb::properties;
use std::path::Path;

/// What the database may still write without being handed anything further.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Commitments {
    /// Data in memtables, which flushes put into tables.
    pub memtable_bytes: u64,
    /// A compaction writes its result before it deletes what it was made of.
    pub compaction_bytes: u64,
    /// The write-ahead log, most of which goes with a flush.
    pub wal_bytes: u64,
}

/// Compactions of this setup do not take more at once.
const COMPACTION_BYTES_MAX: u64 = 1 << 30;

impl Rocks {
    pub fn directory(&self) -> &Path {
        self.db.path()
    }

    pub fn commitments(&self) -> Commitments {
        Commitments {
            memtable_bytes: self.sum(properties::CUR_SIZE_ALL_MEM_TABLES),
            compaction_bytes: self.table_bytes().min(COMPACTION_BYTES_MAX),
            wal_bytes: self.wal_bytes(),
        }
    }

    /// Writes all memtables into tables, after which no write-ahead log but the last is needed.
    pub fn flush_memtables(&self) -> Result<(), EngineError> {
        self.save()?;
        self.save_log()
    }

    /// Gives back the space of what was deleted, if that takes no more room than is kept for compactions. Takes long.
    pub fn reclaim(&self) -> Result<(), EngineError> {
        self.flush_memtables()?;
        if self.table_bytes() > COMPACTION_BYTES_MAX {
            return Ok(());
        }
        let options = options::whole_compaction();
        // It flushes what came meanwhile.
        self.with_exchanges(|| {
            for name in FAMILIES {
                self.db.compact_range_cf_opt(self.family(name), None::<&[u8]>, None::<&[u8]>, &options);
            }
        });
        Ok(())
    }

    fn table_bytes(&self) -> u64 {
        self.sum(properties::TOTAL_SST_FILES_SIZE)
    }

    fn wal_bytes(&self) -> u64 {
        let Ok(files) = std::fs::read_dir(self.directory()) else { return 0 };
        let logs = files.flatten().filter(|file| file.path().extension().is_some_and(|extension| extension == "log"));
        logs.filter_map(|file| file.metadata().ok()).map(|metadata| metadata.len()).sum()
    }
}
