//! Whether what a command may change fits into one batch.
//!
//! A batch is one piece in the log, so it has a limit. What could exceed it is refused before anything changes, because
//! a transaction cannot stop half way. The bytes are those that the client has sent, which the limits on its requests
//! keep far below, and whole values that a command makes of others (COPY, BITOP, SUNIONSTORE): their sources count in
//! full, since nobody knows yet what becomes of them.

use crate::commands::Command;
use crate::commands::spec::{Flags, KeyFlags};
use crate::error::CommandError;
use crate::resp::Args;
use crate::server::Server;
use crate::session::Session;
use crate::transaction::Phase;
use basalt_cluster::group::options::BATCH_BYTES_MAX;
use basalt_storage::keyspace::Key;
use basalt_storage::slot::StripeSet;
use hashbrown::HashMap;

const TOO_LARGE: CommandError =
    CommandError::new("ERR the changes would exceed 4 GiB, which is the most that durable mode can write at once");

/// Fewer arguments than these do not amount to much, unless some of them are large.
const FEW_ARGUMENTS: usize = 4096;

/// Refuses a command whose changes may be too much for one batch.
#[inline]
pub fn check(server: &Server, session: &Session, command: &Command, args: Args<'_>) -> Result<(), CommandError> {
    let is_small = args.len() <= FEW_ARGUMENTS && !args.has_large() && !copies(command);
    if is_small && !session.transaction.is_queueing() {
        return Ok(());
    }
    if bytes_at_most(server, session, command, args) > BATCH_BYTES_MAX { Err(TOO_LARGE) } else { Ok(()) }
}

/// Whether the command writes what it reads elsewhere.
fn copies(command: &Command) -> bool {
    let spec = command.spec;
    spec.flags.contains(Flags::WRITE) && spec.keys.iter().any(|key| key.flags.contains(KeyFlags::RO))
}

/// The most that the command can change, or the transaction that it ends.
#[cold]
pub fn bytes_at_most(server: &Server, session: &Session, command: &Command, args: Args<'_>) -> usize {
    let mut changes = Changes { server, session, sizes: HashMap::default(), bytes: 0 };
    match (&session.transaction.phase, command.spec.name) {
        (Phase::Queueing { queue, .. }, "exec") if queue.iter().any(|queued| copies(queued.command)) => {
            queue.iter().for_each(|queued| changes.add(queued.command, queued.args.as_args()));
        }
        (Phase::Queueing { queue, .. }, "exec") => {
            changes.bytes = queue.iter().map(|queued| queued.args.as_args().total_bytes()).sum();
        }
        _ => changes.add(command, args),
    }
    changes.bytes
}

/// What commands change, one after the other.
struct Changes<'a> {
    server: &'a Server,
    session: &'a Session,
    /// How large the values of keys may have become.
    sizes: HashMap<Box<[u8]>, usize>,
    bytes: usize,
}

impl Changes<'_> {
    fn add(&mut self, command: &Command, args: Args<'_>) {
        if !command.spec.flags.contains(Flags::WRITE) {
            return;
        }
        let sent = args.total_bytes();
        self.bytes = self.bytes.saturating_add(sent);
        if command.spec.keys.len() < 2 {
            if let Some(key) = args.maybe(1).filter(|_| !self.sizes.is_empty() || sent > FEW_ARGUMENTS) {
                let size = self.size(key).saturating_add(sent);
                self.sizes.insert(key.into(), size);
            }
            return;
        }
        let (mut read, mut written) = (Vec::new(), Vec::new());
        let mut sort = |index: usize, flags: KeyFlags| {
            if flags.contains(KeyFlags::RO) { read.push(args.at(index)) } else { written.push(args.at(index)) }
        };
        // Arguments that name no keys are refused by the handler.
        let _ = command.spec.for_each_key_exactly(args, &mut sort);
        let copied = read.iter().fold(0usize, |sum, key| sum.saturating_add(self.size(key)));
        self.bytes = self.bytes.saturating_add(copied);
        // What is moved from one key to another is not written again, but may be copied from there.
        let all = written.iter().fold(copied + sent, |sum, key| sum.saturating_add(self.size(key)));
        for key in written {
            self.sizes.insert(key.into(), all);
        }
    }

    fn size(&self, key: &[u8]) -> usize {
        if let Some(size) = self.sizes.get(key) {
            return *size;
        }
        let key = Key::new(key);
        let mut view = self.server.keyspace.lock(StripeSet::of(key.slot.stripe()), self.server.now());
        view.glance(self.session.db, &key).map_or(0, |entry| entry.heap_bytes())
    }
}
