//! DEBUG: what tests of Redis clients and the upstream suite need to look behind the curtain.
//!
//! One row per subcommand; a name with a wrong number of arguments and an unknown name get the same error, as in Redis.
//! What would bring the process down is refused, but for PANIC: other ways to die are open to a test from outside.

mod data;
mod digest;
mod protocol;
mod reload;
mod switches;

use super::ctx::SessionCtx;
use super::spec::{Flags, Group, Handler::Session, Locks, Spec, Standing};
use crate::error::{CommandError, CommandResult};
use crate::resp::Args;

pub const COMMANDS: &[Spec] = &[Spec {
    name: "debug",
    arity: -2,
    flags: Flags::ADMIN.or(Flags::NOSCRIPT).or(Flags::LOADING).or(Flags::STALE).or(Flags::PROTECTED),
    group: Group::Server,
    complexity: "That of the subcommand",
    summary: "Holds the commands for tests.",
    syntax: "subcommand [argument [argument ...]]",
    standing: Standing::Internal,
    locks: Locks::PieceByPiece,
    handler: Session(debug),
    ..Spec::DEFAULT
}];

/// One subcommand.
struct Row {
    name: &'static str,
    /// Least and greatest number of arguments behind the subcommand's name.
    arguments: (usize, usize),
    /// Arguments and meaning, as HELP lists them; none where it does not.
    help: Option<(&'static str, &'static str)>,
    run: Run,
}

type Run = fn(&mut SessionCtx<'_, '_>, Args<'_>) -> CommandResult;

const MANY: usize = usize::MAX;

const fn row(name: &'static str, least: usize, most: usize, run: Run) -> Row {
    Row { name, arguments: (least, most), help: None, run }
}

impl Row {
    const fn help(self, arguments: &'static str, meaning: &'static str) -> Row {
        Row { help: Some((arguments, meaning)), ..self }
    }
}

static ROWS: &[Row] = &[
    row("ASSERT", 0, 0, refuse),
    row("CHANGE-REPL-ID", 0, 0, accept).help("", "Accepted; there is no replication id to change."),
    row("CONFIG-REWRITE-FORCE-ALL", 0, 0, switches::rewrite_all)
        .help("", "Writes all settings into the configuration file, defaults too."),
    row("CORRUPT-REPLICA", 1, 1, data::corrupt_replica).help(
        "<key>",
        "Changes the last byte of a small string in this node's copy of it, on disk and in no other copy (a cluster in \
         durable mode).",
    ),
    row("CRASH-AND-RECOVER", 0, 1, refuse),
    row("DIGEST", 0, 0, digest::digest)
        .help("", "Answers a digest of all data, the same as redis-server's for the same data."),
    row("DIGEST-VALUE", 0, MANY, digest::digest_value)
        .help("[<key> ...]", "Answers a digest of the value of each key."),
    row("ERROR", 1, 1, protocol::error).help("<text>", "Answers an error with this text."),
    row("HTSTATS", 1, 2, data::table_stats).help("<dbid>", "Tells the sizes of the tables of a database."),
    row("HTSTATS-KEY", 1, 2, data::table_stats_of_key).help("<key>", "Tells the size of the table of a collection."),
    row("JMAP", 0, 0, accept),
    row("LISTPACK", 1, 1, data::listpack).help("<key>", "Checks that the value is packed."),
    row("LOG", 1, 1, data::log).help("<message>", "Writes a message to the log."),
    row("MALLCTL", 1, 1, data::allocator_control).help("<key>", "Tells a size that the allocator knows by this name."),
    row("MALLCTL-STR", 1, 2, data::allocator_command)
        .help("thread.tcache.flush VOID", "Makes the allocator give back what it keeps ready for a thread."),
    row("OBJECT", 1, 2, data::object)
        .help("<key>", "Tells how the value of a key is represented, and since when nobody used it."),
    row("OOM", 0, 0, refuse),
    row("OUTLINE-ABOVE", 1, 1, switches::outline_above)
        .help("<elements>", "Stores collections in parts, and reads larger ones part by part (durable mode)."),
    row("PANIC", 0, 0, switches::panic).help("", "Ends the process as a panic does."),
    row("PAUSE-CRON", 1, 1, switches::pause_cron).help("<0|1>", "Stops periodic work, or lets it go on."),
    row("POPULATE", 1, 3, data::populate)
        .help("<count> [<prefix>] [<size>]", "Makes strings under the names <prefix>:<number>, where no such key is."),
    row("PROTOCOL", 1, 1, protocol::protocol).help("<type>", "Answers an example of a type of the protocol."),
    row("QUICKLIST", 1, 2, data::quicklist).help("<key>", "Checks that the value is a quicklist."),
    row("QUICKLIST-PACKED-THRESHOLD", 1, 1, switches::packed_threshold)
        .help("<size>", "Accepted; long elements of lists are always on their own."),
    row("RELOAD", 0, MANY, reload::reload)
        .help("[MERGE] [NOFLUSH] [NOSAVE]", "Saves all data to the dump file and loads it again."),
    row("REPLYBUFFER", 2, 2, switches::reply_buffer).help(
        "PEAK-RESET-TIME <NEVER|RESET|milliseconds> | RESIZING <0|1>",
        "Says how output buffers follow their use.",
    ),
    row("RESTART", 0, 1, refuse),
    row("SDSLEN", 1, 1, data::string_lengths).help("<key>", "Tells the lengths of a key and its string."),
    row("SEGFAULT", 0, 0, refuse),
    row("SET-ACTIVE-EXPIRE", 1, 1, switches::active_expiry)
        .help("<0|1>", "Says whether keys expire without anybody asking for them."),
    row("SET-DISABLE-DENY-SCRIPTS", 1, 1, accept),
    row("SET-SKIP-CHECKSUM-VALIDATION", 1, 1, switches::skip_checksums)
        .help("<0|1>", "Says whether RESTORE takes payloads with a wrong checksum."),
    row("SLEEP", 1, 1, switches::sleep).help("<seconds>", "Stops the evaluation of all commands for this long."),
    row("STRINGMATCH-LEN", 2, 2, protocol::string_match)
        .help("<length> <pattern>", "Matches a text of this many letters a against a pattern."),
    row("STRUCTSIZE", 0, 0, data::struct_sizes).help("", "Tells the sizes of structures."),
    row("HELP", 0, 0, help),
];

fn debug(ctx: &mut SessionCtx<'_, '_>, args: Args<'_>) -> CommandResult {
    let row = ROWS.iter().find(|row| args.is(1, row.name));
    match row.filter(|row| (row.arguments.0..=row.arguments.1).contains(&(args.len() - 2))) {
        Some(row) => (row.run)(ctx, args.skip(1)),
        None => {
            let name = String::from_utf8_lossy(args.at(1)).into_owned();
            Err(CommandError::owned(format!(
                "ERR unknown subcommand or wrong number of arguments for '{name}'. Try DEBUG HELP."
            )))
        }
    }
}

fn help(ctx: &mut SessionCtx<'_, '_>, _: Args<'_>) -> CommandResult {
    let lines = ROWS.iter().filter_map(|row| row.help.map(|(arguments, meaning)| (row.name, arguments, meaning)));
    let lines: Vec<_> = lines.map(|(name, arguments, meaning)| (format!("{name} {arguments}"), meaning)).collect();
    let lines: Vec<_> = lines.iter().map(|(form, meaning)| (form.trim_end(), *meaning)).collect();
    ctx.out.help("DEBUG", &lines);
    Ok(())
}

fn accept(ctx: &mut SessionCtx<'_, '_>, _: Args<'_>) -> CommandResult {
    ctx.out.ok();
    Ok(())
}

fn refuse(_: &mut SessionCtx<'_, '_>, args: Args<'_>) -> CommandResult {
    let name = String::from_utf8_lossy(args.at(0)).to_ascii_uppercase();
    Err(CommandError::owned(format!("ERR DEBUG {name} is refused: it would end the process")))
}
