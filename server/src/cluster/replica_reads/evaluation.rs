//! Evaluating a request in its copy, on the network thread, like any other: it is accounted for, shown to monitors and
//! noted if it is slow.

use super::copy::{Copy, Extent};
use crate::commands::Command;
use crate::commands::ctx::{Attempt, Ctx, Outcome, SessionCtx};
use crate::commands::spec::Handler;
use crate::commands::transactions::exec_in_copy;
use crate::dispatch::{self, Flow};
use crate::error::{CommandError, CommandResult};
use crate::moment::Moment;
use crate::resp::{Args, ReplyBuf};
use crate::server::Server;
use crate::session::{Queued, Session};
use crate::transaction::Phase;
use basalt_storage::clock::UnixMs;
use basalt_storage::slot::StripeSet;
use std::sync::atomic::Ordering::Relaxed;

/// Evaluates a request that was admitted with a copy.
pub fn run(
    server: &Server,
    session: &mut Session,
    command: &'static Command,
    args: Args<'_>,
    out: &mut ReplyBuf,
) -> Flow {
    let reads = server.cluster().and_then(|cluster| cluster.replica_reads()).expect("it has admitted the request");
    let copy = session.routing().reads.ready.take().expect("it was admitted with a copy");
    let (started, mark) = (session.clock, out.mark());
    let queue = match (&mut session.transaction.phase, command.spec.name) {
        (Phase::Queueing { queue, .. }, "exec") => Some(std::mem::take(queue)),
        _ => None,
    };
    if queue.is_some() {
        session.transaction.phase = Phase::None;
    }
    let now = server.at(started);
    let result = match &queue {
        Some(queue) => evaluate_all(server, session, queue, out, &copy, now),
        None => evaluate(server, session, command, args, out, &copy, now),
    };
    let (is_short, is_fresh) = (copy.excerpt.is_short(), copy.is_fresh(session.routing().reads.bound));
    reads.put_back(server, copy.excerpt);
    if is_short || !is_fresh {
        out.rewind(mark);
        if let Some(queue) = queue {
            session.transaction.phase = Phase::Queueing { queue, is_broken: false };
        }
        reads.come_again(session, if is_short { Extent::Whole } else { Extent::AsNamed });
        return Flow::Loading;
    }
    if queue.is_some() {
        session.unwatch(server);
        session.publish_transaction();
    }
    if let Err(error) = &result {
        out.rewind(mark);
        out.error(error);
    }
    reads.figures.served.fetch_add(1, Relaxed);
    session.clock = Moment::now();
    dispatch::account(server, session, command, args, &result, session.clock.since(started));
    Flow::Next
}

fn evaluate(
    server: &Server,
    session: &mut Session,
    command: &Command,
    args: Args<'_>,
    out: &mut ReplyBuf,
    copy: &Copy,
    now: UnixMs,
) -> CommandResult {
    let mut view = copy.excerpt.keyspace().lock(command.stripes_in_transaction(args), now);
    // What it causes is for nobody to hear: it has happened elsewhere, and was told there.
    let outcome = &mut Outcome::default();
    match command.spec.handler {
        Handler::Data(handler) => {
            let (db, client) = (session.db, session.client.id);
            handler(&mut Ctx { server, view: &mut view, out, db, client, attempt: Attempt::NoWait, outcome }, args)
        }
        Handler::Session(handler) => {
            handler(&mut SessionCtx { server, session, out, now, held: Some(&mut view), outcome }, args)
        }
        Handler::Container => Err(CommandError::wrong_arity(command.full_name)),
    }
}

fn evaluate_all(
    server: &Server,
    session: &mut Session,
    queue: &[Queued],
    out: &mut ReplyBuf,
    copy: &Copy,
    now: UnixMs,
) -> CommandResult {
    let stripes = |queued: &Queued| queued.command.stripes_in_transaction(queued.args.as_args());
    let stripes = queue.iter().map(stripes).fold(StripeSet::EMPTY, StripeSet::union);
    let mut view = copy.excerpt.keyspace().lock(stripes, now);
    let outcome = &mut Outcome::default();
    exec_in_copy(&mut SessionCtx { server, session, out, now, held: None, outcome }, &mut view, queue)
}
