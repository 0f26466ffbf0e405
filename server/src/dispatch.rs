//! From a request to its reply: look up, check, lock, evaluate, account.
//!
//! The order of the checks is Redis's, since clients see it in which error wins. Everything here runs on the network
//! thread that read the request, and never waits.

use crate::cluster::Cluster;
use crate::cluster::admission::{Entry, Stay};
use crate::cluster::departure::BECAME_REPLICA;
use crate::cluster::replica_reads;
use crate::commands::ctx::{Attempt, Ctx, Outcome, SessionCtx};
use crate::commands::spec::{Flags, Handler};
use crate::commands::{self, Command};
use crate::durability::admission as durability;
use crate::durability::batch_size;
use crate::durability::errand::{Errand, Job};
use crate::error::{CANNOT_SAVE, CommandError, CommandResult, LOADING, NO_AUTH, OUT_OF_MEMORY};
use crate::eviction;
use crate::forward::admission as forward;
use crate::moment::Moment;
use crate::resp::{Args, Protocol, ReplyBuf};
use crate::server::Server;
use crate::session::{Awaited, Queued, ReplyMode, Session, Waiting};
use crate::transaction::Phase;
use basalt_storage::keyspace::View;
use basalt_storage::slot::{Slot, StripeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// What the connection does after a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Goes on with the next request.
    Next,
    /// Waits until its client is unblocked; see `Session::waiting`.
    Blocked,
    /// Waits until CLIENT PAUSE is over, and then asks again with the same request.
    Paused,
    /// Waits for mail, since the request's keys are being read from disk or the cluster has to say something first, and
    /// then asks again.
    Loading,
    /// Waits until there is room in the log, and then asks again.
    Congested,
    /// The request was noted in `Session::forwards`: it goes on, with what can be forwarded too.
    Forwarded,
    /// Waits until what was forwarded is answered, and then asks again.
    Behind,
}

/// Answers one request.
#[inline]
pub fn dispatch(server: &Server, session: &mut Session, args: Args<'_>, out: &mut ReplyBuf) -> Flow {
    let mark = out.mark();
    if session.forwards.is_some() {
        return dispatch_behind(server, session, args, out);
    }
    let flow = match check(server, session, args) {
        Ok(Admission::Run(command)) => match session.held_since.take() {
            None => run(server, session, command, args, out),
            Some(since) => run_held(server, session, command, args, out, since, run),
        },
        Ok(Admission::RunInCopy(command)) => match session.held_since.take() {
            None => replica_reads::run(server, session, command, args, out),
            Some(since) => run_held(server, session, command, args, out, since, replica_reads::run),
        },
        Ok(Admission::Queue(command)) => {
            session.held_since = None;
            enqueue(session, command, args);
            out.simple("QUEUED");
            Flow::Next
        }
        Ok(Admission::Forward(command)) => {
            session.held_since = None;
            forward::give_away(server, session, command, args);
            Flow::Forwarded
        }
        Ok(Admission::Pause) => return Flow::Paused,
        Ok(Admission::Load) => return Flow::Loading,
        Ok(Admission::Drain) => return Flow::Congested,
        Err(_) if is_http(args) => {
            hang_up(session, out);
            Flow::Next
        }
        Err(refusal) => {
            session.held_since = None;
            let error = refusal.end(server, session);
            out.error(&error);
            Flow::Next
        }
    };
    // Both together are one branch, which hardly any connection takes.
    if (session.reply_mode != ReplyMode::On) | session.needs_care {
        end_with_care(session, flow, out, mark);
    }
    flow
}

/// A request behind others that are to be forwarded.
#[cold]
fn dispatch_behind(server: &Server, session: &mut Session, args: Args<'_>, out: &mut ReplyBuf) -> Flow {
    if !forward::join(server, session, args) {
        return Flow::Behind;
    }
    let mark = out.mark();
    end_with_care(session, Flow::Forwarded, out, mark);
    Flow::Forwarded
}

/// How a command that was let in is run.
type Run = fn(&Server, &mut Session, &'static Command, Args<'_>, &mut ReplyBuf) -> Flow;

/// Runs a command that has waited to be let in since then.
#[cold]
fn run_held(
    server: &Server,
    session: &mut Session,
    command: &'static Command,
    args: Args<'_>,
    out: &mut ReplyBuf,
    since: Moment,
    run: Run,
) -> Flow {
    let waited = Moment::now().since(since);
    let flow = run(server, session, command, args, out);
    if flow == Flow::Loading {
        session.held_since = Some(since);
    } else if is_slow(server, command, waited) {
        server.slowlog.note_admission(server, session, command, args, waited);
    }
    flow
}

#[inline(never)]
fn end_with_care(session: &mut Session, flow: Flow, out: &mut ReplyBuf, mark: crate::resp::reply::Mark) {
    if flow == Flow::Loading {
        // It was let in, and has found the slot gone: it comes again.
        return;
    }
    session.end_request();
    if session.reply_mode != ReplyMode::On {
        mute(session, out, mark);
    }
}

/// Whether this is a line of an HTTP request: a page in somebody's browser may have made it send commands to us.
#[cold]
fn is_http(args: Args<'_>) -> bool {
    args.is(0, "POST") || args.is(0, "HOST:")
}

/// Closes the connection without a word, as Redis does. What stands before the line is answered neither.
#[cold]
fn hang_up(session: &Session, out: &mut ReplyBuf) {
    tracing::warn!(client = session.client.id.0, "possible SECURITY ATTACK: HTTP was spoken to this server");
    session.client.close("it speaks HTTP");
    out.clear();
}

#[cold]
fn mute(session: &mut Session, out: &mut ReplyBuf, mark: crate::resp::reply::Mark) {
    match session.reply_mode {
        ReplyMode::On => {}
        ReplyMode::Off => out.rewind(mark),
        // CLIENT REPLY SKIP itself is not answered, and neither is the command after it.
        ReplyMode::SkipNext => {
            out.rewind(mark);
            session.reply_mode = ReplyMode::Skip;
        }
        ReplyMode::Skip => {
            out.rewind(mark);
            session.reply_mode = ReplyMode::On;
        }
    }
}

enum Admission {
    Run(&'static Command),
    /// In a copy of what it names: another node leads its slot.
    RunInCopy(&'static Command),
    Queue(&'static Command),
    /// Another node evaluates it.
    Forward(&'static Command),
    Pause,
    /// Its keys have to be read from disk.
    Load,
    /// Too many batches are on their way into the log.
    Drain,
}

/// Why a request does not run; its command, if it has one.
struct Refusal {
    command: Option<&'static Command>,
    error: CommandError,
    reason: Reason,
}

/// Why a request does not run, as far as a transaction is told more than the error.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reason {
    Itself,
    /// It belongs to another node. EXEC answers with nothing else, since clients act on what it says.
    Elsewhere,
}

impl Refusal {
    /// Accounts for the refusal, and says what the client is told. A transaction whose EXEC is refused is
    /// over; that is said even if there was none.
    #[cold]
    fn end(self, server: &Server, session: &mut Session) -> CommandError {
        session.transaction.note_refusal();
        server.stats.note_refusal(session.client.thread, self.command, &self.error);
        if self.command.is_none_or(|command| command.spec.name != "exec") {
            return self.error;
        }
        if self.reason == Reason::Elsewhere {
            session.leave_transaction(server);
            return self.error;
        }
        session.transaction.phase = Phase::None;
        session.transaction.watches.clear(server);
        let opening: &[u8] = b"EXECABORT Transaction discarded because of: ";
        let reason = self.error.text();
        CommandError::of_bytes([opening, reason.strip_prefix(b"ERR ").unwrap_or(reason)].concat())
    }
}

impl From<CommandError> for Refusal {
    fn from(error: CommandError) -> Refusal {
        Refusal { command: None, error, reason: Reason::Itself }
    }
}

#[inline]
fn check(server: &Server, session: &mut Session, args: Args<'_>) -> Result<Admission, Refusal> {
    let command = resolve(session, args)?;
    session.client.note_command(command);
    let spec = command.spec;
    let refuse = |error| Err(Refusal { command: Some(command), error, reason: Reason::Itself });
    if !spec.accepts(args.len()) {
        return refuse(CommandError::wrong_arity(command.full_name));
    }
    if spec.flags.contains(Flags::PROTECTED)
        && let Err(error) = server.config.admits_protected(command, session)
    {
        return refuse(error);
    }
    if !session.is_authenticated && !spec.flags.contains(Flags::NO_AUTH) {
        return refuse(NO_AUTH);
    }
    let mut entry = Entry::Now;
    if let Some(cluster) = server.cluster() {
        match cluster.admit(server, session, command, args) {
            Ok(Entry::AfterMail) => return Ok(Admission::Load),
            Ok(other) => entry = other,
            Err(error) => return Err(Refusal { command: Some(command), error, reason: Reason::Elsewhere }),
        }
    }
    // What another node evaluates takes no memory here, and nothing is saved of it.
    let is_here = entry != Entry::Elsewhere;
    if is_here && server.has_memory_limit() && !eviction::make_room(server) && needs_room(session, command) {
        return refuse(OUT_OF_MEMORY);
    }
    if is_here && server.persistence.refuses_writes() && (session.changes_data(command) || spec.name == "ping") {
        return refuse(CANNOT_SAVE);
    }
    if !session.subscriptions.is_empty()
        && session.client.protocol() == Protocol::Resp2
        && !speaks_to_subscriber(command)
    {
        return refuse(CommandError::owned(format!(
            "ERR Can't execute '{}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this \
             context",
            command.full_name
        )));
    }
    if server.persistence.loading.is_active() && !spec.flags.contains(Flags::LOADING) {
        return refuse(LOADING);
    }
    if session.transaction.is_queueing() && !controls_transaction(command) {
        if spec.flags.contains(Flags::NO_MULTI) {
            return refuse(CommandError::new("ERR Command not allowed inside a transaction"));
        }
        return Ok(Admission::Queue(command));
    }
    if server.pause.holds(server, session, command) {
        return Ok(Admission::Pause);
    }
    match entry {
        Entry::Elsewhere => return Ok(Admission::Forward(command)),
        Entry::FromCopy(slot) => return admit_to_copy(server, session, slot, command, args),
        Entry::Now | Entry::AfterMail => {}
    }
    if let Some(durability) = server.durability() {
        return match durability.admit(server, session, command, args) {
            Ok(durability::Admission::Now) => Ok(Admission::Run(command)),
            Ok(durability::Admission::WhenLoaded) => Ok(Admission::Load),
            Ok(durability::Admission::WhenCommitted) => Ok(Admission::Drain),
            Err(error) => refuse(error),
        };
    }
    if let Some(replicas) = server.cluster().and_then(Cluster::logs_in_memory) {
        if replicas.is_congested() && session.changes_data(command) {
            return Ok(Admission::Drain);
        }
        return match batch_size::check(server, session, command, args) {
            Ok(()) => Ok(Admission::Run(command)),
            Err(error) => refuse(error),
        };
    }
    Ok(Admission::Run(command))
}

#[cold]
fn admit_to_copy(
    server: &Server,
    session: &mut Session,
    slot: Slot,
    command: &'static Command,
    args: Args<'_>,
) -> Result<Admission, Refusal> {
    let reads = server.cluster().and_then(|cluster| Some((cluster, cluster.replica_reads()?)));
    let (cluster, reads) = reads.expect("only a node with replicas has copies");
    match reads.admit(server, cluster, session, slot, command, args) {
        Ok(replica_reads::Admitted::Now) => Ok(Admission::RunInCopy(command)),
        Ok(replica_reads::Admitted::AfterMail) => Ok(Admission::Load),
        Err(error) => Err(Refusal { command: Some(command), error, reason: Reason::Elsewhere }),
    }
}

/// The command of a request. Clients tend to send the same one again and again, in the same spelling.
#[inline]
fn resolve(session: &mut Session, args: Args<'_>) -> Result<&'static Command, CommandError> {
    if let Some((spelling, last)) = &session.last_command
        && args.at(0) == &**spelling
    {
        return Ok(last);
    }
    let command = commands::resolve(args)?;
    // A container's subcommand depends on the next argument too.
    session.last_command = command.is_plain().then(|| (args.at(0).into(), command));
    Ok(command)
}

/// Whether the command may not run when memory is used up. A transaction takes memory already while it is queued.
#[cold]
fn needs_room(session: &Session, command: &Command) -> bool {
    let grows = |command: &Command| command.spec.flags.contains(Flags::DENYOOM);
    match (&session.transaction.phase, command.spec.name) {
        (Phase::None, _) => grows(command),
        (Phase::Queueing { queue, .. }, "exec") => queue.iter().any(|queued| grows(queued.command)),
        (Phase::Queueing { .. }, name) => !matches!(name, "discard" | "quit" | "reset"),
    }
}

/// What a RESP2 client with subscriptions may still say.
fn speaks_to_subscriber(command: &Command) -> bool {
    matches!(
        command.spec.name,
        "ping"
            | "quit"
            | "reset"
            | "subscribe"
            | "ssubscribe"
            | "psubscribe"
            | "unsubscribe"
            | "sunsubscribe"
            | "punsubscribe"
    )
}

/// What is not queued inside a transaction.
fn controls_transaction(command: &Command) -> bool {
    matches!(command.spec.name, "exec" | "discard" | "multi" | "watch" | "quit" | "reset")
}

fn enqueue(session: &mut Session, command: &'static Command, args: Args<'_>) {
    let Phase::Queueing { queue, .. } = &mut session.transaction.phase else {
        unreachable!("only a transaction queues");
    };
    let queued = Queued { command, args: args.to_owned() };
    let info = &session.client.info;
    info.queued_bytes.fetch_add(queued.args.heap_bytes() + size_of::<Queued>(), Relaxed);
    queue.push(queued);
    info.queued.store(queue.len() as i64, Relaxed);
}

#[inline]
fn run(server: &Server, session: &mut Session, command: &'static Command, args: Args<'_>, out: &mut ReplyBuf) -> Flow {
    let started = session.clock;
    let mut outcome = Outcome::default();
    let mark = out.mark();
    let result = match command.spec.handler {
        Handler::Data(handler) => {
            let mut view = server.keyspace.lock(command.stripes(args), server.at(started));
            if session.needs_care
                && let Err(stay) = prepare_with_care(server, session, &mut view, command, args)
            {
                drop(view);
                return stay_out(server, session, (command, args), stay, out);
            }
            prepare(server, &mut view);
            let mut ctx = Ctx {
                server,
                view: &mut view,
                out,
                db: session.db,
                client: session.client.id,
                attempt: Attempt::First,
                outcome: &mut outcome,
            };
            let result = handler(&mut ctx, args);
            if let Some(mut request) = outcome.take_block() {
                let then = request.then.take();
                let since = Instant::now();
                let until = request.timeout.map(|timeout| since + timeout);
                let client = session.client.clone();
                let args = Arc::new(args.to_owned());
                server.blocked.register(&mut view, client, command, args.clone(), session.db, request);
                session.waiting = Some(Waiting { command, args, since, until, awaited: Awaited::Keys });
                if let Some(then) = then {
                    then(server);
                }
            }
            outcome.settle(server, &mut view);
            result
        }
        Handler::Session(handler) => {
            let now = server.at(started);
            let ctx = &mut SessionCtx { server, session, out, now, held: None, outcome: &mut outcome };
            let result = handler(ctx, args);
            if let Some(errand) = outcome.take_errand() {
                send(server, session, command, args, errand);
            }
            result
        }
        Handler::Container => Err(CommandError::wrong_arity(command.full_name)),
    };
    if let Err(error) = &result {
        out.rewind(mark);
        if *error == COME_AGAIN {
            return Flow::Loading;
        }
        if *error == GO_ELSEWHERE {
            forward::give_away(server, session, command, args);
            return Flow::Forwarded;
        }
        out.error(error);
    }
    session.clock = Moment::now();
    let elapsed = session.clock.since(started);
    if session.waiting.is_some() {
        // It counts when it has ended.
        show_to_monitors(server, session, command, args);
    } else {
        account(server, session, command, args, &result, elapsed);
    }
    outcome.release(server);
    if session.waiting.is_some() { Flow::Blocked } else { Flow::Next }
}

/// Has a command run on another thread; the client waits for the reply.
#[cold]
fn send(server: &Server, session: &mut Session, command: &'static Command, args: Args<'_>, errand: Errand) {
    let durability = server.durability().expect("only durable mode sends errands");
    let args = Arc::new(args.to_owned());
    let awaited = Awaited::Answer;
    session.waiting = Some(Waiting { command, args: args.clone(), since: Instant::now(), until: None, awaited });
    durability.errands.submit(Job { client: session.client.clone(), errand, args, db: session.db });
}

/// Accounts for a command that has waited, and whose reply is there.
pub fn end_wait(server: &Server, session: &mut Session, result: &CommandResult) {
    let Some(Waiting { command, args, since, .. }) = session.waiting.take() else { return };
    // As in Redis, waiting counts as time of the command, but does not make it a slow one.
    server.stats.note_call(session.client.thread, command.id, since.elapsed(), result);
    note_if_slow(server, session, command, args.as_args(), Duration::ZERO);
    session.closing |= result.as_ref().is_err_and(|error| *error == BECAME_REPLICA);
}

/// What EXEC answers, to us alone, if its transaction was let in and has found its slot gone, so that it is to be tried
/// again. It has put everything back where it was.
pub const COME_AGAIN: CommandError = CommandError::new("");

/// The same if it is to be forwarded.
pub const GO_ELSEWHERE: CommandError = CommandError::new(" ");

#[inline(never)]
fn prepare_with_care(
    server: &Server,
    session: &mut Session,
    view: &mut View<'_>,
    command: &Command,
    args: Args<'_>,
) -> Result<(), Stay> {
    if session.no_touch {
        view.stop_touching();
    }
    match server.cluster() {
        Some(cluster) => cluster.confirm(server, session, view, command, args),
        None => Ok(()),
    }
}

/// Answers a request that was let in, and is not for this node after all.
#[cold]
fn stay_out(
    server: &Server,
    session: &mut Session,
    (command, args): (&'static Command, Args<'_>),
    stay: Stay,
    out: &mut ReplyBuf,
) -> Flow {
    match stay {
        Stay::Held => Flow::Loading,
        Stay::Elsewhere => {
            forward::give_away(server, session, command, args);
            Flow::Forwarded
        }
        Stay::Refused(error) => {
            let refusal = Refusal { command: Some(command), error, reason: Reason::Elsewhere };
            let error = refusal.end(server, session);
            out.error(&error);
            Flow::Next
        }
    }
}

#[inline]
fn prepare(server: &Server, view: &mut View<'_>) {
    if server.pause.stops_expiry(server) {
        view.hide_due();
    }
}

/// Runs one queued command of a transaction under the transaction's locks.
pub fn call_queued<'k>(ctx: &mut SessionCtx<'_, 'k>, view: &mut View<'k>, queued: &Queued) {
    let started = Moment::now();
    let (server, command, args) = (ctx.server, queued.command, queued.args.as_args());
    ctx.session.client.note_command(command);
    let mark = ctx.out.mark();
    if ctx.session.no_touch {
        view.stop_touching();
    }
    prepare(server, view);
    let result = match command.spec.handler {
        Handler::Data(handler) => handler(
            &mut Ctx {
                server,
                view,
                out: ctx.out,
                db: ctx.session.db,
                client: ctx.session.client.id,
                attempt: Attempt::NoWait,
                outcome: ctx.outcome,
            },
            args,
        ),
        Handler::Session(handler) => handler(
            &mut SessionCtx {
                server,
                session: ctx.session,
                out: ctx.out,
                now: ctx.now,
                held: Some(view),
                outcome: ctx.outcome,
            },
            args,
        ),
        Handler::Container => Err(CommandError::wrong_arity(command.full_name)),
    };
    if view.has_key_news() {
        ctx.outcome.note_news(server, view);
    }
    if let Err(error) = &result {
        ctx.out.rewind(mark);
        ctx.out.error(error);
    }
    account(server, ctx.session, command, args, &result, Moment::now().since(started));
}

#[inline]
pub fn account(
    server: &Server,
    session: &Session,
    command: &Command,
    args: Args<'_>,
    result: &CommandResult,
    elapsed: Duration,
) {
    server.stats.note_call(session.client.thread, command.id, elapsed, result);
    show_to_monitors(server, session, command, args);
    note_if_slow(server, session, command, args, elapsed);
    if server.latency.wants(elapsed) {
        server.latency.note_command(server, command, elapsed);
    }
}

#[inline]
fn show_to_monitors(server: &Server, session: &Session, command: &Command, args: Args<'_>) {
    if server.monitors.is_watched() && !command.is_hidden_from_monitors() {
        server.monitors.feed(server, session, command, args);
    }
}

#[inline]
fn note_if_slow(server: &Server, session: &Session, command: &Command, args: Args<'_>, elapsed: Duration) {
    if is_slow(server, command, elapsed) {
        server.slowlog.note(server, session, command, args, elapsed);
    }
}

#[inline]
fn is_slow(server: &Server, command: &Command, took: Duration) -> bool {
    took >= server.slowlog.threshold() && !command.spec.flags.contains(Flags::SKIP_SLOWLOG)
}

/// Locks everything: for what must see or change all of the keyspace at one moment.
pub fn lock_all(server: &Server) -> View<'_> {
    server.keyspace.lock(StripeSet::ALL, server.now())
}
