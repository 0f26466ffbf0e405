//! Requests for slots of which nobody knows at the moment who serves them.
//!
//! A leader is elected within a second or so, and a hand-over takes milliseconds: clients are better served by waiting
//! than by an error that many of them do not expect. A client that waits is woken by mail when any slot's state has
//! changed, or when its time is over, and its request is looked at anew.
//!
//! Bound: a connection holds back one request at most, so there are no more than `maxclients`.

use super::slots::{SlotStates, StatesEpoch};
use crate::client::{Client, ClientId};
use hashbrown::HashMap;
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a request is held back: two election timeouts.
pub const HOLD_MAX: Duration = Duration::from_secs(2);

struct HeldClient {
    client: Arc<Client>,
    until: Instant,
}

/// All clients whose request is held back.
#[derive(Default)]
pub struct Holds {
    clients: Mutex<HashMap<ClientId, HeldClient>>,
}

impl Holds {
    /// Notes a client whose request was decided about in `epoch`. It gets mail once.
    pub fn add(&self, states: &SlotStates, epoch: StatesEpoch, client: &Arc<Client>, until: Instant) {
        let mut clients = self.clients.lock();
        clients.insert(client.id, HeldClient { client: client.clone(), until });
        // Looked at behind the lock that `wake_all` takes after a change, so that no change slips by.
        if states.epoch() != epoch {
            clients.remove(&client.id);
            wake(client);
        }
    }

    /// Wakes a client, if it waits.
    pub fn wake(&self, client: &Client) {
        if let Some(held) = self.clients.lock().remove(&client.id) {
            wake(&held.client);
        }
    }

    /// Something has changed.
    pub fn wake_all(&self) {
        for (_, held) in std::mem::take(&mut *self.clients.lock()) {
            wake(&held.client);
        }
    }

    /// Wakes those who have waited long enough; called regularly.
    pub fn wake_due(&self, now: Instant) {
        self.clients.lock().retain(|_, held| {
            let is_due = held.until <= now;
            if is_due {
                wake(&held.client);
            }
            !is_due
        });
    }

    pub fn count(&self) -> usize {
        self.clients.lock().len()
    }
}

fn wake(client: &Client) {
    client.post(|inbox| inbox.loaded = Some(Ok(())));
}
