//! The node's one RocksDB instance: opening it, and refusing to when that could do harm.
//!
//! A directory is opened by one process at a time, and only if its layout is one that this code knows. Whatever is
//! wrong is said with the path and with what can be done about it.

use super::layout::{FAMILIES, LAYOUT_PROPERTY, LAYOUT_VERSION};
use super::options::{self, Memory, RocksOptions};
use super::saving::{Saver, Saving};
use super::wal::{self, Numbers};
use parking_lot::Mutex;
use rocksdb::{ColumnFamily, ColumnFamilyDescriptor, DB, ErrorKind, Options};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The database of this node: the logs and the states of all its groups.
pub struct Rocks {
    /// Before the database, so that it ends first.
    _saver: Saver,
    pub(super) saving: Arc<Saving>,
    pub(super) db: Arc<DB>,
    /// Keeps the statistics, which belong to the options.
    pub(super) options: Options,
    pub(super) memory: Memory,
    pub(super) numbers: Numbers,
    /// Held by whoever gives out a store.
    pub(super) store_numbers: Mutex<()>,
}

/// Why a data directory was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("cannot {action} the data directory {path}: {source}{hint}")]
    Directory { path: PathBuf, action: &'static str, hint: String, source: io::Error },
    #[error(
        "the data directory {path} is in use by another process; stop that process, or give this one a directory of \
         its own"
    )]
    InUse { path: PathBuf },
    /// Written by a version of this software from before its first release.
    #[error(
        "{path} has layout {found}, which no released version has written: save an RDB file with the version that \
             wrote it, and load that"
    )]
    OlderLayout { path: PathBuf, found: u32 },
    #[error(
        "the data directory {path} has layout {found}, and this version knows layouts up to {known}; use the version \
         that wrote it, or a later one"
    )]
    NewerLayout { path: PathBuf, found: u32, known: u32 },
    #[error(
        "the data directory {path} holds a database that is not one of ours; choose another directory, or empty this \
         one if nothing in it is needed"
    )]
    Foreign { path: PathBuf },
    #[error(
        "the data directory {path} is damaged: {detail}; nothing was changed. Restore it from a backup, or let this \
         node start with an empty directory if its data can be had elsewhere"
    )]
    Corrupt { path: PathBuf, detail: String },
    #[error("cannot open the data directory {path}: {detail}")]
    Database { path: PathBuf, detail: String },
}

impl Rocks {
    /// Opens the database in `directory`, which is made if there is none.
    pub fn open(directory: &Path, options: &RocksOptions) -> Result<Arc<Rocks>, OpenError> {
        check_directory(directory)?;
        let is_new = !directory.join("CURRENT").exists();
        let memory = Memory::new(options);
        let db_options = options::database(options, &memory);
        if !is_new {
            check_wal(directory)?;
            check_families(directory, &db_options)?;
        }
        let families = FAMILIES
            .iter()
            .map(|name| ColumnFamilyDescriptor::new(*name, options::family(name, options, &memory)))
            .chain([ColumnFamilyDescriptor::new("default", options::family("default", options, &memory))]);
        let db =
            DB::open_cf_descriptors(&db_options, directory, families).map_err(|error| classify(directory, &error))?;
        // Nothing was written yet if this is new, or if the first start ended right after the families were made.
        if layout(directory, &db)?.is_none() {
            db.put(LAYOUT_PROPERTY, LAYOUT_VERSION.to_be_bytes()).map_err(|error| classify(directory, &error))?;
        }
        let (db, saving) = (Arc::new(db), Saving::new(directory, options));
        let saver = Saver::start(&saving, &db).map_err(|error| {
            let detail = format!("the system refused a thread: {error}");
            OpenError::Database { path: directory.into(), detail }
        })?;
        Ok(Arc::new(Rocks {
            _saver: saver,
            saving,
            db,
            options: db_options,
            memory,
            numbers: Numbers::new(),
            store_numbers: Mutex::default(),
        }))
    }

    pub(super) fn family(&self, name: &str) -> &ColumnFamily {
        self.db.cf_handle(name).expect("all families were opened")
    }
}

/// Tries what will be needed, because RocksDB's own messages tell less.
fn check_directory(directory: &Path) -> Result<(), OpenError> {
    let failed = |action| {
        move |source: io::Error| {
            let hint = hint(directory, &source);
            OpenError::Directory { path: directory.into(), action, hint, source }
        }
    };
    fs::create_dir_all(directory).map_err(failed("create"))?;
    sync_name(directory).map_err(failed("sync"))?;
    fs::read_dir(directory).map_err(failed("read"))?;
    let probe = directory.join(format!("probe-{}", std::process::id()));
    OpenOptions::new().write(true).create(true).truncate(true).open(&probe).map_err(failed("write to"))?;
    fs::remove_file(&probe).map_err(failed("write to"))
}

/// RocksDB syncs what is in its directory, and not the directory's own name: without that all of it can be gone when
/// the power goes. Done at each start, since an earlier one may have ended between making the directory and this.
fn sync_name(directory: &Path) -> io::Result<()> {
    let Some(parent) = directory.canonicalize()?.parent().map(Path::to_path_buf) else { return Ok(()) };
    match File::open(parent) {
        Ok(parent) => parent.sync_all(),
        // Whoever may not look into it has not just made something in it.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        Err(error) => Err(error),
    }
}

fn hint(directory: &Path, source: &io::Error) -> String {
    match source.kind() {
        io::ErrorKind::PermissionDenied => {
            let owner = fs::metadata(directory).map(|metadata| format!("; it belongs to user {}", metadata.uid()));
            format!("{}; run as its owner, or change the owner", owner.unwrap_or_default())
        }
        io::ErrorKind::ReadOnlyFilesystem => "; mount it for writing, or choose another directory".to_owned(),
        io::ErrorKind::StorageFull => "; make room on the volume".to_owned(),
        _ => String::new(),
    }
}

/// RocksDB would forget what lies behind the damage.
fn check_wal(directory: &Path) -> Result<(), OpenError> {
    let path = || directory.to_path_buf();
    match wal::check(directory) {
        Ok(Ok(())) => Ok(()),
        Ok(Err(detail)) => Err(OpenError::Corrupt { path: path(), detail }),
        // RocksDB in another process deletes its logs when it needs them no more.
        Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => {
            let hint = hint(directory, &source);
            Err(OpenError::Directory { path: path(), action: "read", hint, source })
        }
    }
}

/// If the families are not ours, finds out why before anything is changed: it may be a newer layout.
fn check_families(directory: &Path, options: &Options) -> Result<(), OpenError> {
    let there = DB::list_cf(options, directory).map_err(|error| classify(directory, &error))?;
    let ours = |name: &String| name == "default" || FAMILIES.contains(&name.as_str());
    if there.len() == FAMILIES.len() + 1 && there.iter().all(ours) {
        return Ok(());
    }
    let db =
        DB::open_for_read_only(&Options::default(), directory, false).map_err(|error| classify(directory, &error))?;
    layout(directory, &db).map(drop)
}

/// The layout of what is there, if anything is, and if it is one that can be used.
fn layout(directory: &Path, db: &DB) -> Result<Option<u32>, OpenError> {
    let path = || directory.to_path_buf();
    let found = db.get(LAYOUT_PROPERTY).map_err(|error| classify(directory, &error))?;
    match found.map(|bytes| <[u8; 4]>::try_from(&bytes[..]).map(u32::from_be_bytes)) {
        Some(Ok(LAYOUT_VERSION)) => Ok(Some(LAYOUT_VERSION)),
        Some(Ok(found)) if found < LAYOUT_VERSION => Err(OpenError::OlderLayout { path: path(), found }),
        Some(Ok(found)) => Err(OpenError::NewerLayout { path: path(), found, known: LAYOUT_VERSION }),
        Some(Err(_)) => Err(OpenError::Corrupt { path: path(), detail: "its layout is no number".to_owned() }),
        None if db.latest_sequence_number() == 0 => Ok(None),
        None => Err(OpenError::Foreign { path: path() }),
    }
}

fn classify(directory: &Path, error: &rocksdb::Error) -> OpenError {
    let (path, detail) = (directory.to_path_buf(), error.to_string());
    match error.kind() {
        ErrorKind::Corruption => OpenError::Corrupt { path, detail },
        ErrorKind::IOError if detail.contains("LOCK") || detail.contains("lock hold") => OpenError::InUse { path },
        // A file that is listed and not there.
        ErrorKind::IOError if detail.contains("No such file") => OpenError::Corrupt { path, detail },
        _ => OpenError::Database { path, detail },
    }
}
