//! String commands.

use super::ctx::Ctx;
use super::spec::{Flags, Group, Handler::Data, KeySpec, RO_ACCESS, RW_INSERT, Spec};
use crate::error::CommandResult;
use crate::notify::EventClass;
use crate::resp::Args;
use basalt_storage::keyspace::{NewExpiry, StrRef};

pub const COMMANDS: &[Spec] = &[
    Spec {
        name: "get",
        arity: 2,
        flags: Flags::READONLY.or(Flags::FAST),
        keys: &[KeySpec::first(RO_ACCESS)],
        group: Group::String,
        summary: "Answers the string at a key.",
        syntax: "key",
        handler: Data(get),
        ..Spec::DEFAULT
    },
    Spec {
        name: "set",
        arity: -3,
        flags: Flags::WRITE.or(Flags::DENYOOM),
        keys: &[KeySpec::first(RW_INSERT)],
        group: Group::String,
        summary: "Sets a key to a string, whatever it held.",
        syntax: "key value",
        handler: Data(set),
        ..Spec::DEFAULT
    },
];

fn get(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    match ctx.view.string(ctx.db, &args.key(1))? {
        None => ctx.out.null(),
        Some(StrRef::Bytes(bytes)) => ctx.out.bulk(bytes),
        Some(StrRef::Int(number)) => ctx.out.bulk_int(number),
    }
    Ok(())
}

fn set(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    ctx.view.put_string(ctx.db, &args.key(1), args.at(2), NewExpiry::Clear);
    ctx.notify(EventClass::String, "set", args.at(1));
    ctx.out.ok();
    Ok(())
}
