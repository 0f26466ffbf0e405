//! Hash commands that change fields.

use crate::algorithms::long_double::LongDouble;
use crate::commands::ctx::Ctx;
use crate::commands::parse;
use crate::error::{CommandError, CommandResult, INCREMENT_NAN, INCREMENT_OVERFLOW, NAN_OR_INFINITY, NOT_FLOAT};
use crate::notify::EventClass;
use crate::resp::Args;
use basalt_storage::keyspace::Handle;
use basalt_storage::number;
use basalt_storage::types::Hash;

const HASH_NOT_INTEGER: CommandError = CommandError::new("ERR hash value is not an integer");
const HASH_NOT_FLOAT: CommandError = CommandError::new("ERR hash value is not a float");

pub fn hset(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    let created = put_pairs(ctx, args, "hset")?;
    ctx.out.count(created);
    Ok(())
}

pub fn hmset(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    put_pairs(ctx, args, "hmset")?;
    ctx.out.ok();
    Ok(())
}

/// Sets the fields that the arguments name; returns how many are new.
fn put_pairs(ctx: &mut Ctx<'_, '_>, args: Args<'_>, command: &str) -> Result<usize, CommandError> {
    if args.len() % 2 == 1 {
        return Err(CommandError::wrong_arity(command));
    }
    let pairs = (2..args.len()).step_by(2).map(|at| (args.at(at), args.at(at + 1)));
    let created = ctx.view.existing_or_new::<Hash>(ctx.db, &args.key(1))?.put(pairs);
    ctx.notify(EventClass::Hash, "hset", args.at(1));
    Ok(created)
}

pub fn hsetnx(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    let mut hash = ctx.view.existing_or_new::<Hash>(ctx.db, &args.key(1))?;
    if hash.value().contains(args.at(2)) {
        ctx.out.integer(0);
        return Ok(());
    }
    put_one(&mut hash, args.at(2), args.at(3));
    drop(hash);
    ctx.notify(EventClass::Hash, "hset", args.at(1));
    ctx.out.integer(1);
    Ok(())
}

pub fn hdel(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    let Some(mut hash) = ctx.view.existing::<Hash>(ctx.db, &args.key(1))? else {
        ctx.out.integer(0);
        return Ok(());
    };
    let removed = hash.remove(args.from(2));
    let emptied = hash.value().is_empty();
    drop(hash);
    if removed > 0 {
        ctx.notify(EventClass::Hash, "hdel", args.at(1));
    }
    if emptied {
        ctx.notify(EventClass::Generic, "del", args.at(1));
    }
    ctx.out.count(removed);
    Ok(())
}

pub fn hincrby(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    let increment = parse::integer(args.at(3))?;
    let mut hash = ctx.view.existing_or_new::<Hash>(ctx.db, &args.key(1))?;
    let old = match hash.value().get(args.at(2)) {
        Some(field) => number::parse_i64(field.value()).ok_or(HASH_NOT_INTEGER)?,
        None => 0,
    };
    let new = old.checked_add(increment).ok_or(INCREMENT_OVERFLOW)?;
    put_one(&mut hash, args.at(2), &number::format_i64(new));
    drop(hash);
    ctx.notify(EventClass::Hash, "hincrby", args.at(1));
    ctx.out.integer(new);
    Ok(())
}

pub fn hincrbyfloat(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    let increment = LongDouble::parse(args.at(3)).ok_or(NOT_FLOAT)?;
    if !increment.is_finite() {
        return Err(NAN_OR_INFINITY);
    }
    let mut hash = ctx.view.existing_or_new::<Hash>(ctx.db, &args.key(1))?;
    let new = match hash.value().get(args.at(2)) {
        Some(field) => {
            let old = LongDouble::parse(field.value()).ok_or(HASH_NOT_FLOAT)?;
            old.checked_add(increment).ok_or(INCREMENT_NAN)?
        }
        None => increment,
    };
    let text = new.to_text();
    put_one(&mut hash, args.at(2), &text);
    drop(hash);
    ctx.notify(EventClass::Hash, "hincrbyfloat", args.at(1));
    ctx.out.bulk(&text);
    Ok(())
}

fn put_one(hash: &mut Handle<'_, '_, Hash>, field: &[u8], value: &[u8]) {
    hash.put(std::iter::once((field, value)));
}
