//! The target's part: what the source's leader sends becomes batches of this node's group, which nobody sees until the
//! slots are its own.

use super::figures::count;
use super::ground::{Ground, Reigning};
use super::way::{Attempt, Header, Opening};
use super::{Hitch, mark_of};
use crate::durability::replicas::DB;
use basalt_cluster::group::Term;
use basalt_cluster::ids::MigrationId;
use basalt_cluster::map::{Migration, Phase};
use basalt_storage::effect::{Batch, Effect, Mark, Passage, decode};
use basalt_storage::seq::Seq;
use basalt_storage::slot::{Slot, SlotSet};
use parking_lot::Mutex;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// Bytes of batches that may be on their way into the group.
const UNAPPLIED_MAX: usize = 4 << 20;

/// How long the map of a migration that another node knows already may take to come here.
const MAP_PATIENCE: Duration = Duration::from_secs(2);
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// Which attempt each migration to this node is at, and in which term of the target it began. Whoever proposes
/// holds the lock, so that nothing of an attempt that was replaced comes later than what replaced it.
#[derive(Default)]
pub struct Arrivals(Mutex<Attempts>);

type Attempts = BTreeMap<MigrationId, (Attempt, Term)>;

impl Arrivals {
    /// Nothing more of it is taken in, not of this attempt nor of an earlier one.
    pub fn end(&self, id: MigrationId) {
        self.0.lock().remove(&id);
    }

    /// Proposes something about the slots of a migration of which nothing is taken in any more.
    pub fn propose_ended<R: Reigning>(&self, id: MigrationId, reign: &R, batch: Batch) -> Result<Seq, Hitch> {
        let attempts = self.0.lock();
        if attempts.contains_key(&id) { Err(Hitch::new("another copy is being made")) } else { reign.propose(batch) }
    }

    /// Proposes something about slots of a group that no migration brings there, if that is so: one that begins later
    /// comes later in the log.
    pub fn propose_unbound<G: Ground>(
        &self,
        ground: &G,
        reign: &G::Reign,
        slots: &SlotSet,
        batch: Batch,
    ) -> Result<Seq, Hitch> {
        let _attempts = self.0.lock();
        let map = ground.map().ok_or_else(|| Hitch::new("this node is starting"))?;
        let comes_here = |it: &&Migration| it.target == reign.group() && it.all_slots().any(|at| slots.contains(at));
        let is_bound = map.migrations_under_way().any(|migration| comes_here(&migration));
        if is_bound { Err(Hitch::new("other slots come there")) } else { reign.propose(batch) }
    }
}

/// Slots that are being taken in.
pub struct Arrival<G: Ground> {
    ground: G,
    reign: G::Reign,
    header: Header,
    migration: Migration,
    slots: SlotSet,
    unapplied: VecDeque<(Seq, usize)>,
    unapplied_bytes: usize,
}

impl<G: Ground> Arrival<G> {
    /// Makes room: marks the slots, and clears away what there is of them. Blocks.
    pub fn begin(ground: &G, header: Header) -> Result<Arrival<G>, Hitch> {
        let migration = await_record(ground, header)?;
        let reign = ground
            .reign(header.target)
            .ok_or_else(|| Hitch::new("this node does not lead the group that takes the slots in"))?;
        let slots = migration.all_slots().collect();
        let (unapplied, unapplied_bytes) = (VecDeque::new(), 0);
        let ground = ground.clone();
        let mut arrival = Arrival { ground, reign, header, migration, slots, unapplied, unapplied_bytes };
        if header.opening == Opening::GoesOn {
            // Known only in the reign in which it began.
            arrival.check_current()?;
            return Ok(arrival);
        }
        // Since the source has asked, another may have led this group, and have taken in what he was sent.
        arrival.ground.catch_up()?;
        {
            let mut attempts = arrival.ground.arrivals().0.lock();
            // As long as this is held, nobody ends it. It is known by now, so nobody waits.
            await_record(&arrival.ground, header)?;
            if arrival.has_begun() {
                return Err(Hitch::new("this copying has begun before"));
            }
            if attempts.get(&header.id).is_some_and(|known| known.0 > header.attempt) {
                return Err(Hitch::new("another copy is being made"));
            }
            attempts.insert(header.id, (header.attempt, arrival.reign.term()));
        }
        let mark = mark_of(&arrival.migration, Passage::Arriving);
        arrival.hand_in(|reign| reign.propose(vec![Effect::Mark(mark)]), 0)?;
        arrival.wait_for_all()?;
        arrival.ground.outwait_flushes();
        arrival.empty()?;
        Ok(arrival)
    }

    /// A batch of the slots.
    pub fn add(&mut self, batch: Vec<u8>) -> Result<(), Hitch> {
        self.check(&batch)?;
        let bytes = batch.len();
        count(&self.ground.figures().received_bytes, bytes);
        self.hand_in(|reign| reign.propose_written(batch), bytes)?;
        while self.unapplied_bytes > UNAPPLIED_MAX {
            self.wait_for_first()?;
        }
        Ok(())
    }

    /// The slots are empty again.
    pub fn empty(&mut self) -> Result<(), Hitch> {
        self.wait_for_all()?;
        self.reign.clear(self.migration.all_slots(), |reign, batch| {
            let attempts = self.ground.arrivals().0.lock();
            self.check_in(&attempts)?;
            reign.propose(batch)
        })
    }

    /// Waits until all is applied, and so on the disks of a majority.
    pub fn sync(&mut self) -> Result<(), Hitch> {
        self.wait_for_all()?;
        self.check_current()
    }

    /// Whether the group's log says that this copying, or a later one, has begun already: by another leader of the
    /// source under the same version, or here under another leader.
    fn has_begun(&self) -> bool {
        let is_own = |mark: &Mark| mark.passage == Passage::Arriving && mark.name == *self.header.id.as_bytes();
        let begun = self.header.attempt.begun.0;
        self.reign.marks().iter().any(|mark| is_own(mark) && mark.version >= begun)
    }

    fn check_current(&self) -> Result<(), Hitch> {
        self.check_in(&self.ground.arrivals().0.lock())
    }

    fn check_in(&self, attempts: &Attempts) -> Result<(), Hitch> {
        let is_in = attempts.get(&self.header.id) == Some(&(self.header.attempt, self.reign.term()));
        if is_in { Ok(()) } else { Err(Hitch::new("another copy is being made")) }
    }

    fn hand_in(&mut self, propose: impl FnOnce(&G::Reign) -> Result<Seq, Hitch>, bytes: usize) -> Result<(), Hitch> {
        let attempts = self.ground.arrivals().0.lock();
        self.check_in(&attempts)?;
        let seq = propose(&self.reign)?;
        drop(attempts);
        self.unapplied.push_back((seq, bytes));
        self.unapplied_bytes += bytes;
        Ok(())
    }

    fn wait_for_first(&mut self) -> Result<(), Hitch> {
        let Some((seq, bytes)) = self.unapplied.pop_front() else { return Ok(()) };
        self.unapplied_bytes -= bytes;
        self.reign.wait_applied(seq)
    }

    fn wait_for_all(&mut self) -> Result<(), Hitch> {
        self.unapplied_bytes = 0;
        match self.unapplied.drain(..).next_back() {
            Some((last, _)) => self.reign.wait_applied(last),
            None => Ok(()),
        }
    }

    /// Nothing but keys of these slots may get into the group's log: it would be the end of every replica.
    fn check(&self, batch: &[u8]) -> Result<(), Hitch> {
        let is_of = |key: &[u8]| self.slots.contains(Slot::of_key(key));
        let is_meant = |effect: &Effect| match effect {
            Effect::Key { db, key, .. } => *db == DB && is_of(key),
            Effect::Rename { from_db, from, to_db, to } => (*from_db, *to_db) == (DB, DB) && is_of(from) && is_of(to),
            _ => false,
        };
        let effects = decode(batch).map_err(Hitch::new)?;
        if effects.iter().all(is_meant) { Ok(()) } else { Err(Hitch::new("a batch with keys of other slots")) }
    }
}

/// Waits until this node knows that this copying has begun.
fn await_record(ground: &impl Ground, header: Header) -> Result<Migration, Hitch> {
    let deadline = ground.clock() + MAP_PATIENCE;
    loop {
        let map = ground.map().ok_or_else(|| Hitch::new("this node is starting"))?;
        if map.version() >= header.attempt.begun {
            let record = map.migrations().get(&header.id).filter(|record| {
                let is_copying = matches!(record.phase, Phase::Copying(_));
                is_copying && record.changed == header.attempt.begun && record.target == header.target
            });
            return record.cloned().ok_or_else(|| Hitch::new("this copying is over"));
        }
        if ground.clock() > deadline {
            return Err(Hitch::new("this node has not heard of it"));
        }
        ground.sleep(LOOK_AGAIN);
    }
}
