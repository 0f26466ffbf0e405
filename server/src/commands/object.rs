//! OBJECT: what the server knows about a key besides its value.

use super::ctx::{Ctx, SessionCtx};
use super::spec::{Flags, Handler::Container, Handler::Data, Handler::Session, KeySpec, Locks, RO_NONE, Spec};
use crate::commands::looks::{self, Looks};
use crate::error::{CommandError, CommandResult};
use crate::resp::Args;
use crate::server::Server;
use basalt_storage::access;
use basalt_storage::entry::ValueRef;
use basalt_storage::keyspace::{AccessPolicy, Key, Whereabouts};
use std::ops::RangeInclusive;

const KEY: &[KeySpec] = &[KeySpec::at(2, RO_NONE)];

const fn about_key(name: &'static str, since: &'static str, summary: &'static str) -> Spec {
    Spec {
        name,
        arity: 3,
        flags: Flags::READONLY,
        keys: KEY,
        categories: &["keyspace"],
        since,
        summary,
        syntax: "key",
        tips: &["nondeterministic_output"],
        ..Spec::DEFAULT
    }
}

pub const COMMANDS: &[Spec] = &[Spec {
    name: "object",
    arity: -2,
    since: "2.2.3",
    complexity: "That of the subcommand",
    summary: "Holds the commands about the inner side of keys.",
    subcommands: &[
        Spec {
            handler: Data(encoding),
            looks: Looks::AtParts(looks::encoding),
            ..about_key("encoding", "2.2.3", "Names how the value of a key is represented.")
        },
        Spec {
            handler: Data(freq),
            looks: Looks::AtPresence,
            ..about_key("freq", "4.0.0", "Tells the access counter of a key.")
        },
        Spec {
            handler: Data(idletime),
            looks: Looks::AtPresence,
            ..about_key("idletime", "2.2.3", "Tells for how long nobody used a key.")
        },
        Spec {
            handler: Data(refcount),
            looks: Looks::AtOutlines,
            ..about_key("refcount", "2.2.3", "Counts the references to a value.")
        },
        Spec {
            name: "help",
            arity: 2,
            flags: Flags::LOADING.or(Flags::STALE),
            categories: &["keyspace"],
            since: "6.2.0",
            summary: "Lists the subcommands.",
            locks: Locks::Nothing,
            handler: Session(help),
            ..Spec::DEFAULT
        },
    ],
    locks: Locks::Nothing,
    handler: Container,
    ..Spec::DEFAULT
}];

const NO_LFU: CommandError = CommandError::new(
    "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching \
     between policies at runtime LRU and LFU data will take some time to adjust.",
);
const IS_LFU: CommandError = CommandError::new(
    "ERR An LFU maxmemory policy is selected, idle time not tracked. Please note that when switching between policies \
     at runtime LRU and LFU data will take some time to adjust.",
);

fn encoding(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    let key = Key::new(args.at(2));
    let known = match ctx.view.examine(ctx.db, &key).map(|entry| entry.value()) {
        None => {
            ctx.out.null();
            return Ok(());
        }
        Some(ValueRef::Outline(outline)) => outline.encoding(&ctx.server.keyspace.settings),
        Some(_) => None,
    };
    let encoding = known.or_else(|| ctx.view.peek(ctx.db, &key).map(|entry| entry.encoding()));
    ctx.out.bulk_str(encoding.expect("it was there just now").name());
    Ok(())
}

/// Of a cold key nobody knows how often it was used: not enough to stay. Asking does not load it.
fn freq(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    let now = ctx.now();
    let settings = &ctx.server.keyspace.settings;
    match ctx.view.locate(ctx.db, &Key::new(args.at(2))) {
        Whereabouts::Nowhere => ctx.out.null(),
        _ if settings.access_policy() != AccessPolicy::Lfu => return Err(NO_LFU),
        Whereabouts::Cold => ctx.out.integer(0),
        Whereabouts::Resident(entry) => ctx.out.integer(i64::from(access::frequency(entry.stamp(), settings, now))),
    }
    Ok(())
}

/// A cold key may have been used at any time since the start, and was not of late: the answer is the time since the
/// start. Asking does not load it.
fn idletime(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    let now = ctx.now();
    let settings = &ctx.server.keyspace.settings;
    match ctx.view.locate(ctx.db, &Key::new(args.at(2))) {
        Whereabouts::Nowhere => ctx.out.null(),
        _ if settings.access_policy() == AccessPolicy::Lfu => return Err(IS_LFU),
        Whereabouts::Cold => ctx.out.count(ctx.server.uptime().as_secs() as usize),
        Whereabouts::Resident(entry) => ctx.out.integer((access::idle_ms(entry.stamp(), now) / 1000) as i64),
    }
    Ok(())
}

/// What Redis shows for the small integers that it keeps once for all keys. Here no value is shared; clients still get
/// the answer that they know.
const SHARED: i64 = i32::MAX as i64;
const SHARED_INTEGERS: RangeInclusive<i64> = 0..=9999;

fn refcount(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    match ctx.view.examine(ctx.db, &Key::new(args.at(2))).map(|entry| entry.value()) {
        None => ctx.out.null(),
        Some(ValueRef::Int(number)) if SHARED_INTEGERS.contains(&number) && shares_integers(ctx.server) => {
            ctx.out.integer(SHARED);
        }
        Some(_) => ctx.out.integer(1),
    }
    Ok(())
}

/// Redis shares no integers when eviction needs to know when each of them was used.
fn shares_integers(server: &Server) -> bool {
    let by_use = |policy: &str| policy.ends_with("-lru") || policy.ends_with("-lfu");
    !server.has_memory_limit() || !by_use(&server.config.hot.maxmemory_policy.lock())
}

fn help(ctx: &mut SessionCtx<'_, '_>, _: Args<'_>) -> CommandResult {
    ctx.out.help(
        "OBJECT",
        &[
            ("ENCODING <key>", "Names the representation of the value."),
            ("FREQ <key>", "Tells the access counter that LFU eviction goes by."),
            ("IDLETIME <key>", "Tells how many seconds ago the key was last used."),
            ("REFCOUNT <key>", "Counts the references to the value."),
        ],
    );
    Ok(())
}
