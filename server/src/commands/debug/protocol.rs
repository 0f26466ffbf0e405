//! Subcommands that only answer: examples of the protocol's types, errors, and a match of the glob.

use crate::algorithms::glob::{self, Case};
use crate::commands::ctx::SessionCtx;
use crate::error::{CommandError, CommandResult, NOT_POSITIVE};
use crate::resp::Args;
use basalt_storage::number::parse_i64;

pub fn error(_: &mut SessionCtx<'_, '_>, args: Args<'_>) -> CommandResult {
    Err(CommandError::owned(String::from_utf8_lossy(args.at(1)).into_owned()))
}

/// The example values are those of redis-server, since tests of clients know them.
pub fn protocol(ctx: &mut SessionCtx<'_, '_>, args: Args<'_>) -> CommandResult {
    const BIG: &[u8] = b"1234567999999999999999999999999999999";
    #[expect(clippy::approx_constant, reason = "the example of redis-server, not the circle's number")]
    const DOUBLE: f64 = 3.141;
    let out = &mut *ctx.out;
    match args.at(1).to_ascii_lowercase().as_slice() {
        b"string" => out.bulk(b"Hello World"),
        b"integer" => out.integer(12345),
        b"double" => out.double(DOUBLE),
        b"null" => out.null(),
        b"bignum" if out.is_resp3() => out.raw(&[b"(", BIG, b"\r\n"].concat()),
        b"bignum" => out.bulk(BIG),
        b"array" => {
            out.array(3);
            (0..3).for_each(|number| out.integer(number));
        }
        b"set" => {
            out.set(3);
            (0..3).for_each(|number| out.integer(number));
        }
        b"map" => {
            out.map(3);
            for number in 0..3 {
                out.integer(number);
                out.boolean(number == 1);
            }
        }
        b"attrib" => {
            if out.is_resp3() {
                out.raw(b"|1\r\n");
                out.bulk(b"key-popularity");
                out.array(2);
                out.bulk(b"key:123");
                out.integer(90);
            }
            out.bulk(b"Some real reply following the attribute");
        }
        b"push" => {
            if !out.is_resp3() {
                return Err(CommandError::new("ERR RESP2 is not supported by this command"));
            }
            out.push(2);
            out.bulk(b"server-cpu-usage");
            out.integer(42);
            out.bulk(b"Some real reply following the push reply");
        }
        b"verbatim" => out.verbatim("txt", b"This is a verbatim\nstring"),
        b"true" => out.boolean(true),
        b"false" => out.boolean(false),
        _ => {
            return Err(CommandError::new(
                "ERR Wrong protocol type name. Please use one of the following: \
                 string|integer|double|bignum|null|array|set|map|attrib|push|verbatim|true|false",
            ));
        }
    }
    Ok(())
}

pub fn string_match(ctx: &mut SessionCtx<'_, '_>, args: Args<'_>) -> CommandResult {
    const LONGEST: usize = 1 << 20;
    let length = parse_i64(args.at(1)).and_then(|length| usize::try_from(length).ok()).ok_or(NOT_POSITIVE)?;
    let text = vec![b'a'; length.min(LONGEST)];
    ctx.out.integer(i64::from(glob::matches(args.at(2), &text, Case::Sensitive)));
    Ok(())
}
