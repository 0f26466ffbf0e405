//! Reads a dump into the keyspace: at the start ([`super::loading`], [`super::import`]), and for DEBUG RELOAD.

use crate::server::Server;
use basalt_storage::access;
use basalt_storage::effect::DbIndex;
use basalt_storage::entry::Stamp;
use basalt_storage::keyspace::{Key, View};
use basalt_storage::rdb::file::{self, Access, Record};
use basalt_storage::rdb::values::{Builder, Limits};
use basalt_storage::slot::{StripeIndex, StripeSet};
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// What was in a dump.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    pub keys: u64,
    /// Keys that were left out since they are due.
    pub expired: u64,
}

/// What was loaded so far of the dump that is being loaded, or was loaded last.
#[derive(Default)]
pub struct Progress {
    keys: AtomicU64,
    expired: AtomicU64,
}

impl Progress {
    fn reset(&self) {
        self.keys.store(0, Relaxed);
        self.expired.store(0, Relaxed);
    }

    pub fn counts(&self) -> Loaded {
        Loaded { keys: self.keys.load(Relaxed), expired: self.expired.load(Relaxed) }
    }
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

/// Loads what is in the file that `dbfilename` names; the view holds all stripes.
pub fn from_file<'k>(server: &'k Server, view: &mut View<'k>, existing: Existing) -> Result<Loaded, LoadError> {
    let file = File::open(server.config.text("dbfilename"))?;
    load(server, Some(view), BufReader::new(file), existing)
}

/// Puts all entries of a dump into the keyspace. Where no view is held, the stripe of an entry is locked for that entry
/// only, so that nobody who asks about the state meanwhile has to wait.
pub fn load<'k>(
    server: &'k Server,
    mut held: Option<&mut View<'k>>,
    source: impl Read,
    existing: Existing,
) -> Result<Loaded, LoadError> {
    let limits = Limits::of(&server.keyspace.settings);
    let delay = Duration::from_micros(u64::try_from(server.config.int("key-load-delay")).unwrap_or(0));
    let progress = &server.persistence.loaded;
    progress.reset();
    let mut piece = Piece::begin();
    let mut reader = file::Reader::new(source)?;
    while let Some(record) = reader.next_record::<Builder>(&limits)? {
        let entry = match record {
            Record::Entry(entry) => entry,
            Record::Function { .. } => {
                tracing::warn!("the file has a library of functions, which are not supported yet: it is left out");
                continue;
            }
            Record::Aux { name, value } => {
                note_fact(server, &name, &value);
                continue;
            }
            Record::Database { .. } | Record::Sizes { .. } => continue,
        };
        let key = Key::new(&entry.key);
        let db = server.keyspace.database(entry.db.into()).ok_or(LoadError::NoSuchDatabase(entry.db))?;
        let mut own = match held {
            Some(_) => None,
            None => Some(server.keyspace.lock(StripeSet::of(key.slot.stripe()), server.now())),
        };
        let view = held.as_deref_mut().or(own.as_mut()).expect("one of them is there");
        // What is due by now is gone.
        if entry.expiry.is_some_and(|at| at.is_due(view.now())) {
            progress.expired.fetch_add(1, Relaxed);
            continue;
        }
        if existing == Existing::Refused && view.survives(db, &key) {
            return Err(LoadError::Duplicate { db: entry.db, key: entry.key.escape_ascii().to_string() });
        }
        let stamp = stamp(view, entry.access);
        view.put_loaded(db, &key, entry.value, entry.expiry, stamp);
        progress.keys.fetch_add(1, Relaxed);
        if own.take().is_some() && piece.is_full() {
            settle(server)?;
            piece = Piece::begin();
        }
        if !delay.is_zero() {
            std::thread::sleep(delay);
        }
    }
    Ok(progress.counts())
}

/// Bytes of memory that are taken in durable mode before what was loaded goes to disk.
const PIECE_BYTES: u64 = 64 << 20;

/// What was loaded since copies in memory were dropped.
struct Piece {
    used_before: u64,
}

impl Piece {
    fn begin() -> Piece {
        Piece { used_before: crate::memory::used() }
    }

    fn is_full(&self) -> bool {
        crate::memory::used() > self.used_before + PIECE_BYTES
    }
}

/// In durable mode: returns when all that was loaded is on disk, and not in memory any more.
pub(super) fn settle(server: &Server) -> Result<(), LoadError> {
    let Some(durability) = server.durability() else { return Ok(()) };
    durability.wait_applied(server.keyspace.proposed()).map_err(io::Error::other)?;
    for stripe in StripeIndex::all() {
        server.keyspace.lock(StripeSet::of(stripe), server.now()).cool_all();
    }
    Ok(())
}

/// What the server that wrote the dump says about itself.
fn note_fact(server: &Server, name: &[u8], value: &[u8]) {
    match name {
        b"redis-ver" => tracing::info!("Loading RDB produced by version {}", value.escape_ascii()),
        b"used-mem" => {
            let bytes = std::str::from_utf8(value).ok().and_then(|digits| digits.parse().ok());
            server.persistence.loading.note_dump_memory(bytes.unwrap_or(0));
        }
        _ => {}
    }
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
