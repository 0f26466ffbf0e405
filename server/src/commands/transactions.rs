//! MULTI, EXEC, DISCARD, WATCH, UNWATCH.

use super::ctx::SessionCtx;
use super::spec::{Flags, Group, Handler::Session, KeySpec, Locks, RO_NONE, Spec};
use crate::cluster::admission::Stay;
use crate::commands::looks::Looks;
use crate::dispatch;
use crate::error::{CommandError, CommandResult};
use crate::resp::Args;
use crate::session::Queued;
use crate::transaction::Phase;
use basalt_storage::keyspace::View;
use basalt_storage::slot::StripeSet;
use std::sync::atomic::Ordering::Relaxed;

const CONTROL: Flags = Flags::NOSCRIPT.or(Flags::LOADING).or(Flags::STALE).or(Flags::FAST).or(Flags::ALLOW_BUSY);

pub const COMMANDS: &[Spec] = &[
    Spec {
        name: "multi",
        arity: 1,
        flags: CONTROL,
        group: Group::Transactions,
        since: "1.2.0",
        summary: "Starts a transaction: the commands that follow are queued.",
        locks: Locks::Nothing,
        handler: Session(multi),
        ..Spec::DEFAULT
    },
    Spec {
        name: "exec",
        arity: 1,
        flags: Flags::NOSCRIPT.or(Flags::LOADING).or(Flags::STALE).or(Flags::SKIP_SLOWLOG),
        group: Group::Transactions,
        since: "1.2.0",
        complexity: "That of the queued commands",
        summary: "Runs the queued commands as one.",
        locks: Locks::Nothing,
        handler: Session(exec),
        ..Spec::DEFAULT
    },
    Spec {
        name: "discard",
        arity: 1,
        flags: CONTROL,
        group: Group::Transactions,
        since: "2.0.0",
        summary: "Drops the queued commands.",
        locks: Locks::Nothing,
        handler: Session(discard),
        ..Spec::DEFAULT
    },
    Spec {
        name: "watch",
        looks: Looks::AtOutlines,
        arity: -2,
        flags: CONTROL,
        keys: &[KeySpec::range(1, -1, 1, RO_NONE)],
        group: Group::Transactions,
        since: "2.2.0",
        complexity: "O(1) for every key",
        summary: "Makes the next transaction depend on keys staying as they are.",
        syntax: "key [key ...]",
        locks: Locks::Nothing,
        handler: Session(watch),
        ..Spec::DEFAULT
    },
    Spec {
        name: "unwatch",
        arity: 1,
        flags: CONTROL,
        group: Group::Transactions,
        since: "2.2.0",
        summary: "Forgets all watched keys.",
        locks: Locks::Nothing,
        handler: Session(unwatch),
        ..Spec::DEFAULT
    },
];

fn multi(ctx: &mut SessionCtx<'_, '_>, _: Args<'_>) -> CommandResult {
    if ctx.session.transaction.is_queueing() {
        return Err(CommandError::new("ERR MULTI calls can not be nested"));
    }
    ctx.session.transaction.phase = Phase::Queueing { queue: Vec::new(), is_broken: false };
    ctx.session.publish_transaction();
    ctx.out.ok();
    Ok(())
}

fn exec(ctx: &mut SessionCtx<'_, '_>, _: Args<'_>) -> CommandResult {
    let Phase::Queueing { queue, is_broken } = std::mem::take(&mut ctx.session.transaction.phase) else {
        return Err(CommandError::new("ERR EXEC without MULTI"));
    };
    ctx.session.publish_transaction();
    if is_broken {
        ctx.session.unwatch(ctx.server);
        return Err(CommandError::new("EXECABORT Transaction discarded because of previous errors."));
    }
    let stripes = queue
        .iter()
        .map(|queued| queued.command.stripes_in_transaction(queued.args.as_args()))
        .fold(ctx.session.transaction.watches.stripes(), StripeSet::union);
    let mut view = ctx.server.keyspace.lock(stripes, ctx.now);
    if let Some(cluster) = ctx.server.cluster()
        && let Err(stay) = cluster.confirm_all(ctx.server, ctx.session, &mut view, &queue)
    {
        drop(view);
        return stay_out(ctx, queue, stay);
    }
    let watches = &ctx.session.transaction.watches;
    let broken = !watches.is_empty() && watches.are_broken(&view);
    if broken {
        drop(view);
        ctx.session.unwatch(ctx.server);
        ctx.out.null_array();
        return Ok(());
    }
    ctx.out.array(queue.len());
    for queued in &queue {
        dispatch::call_queued(ctx, &mut view, queued);
    }
    ctx.outcome.settle(ctx.server, &mut view);
    drop(view);
    ctx.session.unwatch(ctx.server);
    Ok(())
}

/// EXEC of what only reads, in a copy. Nobody here can know whether what was watched has changed.
pub fn exec_in_copy<'k>(ctx: &mut SessionCtx<'_, 'k>, view: &mut View<'k>, queue: &[Queued]) -> CommandResult {
    if !ctx.session.transaction.watches.is_empty() {
        ctx.out.null_array();
        return Ok(());
    }
    ctx.out.array(queue.len());
    queue.iter().for_each(|queued| dispatch::call_queued(ctx, view, queued));
    Ok(())
}

/// Answers a transaction that was let in, and whose slot is not this node's any more.
#[cold]
fn stay_out(ctx: &mut SessionCtx<'_, '_>, queue: Vec<Queued>, stay: Stay) -> CommandResult {
    match stay {
        Stay::Held | Stay::Elsewhere => {
            ctx.session.client.info.queued.store(queue.len() as i64, Relaxed);
            ctx.session.transaction.phase = Phase::Queueing { queue, is_broken: false };
            Err(if matches!(stay, Stay::Held) { dispatch::COME_AGAIN } else { dispatch::GO_ELSEWHERE })
        }
        Stay::Refused(error) => {
            ctx.session.unwatch(ctx.server);
            Err(error)
        }
    }
}

fn discard(ctx: &mut SessionCtx<'_, '_>, _: Args<'_>) -> CommandResult {
    if !ctx.session.transaction.is_queueing() {
        return Err(CommandError::new("ERR DISCARD without MULTI"));
    }
    ctx.session.leave_transaction(ctx.server);
    ctx.out.ok();
    Ok(())
}

fn watch(ctx: &mut SessionCtx<'_, '_>, args: Args<'_>) -> CommandResult {
    if ctx.session.transaction.is_queueing() {
        return Err(CommandError::new("ERR WATCH inside MULTI is not allowed"));
    }
    for key in args.from(1) {
        let db = ctx.session.db;
        ctx.session.transaction.watches.add(ctx.server, db, key);
    }
    ctx.session.client.info.watched.store(ctx.session.transaction.watches.len(), Relaxed);
    ctx.out.ok();
    Ok(())
}

fn unwatch(ctx: &mut SessionCtx<'_, '_>, _: Args<'_>) -> CommandResult {
    // Within a transaction EXEC has checked the watches already, and clears them at its end.
    if ctx.held.is_none() {
        ctx.session.unwatch(ctx.server);
    }
    ctx.out.ok();
    Ok(())
}
