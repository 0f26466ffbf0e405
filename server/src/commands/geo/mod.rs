//! Geospatial commands: a geospatial index is a sorted set whose scores name places (see [`geohash`]).
//!
//! Here are those about single places; `search` finds the places in an area.

mod request;
pub mod search;

use super::ctx::Ctx;
use super::parse;
use super::spec::{Flags, Group, Handler::Data, KeySpec, RO_ACCESS, RW_UPDATE, Spec};
use super::zsets::add::{Admission, Answer, Options, Pairs, add};
use crate::algorithms::geohash::{self, Position, Unit};
use crate::error::{CommandError, CommandResult, SYNTAX};
use crate::resp::{Args, ReplyBuf};
use basalt_storage::types::Zset;

pub const COMMANDS: &[Spec] = &[
    Spec {
        name: "geoadd",
        arity: -5,
        flags: Flags::WRITE.or(Flags::DENYOOM),
        keys: &[KeySpec::first(RW_UPDATE)],
        group: Group::Geo,
        since: "3.2.0",
        complexity: "O(log(N)) for every place, N being the size of the index",
        summary: "Adds places to a geospatial index, or moves them.",
        syntax: "key [NX | XX] [CH] longitude latitude member [longitude latitude member ...]",
        handler: Data(geoadd),
        ..Spec::DEFAULT
    },
    Spec {
        name: "geodist",
        arity: -4,
        flags: Flags::READONLY,
        keys: &[KeySpec::first(RO_ACCESS)],
        group: Group::Geo,
        since: "3.2.0",
        summary: "Answers the distance between two places.",
        syntax: "key member1 member2 [M | KM | FT | MI]",
        handler: Data(geodist),
        ..Spec::DEFAULT
    },
    Spec {
        name: "geohash",
        arity: -2,
        flags: Flags::READONLY,
        keys: &[KeySpec::first(RO_ACCESS)],
        group: Group::Geo,
        since: "3.2.0",
        complexity: "O(1) for every member",
        summary: "Answers places as geohash strings.",
        syntax: "key member [member ...]",
        handler: Data(geohash),
        ..Spec::DEFAULT
    },
    Spec {
        name: "geopos",
        arity: -2,
        flags: Flags::READONLY,
        keys: &[KeySpec::first(RO_ACCESS)],
        group: Group::Geo,
        since: "3.2.0",
        complexity: "O(1) for every member",
        summary: "Answers the positions of places.",
        syntax: "key member [member ...]",
        handler: Data(geopos),
        ..Spec::DEFAULT
    },
];

const UNKNOWN_UNIT: CommandError = CommandError::new("ERR unsupported unit provided. please use M, KM, FT, MI");

fn geoadd(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    let (mut nx, mut xx, mut ch) = (false, false, false);
    let mut at = 2;
    while at < args.len() {
        let words = [("NX", &mut nx), ("XX", &mut xx), ("CH", &mut ch)];
        let Some((_, flag)) = words.into_iter().find(|(word, _)| args.is(at, word)) else { break };
        *flag = true;
        at += 1;
    }
    let left = args.len() - at;
    if left == 0 || !left.is_multiple_of(3) || (nx && xx) {
        return Err(SYNTAX);
    }
    let mut pairs = Pairs::new();
    for at in (at..args.len()).step_by(3) {
        pairs.push((parse_position(args, at)?.score(), args.at(at + 2)));
    }
    let admission = match (nx, xx) {
        (true, _) => Admission::Absent,
        (_, true) => Admission::Present,
        _ => Admission::Any,
    };
    let answer = if ch { Answer::AddedAndChanged } else { Answer::Added };
    add(ctx, args.at(1), Options::new(admission, answer), &pairs)
}

/// A longitude and a latitude, at these two arguments.
fn parse_position(args: Args<'_>, at: usize) -> Result<Position, CommandError> {
    let (longitude, latitude) = (parse::float(args.at(at))?, parse::float(args.at(at + 1))?);
    Position::new(longitude, latitude)
        .ok_or_else(|| CommandError::owned(format!("ERR invalid longitude,latitude pair {longitude:.6},{latitude:.6}")))
}

fn geodist(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    let unit = match args.len() {
        4 => Unit::Meters,
        5 => Unit::parse(args.at(4)).ok_or(UNKNOWN_UNIT)?,
        _ => return Err(SYNTAX),
    };
    let zset = ctx.view.zset(ctx.db, &args.key(1))?;
    let position = |member| zset.and_then(|zset| position_of(zset, member));
    match (position(args.at(2)), position(args.at(3))) {
        (Some(one), Some(other)) => {
            ctx.out.bulk_str(&geohash::distance_text(one.distance_m(other) / unit.meters()));
        }
        _ => ctx.out.null(),
    }
    Ok(())
}

fn position_of(zset: &Zset, member: &[u8]) -> Option<Position> {
    zset.score(member).map(Position::of_score)
}

fn geohash(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    let zset = ctx.view.zset(ctx.db, &args.key(1))?;
    ctx.out.array(args.len() - 2);
    for member in args.from(2) {
        match zset.and_then(|zset| position_of(zset, member)) {
            Some(position) => ctx.out.bulk(&position.text()),
            None => ctx.out.null(),
        }
    }
    Ok(())
}

fn geopos(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    let zset = ctx.view.zset(ctx.db, &args.key(1))?;
    ctx.out.array(args.len() - 2);
    for member in args.from(2) {
        match zset.and_then(|zset| position_of(zset, member)) {
            Some(position) => write_position(ctx.out, position),
            None => ctx.out.null_array(),
        }
    }
    Ok(())
}

fn write_position(out: &mut ReplyBuf, position: Position) {
    out.array(2);
    for degrees in [position.longitude, position.latitude] {
        // Seventeen places, as Redis prints a long double, without the zeros at the end.
        let text = format!("{degrees:.17}");
        out.double_text(text.trim_end_matches('0').trim_end_matches('.').as_bytes());
    }
}
