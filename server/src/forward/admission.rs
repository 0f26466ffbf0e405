//! Which requests are given away, and what a connection notes of them.

use super::batch::{Answer, Batch, Destination, Request, What};
use super::wait_limit;
use crate::cluster::Cluster;
use crate::cluster::route::Effect;
use crate::commands::spec::{Flags, Group, Handler};
use crate::commands::{self, Command};
use crate::error::CommandError;
use crate::resp::{Args, OwnedArgs, Protocol};
use crate::server::Server;
use crate::session::{ReplyMode, Session, Waiting};
use crate::transaction::Phase;
use basalt_storage::slot::Slot;
use smallvec::SmallVec;
use std::time::Instant;

const WATCH_ELSEWHERE: CommandError = CommandError::new(
    "ERR WATCH is not forwarded, and another node serves these keys: use a connection to that one, or a cluster client",
);
const WATCHED_ELSEWHERE: CommandError = CommandError::new(
    "EXECABORT Transaction discarded because of: another node serves its keys, and WATCH is not forwarded",
);
const TIED_TO_THIS_NODE: CommandError = CommandError::new(
    "EXECABORT Transaction discarded because of: another node serves its keys, and some commands are about this one",
);

/// What becomes of a request for a slot of another node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Passage {
    /// The client is told where to go.
    #[default]
    Redirected,
    Forwarded,
    /// It is part of a transaction, which is forwarded as a whole.
    Queued,
    Refused(CommandError),
}

/// What becomes of this request if another node serves its slot; its connection is forwarded.
pub fn passage(session: &Session, command: &Command) -> Passage {
    match (&session.transaction.phase, command.spec.name) {
        // EXEC itself says that it is.
        (Phase::Queueing { is_broken: true, .. }, _) => Passage::Queued,
        (Phase::Queueing { .. }, "exec") if !session.transaction.watches.is_empty() => {
            Passage::Refused(WATCHED_ELSEWHERE)
        }
        (Phase::Queueing { queue, .. }, "exec") => {
            let is_free = queue.iter().all(|queued| is_for_any_connection(queued.command));
            if is_free { Passage::Forwarded } else { Passage::Refused(TIED_TO_THIS_NODE) }
        }
        _ if !is_forwardable(command) => Passage::Redirected,
        (_, "watch") => Passage::Refused(WATCH_ELSEWHERE),
        (Phase::Queueing { .. }, _) => Passage::Queued,
        (Phase::None, _) => Passage::Forwarded,
    }
}

/// Subscriptions are this connection's, and some commands are about the very node that is asked.
fn is_forwardable(command: &Command) -> bool {
    let spec = command.spec;
    !matches!(spec.name, "ssubscribe" | "sunsubscribe" | "migrate")
        && spec.group != Group::Cluster
        && !spec.flags.contains(Flags::ASKING)
}

/// Whether it does the same on whichever connection it is called, so that none is left in another state.
fn is_for_any_connection(command: &Command) -> bool {
    let names_keys = !command.spec.keys.is_empty() || command.spec.find_keys.is_some();
    let is_harmless = matches!(command.spec.name, "ping" | "echo" | "time" | "publish" | "unwatch");
    let works_on_data = names_keys || matches!(command.spec.handler, Handler::Data(_));
    is_forwardable(command) && command.spec.name != "watch" && (works_on_data || is_harmless)
}

/// Notes the request at hand, which is to be served elsewhere. EXEC takes its transaction with it.
pub fn give_away(server: &Server, session: &mut Session, command: &'static Command, args: Args<'_>) {
    let Some((slot, destination)) = session.routing().take_destination() else {
        unreachable!("it was decided where it goes");
    };
    let effect = effect(session, command);
    let what = match std::mem::take(&mut session.transaction.phase) {
        Phase::Queueing { queue, .. } => {
            session.leave_transaction(server);
            What::Transaction(queue)
        }
        Phase::None => What::Command(command, args.to_owned()),
    };
    note(server, session, what, slot, effect, destination);
}

/// Notes a request behind others that are given away, if it is plain that it goes to another node as well. Only then
/// may it be looked at before those are answered.
pub fn join(server: &Server, session: &mut Session, args: Args<'_>) -> bool {
    let Ok(command) = commands::resolve(args) else { return false };
    let Some((slot, destination)) = destination_behind(server, session, command, args) else { return false };
    session.client.note_command(command);
    let effect = effect(session, command);
    note(server, session, What::Command(command, args.to_owned()), slot, effect, destination);
    true
}

fn destination_behind(
    server: &Server,
    session: &mut Session,
    command: &Command,
    args: Args<'_>,
) -> Option<(Slot, Destination)> {
    let cluster = server.cluster()?;
    let is_plain = command.spec.accepts(args.len())
        && !command.spec.flags.contains(Flags::PROTECTED)
        && !session.transaction.is_queueing()
        && session.is_authenticated
        && (session.subscriptions.is_empty() || session.client.protocol() == Protocol::Resp3)
        && !server.persistence.loading.is_active()
        && !server.pause.holds(server, session, command)
        && session.client.is_forwarded()
        && passage(session, command) == Passage::Forwarded;
    let admits = |batch: &Batch| batch.admits(command, &cluster.picture());
    if !is_plain || !session.forwards.as_deref().is_some_and(admits) {
        return None;
    }
    cluster.plain_destination(server, session, command, args)
}

/// Notes a request that has waited for keys here until they left: it goes on waiting where they are.
pub fn follow(server: &Server, session: &mut Session, waiting: Waiting) {
    let Waiting { command, args, since, .. } = waiting;
    let args: OwnedArgs = (*args).clone();
    let args = wait_limit::shortened(command, &args, since.elapsed()).unwrap_or(args);
    let mut slots = SmallVec::<[Slot; 1]>::new();
    let _ = command.spec.for_each_key(args.as_args(), &mut |index, _| slots.push(args.as_args().slot(index)));
    let slot = *slots.first().expect("it has waited for a key");
    note_somewhere(server, session, What::Command(command, args), slot, Effect::Writes, None);
}

fn effect(session: &Session, command: &Command) -> Effect {
    // What says nothing of itself may do anything.
    if session.changes_data(command) || !only_reads(session, command) { Effect::Writes } else { Effect::Reads }
}

fn only_reads(session: &Session, command: &Command) -> bool {
    let reads = |command: &Command| command.spec.flags.contains(Flags::READONLY);
    match &session.transaction.phase {
        Phase::Queueing { queue, .. } => queue.iter().all(|queued| reads(queued.command)),
        Phase::None => reads(command),
    }
}

fn note(server: &Server, session: &mut Session, what: What, slot: Slot, effect: Effect, destination: Destination) {
    note_somewhere(server, session, what, slot, effect, Some(destination));
}

fn note_somewhere(
    server: &Server,
    session: &mut Session,
    what: What,
    slot: Slot,
    effect: Effect,
    destination: Option<Destination>,
) {
    let answer = match session.reply_mode {
        ReplyMode::On | ReplyMode::SkipNext => Answer::Wanted,
        ReplyMode::Off | ReplyMode::Skip => Answer::Muted,
    };
    let protocol = session.client.protocol();
    let picture = || server.cluster().map(Cluster::picture).expect("only a node of a cluster forwards");
    let batch = session.forwards.get_or_insert_with(|| Box::new(Batch::new(picture(), protocol)));
    batch.push(Request { what, slot, effect, answer, destination, since: Instant::now() });
}
