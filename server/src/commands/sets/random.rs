//! SPOP and SRANDMEMBER.

use super::reply_whole;
use crate::commands::ctx::Ctx;
use crate::commands::draw::{self, Draw};
use crate::error::{CommandResult, NOT_POSITIVE, SYNTAX};
use crate::notify::EventClass;
use crate::resp::{Args, ReplyBuf};
use basalt_storage::keyspace::{Key, with_rng};
use basalt_storage::number;
use basalt_storage::types::{Encoding, MemberRef, Set, SetLimits};
use basalt_storage::value::Value;

pub fn spop(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    match args.len() {
        2 => pop_one(ctx, args.at(1)),
        3 => {
            let count = number::parse_i64(args.at(2)).and_then(|count| usize::try_from(count).ok());
            pop_count(ctx, args.at(1), count.ok_or(NOT_POSITIVE)?)
        }
        _ => Err(SYNTAX),
    }
}

fn pop_one(ctx: &mut Ctx<'_, '_>, key: &[u8]) -> CommandResult {
    let Some(mut set) = ctx.view.existing::<Set>(ctx.db, &Key::new(key))? else {
        ctx.out.null();
        return Ok(());
    };
    let member = with_rng(|rng| set.pop(rng));
    let emptied = set.value().is_empty();
    drop(set);
    ctx.out.bulk_or_null(member.as_deref());
    notify_popped(ctx, key, emptied.then_some("del"));
    Ok(())
}

/// Pops `count` members in the way that costs least: all at once, one by one, or by keeping the few that stay.
fn pop_count(ctx: &mut Ctx<'_, '_>, key: &[u8], count: usize) -> CommandResult {
    let Some(mut set) = ctx.view.existing::<Set>(ctx.db, &Key::new(key))? else {
        ctx.out.set(0);
        return Ok(());
    };
    let len = set.value().len();
    if count == 0 {
        ctx.out.set(0);
    } else if count >= len {
        reply_whole(ctx.out, set.value());
        drop(set);
        ctx.view.delete(ctx.db, &Key::new(key));
        notify_popped(ctx, key, Some("del"));
    } else if enough_stay(count, len) {
        let popped = with_rng(|rng| set.pop_many(count, rng));
        drop(set);
        ctx.out.set(popped.len());
        popped.iter().for_each(|member| ctx.out.bulk(member));
        notify_popped(ctx, key, None);
    } else {
        let kept = pop_but_some(ctx.out, set.value(), len - count, &set.settings().set_limits());
        drop(set);
        let expiry = ctx.view.peek(ctx.db, &Key::new(key)).and_then(|entry| entry.expiry());
        ctx.view.put(ctx.db, &Key::new(key), Value::Set(kept), expiry);
        notify_popped(ctx, key, None);
    }
    Ok(())
}

/// Whether so many members stay that the others are better popped one by one. Otherwise Redis moves those that stay to
/// a new set, and that shows: it is in the smallest form that its members fit into.
fn enough_stay(popped: usize, len: usize) -> bool {
    (len - popped) * 5 > popped
}

/// Answers all members but `keep` random ones, which it returns as a set.
fn pop_but_some(out: &mut ReplyBuf, set: &Set, keep: usize, limits: &SetLimits) -> Set {
    let mut kept = Set::new();
    out.set(set.len() - keep);
    with_rng(|rng| {
        let keep_it = |member: MemberRef<'_>| assert!(kept.add(&member, limits), "a set yields each member once");
        draw::split(keep, set.len(), set.iter(), rng, keep_it, |member| out.bulk(&member));
    });
    kept
}

fn notify_popped(ctx: &mut Ctx<'_, '_>, key: &[u8], then: Option<&'static str>) {
    ctx.notify(EventClass::Set, "spop", key);
    if let Some(event) = then {
        ctx.notify(EventClass::Generic, event, key);
    }
}

pub fn srandmember(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    let key = args.key(1);
    if args.len() == 2 {
        let member = ctx.view.set(ctx.db, &key)?.and_then(|set| with_rng(|rng| set.random(rng)));
        ctx.out.bulk_or_null(member.as_deref());
        return Ok(());
    }
    if args.len() > 3 {
        return Err(SYNTAX);
    }
    let draw = Draw::parse(args.at(2))?;
    match ctx.view.set(ctx.db, &key)? {
        None => ctx.out.array(0),
        Some(set) => reply_drawn(ctx.out, set, draw),
    }
    Ok(())
}

fn reply_drawn(out: &mut ReplyBuf, set: &Set, draw: Draw) {
    match draw {
        Draw::WithRepeats(count) => {
            out.array(count);
            reply_with_repeats(out, set, count);
        }
        Draw::Distinct(count) => {
            let count = count.min(set.len());
            out.array(count);
            if set.encoding() == Encoding::Hashtable && draw::is_few(count, set.len()) {
                with_rng(|rng| draw::distinct(count, || set.random(rng), |member| member, |member| out.bulk(member)));
            } else {
                with_rng(|rng| draw::sample(count, set.len(), set.iter(), rng, |member| out.bulk(&member)));
            }
        }
    }
}

fn reply_with_repeats(out: &mut ReplyBuf, set: &Set, count: usize) {
    // A packed set finds its n-th member by walking there: so it is walked once.
    let members: Vec<MemberRef<'_>> =
        if set.encoding() == Encoding::Listpack { set.iter().collect() } else { Vec::new() };
    for _ in 0..count {
        let member = with_rng(|rng| match members.len() as u64 {
            0 => set.random(rng).map(|member| out.bulk(&member)),
            len => members.get(rng.below(len) as usize).map(|member| out.bulk(member)),
        });
        assert!(member.is_some(), "a set at a key is not empty");
        // The count may be huge, and the client is closed for too much output anyway.
        if out.is_excessive() {
            return;
        }
    }
}
