//! List commands that move an element from one list to another: LMOVE and kin.

use super::ends::{parse_end, pop_event, push_event};
use crate::blocked::BlockRequest;
use crate::commands::ctx::{Attempt, Ctx};
use crate::commands::parse;
use crate::commands::spec::{Flags, Group, Handler::Data, KeySpec, RW_ACCESS_DELETE, RW_INSERT, Spec, Standing};
use crate::error::{CommandError, CommandResult, SYNTAX, WRONG_TYPE};
use crate::notify::EventClass;
use crate::resp::{Args, ReplyBuf};
use basalt_storage::keyspace::{Key, WrongType};
use basalt_storage::types::{End, List};
use std::time::Duration;

pub const COMMANDS: &[Spec] = &[
    Spec {
        name: "lmove",
        arity: 5,
        flags: Flags::WRITE.or(Flags::DENYOOM),
        keys: &[KeySpec::first(RW_ACCESS_DELETE), KeySpec::at(2, RW_INSERT)],
        group: Group::List,
        since: "6.2.0",
        summary: "Moves an element from one end of a list to an end of another.",
        syntax: "source destination <LEFT | RIGHT> <LEFT | RIGHT>",
        handler: Data(lmove),
        ..Spec::DEFAULT
    },
    Spec {
        name: "rpoplpush",
        arity: 3,
        flags: Flags::WRITE.or(Flags::DENYOOM),
        keys: &[KeySpec::first(RW_ACCESS_DELETE), KeySpec::at(2, RW_INSERT)],
        group: Group::List,
        since: "1.2.0",
        summary: "Moves the last element of a list to the head of another.",
        syntax: "source destination",
        standing: Standing::Deprecated { since: "6.2.0", replaced_by: "`LMOVE` with `RIGHT LEFT`" },
        handler: Data(rpoplpush),
        ..Spec::DEFAULT
    },
    Spec {
        name: "blmove",
        arity: 6,
        flags: Flags::WRITE.or(Flags::DENYOOM).or(Flags::NOSCRIPT).or(Flags::BLOCKING),
        keys: &[KeySpec::first(RW_ACCESS_DELETE), KeySpec::at(2, RW_INSERT)],
        group: Group::List,
        since: "6.2.0",
        summary: "Like LMOVE; waits for an element.",
        syntax: "source destination <LEFT | RIGHT> <LEFT | RIGHT> timeout",
        handler: Data(blmove),
        ..Spec::DEFAULT
    },
    Spec {
        name: "brpoplpush",
        arity: 4,
        flags: Flags::WRITE.or(Flags::DENYOOM).or(Flags::NOSCRIPT).or(Flags::BLOCKING),
        keys: &[KeySpec::first(RW_ACCESS_DELETE), KeySpec::at(2, RW_INSERT)],
        group: Group::List,
        since: "2.2.0",
        summary: "Like RPOPLPUSH; waits for an element.",
        syntax: "source destination timeout",
        standing: Standing::Deprecated { since: "6.2.0", replaced_by: "`BLMOVE` with `RIGHT LEFT`" },
        handler: Data(brpoplpush),
        ..Spec::DEFAULT
    },
];

/// One move from an end of a list to an end of a list.
struct Move<'a> {
    source: Key<'a>,
    destination: Key<'a>,
    from: End,
    to: End,
}

fn lmove(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    Move::parse(args)?.run_or_null(ctx)
}

fn rpoplpush(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    Move::right_to_left(args).run_or_null(ctx)
}

fn blmove(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    let (request, timeout) = (Move::parse(args)?, parse::timeout(args.at(5))?);
    request.run_or_wait(ctx, timeout)
}

fn brpoplpush(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    let timeout = parse::timeout(args.at(3))?;
    Move::right_to_left(args).run_or_wait(ctx, timeout)
}

impl<'a> Move<'a> {
    fn parse(args: Args<'a>) -> Result<Move<'a>, CommandError> {
        let from = parse_end(args.at(3)).ok_or(SYNTAX)?;
        let to = parse_end(args.at(4)).ok_or(SYNTAX)?;
        Ok(Move { source: args.key(1), destination: Key::new(args.at(2)), from, to })
    }

    fn right_to_left(args: Args<'a>) -> Move<'a> {
        Move { source: args.key(1), destination: Key::new(args.at(2)), from: End::Back, to: End::Front }
    }

    fn run_or_null(&self, ctx: &mut Ctx<'_, '_>) -> CommandResult {
        match self.run(ctx)? {
            Some(element) => ctx.out.bulk(&element),
            None => ctx.out.null(),
        }
        Ok(())
    }

    fn run_or_wait(&self, ctx: &mut Ctx<'_, '_>, timeout: Option<Duration>) -> CommandResult {
        match self.run(ctx)? {
            Some(element) => ctx.out.bulk(&element),
            // A null where the client may not wait, but a null array where it has waited in vain.
            None if ctx.attempt == Attempt::NoWait => ctx.out.null(),
            None => ctx.block(BlockRequest {
                keys: vec![self.source.bytes.into()],
                other_keys: vec![self.destination.bytes.into()],
                timeout,
                timeout_reply: ReplyBuf::null_array,
                then: None,
            }),
        }
        Ok(())
    }

    /// Moves an element and returns it; `None` if the source is not there, or not a list while the client waits.
    fn run(&self, ctx: &mut Ctx<'_, '_>) -> Result<Option<Vec<u8>>, CommandError> {
        let element = match ctx.view.existing::<List>(ctx.db, &self.source) {
            Ok(Some(source)) => source.value().peek(self.from).map(<[u8]>::to_vec),
            Ok(None) => None,
            Err(WrongType) if ctx.attempt == Attempt::Retry => None,
            Err(WrongType) => return Err(WRONG_TYPE),
        };
        let Some(element) = element else { return Ok(None) };
        if self.source.bytes == self.destination.bytes {
            self.rotate(ctx, &element)?;
        } else {
            self.transfer(ctx, &element)?;
        }
        Ok(Some(element))
    }

    fn rotate(&self, ctx: &mut Ctx<'_, '_>, element: &[u8]) -> CommandResult {
        let mut list = ctx.view.existing_or_new::<List>(ctx.db, &self.source)?;
        // In this order the list is never empty: whoever applies the effects would drop the key, and its expiry too.
        list.push(self.to, [element].into_iter());
        list.pop(self.from, 1, |_| {});
        drop(list);
        ctx.notify(EventClass::List, push_event(self.to), self.destination.bytes);
        ctx.notify(EventClass::List, pop_event(self.from), self.source.bytes);
        Ok(())
    }

    fn transfer(&self, ctx: &mut Ctx<'_, '_>, element: &[u8]) -> CommandResult {
        // The destination first: if it is no list, nothing must have happened.
        ctx.view.existing_or_new::<List>(ctx.db, &self.destination)?.push(self.to, [element].into_iter());
        let mut source = ctx.view.existing_or_new::<List>(ctx.db, &self.source)?;
        source.pop(self.from, 1, |_| {});
        let is_empty = source.value().is_empty();
        drop(source);
        ctx.notify(EventClass::List, push_event(self.to), self.destination.bytes);
        ctx.notify(EventClass::List, pop_event(self.from), self.source.bytes);
        if is_empty {
            ctx.notify(EventClass::Generic, "del", self.source.bytes);
        }
        Ok(())
    }
}
