//! Clients as others see them: identity, mail, and what CLIENT LIST shows. The registry of all of them.
//!
//! A connection's own state is its [`crate::session::Session`] and stays on its thread. What other threads may touch is
//! here: an inbox for bytes that answer no request, orders to close or unblock, and counters that are written by the
//! connection and read by anyone.

use crate::cluster::replica_reads::Delivered;
use crate::commands::{self, Command};
use crate::error::CommandResult;
use crate::resp::{Output, Protocol, ReplyBuf};
use basalt_storage::effect::DbIndex;
use basalt_storage::keyspace::Unreadable;
use hashbrown::HashMap;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU16, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::task::Waker;

/// The only user there is without ACLs.
pub const DEFAULT_USER: &str = "default";

/// What CLIENT LIST shows of the buffer for replies: at least and at most.
pub const REPLY_BUFFER_MIN: usize = 1024;
pub const REPLY_BUFFER_MAX: usize = 16 * 1024;

/// Output is shown as if it were kept in blocks of this size.
const OUTPUT_BLOCK: usize = 16 * 1024;

/// About what a watched key or a subscription takes, here and in the registries.
const INTEREST_BYTES: usize = 128;

/// Identifies a client for the life of the process; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(pub u64);

/// Which limits of `client-output-buffer-limit` hold for a client, and what CLIENT KILL TYPE calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientKind {
    Normal,
    PubSub,
}

/// Mail for a connection from other threads.
#[derive(Default)]
pub struct Inbox {
    /// Whole protocol messages, in order.
    pub bytes: Vec<u8>,
    /// Messages that come before `bytes`, some of which are large.
    pub large: Output,
    /// The client no longer waits, and this has come of its command; its reply is at the end of `bytes`.
    pub unblocked: Option<CommandResult>,
    /// The request that the client waits with can be looked at anew: its keys were read from disk, or could not be, or
    /// the cluster has answered or changed.
    pub loaded: Option<Result<(), Unreadable>>,
    /// The keys that the client waits for are served elsewhere by now, and it goes on waiting there.
    pub keys_have_left: bool,
    /// What the request is to be evaluated in, on a node that does not lead its slot.
    pub copy: Option<Delivered>,
    /// Shard channels that this node does not serve any more.
    pub left_channels: Vec<Box<[u8]>>,
    /// The connection must close, for this reason.
    pub close: Option<&'static str>,
    /// The connection is idle and should give back its buffers.
    pub trim: bool,
}

impl Inbox {
    /// Adds a message. What is large of it is not copied.
    pub fn add(&mut self, message: &ReplyBuf) {
        match message.in_one_piece() {
            Some(bytes) => self.bytes.extend_from_slice(bytes),
            None => {
                self.large.take_from(&mut self.bytes);
                message.copy_to(&mut self.large);
            }
        }
    }
}

/// The shared part of a client.
pub struct Client {
    pub id: ClientId,
    pub address: String,
    pub local_address: String,
    pub fd: i64,
    pub created_ms: i64,
    /// Index of the network thread that serves it.
    pub thread: usize,
    inbox: Mutex<Inbox>,
    /// It was told to close: for others it is gone already.
    is_closing: AtomicBool,
    has_mail: AtomicBool,
    waker: Mutex<Option<Waker>>,
    pub info: ClientInfo,
}

/// What CLIENT LIST and CLIENT INFO show, beyond what never changes.
#[derive(Default)]
pub struct ClientInfo {
    pub name: Mutex<String>,
    pub library_name: Mutex<String>,
    pub library_version: Mutex<String>,
    pub user: Mutex<String>,
    /// Number of the last command in the table, counted from one; zero: none yet.
    last_command: AtomicUsize,
    pub last_active_ms: AtomicI64,
    pub db: AtomicU16,
    pub is_resp3: AtomicBool,
    pub subscriptions: AtomicUsize,
    pub pattern_subscriptions: AtomicUsize,
    pub shard_subscriptions: AtomicUsize,
    /// Number of queued commands, or -1 outside a transaction.
    pub queued: AtomicI64,
    pub watched: AtomicUsize,
    pub is_blocked: AtomicBool,
    pub is_monitor: AtomicBool,
    pub is_dirty: AtomicBool,
    pub no_evict: AtomicBool,
    pub no_touch: AtomicBool,
    pub is_unix_socket: AtomicBool,
    /// What other nodes serve is forwarded to them; see [`crate::forward`].
    pub is_forwarded: AtomicBool,
    pub query_bytes: AtomicUsize,
    pub query_free_bytes: AtomicUsize,
    pub argument_bytes: AtomicUsize,
    pub queued_bytes: AtomicUsize,
    /// What waits for the client to read it.
    pub output_bytes: AtomicUsize,
    /// What the buffer for it has room for beyond that.
    pub output_spare_bytes: AtomicUsize,
    pub reply_buffer_bytes: AtomicUsize,
    pub reply_peak_bytes: AtomicUsize,
    pub received_bytes: AtomicU64,
    pub sent_bytes: AtomicU64,
    /// Since when there is more output than the soft limit; zero: there is not.
    pub soft_limit_since_ms: AtomicI64,
    /// What is counted for this client against `maxmemory-clients`.
    pub reported_bytes: AtomicI64,
    /// What will be free when the client, which was told to close for its memory, has gone.
    pub condemned_bytes: AtomicI64,
}

/// What a client costs, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    pub query: usize,
    pub query_free: usize,
    pub arguments: usize,
    pub queued: usize,
    /// Of watched keys and subscriptions.
    pub interests: usize,
    pub reply_buffer: usize,
    pub reply_buffer_peak: usize,
    pub output_in_buffer: usize,
    pub output_blocks: usize,
    pub output_in_blocks: usize,
    pub output_spare: usize,
    pub awaits_write: bool,
}

impl Figures {
    /// Everything, the connection's own state included.
    pub fn total(&self) -> usize {
        const CONNECTION: usize = 1024;
        CONNECTION
            + self.query
            + self.query_free
            + self.arguments
            + self.queued
            + self.interests
            + self.reply_buffer
            + self.output_in_blocks
            + self.output_spare
    }
}

impl Client {
    pub fn last_command(&self) -> Option<&'static Command> {
        let number = self.info.last_command.load(Relaxed);
        number.checked_sub(1).map(|index| commands::all()[index])
    }

    #[inline]
    pub fn note_command(&self, command: &Command) {
        self.info.last_command.store(command.id.0 + 1, Relaxed);
    }

    pub fn figures(&self) -> Figures {
        let info = &self.info;
        let output = self.output_bytes();
        let interests = [&info.watched, &info.subscriptions, &info.pattern_subscriptions, &info.shard_subscriptions];
        Figures {
            query: info.query_bytes.load(Relaxed),
            query_free: info.query_free_bytes.load(Relaxed),
            arguments: info.argument_bytes.load(Relaxed),
            queued: info.queued_bytes.load(Relaxed),
            interests: interests.iter().map(|count| count.load(Relaxed)).sum::<usize>() * INTEREST_BYTES,
            reply_buffer: info.reply_buffer_bytes.load(Relaxed),
            reply_buffer_peak: info.reply_peak_bytes.load(Relaxed),
            output_in_buffer: 0,
            output_blocks: output.div_ceil(OUTPUT_BLOCK),
            output_in_blocks: output,
            output_spare: info.output_spare_bytes.load(Relaxed),
            awaits_write: output > 0,
        }
    }

    pub fn protocol(&self) -> Protocol {
        if self.info.is_resp3.load(Relaxed) { Protocol::Resp3 } else { Protocol::Resp2 }
    }

    pub fn db(&self) -> DbIndex {
        DbIndex(self.info.db.load(Relaxed))
    }

    /// Whether the client runs on this machine.
    pub fn is_local(&self) -> bool {
        let is_loopback = |address: std::net::SocketAddr| address.ip().to_canonical().is_loopback();
        self.info.is_unix_socket.load(Relaxed) || self.address.parse().is_ok_and(is_loopback)
    }

    pub fn kind(&self) -> ClientKind {
        let info = &self.info;
        let counts = [&info.subscriptions, &info.pattern_subscriptions, &info.shard_subscriptions];
        if counts.iter().any(|count| count.load(Relaxed) > 0) { ClientKind::PubSub } else { ClientKind::Normal }
    }

    /// Puts mail into the inbox and wakes the connection.
    pub fn post(&self, fill: impl FnOnce(&mut Inbox)) {
        let mut inbox = self.inbox.lock();
        fill(&mut inbox);
        self.has_mail.store(true, std::sync::atomic::Ordering::Release);
        drop(inbox);
        if let Some(waker) = self.waker.lock().as_ref() {
            waker.wake_by_ref();
        }
    }

    /// Orders the connection to close.
    pub fn close(&self, reason: &'static str) {
        self.is_closing.store(true, Relaxed);
        self.post(|inbox| inbox.close = Some(reason));
    }

    /// Whether it was told to close.
    pub fn is_closing(&self) -> bool {
        self.is_closing.load(Relaxed)
    }

    /// Whether its requests for other nodes are forwarded.
    pub fn is_forwarded(&self) -> bool {
        self.info.is_forwarded.load(Relaxed)
    }

    #[inline]
    pub fn has_mail(&self) -> bool {
        self.has_mail.load(std::sync::atomic::Ordering::Acquire)
    }

    pub fn take_mail(&self) -> Inbox {
        let mut inbox = self.inbox.lock();
        self.has_mail.store(false, std::sync::atomic::Ordering::Release);
        std::mem::take(&mut inbox)
    }

    /// Bytes of mail that the connection has not taken yet.
    pub fn mail_bytes(&self) -> usize {
        let inbox = self.inbox.lock();
        inbox.large.len() + inbox.bytes.len()
    }

    /// Everything that waits for the client to read it.
    pub fn output_bytes(&self) -> usize {
        self.info.output_bytes.load(Relaxed) + self.mail_bytes()
    }

    /// Whether the connection keeps more buffers than an idle one needs.
    pub fn holds_buffers(&self) -> bool {
        let info = &self.info;
        info.query_free_bytes.load(Relaxed) > 0 || info.reply_buffer_bytes.load(Relaxed) > REPLY_BUFFER_MIN
    }

    /// Sets what wakes the connection when mail comes. It looks for mail after that, so that none slips by.
    pub fn put_waker(&self, waker: Waker) {
        *self.waker.lock() = Some(waker);
    }
}

/// All connected clients.
#[derive(Default)]
pub struct Clients {
    by_id: Mutex<HashMap<ClientId, Arc<Client>>>,
    last_id: AtomicU64,
    pub received: AtomicU64,
    pub rejected: AtomicU64,
    /// Closed because clients used too much memory.
    pub evicted: AtomicU64,
}

/// What a listener knows of a new connection.
pub struct NewClient {
    pub address: String,
    pub local_address: String,
    pub fd: i64,
    pub thread: usize,
    pub now_ms: i64,
}

impl Clients {
    pub fn register(&self, new: NewClient) -> Arc<Client> {
        let id = ClientId(self.last_id.fetch_add(1, Relaxed) + 1);
        let client = Arc::new(Client {
            id,
            address: new.address,
            local_address: new.local_address,
            fd: new.fd,
            created_ms: new.now_ms,
            thread: new.thread,
            inbox: Mutex::default(),
            is_closing: AtomicBool::new(false),
            has_mail: AtomicBool::new(false),
            waker: Mutex::default(),
            info: ClientInfo::default(),
        });
        client.info.queued.store(-1, Relaxed);
        client.info.reply_buffer_bytes.store(REPLY_BUFFER_MAX, Relaxed);
        client.info.last_active_ms.store(new.now_ms, Relaxed);
        *client.info.user.lock() = DEFAULT_USER.into();
        self.by_id.lock().insert(id, client.clone());
        client
    }

    /// Runs `f` if the client is still registered, and keeps it so for that long: what `f` counts for the client is
    /// taken back when it goes.
    pub fn while_registered(&self, id: ClientId, f: impl FnOnce()) {
        let by_id = self.by_id.lock();
        if by_id.contains_key(&id) {
            f();
        }
    }

    pub fn forget(&self, id: ClientId) {
        self.by_id.lock().remove(&id);
    }

    pub fn find(&self, id: ClientId) -> Option<Arc<Client>> {
        self.by_id.lock().get(&id).filter(|client| !client.is_closing.load(Relaxed)).cloned()
    }

    /// All clients by age.
    pub fn all(&self) -> Vec<Arc<Client>> {
        let is_there = |client: &&Arc<Client>| !client.is_closing.load(Relaxed);
        let mut all: Vec<_> = self.by_id.lock().values().filter(is_there).cloned().collect();
        all.sort_by_key(|client| client.id);
        all
    }

    pub fn count(&self) -> usize {
        self.by_id.lock().len()
    }
}
