//! CLIENT LIST and CLIENT INFO: one line per connection.

use super::kill::KindFilter;
use crate::client::{Client, ClientId, ClientKind};
use crate::commands::ctx::SessionCtx;
use crate::error::{CommandError, CommandResult, SYNTAX};
use crate::resp::Args;
use basalt_storage::number;
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

pub fn info(ctx: &mut SessionCtx<'_, '_>, _: Args<'_>) -> CommandResult {
    let line = describe(&ctx.session.client, ctx.now.0);
    ctx.out.verbatim("txt", line.as_bytes());
    Ok(())
}

pub fn list(ctx: &mut SessionCtx<'_, '_>, args: Args<'_>) -> CommandResult {
    let clients = selected(ctx, args)?;
    let lines: String = clients.iter().map(|client| describe(client, ctx.now.0)).collect();
    ctx.out.verbatim("txt", lines.as_bytes());
    Ok(())
}

fn selected(ctx: &SessionCtx<'_, '_>, args: Args<'_>) -> Result<Vec<Arc<Client>>, CommandError> {
    let clients = &ctx.server.clients;
    if args.len() == 2 {
        return Ok(clients.all());
    }
    if args.len() == 4 && args.is(2, "TYPE") {
        let kind = KindFilter::parse(args.at(3))?;
        return Ok(clients.all().into_iter().filter(|client| kind.admits(client)).collect());
    }
    if args.len() > 3 && args.is(2, "ID") {
        let id = |text| number::parse_i64(text).ok_or(CommandError::new("ERR Invalid client ID"));
        let ids: Vec<i64> = args.from(3).map(id).collect::<Result<_, _>>()?;
        return Ok(ids.into_iter().filter_map(|id| clients.find(ClientId(id.cast_unsigned()))).collect());
    }
    Err(SYNTAX)
}

/// The line of one client, with its line end.
fn describe(client: &Client, now_ms: i64) -> String {
    let info = &client.info;
    let figures = client.figures();
    let mut line = String::with_capacity(400);
    let mut add = |field: &str, value: &dyn std::fmt::Display| {
        let _ = write!(line, "{field}={value} ");
    };
    add("id", &client.id.0);
    add("addr", &client.address);
    add("laddr", &client.local_address);
    add("fd", &client.fd);
    add("name", &info.name.lock());
    add("age", &((now_ms - client.created_ms).max(0) / 1000));
    add("idle", &((now_ms - info.last_active_ms.load(Relaxed)).max(0) / 1000));
    add("flags", &flags(client));
    add("db", &info.db.load(Relaxed));
    add("sub", &info.subscriptions.load(Relaxed));
    add("psub", &info.pattern_subscriptions.load(Relaxed));
    add("ssub", &info.shard_subscriptions.load(Relaxed));
    add("multi", &info.queued.load(Relaxed));
    add("qbuf", &figures.query);
    add("qbuf-free", &figures.query_free);
    add("argv-mem", &figures.arguments);
    add("multi-mem", &figures.queued);
    add("rbs", &figures.reply_buffer);
    add("rbp", &figures.reply_buffer_peak);
    add("obl", &figures.output_in_buffer);
    add("oll", &figures.output_blocks);
    add("omem", &figures.output_in_blocks);
    add("tot-mem", &figures.total());
    add("events", &if figures.awaits_write { "rw" } else { "r" });
    add("cmd", &client.last_command().map_or("NULL", |command| command.full_name));
    add("user", &info.user.lock());
    add("redir", &-1);
    add("resp", &if info.is_resp3.load(Relaxed) { 3 } else { 2 });
    add("lib-name", &info.library_name.lock());
    add("lib-ver", &info.library_version.lock());
    line.pop();
    line.push('\n');
    line
}

/// One letter for each peculiarity; `N` for none.
fn flags(client: &Client) -> String {
    let info = &client.info;
    let flags: String = [
        (info.is_monitor.load(Relaxed), 'O'),
        (client.kind() == ClientKind::PubSub, 'P'),
        (info.queued.load(Relaxed) >= 0, 'x'),
        (info.is_blocked.load(Relaxed), 'b'),
        (info.is_dirty.load(Relaxed), 'd'),
        (info.is_unix_socket.load(Relaxed), 'U'),
        (info.no_evict.load(Relaxed), 'e'),
        (info.no_touch.load(Relaxed), 'T'),
    ]
    .into_iter()
    .filter_map(|(applies, letter)| applies.then_some(letter))
    .collect();
    if flags.is_empty() { "N".into() } else { flags }
}
