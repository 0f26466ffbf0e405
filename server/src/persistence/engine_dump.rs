//! A dump in durable mode: what the engine holds at one log entry, entry by entry, without a lock.

use super::file::{SaveError, compression, failed, replace_file, write_facts};
use crate::durability::Durability;
use crate::durability::groups::Led;
use crate::server::Server;
use basalt_storage::effect::DbIndex;
use basalt_storage::engine::{EngineError, EngineSnapshot, SlotCounts};
use basalt_storage::rdb::file_writer::Writer;
use basalt_storage::rdb::values::Limits;
use basalt_storage::seq::Seq;
use std::fs::File;
use std::io;
use std::sync::atomic::Ordering::Relaxed;

impl From<EngineError> for SaveError {
    fn from(error: EngineError) -> SaveError {
        SaveError::Io { step: "reading the data", source: io::Error::other(error) }
    }
}

/// Writes all entries to the file that `dbfilename` names, as of a point in time that is not before batch `at`.
pub(super) fn write(server: &Server, at: Seq) -> Result<(), SaveError> {
    let durability = server.durability().expect("only durable mode dumps the engine");
    durability.wait_applied(at).map_err(io::Error::other).map_err(failed("waiting for the data"))?;
    replace_file(server, |file| write_to(server, durability, file))
}

fn write_to(server: &Server, durability: &Durability, file: File) -> Result<File, SaveError> {
    let written = failed("writing the file");
    let led = durability.groups.led();
    let snapshots: Vec<_> = led.iter().map(|led| (led, led.engine.snapshot())).collect();
    let limits = Limits::of(&server.keyspace.settings);
    let mut writer = Writer::new(file, compression(server)).map_err(&written)?;
    write_facts(server, &mut writer).map_err(&written)?;
    for (led, snapshot, db, counts) in snapshots.iter().flat_map(|(led, snapshot)| with_databases(led, snapshot)) {
        writer.database(db.0.into(), counts.entries, counts.volatile).map_err(&written)?;
        snapshot.entries(db, &limits, |key, loaded| {
            server.persistence.keys_processed.fetch_add(1, Relaxed);
            if server.persistence.is_cancelled.load(Relaxed) {
                return Err(SaveError::Cancelled);
            }
            if !led.shows(key) {
                return Ok(());
            }
            writer.entry(key, &loaded.value, loaded.expiry, None).map_err(&written)
        })?;
    }
    writer.finish().map_err(&written)
}

/// The databases of a snapshot, each with that snapshot and what it is of.
fn with_databases<'s, 'e>(
    led: &'s Led,
    snapshot: &'s EngineSnapshot<'e>,
) -> impl Iterator<Item = (&'s Led, &'s EngineSnapshot<'e>, DbIndex, SlotCounts)> {
    snapshot.databases().map(move |(db, counts)| (led, snapshot, db, counts))
}
