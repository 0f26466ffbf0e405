//! Integers inside strings: BITFIELD and BITFIELD_RO.
//!
//! All operations are read before the first is run, so a wrong one changes nothing. A field is changed by writing the
//! few bytes that it touches. If anything is to be written, the string first becomes as long as the furthest field
//! needs, even if that field then keeps its value; the first write does that on its way.

use super::{BAD_OFFSET, in_longest_string, offset};
use crate::algorithms::bitfield::{FieldType, Overflow};
use crate::commands::ctx::Ctx;
use crate::commands::parse;
use crate::commands::spec::{KeyFlags, RO_ACCESS, RW_ACCESS_UPDATE};
use crate::error::{CommandError, CommandResult, SYNTAX};
use crate::notify::EventClass;
use crate::resp::Args;
use crate::server::Server;
use basalt_storage::keyspace::{Key, StrRef};
use basalt_storage::number;

const BAD_TYPE: CommandError = CommandError::new(
    "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.",
);
const BAD_OVERFLOW: CommandError = CommandError::new("ERR Invalid OVERFLOW type specified");
const ONLY_GET: CommandError = CommandError::new("ERR BITFIELD_RO only supports the GET subcommand");

/// BITFIELD with nothing but GET only reads its key.
pub fn access(args: Args<'_>) -> KeyFlags {
    let mut at = 2;
    while at < args.len() {
        if args.is(at, "GET") {
            at += 3;
        } else if args.is(at, "OVERFLOW") {
            at += 2;
        } else {
            return RW_ACCESS_UPDATE;
        }
    }
    RO_ACCESS
}

/// One operation.
struct Step {
    field: FieldType,
    offset: u64,
    action: Action,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Get,
    Set(i64, Overflow),
    Add(i64, Overflow),
}

impl Step {
    /// Reads all operations; OVERFLOW counts for those behind it.
    fn parse_all(server: &Server, args: Args<'_>) -> Result<Vec<Step>, CommandError> {
        let mut steps = Vec::new();
        let mut overflow = Overflow::Wrap;
        let mut at = 2;
        while at < args.len() {
            let behind = args.len() - at - 1;
            if args.is(at, "OVERFLOW") && behind >= 1 {
                overflow = parse_overflow(args, at + 1)?;
                at += 2;
                continue;
            }
            let is_get = args.is(at, "GET") && behind >= 2;
            let is_write = (args.is(at, "SET") || args.is(at, "INCRBY")) && behind >= 3;
            if !is_get && !is_write {
                return Err(SYNTAX);
            }
            let field = FieldType::parse(args.at(at + 1)).ok_or(BAD_TYPE)?;
            let offset = field_offset(server, args.at(at + 2), field)?;
            let action = match args.at(at)[0].to_ascii_uppercase() {
                b'G' => Action::Get,
                b'S' => Action::Set(parse::integer(args.at(at + 3))?, overflow),
                _ => Action::Add(parse::integer(args.at(at + 3))?, overflow),
            };
            steps.push(Step { field, offset, action });
            at += if is_get { 3 } else { 4 };
        }
        Ok(steps)
    }

    fn is_write(&self) -> bool {
        self.action != Action::Get
    }

    /// The bytes that the field touches.
    fn span(&self) -> std::ops::Range<usize> {
        (self.offset / 8) as usize..self.field.bytes_needed(self.offset) as usize
    }

    /// What is answered, and what the field holds from now on; `None` if its value would not fit.
    fn run(&self, old: i64) -> Option<(i64, i64)> {
        match self.action {
            Action::Get => Some((old, old)),
            Action::Set(value, overflow) => self.field.fit(value, overflow).map(|new| (old, new)),
            Action::Add(increment, overflow) => self.field.add(old, increment, overflow).map(|new| (new, new)),
        }
    }
}

fn parse_overflow(args: Args<'_>, at: usize) -> Result<Overflow, CommandError> {
    const WORDS: [(&str, Overflow); 3] =
        [("WRAP", Overflow::Wrap), ("SAT", Overflow::Saturate), ("FAIL", Overflow::Fail)];
    WORDS.iter().find(|(word, _)| args.is(at, word)).map(|(_, overflow)| *overflow).ok_or(BAD_OVERFLOW)
}

/// An offset in bits, or in fields of this width if it begins with `#`.
fn field_offset(server: &Server, text: &[u8], field: FieldType) -> Result<u64, CommandError> {
    let Some(number) = text.strip_prefix(b"#") else { return offset(server, text) };
    let fields = parse::integer(number).map_err(|_| BAD_OFFSET)?;
    in_longest_string(server, fields.checked_mul(i64::from(field.bits())).ok_or(BAD_OFFSET)?)
}

pub(super) fn read_only(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    let steps = Step::parse_all(ctx.server, args)?;
    if steps.iter().any(Step::is_write) { Err(ONLY_GET) } else { read(ctx, &args.key(1), &steps) }
}

pub(super) fn read_and_write(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    let steps = Step::parse_all(ctx.server, args)?;
    if steps.iter().any(Step::is_write) { write(ctx, &args.key(1), &steps) } else { read(ctx, &args.key(1), &steps) }
}

fn read(ctx: &mut Ctx<'_, '_>, key: &Key<'_>, steps: &[Step]) -> CommandResult {
    let mut text = number::format_i64(0);
    let string = ctx.view.string(ctx.db, key)?;
    let bytes = string.as_ref().map_or(&b""[..], |string| string.bytes(&mut text));
    ctx.out.array(steps.len());
    steps.iter().for_each(|step| ctx.out.integer(step.field.read(bytes, step.offset)));
    Ok(())
}

fn write(ctx: &mut Ctx<'_, '_>, key: &Key<'_>, steps: &[Step]) -> CommandResult {
    let old_len = ctx.view.string_to_change(ctx.db, key)?.map(StrRef::len);
    let len_needed = steps.iter().filter(|step| step.is_write()).map(|step| step.span().end).max().unwrap_or(0);
    let mut must_grow = old_len.is_none_or(|len| len < len_needed);
    let mut is_changed = false;
    ctx.out.array(steps.len());
    for step in steps {
        let mut text = number::format_i64(0);
        let string = ctx.view.string_to_change(ctx.db, key)?;
        let bytes = string.as_ref().map_or(&b""[..], |string| string.bytes(&mut text));
        let old = step.field.read(bytes, step.offset);
        let Some((answer, new)) = step.run(old) else {
            ctx.out.null();
            continue;
        };
        ctx.out.integer(answer);
        if step.is_write() && (new != old || must_grow) {
            let span = step.span();
            let end = if must_grow { len_needed } else { span.end };
            let mut window: Vec<u8> = bytes.iter().copied().take(end).skip(span.start).collect();
            window.resize(end - span.start, 0);
            step.field.write(&mut window, step.offset % 8, new);
            ctx.view.splice_string(ctx.db, key, span.start, &window);
            (must_grow, is_changed) = (false, true);
        }
    }
    if must_grow {
        // No field took its new value. Redis grows the string all the same, and tells nobody.
        ctx.view.splice_string(ctx.db, key, len_needed, b"");
    } else if !is_changed {
        // Nothing changes but OBJECT ENCODING.
        ctx.view.mark_modified(ctx.db, key);
    }
    if is_changed {
        ctx.notify(EventClass::String, "setbit", key.bytes);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_touches_the_bytes_that_hold_its_bits() {
        let step = |field: &[u8], offset| {
            let field = FieldType::parse(field).expect("a field type");
            Step { field, offset, action: Action::Get }.span()
        };
        assert_eq!(step(b"u8", 0), 0..1);
        assert_eq!(step(b"u8", 1), 0..2);
        assert_eq!(step(b"i64", 15), 1..10);
        assert_eq!(step(b"u1", 7), 0..1);
    }

    #[test]
    fn set_answers_the_old_value_and_incrby_the_new_one() {
        let run = |action| {
            let field = FieldType::parse(b"u8").expect("a field type");
            Step { field, offset: 0, action }.run(250)
        };
        assert_eq!(run(Action::Get), Some((250, 250)));
        assert_eq!(run(Action::Set(3, Overflow::Wrap)), Some((250, 3)));
        assert_eq!(run(Action::Add(10, Overflow::Saturate)), Some((255, 255)));
        assert_eq!(run(Action::Add(10, Overflow::Fail)), None);
    }
}
