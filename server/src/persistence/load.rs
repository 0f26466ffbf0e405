//! Reads a dump into the keyspace: when the server starts, and for DEBUG RELOAD.

use crate::server::Server;
use basalt_storage::access;
use basalt_storage::effect::DbIndex;
use basalt_storage::entry::Stamp;
use basalt_storage::keyspace::{Key, View};
use basalt_storage::rdb::file::{self, Access, Record};
use basalt_storage::rdb::values::{Builder, Limits};
use basalt_storage::slot::StripeSet;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::time::{Duration, Instant};

/// What was in a dump.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    pub keys: u64,
    /// Keys that were left out since they are due.
    pub expired: u64,
}

/// Why a dump was not loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("{0}")]
    Open(#[from] io::Error),
    #[error("{0}")]
    File(#[from] file::FileError),
    #[error("the file needs database {0}, and `databases` says that there are fewer")]
    NoSuchDatabase(u32),
    #[error("the file has the key '{key}' of database {db} twice")]
    Duplicate { db: u32, key: String },
}

/// Whether keys may be there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// The file's entries replace them.
    Replaced,
    /// There are none, so a second key of the same name is damage.
    Refused,
}

/// Loads the dump of an earlier run, if there is one. Nobody is served yet.
pub fn at_start(server: &Server) -> Result<(), LoadError> {
    let name = server.config.text("dbfilename");
    let file = match File::open(&name) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    if file.metadata()?.is_dir() {
        return Err(io::Error::from(io::ErrorKind::IsADirectory).into());
    }
    let since = Instant::now();
    let mut view = server.keyspace.lock(StripeSet::ALL, server.now());
    let loaded = load(server, &mut view, BufReader::new(file), Existing::Refused)?;
    drop(view);
    tracing::info!(
        "Done loading RDB, keys loaded: {}, keys expired: {}. DB loaded from disk: {:.3} seconds",
        loaded.keys,
        loaded.expired,
        since.elapsed().as_secs_f64()
    );
    server.persistence.note_loaded(server, loaded);
    Ok(())
}

/// Loads what is in the file that `dbfilename` names.
pub fn from_file(server: &Server, view: &mut View<'_>, existing: Existing) -> Result<Loaded, LoadError> {
    let file = File::open(server.config.text("dbfilename"))?;
    load(server, view, BufReader::new(file), existing)
}

/// Puts all entries of a dump into the keyspace; the view holds all stripes.
pub fn load(server: &Server, view: &mut View<'_>, source: impl Read, existing: Existing) -> Result<Loaded, LoadError> {
    let settings = &server.keyspace.settings;
    let limits = Limits::of(settings);
    let delay = Duration::from_micros(u64::try_from(server.config.int("key-load-delay")).unwrap_or(0));
    let mut reader = file::Reader::new(source)?;
    let mut loaded = Loaded::default();
    while let Some(record) = reader.next_record::<Builder>(&limits)? {
        let entry = match record {
            Record::Entry(entry) => entry,
            Record::Function { .. } => {
                tracing::warn!("the file has a library of functions, which are not supported yet: it is left out");
                continue;
            }
            Record::Aux { .. } | Record::Database { .. } | Record::Sizes { .. } => continue,
        };
        let db = server.keyspace.database(entry.db.into()).ok_or(LoadError::NoSuchDatabase(entry.db))?;
        // What is due by now is gone.
        if entry.expiry.is_some_and(|at| at.is_due(view.now())) {
            loaded.expired += 1;
            continue;
        }
        let key = Key::new(&entry.key);
        if existing == Existing::Refused && view.survives(db, &key) {
            return Err(LoadError::Duplicate { db: entry.db, key: entry.key.escape_ascii().to_string() });
        }
        let stamp = stamp(view, entry.access);
        view.put_stamped(db, &key, entry.value, entry.expiry, stamp);
        loaded.keys += 1;
        if !delay.is_zero() {
            std::thread::sleep(delay);
        }
    }
    Ok(loaded)
}

/// All databases, as DEBUG RELOAD empties them.
pub fn empty(view: &mut View<'_>) {
    for number in 0..view.keyspace().databases() {
        view.flush(DbIndex(number));
    }
}

fn stamp(view: &View<'_>, last_use: Option<Access>) -> Stamp {
    match last_use {
        Some(Access::IdleSeconds(seconds)) => access::lru_idle(seconds, view.now()),
        Some(Access::Frequency(counter)) => access::lfu_counter(counter, view.now()),
        None => access::fresh(&view.keyspace().settings, view.now()),
    }
}
