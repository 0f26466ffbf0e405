//! Hash commands: their table, and those that read.
//!
//! `write` changes fields, `random` draws lots.

mod random;
mod write;

use super::ctx::Ctx;
use super::spec::{Flags, Group, Handler::Data, KeySpec, RO_ACCESS, RO_NONE, RW_ACCESS_UPDATE, Standing};
use super::spec::{RW_DELETE, RW_INSERT, RW_UPDATE, Spec};
use crate::commands::looks::{self, Looks};
use crate::commands::scan::scan_collection;
use crate::error::CommandResult;
use crate::resp::Args;
use basalt_storage::types::{FieldRef, Hash};

const ALL_FIELDS: &str = "O(N), N being the number of fields of the hash";
const NAMED_FIELDS: &str = "O(N), N being the number of fields named";

const READ: Spec = Spec {
    flags: Flags::READONLY,
    keys: &[KeySpec::first(RO_ACCESS)],
    group: Group::Hash,
    since: "2.0.0",
    ..Spec::DEFAULT
};
const FAST_READ: Spec = Spec { flags: Flags::READONLY.or(Flags::FAST), ..READ };
const WRITE: Spec = Spec {
    flags: Flags::WRITE.or(Flags::DENYOOM).or(Flags::FAST),
    keys: &[KeySpec::first(RW_UPDATE)],
    group: Group::Hash,
    since: "2.0.0",
    ..Spec::DEFAULT
};

pub const COMMANDS: &[Spec] = &[
    Spec {
        name: "hset",
        arity: -4,
        complexity: NAMED_FIELDS,
        summary: "Sets fields of a hash.",
        syntax: "key field value [field value ...]",
        handler: Data(write::hset),
        ..WRITE
    },
    Spec {
        name: "hsetnx",
        arity: 4,
        keys: &[KeySpec::first(RW_INSERT)],
        summary: "Sets a field of a hash unless it is there already.",
        syntax: "key field value",
        handler: Data(write::hsetnx),
        ..WRITE
    },
    Spec {
        name: "hmset",
        arity: -4,
        complexity: NAMED_FIELDS,
        summary: "Sets fields of a hash and answers OK.",
        syntax: "key field value [field value ...]",
        standing: Standing::Deprecated { since: "4.0.0", replaced_by: "`HSET`, which takes several pairs" },
        handler: Data(write::hmset),
        ..WRITE
    },
    Spec {
        name: "hdel",
        arity: -3,
        flags: Flags::WRITE.or(Flags::FAST),
        keys: &[KeySpec::first(RW_DELETE)],
        complexity: NAMED_FIELDS,
        summary: "Takes fields out of a hash; a hash without fields is gone.",
        syntax: "key field [field ...]",
        handler: Data(write::hdel),
        ..WRITE
    },
    Spec {
        name: "hincrby",
        arity: 4,
        keys: &[KeySpec::first(RW_ACCESS_UPDATE)],
        summary: "Adds an integer to a field of a hash; an absent field counts as 0.",
        syntax: "key field increment",
        handler: Data(write::hincrby),
        ..WRITE
    },
    Spec {
        name: "hincrbyfloat",
        arity: 4,
        keys: &[KeySpec::first(RW_ACCESS_UPDATE)],
        since: "2.6.0",
        summary: "Adds a number to a field of a hash; an absent field counts as 0.",
        syntax: "key field increment/double",
        handler: Data(write::hincrbyfloat),
        ..WRITE
    },
    Spec {
        name: "hget",
        looks: Looks::AtParts(looks::named),
        arity: 3,
        summary: "Answers the value of a field of a hash.",
        syntax: "key field",
        handler: Data(hget),
        ..FAST_READ
    },
    Spec {
        name: "hmget",
        looks: Looks::AtParts(looks::named),
        arity: -3,
        complexity: NAMED_FIELDS,
        summary: "Answers the values of fields of a hash.",
        syntax: "key field [field ...]",
        handler: Data(hmget),
        ..FAST_READ
    },
    Spec {
        name: "hgetall",
        tips: &["nondeterministic_output_order"],
        arity: 2,
        complexity: ALL_FIELDS,
        summary: "Answers all fields of a hash with their values.",
        syntax: "key",
        handler: Data(hgetall),
        ..READ
    },
    Spec {
        name: "hkeys",
        tips: &["nondeterministic_output_order"],
        arity: 2,
        complexity: ALL_FIELDS,
        summary: "Answers the names of all fields of a hash.",
        syntax: "key",
        handler: Data(hkeys),
        ..READ
    },
    Spec {
        name: "hvals",
        tips: &["nondeterministic_output_order"],
        arity: 2,
        complexity: ALL_FIELDS,
        summary: "Answers the values of all fields of a hash.",
        syntax: "key",
        handler: Data(hvals),
        ..READ
    },
    Spec {
        name: "hlen",
        looks: Looks::AtOutlines,
        arity: 2,
        keys: &[KeySpec::first(RO_NONE)],
        summary: "Counts the fields of a hash.",
        syntax: "key",
        handler: Data(hlen),
        ..FAST_READ
    },
    Spec {
        name: "hexists",
        looks: Looks::AtParts(looks::named),
        arity: 3,
        keys: &[KeySpec::first(RO_NONE)],
        summary: "Tells whether a hash has a field.",
        syntax: "key field",
        handler: Data(hexists),
        ..FAST_READ
    },
    Spec {
        name: "hstrlen",
        looks: Looks::AtParts(looks::named),
        arity: 3,
        keys: &[KeySpec::first(RO_NONE)],
        since: "3.2.0",
        summary: "Answers the length of the value of a field.",
        syntax: "key field",
        handler: Data(hstrlen),
        ..FAST_READ
    },
    Spec {
        name: "hrandfield",
        tips: &["nondeterministic_output"],
        arity: -2,
        since: "6.2.0",
        complexity: "O(N), N being the number of fields answered",
        summary: "Draws fields of a hash at random.",
        syntax: "key [count [WITHVALUES]]",
        handler: Data(random::hrandfield),
        ..READ
    },
    Spec {
        name: "hscan",
        tips: &["nondeterministic_output"],
        arity: -3,
        since: "2.8.0",
        complexity: "O(1) per call, O(N) for all of them, N being the number of fields",
        summary: "Walks through the fields of a hash, some with each call.",
        syntax: "key cursor [MATCH pattern] [COUNT count]",
        looks: Looks::AtParts(looks::page),
        handler: Data(scan_collection::<Hash>),
        ..READ
    },
];

fn hget(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    match ctx.view.partial::<Hash>(ctx.db, &args.key(1))? {
        Some(hash) => hash.with_field(args.at(2), |value| ctx.out.bulk_or_null(value)),
        None => ctx.out.null(),
    }
    Ok(())
}

fn hmget(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    let hash = ctx.view.partial::<Hash>(ctx.db, &args.key(1))?;
    let fields = args.from(2);
    ctx.out.array(fields.len());
    for name in fields {
        match &hash {
            Some(hash) => hash.with_field(name, |value| ctx.out.bulk_or_null(value)),
            None => ctx.out.null(),
        }
    }
    Ok(())
}

fn hgetall(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    let hash = ctx.view.hash(ctx.db, &args.key(1))?;
    ctx.out.map(hash.map_or(0, |hash| hash.len()));
    for field in hash.into_iter().flat_map(|hash| hash.iter()) {
        ctx.out.bulk(field.name());
        ctx.out.bulk(field.value());
    }
    Ok(())
}

fn hkeys(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    list_all(ctx, args, |field| field.name())
}

fn hvals(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    list_all(ctx, args, |field| field.value())
}

fn list_all(ctx: &mut Ctx<'_, '_>, args: Args<'_>, part: for<'f> fn(&'f FieldRef<'_>) -> &'f [u8]) -> CommandResult {
    let hash = ctx.view.hash(ctx.db, &args.key(1))?;
    ctx.out.array(hash.map_or(0, |hash| hash.len()));
    for field in hash.into_iter().flat_map(|hash| hash.iter()) {
        ctx.out.bulk(part(&field));
    }
    Ok(())
}

fn hlen(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    let hash = ctx.view.partial::<Hash>(ctx.db, &args.key(1))?;
    ctx.out.count(hash.map_or(0, |hash| hash.len()));
    Ok(())
}

fn hexists(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    let hash = ctx.view.partial::<Hash>(ctx.db, &args.key(1))?;
    ctx.out.count(hash.is_some_and(|hash| hash.contains(args.at(2))).into());
    Ok(())
}

fn hstrlen(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    let hash = ctx.view.partial::<Hash>(ctx.db, &args.key(1))?;
    ctx.out.count(hash.and_then(|hash| hash.value_len(args.at(2))).unwrap_or(0));
    Ok(())
}
