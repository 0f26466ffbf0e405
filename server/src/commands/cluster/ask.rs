//! CLUSTER subcommands that only ask, and READONLY, READWRITE, ASKING.

use super::parse;
use crate::cluster::Cluster;
use crate::cluster::control::Traffic;
use crate::cluster::replica_reads::CopiedKeys;
use crate::cluster::route::Mode;
use crate::cluster::show::{self, Scene};
use crate::commands::ctx::SessionCtx;
use crate::commands::parse::integer;
use crate::durability::admission::refuse;
use crate::durability::replicas::DB;
use crate::error::{CommandError, CommandResult, SYNTAX};
use crate::resp::Args;
use crate::server::Server;
use basalt_cluster::ids::NodeId;
use basalt_cluster::map::Role;
use basalt_storage::keyspace::Place;
use basalt_storage::slot::{Slot, StripeSet};

const DISABLED: CommandError = CommandError::new("ERR This instance has cluster support disabled");
const INVALID_SLOT: CommandError = CommandError::new("ERR Invalid slot");

pub fn cluster_of(server: &Server) -> Result<&Cluster, CommandError> {
    server.cluster().ok_or(DISABLED)
}

/// Calls `f` with what is shown of the cluster at this moment.
fn with_scene<R>(server: &Server, f: impl FnOnce(&Cluster, &Scene<'_>) -> R) -> Result<R, CommandError> {
    let cluster = cluster_of(server)?;
    let control = cluster.control();
    let picture = cluster.picture();
    let traffic: Traffic = control.traffic();
    let handshakes = control.handshakes();
    let contact = |node: NodeId| control.contact(node);
    let scene = Scene {
        map: &picture.map,
        me: cluster.me(),
        endpoint: cluster.endpoint(server),
        cover: cluster.cover(),
        contact: &contact,
        handshakes: &handshakes,
        traffic: &traffic,
    };
    Ok(f(cluster, &scene))
}

pub fn info(ctx: &mut SessionCtx<'_, '_>, _: Args<'_>) -> CommandResult {
    let text = with_scene(ctx.server, |_, scene| show::info(scene))?;
    ctx.out.verbatim("txt", text.as_bytes());
    Ok(())
}

pub fn nodes(ctx: &mut SessionCtx<'_, '_>, _: Args<'_>) -> CommandResult {
    let text = with_scene(ctx.server, |_, scene| show::nodes(scene))?;
    ctx.out.verbatim("txt", text.as_bytes());
    Ok(())
}

pub fn slots(ctx: &mut SessionCtx<'_, '_>, _: Args<'_>) -> CommandResult {
    with_scene(ctx.server, |_, scene| show::slots(scene, ctx.out))
}

pub fn shards(ctx: &mut SessionCtx<'_, '_>, _: Args<'_>) -> CommandResult {
    with_scene(ctx.server, |_, scene| show::shards(scene, ctx.out))
}

pub fn links(ctx: &mut SessionCtx<'_, '_>, _: Args<'_>) -> CommandResult {
    show::links(&cluster_of(ctx.server)?.control().links(), ctx.out);
    Ok(())
}

pub fn my_id(ctx: &mut SessionCtx<'_, '_>, _: Args<'_>) -> CommandResult {
    let me = cluster_of(ctx.server)?.me();
    ctx.out.bulk_str(&me.to_string());
    Ok(())
}

pub fn my_shard_id(ctx: &mut SessionCtx<'_, '_>, _: Args<'_>) -> CommandResult {
    let cluster = cluster_of(ctx.server)?;
    let shard = cluster.picture().map.shard_of(cluster.me());
    ctx.out.bulk_or_null(shard.map(|shard| shard.to_string()).as_deref().map(str::as_bytes));
    Ok(())
}

pub fn replicas(ctx: &mut SessionCtx<'_, '_>, args: Args<'_>) -> CommandResult {
    const NOT_A_MASTER: CommandError = CommandError::new("ERR The specified node is not a master");
    let lines = with_scene(ctx.server, |cluster, scene| {
        let unknown = || parse::unknown_node(args.at(2));
        let node = NodeId::from_text(args.at(2)).ok_or_else(unknown)?;
        match cluster.picture().roles.role(node).ok_or_else(unknown)? {
            Role::Master => Ok(show::replicas(scene, node)),
            Role::ReplicaOf(_) => Err(NOT_A_MASTER),
        }
    })??;
    ctx.out.array(lines.len());
    lines.iter().for_each(|line| ctx.out.bulk_str(line));
    Ok(())
}

pub fn count_failure_reports(ctx: &mut SessionCtx<'_, '_>, args: Args<'_>) -> CommandResult {
    let cluster = cluster_of(ctx.server)?;
    let node = NodeId::from_text(args.at(2)).filter(|node| cluster.picture().map.member(*node).is_some());
    let node = node.ok_or_else(|| parse::unknown_node(args.at(2)))?;
    ctx.out.count(cluster.control().failure_reports(node));
    Ok(())
}

pub fn key_slot(ctx: &mut SessionCtx<'_, '_>, args: Args<'_>) -> CommandResult {
    cluster_of(ctx.server)?;
    ctx.out.integer(Slot::of_key(args.at(2)).number().into());
    Ok(())
}

fn slot(number: i64) -> Option<Slot> {
    u16::try_from(number).ok().and_then(Slot::new)
}

pub fn count_keys_in_slot(ctx: &mut SessionCtx<'_, '_>, args: Args<'_>) -> CommandResult {
    cluster_of(ctx.server)?;
    let slot = slot(integer(args.at(2))?).ok_or(INVALID_SLOT)?;
    let keys = count_keys(ctx, slot);
    ctx.out.count(keys);
    Ok(())
}

/// How many keys there are in a slot here, whether this node leads it or has a copy.
fn count_keys(ctx: &mut SessionCtx<'_, '_>, slot: Slot) -> usize {
    let copied = CopiedKeys::of(ctx.server).map_or(0, |copied| copied.count_in(slot));
    copied + ctx.with_stripes(StripeSet::of(slot.stripe()), |view| view.slot_len(DB, slot))
}

pub fn keys_in_slot(ctx: &mut SessionCtx<'_, '_>, args: Args<'_>) -> CommandResult {
    const INVALID: CommandError = CommandError::new("ERR Invalid slot or number of keys");
    cluster_of(ctx.server)?;
    let (slot_number, wanted) = (integer(args.at(2))?, integer(args.at(3))?);
    let slot = slot(slot_number).ok_or(INVALID)?;
    let wanted = usize::try_from(wanted).map_err(|_| INVALID)?;
    if let Some(copied) = CopiedKeys::of(ctx.server).filter(|copied| copied.has(slot)) {
        let mut keys: Vec<Box<[u8]>> = Vec::new();
        copied.walk(slot, 0, wanted, |stored| keys.push(stored.key.into())).map_err(refuse)?;
        keys.truncate(wanted);
        ctx.out.array(keys.len());
        keys.iter().for_each(|key| ctx.out.bulk(key));
        return Ok(());
    }
    let keys = ctx.with_stripes(StripeSet::of(slot.stripe()), |view| {
        let mut keys: Vec<Box<[u8]>> = Vec::new();
        let mut place = Some(Place::START);
        while let Some(from) = place
            && keys.len() < wanted
        {
            // A walk may show a key twice, while the table grows.
            let missing = wanted - keys.len();
            let add = |met: basalt_storage::keyspace::Met<'_>| {
                if keys.len() < wanted && !keys.iter().any(|key| **key == *met.key) {
                    keys.push(met.key.into());
                }
            };
            place = view.walk_slot(DB, slot, from, missing, add)?;
        }
        Ok(keys)
    });
    let keys = keys.map_err(refuse)?;
    ctx.out.array(keys.len());
    keys.iter().for_each(|key| ctx.out.bulk(key));
    Ok(())
}

/// How CLUSTER SLOT-STATS orders slots.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    Ascending,
    Descending,
}

/// Since Redis 8.2; just the number of keys, as with `cluster-slot-stats-enabled no`.
pub fn slot_stats(ctx: &mut SessionCtx<'_, '_>, args: Args<'_>) -> CommandResult {
    let cluster = cluster_of(ctx.server)?;
    let wanted: (Vec<Slot>, Option<(Order, usize)>) = match args.len() {
        5 if args.is(2, "SLOTSRANGE") => {
            let ranges = parse::ranges(args, 3, 5)?;
            (ranges.iter().flat_map(|range| range.slots()).collect(), None)
        }
        len if len >= 4 && args.is(2, "ORDERBY") => {
            if !args.is(3, "KEY-COUNT") {
                return Err(CommandError::new("ERR Unrecognized sort metric for ORDERBY."));
            }
            (Slot::all().collect(), Some(slot_order(args)?))
        }
        _ => return Err(CommandError::wrong_subcommand("CLUSTER", args)),
    };
    let picture = cluster.picture();
    let shard = match picture.roles.role(cluster.me()) {
        Some(Role::ReplicaOf(master)) => master,
        _ => cluster.me(),
    };
    let (mut slots, order) = wanted;
    slots.retain(|slot| picture.map.owner(*slot) == Some(shard));
    let mut counts: Vec<(Slot, usize)> = Vec::with_capacity(slots.len());
    for slot in slots {
        counts.push((slot, count_keys(ctx, slot)));
    }
    if let Some((order, limit)) = order {
        match order {
            Order::Ascending => counts.sort_by_key(|&(slot, keys)| (keys, slot)),
            Order::Descending => counts.sort_by_key(|&(slot, keys)| (std::cmp::Reverse(keys), slot)),
        }
        counts.truncate(limit);
    }
    ctx.out.array(counts.len());
    for (slot, keys) in counts {
        ctx.out.array(2);
        ctx.out.integer(slot.number().into());
        ctx.out.map(1);
        ctx.out.bulk_str("key-count");
        ctx.out.count(keys);
    }
    Ok(())
}

/// `[LIMIT n] [ASC | DESC]` behind the metric.
fn slot_order(args: Args<'_>) -> Result<(Order, usize), CommandError> {
    const REPEATED: CommandError = CommandError::new("ERR Multiple filters of the same type are disallowed.");
    const LIMIT: CommandError =
        CommandError::new("ERR Limit has to lie in between 1 and 16384 (maximum number of slots).");
    let (mut order, mut limit) = (None, None);
    let mut at = 4;
    while at < args.len() {
        if args.is(at, "LIMIT") && at + 1 < args.len() {
            let number = crate::commands::parse::at_least(1, args.at(at + 1), LIMIT)?;
            if number > basalt_storage::slot::SLOT_COUNT {
                return Err(LIMIT);
            }
            if limit.replace(number).is_some() {
                return Err(REPEATED);
            }
            at += 2;
        } else if args.is(at, "ASC") || args.is(at, "DESC") {
            let chosen = if args.is(at, "ASC") { Order::Ascending } else { Order::Descending };
            if order.replace(chosen).is_some() {
                return Err(REPEATED);
            }
            at += 1;
        } else {
            return Err(SYNTAX);
        }
    }
    Ok((order.unwrap_or(Order::Descending), limit.unwrap_or(basalt_storage::slot::SLOT_COUNT)))
}

pub fn readonly(ctx: &mut SessionCtx<'_, '_>, _: Args<'_>) -> CommandResult {
    set_mode(ctx, Mode::ReadOnly)
}

pub fn readwrite(ctx: &mut SessionCtx<'_, '_>, _: Args<'_>) -> CommandResult {
    set_mode(ctx, Mode::ReadWrite)
}

fn set_mode(ctx: &mut SessionCtx<'_, '_>, mode: Mode) -> CommandResult {
    cluster_of(ctx.server)?;
    ctx.session.routing().mode = mode;
    ctx.out.ok();
    Ok(())
}

pub fn asking(ctx: &mut SessionCtx<'_, '_>, _: Args<'_>) -> CommandResult {
    cluster_of(ctx.server)?;
    ctx.session.routing().ask();
    ctx.out.ok();
    Ok(())
}
