//! DEBUG: what tests of Redis clients and the upstream suite need to look behind the curtain.
//!
//! One row per subcommand; a name with a wrong number of arguments and an unknown name get the same error, as in Redis.
//! What would bring the process down is refused: a test that needs that kills the process from outside.

mod data;
mod digest;
mod protocol;
mod reload;
mod switches;

use super::ctx::SessionCtx;
use super::spec::{Flags, Group, Handler::Session, Locks, Spec};
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
    locks: Locks::PieceByPiece,
    handler: Session(debug),
    ..Spec::DEFAULT
}];

/// One subcommand.
struct Row {
    name: &'static str,
    /// Least and greatest number of arguments behind the subcommand's name.
    arguments: (usize, usize),
    /// Usage and explanation, as HELP lists them; none where it does not.
    help: &'static [&'static str],
    run: fn(&mut SessionCtx<'_, '_>, Args<'_>) -> CommandResult,
}

const MANY: usize = usize::MAX;

#[rustfmt::skip]
static ROWS: &[Row] = &[
    Row { name: "ASSERT", arguments: (0, 0), help: &[], run: refuse },
    Row { name: "CHANGE-REPL-ID", arguments: (0, 0), help: &["CHANGE-REPL-ID", "    Accepted; there is no replication id to change."], run: accept },
    Row { name: "CRASH-AND-RECOVER", arguments: (0, 1), help: &[], run: refuse },
    Row { name: "DIGEST", arguments: (0, 0), help: &["DIGEST", "    Answers a digest of all data, the same as redis-server's for the same data."], run: digest::digest },
    Row { name: "DIGEST-VALUE", arguments: (0, MANY), help: &["DIGEST-VALUE [<key> ...]", "    Answers a digest of the value of each key."], run: digest::digest_value },
    Row { name: "ERROR", arguments: (1, 1), help: &["ERROR <text>", "    Answers an error with this text."], run: protocol::error },
    Row { name: "HTSTATS", arguments: (1, 2), help: &["HTSTATS <dbid>", "    Tells the sizes of the tables of a database."], run: data::table_stats },
    Row { name: "HTSTATS-KEY", arguments: (1, 2), help: &["HTSTATS-KEY <key>", "    Tells the size of the table of a collection."], run: data::table_stats_of_key },
    Row { name: "JMAP", arguments: (0, 0), help: &[], run: accept },
    Row { name: "LISTPACK", arguments: (1, 1), help: &["LISTPACK <key>", "    Checks that the value is packed."], run: data::listpack },
    Row { name: "LOG", arguments: (1, 1), help: &["LOG <message>", "    Writes a message to the log."], run: data::log },
    Row { name: "OBJECT", arguments: (1, 2), help: &["OBJECT <key>", "    Tells how the value of a key is represented, and since when nobody used it."], run: data::object },
    Row { name: "OOM", arguments: (0, 0), help: &[], run: refuse },
    Row { name: "PANIC", arguments: (0, 0), help: &[], run: refuse },
    Row { name: "PAUSE-CRON", arguments: (1, 1), help: &["PAUSE-CRON <0|1>", "    Stops periodic work, or lets it go on."], run: switches::pause_cron },
    Row { name: "POPULATE", arguments: (1, 3), help: &["POPULATE <count> [<prefix>] [<size>]", "    Makes strings under the names <prefix>:<number>, where no such key is."], run: data::populate },
    Row { name: "PROTOCOL", arguments: (1, 1), help: &["PROTOCOL <type>", "    Answers an example of a type of the protocol."], run: protocol::protocol },
    Row { name: "QUICKLIST", arguments: (1, 2), help: &["QUICKLIST <key>", "    Checks that the value is a quicklist."], run: data::quicklist },
    Row { name: "QUICKLIST-PACKED-THRESHOLD", arguments: (1, 1), help: &["QUICKLIST-PACKED-THRESHOLD <size>", "    Accepted; long elements of lists are always on their own."], run: switches::packed_threshold },
    Row { name: "RELOAD", arguments: (0, MANY), help: &["RELOAD [MERGE] [NOFLUSH]", "    Saves all data as an RDB file in memory and loads it again."], run: reload::reload },
    Row { name: "REPLYBUFFER", arguments: (2, 2), help: &["REPLYBUFFER PEAK-RESET-TIME <NEVER|RESET|milliseconds>", "REPLYBUFFER RESIZING <0|1>", "    Says how output buffers follow their use."], run: switches::reply_buffer },
    Row { name: "RESTART", arguments: (0, 1), help: &[], run: refuse },
    Row { name: "SDSLEN", arguments: (1, 1), help: &["SDSLEN <key>", "    Tells the lengths of a key and its string."], run: data::string_lengths },
    Row { name: "SEGFAULT", arguments: (0, 0), help: &[], run: refuse },
    Row { name: "SET-ACTIVE-EXPIRE", arguments: (1, 1), help: &["SET-ACTIVE-EXPIRE <0|1>", "    Says whether keys expire without anybody asking for them."], run: switches::active_expiry },
    Row { name: "SET-DISABLE-DENY-SCRIPTS", arguments: (1, 1), help: &[], run: accept },
    Row { name: "SET-SKIP-CHECKSUM-VALIDATION", arguments: (1, 1), help: &["SET-SKIP-CHECKSUM-VALIDATION <0|1>", "    Says whether RESTORE takes payloads with a wrong checksum."], run: switches::skip_checksums },
    Row { name: "SLEEP", arguments: (1, 1), help: &["SLEEP <seconds>", "    Stops the evaluation of all commands for this long."], run: switches::sleep },
    Row { name: "STRINGMATCH-LEN", arguments: (2, 2), help: &["STRINGMATCH-LEN <length> <pattern>", "    Matches a text of this many letters a against a pattern."], run: protocol::string_match },
    Row { name: "STRUCTSIZE", arguments: (0, 0), help: &["STRUCTSIZE", "    Tells the sizes of structures."], run: data::struct_sizes },
    Row { name: "HELP", arguments: (0, 0), help: &["HELP", "    Lists the subcommands."], run: help },
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
    let lines = ROWS.iter().flat_map(|row| row.help);
    ctx.out.array(lines.clone().count() + 1);
    ctx.out.simple("DEBUG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:");
    lines.for_each(|line| ctx.out.simple(line));
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
