//! Clients that wait for a key: BLPOP and kin.
//!
//! A waiting client's command is kept here, in the order of arrival per key. Whoever changes one of its keys runs the
//! command again on the waiter's behalf before answering its own client, so that a waiter is served as early as a
//! single threaded Redis would. A waiter whose keys lie in stripes that the changer does not hold is served right
//! after, under its own locks.
//!
//! Invariants: the keyspace counts a waiter for a key if and only if the waiter is registered here under that key; the
//! registry's lock is taken after stripe locks, never before.

use crate::client::{Client, ClientId};
use crate::commands::Command;
use crate::commands::ctx::{Attempt, Ctx, Outcome};
use crate::commands::spec::Handler;
use crate::durability::release::Delivery;
use crate::error::CommandError;
use crate::resp::{OwnedArgs, ReplyBuf};
use crate::server::Server;
use basalt_storage::effect::DbIndex;
use basalt_storage::keyspace::{Key, ReadyKey, View};
use basalt_storage::slot::{Slot, StripeSet};
use hashbrown::HashMap;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// A command's wish to wait.
pub struct BlockRequest {
    /// The keys that may end the wait, in the order in which the command looks at them.
    pub keys: Vec<Box<[u8]>>,
    /// Keys that the command will touch besides.
    pub other_keys: Vec<Box<[u8]>>,
    /// `None`: for ever.
    pub timeout: Option<Duration>,
    /// What the client is told when time runs out.
    pub timeout_reply: fn(&mut ReplyBuf),
    /// Done when the wait has begun: whoever may end it hears of it only then.
    pub then: Option<Then>,
}

pub type Then = Box<dyn FnOnce(&Server)>;

struct Waiter {
    client: Arc<Client>,
    command: &'static Command,
    args: Arc<OwnedArgs>,
    db: DbIndex,
    keys: Vec<Box<[u8]>>,
    /// The stripes of all its keys.
    stripes: StripeSet,
    timeout: Option<Duration>,
    timeout_reply: fn(&mut ReplyBuf),
}

/// Why a wait ends without the keys.
pub enum End {
    Timeout,
    /// What it has waited for besides keys has happened.
    Answer(Box<dyn FnOnce(&mut ReplyBuf)>),
    /// CLIENT UNBLOCK ... ERROR, or the cluster is down.
    Error(CommandError),
    /// Its keys have gone to another node: the client hears so, unless its requests are forwarded.
    Elsewhere(CommandError),
    /// Nobody is there to read an answer.
    Disconnect,
}

/// What came of running a waiter's command again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Retried {
    Answered,
    StillWaits,
}

/// How far the waiters of one key were served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Served {
    AsFarAsPossible,
    NeedsOtherLocks,
}

#[derive(Default)]
struct Registry {
    waiters: HashMap<ClientId, Arc<Waiter>>,
    by_key: HashMap<(DbIndex, Box<[u8]>), VecDeque<ClientId>>,
}

/// All waiting clients.
#[derive(Default)]
pub struct BlockedClients {
    registry: Mutex<Registry>,
}

impl BlockedClients {
    pub fn count(&self) -> usize {
        self.registry.lock().waiters.len()
    }

    /// Clients that do not wait for ever.
    pub fn timed_count(&self) -> usize {
        self.registry.lock().waiters.values().filter(|waiter| waiter.timeout.is_some()).count()
    }

    /// Number of keys that clients wait for.
    pub fn key_count(&self) -> usize {
        self.registry.lock().by_key.len()
    }

    pub fn is_blocked(&self, client: ClientId) -> bool {
        self.registry.lock().waiters.contains_key(&client)
    }

    /// Clients that wait for a key in one of certain slots, with the first such slot.
    pub fn waiting_in(&self, is_meant: &dyn Fn(Slot) -> bool) -> Vec<(ClientId, Slot)> {
        let registry = self.registry.lock();
        let slot = |waiter: &Waiter| waiter.keys.iter().map(|key| Slot::of_key(key)).find(|slot| is_meant(*slot));
        registry.waiters.iter().filter_map(|(id, waiter)| Some((*id, slot(waiter)?))).collect()
    }

    /// Registers a client under the locks of its keys, so that no change slips by.
    pub fn register(
        &self,
        view: &mut View<'_>,
        client: Arc<Client>,
        command: &'static Command,
        args: Arc<OwnedArgs>,
        db: DbIndex,
        request: BlockRequest,
    ) {
        let mut keys = request.keys;
        // A key that is named twice is waited for once.
        let mut seen = hashbrown::HashSet::new();
        keys.retain(|key| seen.insert(key.clone()));
        let stripes = stripes_of(keys.iter().chain(&request.other_keys));
        for key in &keys {
            view.add_waiter(db, &Key::new(key));
        }
        let id = client.id;
        client.info.is_blocked.store(true, Relaxed);
        let mut registry = self.registry.lock();
        for key in &keys {
            registry.by_key.entry((db, key.clone())).or_default().push_back(id);
        }
        let BlockRequest { timeout, timeout_reply, .. } = request;
        let waiter = Waiter { client, command, args, db, keys, stripes, timeout, timeout_reply };
        registry.waiters.insert(id, Arc::new(waiter));
    }

    /// Ends a client's wait for another reason than its keys. Returns whether it was still waiting.
    pub fn end(&self, server: &Server, client: ClientId, end: End) -> bool {
        let Some(waiter) = self.registry.lock().waiters.get(&client).cloned() else { return false };
        let mut view = server.keyspace.lock(waiter.stripes, server.now());
        // It may have been served before the locks were ours.
        self.is_waiting(&waiter) && self.end_in(&mut view, client, end)
    }

    /// Like [`BlockedClients::end`], under locks that contain those of the client's keys.
    pub fn end_in(&self, view: &mut View<'_>, client: ClientId, end: End) -> bool {
        let Some(waiter) = self.remove(view, client) else { return false };
        let mut reply = ReplyBuf::new(waiter.client.protocol());
        let mut result = Ok(());
        match end {
            End::Elsewhere(_) if waiter.client.is_forwarded() => {
                waiter.client.info.is_blocked.store(false, Relaxed);
                waiter.client.post(|inbox| inbox.keys_have_left = true);
                return true;
            }
            End::Timeout => (waiter.timeout_reply)(&mut reply),
            End::Answer(answer) => answer(&mut reply),
            End::Error(error) | End::Elsewhere(error) => {
                reply.error(&error);
                result = Err(error);
            }
            End::Disconnect => {}
        }
        Delivery { client: waiter.client.clone(), reply, result }.deliver();
        true
    }

    fn remove(&self, view: &mut View<'_>, client: ClientId) -> Option<Arc<Waiter>> {
        let mut registry = self.registry.lock();
        let waiter = registry.waiters.remove(&client)?;
        for key in &waiter.keys {
            view.remove_waiter(waiter.db, &Key::new(key));
            let name = (waiter.db, key.clone());
            if let Some(queue) = registry.by_key.get_mut(&name) {
                queue.retain(|id| *id != client);
                if queue.is_empty() {
                    registry.by_key.remove(&name);
                }
            }
        }
        Some(waiter)
    }

    /// The waiter in this place of a key's queue.
    fn waiter_at(&self, ready: &ReadyKey, place: usize) -> Option<Arc<Waiter>> {
        let registry = self.registry.lock();
        let queue = registry.by_key.get(&(ready.db, ready.key.clone()))?;
        queue.get(place).and_then(|id| registry.waiters.get(id)).cloned()
    }

    /// Whether this very wait goes on: its client may have been served, and may even wait again for something else.
    fn is_waiting(&self, waiter: &Arc<Waiter>) -> bool {
        self.registry.lock().waiters.get(&waiter.client.id).is_some_and(|current| Arc::ptr_eq(current, waiter))
    }

    /// Serves the waiters of the keys that `view` has changed, and of those that serving them changes in turn. Returns
    /// the keys whose waiters need stripes that `view` does not hold.
    #[must_use = "waiters in other stripes must be served too"]
    pub fn serve(&self, server: &Server, view: &mut View<'_>, outcome: &mut Outcome) -> Vec<ReadyKey> {
        let mut elsewhere = Vec::new();
        loop {
            let ready = view.take_ready();
            if ready.is_empty() {
                return elsewhere;
            }
            for key in ready {
                if self.serve_key(server, view, &key, outcome) == Served::NeedsOtherLocks && !elsewhere.contains(&key) {
                    elsewhere.push(key);
                }
            }
        }
    }

    fn serve_key(&self, server: &Server, view: &mut View<'_>, key: &ReadyKey, outcome: &mut Outcome) -> Served {
        let mut place = 0;
        while view.peek(key.db, &Key::new(&key.key)).is_some() {
            let Some(waiter) = self.waiter_at(key, place) else { break };
            if !waiter.stripes.is_subset_of(view.stripes()) {
                // Nobody overtakes it, so those behind it wait for those locks as well.
                return Served::NeedsOtherLocks;
            }
            place += usize::from(self.retry(server, view, &waiter, outcome) == Retried::StillWaits);
        }
        Served::AsFarAsPossible
    }

    /// Serves waiters under their own locks, after [`BlockedClients::serve`] and without holding any.
    pub fn serve_elsewhere(&self, server: &Server, ready: Vec<ReadyKey>, outcome: &mut Outcome) {
        let mut ready = VecDeque::from(ready);
        while let Some(key) = ready.pop_front() {
            let mut place = 0;
            while let Some(waiter) = self.waiter_at(&key, place) {
                let mut view = server.keyspace.lock(waiter.stripes, server.now());
                if !self.is_waiting(&waiter) {
                    continue;
                }
                if view.peek(key.db, &Key::new(&key.key)).is_none() {
                    break;
                }
                place += usize::from(self.retry(server, &mut view, &waiter, outcome) == Retried::StillWaits);
                ready.extend(self.serve(server, &mut view, outcome));
                outcome.note_news(server, &mut view);
            }
        }
    }

    /// Runs a waiter's command again; if it can be answered now, it is.
    fn retry(&self, server: &Server, view: &mut View<'_>, waiter: &Waiter, outcome: &mut Outcome) -> Retried {
        let Handler::Data(run) = waiter.command.spec.handler else { unreachable!("only data commands wait for keys") };
        let mut reply = ReplyBuf::new(waiter.client.protocol());
        let mut own = Outcome::default();
        let result = run(
            &mut Ctx {
                server,
                view,
                out: &mut reply,
                db: waiter.db,
                client: waiter.client.id,
                attempt: Attempt::Retry,
                outcome: &mut own,
            },
            waiter.args.as_args(),
        );
        outcome.announce_all_of(&mut own);
        if own.blocks() {
            return Retried::StillWaits;
        }
        if let Err(error) = &result {
            reply.clear();
            reply.error(error);
        }
        if let Some(waiter) = self.remove(view, waiter.client.id) {
            outcome.deliver(Delivery { client: waiter.client.clone(), reply, result });
        }
        Retried::Answered
    }
}

fn stripes_of<'a>(keys: impl IntoIterator<Item = &'a Box<[u8]>>) -> StripeSet {
    keys.into_iter().map(|key| StripeSet::of(Key::new(key).slot.stripe())).fold(StripeSet::EMPTY, StripeSet::union)
}
