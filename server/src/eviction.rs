//! Makes room when memory exceeds `maxmemory`: the shell around the choice in `basalt_storage::eviction`.
//!
//! A command that finds too little room evicts keys before it runs, but only for as long as
//! `maxmemory-eviction-tenacity` allows; what is left to do then happens in the background, in slices, and the command
//! runs. Memory that the reaper is about to free counts as free, or freeing one big value would cost many small ones;
//! so does that of clients which are about to be closed.

use crate::commands::ctx::{Announcement, Outcome};
use crate::notify::{EventClass, KeyEvent};
use crate::server::Server;
use basalt_storage::effect::DbIndex;
use basalt_storage::eviction::{self, Candidate, Policy, Pool, Rank, Scope};
use basalt_storage::keyspace::{Fate, with_rng};
use basalt_storage::slot::{Slot, StripeSet};
use parking_lot::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// Evictions between two looks at the clock.
const LOOKS_EVERY: usize = 16;
/// Longest time in the background without letting others have the thread.
const SLICE: Duration = Duration::from_micros(500);
/// Draws that yield nothing better than what was used meanwhile, before the policy counts as out of keys.
const FRUITLESS_MAX: usize = 100;

/// State and statistics of eviction.
#[derive(Default)]
pub struct Eviction {
    chooser: Mutex<Chooser>,
    wake: Notify,
    /// Microseconds after the start at which memory came to exceed the limit; zero while it does not.
    exceeded_since_us: AtomicU64,
    exceeded_us: AtomicU64,
}

#[derive(Default)]
struct Chooser {
    pool: Pool,
    /// The database from which random eviction takes next.
    next_db: u16,
}

/// What eviction came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// Memory is below the limit.
    Enough,
    /// It is not yet, but will be: commands may run.
    Soon,
    /// There is nothing to evict.
    None,
}

impl Eviction {
    /// Microseconds for which memory has exceeded the limit, until now (INFO's `current_eviction_exceeded_time`, in ms
    /// there).
    pub fn current_exceeded_us(&self, server: &Server) -> u64 {
        // Nobody may have wanted room since there is enough again, or no limit any more.
        if excess(server) == 0 {
            self.note_fits(server);
        }
        self.exceeded_for_us(server)
    }

    fn exceeded_for_us(&self, server: &Server) -> u64 {
        match self.exceeded_since_us.load(Relaxed) {
            0 => 0,
            since => (server.uptime().as_micros() as u64).saturating_sub(since),
        }
    }

    /// The same over the life of the server (`total_eviction_exceeded_time`).
    pub fn total_exceeded_us(&self, server: &Server) -> u64 {
        // The present first, which may have just come to its end.
        let current = self.current_exceeded_us(server);
        self.exceeded_us.load(Relaxed) + current
    }

    pub fn reset(&self) {
        self.exceeded_us.store(0, Relaxed);
        self.exceeded_since_us.store(0, Relaxed);
    }

    /// Lets eviction in the background make room as soon as it can.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    fn note_exceeded(&self, server: &Server) {
        let now = (server.uptime().as_micros() as u64).max(1);
        let _ = self.exceeded_since_us.compare_exchange(0, now, Relaxed, Relaxed);
    }

    #[inline]
    fn note_fits(&self, server: &Server) {
        if self.exceeded_since_us.load(Relaxed) != 0 {
            let elapsed = self.exceeded_for_us(server);
            self.exceeded_since_us.store(0, Relaxed);
            self.exceeded_us.fetch_add(elapsed, Relaxed);
        }
    }
}

/// Bytes in use beyond `maxmemory`.
pub fn excess(server: &Server) -> u64 {
    let limit = server.memory_limit();
    if limit == 0 {
        return 0;
    }
    let leaving = server.keyspace.reaper().pending_bytes() + server.client_limits.condemned_bytes();
    crate::memory::used().saturating_sub(leaving).saturating_sub(limit)
}

/// Tries to bring used memory below the limit; returns whether commands that need memory may run.
#[inline]
pub fn make_room(server: &Server) -> bool {
    if excess(server) == 0 {
        server.eviction.note_fits(server);
        return true;
    }
    // Durable mode only drops copies; where there are none that may go, they will when their batches are applied.
    make_room_now(server) != Room::None || server.durability().is_some()
}

#[cold]
fn make_room_now(server: &Server) -> Room {
    // The data set stands still while clients are paused, and is not complete while a dump is loaded.
    if server.pause.is_on(server) || server.persistence.loading.is_active() {
        return Room::Enough;
    }
    server.eviction.note_exceeded(server);
    let room = evict_for(server, time_limit(server.config.hot.maxmemory_eviction_tenacity.load(Relaxed)));
    match room {
        Room::Enough => server.eviction.note_fits(server),
        Room::Soon => server.eviction.wake(),
        Room::None => {}
    }
    room
}

/// How long one command may evict (`maxmemory-eviction-tenacity`, 0 to 100): half a millisecond by default, a few
/// minutes at 99, without end at 100.
fn time_limit(tenacity: i64) -> Option<Duration> {
    match tenacity {
        ..=10 => Some(Duration::from_micros(50 * tenacity.max(0) as u64)),
        11..=99 => Some(Duration::from_micros((500.0 * 1.15f64.powi(tenacity as i32 - 10)) as u64)),
        100.. => None,
    }
}

/// What goes first; `None` if nothing may. In durable mode any copy may go, so of the policy only the order counts.
fn policy(server: &Server) -> Option<Policy> {
    let named = Policy::named(&server.config.hot.maxmemory_policy.lock());
    if server.durability().is_none() {
        return named;
    }
    let rank = match named.map(|policy| policy.rank) {
        None | Some(Rank::ShortestLife) => Rank::LeastRecent,
        Some(rank) => rank,
    };
    Some(Policy { scope: Scope::All, rank })
}

/// Evicts until memory is below the limit, time is over, or nothing is left.
fn evict_for(server: &Server, time: Option<Duration>) -> Room {
    let started = Instant::now();
    let room = match policy(server) {
        None => Room::None,
        Some(policy) => {
            let mut chooser = server.eviction.chooser.lock();
            let mut evicted = 0;
            loop {
                if excess(server) == 0 {
                    break Room::Enough;
                }
                if evicted % LOOKS_EVERY == LOOKS_EVERY - 1 && time.is_some_and(|time| started.elapsed() >= time) {
                    break Room::Soon;
                }
                if !chooser.evict_one(server, policy) {
                    break Room::None;
                }
                evicted += 1;
            }
        }
    };
    server.latency.note(server, "eviction-cycle", started.elapsed());
    // What a flush has handed to the reaper makes room without any eviction.
    if room == Room::None && server.keyspace.reaper().pending() > 0 { Room::Soon } else { room }
}

/// Evicts this many keys, whatever is in use; returns how many there were.
pub fn evict_some(server: &Server, policy: Policy, count: usize) -> usize {
    let mut chooser = server.eviction.chooser.lock();
    (0..count).take_while(|_| chooser.evict_one(server, policy)).count()
}

/// Goes on where commands have run out of time.
pub async fn evict_in_background(server: std::sync::Arc<Server>) {
    loop {
        server.eviction.wake.notified().await;
        while server.has_memory_limit() && !server.pause.is_on(&server) {
            if evict_for(&server, Some(SLICE)) != Room::Soon {
                break;
            }
            tokio::task::yield_now().await;
        }
        if excess(&server) == 0 {
            server.eviction.note_fits(&server);
        }
    }
}

impl Chooser {
    /// Evicts one key; `false` if there is none that may go.
    fn evict_one(&mut self, server: &Server, policy: Policy) -> bool {
        for _ in 0..FRUITLESS_MAX {
            let candidate = match policy.rank {
                Rank::Random => self.draw_random(server, policy),
                _ => self.draw_best(server, policy),
            };
            let Some(candidate) = candidate else { return false };
            if evict(server, &candidate, policy) == Fate::Evicted {
                return true;
            }
        }
        false
    }

    /// One key at random, from each database in turn.
    fn draw_random(&mut self, server: &Server, policy: Policy) -> Option<Candidate> {
        let databases = server.keyspace.databases();
        for _ in 0..databases {
            let db = DbIndex(self.next_db % databases);
            self.next_db = (self.next_db + 1) % databases;
            let mut drawn = None;
            draw(server, db, policy, 1, |score, key| drawn = Some(Candidate { score, db, key: key.into() }));
            if drawn.is_some() {
                return drawn;
            }
        }
        None
    }

    /// The best of the pool, after a few keys of each database were offered to it.
    fn draw_best(&mut self, server: &Server, policy: Policy) -> Option<Candidate> {
        self.pool.rank_by(policy.rank);
        let samples = server.config.hot.maxmemory_samples.load(Relaxed).max(1);
        for number in 0..server.keyspace.databases() {
            let db = DbIndex(number);
            draw(server, db, policy, samples, |score, key| self.pool.offer(score, db, key));
        }
        self.pool.take_best()
    }
}

/// Draws keys of one database, with their scores.
fn draw(server: &Server, db: DbIndex, policy: Policy, count: usize, mut visit: impl FnMut(u64, &[u8])) {
    with_rng(|rng| {
        let Some(stripe) = server.keyspace.draw_stripe(db, policy.scope, rng) else { return };
        let view = server.keyspace.lock(StripeSet::of(stripe), server.now());
        let (settings, now) = (&server.keyspace.settings, view.now());
        view.draw_entries(db, stripe, policy.scope, count, rng, |entry| {
            visit(eviction::score(policy.rank, entry, settings, now), entry.key());
        });
    });
}

fn evict(server: &Server, candidate: &Candidate, policy: Policy) -> Fate {
    let started = Instant::now();
    let stripe = Slot::of_key(&candidate.key).stripe();
    let mut outcome = Outcome::default();
    let mut view = server.keyspace.lock(StripeSet::of(stripe), server.now());
    if let Some(durability) = server.durability() {
        let fate = view.cool(candidate, policy);
        if fate == Fate::Spared {
            // The engine may not have it yet, because it takes many batches at once as long as nobody is in need.
            durability.groups.hurry();
        }
        return fate;
    }
    let fate = view.evict(candidate, policy);
    let has_expired = view.has_key_news();
    if fate == Fate::Evicted && !has_expired && server.notify.wants(EventClass::Evicted) {
        let (db, key) = (candidate.db, candidate.key.clone());
        outcome.announce(Announcement::Key(KeyEvent { class: EventClass::Evicted, event: "evicted", db, key }));
    }
    outcome.settle(server, &mut view);
    drop(view);
    outcome.release(server);
    server.latency.note(server, "eviction-del", started.elapsed());
    fate
}
