//! The ground on which the real parts of migrations stand here: a simulated process. Each part is an actor, which is
//! stopped wherever it waits; bugs are planted between the two.

use basalt_cluster::group::{LogIndex, Term};
use basalt_cluster::ids::{GroupId, MigrationId, NodeId};
use basalt_cluster::map::{Change, ClusterMap, Migration};
use basalt_cluster::node::Decision;
use basalt_server::cluster::migration::ground::{Clearing, Copying, Ground, Incoming, Outgoing, Reigning, Walked};
use basalt_server::cluster::migration::{Arrivals, Figures, Hitch};
use basalt_server::durability::tap::{Tap, Tapped};
use basalt_storage::clock::UnixMs;
use basalt_storage::effect::{Batch, Effect, Mark, Passage, encode};
use basalt_storage::seq::Seq;
use basalt_storage::slot::Slot;
use bytes::Bytes;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::actor::pause;
use crate::asks::{Asker, BARRIER_MS, PATIENCE_MS};
use crate::bugs::Bug;
use crate::clients::site_of;
use crate::ether::{Answer, Packet, Site};
use crate::machine::DB;
use crate::process::{Process, Shared};
use crate::streams::{Received, StreamId};

/// Between two attempts to find the leader.
const PAUSE_MS: u64 = 50;

/// After which a planted bug takes a commit for refused.
const HASTE_MS: u64 = 300;

/// How long a call to another node may take before another one is asked.
const CALL_MS: u64 = 800;

#[derive(Clone)]
pub struct SimGround(pub Arc<Shared>);

impl SimGround {
    fn with<R>(&self, f: impl FnOnce(&mut Process) -> R) -> R {
        f(&mut self.0.process.lock())
    }

    fn time(&self) -> u64 {
        self.0.world.now()
    }

    fn bug(&self) -> Bug {
        self.0.world.bug
    }

    /// Lets the others go on for about a round.
    fn wait(&self) {
        pause(self.time() + 1);
    }

    fn unseal_by_timeout(&self, id: MigrationId) {
        let source = self.with(|process| {
            process.seals.clear();
            process.leaving.clear();
            process.refresh();
            process.map.migrations().get(&id).map(|migration| migration.source)
        });
        let effect = Effect::Unmark { passage: Passage::Sealed, name: *id.as_bytes() };
        if let Some(reign) = source.and_then(|source| self.reign(source)) {
            // It does not matter to a bug whether it succeeds.
            let _ = reign.propose(vec![effect]);
        }
    }

    fn ask(&self, change: &Change, hint: Option<Site>, attempt: usize, deadline: u64) -> Option<Answer> {
        let now = self.time();
        let (request, until) = self.with(|process| {
            let request = process.asks.next_request();
            if process.leads_root() {
                process.propose_change(change.clone(), Asker::Here(request), now);
                return Some((request, deadline + BARRIER_MS));
            }
            let to = process.whom_to_ask(hint, attempt)?;
            let packet = Packet::Ask { request, process: process.number, change: change.clone() };
            process.world.send(process.site, to, packet);
            Some((request, deadline.min(now + CALL_MS + BARRIER_MS)))
        })?;
        while self.time() < until {
            if let Some(answer) = self.with(|process| process.asks.answers.remove(&request)) {
                return Some(answer);
            }
            self.wait();
        }
        None
    }
}

impl Ground for SimGround {
    type Reign = SimReign;
    type Source = SimSource;
    type Outgoing = Sender;

    fn me(&self) -> Option<NodeId> {
        Some(self.0.me)
    }

    fn map(&self) -> Option<Arc<ClusterMap>> {
        Some(self.with(|process| process.map.clone()))
    }

    fn decide(&self, change: Change) -> Decision {
        let change = match (self.bug(), change) {
            (Bug::RestartSkipped, Change::RestartMigration { id, .. }) => {
                let version = self.with(|process| process.map.version());
                self.0.world.say(|| format!("{} does not have {id} begun anew", self.0.site));
                let outcome = basalt_cluster::map::Outcome::Unchanged;
                return Decision::Made(basalt_cluster::map::Applied { version, outcome });
            }
            (_, change) => change,
        };
        let is_hasty = self.bug() == Bug::UnsealedByTimeout && matches!(change, Change::CommitMigration { .. });
        let deadline = self.time() + if is_hasty { HASTE_MS } else { PATIENCE_MS };
        let (mut hint, mut attempt) = (None, 0);
        while self.time() < deadline {
            match self.ask(&change, hint.take(), attempt, deadline) {
                Some(Answer::Made(applied)) => {
                    let until = self.time() + BARRIER_MS;
                    while self.time() < until && self.with(|process| process.map.version() < applied.version) {
                        self.wait();
                    }
                    return Decision::Made(applied);
                }
                Some(Answer::Refused(why)) => return Decision::Refused(why),
                Some(Answer::NotLeader(leader)) => hint = leader,
                None => (),
            }
            attempt += 1;
            pause(self.time() + PAUSE_MS);
        }
        if let (Bug::UnsealedByTimeout, Change::CommitMigration { id, .. }) = (self.bug(), &change) {
            self.unseal_by_timeout(*id);
        }
        Decision::Unknown
    }

    fn reign(&self, group: GroupId) -> Option<SimReign> {
        self.with(|process| {
            let replica = process.replicas.get(&group).filter(|replica| replica.role.serves())?;
            Some(SimReign { ground: self.clone(), group, term: replica.role.term() })
        })
    }

    fn listen(&self, reign: &SimReign, migration: &Migration) -> Result<SimSource, Hitch> {
        let tap = Arc::new(Tap::new(migration.all_slots()));
        self.with(|process| {
            process.replicas.get_mut(&reign.group).into_iter().for_each(|replica| replica.taps.push(tap.clone()));
        });
        Ok(SimSource { reign: reign.clone(), tap, from: LogIndex(0), waiting: RefCell::default() })
    }

    fn open_stream(&self, to: NodeId, header: &[u8]) -> Result<Sender, Hitch> {
        let (from, to) = ((self.0.site, self.0.number), site_of(to));
        let id = self.0.world.ether.lock().open_stream(from, to, header);
        let id = id.ok_or_else(|| Hitch::new("there is no connection"))?;
        Ok(Sender { ground: self.clone(), id })
    }

    fn arrivals(&self) -> &Arrivals {
        &self.0.arrivals
    }

    fn figures(&self) -> &Figures {
        &self.0.figures
    }

    fn seal(&self, migration: &Migration) {
        self.0.world.say(|| format!("{} seals {}", self.0.site, migration.id));
        if self.bug() == Bug::CommitWithoutSeal {
            return;
        }
        self.with(|process| {
            process.seals.insert(migration.id, (migration.source, migration.slots.clone()));
            process.refresh();
        });
        if self.bug() == Bug::ClearedBeforeCommit {
            let clear = |slot| Effect::Clear { db: DB, slot, hashes: (0, u32::MAX) };
            let batch = migration.all_slots().map(clear).collect();
            let _ = self.reign(migration.source).map(|reign| reign.propose(batch));
        }
    }

    fn unseal(&self, id: MigrationId) {
        self.with(|process| {
            if process.seals.remove(&id).is_some() {
                process.refresh();
            }
        });
    }

    fn leaving<R>(&self, migration: &Migration, body: impl FnOnce() -> R) -> R {
        self.with(|process| drop(process.leaving.insert(migration.id, migration.slots.clone())));
        let result = body();
        self.with(|process| {
            process.leaving.remove(&migration.id);
            process.refresh();
        });
        result
    }

    fn refresh(&self) {
        self.with(Process::refresh);
    }

    // Nobody flushes here.
    fn outwait_flushes(&self) {}

    fn now(&self) -> UnixMs {
        let now = self.time();
        UnixMs(self.with(|process| process.wall(now)))
    }

    fn clock(&self) -> Duration {
        Duration::from_millis(self.time())
    }

    fn sleep(&self, time: Duration) {
        pause(self.time() + (time.as_millis() as u64).max(1));
    }
}

#[derive(Clone)]
pub struct SimReign {
    ground: SimGround,
    group: GroupId,
    term: Term,
}

impl SimReign {
    fn check(&self) -> Result<(), Hitch> {
        if self.lasts() { Ok(()) } else { Err(Hitch::new("this node does not lead the group any more")) }
    }

    fn with_data<R>(&self, f: impl FnOnce(&crate::machine::Data) -> R) -> Option<R> {
        self.ground.with(|process| process.replicas.get(&self.group).and_then(|it| it.machine.data()).map(f))
    }
}

impl Reigning for SimReign {
    fn group(&self) -> GroupId {
        self.group
    }

    fn term(&self) -> Term {
        self.term
    }

    fn lasts(&self) -> bool {
        self.ground.with(|process| process.reigns(self.group, self.term))
    }

    fn propose(&self, mut batch: Batch) -> Result<Seq, Hitch> {
        if matches!(self.ground.bug(), Bug::CommitWithoutSeal | Bug::SealNotLogged) {
            batch.retain(|effect| !matches!(effect, Effect::Mark(mark) if mark.passage == Passage::Sealed));
        }
        for effect in &batch {
            let site = self.ground.0.site;
            match effect {
                Effect::Mark(mark) => self.ground.0.world.say(|| format!("{site} marks in {}: {mark:?}", self.group)),
                Effect::Unmark { passage, name } => self
                    .ground
                    .0
                    .world
                    .say(|| format!("{site} unmarks {passage:?} {} in {}", MigrationId::new(*name), self.group)),
                _ => (),
            }
        }
        let mut bytes = Vec::new();
        encode(&batch, &mut bytes);
        self.propose_written(bytes)
    }

    fn propose_written(&self, batch: Vec<u8>) -> Result<Seq, Hitch> {
        self.check()?;
        self.ground.with(|process| {
            let seq = process.seqs.next();
            let replica = process.replicas.get_mut(&self.group).ok_or_else(|| Hitch::new("it does not run here"))?;
            replica.propose(seq, batch);
            Ok(Seq(seq))
        })
    }

    fn hurry(&self) {}

    fn wait_applied(&self, seq: Seq) -> Result<(), Hitch> {
        if self.ground.bug() == Bug::SaidBeforeApplied {
            return Ok(());
        }
        let is_applied = |process: &mut Process| {
            process.replicas.get(&self.group).is_none_or(|replica| {
                let leads = matches!(replica.role, basalt_cluster::group::Role::Leader { .. });
                replica.applied_seq >= seq.0 || !leads
            })
        };
        while !self.ground.with(is_applied) {
            self.ground.wait();
        }
        self.check()
    }

    fn marks(&self) -> Vec<Mark> {
        self.with_data(|data| data.marks().to_vec()).unwrap_or_default()
    }

    fn has_keys(&self, slot: Slot) -> bool {
        self.ground.bug() != Bug::NotCleared && self.with_data(|data| data.has_keys(slot)).unwrap_or(false)
    }

    fn clearing(&self) -> Clearing {
        Clearing::InPieces
    }

    /// In two halves of the hashes, each of which counts for as much as there may be: so each is a batch of its own.
    fn walk(&self, _: Slot, from_hash: u32, most: usize) -> Result<Walked, Hitch> {
        let half = u32::MAX / 2;
        Ok(Walked { keys: most, next: (from_hash == 0).then_some(half) })
    }
}

pub struct SimSource {
    reign: SimReign,
    tap: Arc<Tap>,
    from: LogIndex,
    waiting: RefCell<VecDeque<Tapped>>,
}

impl Copying for SimSource {
    fn copy(&mut self, migration: &Migration, mut send: impl FnMut(Vec<u8>) -> Result<(), Hitch>) -> Result<(), Hitch> {
        // What changes before the copy is made is in the copy, and heard of as well.
        let rest = self.reign.ground.0.world.ether.lock().rng.below(30);
        pause(self.reign.ground.time() + rest);
        let (entries, applied) = self.reign.ground.with(|process| {
            let replica = process.replicas.get(&self.reign.group).ok_or_else(|| Hitch::new("it does not run here"))?;
            let data = replica.machine.data().ok_or_else(|| Hitch::new("it has no data"))?;
            Ok::<_, Hitch>((data.entries(|slot| migration.moves(slot)), replica.applied))
        })?;
        self.from = if self.reign.ground.bug() == Bug::TailFromTheBeginning { LogIndex(0) } else { applied };
        for entry in entries {
            let mut bytes = Vec::new();
            encode(&[entry], &mut bytes);
            send(bytes)?;
            self.reign.ground.wait();
        }
        Ok(())
    }

    fn next(&self) -> Result<Option<Tapped>, Hitch> {
        let next = || self.tap.next(self.from).map_err(Hitch::new);
        match self.reign.ground.bug() {
            Bug::TailForgotten => {
                while next()?.is_some() {}
                Ok(None)
            }
            // What is the last one is known only by the one behind it.
            Bug::LastOfTailForgotten => {
                let waiting = &mut *self.waiting.borrow_mut();
                while let Some(tapped) = next()? {
                    waiting.push_back(tapped);
                }
                Ok(if waiting.len() > 1 { waiting.pop_front() } else { None })
            }
            _ => next(),
        }
    }
}

impl Drop for SimSource {
    fn drop(&mut self) {
        self.reign.ground.with(|process| {
            if let Some(replica) = process.replicas.get_mut(&self.reign.group) {
                replica.taps.retain(|tap| !Arc::ptr_eq(tap, &self.tap));
            }
        });
    }
}

/// The end of a stream at which is sent.
pub struct Sender {
    ground: SimGround,
    id: StreamId,
}

impl Sender {
    fn answer(&self) -> Option<Result<Bytes, Hitch>> {
        let answer = self.ground.0.world.ether.lock().stream_answer(self.id);
        answer.map(|answer| answer.map_err(Hitch::new))
    }
}

impl Outgoing for Sender {
    fn send(&mut self, piece: Bytes) -> Result<(), Hitch> {
        let is_sent = self.ground.0.world.ether.lock().send_piece(self.id, piece);
        if is_sent { Ok(()) } else { Err(Hitch::new("the connection was lost")) }
    }

    fn finish(self) -> Result<Bytes, Hitch> {
        self.finish_within(Duration::MAX)?.ok_or_else(|| Hitch::new("that was a long time"))
    }

    fn finish_within(self, patience: Duration) -> Result<Option<Bytes>, Hitch> {
        let began = self.ground.time();
        self.ground.0.world.ether.lock().end_stream(self.id);
        if self.ground.bug() == Bug::AnswerNotAwaited {
            return Ok(Some(Bytes::from_static(b"applied")));
        }
        loop {
            if let Some(answer) = self.answer() {
                return answer.map(Some);
            }
            if Duration::from_millis(self.ground.time() - began) > patience {
                return Ok(None);
            }
            self.ground.wait();
        }
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        if self.ground.bug() != Bug::AnswerNotAwaited {
            self.ground.0.world.ether.lock().forget_stream(self.id);
        }
    }
}

/// The end at which is received.
pub struct Receiver {
    pub ground: SimGround,
    pub id: StreamId,
}

impl Incoming for Receiver {
    fn next(&mut self) -> Result<Option<Bytes>, Hitch> {
        loop {
            let received = self.ground.0.world.ether.lock().receive_piece(self.id);
            match received {
                Received::Piece(piece) => return Ok(Some(piece)),
                Received::End => return Ok(None),
                Received::Broken => return Err(Hitch::new("the connection was lost")),
                Received::NothingYet => self.ground.wait(),
            }
        }
    }

    fn finish(self, answer: &'static [u8]) {
        self.ground.0.world.ether.lock().answer_stream(self.id, Ok(Bytes::from_static(answer)));
    }

    fn refuse(self, why: &str) {
        self.ground.0.world.ether.lock().answer_stream(self.id, Err(why.to_owned()));
    }
}
