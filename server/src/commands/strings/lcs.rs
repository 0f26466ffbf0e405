//! LCS: the longest common subsequence of two strings.

use crate::algorithms::lcs::{self, Alignment, Match};
use crate::commands::ctx::Ctx;
use crate::commands::parse;
use crate::error::{CommandError, CommandResult, SYNTAX};
use crate::resp::{Args, ReplyBuf};
use basalt_storage::keyspace::{Key, StrRef};
use std::sync::atomic::Ordering::Relaxed;

const NOT_STRINGS: CommandError = CommandError::new("ERR The specified keys must contain string values");
const LEN_AND_IDX: CommandError =
    CommandError::new("ERR If you want both the length and indexes, please just use IDX.");
const TOO_LONG: CommandError = CommandError::new("ERR String too long for LCS");
const TOO_MUCH_MEMORY: CommandError =
    CommandError::new("ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len");

/// What is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Text,
    /// LEN
    Length,
    /// IDX
    Matches,
}

struct Options {
    form: Form,
    /// Shorter matches are left out.
    match_len_min: usize,
    /// WITHMATCHLEN
    shows_lengths: bool,
}

impl Options {
    fn parse(args: Args<'_>) -> Result<Options, CommandError> {
        let (mut length, mut matches) = (false, false);
        let mut options = Options { form: Form::Text, match_len_min: 0, shows_lengths: false };
        let mut at = 3;
        while at < args.len() {
            if args.is(at, "IDX") {
                matches = true;
            } else if args.is(at, "LEN") {
                length = true;
            } else if args.is(at, "WITHMATCHLEN") {
                options.shows_lengths = true;
            } else if args.is(at, "MINMATCHLEN") && at + 1 < args.len() {
                options.match_len_min = parse::integer(args.at(at + 1))?.max(0) as usize;
                at += 1;
            } else {
                return Err(SYNTAX);
            }
            at += 1;
        }
        options.form = match (length, matches) {
            (true, true) => return Err(LEN_AND_IDX),
            (true, false) => Form::Length,
            (false, true) => Form::Matches,
            (false, false) => Form::Text,
        };
        Ok(options)
    }
}

pub(super) fn lcs(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    let (a, b) = (string(ctx, &args.key(1)), string(ctx, &args.key(2)));
    let (a, b) = (a?, b?);
    let options = Options::parse(args)?;
    if a.len() >= lcs::LEN_END || b.len() >= lcs::LEN_END {
        return Err(TOO_LONG);
    }
    if lcs::table_bytes(a.len(), b.len()) > u128::from(ctx.server.config.hot.proto_max_bulk_len.load(Relaxed)) {
        return Err(TOO_MUCH_MEMORY);
    }
    match options.form {
        Form::Length => ctx.out.count(lcs::length(&a, &b)),
        Form::Text => ctx.out.bulk(&Alignment::of(&a, &b).text),
        Form::Matches => answer_matches(ctx.out, &Alignment::of(&a, &b), &options),
    }
    Ok(())
}

/// A copy of the string, for the keyspace lends one at a time.
fn string(ctx: &mut Ctx<'_, '_>, key: &Key<'_>) -> Result<Vec<u8>, CommandError> {
    let string = ctx.view.string(ctx.db, key).map_err(|_| NOT_STRINGS)?;
    Ok(string.map_or_else(Vec::new, StrRef::to_vec))
}

fn answer_matches(out: &mut ReplyBuf, alignment: &Alignment, options: &Options) {
    let shown = || alignment.matches.iter().filter(|found| found.len >= options.match_len_min);
    out.map(2);
    out.bulk(b"matches");
    out.array(shown().count());
    shown().for_each(|found| answer_match(out, found, options));
    out.bulk(b"len");
    out.count(alignment.text.len());
}

fn answer_match(out: &mut ReplyBuf, found: &Match, options: &Options) {
    out.array(if options.shows_lengths { 3 } else { 2 });
    for start in [found.a, found.b] {
        out.array(2);
        out.count(start);
        out.count(start + found.len - 1);
    }
    if options.shows_lengths {
        out.count(found.len);
    }
}
