//! CLIENT KILL: closes the connection at an address, or all that pass a filter.

use crate::client::{Client, ClientId, ClientKind, DEFAULT_USER};
use crate::commands::ctx::SessionCtx;
use crate::error::{CommandError, CommandResult, SYNTAX};
use crate::resp::Args;
use basalt_storage::number;
use std::sync::Arc;

/// Which connections to close.
#[derive(Default)]
struct Filter<'a> {
    id: Option<ClientId>,
    kind: Option<KindFilter>,
    address: Option<&'a [u8]>,
    local_address: Option<&'a [u8]>,
    spares_caller: bool,
}

/// A client type by name, be there such clients or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KindFilter {
    Only(ClientKind),
    /// Masters and replicas are connections of another protocol here.
    Nobody,
}

impl KindFilter {
    pub fn parse(word: &[u8]) -> Result<KindFilter, CommandError> {
        match word.to_ascii_lowercase().as_slice() {
            b"normal" => Ok(KindFilter::Only(ClientKind::Normal)),
            b"pubsub" => Ok(KindFilter::Only(ClientKind::PubSub)),
            b"master" | b"slave" | b"replica" => Ok(KindFilter::Nobody),
            _ => Err(CommandError::owned(format!("ERR Unknown client type '{}'", String::from_utf8_lossy(word)))),
        }
    }

    pub fn admits(self, client: &Client) -> bool {
        self == KindFilter::Only(client.kind())
    }
}

impl<'a> Filter<'a> {
    fn parse(args: Args<'a>) -> Result<Filter<'a>, CommandError> {
        let mut filter = Filter { spares_caller: true, ..Filter::default() };
        let mut at = 2;
        while at < args.len() {
            let value = args.maybe(at + 1).ok_or(SYNTAX)?;
            match args.at(at).to_ascii_lowercase().as_slice() {
                b"id" => {
                    let id = number::parse_i64(value).filter(|&id| id > 0);
                    let id = id.ok_or(CommandError::new("ERR client-id should be greater than 0"))?;
                    filter.id = Some(ClientId(id.cast_unsigned()));
                }
                b"type" => filter.kind = Some(KindFilter::parse(value)?),
                b"addr" => filter.address = Some(value),
                b"laddr" => filter.local_address = Some(value),
                b"user" if value == DEFAULT_USER.as_bytes() => {}
                b"user" => {
                    let user = String::from_utf8_lossy(value);
                    return Err(CommandError::owned(format!("ERR No such user '{user}'")));
                }
                b"skipme" => match value.to_ascii_lowercase().as_slice() {
                    b"yes" => filter.spares_caller = true,
                    b"no" => filter.spares_caller = false,
                    _ => return Err(SYNTAX),
                },
                _ => return Err(SYNTAX),
            }
            at += 2;
        }
        Ok(filter)
    }

    fn admits(&self, client: &Client, caller: ClientId) -> bool {
        self.id.is_none_or(|id| client.id == id)
            && self.kind.is_none_or(|kind| kind.admits(client))
            && self.address.is_none_or(|address| client.address.as_bytes() == address)
            && self.local_address.is_none_or(|address| client.local_address.as_bytes() == address)
            && !(self.spares_caller && client.id == caller)
    }
}

pub fn kill(ctx: &mut SessionCtx<'_, '_>, args: Args<'_>) -> CommandResult {
    if args.len() == 3 {
        let victim = ctx.server.clients.all().into_iter().find(|client| client.address.as_bytes() == args.at(2));
        let victim = victim.ok_or(CommandError::new("ERR No such client"))?;
        close(ctx, &victim);
        ctx.out.ok();
        return Ok(());
    }
    let filter = Filter::parse(args)?;
    let caller = ctx.session.client.id;
    let mut clients = ctx.server.clients.all();
    clients.retain(|client| filter.admits(client, caller));
    clients.iter().for_each(|client| close(ctx, client));
    ctx.out.count(clients.len());
    Ok(())
}

/// The caller itself is closed once it has its answer.
fn close(ctx: &mut SessionCtx<'_, '_>, victim: &Arc<Client>) {
    if victim.id == ctx.session.client.id {
        ctx.session.closing = true;
    } else {
        victim.close("closed by CLIENT KILL");
    }
}
