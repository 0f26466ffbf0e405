//! The source's part: copies slots while they are used, seals them, and asks for the commit.

use super::figures::count;
use super::reign::Reign;
use super::source::Source;
use super::way::{Attempt, Header, Opening, Way};
use super::{Hitch, mark_of};
use crate::cluster::stage::Stage;
use crate::durability::tap::Tapped;
use crate::server::Server;
use basalt_cluster::ids::MigrationId;
use basalt_cluster::map::{self, Change, ClusterMap, Migration, Phase};
use basalt_cluster::node::{Decision, Node};
use basalt_storage::effect::{Effect, Passage};
use basalt_storage::engine::EngineError;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Slots are sealed when a round has been as short as this and has brought no more.
const ROUND_TIME: Duration = Duration::from_millis(250);
const ROUND_BYTES: usize = 256 << 10;
const ROUNDS_MAX: usize = 200;

/// Slots are sealed for longer than this only if nobody knows whether they were given away.
const SEALED_MAX: Duration = Duration::from_secs(1);

/// What a departure needs of its node.
pub struct Departure<'a> {
    pub server: &'a Server,
    pub stage: &'a Arc<Stage>,
    pub node: &'a Node,
    pub reign: Reign,
}

/// How an attempt has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The slots are the target's.
    Committed,
    /// There is nothing to copy any more: it was taken back, or another node goes on.
    Over,
}

impl Departure<'_> {
    /// Makes one attempt. After a hitch nothing is sealed, and another attempt may be made.
    pub fn attempt(&self, id: MigrationId) -> Result<Ended, Hitch> {
        let Some(migration) = self.begin(id)? else { return Ok(Ended::Over) };
        let attempt = Attempt { begun: migration.changed, term: self.reign.term };
        let map = self.stage.map().ok_or_else(|| Hitch::new("this node is starting"))?;
        let to = map.members(migration.target).map(|members| members.leader.node);
        let to = to.ok_or_else(|| Hitch::new("the target is gone"))?;
        let header = Header { id, opening: Opening::Anew, attempt, target: migration.target };
        let way = Way::open(self.stage, self.node, to, header)?;
        let mut source = Source::listen(&self.reign.replica, &migration);
        let way = self.copy(&migration, &mut source, way)?;
        self.give_away(&migration, &source, way)
    }

    /// The record as it stands when the copying begins. If it may have been begun before, by whomever, it begins anew:
    /// after that nobody else can ask for the commit.
    fn begin(&self, id: MigrationId) -> Result<Option<Migration>, Hitch> {
        let is_sealed = self.reign.has_mark(Passage::Sealed, id.as_bytes());
        let Some(migration) = self.record(id) else { return Ok(None) };
        if is_sealed || migration.phase != Phase::Copying(map::Stage::Starting) {
            let restart = Change::RestartMigration { id, at: self.server.now() };
            if self.decide(restart)?.is_none() {
                return Ok(None);
            }
        }
        self.unseal(id)?;
        self.report(id, map::Stage::Snapshot)?;
        Ok(self.record(id))
    }

    /// The record, as long as there is something to copy.
    fn record(&self, id: MigrationId) -> Option<Migration> {
        copying(&*self.stage.map()?, id).cloned()
    }

    /// Whether this attempt is still the one that counts.
    fn check(&self, migration: &Migration) -> Result<(), Hitch> {
        let map = self.stage.map();
        let record = map.as_deref().and_then(|map| copying(map, migration.id));
        if record.is_none_or(|record| record.changed != migration.changed) {
            return Err(Hitch::new("it was taken back, or has begun anew"));
        }
        if self.reign.lasts() { Ok(()) } else { Err(Hitch::new("this node does not lead the group any more")) }
    }

    /// Sends what there is, and then what has come meanwhile, in rounds, until the target has applied nearly all of it.
    fn copy<'w>(&self, migration: &Migration, source: &mut Source, mut way: Way<'w>) -> Result<Way<'w>, Hitch> {
        let mut pace = Pace::new(self.stage);
        source.copy(self.server, migration, |batch| {
            pace.spend(batch.len());
            self.check(migration)?;
            count(&self.stage.migrations.sent_bytes, batch.len());
            way.send_batch(batch)
        })?;
        self.report(migration.id, map::Stage::Tail)?;
        for _ in 0..ROUNDS_MAX {
            let began = Instant::now();
            way = way.sync()?;
            self.check(migration)?;
            self.reign.hurry();
            let bytes = self.send_tail(source, &mut way, &mut pace)?;
            if began.elapsed() < ROUND_TIME && bytes < ROUND_BYTES {
                return Ok(way);
            }
        }
        Err(Hitch::new("the target is slower than those who write here"))
    }

    /// Sends what was applied since somebody looked; returns how much that was.
    fn send_tail(&self, source: &Source, way: &mut Way<'_>, pace: &mut Pace<'_>) -> Result<usize, Hitch> {
        let mut bytes = 0;
        while let Some(tapped) = source.next()? {
            match tapped {
                Tapped::Batch(batch) => {
                    bytes += batch.len();
                    pace.spend(batch.len());
                    count(&self.stage.migrations.sent_bytes, batch.len());
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
    fn give_away(&self, migration: &Migration, source: &Source, mut way: Way<'_>) -> Result<Ended, Hitch> {
        let sealed = Instant::now();
        let sent = self.seal(migration).and_then(|()| {
            self.send_tail(source, &mut way, &mut Pace::unlimited())?;
            way.finish(SEALED_MAX)?;
            self.check(migration)
        });
        if let Err(hitch) = sent {
            // Nobody has asked for the commit, so nobody will.
            self.unseal(migration.id)?;
            return Err(hitch);
        }
        let ended = self.commit(migration);
        let (took, figures) = (sealed.elapsed(), &self.stage.migrations);
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
        self.stage.seal(migration);
        self.reign.carry_out(vec![Effect::Mark(mark_of(migration, Passage::Sealed))])
    }

    /// The slots are evaluated again, if they are still this group's.
    pub fn unseal(&self, id: MigrationId) -> Result<(), Hitch> {
        let result = self.reign.unmark(Passage::Sealed, id.as_bytes());
        self.stage.unseal(id);
        result
    }

    /// Asks for the commit until it is known what has become of it, and the nodes in reach know it. Until then requests
    /// for the slots wait.
    pub fn commit(&self, migration: &Migration) -> Result<Ended, Hitch> {
        let (id, seen) = (migration.id, migration.changed);
        let _leaving = self.stage.give_away(migration);
        loop {
            match self.node.decide(Change::CommitMigration { id, seen, at: self.server.now() }) {
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
        self.decide(Change::ReportStage { id, stage, at: self.server.now() }).map(drop)
    }

    /// None if the root group refuses.
    fn decide(&self, change: Change) -> Result<Option<()>, Hitch> {
        match self.node.decide(change) {
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
struct Pace<'a> {
    stage: Option<&'a Stage>,
    began: Instant,
    bytes: u64,
}

/// A pace is kept over times of this length.
const PACE_WINDOW: Duration = Duration::from_secs(1);

impl Pace<'_> {
    fn new(stage: &Stage) -> Pace<'_> {
        Pace { stage: Some(stage), began: Instant::now(), bytes: 0 }
    }

    fn unlimited() -> Pace<'static> {
        Pace { stage: None, began: Instant::now(), bytes: 0 }
    }

    /// Waits until so much more may be sent.
    fn spend(&mut self, bytes: usize) {
        let Some(map) = self.stage.and_then(|stage| stage.map()) else { return };
        let limit = map.settings().migration_max_bytes_per_second;
        if limit == 0 {
            return;
        }
        if self.began.elapsed() > PACE_WINDOW {
            (self.began, self.bytes) = (Instant::now(), 0);
        }
        self.bytes += bytes as u64;
        let earliest = self.began + Duration::from_secs_f64(self.bytes as f64 / limit as f64);
        std::thread::sleep(earliest.saturating_duration_since(Instant::now()));
    }
}
