//! DEBUG RELOAD: all data through an RDB file in memory and back.

use crate::commands::ctx::SessionCtx;
use crate::error::{CommandError, CommandResult};
use crate::resp::Args;
use basalt_storage::access;
use basalt_storage::effect::DbIndex;
use basalt_storage::entry::{EntryRef, Stamp};
use basalt_storage::keyspace::{AccessPolicy, Key, Settings, View};
use basalt_storage::rdb::file::{self, Access, Record};
use basalt_storage::rdb::file_writer::Writer;
use basalt_storage::rdb::save::Compression;
use basalt_storage::rdb::values::{Builder, Limits};
use basalt_storage::slot::StripeSet;
use std::io;

const SAVE_FAILED: CommandError = CommandError::new("ERR Error trying to save the RDB dump, check server logs.");
const LOAD_FAILED: CommandError = CommandError::new("ERR Error trying to load the RDB dump, check server logs.");

/// What the words behind RELOAD ask for.
#[derive(Default)]
struct Options {
    keeps_data: bool,
    merges: bool,
    loads_file: bool,
}

impl Options {
    fn parse(args: Args<'_>) -> Result<Options, CommandError> {
        let mut options = Options::default();
        for at in 1..args.len() {
            let option = match args.at(at) {
                word if word.eq_ignore_ascii_case(b"noflush") => &mut options.keeps_data,
                word if word.eq_ignore_ascii_case(b"merge") => &mut options.merges,
                word if word.eq_ignore_ascii_case(b"nosave") => &mut options.loads_file,
                _ => {
                    return Err(CommandError::new(
                        "ERR DEBUG RELOAD only supports the MERGE, NOFLUSH and NOSAVE options.",
                    ));
                }
            };
            *option = true;
        }
        Ok(options)
    }
}

pub fn reload(ctx: &mut SessionCtx<'_, '_>, args: Args<'_>) -> CommandResult {
    let options = Options::parse(args)?;
    // There is no file to load without saving first, and nothing may be loaded twice unless that is asked for.
    if options.loads_file || (options.keeps_data && !options.merges) {
        return Err(LOAD_FAILED);
    }
    ctx.with_stripes(StripeSet::ALL, |view| {
        let dump = save(view).map_err(|_| SAVE_FAILED)?;
        if !options.keeps_data {
            for number in 0..view.keyspace().databases() {
                view.flush(DbIndex(number));
            }
        }
        load(view, &dump).map_err(|error| {
            tracing::error!(%error, "DEBUG RELOAD cannot read what it has written");
            LOAD_FAILED
        })
    })?;
    ctx.out.ok();
    Ok(())
}

fn save(view: &View<'_>) -> io::Result<Vec<u8>> {
    let keyspace = view.keyspace();
    let mut writer = Writer::new(Vec::new(), Compression::Lzf)?;
    for number in 0..keyspace.databases() {
        let db = DbIndex(number);
        let keys = keyspace.key_count(db);
        if keys == 0 {
            continue;
        }
        writer.database(number.into(), keys, keyspace.volatile_count(db))?;
        let mut result = Ok(());
        view.for_each_entry(db, |entry| {
            if result.is_ok() {
                result = writer.entry(entry.key(), &entry.value(), entry.expiry(), Some(last_use(view, entry)));
            }
        });
        result?;
    }
    writer.finish()
}

fn last_use(view: &View<'_>, entry: EntryRef<'_>) -> Access {
    let settings = &view.keyspace().settings;
    match settings.access_policy() {
        AccessPolicy::Lru => Access::IdleSeconds(access::idle_ms(entry.stamp(), view.now()) / 1000),
        AccessPolicy::Lfu => Access::Frequency(access::frequency(entry.stamp(), settings, view.now())),
    }
}

fn load(view: &mut View<'_>, dump: &[u8]) -> Result<(), file::FileError> {
    let settings = &view.keyspace().settings;
    let limits = Limits::of(settings);
    let mut reader = file::Reader::new(dump)?;
    while let Some(record) = reader.next_record::<Builder>(&limits)? {
        let Record::Entry(entry) = record else { continue };
        // What is due by now is gone, as when a server loads its file at start.
        if entry.expiry.is_some_and(|at| at.is_due(view.now())) {
            continue;
        }
        let stamp = stamp(view, settings, entry.access);
        view.put_stamped(DbIndex(entry.db as u16), &Key::new(&entry.key), entry.value, entry.expiry, stamp);
    }
    Ok(())
}

fn stamp(view: &View<'_>, settings: &Settings, last_use: Option<Access>) -> Stamp {
    match last_use {
        Some(Access::IdleSeconds(seconds)) => access::lru_idle(seconds, view.now()),
        Some(Access::Frequency(counter)) => access::lfu_counter(counter, view.now()),
        None => access::fresh(settings, view.now()),
    }
}
