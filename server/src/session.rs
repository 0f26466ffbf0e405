//! What a connection remembers between its commands. Owned by the connection's task; never shared.

use crate::client::Client;
use crate::cluster::admission::Routing;
use crate::commands::Command;
use crate::commands::spec::Flags;
use crate::forward::Batch;
use crate::moment::Moment;
use crate::pubsub::Scope;
use crate::resp::{OwnedArgs, ReplyBuf};
use crate::server::Server;
use crate::transaction::{Phase, Transaction};
use basalt_storage::effect::DbIndex;
use basalt_storage::keyspace::Unreadable;
use hashbrown::HashSet;
use smallvec::SmallVec;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

/// The state of one connection.
pub struct Session {
    pub client: Arc<Client>,
    pub db: DbIndex,
    pub is_authenticated: bool,
    pub transaction: Transaction,
    pub subscriptions: Subscriptions,
    pub reply_mode: ReplyMode,
    pub no_touch: bool,
    /// What the connection remembers of the cluster, if there is one.
    routing: Option<Box<Routing>>,
    /// There is something to see to before or after evaluation that most connections do without.
    pub needs_care: bool,
    pub is_monitor: bool,
    /// When the last command ended, or the requests that are being answered arrived: read once per command.
    pub clock: Moment,
    /// The last command, which is often the next one too, and how the client has spelled its name.
    pub last_command: Option<(SmallVec<[u8; 16]>, &'static Command)>,
    /// The connection closes once its output is written.
    pub closing: bool,
    /// The command that made the client wait, until it is answered.
    pub waiting: Option<Waiting>,
    /// Requests that other nodes serve, and that are to be forwarded now.
    pub forwards: Option<Box<Batch>>,
    /// Since when the request at hand waits to be let in.
    pub held_since: Option<Moment>,
    /// How often the keys of the request at hand were read from disk.
    pub loads: u32,
    /// Why that has failed.
    pub load_failure: Option<Unreadable>,
}

/// How long a blocked client waits, and for which command.
pub struct Waiting {
    pub command: &'static Command,
    pub args: Arc<OwnedArgs>,
    pub since: Instant,
    pub until: Option<Instant>,
    pub awaited: Awaited,
}

/// What a client waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Awaited {
    /// That keys change. If it goes away, it waits no more.
    Keys,
    /// That its command is done, on another thread.
    Answer,
}

/// What CLIENT REPLY has set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum ReplyMode {
    #[default]
    On,
    Off,
    /// The next command is not answered.
    SkipNext,
    /// This command is not answered.
    Skip,
}

/// ON or OFF, as several commands take it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Switch {
    On,
    Off,
}

/// The channels and patterns that a client listens to.
#[derive(Default)]
pub struct Subscriptions {
    pub channels: HashSet<Box<[u8]>>,
    pub patterns: HashSet<Box<[u8]>>,
    pub shard_channels: HashSet<Box<[u8]>>,
}

impl Subscriptions {
    /// What SUBSCRIBE and PSUBSCRIBE report: channels and patterns together.
    pub fn count(&self) -> usize {
        self.channels.len() + self.patterns.len()
    }

    pub fn is_empty(&self) -> bool {
        self.count() + self.shard_channels.len() == 0
    }
}

impl Session {
    pub fn new(client: Arc<Client>, is_authenticated: bool) -> Session {
        Session {
            client,
            db: DbIndex(0),
            is_authenticated,
            transaction: Transaction::default(),
            subscriptions: Subscriptions::default(),
            reply_mode: ReplyMode::On,
            no_touch: false,
            routing: None,
            needs_care: false,
            is_monitor: false,
            clock: Moment::now(),
            last_command: None,
            closing: false,
            waiting: None,
            forwards: None,
            held_since: None,
            loads: 0,
            load_failure: None,
        }
    }

    /// Whether the command may change data, by itself or by what is queued.
    pub fn changes_data(&self, command: &Command) -> bool {
        let writes = |command: &Command| command.spec.flags.contains(Flags::WRITE);
        match (&self.transaction.phase, command.spec.name) {
            (Phase::Queueing { queue, .. }, "exec") => queue.iter().any(|queued| writes(queued.command)),
            _ => writes(command),
        }
    }

    pub fn select(&mut self, db: DbIndex) {
        self.db = db;
        self.client.info.db.store(db.0, Relaxed);
    }

    /// CLIENT NO-TOUCH: whether reading leaves no trace in access times.
    pub fn set_no_touch(&mut self, switch: Switch) {
        self.no_touch = switch == Switch::On;
        self.needs_care = self.no_touch || self.routing.is_some();
        self.client.info.no_touch.store(self.no_touch, Relaxed);
    }

    /// What the connection remembers of the cluster. Asked for only where there is one.
    #[inline]
    pub fn routing(&mut self) -> &mut Routing {
        self.needs_care = true;
        self.routing.get_or_insert_default()
    }

    /// The client follows redirections by itself.
    pub fn stop_forwarding(&mut self) {
        self.client.info.is_forwarded.store(false, Relaxed);
        if let Some(routing) = &mut self.routing {
            routing.stop_forwarding();
        }
    }

    /// A request was answered: what has held for it alone does not hold any more.
    #[inline]
    pub fn end_request(&mut self) {
        if let Some(routing) = &mut self.routing {
            routing.end_request(&self.transaction.phase);
        }
    }

    /// What RESET makes of a connection to a node of a cluster.
    pub fn forget_routing(&mut self) {
        self.routing = None;
        self.needs_care = self.no_touch;
    }

    /// The slots of shard channels have left this node, and so must their listeners.
    pub fn leave_channels(&mut self, channels: &[Box<[u8]>], out: &mut ReplyBuf) {
        for channel in channels {
            if self.subscriptions.shard_channels.remove(channel) {
                out.push(3);
                out.bulk(b"sunsubscribe");
                out.bulk(channel);
                out.count(self.subscriptions.shard_channels.len());
            }
        }
        self.publish_subscriptions();
    }

    /// Drops queued commands and watches.
    pub fn leave_transaction(&mut self, server: &Server) {
        self.transaction.phase = Phase::None;
        self.unwatch(server);
        self.publish_transaction();
    }

    /// Forgets all watched keys.
    pub fn unwatch(&mut self, server: &Server) {
        self.transaction.watches.clear(server);
        self.client.info.watched.store(0, Relaxed);
    }

    /// Publishes what CLIENT LIST shows, when a transaction begins or ends.
    pub fn publish_transaction(&self) {
        self.client.info.queued.store(if self.transaction.is_queueing() { 0 } else { -1 }, Relaxed);
        self.client.info.queued_bytes.store(0, Relaxed);
    }

    pub fn start_monitoring(&mut self, server: &Server) {
        self.is_monitor = true;
        self.client.info.is_monitor.store(true, Relaxed);
        server.monitors.add(self.client.clone());
    }

    pub fn stop_monitoring(&mut self, server: &Server) {
        if std::mem::take(&mut self.is_monitor) {
            self.client.info.is_monitor.store(false, Relaxed);
            server.monitors.remove(self.client.id);
        }
    }

    /// Ends all subscriptions without a word.
    pub fn unsubscribe_all(&mut self, server: &Server) {
        let id = self.client.id;
        for channel in self.subscriptions.channels.drain() {
            server.pubsub.unsubscribe(Scope::Global, &channel, id);
        }
        for pattern in self.subscriptions.patterns.drain() {
            server.pubsub.unsubscribe_pattern(&pattern, id);
        }
        for channel in self.subscriptions.shard_channels.drain() {
            server.pubsub.unsubscribe(Scope::Shard, &channel, id);
        }
        self.publish_subscriptions();
    }

    /// Publishes the sizes that CLIENT LIST shows.
    pub fn publish_subscriptions(&self) {
        let info = &self.client.info;
        info.subscriptions.store(self.subscriptions.channels.len(), Relaxed);
        info.pattern_subscriptions.store(self.subscriptions.patterns.len(), Relaxed);
        info.shard_subscriptions.store(self.subscriptions.shard_channels.len(), Relaxed);
    }
}

/// A command that waits for EXEC.
pub struct Queued {
    pub command: &'static Command,
    pub args: OwnedArgs,
}
