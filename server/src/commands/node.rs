//! Commands about the node as a whole: time, role, replicas, who watches, and its end.

use super::ctx::{Ctx, SessionCtx};
use super::spec::{Flags, Group, Handler::Data, Handler::Session, Locks, Spec};
use crate::blocked::{BlockRequest, Then};
use crate::cluster::Neighbours;
use crate::cluster::copies::CopyWait;
use crate::error::{CommandError, CommandResult, NOT_INTEGER, SYNTAX};
use crate::resp::{Args, ReplyBuf};
use crate::server::Server;
use crate::version::REDIS_VERSION;
use basalt_storage::number;
use std::time::{Duration, Instant};

const BASE: Spec = Spec { group: Group::Server, locks: Locks::Nothing, ..Spec::DEFAULT };

pub const COMMANDS: &[Spec] = &[
    Spec {
        name: "lolwut",
        arity: -1,
        flags: Flags::READONLY.or(Flags::FAST),
        since: "5.0.0",
        complexity: "",
        summary: "Draws something, and tells the version.",
        syntax: "[VERSION version]",
        handler: Session(lolwut),
        ..BASE
    },
    Spec {
        name: "monitor",
        arity: 1,
        flags: Flags::ADMIN.or(Flags::NOSCRIPT).or(Flags::LOADING).or(Flags::STALE),
        complexity: "",
        summary: "Shows every command that the server runs.",
        handler: Session(monitor),
        ..BASE
    },
    Spec {
        name: "role",
        arity: 1,
        flags: Flags::NOSCRIPT.or(Flags::LOADING).or(Flags::STALE).or(Flags::FAST).or(Flags::SENTINEL),
        since: "2.8.12",
        summary: "Tells the part that the node plays in replication.",
        categories: &["admin", "dangerous"],
        handler: Session(role),
        ..BASE
    },
    Spec {
        name: "shutdown",
        arity: -1,
        flags: Flags::ADMIN
            .or(Flags::NOSCRIPT)
            .or(Flags::LOADING)
            .or(Flags::STALE)
            .or(Flags::NO_MULTI)
            .or(Flags::SENTINEL)
            .or(Flags::ALLOW_BUSY),
        complexity: "O(N) when saving, where N is the number of keys in all databases, otherwise O(1)",
        summary: "Ends the server.",
        syntax: "[NOSAVE | SAVE] [NOW] [FORCE] [ABORT]",
        handler: Session(shutdown),
        ..BASE
    },
    Spec {
        name: "time",
        tips: &["nondeterministic_output"],
        arity: 1,
        flags: Flags::LOADING.or(Flags::STALE).or(Flags::FAST),
        since: "2.6.0",
        summary: "Tells the time: seconds since 1970, and microseconds.",
        handler: Session(time),
        ..BASE
    },
    Spec {
        name: "wait",
        tips: &["request_policy:all_shards", "response_policy:agg_min"],
        arity: 3,
        // 7.0 has `noscript` instead of `blocking`.
        flags: Flags::BLOCKING,
        group: Group::Generic,
        since: "3.0.0",
        summary: "Waits until replicas have what the client has written.",
        syntax: "numreplicas timeout/integer",
        categories: &["connection"],
        handler: Data(wait),
        ..BASE
    },
    Spec {
        name: "waitaof",
        tips: &["request_policy:all_shards", "response_policy:agg_min"],
        arity: 4,
        flags: Flags::BLOCKING,
        group: Group::Generic,
        since: "7.2.0",
        summary: "Waits until what the client has written is on disk, here and on replicas.",
        syntax: "numlocal numreplicas timeout/integer",
        categories: &["connection"],
        handler: Data(wait_aof),
        ..BASE
    },
];

/// Waits until what was written so far survives the loss of power here. With `fsync always` every acknowledged write
/// does. Without a cluster there are no replicas, so whoever asks for one waits until time runs out.
fn wait_aof(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    const RANGE: CommandError = CommandError::new("ERR value is out of range, value must between 0 and 1");
    const NO_LOG: CommandError =
        CommandError::new("ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.");
    let local = number::parse_i64(args.at(1)).filter(|number| (0..=1).contains(number)).ok_or(RANGE)?;
    let replicas = number::parse_i64(args.at(2)).filter(|number| *number >= 0).ok_or(NOT_INTEGER)?;
    let timeout = timeout_ms(args.at(3))?;
    if is_replica(ctx.server) {
        return Err(CommandError::new(
            "ERR WAITAOF cannot be used with replica instances. Please also note that writes to replicas are just \
             local and are not propagated.",
        ));
    }
    let Some(durability) = ctx.server.durability() else {
        if local > 0 {
            return Err(NO_LOG);
        }
        if replicas == 0 {
            write_pair(ctx.out, 0, 0);
        } else {
            ctx.block(without_keys(timeout, |out| write_pair(out, 0, 0)));
        }
        return Ok(());
    };
    let everything = ctx.server.keyspace.proposed();
    let is_synced = durability.is_synced(everything);
    if replicas == 0 && (local == 0 || is_synced) {
        // Where a reply waits for its batch anyway, that is what makes it true.
        write_pair(ctx.out, i64::from(is_synced), 0);
        return Ok(());
    }
    if replicas > 0 && ctx.server.cluster().is_some_and(|cluster| cluster.control().copies().is_some()) {
        // With a copy elsewhere on disk it is on this node's disk too.
        let none = |out: &mut ReplyBuf| write_pair(out, 0, 0);
        wait_for_copies(ctx, replicas, timeout, none, |out, copies| write_pair(out, 1, copies));
        return Ok(());
    }
    let timeout_reply = match is_synced {
        true => |out: &mut ReplyBuf| write_pair(out, 1, 0),
        false => |out: &mut ReplyBuf| write_pair(out, 0, 0),
    };
    let client = ctx.client;
    let begin = move |server: &Server| {
        let Some(durability) = server.durability() else { return };
        durability.answer_when_synced(everything, client);
        if durability.is_synced(everything) {
            durability.note_synced(server, everything);
        }
    };
    let then: Option<Then> = if replicas == 0 { Some(Box::new(begin)) } else { None };
    ctx.block(BlockRequest { then, ..without_keys(timeout, timeout_reply) });
    Ok(())
}

/// What WAITAOF answers: whether it is safe here, and the number of other nodes on which it is.
pub fn write_pair(out: &mut ReplyBuf, local: i64, copies: i64) {
    out.array(2);
    out.integer(local);
    out.integer(copies);
}

fn timeout_ms(argument: &[u8]) -> Result<Option<Duration>, CommandError> {
    let timeout =
        number::parse_i64(argument).ok_or(CommandError::new("ERR timeout is not an integer or out of range"))?;
    if timeout < 0 {
        return Err(CommandError::new("ERR timeout is negative"));
    }
    Ok((timeout > 0).then(|| Duration::from_millis(timeout.cast_unsigned())))
}

fn without_keys(timeout: Option<Duration>, timeout_reply: fn(&mut ReplyBuf)) -> BlockRequest {
    BlockRequest { keys: Vec::new(), other_keys: Vec::new(), timeout, timeout_reply, then: None }
}

fn time(ctx: &mut SessionCtx<'_, '_>, _: Args<'_>) -> CommandResult {
    let us = ctx.server.clock_us();
    ctx.out.array(2);
    ctx.out.bulk_int(us / 1_000_000);
    ctx.out.bulk_int(us % 1_000_000);
    Ok(())
}

/// A node by itself is a master without replicas. In a cluster it is what CLUSTER NODES says.
fn role(ctx: &mut SessionCtx<'_, '_>, _: Args<'_>) -> CommandResult {
    let Neighbours { master, replicas, positions } = Neighbours::of(ctx.server);
    let out = &mut ctx.out;
    if let Some(master) = master {
        out.array(5);
        out.bulk(b"slave");
        out.bulk(master.address.ip.to_string().as_bytes());
        out.integer(master.address.port.into());
        out.bulk(match (master.is_linked, master.is_loading) {
            (false, _) => b"connect",
            (true, true) => b"sync",
            (true, false) => b"connected",
        });
        out.integer(positions.applied.0 as i64);
        return Ok(());
    }
    out.array(3);
    out.bulk(b"master");
    out.integer(positions.last.0 as i64);
    out.array(replicas.len());
    for replica in replicas {
        out.array(3);
        out.bulk(replica.address.ip.to_string().as_bytes());
        out.bulk(replica.address.port.to_string().as_bytes());
        out.bulk(replica.offset.to_string().as_bytes());
    }
    Ok(())
}

/// In a cluster, until other nodes have what was written here. Without one there are none: enough of them are there if
/// none is asked for; otherwise time runs out.
fn wait(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    if is_replica(ctx.server) {
        return Err(CommandError::new(
            "ERR WAIT cannot be used with replica instances. Please also note that since Redis 4.0 if a replica is \
             configured to be writable (which is not the default) writes to replicas are just local and are not \
             propagated.",
        ));
    }
    let replicas = number::parse_i64(args.at(1)).ok_or(NOT_INTEGER)?;
    let timeout = timeout_ms(args.at(2))?;
    let copies = ctx.server.cluster().and_then(|cluster| cluster.control().copies());
    if replicas <= 0 {
        ctx.out.integer(copies.map_or(0, |copies| copies.count() as i64));
        return Ok(());
    }
    let none = |out: &mut ReplyBuf| out.integer(0);
    match copies {
        Some(_) => wait_for_copies(ctx, replicas, timeout, none, |out, copies| out.integer(copies)),
        None => ctx.block(without_keys(timeout, none)),
    }
    Ok(())
}

fn is_replica(server: &Server) -> bool {
    server.cluster().is_some_and(|cluster| cluster.is_replica())
}

fn wait_for_copies(
    ctx: &mut Ctx<'_, '_>,
    wanted: i64,
    timeout: Option<Duration>,
    timeout_reply: fn(&mut ReplyBuf),
    tell: fn(&mut ReplyBuf, i64),
) {
    let wait = CopyWait {
        client: ctx.client,
        wanted: usize::try_from(wanted).unwrap_or(usize::MAX),
        written: ctx.server.keyspace.proposed(),
        until: timeout.map(|timeout| Instant::now() + timeout),
        tell,
    };
    let begin = move |server: &Server| {
        let copies = server.cluster().and_then(|cluster| cluster.control().copies());
        copies.into_iter().for_each(|copies| copies.add(wait));
    };
    // Those who know the copies know the time as well: what is told then is how many there are.
    ctx.block(BlockRequest { then: Some(Box::new(begin)), ..without_keys(None, timeout_reply) });
}

fn monitor(ctx: &mut SessionCtx<'_, '_>, _: Args<'_>) -> CommandResult {
    if ctx.held.is_some() {
        return Err(CommandError::new("ERR MONITOR isn't allowed for DENY BLOCKING client"));
    }
    ctx.session.start_monitoring(ctx.server);
    ctx.out.ok();
    Ok(())
}

fn lolwut(ctx: &mut SessionCtx<'_, '_>, args: Args<'_>) -> CommandResult {
    if args.len() > 2 && args.is(1, "VERSION") {
        number::parse_i64(args.at(2)).ok_or(NOT_INTEGER)?;
    }
    let mut rng = basalt_storage::rng::Rng::from_entropy();
    let drawing = columns(|most| rng.below(most) as usize);
    let text = format!("{drawing}\nColumns of basalt, as they cooled today. Redis ver. {REDIS_VERSION}\n");
    ctx.out.verbatim("txt", text.as_bytes());
    Ok(())
}

/// Draws columns of random heights; `random` answers a number below what it is given.
fn columns(mut random: impl FnMut(u64) -> usize) -> String {
    const HEIGHT: usize = 9;
    const WIDTH: usize = 18;
    let heights: Vec<usize> = (0..WIDTH).map(|_| 2 + random(HEIGHT as u64 - 2)).collect();
    let mut drawing = String::new();
    for row in (0..=HEIGHT).rev() {
        let cell = |height: &usize| match row {
            row if row == *height => " __ ",
            row if row < *height => "|  |",
            _ => "    ",
        };
        let line: String = heights.iter().map(cell).collect();
        drawing.push_str(line.trim_end());
        drawing.push('\n');
    }
    drawing
}

/// How SHUTDOWN was asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct ShutdownRequest {
    save: Option<crate::shutdown::Save>,
    is_abort: bool,
    is_hurried: bool,
    is_forced: bool,
}

impl ShutdownRequest {
    fn parse(args: Args<'_>) -> Result<ShutdownRequest, CommandError> {
        use crate::shutdown::Save;
        let mut request = ShutdownRequest::default();
        for word in args.from(1) {
            match word.to_ascii_lowercase().as_slice() {
                b"nosave" if request.save != Some(Save::Always) => request.save = Some(Save::Never),
                b"save" if request.save != Some(Save::Never) => request.save = Some(Save::Always),
                b"now" => request.is_hurried = true,
                b"force" => request.is_forced = true,
                b"abort" => request.is_abort = true,
                _ => return Err(SYNTAX),
            }
        }
        if request.is_abort && (request.save.is_some() || request.is_hurried || request.is_forced) {
            Err(SYNTAX)
        } else {
            Ok(request)
        }
    }
}

fn shutdown(ctx: &mut SessionCtx<'_, '_>, args: Args<'_>) -> CommandResult {
    let request = ShutdownRequest::parse(args)?;
    if request.is_abort {
        if !ctx.server.shutdown.abort() {
            return Err(CommandError::new("ERR No shutdown in progress."));
        }
        ctx.out.ok();
        return Ok(());
    }
    let save = request.save.unwrap_or_default();
    if ctx.server.save_before_end(save).is_err() && !request.is_forced {
        return Err(CommandError::new("ERR Errors trying to SHUTDOWN. Check logs."));
    }
    ctx.server.shutdown.request();
    ctx.session.closing = true;
    Ok(())
}
