//! Sorted set commands that add, change and remove single members: ZADD, ZINCRBY, ZREM.

use crate::commands::ctx::Ctx;
use crate::commands::parse;
use crate::commands::spec::{Flags, Group, Handler::Data, KeySpec, RW_ACCESS_UPDATE, RW_DELETE, RW_UPDATE, Spec};
use crate::error::{CommandError, CommandResult, SYNTAX};
use crate::notify::EventClass;
use crate::resp::Args;
use basalt_storage::keyspace::{Handle, Key};
use basalt_storage::types::Zset;
use basalt_storage::types::zset::Outcome;
use smallvec::SmallVec;

pub const COMMANDS: &[Spec] = &[
    Spec {
        name: "zadd",
        arity: -4,
        flags: Flags::WRITE.or(Flags::DENYOOM).or(Flags::FAST),
        keys: &[KeySpec::first(RW_UPDATE)],
        group: Group::SortedSet,
        since: "1.2.0",
        complexity: "O(log(N)) for every member, N being the size of the sorted set",
        summary: "Adds members to a sorted set, or changes their scores.",
        syntax: "key [NX | XX] [GT | LT] [CH] [INCR] score member [score member ...]",
        handler: Data(zadd),
        ..Spec::DEFAULT
    },
    Spec {
        name: "zincrby",
        arity: 4,
        flags: Flags::WRITE.or(Flags::DENYOOM).or(Flags::FAST),
        keys: &[KeySpec::first(RW_ACCESS_UPDATE)],
        group: Group::SortedSet,
        since: "1.2.0",
        complexity: "O(log(N)), N being the size of the sorted set",
        summary: "Adds to the score of a member.",
        syntax: "key increment member",
        handler: Data(zincrby),
        ..Spec::DEFAULT
    },
    Spec {
        name: "zrem",
        arity: -3,
        flags: Flags::WRITE.or(Flags::FAST),
        keys: &[KeySpec::first(RW_DELETE)],
        group: Group::SortedSet,
        since: "1.2.0",
        complexity: "O(M*log(N)), M being the number of members removed, N the size of the sorted set",
        summary: "Removes members from a sorted set.",
        syntax: "key member [member ...]",
        handler: Data(zrem),
        ..Spec::DEFAULT
    },
];

/// Which members ZADD and GEOADD may write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    Any,
    /// NX
    Absent,
    /// XX
    Present,
}

/// Which changes of a present score ZADD makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    Any,
    /// GT
    Up,
    /// LT
    Down,
}

/// What ZADD answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Added,
    /// CH
    AddedAndChanged,
    /// INCR: the score itself is an increment.
    Score,
}

/// The options of ZADD.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    pub admission: Admission,
    direction: Direction,
    pub answer: Answer,
}

/// A member and its score, or what is added to it.
pub type Pair<'a> = (f64, &'a [u8]);

/// Pairs of one command; a single one needs no allocation.
pub type Pairs<'a> = SmallVec<[Pair<'a>; 1]>;

const NAN: CommandError = CommandError::new("ERR resulting score is not a number (NaN)");

fn zadd(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    let (options, first) = Options::parse(args)?;
    let pairs = parse_pairs(args, first)?;
    add(ctx, args.at(1), options, &pairs)
}

fn zincrby(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    let pair = (parse::float(args.at(2))?, args.at(3));
    add(ctx, args.at(1), Options::new(Admission::Any, Answer::Score), &[pair])
}

impl Options {
    pub const fn new(admission: Admission, answer: Answer) -> Options {
        Options { admission, direction: Direction::Any, answer }
    }

    /// Reads the options; returns them and where the pairs begin.
    #[inline]
    fn parse(args: Args<'_>) -> Result<(Options, usize), CommandError> {
        // A number cannot be an option, and most calls have none.
        if args.at(2).first().is_some_and(|byte| !byte.is_ascii_alphabetic()) && args.len() == 4 {
            return Ok((Options::new(Admission::Any, Answer::Added), 2));
        }
        let (mut nx, mut xx, mut gt, mut lt, mut ch, mut incr) = (false, false, false, false, false, false);
        let mut at = 2;
        while at < args.len() {
            let words = [
                ("NX", &mut nx),
                ("XX", &mut xx),
                ("CH", &mut ch),
                ("INCR", &mut incr),
                ("GT", &mut gt),
                ("LT", &mut lt),
            ];
            let Some((_, flag)) = words.into_iter().find(|(word, _)| args.is(at, word)) else { break };
            *flag = true;
            at += 1;
        }
        let left = args.len() - at;
        if left == 0 || left % 2 == 1 {
            return Err(SYNTAX);
        }
        if nx && xx {
            return Err(CommandError::new("ERR XX and NX options at the same time are not compatible"));
        }
        if (gt || lt) && nx || gt && lt {
            return Err(CommandError::new("ERR GT, LT, and/or NX options at the same time are not compatible"));
        }
        if incr && left > 2 {
            return Err(CommandError::new("ERR INCR option supports a single increment-element pair"));
        }
        let admission = match (nx, xx) {
            (true, _) => Admission::Absent,
            (_, true) => Admission::Present,
            _ => Admission::Any,
        };
        let direction = match (gt, lt) {
            (true, _) => Direction::Up,
            (_, true) => Direction::Down,
            _ => Direction::Any,
        };
        let answer = match (incr, ch) {
            (true, _) => Answer::Score,
            (_, true) => Answer::AddedAndChanged,
            _ => Answer::Added,
        };
        Ok((Options { admission, direction, answer }, at))
    }

    /// The new score of a member whose score is `present`; `None` to leave it.
    #[inline]
    fn decide(&self, present: Option<f64>, given: f64) -> Result<Option<f64>, CommandError> {
        let Some(present) = present else {
            return Ok((self.admission != Admission::Present).then_some(given));
        };
        if self.admission == Admission::Absent {
            return Ok(None);
        }
        let score = if self.answer == Answer::Score { present + given } else { given };
        if score.is_nan() {
            return Err(NAN);
        }
        let admitted = match self.direction {
            Direction::Any => true,
            Direction::Up => score > present,
            Direction::Down => score < present,
        };
        Ok(admitted.then_some(score))
    }
}

#[inline]
fn parse_pairs(args: Args<'_>, first: usize) -> Result<Pairs<'_>, CommandError> {
    let mut pairs = Pairs::with_capacity((args.len() - first) / 2);
    for at in (first..args.len()).step_by(2) {
        pairs.push((parse::float(args.at(at))?, args.at(at + 1)));
    }
    Ok(pairs)
}

/// What became of the pairs of one command.
#[derive(Default)]
struct Tally {
    added: usize,
    changed: usize,
    /// The last score that was decided on; `None` if the member was left alone.
    score: Option<f64>,
}

/// ZADD once its arguments are understood; also the end of GEOADD and ZINCRBY.
#[inline]
pub fn add(ctx: &mut Ctx<'_, '_>, key: &[u8], options: Options, pairs: &[Pair<'_>]) -> CommandResult {
    let key = Key::new(key);
    let tally = if options.admission == Admission::Present {
        match ctx.view.existing::<Zset>(ctx.db, &key)? {
            Some(mut zset) => put_all(&mut zset, options, pairs)?,
            None => Tally::default(),
        }
    } else {
        put_all(&mut ctx.view.existing_or_new::<Zset>(ctx.db, &key)?, options, pairs)?
    };
    if tally.added + tally.changed > 0 {
        let event = if options.answer == Answer::Score { "zincr" } else { "zadd" };
        ctx.notify(EventClass::Zset, event, key.bytes);
    }
    match (options.answer, tally.score) {
        (Answer::Added, _) => ctx.out.count(tally.added),
        (Answer::AddedAndChanged, _) => ctx.out.count(tally.added + tally.changed),
        (Answer::Score, Some(score)) => ctx.out.double(score),
        (Answer::Score, None) => ctx.out.null(),
    }
    Ok(())
}

#[inline]
fn put_all(zset: &mut Handle<'_, '_, Zset>, options: Options, pairs: &[Pair<'_>]) -> Result<Tally, CommandError> {
    if pairs.len() > 1 {
        zset.anticipate(pairs.len(), pairs.iter().map(|(_, member)| member.len()).max().unwrap_or(0));
    }
    let mut tally = Tally::default();
    for &(given, member) in pairs {
        let mut decided = Ok(None);
        let outcome = zset.put_with(member, |present| {
            decided = options.decide(present, given);
            decided.clone().unwrap_or(None)
        });
        tally.score = decided?;
        match outcome {
            Outcome::Added => tally.added += 1,
            Outcome::Updated => tally.changed += 1,
            Outcome::Unchanged => {}
        }
    }
    Ok(tally)
}

fn zrem(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    let key = args.key(1);
    let Some(mut zset) = ctx.view.existing::<Zset>(ctx.db, &key)? else {
        ctx.out.count(0);
        return Ok(());
    };
    let removed = zset.remove(args.from(2));
    let is_empty = zset.value().is_empty();
    drop(zset);
    if removed > 0 {
        ctx.notify(EventClass::Zset, "zrem", key.bytes);
    }
    if is_empty {
        ctx.notify(EventClass::Generic, "del", key.bytes);
    }
    ctx.out.count(removed);
    Ok(())
}
