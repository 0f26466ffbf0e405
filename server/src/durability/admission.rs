//! Whether a command can be evaluated now, in durable mode: its keys are resident, and there is room for its batch.

use super::Durability;
use crate::commands::Command;
use crate::error::CommandError;
use crate::resp::Args;
use crate::server::Server;
use crate::session::Session;
use crate::transaction::Phase;
use basalt_storage::effect::DbIndex;
use basalt_storage::keyspace::{Key, Loading, Unreadable};
use basalt_storage::slot::StripeSet;
use smallvec::SmallVec;

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

type Names = SmallVec<[(DbIndex, Box<[u8]>); 4]>;

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
        if !server.keyspace.has_cold() {
            return Ok(Admission::Now);
        }
        self.warm(server, session, command, args)
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
        let names = keys_of(session, command, args);
        let missing = missing(server, &names).map_err(refuse)?;
        if missing.is_empty() || session.loads >= LOADS_MAX {
            session.loads = 0;
            return Ok(Admission::Now);
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

/// Those of the keys that have to be read from disk.
fn missing(server: &Server, names: &Names) -> Result<Vec<Loading>, Unreadable> {
    let mut missing = Vec::new();
    for (db, bytes) in names {
        let key = Key::new(bytes);
        let mut view = server.keyspace.lock(StripeSet::of(key.slot.stripe()), server.now());
        missing.extend(view.warm(*db, &key)?);
    }
    Ok(missing)
}

/// The keys of a command; those of a whole transaction, if it ends one.
fn keys_of(session: &Session, command: &Command, args: Args<'_>) -> Names {
    let mut names = Names::new();
    match (&session.transaction.phase, command.spec.name) {
        (Phase::Queueing { queue, .. }, "exec") => {
            for queued in queue {
                add_keys(&mut names, session.db, queued.command, queued.args.as_args());
            }
        }
        _ => add_keys(&mut names, session.db, command, args),
    }
    names
}

fn add_keys(names: &mut Names, db: DbIndex, command: &Command, args: Args<'_>) {
    let mut add = |index: usize, _| names.push((db, args.at(index).into()));
    // Arguments that name no keys are refused by the handler.
    let _ = command.spec.for_each_key(args, &mut add);
}
