//! DEBUG RELOAD: all data through the file of dumps and back.

use crate::commands::ctx::SessionCtx;
use crate::durability::Durability;
use crate::error::{CommandError, CommandResult, LOADING};
use crate::persistence::file;
use crate::persistence::load::{self, Existing};
use crate::resp::Args;
use crate::server::Server;
use basalt_storage::access;
use basalt_storage::effect::DbIndex;
use basalt_storage::entry::EntryRef;
use basalt_storage::keyspace::{AccessPolicy, View};
use basalt_storage::rdb::file::Access;
use basalt_storage::rdb::file_writer::Writer;
use basalt_storage::slot::StripeSet;
use std::io::{self, Write};

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
    let server = ctx.server;
    if server.persistence.loading.is_active() {
        // Redis saves what it has so far, and loses the rest.
        return Err(LOADING);
    }
    if let Some(durability) = server.durability()
        && !(options.keeps_data || options.merges || options.loads_file)
    {
        return reload_from_engine(ctx, durability);
    }
    // Nothing may be loaded twice unless that is asked for.
    let existing = if options.merges { Existing::Replaced } else { Existing::Refused };
    ctx.with_stripes(StripeSet::ALL, |view| {
        if !options.loads_file {
            save(server, view).map_err(|error| {
                tracing::error!(%error, "DEBUG RELOAD cannot save");
                SAVE_FAILED
            })?;
        }
        if !options.keeps_data {
            load::empty(view);
        }
        load::from_file(server, view, existing).map_err(|error| {
            tracing::error!(%error, "DEBUG RELOAD cannot load");
            LOAD_FAILED
        })
    })?;
    server.persistence.note_loaded(server);
    ctx.out.ok();
    Ok(())
}

/// In durable mode the way to disk and back is the engine's: all copies in memory are dropped once it has them.
fn reload_from_engine(ctx: &mut SessionCtx<'_, '_>, durability: &Durability) -> CommandResult {
    let everything = ctx.server.keyspace.proposed();
    durability.wait_applied(everything).map_err(|stopped| CommandError::owned(format!("ERR {stopped}")))?;
    ctx.with_stripes(StripeSet::ALL, |view| view.cool_all());
    ctx.out.ok();
    Ok(())
}

/// Writes all data to the file of dumps. The view holds all stripes, so this is a point in time by itself.
fn save(server: &Server, view: &View<'_>) -> Result<(), file::SaveError> {
    file::replace_file(server, |mut file| {
        let dump = encode(server, view).map_err(file::failed("encoding the data"))?;
        file.write_all(&dump).map_err(file::failed("writing the file"))?;
        Ok(file)
    })
}

fn encode(server: &Server, view: &View<'_>) -> io::Result<Vec<u8>> {
    let keyspace = view.keyspace();
    let mut writer = Writer::new(Vec::new(), file::compression(server))?;
    file::write_facts(server, &mut writer)?;
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
