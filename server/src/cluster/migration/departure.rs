//! The source's part: copies slots while they are used, seals them, and asks for the commit.

use super::figures::count;
use super::ground::{Copying, Ground, Reigning};
use super::way::{Attempt, Header, Opening, Way};
use super::{Hitch, mark_of};
use crate::durability::tap::Tapped;
use basalt_cluster::ids::{MapVersion, MigrationId};
use basalt_cluster::map::{self, Change, ClusterMap, Migration, Phase};
use basalt_cluster::node::Decision;
use basalt_storage::effect::{Effect, Passage};
use basalt_storage::engine::EngineError;
use std::time::Duration;

/// Slots are sealed when a round has been as short as this and has brought no more.
const ROUND_TIME: Duration = Duration::from_millis(250);
const ROUND_BYTES: usize = 256 << 10;
const ROUNDS_MAX: usize = 200;

/// Slots are sealed for longer than this only if nobody knows whether they were given away.
const SEALED_MAX: Duration = Duration::from_secs(1);

/// What a departure needs of its node.
pub struct Departure<'a, G: Ground> {
    pub ground: &'a G,
    pub reign: G::Reign,
}

/// How an attempt has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The slots are the target's.
    Committed,
    /// There is nothing to copy any more: it was taken back, or another node goes on.
    Over,
}

impl<'a, G: Ground> Departure<'a, G> {
    /// Makes one attempt. After a hitch nothing is sealed, and another attempt may be made.
    pub fn attempt(&self, id: MigrationId) -> Result<Ended, Hitch> {
        let Some(migration) = self.begin(id)? else { return Ok(Ended::Over) };
        let attempt = Attempt { begun: migration.changed, term: self.reign.term() };
        let map = self.ground.map().ok_or_else(|| Hitch::new("this node is starting"))?;
        let to = map.members(migration.target).map(|members| members.leader.node);
        let to = to.ok_or_else(|| Hitch::new("the target is gone"))?;
        let header = Header { id, opening: Opening::Anew, attempt, target: migration.target };
        let way = Way::open(self.ground, to, header)?;
        let mut source = self.ground.listen(&self.reign, &migration)?;
        let way = self.copy(&migration, &mut source, way)?;
        self.give_away(&migration, &source, way)
    }

    /// The record as it stands when the copying begins.
    fn begin(&self, id: MigrationId) -> Result<Option<Migration>, Hitch> {
        if self.start_over(id)?.is_none() {
            return Ok(None);
        }
        self.report(id, map::Stage::Snapshot)?;
        Ok(self.record(id))
    }

    /// If the copying may have been begun before, by whomever, it begins anew: after that nobody else can ask for the
    /// commit, and the slots are evaluated again. None if there is nothing to copy.
    pub fn start_over(&self, id: MigrationId) -> Result<Option<()>, Hitch> {
        let is_sealed = self.reign.has_mark(Passage::Sealed, id.as_bytes());
        let Some(migration) = self.record(id) else { return Ok(None) };
        if is_sealed || migration.phase != Phase::Copying(map::Stage::Starting) {
            let restart = Change::RestartMigration { id, at: self.ground.now() };
            if self.decide(restart)?.is_none() {
                return Ok(None);
            }
        }
        self.unseal(id).map(Some)
    }

    /// The record, as long as there is something to copy.
    fn record(&self, id: MigrationId) -> Option<Migration> {
        copying(&*self.ground.map()?, id).cloned()
    }

    /// Whether this attempt is still the one that counts.
    fn check(&self, migration: &Migration) -> Result<(), Hitch> {
        let map = self.ground.map();
        let record = map.as_deref().and_then(|map| copying(map, migration.id));
        if record.is_none_or(|record| record.changed != migration.changed) {
            return Err(Hitch::new("it was taken back, or has begun anew"));
        }
        if self.reign.lasts() { Ok(()) } else { Err(Hitch::new("this node does not lead the group any more")) }
    }

    /// Sends what there is, and then what has come meanwhile, in rounds, until the target has applied nearly all of it.
    fn copy(&self, migration: &Migration, source: &mut G::Source, mut way: Way<'a, G>) -> Result<Way<'a, G>, Hitch> {
        let mut pace = Pace::limited(self.ground);
        source.copy(migration, |batch| {
            pace.spend(batch.len());
            self.check(migration)?;
            count(&self.ground.figures().sent_bytes, batch.len());
            way.send_batch(batch)
        })?;
        self.report(migration.id, map::Stage::Tail)?;
        for _ in 0..ROUNDS_MAX {
            let began = self.ground.clock();
            way = way.sync()?;
            self.check(migration)?;
            self.reign.hurry();
            let bytes = self.send_tail(source, &mut way, &mut pace)?;
            if self.ground.clock() - began < ROUND_TIME && bytes < ROUND_BYTES {
                return Ok(way);
            }
        }
        Err(Hitch::new("the target is slower than those who write here"))
    }

    /// Sends what was applied since somebody looked; returns how much that was.
    fn send_tail(&self, source: &G::Source, way: &mut Way<'_, G>, pace: &mut Pace<'_, G>) -> Result<usize, Hitch> {
        let mut bytes = 0;
        while let Some(tapped) = source.next()? {
            match tapped {
                Tapped::Batch(batch) => {
                    bytes += batch.len();
                    pace.spend(batch.len());
                    count(&self.ground.figures().sent_bytes, batch.len());
                    way.send_batch(batch)?;
                }
                Tapped::Flushed => {
                    bytes += 1;
                    way.send_empty()?;
                }
            }
        }
        Ok(bytes)
    }

    /// Seals the slots, sends the rest, and asks for the commit.
    fn give_away(&self, migration: &Migration, source: &G::Source, mut way: Way<'_, G>) -> Result<Ended, Hitch> {
        let sealed = self.ground.clock();
        let sent = self.seal(migration).and_then(|()| {
            self.send_tail(source, &mut way, &mut Pace::unlimited(self.ground))?;
            way.finish(SEALED_MAX)?;
            self.check(migration)
        });
        if let Err(hitch) = sent {
            // Nobody has asked for the commit, so nobody will.
            self.unseal(migration.id)?;
            return Err(hitch);
        }
        let ended = self.commit(migration);
        let (took, figures) = (self.ground.clock() - sealed, self.ground.figures());
        figures.sealed.record(took);
        if ended == Ok(Ended::Committed) {
            count(&figures.departed, 1);
        }
        let sealed_ms = took.as_millis() as u64;
        tracing::info!(migration = %migration.id, sealed_ms, ?ended, "slots were given away, or not");
        ended
    }

    /// From when this returns on, nothing is evaluated in the slots, and the log says so.
    pub fn seal(&self, migration: &Migration) -> Result<(), Hitch> {
        self.ground.seal(migration);
        self.reign.carry_out(vec![Effect::Mark(mark_of(migration, Passage::Sealed))])
    }

    /// The slots are evaluated again, if they are still this group's.
    pub fn unseal(&self, id: MigrationId) -> Result<(), Hitch> {
        let result = self.reign.unmark(Passage::Sealed, id.as_bytes());
        self.ground.unseal(id);
        result
    }

    /// Asks for the commit until it is known what has become of it, and the nodes in reach know it. Until then requests
    /// for the slots wait.
    pub fn commit(&self, migration: &Migration) -> Result<Ended, Hitch> {
        self.ground.leaving(migration, || self.ask_for_commit(migration.id, migration.changed))
    }

    fn ask_for_commit(&self, id: MigrationId, seen: MapVersion) -> Result<Ended, Hitch> {
        loop {
            match self.ground.decide(Change::CommitMigration { id, seen, at: self.ground.now() }) {
                Decision::Made(_) => return Ok(Ended::Committed),
                // It was taken back, or has begun anew under another leader of this group: he decides about the seal.
                Decision::Refused(_) => return Ok(Ended::Over),
                Decision::Unknown if !self.reign.lasts() => return Ok(Ended::Over),
                Decision::Unknown => {
                    tracing::warn!(migration = %id, "the root group does not answer: slots stay sealed")
                }
            }
        }
    }

    fn report(&self, id: MigrationId, stage: map::Stage) -> Result<(), Hitch> {
        self.decide(Change::ReportStage { id, stage, at: self.ground.now() }).map(drop)
    }

    /// None if the root group refuses.
    fn decide(&self, change: Change) -> Result<Option<()>, Hitch> {
        match self.ground.decide(change) {
            Decision::Made(_) => Ok(Some(())),
            Decision::Refused(why) => {
                tracing::debug!(%why, "a step of a migration was refused");
                Ok(None)
            }
            Decision::Unknown => Err(Hitch::new("the root group has no quorum")),
        }
    }
}

/// The record of a migration of which there is something to copy.
fn copying(map: &ClusterMap, id: MigrationId) -> Option<&Migration> {
    map.migrations().get(&id).filter(|record| matches!(record.phase, Phase::Copying(_)))
}

impl From<EngineError> for Hitch {
    fn from(error: EngineError) -> Hitch {
        Hitch::new(error)
    }
}

/// Keeps to `cluster-migration-max-bytes-per-second`.
struct Pace<'a, G> {
    ground: &'a G,
    kind: PaceKind,
    began: Duration,
    bytes: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum PaceKind {
    Limited,
    Unlimited,
}

/// A pace is kept over times of this length.
const PACE_WINDOW: Duration = Duration::from_secs(1);

impl<'a, G: Ground> Pace<'a, G> {
    fn limited(ground: &'a G) -> Pace<'a, G> {
        Pace { ground, kind: PaceKind::Limited, began: ground.clock(), bytes: 0 }
    }

    fn unlimited(ground: &'a G) -> Pace<'a, G> {
        Pace { ground, kind: PaceKind::Unlimited, began: ground.clock(), bytes: 0 }
    }

    /// Waits until so much more may be sent.
    fn spend(&mut self, bytes: usize) {
        let map = if self.kind == PaceKind::Limited { self.ground.map() } else { None };
        let limit = map.map_or(0, |map| map.settings().migration_max_bytes_per_second);
        if limit == 0 {
            return;
        }
        let now = self.ground.clock();
        if now - self.began > PACE_WINDOW {
            (self.began, self.bytes) = (now, 0);
        }
        self.bytes += bytes as u64;
        let earliest = self.began + Duration::from_secs_f64(self.bytes as f64 / limit as f64);
        self.ground.sleep(earliest.saturating_sub(now));
    }
}
