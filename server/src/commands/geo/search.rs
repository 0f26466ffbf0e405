//! Finding the places in an area: GEOSEARCH, GEORADIUS and kin.

use super::request::{Extras, Form, Order, Request, Stores, TargetScore};
use super::write_position;
use crate::algorithms::geohash::{self, Area, Position};
use crate::commands::ctx::Ctx;
use crate::commands::spec::{Begin, Find, Flags, Group, Handler::Data, KeySpec, OW_UPDATE, RO_ACCESS, Spec, Standing};
use crate::commands::zsets::range::store;
use crate::error::CommandResult;
use crate::resp::{Args, ReplyBuf};
use basalt_storage::entry::{EntryRef, ValueRef};
use basalt_storage::keyspace::Key;
use basalt_storage::types::Zset;
use std::ops::Bound;

pub const COMMANDS: &[Spec] = &[
    Spec {
        name: "georadius",
        arity: -6,
        flags: Flags::WRITE.or(Flags::DENYOOM).or(Flags::MOVABLE_KEYS),
        keys: &[KeySpec::first(RO_ACCESS), stored_behind("STORE", 6), stored_behind("STOREDIST", 6)],
        group: Group::Geo,
        since: "3.2.0",
        complexity: "O(N+log(M)), N being the number of places in the cells around the area, M the size of the index",
        summary: "Finds the places within a circle, and may store them.",
        syntax: "key longitude latitude radius <M | KM | FT | MI> [WITHCOORD] [WITHDIST] [WITHHASH] [COUNT count \
                 [ANY]] [ASC | DESC] [STORE key] [STOREDIST key]",
        standing: Standing::Deprecated {
            since: "6.2.0",
            replaced_by: "`GEOSEARCH` or `GEOSEARCHSTORE` with `BYRADIUS`",
        },
        handler: Data(georadius),
        ..Spec::DEFAULT
    },
    Spec {
        name: "georadius_ro",
        arity: -6,
        flags: Flags::READONLY,
        keys: &[KeySpec::first(RO_ACCESS)],
        group: Group::Geo,
        since: "3.2.10",
        complexity: "O(N+log(M)), N being the number of places in the cells around the area, M the size of the index",
        summary: "Finds the places within a circle.",
        syntax: "key longitude latitude radius <M | KM | FT | MI> [WITHCOORD] [WITHDIST] [WITHHASH] [COUNT count \
                 [ANY]] [ASC | DESC]",
        standing: Standing::Deprecated { since: "6.2.0", replaced_by: "`GEOSEARCH` with `BYRADIUS`" },
        handler: Data(georadius_ro),
        ..Spec::DEFAULT
    },
    Spec {
        name: "georadiusbymember",
        arity: -5,
        flags: Flags::WRITE.or(Flags::DENYOOM).or(Flags::MOVABLE_KEYS),
        keys: &[KeySpec::first(RO_ACCESS), stored_behind("STORE", 5), stored_behind("STOREDIST", 5)],
        group: Group::Geo,
        since: "3.2.0",
        complexity: "O(N+log(M)), N being the number of places in the cells around the area, M the size of the index",
        summary: "Finds the places within a circle around a member, and may store them.",
        syntax: "key member radius <M | KM | FT | MI> [WITHCOORD] [WITHDIST] [WITHHASH] [COUNT count [ANY]] [ASC | \
                 DESC] [STORE key] [STOREDIST key]",
        standing: Standing::Deprecated {
            since: "6.2.0",
            replaced_by: "`GEOSEARCH` or `GEOSEARCHSTORE` with `FROMMEMBER` and `BYRADIUS`",
        },
        handler: Data(georadiusbymember),
        ..Spec::DEFAULT
    },
    Spec {
        name: "georadiusbymember_ro",
        arity: -5,
        flags: Flags::READONLY,
        keys: &[KeySpec::first(RO_ACCESS)],
        group: Group::Geo,
        since: "3.2.10",
        complexity: "O(N+log(M)), N being the number of places in the cells around the area, M the size of the index",
        summary: "Finds the places within a circle around a member.",
        syntax: "key member radius <M | KM | FT | MI> [WITHCOORD] [WITHDIST] [WITHHASH] [COUNT count [ANY]] [ASC | \
                 DESC]",
        standing: Standing::Deprecated { since: "6.2.0", replaced_by: "`GEOSEARCH` with `FROMMEMBER` and `BYRADIUS`" },
        handler: Data(georadiusbymember_ro),
        ..Spec::DEFAULT
    },
    Spec {
        name: "geosearch",
        arity: -7,
        flags: Flags::READONLY,
        keys: &[KeySpec::first(RO_ACCESS)],
        group: Group::Geo,
        since: "6.2.0",
        complexity: "O(N+log(M)), N being the number of places in the cells around the area, M the size of the index",
        summary: "Finds the places within a circle or a rectangle.",
        syntax: "key <FROMMEMBER member | FROMLONLAT longitude latitude> <BYRADIUS radius <M | KM | FT | MI> | BYBOX \
                 width height <M | KM | FT | MI>> [ASC | DESC] [COUNT count [ANY]] [WITHCOORD] [WITHDIST] [WITHHASH]",
        handler: Data(geosearch),
        ..Spec::DEFAULT
    },
    Spec {
        name: "geosearchstore",
        arity: -8,
        flags: Flags::WRITE.or(Flags::DENYOOM),
        keys: &[KeySpec::first(OW_UPDATE), KeySpec::at(2, RO_ACCESS)],
        group: Group::Geo,
        since: "6.2.0",
        complexity: "O(N+log(M)), N being the number of places in the cells around the area, M the size of the index",
        summary: "Stores the places within a circle or a rectangle.",
        syntax: "destination source <FROMMEMBER member | FROMLONLAT longitude latitude> <BYRADIUS radius <M | KM | FT \
                 | MI> | BYBOX width height <M | KM | FT | MI>> [ASC | DESC] [COUNT count [ANY]] [STOREDIST]",
        handler: Data(geosearchstore),
        ..Spec::DEFAULT
    },
];

/// The key behind an option of GEORADIUS.
const fn stored_behind(word: &'static str, from: i32) -> KeySpec {
    let find = Find::Range { last: 0, step: 1, limit: 0 };
    KeySpec { begin: Begin::Keyword { word, from }, find, flags: OW_UPDATE, notes: "" }
}

/// A member inside the area.
struct Found<'z> {
    member: &'z [u8],
    score: f64,
    position: Position,
    distance_m: f64,
}

fn georadius(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    search(ctx, args, Form::Radius(Stores::Maybe))
}

fn georadius_ro(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    search(ctx, args, Form::Radius(Stores::Never))
}

fn georadiusbymember(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    search(ctx, args, Form::RadiusByMember(Stores::Maybe))
}

fn georadiusbymember_ro(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    search(ctx, args, Form::RadiusByMember(Stores::Never))
}

fn geosearch(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    search(ctx, args, Form::Search)
}

fn geosearchstore(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    search(ctx, args, Form::SearchStore)
}

fn search(ctx: &mut Ctx<'_, '_>, args: Args<'_>, form: Form) -> CommandResult {
    let source = Key::new(args.at(if form == Form::SearchStore { 2 } else { 1 }));
    // The type is checked before any argument, and arguments that name members are looked up as they are read.
    ctx.view.zset(ctx.db, &source)?;
    let zset = match ctx.view.revisit(ctx.db, &source).map(EntryRef::value) {
        Some(ValueRef::Zset(zset)) => Some(zset),
        _ => None,
    };
    let request = Request::parse(args, form, zset)?;
    let area = request.center.zip(request.shape).map(|(center, shape)| Area { center, shape });
    let found = zset.zip(area).map_or_else(Vec::new, |(zset, area)| find(&request, zset, &area));
    match request.target {
        None => write(ctx.out, &request, &found),
        Some(target) => {
            let limits = ctx.view.keyspace().settings.zset_limits();
            let mut result = Zset::new();
            for found in &found {
                let score = match target.score {
                    TargetScore::Place => found.score,
                    TargetScore::Distance => found.distance_m / request.unit.meters(),
                };
                result.put(found.member, score, &limits);
            }
            let event = if form == Form::SearchStore { "geosearchstore" } else { "georadiusstore" };
            store(ctx, target.key, result, event);
        }
    }
    Ok(())
}

/// The members inside, in the order and number asked for.
fn find<'z>(request: &Request<'_>, zset: &'z Zset, area: &Area) -> Vec<Found<'z>> {
    let members =
        area.score_ranges().flat_map(|range| zset.by_score((Bound::Included(range.start), Bound::Excluded(range.end))));
    let inside = members.filter_map(|(member, score)| {
        let position = Position::of_score(score);
        area.distance_within_m(position).map(|distance_m| Found { member, score, position, distance_m })
    });
    let wanted = if request.count == 0 { usize::MAX } else { request.count };
    let mut found: Vec<_> = inside.take(if request.any { wanted } else { usize::MAX }).collect();
    // The nearest are wanted unless the client takes any.
    let by_default = (request.count > 0 && !request.any).then_some(Order::Nearest);
    match request.order.or(by_default) {
        None => {}
        Some(Order::Nearest) => found.sort_by(|a, b| a.distance_m.total_cmp(&b.distance_m)),
        Some(Order::Farthest) => found.sort_by(|a, b| b.distance_m.total_cmp(&a.distance_m)),
    }
    found.truncate(wanted);
    found
}

fn write(out: &mut ReplyBuf, request: &Request<'_>, found: &[Found<'_>]) {
    let Extras { distance, hash, position } = request.extras;
    let extras = usize::from(distance) + usize::from(hash) + usize::from(position);
    out.array(found.len());
    for found in found {
        if extras > 0 {
            out.array(1 + extras);
        }
        out.bulk(found.member);
        if distance {
            out.bulk_str(&geohash::distance_text(found.distance_m / request.unit.meters()));
        }
        if hash {
            out.integer(found.score as i64);
        }
        if position {
            write_position(out, found.position);
        }
    }
}
