//! Commands that work on whole keys of any type: delete, look, copy, rename, move.

use super::ctx::Ctx;
use super::parse;
use super::spec::{
    Flags, Handler::Data, KeySpec, OW_INSERT, OW_UPDATE, RM_DELETE, RO_ACCESS, RO_NONE, RW_ACCESS_DELETE,
    RW_ACCESS_UPDATE, Spec,
};
use crate::commands::looks::Looks;
use crate::error::{CommandError, CommandResult, NO_SUCH_KEY, SYNTAX};
use crate::notify::EventClass;
use crate::resp::Args;
use basalt_storage::access;
use basalt_storage::effect::DbIndex;
use basalt_storage::keyspace::Key;

pub const COMMANDS: &[Spec] = &[
    Spec {
        name: "del",
        looks: Looks::AtOutlines,
        tips: &["request_policy:multi_shard", "response_policy:agg_sum"],
        arity: -2,
        flags: Flags::WRITE,
        keys: &[KeySpec::range(1, -1, 1, RM_DELETE)],
        categories: &["keyspace"],
        summary: "Deletes keys.",
        syntax: "key [key ...]",
        complexity: "O(N), N being the number of keys; what they hold is freed in the background",
        handler: Data(del),
        ..Spec::DEFAULT
    },
    Spec {
        name: "unlink",
        looks: Looks::AtOutlines,
        tips: &["request_policy:multi_shard", "response_policy:agg_sum"],
        arity: -2,
        flags: Flags::WRITE.or(Flags::FAST),
        keys: &[KeySpec::range(1, -1, 1, RM_DELETE)],
        categories: &["keyspace"],
        since: "4.0.0",
        summary: "Deletes keys; their values are freed in the background.",
        syntax: "key [key ...]",
        complexity: "O(1) for every key; the memory is given back elsewhere in O(N)",
        handler: Data(del),
        ..Spec::DEFAULT
    },
    Spec {
        name: "exists",
        looks: Looks::AtOutlines,
        tips: &["request_policy:multi_shard", "response_policy:agg_sum"],
        arity: -2,
        flags: Flags::READONLY.or(Flags::FAST),
        keys: &[KeySpec::range(1, -1, 1, RO_NONE)],
        categories: &["keyspace"],
        summary: "Counts which of the keys exist.",
        syntax: "key [key ...]",
        complexity: "O(N), N being the number of keys",
        handler: Data(exists),
        ..Spec::DEFAULT
    },
    Spec {
        name: "touch",
        looks: Looks::AtOutlines,
        tips: &["request_policy:multi_shard", "response_policy:agg_sum"],
        arity: -2,
        flags: Flags::READONLY.or(Flags::FAST),
        keys: &[KeySpec::range(1, -1, 1, RO_NONE)],
        categories: &["keyspace"],
        since: "3.2.1",
        summary: "Marks keys as used just now, and counts those that exist.",
        syntax: "key [key ...]",
        complexity: "O(N), N being the number of keys",
        handler: Data(touch),
        ..Spec::DEFAULT
    },
    Spec {
        name: "type",
        looks: Looks::AtOutlines,
        arity: 2,
        flags: Flags::READONLY.or(Flags::FAST),
        keys: &[KeySpec::first(RO_NONE)],
        categories: &["keyspace"],
        summary: "Names the type of the value at a key.",
        syntax: "key",
        handler: Data(type_of),
        ..Spec::DEFAULT
    },
    Spec {
        name: "copy",
        arity: -3,
        flags: Flags::WRITE.or(Flags::DENYOOM),
        keys: &[KeySpec::first(RO_ACCESS), KeySpec::at(2, OW_UPDATE)],
        categories: &["keyspace"],
        since: "6.2.0",
        summary: "Copies the value of a key to another key.",
        syntax: "source destination [DB destination-db] [REPLACE]",
        complexity: "O(N), N being the number of elements; O(1) for strings",
        handler: Data(copy),
        ..Spec::DEFAULT
    },
    Spec {
        name: "rename",
        looks: Looks::AtOutlines,
        arity: 3,
        flags: Flags::WRITE,
        keys: &[KeySpec::first(RW_ACCESS_DELETE), KeySpec::at(2, OW_UPDATE)],
        categories: &["keyspace"],
        summary: "Gives a key another name, and overwrites what had it.",
        syntax: "key newkey",
        handler: Data(rename),
        ..Spec::DEFAULT
    },
    Spec {
        name: "renamenx",
        looks: Looks::AtOutlines,
        arity: 3,
        flags: Flags::WRITE.or(Flags::FAST),
        keys: &[KeySpec::first(RW_ACCESS_DELETE), KeySpec::at(2, OW_INSERT)],
        categories: &["keyspace"],
        summary: "Gives a key another name, unless that is taken.",
        syntax: "key newkey",
        handler: Data(renamenx),
        ..Spec::DEFAULT
    },
    Spec {
        name: "move",
        looks: Looks::AtOutlines,
        arity: 3,
        flags: Flags::WRITE.or(Flags::FAST),
        keys: &[KeySpec::first(RW_ACCESS_UPDATE)],
        categories: &["keyspace"],
        summary: "Moves a key to another database.",
        syntax: "key db",
        handler: Data(move_to),
        ..Spec::DEFAULT
    },
];

const SAME_OBJECT: CommandError = CommandError::new("ERR source and destination objects are the same");

fn del(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    let mut deleted = 0;
    for bytes in args.from(1) {
        if ctx.view.delete(ctx.db, &Key::new(bytes)) {
            ctx.notify(EventClass::Generic, "del", bytes);
            deleted += 1;
        }
    }
    ctx.out.count(deleted);
    Ok(())
}

fn exists(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    let count = args.from(1).filter(|bytes| ctx.view.inspect(ctx.db, &Key::new(bytes)).is_some()).count();
    ctx.out.count(count);
    Ok(())
}

fn touch(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    let count = args.from(1).filter(|bytes| ctx.view.read_outline(ctx.db, &Key::new(bytes)).is_some()).count();
    ctx.out.count(count);
    Ok(())
}

fn type_of(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    let entry = ctx.view.inspect(ctx.db, &args.key(1));
    ctx.out.simple(entry.map_or("none", |entry| entry.value().type_of().name()));
    Ok(())
}

/// What stands behind the two keys of COPY.
struct CopyOptions {
    db: DbIndex,
    replaces: bool,
}

fn copy_options(ctx: &Ctx<'_, '_>, args: Args<'_>) -> Result<CopyOptions, CommandError> {
    let mut options = CopyOptions { db: ctx.db, replaces: false };
    let mut at = 3;
    while at < args.len() {
        if args.is(at, "REPLACE") {
            options.replaces = true;
        } else if args.is(at, "DB") && at + 1 < args.len() {
            options.db = target_of_copy(ctx, args.at(at + 1))?;
            at += 1;
        } else {
            return Err(SYNTAX);
        }
        at += 1;
    }
    Ok(options)
}

/// In a cluster there is one database. Others are told from numbers that never name one, as in Redis.
fn target_of_copy(ctx: &Ctx<'_, '_>, text: &[u8]) -> Result<DbIndex, CommandError> {
    const NOT_IN_CLUSTER: CommandError =
        CommandError::new("ERR Copying to another database is not allowed in cluster mode");
    if ctx.server.cluster().is_some() {
        let number = i64::from(parse::database_number(text)?);
        if (1..ctx.server.config.int("databases")).contains(&number) {
            return Err(NOT_IN_CLUSTER);
        }
    }
    parse::database(&ctx.server.keyspace, text)
}

fn copy(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    let options = copy_options(ctx, args)?;
    let (from, to) = (args.key(1), Key::new(args.at(2)));
    if options.db == ctx.db && from.bytes == to.bytes {
        return Err(SAME_OBJECT);
    }
    let Some(entry) = ctx.view.read(ctx.db, &from) else {
        ctx.out.integer(0);
        return Ok(());
    };
    let (value, expiry) = (entry.to_value(), entry.expiry());
    if !options.replaces && ctx.view.survives(options.db, &to) {
        ctx.out.integer(0);
        return Ok(());
    }
    let stamp = access::fresh(&ctx.server.keyspace.settings, ctx.now());
    ctx.view.put_anew(options.db, &to, value, expiry, stamp);
    ctx.notify_in(options.db, EventClass::Generic, "copy_to", to.bytes);
    ctx.out.integer(1);
    Ok(())
}

fn rename(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    if !ctx.view.survives(ctx.db, &args.key(1)) {
        return Err(NO_SUCH_KEY);
    }
    rename_existing(ctx, args);
    ctx.out.ok();
    Ok(())
}

fn renamenx(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    if !ctx.view.survives(ctx.db, &args.key(1)) {
        return Err(NO_SUCH_KEY);
    }
    let is_free = !ctx.view.survives(ctx.db, &Key::new(args.at(2)));
    if is_free {
        rename_existing(ctx, args);
    }
    ctx.out.integer(i64::from(is_free));
    Ok(())
}

fn rename_existing(ctx: &mut Ctx<'_, '_>, args: Args<'_>) {
    let (from, to) = (args.key(1), Key::new(args.at(2)));
    if from.bytes == to.bytes {
        return;
    }
    ctx.view.rename(ctx.db, &from, ctx.db, &to);
    ctx.notify(EventClass::Generic, "rename_from", from.bytes);
    ctx.notify(EventClass::Generic, "rename_to", to.bytes);
}

fn move_to(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    if ctx.server.cluster().is_some() {
        return Err(CommandError::new("ERR MOVE is not allowed in cluster mode"));
    }
    let target = parse::database(&ctx.server.keyspace, args.at(2))?;
    if target == ctx.db {
        return Err(SAME_OBJECT);
    }
    let key = args.key(1);
    if !ctx.view.survives(ctx.db, &key) || ctx.view.survives(target, &key) {
        ctx.out.integer(0);
        return Ok(());
    }
    ctx.view.rename(ctx.db, &key, target, &key);
    ctx.notify(EventClass::Generic, "move_from", key.bytes);
    ctx.notify_in(target, EventClass::Generic, "move_to", key.bytes);
    ctx.out.integer(1);
    Ok(())
}
