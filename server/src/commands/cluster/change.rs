//! CLUSTER subcommands that change something, and what is told of migrations.
//!
//! Their orders were carried out before they are evaluated ([`crate::cluster::admission`]); what is left to do is to
//! answer.

use super::ask::cluster_of;
use crate::cluster::Picture;
use crate::cluster::control::Outcome;
use crate::cluster::verify::Report;
use crate::commands::ctx::SessionCtx;
use crate::error::{CommandError, CommandResult, SYNTAX};
use crate::resp::{Args, ReplyBuf};
use basalt_cluster::ids::{MigrationId, NodeId};
use basalt_cluster::map::{Ending, Failure, Migration, MigrationKind, Phase, Stage};

/// Answers with what has become of the command's order.
pub fn ordered(ctx: &mut SessionCtx<'_, '_>, _: Args<'_>) -> CommandResult {
    cluster_of(ctx.server)?;
    let result = ctx.session.routing().next_result();
    match result.unwrap_or(Err(CommandError::new("ERR This command cannot be given here")))? {
        Outcome::Done => ctx.out.ok(),
        Outcome::Bumped(epoch) => ctx.out.simple(&format!("BUMPED {epoch}")),
        Outcome::Still(epoch) => ctx.out.simple(&format!("STILL {epoch}")),
        Outcome::Began(id) => ctx.out.bulk_str(&id.to_string()),
        Outcome::Counted(count) => ctx.out.count(count),
        Outcome::Planned(lines) => {
            ctx.out.array(lines.len());
            lines.iter().for_each(|line| ctx.out.bulk_str(line));
        }
        Outcome::Verified(reports) => {
            ctx.out.array(reports.len());
            reports.iter().for_each(|report| write_report(ctx.out, report));
        }
    }
    Ok(())
}

fn write_report(out: &mut ReplyBuf, report: &Report) {
    let nodes = |out: &mut ReplyBuf, nodes: &[NodeId]| {
        out.array(nodes.len());
        nodes.iter().for_each(|node| out.bulk_str(&node.to_string()));
    };
    let pairs = |out: &mut ReplyBuf, pairs: &[(NodeId, String)]| {
        out.map(pairs.len());
        for (node, text) in pairs {
            out.bulk_str(&node.to_string());
            out.bulk_str(text);
        }
    };
    out.map(11);
    out.bulk_str("group");
    out.integer(report.group.0.into());
    out.bulk_str("status");
    out.bulk_str(report.verdict().name());
    out.bulk_str("leader");
    out.bulk_str(&node_text(report.leader));
    out.bulk_str("applied-index");
    out.integer(report.applied.0 as i64);
    out.bulk_str("compared");
    nodes(out, &report.compared);
    out.bulk_str("not-compared");
    pairs(out, &report.missing);
    out.bulk_str("different");
    let different: Vec<_> = report.differences.iter().map(|(node, difference)| (*node, difference.text())).collect();
    pairs(out, &different);
    out.bulk_str("digest");
    out.bulk_str(&format!("{:016x}", report.digest));
    out.bulk_str("bytes");
    out.integer(report.bytes as i64);
    out.bulk_str("seconds");
    out.bulk_str(&format!("{:.3}", report.took.as_secs_f64()));
    out.bulk_str("error");
    out.bulk_str(report.failure.as_deref().unwrap_or_default());
}

/// CLUSTER MIGRATESLOTS and CANCELSLOTMIGRATIONS say no more than that it is under way.
pub fn ordered_quietly(ctx: &mut SessionCtx<'_, '_>, args: Args<'_>) -> CommandResult {
    let mark = ctx.out.mark();
    ordered(ctx, args)?;
    ctx.out.rewind(mark);
    ctx.out.ok();
    Ok(())
}

/// CLUSTER MIGRATION IMPORT | STATUS | CANCEL.
pub fn migration(ctx: &mut SessionCtx<'_, '_>, args: Args<'_>) -> CommandResult {
    if !args.is(2, "STATUS") {
        return ordered(ctx, args);
    }
    let cluster = cluster_of(ctx.server)?;
    let picture = cluster.picture();
    let only = match args.len() {
        3 => None,
        4 if args.is(3, "ALL") => None,
        5 if args.is(3, "ID") => Some(MigrationId::from_text(args.at(4))),
        _ => return Err(SYNTAX),
    };
    let is_wanted = |migration: &&Migration| match only {
        None => true,
        Some(id) => Some(migration.id) == id,
    };
    let me = cluster.me();
    let all = shown(&picture);
    let wanted: Vec<&Migration> = all.into_iter().filter(is_wanted).collect();
    ctx.out.array(wanted.len());
    for migration in wanted {
        write_status(ctx.out, &picture, me, migration);
    }
    Ok(())
}

/// The migrations that clients are shown, the newest first. What SETSLOT NODE has caused is none of them.
fn shown(picture: &Picture) -> Vec<&Migration> {
    let is_whole = |migration: &&Migration| migration.kind != MigrationKind::HandOver;
    let mut all: Vec<&Migration> = picture.map.migrations().values().filter(is_whole).collect();
    all.sort_by_key(|migration| (std::cmp::Reverse(migration.begun), migration.id));
    all
}

/// A single slot is written as a range too, since redis-cli compares the text with its own.
fn slot_ranges(migration: &Migration) -> String {
    let range =
        |range: &basalt_cluster::map::SlotRange| format!("{}-{}", range.first().number(), range.last().number());
    migration.slots.iter().map(range).collect::<Vec<_>>().join(" ")
}

fn node_text(node: Option<NodeId>) -> String {
    node.map(|node| node.to_string()).unwrap_or_default()
}

fn message(migration: &Migration) -> &str {
    match &migration.phase {
        Phase::Aborting { why: Failure::Failed(reason), .. }
        | Phase::Ended(Ending::NotDone(Failure::Failed(reason))) => reason,
        _ => "",
    }
}

/// Valkey's CLUSTER GETSLOTMIGRATIONS.
pub fn slot_migrations(ctx: &mut SessionCtx<'_, '_>, _: Args<'_>) -> CommandResult {
    let cluster = cluster_of(ctx.server)?;
    let picture = cluster.picture();
    let migrations = shown(&picture);
    ctx.out.array(migrations.len());
    for migration in migrations {
        let (source, target) = (picture.roles.face(migration.source), picture.roles.face(migration.target));
        let operation = if target == Some(cluster.me()) { "IMPORT" } else { "EXPORT" };
        let out = &mut *ctx.out;
        out.map(12);
        for (field, text) in [
            ("name", migration.id.to_string().as_str()),
            ("operation", operation),
            ("slot_ranges", &slot_ranges(migration)),
            ("target_node", &node_text(target)),
            ("source_node", &node_text(source)),
        ] {
            out.bulk_str(field);
            out.bulk_str(text);
        }
        let (created, updated) = (migration.created_at.0 / 1000, migration.updated_at.0 / 1000);
        for (field, seconds) in [("create_time", created), ("last_update_time", updated), ("last_ack_time", updated)] {
            out.bulk_str(field);
            out.integer(seconds);
        }
        for (field, text) in [("state", valkey_state(migration)), ("message", message(migration))] {
            out.bulk_str(field);
            out.bulk_str(text);
        }
        for field in ["cow_size", "remaining_repl_size"] {
            out.bulk_str(field);
            out.integer(0);
        }
    }
    Ok(())
}

/// The states in Valkey's words; who polls waits for the last three.
fn valkey_state(migration: &Migration) -> &'static str {
    match &migration.phase {
        Phase::Copying(Stage::Starting) => "connecting",
        Phase::Copying(Stage::Snapshot) => "snapshotting",
        Phase::Copying(Stage::Tail) => "replicating",
        Phase::Copying(Stage::Sealed) => "failover-paused",
        Phase::Finishing(_) => "failover-granted",
        Phase::Ended(Ending::Done) => "success",
        Phase::Aborting { why: Failure::Cancelled, .. } | Phase::Ended(Ending::NotDone(Failure::Cancelled)) => {
            "cancelled"
        }
        Phase::Aborting { .. } | Phase::Ended(Ending::NotDone(Failure::Failed(_))) => "failed",
    }
}

/// Redis 8.4's CLUSTER MIGRATION STATUS.
fn write_status(out: &mut ReplyBuf, picture: &Picture, me: NodeId, migration: &Migration) {
    let (source, target) = (picture.roles.face(migration.source), picture.roles.face(migration.target));
    let state = match &migration.phase {
        Phase::Copying(Stage::Starting) => "connecting",
        Phase::Copying(Stage::Snapshot) => "snapshot",
        Phase::Copying(Stage::Tail) => "streaming",
        Phase::Copying(Stage::Sealed) => "handoff",
        Phase::Finishing(_) | Phase::Ended(Ending::Done) => "completed",
        Phase::Aborting { why: Failure::Cancelled, .. } | Phase::Ended(Ending::NotDone(Failure::Cancelled)) => {
            "canceled"
        }
        Phase::Aborting { .. } | Phase::Ended(Ending::NotDone(Failure::Failed(_))) => "failed",
    };
    out.map(9);
    for (field, text) in [
        ("id", migration.id.to_string().as_str()),
        ("slots", &slot_ranges(migration)),
        ("source", &node_text(source)),
        ("dest", &node_text(target)),
        ("operation", if target == Some(me) { "import" } else { "migrate" }),
        ("state", state),
        ("last_error", message(migration)),
    ] {
        out.bulk_str(field);
        out.bulk_str(text);
    }
    for (field, at) in [("create_time", migration.created_at), ("last_update_time", migration.updated_at)] {
        out.bulk_str(field);
        out.integer(at.0);
    }
}
