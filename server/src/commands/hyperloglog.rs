//! HyperLogLog commands: approximate counts of distinct elements. The values are strings in Redis's own representation,
//! which [`crate::algorithms::hyperloglog`] knows; here they are read, written back and accounted for.

use super::ctx::{Ctx, SessionCtx};
use super::spec::{
    Flags, Group, Handler::Data, Handler::Session, KeyFlags, KeySpec, Locks, RO_ACCESS, RW_INSERT, Spec, Standing,
};
use crate::algorithms::hyperloglog::{Corrupt, Encoding, HyperLogLog, NotHyperLogLog, Union};
use crate::error::{CommandError, CommandResult};
use crate::notify::EventClass;
use crate::resp::Args;
use basalt_storage::keyspace::{Key, NewExpiry, StrRef};
use std::ops::Range;
use std::sync::atomic::Ordering::Relaxed;

const RW_ACCESS: KeyFlags = KeyFlags::RW.or(KeyFlags::ACCESS);
const HYPERLOGLOG: Spec = Spec { group: Group::HyperLogLog, since: "2.8.9", ..Spec::DEFAULT };

pub const COMMANDS: &[Spec] = &[
    Spec {
        name: "pfadd",
        arity: -2,
        flags: Flags::WRITE.or(Flags::DENYOOM).or(Flags::FAST),
        keys: &[KeySpec::first(RW_INSERT)],
        complexity: "O(1) for each element",
        summary: "Adds elements to a HyperLogLog.",
        syntax: "key [element [element ...]]",
        handler: Data(add),
        ..HYPERLOGLOG
    },
    Spec {
        name: "pfcount",
        arity: -2,
        flags: Flags::READONLY.or(Flags::MAY_REPLICATE),
        keys: &[KeySpec { notes: "RW because the count is kept in the value", ..KeySpec::range(1, -1, 1, RW_ACCESS) }],
        complexity: "O(1) for one key, O(N) for N keys",
        summary: "Estimates how many distinct elements HyperLogLogs have together.",
        syntax: "key [key ...]",
        handler: Data(count),
        ..HYPERLOGLOG
    },
    Spec {
        name: "pfmerge",
        arity: -2,
        flags: Flags::WRITE.or(Flags::DENYOOM),
        keys: &[KeySpec::first(RW_ACCESS.or(KeyFlags::INSERT)), KeySpec::range(2, -1, 1, RO_ACCESS)],
        complexity: "O(N), N being the number of HyperLogLogs",
        summary: "Adds the elements of HyperLogLogs to another one.",
        syntax: "destkey [sourcekey [sourcekey ...]]",
        handler: Data(merge),
        ..HYPERLOGLOG
    },
    Spec {
        name: "pfdebug",
        arity: 3,
        flags: Flags::WRITE.or(Flags::DENYOOM).or(Flags::ADMIN),
        keys: &[KeySpec::at(2, RW_ACCESS)],
        complexity: "N/A",
        summary: "Shows the inner side of a HyperLogLog, for tests.",
        syntax: "subcommand key",
        standing: Standing::Internal,
        handler: Data(debug),
        ..HYPERLOGLOG
    },
    Spec {
        name: "pfselftest",
        arity: 1,
        flags: Flags::ADMIN,
        complexity: "N/A",
        summary: "Checks that counts are as exact as they should be.",
        standing: Standing::Internal,
        locks: Locks::Nothing,
        handler: Session(self_test),
        ..HYPERLOGLOG
    },
];

const CORRUPT: CommandError = CommandError::new("INVALIDOBJ Corrupted HLL object detected");
const NOT_HYPERLOGLOG: CommandError = CommandError::new("WRONGTYPE Key is not a valid HyperLogLog string value.");

impl From<Corrupt> for CommandError {
    fn from(_: Corrupt) -> CommandError {
        CORRUPT
    }
}

impl From<NotHyperLogLog> for CommandError {
    fn from(_: NotHyperLogLog) -> CommandError {
        NOT_HYPERLOGLOG
    }
}

fn open(string: StrRef<'_>) -> Result<HyperLogLog<Vec<u8>>, CommandError> {
    Ok(HyperLogLog::open(string.to_vec())?)
}

/// `hll-sparse-max-bytes`
fn sparse_max(ctx: &Ctx<'_, '_>) -> usize {
    ctx.server.config.hot.hll_sparse_max_bytes.load(Relaxed)
}

/// Makes the key hold this value. Where only bytes of a value of the same length change, only those are written: a
/// dense value has 12 kB, and an element changes one or two.
fn store(ctx: &mut Ctx<'_, '_>, key: &Key<'_>, value: HyperLogLog<Vec<u8>>) -> CommandResult {
    const HEADER: Range<usize> = 0..16;
    let new = value.into_bytes();
    let pieces = match ctx.view.string_to_change(ctx.db, key)? {
        Some(StrRef::Bytes(old)) if old.len() == new.len() => {
            let pieces = [HEADER, HEADER.end..new.len()];
            Some(pieces.map(|piece| difference(&old[piece.clone()], &new[piece.clone()], piece.start)))
        }
        _ => None,
    };
    match pieces {
        None => ctx.view.put_modified(ctx.db, key, new, NewExpiry::Keep),
        Some(pieces) => {
            for piece in pieces.into_iter().filter(|piece| !piece.is_empty()) {
                ctx.view.splice_string(ctx.db, key, piece.start, &new[piece]);
            }
        }
    }
    Ok(())
}

/// The range in which two strings of equal length differ, counted from `base`.
fn difference(old: &[u8], new: &[u8], base: usize) -> Range<usize> {
    let differs = |at: &usize| old[*at] != new[*at];
    match (0..old.len()).find(differs) {
        None => base..base,
        Some(first) => {
            let last = (first..old.len()).rev().find(differs).unwrap_or(first);
            base + first..base + last + 1
        }
    }
}

fn add(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    let key = args.key(1);
    let sparse_max = sparse_max(ctx);
    let (mut value, mut changed) = match ctx.view.string_to_change(ctx.db, &key)? {
        None => (HyperLogLog::new(), true),
        Some(string) => (open(string)?, false),
    };
    for element in args.from(2) {
        changed |= value.add(element, sparse_max)?;
    }
    if changed {
        value.invalidate_count();
        store(ctx, &key, value)?;
        ctx.notify(EventClass::String, "pfadd", key.bytes);
    }
    ctx.out.integer(i64::from(changed));
    Ok(())
}

fn count(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    let count = if args.len() == 2 { count_one(ctx, &args.key(1))? } else { union(ctx, args)?.count() };
    ctx.out.integer(count as i64);
    Ok(())
}

/// The count of one HyperLogLog is kept in its value.
fn count_one(ctx: &mut Ctx<'_, '_>, key: &Key<'_>) -> Result<u64, CommandError> {
    let Some(string) = ctx.view.string(ctx.db, key)? else { return Ok(0) };
    // A number is no HyperLogLog.
    let Some(bytes) = string.stored_bytes() else { return Err(NOT_HYPERLOGLOG) };
    let value = HyperLogLog::open(bytes)?;
    if let Some(count) = value.cached_count() {
        return Ok(count);
    }
    let count = value.count()?;
    let mut value = open(string)?;
    value.store_count(count);
    store(ctx, key, value)?;
    Ok(count)
}

/// All HyperLogLogs at the keys from the first argument on; keys that are not there add nothing.
fn union(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> Result<Union, CommandError> {
    let mut union = Union::new();
    for key in args.from(1) {
        if let Some(string) = ctx.view.string(ctx.db, &Key::new(key))? {
            let bytes = string.stored_bytes().ok_or(NOT_HYPERLOGLOG)?;
            union.include(&HyperLogLog::open(bytes)?)?;
        }
    }
    Ok(union)
}

fn merge(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    let union = union(ctx, args)?;
    let key = args.key(1);
    let sparse_max = sparse_max(ctx);
    let mut value = match ctx.view.string_to_change(ctx.db, &key)? {
        None => HyperLogLog::new(),
        Some(string) => open(string)?,
    };
    value.raise_to(&union, sparse_max)?;
    value.invalidate_count();
    store(ctx, &key, value)?;
    ctx.notify(EventClass::String, "pfadd", key.bytes);
    ctx.out.ok();
    Ok(())
}

fn debug(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    const NO_KEY: CommandError = CommandError::new("ERR The specified key does not exist");
    const NOT_SPARSE: CommandError = CommandError::new("ERR HLL encoding is not sparse");
    let key = args.key(2);
    let value = open(ctx.view.string(ctx.db, &key)?.ok_or(NO_KEY)?)?;
    let is_sparse = value.encoding() == Encoding::Sparse;
    if args.is(1, "GETREG") {
        // Redis unpacks the value on the way, and so the tests expect it.
        let registers = value.registers()?;
        make_dense(ctx, &key, value)?;
        ctx.out.array(registers.len());
        registers.iter().for_each(|rank| ctx.out.integer(i64::from(*rank)));
    } else if args.is(1, "DECODE") {
        let runs = value.describe_runs().ok_or(NOT_SPARSE)??;
        ctx.out.bulk_str(&runs);
    } else if args.is(1, "ENCODING") {
        ctx.out.simple(if is_sparse { "sparse" } else { "dense" });
    } else if args.is(1, "TODENSE") {
        value.registers()?;
        make_dense(ctx, &key, value)?;
        ctx.out.integer(i64::from(is_sparse));
    } else {
        let name = String::from_utf8_lossy(args.at(1));
        return Err(CommandError::owned(format!("ERR Unknown PFDEBUG subcommand '{name}'")));
    }
    Ok(())
}

fn make_dense(ctx: &mut Ctx<'_, '_>, key: &Key<'_>, mut value: HyperLogLog<Vec<u8>>) -> CommandResult {
    if value.encoding() == Encoding::Sparse {
        value.make_dense()?;
        store(ctx, key, value)?;
    }
    Ok(())
}

/// Adds many elements to a sparse and to a dense value: both must count the same, and about right.
fn self_test(ctx: &mut SessionCtx<'_, '_>, _: Args<'_>) -> CommandResult {
    const ELEMENTS: u64 = 100_000;
    const SPARSE_MAX: usize = 3000;
    let (mut sparse, mut dense) = (HyperLogLog::new(), HyperLogLog::new());
    dense.make_dense()?;
    for element in 1..=ELEMENTS {
        sparse.add(&element.to_le_bytes(), SPARSE_MAX)?;
        dense.add(&element.to_le_bytes(), SPARSE_MAX)?;
        let is_checkpoint = element == 10 || element == 1000 || element == ELEMENTS;
        if is_checkpoint && !is_plausible(sparse.count()?, dense.count()?, element) {
            return Err(CommandError::owned(format!("TESTFAILED the count of {element} elements is too far off")));
        }
    }
    ctx.out.ok();
    Ok(())
}

/// The standard error is 0.81%; six of them do not happen by chance.
fn is_plausible(sparse: u64, dense: u64, truth: u64) -> bool {
    sparse == dense && sparse.abs_diff(truth) <= (truth as f64 * 0.0081 * 6.0).ceil() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_bytes_between_the_first_and_the_last_difference_are_written() {
        assert_eq!(difference(b"abcdef", b"abXdYf", 10), 12..15);
        assert_eq!(difference(b"same", b"same", 16), 16..16);
        assert_eq!(difference(b"", b"", 16), 16..16);
    }
}
