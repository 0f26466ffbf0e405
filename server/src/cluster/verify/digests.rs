//! A replica's part in a check: a snapshot when it is applied, and a digest of that when the leader asks for it.

use super::wire::{Found, Outcome};
use crate::server::Server;
use basalt_cluster::ids::{GroupId, ReplicaId};
use basalt_storage::effect::Check;
use basalt_storage::engine::Engine;
use parking_lot::{Condvar, Mutex};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Weak, mpsc};
use std::thread::Builder;
use std::time::{Duration, Instant};

/// A check that nobody asks about for so long is dropped: its leader has gone, or it was applied before and comes from
/// the log again.
const UNASKED_MAX: Duration = Duration::from_secs(30);

/// How long a thread sleeps at once, so that it soon hears that it is not wanted any more.
const NAP: Duration = Duration::from_millis(200);

/// The checks of all replicas of this node.
pub struct Digests {
    server: Weak<Server>,
    /// The newest of each group.
    newest: Mutex<BTreeMap<GroupId, Arc<Running>>>,
    /// Until when what was read takes, at the pace that is allowed.
    paid_until: Mutex<Instant>,
    read_bytes: AtomicU64,
}

/// A check of a replica.
struct Running {
    replica: ReplicaId,
    check: Check,
    state: Mutex<State>,
    asked: Condvar,
}

struct State {
    outcome: Outcome,
    last_asked: Instant,
    is_wanted: bool,
    /// Another one has come, or the replica has gone.
    is_over: bool,
}

impl Running {
    fn end(&self) {
        self.state.lock().is_over = true;
        self.asked.notify_one();
    }

    /// Waits until the leader asks; returns whether it does.
    fn wait_until_wanted(&self) -> bool {
        let mut state = self.state.lock();
        let deadline = Instant::now() + UNASKED_MAX;
        while !state.is_wanted && !state.is_over && Instant::now() < deadline {
            self.asked.wait_until(&mut state, deadline);
        }
        state.is_wanted && !state.is_over
    }

    fn is_wanted(&self) -> bool {
        let state = self.state.lock();
        !state.is_over && state.last_asked.elapsed() < UNASKED_MAX
    }
}

impl Digests {
    pub fn new(server: Weak<Server>) -> Arc<Digests> {
        Arc::new(Digests {
            server,
            newest: Mutex::default(),
            paid_until: Mutex::new(Instant::now()),
            read_bytes: AtomicU64::new(0),
        })
    }

    /// Bytes that were read for checks since the start.
    pub fn read_bytes(&self) -> u64 {
        self.read_bytes.load(Relaxed)
    }

    /// A replica has just applied a check, and applies nothing else before this returns: that is, when there is a
    /// snapshot of its engine.
    pub fn begin(self: &Arc<Digests>, group: GroupId, replica: ReplicaId, engine: Arc<Engine>, check: Check) {
        let state = State { outcome: Outcome::Pending, last_asked: Instant::now(), is_wanted: false, is_over: false };
        let running = Arc::new(Running { replica, check, state: Mutex::new(state), asked: Condvar::new() });
        if let Some(former) = self.newest.lock().insert(group, running.clone()) {
            former.end();
        }
        let (taken, is_taken) = mpsc::sync_channel(1);
        let digests = self.clone();
        let run = move || {
            // Here, since a snapshot cannot go to another thread without what it is of.
            let snapshot = engine.snapshot();
            // The apply thread waits for nothing else.
            let _ = taken.send(());
            if !running.wait_until_wanted() {
                return digests.drop_check(group, &running);
            }
            give_way();
            let slots = running.check.slots.clone();
            let outcome = match snapshot.digest(slots, |bytes| digests.pace(&running, bytes)) {
                Ok(Some(digest)) => Outcome::Found(Found { applied: snapshot.applied(), digest }),
                Ok(None) => return digests.drop_check(group, &running),
                Err(error) => {
                    tracing::error!(%group, %error, "a replica cannot be compared with the others");
                    Outcome::Failed(error.to_string())
                }
            };
            running.state.lock().outcome = outcome;
        };
        match Builder::new().name("cluster-digest".into()).spawn(run) {
            // If the thread panics, the process ends.
            Ok(_) => drop(is_taken.recv()),
            Err(error) => {
                tracing::error!(%error, "the system refused a thread");
                self.newest.lock().remove(&group);
            }
        }
    }

    /// How far a replica is with a check.
    pub fn outcome(&self, group: GroupId, replica: ReplicaId, check: &Check) -> Outcome {
        let newest = self.newest.lock().get(&group).cloned();
        let Some(running) = newest.filter(|it| it.check == *check && it.replica == replica) else {
            return Outcome::Unknown;
        };
        let mut state = running.state.lock();
        state.last_asked = Instant::now();
        state.is_wanted = true;
        running.asked.notify_one();
        state.outcome.clone()
    }

    /// The replica has left this node.
    pub fn forget(&self, group: GroupId) {
        if let Some(running) = self.newest.lock().remove(&group) {
            running.end();
        }
    }

    fn drop_check(&self, group: GroupId, running: &Arc<Running>) {
        let mut newest = self.newest.lock();
        if newest.get(&group).is_some_and(|it| Arc::ptr_eq(it, running)) {
            newest.remove(&group);
        }
    }

    /// So much was read: waits as long as that takes at the pace that is allowed, for all checks of the node together.
    fn pace(&self, running: &Running, bytes: u64) -> ControlFlow<()> {
        self.read_bytes.fetch_add(bytes, Relaxed);
        let Some(rate) = self.server.upgrade().map(|server| rate(&server)) else { return ControlFlow::Break(()) };
        let takes = if rate == 0 { Duration::ZERO } else { Duration::from_secs_f64(bytes as f64 / rate as f64) };
        let until = {
            let mut paid_until = self.paid_until.lock();
            *paid_until = (*paid_until).max(Instant::now()) + takes;
            *paid_until
        };
        loop {
            if !running.is_wanted() {
                return ControlFlow::Break(());
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return ControlFlow::Continue(());
            }
            std::thread::sleep(left.min(NAP));
        }
    }
}

/// From now on this thread gets what others leave of the processors.
#[cfg(target_os = "linux")]
fn give_way() {
    const NICE: libc::c_int = 15;
    // SAFETY: it takes numbers, and changes nothing but when the calling thread (0) runs. If it is refused, the pace
    // is all that holds this thread back.
    unsafe {
        libc::setpriority(libc::PRIO_PROCESS, 0, NICE);
    }
}

/// Elsewhere a thread has no such thing for itself.
#[cfg(not(target_os = "linux"))]
fn give_way() {}

fn rate(server: &Server) -> u64 {
    u64::try_from(server.config.int("cluster-verify-max-bytes-per-second")).unwrap_or(0)
}
