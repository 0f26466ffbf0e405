//! Writes a dump to its file: first under another name, and renamed when all of it is on the disk.

use crate::server::Server;
use crate::version::REDIS_VERSION;
use basalt_storage::effect::DbIndex;
use basalt_storage::keyspace::dump::{Dump, Form, LastUse, Piece};
use basalt_storage::rdb::file_writer::Writer;
use basalt_storage::rdb::save::Compression;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// A delay for tests is slept in pieces of this length, so that a dump can be given up meanwhile.
const DELAY_SLICE: Duration = Duration::from_millis(10);

/// Why a dump was not written.
#[derive(Debug, thiserror::Error)]
pub enum SaveError {
    #[error("{step}: {source}")]
    Io { step: &'static str, source: io::Error },
    #[error("it was given up")]
    Cancelled,
}

pub fn failed(step: &'static str) -> impl Fn(io::Error) -> SaveError {
    move |source| SaveError::Io { step, source }
}

/// What the settings say about the form of dumps.
pub fn form(server: &Server) -> Form {
    let policy = server.config.text("maxmemory-policy");
    let last_use = if policy.ends_with("-lru") {
        LastUse::IdleTime
    } else if policy.ends_with("-lfu") {
        LastUse::Frequency { decay_time: server.config.int("lfu-decay-time") as usize }
    } else {
        LastUse::Nothing
    };
    Form { compression: compression(server), last_use }
}

pub fn compression(server: &Server) -> Compression {
    if server.config.is_yes("rdbcompression") { Compression::Lzf } else { Compression::None }
}

/// The name under which a dump is written until it is complete, in the working directory as the dump itself.
pub fn temporary_path() -> PathBuf {
    format!("temp-{}.rdb", std::process::id()).into()
}

/// Writes a whole dump to the file that `dbfilename` names. If that fails, the old file is still there.
pub fn write(server: &Server, dump: &mut Dump) -> Result<(), SaveError> {
    replace_file(server, |file| write_to(server, dump, file))
}

/// Writes a dump without any entries.
pub fn write_empty(server: &Server) -> Result<(), SaveError> {
    replace_file(server, |file| {
        let written = failed("writing the file");
        let mut writer = Writer::new(file, compression(server)).map_err(&written)?;
        write_facts(server, &mut writer).map_err(&written)?;
        writer.finish().map_err(&written)
    })
}

/// Lets `write` fill a new file, and puts it in the place of the old one when it is on the disk.
pub fn replace_file(server: &Server, write: impl FnOnce(File) -> Result<File, SaveError>) -> Result<(), SaveError> {
    let temporary = temporary_path();
    let result = File::create(&temporary).map_err(failed("creating the file")).and_then(write).and_then(|file| {
        file.sync_all().map_err(failed("syncing the file"))?;
        std::fs::rename(&temporary, server.config.text("dbfilename")).map_err(failed("renaming the file"))?;
        let directory = File::open(".").map_err(failed("opening the directory"))?;
        directory.sync_all().map_err(failed("syncing the directory"))
    });
    if result.is_err() {
        // It may not even exist; what is left of it is overwritten by the next dump.
        let _ = std::fs::remove_file(&temporary);
    }
    result
}

fn write_to(server: &Server, dump: &mut Dump, file: File) -> Result<File, SaveError> {
    let written = failed("writing the file");
    let mut writer = Writer::new(file, compression(server)).map_err(&written)?;
    write_facts(server, &mut writer).map_err(&written)?;
    for size in &dump.sizes {
        // Entries come in the order in which they are met: their databases are told again then.
        writer.database(size.db.0.into(), size.keys, size.volatile).map_err(&written)?;
    }
    let mut selected = None;
    while let Some(piece) = dump.next_piece(&server.keyspace) {
        let entries = write_piece(&mut writer, piece, &mut selected).map_err(&written)?;
        server.persistence.keys_processed.fetch_add(entries as u64, Relaxed);
        delay(server, entries);
        if server.persistence.is_cancelled.load(Relaxed) {
            return Err(SaveError::Cancelled);
        }
    }
    writer.finish().map_err(&written)
}

pub fn write_facts<W: io::Write>(server: &Server, writer: &mut Writer<W>) -> io::Result<()> {
    writer.aux(b"redis-ver", REDIS_VERSION.as_bytes())?;
    writer.aux(b"redis-bits", usize::BITS.to_string().as_bytes())?;
    writer.aux(b"ctime", (server.now().0 / 1000).to_string().as_bytes())?;
    writer.aux(b"used-mem", crate::memory::used().to_string().as_bytes())?;
    writer.aux(b"aof-base", b"0")
}

/// Writes a piece; returns how many entries were in it.
fn write_piece(writer: &mut Writer<File>, piece: Piece, selected: &mut Option<DbIndex>) -> io::Result<usize> {
    let of = match &piece {
        Piece::Encoded { db, .. } | Piece::Large { db, .. } => *db,
    };
    if *selected != Some(of) {
        writer.select(of.0.into())?;
        *selected = Some(of);
    }
    match piece {
        Piece::Encoded { bytes, entries, .. } => {
            writer.encoded(&bytes)?;
            Ok(entries)
        }
        Piece::Large { key, value, expiry, access, .. } => {
            writer.entry(&key, &value, expiry, access)?;
            Ok(1)
        }
    }
}

/// `rdb-key-save-delay`: microseconds to wait after each key, with which tests make dumps last.
fn delay(server: &Server, entries: usize) {
    let us = u64::try_from(server.config.int("rdb-key-save-delay")).unwrap_or(0);
    let mut left = Duration::from_micros(us) * entries as u32;
    while !left.is_zero() && !server.persistence.is_cancelled.load(Relaxed) {
        let slice = left.min(DELAY_SLICE);
        std::thread::sleep(slice);
        left -= slice;
    }
}
