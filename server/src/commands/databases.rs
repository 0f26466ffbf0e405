//! Commands that work on whole databases.

use super::ctx::{Ctx, SessionCtx};
use super::spec::{Flags, Group, Handler::Data, Handler::Session, Locks, Spec};
use crate::cluster::replica_reads::CopiedKeys;
use crate::error::{CommandError, CommandResult, DB_INDEX_OUT_OF_RANGE, SYNTAX};
use crate::resp::Args;
use basalt_storage::effect::DbIndex;
use basalt_storage::number::parse_i64;

pub const COMMANDS: &[Spec] = &[
    Spec {
        name: "flushall",
        tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
        arity: -1,
        flags: Flags::WRITE,
        categories: &["keyspace", "dangerous"],
        group: Group::Server,
        summary: "Deletes all keys of all databases.",
        syntax: "[ASYNC | SYNC]",
        complexity: "O(1) here; the memory of N keys is given back in the background in O(N)",
        locks: Locks::All,
        handler: Data(flush_all),
        ..Spec::DEFAULT
    },
    Spec {
        name: "flushdb",
        tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
        arity: -1,
        flags: Flags::WRITE,
        categories: &["keyspace", "dangerous"],
        group: Group::Server,
        summary: "Deletes all keys of the database.",
        syntax: "[ASYNC | SYNC]",
        complexity: "O(1) here; the memory of N keys is given back in the background in O(N)",
        locks: Locks::All,
        handler: Data(flush_db),
        ..Spec::DEFAULT
    },
    Spec {
        name: "swapdb",
        arity: 3,
        flags: Flags::WRITE.or(Flags::FAST),
        categories: &["keyspace", "dangerous"],
        group: Group::Server,
        since: "4.0.0",
        summary: "Lets two databases change places.",
        syntax: "index1 index2",
        complexity: "O(N), N being the number of keys that are watched or waited for",
        locks: Locks::All,
        handler: Data(swap_db),
        ..Spec::DEFAULT
    },
    Spec {
        name: "dbsize",
        tips: &["request_policy:all_shards", "response_policy:agg_sum"],
        arity: 1,
        flags: Flags::READONLY.or(Flags::FAST),
        categories: &["keyspace"],
        group: Group::Server,
        summary: "Counts the keys of the database.",
        locks: Locks::Nothing,
        handler: Session(db_size),
        ..Spec::DEFAULT
    },
];

/// SYNC and ASYNC are accepted alike: a flush takes the tables away at once, and memory is always freed elsewhere.
fn check_mode(args: Args<'_>) -> CommandResult {
    match args.len() {
        1 => Ok(()),
        2 if args.is(1, "SYNC") || args.is(1, "ASYNC") => Ok(()),
        _ => Err(SYNTAX),
    }
}

/// What was emptied here would come again from where the slots are copied to or from. All slots are locked, so none can
/// set out meanwhile.
fn check_passages(ctx: &Ctx<'_, '_>) -> CommandResult {
    const ON_THEIR_WAY: CommandError =
        CommandError::new("TRYAGAIN Slots are on their way to or from this node: flush it when they have arrived");
    match ctx.server.cluster() {
        Some(cluster) if cluster.control().has_passages() || !cluster.moving().is_empty() => Err(ON_THEIR_WAY),
        _ => Ok(()),
    }
}

fn flush_all(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    check_mode(args)?;
    check_passages(ctx)?;
    for db in 0..ctx.server.keyspace.databases() {
        ctx.view.flush(DbIndex(db));
    }
    ctx.server.persistence.note_emptied(ctx.server, ctx.view.changes());
    ctx.out.ok();
    Ok(())
}

fn flush_db(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    check_mode(args)?;
    check_passages(ctx)?;
    ctx.view.flush(ctx.db);
    ctx.out.ok();
    Ok(())
}

fn swap_db(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    if ctx.server.cluster().is_some() {
        return Err(CommandError::new("ERR SWAPDB is not allowed in cluster mode"));
    }
    let number = |index: usize, error: &'static str| {
        parse_i64(args.at(index)).filter(|number| i32::try_from(*number).is_ok()).ok_or(CommandError::new(error))
    };
    let one = number(1, "ERR invalid first DB index")?;
    let other = number(2, "ERR invalid second DB index")?;
    let database = |number| ctx.server.keyspace.database(number).ok_or(DB_INDEX_OUT_OF_RANGE);
    let (one, other) = (database(one)?, database(other)?);
    ctx.view.swap_databases(one, other);
    ctx.out.ok();
    Ok(())
}

fn db_size(ctx: &mut SessionCtx<'_, '_>, _: Args<'_>) -> CommandResult {
    ctx.server.keyspace.see_all();
    let copied = CopiedKeys::of(ctx.server).map_or(0, |copied| copied.count().entries);
    ctx.out.integer((ctx.server.keyspace.key_count(ctx.session.db) + copied) as i64);
    Ok(())
}
