//! Single bits and ranges of them: GETBIT, SETBIT, BITCOUNT, BITPOS, BITOP.

use super::offset;
use crate::algorithms::bits::{self, Bit, Operation, Unit};
use crate::commands::ctx::Ctx;
use crate::commands::parse;
use crate::error::{CommandError, CommandResult, SYNTAX};
use crate::notify::EventClass;
use crate::resp::Args;
use basalt_storage::keyspace::{Key, NewExpiry, StrRef};
use basalt_storage::number;

const BAD_BIT: CommandError = CommandError::new("ERR bit is not an integer or out of range");
const BIT_NOT_0_OR_1: CommandError = CommandError::new("ERR The bit argument must be 1 or 0.");
const NOT_TAKES_ONE_KEY: CommandError = CommandError::new("ERR BITOP NOT must be called with a single source key.");

pub(super) fn read_bit(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    let offset = offset(ctx.server, args.at(2))?;
    let bit = match ctx.view.partial_string(ctx.db, &args.key(1))? {
        None => Bit::Clear,
        Some(string) => {
            let byte = usize::try_from(offset / 8).unwrap_or(usize::MAX);
            let range = byte.min(string.len())..byte.saturating_add(1).min(string.len());
            string.with_range(range, |byte| bits::bit(byte, offset % 8))
        }
    };
    ctx.out.integer(bit.digit());
    Ok(())
}

pub(super) fn write_bit(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    let offset = offset(ctx.server, args.at(2))?;
    let state = bit(args.at(3)).ok_or(BAD_BIT)?;
    let key = args.key(1);
    let at = (offset / 8) as usize;
    let old_byte = match ctx.view.string_to_change(ctx.db, &key)? {
        None => None,
        Some(string) => string.bytes(&mut number::format_i64(0)).get(at).copied(),
    };
    let mut byte = [old_byte.unwrap_or(0)];
    let former = bits::replace_bit(&mut byte, offset % 8, state);
    if old_byte == Some(byte[0]) {
        // Nothing changes but OBJECT ENCODING.
        ctx.view.mark_modified(ctx.db, &key);
    } else {
        ctx.view.splice_string(ctx.db, &key, at, &byte);
        ctx.notify(EventClass::String, "setbit", key.bytes);
    }
    ctx.out.integer(former.digit());
    Ok(())
}

fn bit(text: &[u8]) -> Option<Bit> {
    match parse::integer(text).ok()? {
        0 => Some(Bit::Clear),
        1 => Some(Bit::Set),
        _ => None,
    }
}

/// BYTE or BIT, at the end of a range.
fn unit(args: Args<'_>, at: usize) -> Result<Unit, CommandError> {
    match at {
        at if at >= args.len() || args.is(at, "BYTE") => Ok(Unit::Byte),
        at if args.is(at, "BIT") => Ok(Unit::Bit),
        _ => Err(SYNTAX),
    }
}

/// As of 7.2 the arguments are checked even if there is no such key.
pub(super) fn count(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    let range = match args.len() {
        2 => None,
        4 | 5 => Some((parse::integer(args.at(2))?, parse::integer(args.at(3))?, unit(args, 4)?)),
        _ => return Err(SYNTAX),
    };
    let count = match ctx.view.string(ctx.db, &args.key(1))? {
        None => 0,
        Some(string) => {
            let mut text = number::format_i64(0);
            let bytes = string.bytes(&mut text);
            match range {
                None => bits::count(bytes),
                Some((start, end, unit)) => bits::count_in(bytes, start, end, unit),
            }
        }
    };
    ctx.out.integer(count as i64);
    Ok(())
}

/// BITPOS. As of 7.2 the arguments are checked even if there is no such key.
pub(super) fn position(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    parse::integer(args.at(2))?;
    let wanted = bit(args.at(2)).ok_or(BIT_NOT_0_OR_1)?;
    if args.len() > 6 {
        return Err(SYNTAX);
    }
    let start = args.maybe(3).map(parse::integer).transpose()?.unwrap_or(0);
    let unit = unit(args, 5)?;
    let end = args.maybe(4).map(parse::integer).transpose()?;
    let position = match ctx.view.string(ctx.db, &args.key(1))? {
        None => bits::position(None, wanted, start, end, unit),
        Some(string) => bits::position(Some(string.bytes(&mut number::format_i64(0))), wanted, start, end, unit),
    };
    ctx.out.integer(position);
    Ok(())
}

/// BITOP. The result replaces whatever the key held; an empty one deletes it.
pub(super) fn combine(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    let operation = operation(args)?;
    let target = args.key(2);
    let mut inputs = Vec::with_capacity(args.len() - 3);
    for key in args.from(3) {
        // Copies, for the keyspace lends one string at a time.
        inputs.push(ctx.view.string(ctx.db, &Key::new(key))?.map_or_else(Vec::new, StrRef::to_vec));
    }
    let slices: Vec<&[u8]> = inputs.iter().map(Vec::as_slice).collect();
    let result = bits::combine(operation, &slices);
    let len = result.len();
    if len > 0 {
        ctx.view.put_modified(ctx.db, &target, result, NewExpiry::Clear);
        ctx.notify(EventClass::String, "set", target.bytes);
    } else if ctx.view.delete(ctx.db, &target) {
        ctx.notify(EventClass::Generic, "del", target.bytes);
    }
    ctx.out.count(len);
    Ok(())
}

fn operation(args: Args<'_>) -> Result<Operation, CommandError> {
    const OPERATIONS: [(&str, Operation); 4] =
        [("AND", Operation::And), ("OR", Operation::Or), ("XOR", Operation::Xor), ("NOT", Operation::Not)];
    let (_, operation) = OPERATIONS.iter().find(|(word, _)| args.is(1, word)).ok_or(SYNTAX)?;
    if *operation == Operation::Not && args.len() != 4 {
        return Err(NOT_TAKES_ONE_KEY);
    }
    Ok(*operation)
}
