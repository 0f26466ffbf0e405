//! MEMORY: who uses how much.

use super::ctx::SessionCtx;
use super::spec::{Flags, Group, Handler::Session, KeySpec, Locks, RO_NONE, Spec};
use crate::commands::looks::Looks;
use crate::error::{CommandResult, NOT_INTEGER, SYNTAX};
use crate::memory;
use crate::memory_report::{Report, diagnose, ratio};
use crate::resp::Args;
use basalt_storage::keyspace::Key;
use basalt_storage::number;

/// Elements of a value that MEMORY USAGE looks at when it is not told how many.
const SAMPLES_DEFAULT: usize = 5;

const BASE: Spec = Spec { group: Group::Server, since: "4.0.0", locks: Locks::Nothing, ..Spec::DEFAULT };
const BY_ALLOCATED: &str = "Depends on how much memory is allocated, could be slow";

pub const COMMANDS: &[Spec] = &[Spec {
    name: "memory",
    arity: -2,
    complexity: "Depends on subcommand.",
    summary: "Commands about memory.",
    subcommands: SUBCOMMANDS,
    ..BASE
}];

const SUBCOMMANDS: &[Spec] = &[
    Spec {
        name: "doctor",
        arity: 2,
        summary: "Says in plain words what is wrong with the use of memory.",
        tips: &["nondeterministic_output", "request_policy:all_shards", "response_policy:special"],
        handler: Session(doctor),
        ..BASE
    },
    Spec {
        name: "help",
        arity: 2,
        flags: Flags::LOADING.or(Flags::STALE),
        summary: "Lists the subcommands.",
        handler: Session(help),
        ..BASE
    },
    Spec {
        name: "malloc-stats",
        arity: 2,
        complexity: BY_ALLOCATED,
        summary: "Answers the allocator's own statistics.",
        tips: &["nondeterministic_output", "request_policy:all_shards", "response_policy:special"],
        handler: Session(malloc_stats),
        ..BASE
    },
    Spec {
        name: "purge",
        tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
        arity: 2,
        complexity: BY_ALLOCATED,
        summary: "Asks the allocator to give memory back to the system.",
        handler: Session(purge),
        ..BASE
    },
    Spec {
        name: "stats",
        arity: 2,
        summary: "Answers who uses how much memory.",
        tips: &["nondeterministic_output", "request_policy:all_shards", "response_policy:special"],
        handler: Session(stats),
        ..BASE
    },
    Spec {
        name: "usage",
        looks: Looks::AtOutlines,
        arity: -3,
        flags: Flags::READONLY,
        keys: &[KeySpec::at(2, RO_NONE)],
        complexity: "O(N) where N is the number of samples.",
        summary: "Estimates the memory that a key takes.",
        syntax: "key [SAMPLES count]",
        locks: Locks::Keys,
        handler: Session(usage),
        ..BASE
    },
];

fn usage(ctx: &mut SessionCtx<'_, '_>, args: Args<'_>) -> CommandResult {
    let mut samples = SAMPLES_DEFAULT;
    let mut at = 3;
    while at < args.len() {
        if !args.is(at, "SAMPLES") || at + 1 == args.len() {
            return Err(SYNTAX);
        }
        let count = number::parse_i64(args.at(at + 1)).ok_or(NOT_INTEGER)?;
        samples = usize::try_from(count).map_err(|_| SYNTAX)?;
        at += 2;
    }
    let (db, key) = (ctx.session.db, Key::new(args.at(2)));
    match ctx.with_key(&key, |view| view.usage(db, &key, samples)) {
        Some(bytes) => ctx.out.count(bytes),
        None => ctx.out.null(),
    }
    Ok(())
}

/// Names and order are Redis's; what does not exist here is zero.
fn stats(ctx: &mut SessionCtx<'_, '_>, _: Args<'_>) -> CommandResult {
    let report = Report::of(ctx.server);
    let out = &mut *ctx.out;
    out.map(27 + report.tables.len());
    let mut bytes = |name: &str, bytes: u64| {
        out.bulk_str(name);
        out.integer(bytes as i64);
    };
    bytes("peak.allocated", report.peak);
    bytes("total.allocated", report.used);
    bytes("startup.allocated", report.at_start);
    bytes("replication.backlog", 0);
    bytes("clients.slaves", 0);
    bytes("clients.normal", report.clients);
    bytes("cluster.links", 0);
    bytes("aof.buffer", 0);
    bytes("lua.caches", 0);
    bytes("functions.caches", 0);
    for (db, table) in &report.tables {
        out.bulk_str(&format!("db.{}", db.0));
        // Entries with an expiry are marked in the one table there is.
        out.map(3);
        for (name, bytes) in [
            ("overhead.hashtable.main", *table),
            ("overhead.hashtable.expires", 0),
            ("overhead.hashtable.slot-to-keys", 0),
        ] {
            out.bulk_str(name);
            out.integer(bytes as i64);
        }
    }
    let data = report.used.saturating_sub(report.at_start);
    let mut bytes = |name: &str, bytes: u64| {
        out.bulk_str(name);
        out.integer(bytes as i64);
    };
    bytes("overhead.total", report.overhead());
    bytes("keys.count", report.keys);
    bytes("keys.bytes-per-key", data.checked_div(report.keys).unwrap_or(0));
    bytes("dataset.bytes", report.dataset());
    let mut double = |name: &str, value: f64| {
        out.bulk_str(name);
        out.double(value);
    };
    double("dataset.percentage", report.dataset_percent());
    double("peak.percentage", report.peak_percent());
    let allocator = &report.allocator;
    for (name, bytes) in [
        ("allocator.allocated", allocator.allocated),
        ("allocator.active", allocator.active),
        ("allocator.resident", allocator.resident),
    ] {
        out.bulk_str(name);
        out.integer(bytes as i64);
    }
    for (name, part, whole) in [
        ("allocator-fragmentation", allocator.active, allocator.allocated),
        ("allocator-rss", allocator.resident, allocator.active),
        ("rss-overhead", report.resident, allocator.resident),
        ("fragmentation", report.resident, report.used),
    ] {
        let of_all = name == "fragmentation";
        out.bulk_str(&if of_all { name.to_owned() } else { format!("{name}.ratio") });
        out.double(ratio(part, whole));
        out.bulk_str(&format!("{name}.bytes"));
        out.integer(part as i64 - whole as i64);
    }
    Ok(())
}

fn doctor(ctx: &mut SessionCtx<'_, '_>, _: Args<'_>) -> CommandResult {
    let text = diagnose(&Report::of(ctx.server), ctx.server.clients.count());
    ctx.out.verbatim("txt", text.as_bytes());
    Ok(())
}

fn purge(ctx: &mut SessionCtx<'_, '_>, _: Args<'_>) -> CommandResult {
    memory::purge();
    ctx.out.ok();
    Ok(())
}

fn malloc_stats(ctx: &mut SessionCtx<'_, '_>, _: Args<'_>) -> CommandResult {
    ctx.out.verbatim("txt", &memory::allocator_text());
    Ok(())
}

fn help(ctx: &mut SessionCtx<'_, '_>, _: Args<'_>) -> CommandResult {
    ctx.out.help(
        "MEMORY",
        &[
            ("DOCTOR", "What is wrong with the use of memory, in plain words."),
            ("MALLOC-STATS", "The allocator's own statistics."),
            ("PURGE", "Ask the allocator to give memory back to the system."),
            ("STATS", "Who uses how much memory."),
            (
                "USAGE <key> [SAMPLES <count>]",
                "Bytes that <key> and its value take. Of nested values <count> are looked at\n\
                 (default: 5, 0 means all).",
            ),
        ],
    );
    Ok(())
}
