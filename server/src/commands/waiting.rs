//! What commands share that take from the first of several keys, and may wait for one.

use super::ctx::{Attempt, Ctx};
use super::parse;
use crate::blocked::BlockRequest;
use crate::error::{CommandError, SYNTAX, WRONG_TYPE};
use crate::resp::{Args, ReplyBuf};
use basalt_storage::keyspace::{Collection, Key, WrongType};
use std::time::Duration;

/// The first of `keys` that holds a collection of type `T`.
///
/// A client that waits passes over keys of other types, as it did not look at them when they were absent.
pub fn first_filled<'a, T: Collection>(
    ctx: &mut Ctx<'_, '_>,
    keys: impl Iterator<Item = &'a [u8]>,
) -> Result<Option<&'a [u8]>, CommandError> {
    for bytes in keys {
        match ctx.view.existing::<T>(ctx.db, &Key::new(bytes)) {
            Ok(Some(_)) => return Ok(Some(bytes)),
            Ok(None) => {}
            Err(WrongType) if ctx.attempt == Attempt::Retry => {}
            Err(WrongType) => return Err(WRONG_TYPE),
        }
    }
    Ok(None)
}

/// Makes the client wait for `keys`.
pub fn wait_for<'a>(ctx: &mut Ctx<'_, '_>, keys: impl Iterator<Item = &'a [u8]>, timeout: Option<Duration>) {
    let keys = keys.map(Box::from).collect();
    ctx.block(BlockRequest { keys, other_keys: Vec::new(), timeout, timeout_reply: ReplyBuf::null_array, then: None });
}

/// The arguments of LMPOP and ZMPOP: `numkeys key [key ...] where [COUNT count]`.
pub struct MultiPop<'a> {
    args: Args<'a>,
    first_key: usize,
    keys: usize,
    pub count: usize,
}

impl<'a> MultiPop<'a> {
    /// Reads the arguments from `numkeys` on; `parse_end` reads the word behind the keys.
    pub fn parse<E>(
        args: Args<'a>,
        numkeys: usize,
        parse_end: impl FnOnce(&[u8]) -> Option<E>,
    ) -> Result<(MultiPop<'a>, E), CommandError> {
        const NO_KEYS: CommandError = CommandError::new("ERR numkeys should be greater than 0");
        const NO_COUNT: CommandError = CommandError::new("ERR count should be greater than 0");
        let keys = parse::at_least(1, args.at(numkeys), NO_KEYS)?;
        let end_at = keys.checked_add(numkeys + 1).ok_or(SYNTAX)?;
        let end = parse_end(args.maybe(end_at).ok_or(SYNTAX)?).ok_or(SYNTAX)?;
        let mut count = None;
        let mut at = end_at + 1;
        while at < args.len() {
            if count.is_some() || !args.is(at, "COUNT") || at + 1 == args.len() {
                return Err(SYNTAX);
            }
            count = Some(parse::at_least(1, args.at(at + 1), NO_COUNT)?);
            at += 2;
        }
        Ok((MultiPop { args, first_key: numkeys + 1, keys, count: count.unwrap_or(1) }, end))
    }

    pub fn keys(&self) -> impl Iterator<Item = &'a [u8]> + Clone + use<'a> {
        self.args.from(self.first_key).take(self.keys)
    }
}
