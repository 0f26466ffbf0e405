//! Whether a command can be evaluated now, in durable mode: its keys are resident, and there is room for its batch.

use super::{Durability, batch_size};
use crate::commands::Command;
use crate::commands::looks::Looks;
use crate::commands::spec::{Flags, KeyFlags};
use crate::error::CommandError;
use crate::resp::Args;
use crate::server::Server;
use crate::session::Session;
use crate::transaction::Phase;
use basalt_storage::effect::DbIndex;
use basalt_storage::keyspace::{Key, Loading, Need, Unreadable};
use basalt_storage::slot::StripeSet;
use std::sync::atomic::Ordering::Relaxed;

/// Times that a request waits for its keys; then it reads what is missing in place, so that it gets on even if memory
/// is so short that keys are cooled at once.
const LOADS_MAX: u32 = 3;

/// What a request has to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    Now,
    /// The loader has its keys; the client gets mail.
    WhenLoaded,
    /// Too much is on its way into the log.
    WhenCommitted,
}

impl Durability {
    /// Asks for everything that evaluating the command needs.
    #[inline]
    pub fn admit(
        &self,
        server: &Server,
        session: &mut Session,
        command: &Command,
        args: Args<'_>,
    ) -> Result<Admission, CommandError> {
        self.space.admit(self, session, command, args)?;
        if self.is_congested() && session.changes_data(command) {
            return Ok(Admission::WhenCommitted);
        }
        let is_whole = server.keyspace.is_whole();
        let admission = if is_whole { Admission::Now } else { self.warm(server, session, command, args)? };
        if admission == Admission::Now {
            batch_size::check(server, session, command, args)?;
        }
        Ok(admission)
    }

    #[cold]
    fn warm(
        &self,
        server: &Server,
        session: &mut Session,
        command: &Command,
        args: Args<'_>,
    ) -> Result<Admission, CommandError> {
        if let Some(unreadable) = session.load_failure.take() {
            session.loads = 0;
            return Err(refuse(unreadable));
        }
        let missing = missing(server, session, command, args).map_err(refuse)?;
        if missing.is_empty() || session.loads >= LOADS_MAX {
            session.loads = 0;
            return Ok(Admission::Now);
        }
        if session.loads == 0 && command.spec.flags.contains(Flags::READONLY) {
            server.keyspace.residency().awaited_by_reads.fetch_add(missing.len() as u64, Relaxed);
        }
        session.loads += 1;
        self.loader.submit(session.client.clone(), missing);
        Ok(Admission::WhenLoaded)
    }
}

/// What a client is told whose key cannot be read.
pub fn refuse(unreadable: Unreadable) -> CommandError {
    tracing::error!(%unreadable, "the data directory may be damaged");
    CommandError::owned(format!("ERR {unreadable}"))
}

/// What has to be read from disk for a command; for all commands of a transaction, if it ends one.
fn missing(server: &Server, session: &Session, command: &Command, args: Args<'_>) -> Result<Vec<Loading>, Unreadable> {
    let mut missing = Vec::new();
    match (&session.transaction.phase, command.spec.name) {
        (Phase::Queueing { queue, .. }, "exec") => {
            for queued in queue {
                add_missing(server, session.db, queued.command, queued.args.as_args(), &mut missing)?;
            }
        }
        _ => add_missing(server, session.db, command, args, &mut missing)?,
    }
    Ok(missing)
}

fn add_missing(
    server: &Server,
    db: DbIndex,
    command: &Command,
    args: Args<'_>,
    missing: &mut Vec<Loading>,
) -> Result<(), Unreadable> {
    let mut result = Ok(());
    for_each_need(command, args, &mut |key, need| {
        if result.is_err() {
            return;
        }
        let mut view = server.keyspace.lock(StripeSet::of(key.slot.stripe()), server.now());
        match view.prepare(db, key, need) {
            Ok(loading) => missing.extend(loading),
            Err(unreadable) => result = Err(unreadable),
        }
    });
    result
}

/// Calls `visit` with each key of a command, and with what the command needs of it.
pub(crate) fn for_each_need(command: &Command, args: Args<'_>, visit: &mut dyn FnMut(&Key<'_>, Need<'_>)) {
    let spec = command.spec;
    let mut add = |index: usize, flags: KeyFlags| {
        let select = |len| match spec.looks {
            Looks::AtParts(parts) => parts(args, len),
            _ => None,
        };
        let is_overwritten = flags.contains(KeyFlags::OW) && !flags.contains(KeyFlags::ACCESS);
        let need = match spec.looks {
            Looks::AtPresence => Need::Presence,
            Looks::AtOutlines => Need::Outline,
            Looks::AtParts(_) => Need::Parts(&select),
            Looks::AtValues if is_overwritten => Need::Outline,
            Looks::AtValues => Need::Value,
        };
        visit(&Key::new(args.at(index)), need);
    };
    // Arguments that name no keys are refused by the handler.
    let _ = spec.for_each_key_exactly(args, &mut add);
}
