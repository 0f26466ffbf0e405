//! Intersection, union and difference of sets, answered, counted or stored.
//!
//! An operation borrows all its sets at once and hands each member of the result, once, to whoever wants it.

use crate::commands::ctx::Ctx;
use crate::error::{CommandError, CommandResult, SYNTAX};
use crate::notify::EventClass;
use crate::resp::Args;
use basalt_storage::effect::DbIndex;
use basalt_storage::entry::ValueRef;
use basalt_storage::keyspace::{Key, View};
use basalt_storage::number;
use basalt_storage::types::{Set, SetLimits};
use basalt_storage::value::Value;
use std::ops::ControlFlow;

const NUMKEYS_NOT_POSITIVE: CommandError = CommandError::new("ERR numkeys should be greater than 0");
const TOO_MANY_KEYS: CommandError = CommandError::new("ERR Number of keys can't be greater than number of args");
const LIMIT_NEGATIVE: CommandError = CommandError::new("ERR LIMIT can't be negative");

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    Intersection,
    Union,
    Difference,
}

impl Operation {
    /// The event of storing a result.
    fn event(self) -> &'static str {
        match self {
            Operation::Intersection => "sinterstore",
            Operation::Union => "sunionstore",
            Operation::Difference => "sdiffstore",
        }
    }

    /// Hands each member of the result to `take`, until that has enough.
    fn run(self, sets: &[Option<&Set>], limits: &SetLimits, take: &mut dyn FnMut(&[u8]) -> ControlFlow<()>) {
        // Whoever stops early has enough: that is no failure.
        let _ = match self {
            Operation::Intersection => intersect(sets, take),
            Operation::Union => unite(sets, limits, take),
            Operation::Difference => subtract(sets, take),
        };
    }
}

pub fn sinter(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    answer(ctx, args, Operation::Intersection)
}

pub fn sunion(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    answer(ctx, args, Operation::Union)
}

pub fn sdiff(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    answer(ctx, args, Operation::Difference)
}

pub fn sinterstore(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    store(ctx, args, Operation::Intersection)
}

pub fn sunionstore(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    store(ctx, args, Operation::Union)
}

pub fn sdiffstore(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    store(ctx, args, Operation::Difference)
}

pub fn sintercard(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    let numkeys = number::parse_i64(args.at(1)).and_then(|number| usize::try_from(number).ok());
    let numkeys = numkeys.filter(|&number| number > 0).ok_or(NUMKEYS_NOT_POSITIVE)?;
    if numkeys > args.len() - 2 {
        return Err(TOO_MANY_KEYS);
    }
    let limit = parse_limit(args, 2 + numkeys)?;
    let limits = ctx.view.keyspace().settings.set_limits();
    let mut count = 0;
    let sets = borrow_all(ctx.view, ctx.db, args.from(2).take(numkeys))?;
    Operation::Intersection.run(&sets, &limits, &mut |_| {
        count += 1;
        if Some(count) == limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    ctx.out.count(count);
    Ok(())
}

/// LIMIT, where 0 means none.
fn parse_limit(args: Args<'_>, from: usize) -> Result<Option<usize>, CommandError> {
    let mut limit = None;
    for at in (from..args.len()).step_by(2) {
        if !args.is(at, "LIMIT") {
            return Err(SYNTAX);
        }
        let number = number::parse_i64(args.maybe(at + 1).ok_or(SYNTAX)?);
        let number = number.and_then(|number| usize::try_from(number).ok()).ok_or(LIMIT_NEGATIVE)?;
        limit = (number > 0).then_some(number);
    }
    Ok(limit)
}

fn answer(ctx: &mut Ctx<'_, '_>, args: Args<'_>, operation: Operation) -> CommandResult {
    let limits = ctx.view.keyspace().settings.set_limits();
    let sets = borrow_all(ctx.view, ctx.db, args.from(1))?;
    let header = ctx.out.deferred();
    let mut count = 0;
    operation.run(&sets, &limits, &mut |member| {
        ctx.out.bulk(member);
        count += 1;
        ControlFlow::Continue(())
    });
    ctx.out.finish_set(header, count);
    Ok(())
}

fn store(ctx: &mut Ctx<'_, '_>, args: Args<'_>, operation: Operation) -> CommandResult {
    let (target, limits) = (args.at(1), ctx.view.keyspace().settings.set_limits());
    let sets = borrow_all(ctx.view, ctx.db, args.from(2))?;
    // The result takes its form from its members alone, so it is in the smallest one, as that of Redis 7.2 is.
    let mut result = Set::new();
    operation.run(&sets, &limits, &mut |member| {
        result.add(member, &limits);
        ControlFlow::Continue(())
    });
    ctx.out.count(result.len());
    if !result.is_empty() {
        ctx.view.put(ctx.db, &Key::new(target), Value::Set(result), None);
        ctx.notify(EventClass::Set, operation.event(), target);
    } else if ctx.view.delete(ctx.db, &Key::new(target)) {
        ctx.notify(EventClass::Generic, "del", target);
    }
    Ok(())
}

/// The sets at `keys`, all of them at once. Each key must hold a set or nothing, whatever the result will be.
fn borrow_all<'v, 'a>(
    view: &'v mut View<'_>,
    db: DbIndex,
    keys: impl Iterator<Item = &'a [u8]> + Clone,
) -> Result<Vec<Option<&'v Set>>, CommandError> {
    for key in keys.clone() {
        view.set(db, &Key::new(key))?;
    }
    let view: &'v View<'_> = view;
    let set = |key| match view.revisit(db, &Key::new(key))?.value() {
        ValueRef::Set(set) => Some(set),
        _ => None,
    };
    Ok(keys.map(set).collect())
}

/// Walks through the smallest set and asks the others, the next smallest first.
fn intersect(sets: &[Option<&Set>], take: &mut dyn FnMut(&[u8]) -> ControlFlow<()>) -> ControlFlow<()> {
    let Some(mut sets) = sets.iter().copied().collect::<Option<Vec<&Set>>>() else {
        return ControlFlow::Continue(());
    };
    sets.sort_by_key(|set| set.len());
    let (smallest, others) = sets.split_first().expect("arity asks for one key at least");
    smallest.iter().filter(|member| others.iter().all(|set| set.contains(member))).try_for_each(|member| take(&member))
}

/// Walks through all sets and remembers what it has seen.
fn unite(sets: &[Option<&Set>], limits: &SetLimits, take: &mut dyn FnMut(&[u8]) -> ControlFlow<()>) -> ControlFlow<()> {
    let mut seen = Set::new();
    sets.iter()
        .flatten()
        .flat_map(|set| set.iter())
        .filter(|member| seen.add(member, limits))
        .try_for_each(|member| take(&member))
}

/// Walks through the first set and asks the others, the largest first: there a member is most likely to be.
fn subtract(sets: &[Option<&Set>], take: &mut dyn FnMut(&[u8]) -> ControlFlow<()>) -> ControlFlow<()> {
    let (first, others) = sets.split_first().expect("arity asks for one key at least");
    let Some(first) = first else { return ControlFlow::Continue(()) };
    let mut others: Vec<&Set> = others.iter().copied().flatten().collect();
    others.sort_by_key(|set| std::cmp::Reverse(set.len()));
    first.iter().filter(|member| !others.iter().any(|set| set.contains(member))).try_for_each(|member| take(&member))
}
