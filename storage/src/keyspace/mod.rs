//! The keyspace: all entries of one group on one node, in memory.
//!
//! Owns one table per slot and database, and one lock per stripe of slots. Everything that reads or changes entries
//! goes through a [`View`], which holds the locks of the stripes it was opened with; the methods of the view and of the
//! [`Handle`]s it gives out are the only ways to change anything, and each records its [`crate::effect::Effect`] when
//! somebody listens.
//!
//! Invariants: a collection is never empty; an entry is marked in its table if and only if it has an expiry; counts
//! equal the tables; locks are taken in ascending stripe order; no lock is held across an `await`.
//!
//! | file | owns |
//! |---|---|
//! | `view` | locking, lookup with lazy expiry, recording |
//! | `handle` | a collection to change in place |
//! | `strings`, `lists`, `sets`, `hashes`, `zsets` | the changes each type knows |
//! | `generic` | changes of whole keys and databases |
//! | `walk` | looking at many keys |
//! | `apply` | effects back into changes |
//! | `footprint` | how much memory keys and tables take |
//! | `sampling` | drawing entries at random, evicting |
//! | `expiry` | the sweep for entries that are due |
//! | `interest` | watches and waiters |
//! | `news` | what is told of keys besides effects |
//! | `pending`, `high_water` | what is evaluated and not applied yet, and which batch an output depends on |
//! | `residency` | cold entries: loading from the engine, and dropping resident copies |
//! | `excerpt` | a keyspace beside the node's, for one evaluation that only reads |
//! | `handover` | slots that this node stops to hold, or takes in from where they were hidden |
//! | `follow` | slots as batches that build them elsewhere, with what changes in them meanwhile |
//! | `outlines` | large values of which memory knows the outline only: reading parts, completing |
//! | `dump` | all entries as they were at one point in time |
//! | `database`, `slots` | tables and counts of one stripe |

mod apply;
mod database;
pub mod dump;
mod excerpt;
mod expiry;
pub mod follow;
mod footprint;
mod generic;
mod handle;
mod handover;
mod hashes;
pub mod high_water;
mod interest;
mod key;
mod lists;
mod news;
mod outlines;
mod pending;
mod prefetch;
mod residency;
mod sampling;
mod sets;
mod settings;
mod sizes;
mod slots;
mod strings;
mod view;
mod walk;
mod zsets;

pub use excerpt::{Excerpt, Filled};
pub use expiry::Swept;
pub use handle::{Collection, Handle};
pub use interest::WatchFlag;
pub use key::{HashedKey, Key};
pub use news::{Happened, KeyNews};
pub use outlines::{Belongs, Need, Partial, PartialStr, Remote, Scanned, Whereabouts, page_of};
pub use prefetch::Upcoming;
pub use residency::{ColdCount, ColdStore, Loading, ResidencyStats, Stored, Unreadable};
pub use sampling::Fate;
pub use settings::{AccessPolicy, Settings};
pub use sizes::Distribution;
pub(crate) use sizes::Sizes;
pub use slots::Slots;
pub use strings::{NewExpiry, StrRef};
pub use view::{ReadyKey, View, WrongType, with_rng};
pub use walk::{Drawn, Met, Place};

use crate::clock::UnixMs;
use crate::effect::{Batch, DbIndex};
use crate::reaper::Reaper;
use crate::seq::{Seq, SeqMark};
use crate::slot::{STRIPE_COUNT, StripeIndex, StripeSet};
use database::{Counts, Database};
use interest::Interests;
use news::Demand;
use parking_lot::Mutex;
use pending::Pending;
use residency::Cold;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

/// What one stripe's lock guards.
pub(crate) struct Stripe {
    databases: Box<[Option<Box<Database>>]>,
    interests: Interests,
    /// While batches are recorded.
    pending: Option<Box<Pending>>,
}

/// Counters that INFO shows; written when a view closes.
#[derive(Default)]
pub struct Stats {
    pub hits: AtomicU64,
    pub misses: AtomicU64,
    pub expired: AtomicU64,
    pub evicted: AtomicU64,
    /// Changes since the start; INFO's `rdb_changes_since_last_save` is a difference of two of its readings.
    pub changes: AtomicU64,
}

/// Where recorded batches go: called while the stripe locks are still held, so that log order is evaluation order.
pub trait BatchSink: Send + Sync {
    /// Takes a batch, and says which place in the order it has. Never waits.
    fn propose(&self, batch: Batch) -> Seq;
}

/// All entries of one group on this node.
pub struct Keyspace {
    stripes: Box<[Mutex<Stripe>]>,
    counts: Box<[Box<[Counts]>]>,
    databases: u16,
    demand: Demand,
    sink: OnceLock<Arc<dyn BatchSink>>,
    /// The last batch that was proposed, and the last that the engine has applied.
    proposed: SeqMark,
    applied: SeqMark,
    cold: Cold,
    reaper: Reaper,
    pub settings: Arc<Settings>,
    pub stats: Stats,
}

impl Keyspace {
    pub fn new(databases: u16) -> Keyspace {
        Keyspace::with_reaper(databases, Reaper::start())
    }

    fn with_reaper(databases: u16, reaper: Reaper) -> Keyspace {
        assert!(databases > 0, "a keyspace has at least one database");
        let stripe = || Stripe {
            databases: (0..databases).map(|_| None).collect(),
            interests: Interests::default(),
            pending: None,
        };
        let counts = || (0..databases).map(|_| Counts::default()).collect();
        Keyspace {
            stripes: (0..STRIPE_COUNT).map(|_| Mutex::new(stripe())).collect(),
            counts: (0..STRIPE_COUNT).map(|_| counts()).collect(),
            databases,
            demand: Demand::default(),
            sink: OnceLock::new(),
            proposed: SeqMark::default(),
            applied: SeqMark::default(),
            cold: Cold::new(databases),
            reaper,
            settings: Arc::default(),
            stats: Stats::default(),
        }
    }

    /// An empty keyspace whose entries come to be as they would in this one, for such as are to be taken in later.
    pub fn beside(&self) -> Keyspace {
        let fresh = Keyspace::with_reaper(self.databases, self.reaper.clone());
        Keyspace { settings: self.settings.clone(), ..fresh }
    }

    pub fn databases(&self) -> u16 {
        self.databases
    }

    /// The database with this number, if there is one.
    pub fn database(&self, number: i64) -> Option<DbIndex> {
        (0..i64::from(self.databases)).contains(&number).then_some(DbIndex(number as u16))
    }

    /// Locks stripes, in ascending order, for one evaluation at the time `now`.
    #[inline]
    pub fn lock(&self, stripes: StripeSet, now: UnixMs) -> View<'_> {
        View::open(self, stripes, now)
    }

    /// Number of keys, without a lock: exact once the writers of this moment are done.
    pub fn key_count(&self, db: DbIndex) -> u64 {
        self.sum(db, |counts| &counts.entries)
    }

    /// Number of keys with an expiry, without a lock.
    pub fn volatile_count(&self, db: DbIndex) -> u64 {
        self.sum(db, |counts| &counts.volatile)
    }

    /// Number of keys of one stripe, without its lock.
    pub fn stripe_key_count(&self, db: DbIndex, stripe: StripeIndex) -> u64 {
        self.counts[stripe.number()][db.0 as usize].entries.load(Ordering::Relaxed)
    }

    /// Number of keys with an expiry of one stripe, without its lock.
    pub fn stripe_volatile_count(&self, db: DbIndex, stripe: StripeIndex) -> u64 {
        self.counts[stripe.number()][db.0 as usize].volatile.load(Ordering::Relaxed)
    }

    fn sum(&self, db: DbIndex, count: impl Fn(&Counts) -> &AtomicU64) -> u64 {
        self.counts.iter().map(|stripe| count(&stripe[db.0 as usize]).load(Ordering::Relaxed)).sum()
    }

    /// From now on every view records, and its batches go to `sink`. Views that are open already do not take part.
    ///
    /// # Panics
    /// If batches go somewhere already.
    pub fn record_to(&self, sink: Arc<dyn BatchSink>) {
        assert!(self.sink.set(sink).is_ok(), "batches go to one place");
        for stripe in &self.stripes {
            stripe.lock().pending = Some(Box::default());
        }
        self.demand.ask_for_effects();
    }

    /// Batches go to `sink` while they are asked for ([`Keyspace::start_recording`]). If it gives them a place in an
    /// order, [`Keyspace::await_batches`] has to be called before.
    ///
    /// # Panics
    /// If batches go somewhere already.
    pub fn offer_to(&self, sink: Arc<dyn BatchSink>) {
        assert!(self.sink.set(sink).is_ok(), "batches go to one place");
    }

    /// From now on it is known of each slot which batch has changed it last, should the sink give batches a place in an
    /// order. To be said before [`Keyspace::start_recording`].
    pub fn await_batches(&self) {
        for stripe in &self.stripes {
            stripe.lock().pending.get_or_insert_default();
        }
    }

    /// Every view that is opened from now on records. Whoever locks a stripe afterwards knows that all later ones do.
    pub fn start_recording(&self) {
        assert!(self.sink.get().is_some(), "what is recorded goes somewhere");
        self.demand.ask_for_effects();
    }

    /// Views that are opened from now on record no more. Only for who has started it, and not what goes to a log.
    pub fn stop_recording(&self) {
        self.demand.end_effects();
    }

    /// From now on every view tells these of its keys, and that keys expired, which is always told.
    pub fn tell(&self, wanted: &[Happened]) {
        self.demand.ask_for_news(wanted);
    }

    /// The last batch that was proposed: what has seen everything depends on it.
    pub fn proposed(&self) -> Seq {
        self.proposed.load()
    }

    /// What this thread answers next depends on all batches so far.
    pub fn see_all(&self) {
        high_water::raise(self.proposed());
    }

    /// The engine has applied all batches up to this one.
    pub fn note_applied(&self, seq: Seq) {
        self.applied.advance(seq);
    }

    /// Frees on its own thread what takes long to free.
    pub fn reaper(&self) -> &Reaper {
        &self.reaper
    }
}
