//! Union, intersection and difference of sorted sets, answered, counted or stored. Sets take part with scores of 1.

use super::range::store;
use super::{Scores, write_members};
use crate::commands::ctx::Ctx;
use crate::commands::parse;
use crate::commands::spec::{Flags, Group, Handler::Data, KeySpec, OW_UPDATE, RO_ACCESS, Spec};
use crate::error::{CommandError, CommandResult, SYNTAX, WRONG_TYPE};
use crate::resp::Args;
use basalt_storage::effect::DbIndex;
use basalt_storage::entry::{EntryRef, ValueRef};
use basalt_storage::keyspace::{Key, View};
use basalt_storage::number;
use basalt_storage::types::{Set, Zset, ZsetLimits};
use std::ops::ControlFlow;

pub const COMMANDS: &[Spec] = &[
    Spec {
        name: "zunion",
        arity: -3,
        flags: Flags::READONLY.or(Flags::MOVABLE_KEYS),
        keys: &[KeySpec::counted(1, RO_ACCESS)],
        group: Group::SortedSet,
        since: "6.2.0",
        complexity: "O(N)+O(M*log(M)), N being the sum of the sizes, M the size of the result",
        summary: "Answers the union of sorted sets.",
        syntax: "numkeys key [key ...] [WEIGHTS weight [weight ...]] [AGGREGATE <SUM | MIN | MAX>] [WITHSCORES]",
        handler: Data(zunion),
        ..Spec::DEFAULT
    },
    Spec {
        name: "zinter",
        arity: -3,
        flags: Flags::READONLY.or(Flags::MOVABLE_KEYS),
        keys: &[KeySpec::counted(1, RO_ACCESS)],
        group: Group::SortedSet,
        since: "6.2.0",
        complexity: "O(N*K)+O(M*log(M)), N being the smallest size, K the number of keys, M the size of the result",
        summary: "Answers the intersection of sorted sets.",
        syntax: "numkeys key [key ...] [WEIGHTS weight [weight ...]] [AGGREGATE <SUM | MIN | MAX>] [WITHSCORES]",
        handler: Data(zinter),
        ..Spec::DEFAULT
    },
    Spec {
        name: "zdiff",
        arity: -3,
        flags: Flags::READONLY.or(Flags::MOVABLE_KEYS),
        keys: &[KeySpec::counted(1, RO_ACCESS)],
        group: Group::SortedSet,
        since: "6.2.0",
        complexity: "O(L+(N-K)*log(N)), L being the sum of the sizes, N the size of the first, K that of the result",
        summary: "Answers what the first sorted set has and the others have not.",
        syntax: "numkeys key [key ...] [WITHSCORES]",
        handler: Data(zdiff),
        ..Spec::DEFAULT
    },
    Spec {
        name: "zunionstore",
        arity: -4,
        flags: Flags::WRITE.or(Flags::DENYOOM).or(Flags::MOVABLE_KEYS),
        keys: &[KeySpec::first(OW_UPDATE), KeySpec::counted(2, RO_ACCESS)],
        group: Group::SortedSet,
        since: "2.0.0",
        complexity: "O(N)+O(M*log(M)), N being the sum of the sizes, M the size of the result",
        summary: "Stores the union of sorted sets.",
        syntax: "destination numkeys key [key ...] [WEIGHTS weight [weight ...]] [AGGREGATE <SUM | MIN | MAX>]",
        handler: Data(zunionstore),
        ..Spec::DEFAULT
    },
    Spec {
        name: "zinterstore",
        arity: -4,
        flags: Flags::WRITE.or(Flags::DENYOOM).or(Flags::MOVABLE_KEYS),
        keys: &[KeySpec::first(OW_UPDATE), KeySpec::counted(2, RO_ACCESS)],
        group: Group::SortedSet,
        since: "2.0.0",
        complexity: "O(N*K)+O(M*log(M)), N being the smallest size, K the number of keys, M the size of the result",
        summary: "Stores the intersection of sorted sets.",
        syntax: "destination numkeys key [key ...] [WEIGHTS weight [weight ...]] [AGGREGATE <SUM | MIN | MAX>]",
        handler: Data(zinterstore),
        ..Spec::DEFAULT
    },
    Spec {
        name: "zdiffstore",
        arity: -4,
        flags: Flags::WRITE.or(Flags::DENYOOM).or(Flags::MOVABLE_KEYS),
        keys: &[KeySpec::first(OW_UPDATE), KeySpec::counted(2, RO_ACCESS)],
        group: Group::SortedSet,
        since: "6.2.0",
        complexity: "O(L+(N-K)*log(N)), L being the sum of the sizes, N the size of the first, K that of the result",
        summary: "Stores what the first sorted set has and the others have not.",
        syntax: "destination numkeys key [key ...]",
        handler: Data(zdiffstore),
        ..Spec::DEFAULT
    },
    Spec {
        name: "zintercard",
        arity: -3,
        flags: Flags::READONLY.or(Flags::MOVABLE_KEYS),
        keys: &[KeySpec::counted(1, RO_ACCESS)],
        group: Group::SortedSet,
        since: "7.0.0",
        complexity: "O(N*K), N being the smallest size, K the number of keys",
        summary: "Counts the members of an intersection.",
        syntax: "numkeys key [key ...] [LIMIT limit]",
        handler: Data(zintercard),
        ..Spec::DEFAULT
    },
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    Union,
    Intersection,
    Difference,
}

/// How the scores of one member become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Aggregate {
    Sum,
    Min,
    Max,
}

/// What the result is for, which decides on the options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Answer,
    Store,
    Count,
}

/// One command, understood.
struct Request<'a> {
    operation: Operation,
    keys: Vec<&'a [u8]>,
    /// One for each key.
    weights: Vec<f64>,
    aggregate: Aggregate,
    scores: Scores,
    /// Zero for no limit.
    limit: usize,
}

/// What a key holds.
#[derive(Clone, Copy)]
enum Source<'v> {
    Zset(&'v Zset),
    Set(&'v Set),
    Absent,
}

/// A source with the weight of its scores.
#[derive(Clone, Copy)]
struct Input<'v> {
    source: Source<'v>,
    weight: f64,
}

fn zunion(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    answer(ctx, args, Operation::Union, "zunion")
}

fn zinter(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    answer(ctx, args, Operation::Intersection, "zinter")
}

fn zdiff(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    answer(ctx, args, Operation::Difference, "zdiff")
}

fn answer(ctx: &mut Ctx<'_, '_>, args: Args<'_>, operation: Operation, name: &str) -> CommandResult {
    let request = Request::parse(ctx, args, 1, operation, Purpose::Answer, name)?;
    let limits = ctx.view.keyspace().settings.zset_limits();
    let result = request.run(ctx.view, ctx.db, &limits);
    write_members(ctx.out, result.iter(), request.scores);
    Ok(())
}

fn zunionstore(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    store_result(ctx, args, Operation::Union, "zunionstore")
}

fn zinterstore(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    store_result(ctx, args, Operation::Intersection, "zinterstore")
}

fn zdiffstore(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    store_result(ctx, args, Operation::Difference, "zdiffstore")
}

fn store_result(ctx: &mut Ctx<'_, '_>, args: Args<'_>, operation: Operation, name: &'static str) -> CommandResult {
    let request = Request::parse(ctx, args, 2, operation, Purpose::Store, name)?;
    let limits = ctx.view.keyspace().settings.zset_limits();
    let mut result = request.run(ctx.view, ctx.db, &limits);
    result.compact(&limits);
    store(ctx, args.at(1), result, name);
    Ok(())
}

fn zintercard(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    let request = Request::parse(ctx, args, 1, Operation::Intersection, Purpose::Count, "zintercard")?;
    let inputs = request.inputs(ctx.view, ctx.db);
    let mut count = 0;
    let _ = intersect(&inputs, request.aggregate, &mut |_, _| {
        count += 1;
        if count == request.limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    ctx.out.count(count);
    Ok(())
}

impl<'a> Request<'a> {
    /// Reads the arguments from `numkeys` on. The keys are looked at before the options, since that is the order of
    /// errors in Redis.
    fn parse(
        ctx: &mut Ctx<'_, '_>,
        args: Args<'a>,
        numkeys: usize,
        operation: Operation,
        purpose: Purpose,
        name: &str,
    ) -> Result<Request<'a>, CommandError> {
        let number = parse::integer(args.at(numkeys))?;
        let number = usize::try_from(number)
            .ok()
            .filter(|&number| number > 0)
            .ok_or_else(|| CommandError::owned(format!("ERR at least 1 input key is needed for '{name}' command")))?;
        if number > args.len() - numkeys - 1 {
            return Err(SYNTAX);
        }
        let keys: Vec<&[u8]> = args.from(numkeys + 1).take(number).collect();
        for key in &keys {
            match ctx.view.read(ctx.db, &Key::new(key)).map(EntryRef::value) {
                None | Some(ValueRef::Zset(_) | ValueRef::Set(_)) => {}
                Some(_) => return Err(WRONG_TYPE),
            }
        }
        let weights = vec![1.0; number];
        let mut request =
            Request { operation, keys, weights, aggregate: Aggregate::Sum, scores: Scores::Without, limit: 0 };
        request.parse_options(args, numkeys + 1 + number, purpose)?;
        Ok(request)
    }

    fn parse_options(&mut self, args: Args<'_>, from: usize, purpose: Purpose) -> CommandResult {
        const WEIGHT_NOT_FLOAT: CommandError = CommandError::new("ERR weight value is not a float");
        const LIMIT_NEGATIVE: CommandError = CommandError::new("ERR LIMIT can't be negative");
        let combines_scores = self.operation != Operation::Difference && purpose != Purpose::Count;
        let mut at = from;
        while at < args.len() {
            let left = args.len() - at - 1;
            if combines_scores && left >= self.keys.len() && args.is(at, "WEIGHTS") {
                for (weight, text) in self.weights.iter_mut().zip(args.from(at + 1)) {
                    *weight = number::parse_f64(text).ok_or(WEIGHT_NOT_FLOAT)?;
                }
                at += self.keys.len();
            } else if combines_scores && left >= 1 && args.is(at, "AGGREGATE") {
                self.aggregate = Aggregate::parse(args.at(at + 1)).ok_or(SYNTAX)?;
                at += 1;
            } else if purpose == Purpose::Answer && args.is(at, "WITHSCORES") {
                self.scores = Scores::With;
            } else if purpose == Purpose::Count && left >= 1 && args.is(at, "LIMIT") {
                self.limit = parse::at_least(0, args.at(at + 1), LIMIT_NEGATIVE)?;
                at += 1;
            } else {
                return Err(SYNTAX);
            }
            at += 1;
        }
        Ok(())
    }

    /// All inputs at once; the smallest first where the order is free.
    fn inputs<'v>(&self, view: &'v View<'_>, db: DbIndex) -> Vec<Input<'v>> {
        let source = |key: &&[u8]| match view.revisit(db, &Key::new(key)).map(EntryRef::value) {
            Some(ValueRef::Zset(zset)) => Source::Zset(zset),
            Some(ValueRef::Set(set)) => Source::Set(set),
            _ => Source::Absent,
        };
        let weighted = self.keys.iter().map(source).zip(&self.weights);
        let mut inputs: Vec<_> = weighted.map(|(source, &weight)| Input { source, weight }).collect();
        if self.operation != Operation::Difference {
            // Scores are added in this order, which shows in their last digits.
            inputs.sort_by_key(|input| input.source.len());
        }
        inputs
    }

    fn run(&self, view: &View<'_>, db: DbIndex, limits: &ZsetLimits) -> Zset {
        let inputs = self.inputs(view, db);
        // Large from the start, as in Redis: packed, it would lose the sign of negative zeros.
        let mut result = Zset::new();
        result.anticipate(usize::MAX, 0, limits);
        match self.operation {
            Operation::Union => unite(&inputs, self.aggregate, &mut result, limits),
            Operation::Intersection => {
                let _ = intersect(&inputs, self.aggregate, &mut |member, score| {
                    result.put(member, score, limits);
                    ControlFlow::Continue(())
                });
            }
            Operation::Difference => subtract(&inputs, &mut result, limits),
        }
        result
    }
}

impl Aggregate {
    fn parse(word: &[u8]) -> Option<Aggregate> {
        let words = [(&b"SUM"[..], Aggregate::Sum), (b"MIN", Aggregate::Min), (b"MAX", Aggregate::Max)];
        words.into_iter().find(|(name, _)| word.eq_ignore_ascii_case(name)).map(|(_, aggregate)| aggregate)
    }

    fn of(self, so_far: f64, score: f64) -> f64 {
        match self {
            Aggregate::Sum => number_or_zero(so_far + score),
            Aggregate::Min => {
                if score < so_far {
                    score
                } else {
                    so_far
                }
            }
            Aggregate::Max => {
                if score > so_far {
                    score
                } else {
                    so_far
                }
            }
        }
    }
}

/// Infinities that cancel each other, or are weighted with zero, count as zero.
fn number_or_zero(score: f64) -> f64 {
    if score.is_nan() { 0.0 } else { score }
}

impl Source<'_> {
    fn len(self) -> usize {
        match self {
            Source::Zset(zset) => zset.len(),
            Source::Set(set) => set.len(),
            Source::Absent => 0,
        }
    }

    fn score(self, member: &[u8]) -> Option<f64> {
        match self {
            Source::Zset(zset) => zset.score(member),
            Source::Set(set) => set.contains(member).then_some(1.0),
            Source::Absent => None,
        }
    }

    fn try_for_each(self, visit: &mut dyn FnMut(&[u8], f64) -> ControlFlow<()>) -> ControlFlow<()> {
        match self {
            Source::Zset(zset) => zset.iter().try_for_each(|(member, score)| visit(member, score)),
            Source::Set(set) => set.iter().try_for_each(|member| visit(&member, 1.0)),
            Source::Absent => ControlFlow::Continue(()),
        }
    }

    fn for_each(self, mut visit: impl FnMut(&[u8], f64)) {
        let _ = self.try_for_each(&mut |member, score| {
            visit(member, score);
            ControlFlow::Continue(())
        });
    }
}

fn unite(inputs: &[Input<'_>], aggregate: Aggregate, result: &mut Zset, limits: &ZsetLimits) {
    for input in inputs {
        input.source.for_each(|member, score| {
            let score = number_or_zero(score * input.weight);
            result.put_with(member, limits, |so_far| Some(so_far.map_or(score, |so_far| aggregate.of(so_far, score))));
        });
    }
}

/// Hands each common member to `take`, until that has enough.
fn intersect(
    inputs: &[Input<'_>],
    aggregate: Aggregate,
    take: &mut dyn FnMut(&[u8], f64) -> ControlFlow<()>,
) -> ControlFlow<()> {
    let Some((smallest, others)) = inputs.split_first() else { return ControlFlow::Continue(()) };
    smallest.source.try_for_each(&mut |member, score| {
        let mut combined = number_or_zero(score * smallest.weight);
        for other in others {
            let Some(score) = other.source.score(member) else { return ControlFlow::Continue(()) };
            combined = aggregate.of(combined, score * other.weight);
        }
        take(member, combined)
    })
}

fn subtract(inputs: &[Input<'_>], result: &mut Zset, limits: &ZsetLimits) {
    let Some((first, others)) = inputs.split_first() else { return };
    first.source.for_each(|member, score| {
        if others.iter().all(|other| other.source.score(member).is_none()) {
            result.put(member, score, limits);
        }
    });
}
