//! DUMP, RESTORE and RESTORE-ASKING: a value as a payload in Redis's own format, and back.

use super::ctx::Ctx;
use super::parse;
use super::spec::{Flags, Group, Handler::Data, KeySpec, OW_UPDATE, RO_ACCESS, Spec, Standing};
use crate::error::{CommandError, CommandResult, SYNTAX};
use crate::notify::EventClass;
use crate::resp::Args;
use basalt_storage::access;
use basalt_storage::clock::UnixMs;
use basalt_storage::entry::Stamp;
use basalt_storage::keyspace::AccessPolicy;
use basalt_storage::rdb::dump::{self, DumpError};
use basalt_storage::rdb::save::Compression;
use basalt_storage::rdb::values::{Builder, Limits};
use basalt_storage::value::Value;
use std::sync::atomic::Ordering::Relaxed;

pub const COMMANDS: &[Spec] = &[
    Spec {
        name: "dump",
        tips: &["nondeterministic_output"],
        arity: 2,
        flags: Flags::READONLY,
        keys: &[KeySpec::first(RO_ACCESS)],
        categories: &["keyspace"],
        since: "2.6.0",
        summary: "Answers the value of a key as a payload for RESTORE.",
        syntax: "key",
        complexity: "O(N*M), N being the number of elements and M their average size",
        handler: Data(dump_key),
        ..Spec::DEFAULT
    },
    Spec {
        name: "restore",
        arity: -4,
        flags: Flags::WRITE.or(Flags::DENYOOM),
        keys: &[KeySpec::first(OW_UPDATE)],
        categories: &["keyspace", "dangerous"],
        since: "2.6.0",
        summary: "Makes a key from a payload of DUMP.",
        syntax: "key ttl serialized-value [REPLACE] [ABSTTL] [IDLETIME seconds] [FREQ frequency]",
        complexity: "O(N*M), N being the number of elements and M their average size; for sorted sets O(N*M*log(N))",
        handler: Data(restore),
        ..Spec::DEFAULT
    },
    Spec {
        name: "restore-asking",
        arity: -4,
        flags: Flags::WRITE.or(Flags::DENYOOM).or(Flags::ASKING),
        keys: &[KeySpec::first(OW_UPDATE)],
        group: Group::Server,
        categories: &["keyspace", "dangerous"],
        since: "3.0.0",
        summary: "What MIGRATE says to a node that imports a slot.",
        syntax: "key ttl serialized-value [REPLACE] [ABSTTL] [IDLETIME seconds] [FREQ frequency]",
        complexity: "O(N*M), N being the number of elements and M their average size; for sorted sets O(N*M*log(N))",
        standing: Standing::Internal,
        handler: Data(restore),
        ..Spec::DEFAULT
    },
];

fn dump_key(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    match ctx.view.read(ctx.db, &args.key(1)) {
        Some(entry) => ctx.out.bulk(&dump::encode(&entry.value(), Compression::Lzf)),
        None => ctx.out.null(),
    }
    Ok(())
}

/// The words behind RESTORE's payload.
#[derive(Default)]
struct Options {
    replaces: bool,
    is_absolute: bool,
    idle_seconds: Option<i64>,
    frequency: Option<u8>,
}

impl Options {
    fn parse(args: Args<'_>) -> Result<Options, CommandError> {
        let mut options = Options::default();
        let mut at = 4;
        while at < args.len() {
            let has_value = at + 1 < args.len();
            if args.is(at, "REPLACE") {
                options.replaces = true;
            } else if args.is(at, "ABSTTL") {
                options.is_absolute = true;
            } else if args.is(at, "IDLETIME") && has_value && options.frequency.is_none() {
                let seconds = parse::integer(args.at(at + 1))?;
                if seconds < 0 {
                    return Err(CommandError::new("ERR Invalid IDLETIME value, must be >= 0"));
                }
                options.idle_seconds = Some(seconds);
                at += 1;
            } else if args.is(at, "FREQ") && has_value && options.idle_seconds.is_none() {
                let frequency = parse::integer(args.at(at + 1))?;
                let error = CommandError::new("ERR Invalid FREQ value, must be >= 0 and <= 255");
                options.frequency = Some(u8::try_from(frequency).map_err(|_| error)?);
                at += 1;
            } else {
                return Err(SYNTAX);
            }
            at += 1;
        }
        Ok(options)
    }
}

fn restore(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    let options = Options::parse(args)?;
    let key = args.key(1);
    if !options.replaces && ctx.view.survives(ctx.db, &key) {
        return Err(CommandError::new("BUSYKEY Target key name already exists."));
    }
    let ttl = parse::integer(args.at(2))?;
    if ttl < 0 {
        return Err(CommandError::new("ERR Invalid TTL value, must be >= 0"));
    }
    let value = value_of(ctx, args.at(3))?;
    let expiry = match ttl {
        0 => None,
        ttl if options.is_absolute => Some(UnixMs(ttl)),
        ttl => Some(UnixMs(ttl.saturating_add(ctx.now().0))),
    };
    if expiry.is_some_and(|at| at <= ctx.now()) {
        // What would be gone at once is not made; only what it would have replaced goes.
        if ctx.view.delete(ctx.db, &key) {
            ctx.notify(EventClass::Generic, "del", key.bytes);
        }
    } else {
        let stamp = stamp(ctx, &options);
        ctx.view.put_anew(ctx.db, &key, value, expiry, stamp);
        ctx.notify(EventClass::Generic, "restore", key.bytes);
    }
    ctx.out.ok();
    Ok(())
}

fn value_of(ctx: &Ctx<'_, '_>, payload: &[u8]) -> Result<Value, CommandError> {
    let limits = Limits::of(&ctx.server.keyspace.settings);
    let body = if ctx.server.switches.checksums.load(Relaxed) {
        dump::verified_body(payload)
    } else {
        dump::unverified_body(payload)
    };
    body.and_then(|body| dump::decode_body::<Builder>(body, &limits)).map_err(|error| match error {
        DumpError::Footer => CommandError::new("ERR DUMP payload version or checksum are wrong"),
        DumpError::Format(_) => CommandError::new("ERR Bad data format"),
    })
}

/// The access stamp asked for, if it means something under the policy in force.
fn stamp(ctx: &Ctx<'_, '_>, options: &Options) -> Stamp {
    let settings = &ctx.server.keyspace.settings;
    match (settings.access_policy(), options.idle_seconds, options.frequency) {
        (AccessPolicy::Lru, Some(seconds), _) => access::lru_idle(seconds.unsigned_abs(), ctx.now()),
        (AccessPolicy::Lfu, _, Some(counter)) => access::lfu_counter(counter, ctx.now()),
        _ => access::fresh(settings, ctx.now()),
    }
}
