//! Set commands: their table, and those about the members of one set.
//!
//! `random` draws lots, `algebra` works on several sets.

mod algebra;
mod random;

use super::ctx::Ctx;
use super::spec::{Flags, Group, Handler::Data, KeySpec, OW_UPDATE, RO_ACCESS, RO_NONE, RW_ACCESS_DELETE};
use super::spec::{RW_DELETE, RW_INSERT, RW_UPDATE, Spec};
use crate::commands::looks::{self, Looks};
use crate::commands::scan::scan_collection;
use crate::error::{CommandResult, WRONG_TYPE};
use crate::notify::EventClass;
use crate::resp::{Args, ReplyBuf};
use basalt_storage::entry::{EntryRef, ValueRef};
use basalt_storage::keyspace::Key;
use basalt_storage::types::Set;

const ALL_MEMBERS: &str = "O(N), N being the number of members of the set";
const NAMED_MEMBERS: &str = "O(N), N being the number of members named";
const DRAWN_MEMBERS: &str = "O(1) without a count, O(N) with one, N being how many are drawn";
const TOTAL_MEMBERS: &str = "O(N), N being the number of members of all sets";
const INTERSECTION: &str = "O(N*M) at worst, N being the size of the smallest set, M the number of sets";

const READ: Spec =
    Spec { flags: Flags::READONLY, keys: &[KeySpec::first(RO_ACCESS)], group: Group::Set, ..Spec::DEFAULT };
const FAST_READ: Spec = Spec { flags: Flags::READONLY.or(Flags::FAST), ..READ };
const WRITE: Spec = Spec { flags: Flags::WRITE.or(Flags::FAST), group: Group::Set, ..Spec::DEFAULT };
/// Answers a set that is made of others.
const COMBINE: Spec = Spec { arity: -2, keys: &[KeySpec::range(1, -1, 1, RO_ACCESS)], syntax: "key [key ...]", ..READ };
/// Stores a set that is made of others.
const STORE: Spec = Spec {
    arity: -3,
    flags: Flags::WRITE.or(Flags::DENYOOM),
    keys: &[KeySpec::first(OW_UPDATE), KeySpec::range(2, -1, 1, RO_ACCESS)],
    syntax: "destination key [key ...]",
    ..WRITE
};

pub const COMMANDS: &[Spec] = &[
    Spec {
        name: "sadd",
        arity: -3,
        flags: Flags::WRITE.or(Flags::DENYOOM).or(Flags::FAST),
        keys: &[KeySpec::first(RW_INSERT)],
        complexity: NAMED_MEMBERS,
        summary: "Adds members to a set.",
        syntax: "key member [member ...]",
        handler: Data(sadd),
        ..WRITE
    },
    Spec {
        name: "srem",
        arity: -3,
        keys: &[KeySpec::first(RW_DELETE)],
        complexity: NAMED_MEMBERS,
        summary: "Takes members out of a set; a set without members is gone.",
        syntax: "key member [member ...]",
        handler: Data(srem),
        ..WRITE
    },
    Spec {
        name: "smove",
        arity: 4,
        keys: &[KeySpec::first(RW_ACCESS_DELETE), KeySpec::at(2, RW_INSERT)],
        summary: "Moves a member from one set to another.",
        syntax: "source destination member",
        handler: Data(smove),
        ..WRITE
    },
    Spec {
        name: "sismember",
        looks: Looks::AtParts(looks::named),
        arity: 3,
        keys: &[KeySpec::first(RO_NONE)],
        summary: "Tells whether something is a member of a set.",
        syntax: "key member",
        handler: Data(sismember),
        ..FAST_READ
    },
    Spec {
        name: "smismember",
        looks: Looks::AtParts(looks::named),
        arity: -3,
        since: "6.2.0",
        complexity: NAMED_MEMBERS,
        summary: "Tells of several things whether they are members of a set.",
        syntax: "key member [member ...]",
        handler: Data(smismember),
        ..FAST_READ
    },
    Spec {
        name: "scard",
        looks: Looks::AtOutlines,
        arity: 2,
        keys: &[KeySpec::first(RO_NONE)],
        summary: "Counts the members of a set.",
        syntax: "key",
        handler: Data(scard),
        ..FAST_READ
    },
    Spec {
        name: "smembers",
        arity: 2,
        complexity: ALL_MEMBERS,
        summary: "Answers all members of a set.",
        syntax: "key",
        tips: &["nondeterministic_output_order"],
        handler: Data(smembers),
        ..READ
    },
    Spec {
        name: "sscan",
        arity: -3,
        since: "2.8.0",
        complexity: "O(1) per call, O(N) for all of them, N being the number of members",
        summary: "Walks through the members of a set, some with each call.",
        syntax: "key cursor [MATCH pattern] [COUNT count]",
        tips: &["nondeterministic_output"],
        looks: Looks::AtParts(looks::page),
        handler: Data(scan_collection::<Set>),
        ..READ
    },
    Spec {
        name: "spop",
        tips: &["nondeterministic_output"],
        arity: -2,
        keys: &[KeySpec::first(RW_ACCESS_DELETE)],
        complexity: DRAWN_MEMBERS,
        summary: "Takes random members out of a set and answers them.",
        syntax: "key [count]",
        handler: Data(random::spop),
        ..WRITE
    },
    Spec {
        name: "srandmember",
        tips: &["nondeterministic_output"],
        arity: -2,
        complexity: DRAWN_MEMBERS,
        summary: "Draws members of a set at random.",
        syntax: "key [count]",
        handler: Data(random::srandmember),
        ..READ
    },
    Spec {
        name: "sinter",
        tips: &["nondeterministic_output_order"],
        complexity: INTERSECTION,
        summary: "Answers what is in all of the sets.",
        handler: Data(algebra::sinter),
        ..COMBINE
    },
    Spec {
        name: "sintercard",
        arity: -3,
        flags: Flags::READONLY.or(Flags::MOVABLE_KEYS),
        keys: &[KeySpec::counted(1, RO_ACCESS)],
        since: "7.0.0",
        complexity: INTERSECTION,
        summary: "Counts what is in all of the sets.",
        syntax: "numkeys key [key ...] [LIMIT limit]",
        handler: Data(algebra::sintercard),
        ..READ
    },
    Spec {
        name: "sinterstore",
        keys: &[KeySpec::first(RW_UPDATE), KeySpec::range(2, -1, 1, RO_ACCESS)],
        complexity: INTERSECTION,
        summary: "Stores what is in all of the sets.",
        handler: Data(algebra::sinterstore),
        ..STORE
    },
    Spec {
        name: "sunion",
        complexity: TOTAL_MEMBERS,
        summary: "Answers what is in any of the sets.",
        tips: &["nondeterministic_output_order"],
        handler: Data(algebra::sunion),
        ..COMBINE
    },
    Spec {
        name: "sunionstore",
        complexity: TOTAL_MEMBERS,
        summary: "Stores what is in any of the sets.",
        handler: Data(algebra::sunionstore),
        ..STORE
    },
    Spec {
        name: "sdiff",
        tips: &["nondeterministic_output_order"],
        complexity: TOTAL_MEMBERS,
        summary: "Answers what is in the first of the sets and in no other.",
        handler: Data(algebra::sdiff),
        ..COMBINE
    },
    Spec {
        name: "sdiffstore",
        complexity: TOTAL_MEMBERS,
        summary: "Stores what is in the first of the sets and in no other.",
        handler: Data(algebra::sdiffstore),
        ..STORE
    },
];

fn sadd(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    let added = ctx.view.existing_or_new::<Set>(ctx.db, &args.key(1))?.add(args.from(2));
    if added > 0 {
        ctx.notify(EventClass::Set, "sadd", args.at(1));
    }
    ctx.out.count(added);
    Ok(())
}

fn srem(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    let Some(mut set) = ctx.view.existing::<Set>(ctx.db, &args.key(1))? else {
        ctx.out.integer(0);
        return Ok(());
    };
    let removed = set.remove(args.from(2));
    let emptied = set.value().is_empty();
    drop(set);
    if removed > 0 {
        ctx.notify(EventClass::Set, "srem", args.at(1));
    }
    if emptied {
        ctx.notify(EventClass::Generic, "del", args.at(1));
    }
    ctx.out.count(removed);
    Ok(())
}

fn smove(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    let (from, to, member) = (args.at(1), args.at(2), args.at(3));
    // Without a source nothing is said about the destination, even if it is no set.
    if ctx.view.peek(ctx.db, &Key::new(from)).is_none() {
        ctx.out.integer(0);
        return Ok(());
    }
    let target = ctx.view.peek(ctx.db, &Key::new(to)).map(EntryRef::value);
    let target_fits = matches!(target, None | Some(ValueRef::Set(_)));
    let Some(mut source) = ctx.view.existing::<Set>(ctx.db, &Key::new(from))? else {
        unreachable!("the source was there a moment ago, and time stands still in a view");
    };
    if !target_fits {
        return Err(WRONG_TYPE);
    }
    if from == to {
        ctx.out.count(source.value().contains(member).into());
        return Ok(());
    }
    let moved = source.remove(std::iter::once(member)) > 0;
    let emptied = source.value().is_empty();
    drop(source);
    ctx.out.count(moved.into());
    if !moved {
        return Ok(());
    }
    ctx.notify(EventClass::Set, "srem", from);
    if emptied {
        ctx.notify(EventClass::Generic, "del", from);
    }
    if ctx.view.existing_or_new::<Set>(ctx.db, &Key::new(to))?.add(std::iter::once(member)) > 0 {
        ctx.notify(EventClass::Set, "sadd", to);
    }
    Ok(())
}

fn sismember(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    let set = ctx.view.partial::<Set>(ctx.db, &args.key(1))?;
    ctx.out.count(set.is_some_and(|set| set.contains(args.at(2))).into());
    Ok(())
}

fn smismember(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    let set = ctx.view.partial::<Set>(ctx.db, &args.key(1))?;
    let members = args.from(2);
    ctx.out.array(members.len());
    for member in members {
        ctx.out.count(set.as_ref().is_some_and(|set| set.contains(member)).into());
    }
    Ok(())
}

fn scard(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    let set = ctx.view.partial::<Set>(ctx.db, &args.key(1))?;
    ctx.out.count(set.map_or(0, |set| set.len()));
    Ok(())
}

fn smembers(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    match ctx.view.set(ctx.db, &args.key(1))? {
        None => ctx.out.set(0),
        Some(set) => reply_whole(ctx.out, set),
    }
    Ok(())
}

/// Answers all members, as a set.
fn reply_whole(out: &mut ReplyBuf, set: &Set) {
    out.set(set.len());
    set.iter().for_each(|member| out.bulk(&member));
}
