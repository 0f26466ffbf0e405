//! Commands about the connection itself: who it is, what protocol it speaks, which database it uses.

use super::ctx::SessionCtx;
use super::spec::{Flags, Group, Handler::Session, Locks, Spec, Standing};
use crate::client::DEFAULT_USER;
use crate::cluster::Cluster;
use crate::error::{CommandError, CommandResult, SYNTAX};
use crate::resp::{Args, Protocol};
use crate::session::ReplyMode;
use crate::version::{BASALT_VERSION, REDIS_VERSION};
use basalt_storage::number;
use std::sync::atomic::Ordering::Relaxed;

/// Commands that work before the client is known, while loading, and while a script runs.
const ALWAYS: Flags =
    Flags::NOSCRIPT.or(Flags::LOADING).or(Flags::STALE).or(Flags::FAST).or(Flags::NO_AUTH).or(Flags::ALLOW_BUSY);

pub const COMMANDS: &[Spec] = &[
    Spec {
        name: "auth",
        arity: -2,
        flags: ALWAYS.or(Flags::SENTINEL),
        group: Group::Connection,
        complexity: "O(N) where N is the number of passwords of the user",
        summary: "Proves who the client is.",
        syntax: "[username] password",
        locks: Locks::Nothing,
        handler: Session(auth),
        ..Spec::DEFAULT
    },
    Spec {
        name: "echo",
        arity: 2,
        flags: Flags::LOADING.or(Flags::STALE).or(Flags::FAST),
        group: Group::Connection,
        summary: "Answers what it was given.",
        syntax: "message",
        locks: Locks::Nothing,
        handler: Session(echo),
        ..Spec::DEFAULT
    },
    Spec {
        name: "hello",
        arity: -1,
        flags: ALWAYS.or(Flags::SENTINEL),
        group: Group::Connection,
        since: "6.0.0",
        summary: "Introduces client and server, and agrees on the protocol.",
        syntax: "[protover [AUTH username password] [SETNAME clientname]]",
        locks: Locks::Nothing,
        handler: Session(hello),
        ..Spec::DEFAULT
    },
    Spec {
        name: "ping",
        tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
        arity: -1,
        flags: Flags::FAST.or(Flags::SENTINEL),
        group: Group::Connection,
        summary: "Answers PONG, or what it was given.",
        syntax: "[message]",
        locks: Locks::Nothing,
        handler: Session(ping),
        ..Spec::DEFAULT
    },
    Spec {
        name: "quit",
        arity: -1,
        flags: ALWAYS,
        group: Group::Connection,
        summary: "Closes the connection.",
        standing: Standing::Deprecated { since: "7.2.0", replaced_by: "closing the connection" },
        locks: Locks::Nothing,
        handler: Session(quit),
        ..Spec::DEFAULT
    },
    Spec {
        name: "reset",
        arity: 1,
        flags: ALWAYS,
        group: Group::Connection,
        since: "6.2.0",
        summary: "Makes the connection what it was when it was new.",
        locks: Locks::Nothing,
        handler: Session(reset),
        ..Spec::DEFAULT
    },
    Spec {
        name: "select",
        arity: 2,
        flags: Flags::LOADING.or(Flags::STALE).or(Flags::FAST),
        group: Group::Connection,
        summary: "Chooses the database of the connection.",
        syntax: "index",
        locks: Locks::Nothing,
        handler: Session(select),
        ..Spec::DEFAULT
    },
];

const WRONG_PASSWORD: CommandError = CommandError::new("WRONGPASS invalid username-password pair or user is disabled.");
const NO_PASSWORD_SET: CommandError = CommandError::new(
    "ERR AUTH <password> called without any password configured for the default user. \
     Are you sure your configuration is correct?",
);
const INVALID_NAME: CommandError =
    CommandError::new("ERR Client names cannot contain spaces, newlines or special characters.");
const HELLO_UNAUTHENTICATED: CommandError = CommandError::new(
    "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO AUTH <user> <pass> \
     option can be used to authenticate the client and select the RESP protocol version at the same time",
);

fn auth(ctx: &mut SessionCtx<'_, '_>, args: Args<'_>) -> CommandResult {
    let (user, password) = match args.len() {
        2 if !ctx.server.config.needs_password() => return Err(NO_PASSWORD_SET),
        2 => (DEFAULT_USER.as_bytes(), args.at(1)),
        3 => (args.at(1), args.at(2)),
        _ => return Err(SYNTAX),
    };
    log_in(ctx, user, password)?;
    ctx.out.ok();
    Ok(())
}

fn log_in(ctx: &mut SessionCtx<'_, '_>, user: &[u8], password: &[u8]) -> CommandResult {
    let config = &ctx.server.config;
    if user != DEFAULT_USER.as_bytes() || config.needs_password() && !config.is_password(password) {
        return Err(WRONG_PASSWORD);
    }
    ctx.session.is_authenticated = true;
    Ok(())
}

fn echo(ctx: &mut SessionCtx<'_, '_>, args: Args<'_>) -> CommandResult {
    ctx.out.bulk(args.at(1));
    Ok(())
}

/// What HELLO asks for.
#[derive(Default)]
struct Introduction<'a> {
    protocol: Option<Protocol>,
    credentials: Option<(&'a [u8], &'a [u8])>,
    name: Option<String>,
}

impl<'a> Introduction<'a> {
    fn parse(args: Args<'a>) -> Result<Introduction<'a>, CommandError> {
        let mut introduction = Introduction::default();
        let Some(version) = args.maybe(1) else { return Ok(introduction) };
        introduction.protocol = Some(match number::parse_i64(version) {
            Some(2) => Protocol::Resp2,
            Some(3) => Protocol::Resp3,
            Some(_) => return Err(CommandError::new("NOPROTO unsupported protocol version")),
            None => return Err(CommandError::new("ERR Protocol version is not an integer or out of range")),
        });
        let mut at = 2;
        while at < args.len() {
            let left = args.len() - at - 1;
            if args.is(at, "AUTH") && left >= 2 {
                introduction.credentials = Some((args.at(at + 1), args.at(at + 2)));
                at += 3;
            } else if args.is(at, "SETNAME") && left >= 1 {
                introduction.name = Some(client_name(args.at(at + 1))?);
                at += 2;
            } else {
                let option = String::from_utf8_lossy(args.at(at));
                return Err(CommandError::owned(format!("ERR Syntax error in HELLO option '{option}'")));
            }
        }
        Ok(introduction)
    }
}

/// Names are shown in CLIENT LIST, whose lines and fields they must not break.
pub fn client_name(name: &[u8]) -> Result<String, CommandError> {
    printable(name).ok_or(INVALID_NAME)
}

/// The text, if it has neither spaces nor unprintable characters.
pub fn printable(text: &[u8]) -> Option<String> {
    let is_printable = text.iter().all(|byte| (b'!'..=b'~').contains(byte));
    is_printable.then(|| String::from_utf8_lossy(text).into_owned())
}

fn hello(ctx: &mut SessionCtx<'_, '_>, args: Args<'_>) -> CommandResult {
    let introduction = Introduction::parse(args)?;
    if let Some((user, password)) = introduction.credentials {
        log_in(ctx, user, password)?;
    }
    if !ctx.session.is_authenticated {
        return Err(HELLO_UNAUTHENTICATED);
    }
    let info = &ctx.session.client.info;
    if let Some(name) = introduction.name {
        *info.name.lock() = name;
    }
    if let Some(protocol) = introduction.protocol {
        info.is_resp3.store(protocol == Protocol::Resp3, Relaxed);
        ctx.out.protocol = protocol;
    }
    let out = &mut *ctx.out;
    out.map(8);
    for (field, text) in [("server", "redis"), ("version", REDIS_VERSION), ("basalt_version", BASALT_VERSION)] {
        out.bulk_str(field);
        out.bulk_str(text);
    }
    out.bulk_str("proto");
    out.integer(if out.is_resp3() { 3 } else { 2 });
    out.bulk_str("id");
    out.integer(ctx.session.client.id.0 as i64);
    let cluster = ctx.server.cluster();
    let mode = if cluster.is_some() { "cluster" } else { "standalone" };
    let role = if cluster.is_some_and(Cluster::is_replica) { "replica" } else { "master" };
    for (field, text) in [("mode", mode), ("role", role)] {
        out.bulk_str(field);
        out.bulk_str(text);
    }
    out.bulk_str("modules");
    out.array(0);
    Ok(())
}

fn ping(ctx: &mut SessionCtx<'_, '_>, args: Args<'_>) -> CommandResult {
    if args.len() > 2 {
        return Err(CommandError::wrong_arity("ping"));
    }
    if !ctx.out.is_resp3() && !ctx.session.subscriptions.is_empty() {
        // A RESP2 subscriber reads nothing but messages, so this looks like one.
        ctx.out.array(2);
        ctx.out.bulk(b"pong");
        ctx.out.bulk(args.maybe(1).unwrap_or_default());
        return Ok(());
    }
    match args.maybe(1) {
        None => ctx.out.simple("PONG"),
        Some(message) => ctx.out.bulk(message),
    }
    Ok(())
}

fn quit(ctx: &mut SessionCtx<'_, '_>, _: Args<'_>) -> CommandResult {
    ctx.out.ok();
    ctx.session.closing = true;
    Ok(())
}

fn reset(ctx: &mut SessionCtx<'_, '_>, _: Args<'_>) -> CommandResult {
    let session = &mut *ctx.session;
    session.leave_transaction(ctx.server);
    session.unsubscribe_all(ctx.server);
    session.stop_monitoring(ctx.server);
    session.select(basalt_storage::effect::DbIndex(0));
    session.is_authenticated = !ctx.server.config.needs_password();
    session.reply_mode = ReplyMode::On;
    session.set_no_touch(crate::session::Switch::Off);
    session.forget_routing();
    let info = &session.client.info;
    info.name.lock().clear();
    info.no_evict.store(false, Relaxed);
    info.is_resp3.store(false, Relaxed);
    ctx.out.protocol = Protocol::Resp2;
    ctx.out.simple("RESET");
    Ok(())
}

fn select(ctx: &mut SessionCtx<'_, '_>, args: Args<'_>) -> CommandResult {
    if ctx.server.cluster().is_some() && super::parse::database_number(args.at(1))? != 0 {
        return Err(CommandError::new("ERR SELECT is not allowed in cluster mode"));
    }
    let db = super::parse::database(&ctx.server.keyspace, args.at(1))?;
    ctx.session.select(db);
    ctx.out.ok();
    Ok(())
}
