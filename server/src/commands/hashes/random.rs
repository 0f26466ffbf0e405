//! HRANDFIELD.

use crate::commands::ctx::Ctx;
use crate::commands::draw::{self, Draw};
use crate::error::{CommandResult, OUT_OF_RANGE, SYNTAX};
use crate::resp::{Args, ReplyBuf};
use basalt_storage::keyspace::with_rng;
use basalt_storage::types::{Encoding, FieldRef, Hash};

/// What of a field is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shown {
    Name,
    NameAndValue,
}

pub fn hrandfield(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    let key = args.key(1);
    if args.len() == 2 {
        let field = ctx.view.hash(ctx.db, &key)?.and_then(|hash| with_rng(|rng| hash.random(rng)));
        ctx.out.bulk_or_null(field.as_ref().map(FieldRef::name));
        return Ok(());
    }
    let draw = Draw::parse(args.at(2))?;
    let shown = match args.maybe(3) {
        None => Shown::Name,
        Some(_) if args.len() == 4 && args.is(3, "WITHVALUES") => Shown::NameAndValue,
        Some(_) => return Err(SYNTAX),
    };
    if shown == Shown::NameAndValue && draw.count() > i64::MAX as usize / 2 {
        return Err(OUT_OF_RANGE);
    }
    match ctx.view.hash(ctx.db, &key)? {
        None => ctx.out.array(0),
        Some(hash) => reply_drawn(ctx.out, hash, draw, shown),
    }
    Ok(())
}

fn reply_drawn(out: &mut ReplyBuf, hash: &Hash, draw: Draw, shown: Shown) {
    let drawn = match draw {
        Draw::Distinct(count) => count.min(hash.len()),
        Draw::WithRepeats(count) => count,
    };
    // RESP3 nests a pair into an array of its own, RESP2 puts all into one.
    let flat = shown == Shown::NameAndValue && !out.is_resp3();
    out.array(if flat { drawn * 2 } else { drawn });
    match draw {
        Draw::WithRepeats(_) => reply_with_repeats(out, hash, drawn, shown),
        Draw::Distinct(_) if hash.encoding() == Encoding::Hashtable && draw::is_few(drawn, hash.len()) => {
            with_rng(|rng| draw::distinct(drawn, || hash.random(rng), FieldRef::name, |field| show(out, field, shown)));
        }
        Draw::Distinct(_) => {
            with_rng(|rng| draw::sample(drawn, hash.len(), hash.iter(), rng, |field| show(out, &field, shown)));
        }
    }
}

fn reply_with_repeats(out: &mut ReplyBuf, hash: &Hash, drawn: usize, shown: Shown) {
    if hash.encoding() == Encoding::Hashtable {
        for _ in 0..drawn {
            let field = with_rng(|rng| hash.random(rng)).expect("a hash at a key is not empty");
            show(out, &field, shown);
            // The count may be huge, and the client is closed for too much output anyway.
            if out.is_excessive() {
                return;
            }
        }
        return;
    }
    // A packed hash finds its n-th field by walking there: so it is walked once.
    let fields: Vec<FieldRef<'_>> = hash.iter().collect();
    for _ in 0..drawn {
        let index = with_rng(|rng| rng.below(fields.len() as u64)) as usize;
        show(out, &fields[index], shown);
        if out.is_excessive() {
            return;
        }
    }
}

fn show(out: &mut ReplyBuf, field: &FieldRef<'_>, shown: Shown) {
    if shown == Shown::Name {
        return out.bulk(field.name());
    }
    if out.is_resp3() {
        out.array(2);
    }
    out.bulk(field.name());
    out.bulk(field.value());
}
