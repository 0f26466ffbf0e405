//! The way of the keys: they are read, sent, and deleted here when they have arrived.
//!
//! A key must neither be lost nor come back. In a slot that is open for the keywise protocol this node's copy is the
//! true one as long as it is here, and whoever asks for a key that is not here is sent to the target. So what would
//! write to a key is held back from when it is read until it is deleted ([`crate::cluster::moving`]), and what the
//! target has under that name is replaced: it can only be left over from an attempt of which nobody knows the end.
//!
//! Elsewhere writes go on. When a key has arrived, it is deleted only if it is still what was sent; what has changed is
//! sent again, in the place of what was sent before; what was deleted is deleted over there too. A key that changes all
//! the time is sent under its lock in the end.
//!
//! The reply leaves when the deletion is committed. If the node falls before, the key is still here for whoever leads
//! next, and the target's copy is seen by nobody.

use super::target::{Link, Origin, Patience, Restore, Trouble};
use super::{Job, Request};
use crate::cluster::Cluster;
use crate::cluster::admission::NOT_SERVED;
use crate::cluster::hold::HOLD_MAX;
use crate::cluster::slots::SlotState;
use crate::commands::ctx::{Announcement, Outcome};
use crate::durability::admission::refuse;
use crate::durability::loader;
use crate::durability::losses::Reign;
use crate::durability::release::{Delivery, Release};
use crate::error::{CommandError, CommandResult};
use crate::notify::{EventClass, KeyEvent};
use crate::resp::ReplyBuf;
use crate::server::Server;
use crate::session::ReplyMode;
use basalt_storage::clock::UnixMs;
use basalt_storage::effect::DbIndex;
use basalt_storage::keyspace::{Key, Loading, Need, View, WatchFlag, high_water};
use basalt_storage::rdb::dump;
use basalt_storage::rdb::save::Compression;
use basalt_storage::slot::StripeSet;
use std::time::{Duration, Instant};

/// How often what has changed on its way is sent again before it is sent under its lock.
const RESENDS: usize = 2;

/// How often cold keys are read from disk before they are locked; after that they are read in place.
const LOADS_MAX: u32 = 3;

const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// Whether clients can change keys that are on their way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Footing {
    /// They can: there is no cluster, or the slot is served.
    Loose,
    /// The slot is open, and what would write is held back.
    Firm,
    /// Nobody evaluates anything in the slot at the moment.
    NotNow,
}

/// How far a key is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Stage {
    Due,
    /// The target has it.
    Arrived,
    Done,
    Refused(Vec<u8>),
    /// It was deleted here while it was on its way.
    Deleted,
}

/// A key on its way.
struct Parcel {
    key: Box<[u8]>,
    payload: Vec<u8>,
    expiry: Option<UnixMs>,
    /// Raised when the key changes here.
    flag: WatchFlag,
    replaces: bool,
    stage: Stage,
}

impl Parcel {
    fn is_at(&self, stage: &Stage) -> bool {
        self.stage == *stage
    }
}

/// What a MIGRATE without errors has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    Keys,
    Nothing,
}

pub(super) fn run(server: &Server, job: Job) {
    let Job { client, request, db, reply_mode } = job;
    let mut outcome = Outcome::default();
    let mut transfer = Transfer {
        server,
        request: &request,
        db,
        outcome: &mut outcome,
        parcels: Vec::new(),
        footing: Footing::Loose,
        reign: server.gate.reign(),
    };
    let result = transfer.run();
    let mut reply = ReplyBuf::new(client.protocol());
    let result = match result {
        Ok(found) => {
            reply.simple(if found == Found::Keys { "OK" } else { "NOKEY" });
            Ok(())
        }
        Err(error) => {
            reply.error(&error);
            Err(error)
        }
    };
    if reply_mode != ReplyMode::On {
        reply.clear();
    }
    outcome.release(server);
    let depends_on = high_water::take();
    let release = Release { deliveries: vec![Delivery { client, reply, result }], announcements: Vec::new() };
    server.gate.release(server, depends_on, release);
}

struct Transfer<'a> {
    server: &'a Server,
    request: &'a Request,
    db: DbIndex,
    outcome: &'a mut Outcome,
    parcels: Vec<Parcel>,
    footing: Footing,
    /// As of when the keys were read.
    reign: Reign,
}

impl<'a> Transfer<'a> {
    fn run(&mut self) -> Result<Found, CommandError> {
        self.pack()?;
        if self.parcels.is_empty() {
            return Ok(Found::Nothing);
        }
        let carried = self.carry();
        self.let_go();
        carried.map(|()| Found::Keys)
    }

    /// Locks keys. What is due is there for nobody, and stays while a pause says so.
    fn lock(&self, keys: impl Iterator<Item = &'a [u8]>) -> View<'a> {
        let stripes = keys.map(|key| StripeSet::of(Key::new(key).slot.stripe()));
        let mut view = self.server.keyspace.lock(stripes.fold(StripeSet::EMPTY, StripeSet::union), self.server.now());
        if self.server.pause.stops_expiry(self.server) {
            view.hide_due();
        }
        view
    }

    fn lock_all(&self) -> View<'a> {
        self.lock(self.request.keys.iter().map(|key| &**key))
    }

    /// Ends what was done under a lock.
    fn close(&mut self, mut view: View<'a>) {
        self.outcome.settle(self.server, &mut view);
    }

    /// What may be done in the keys' slot, asked under its lock. All keys of a request are of one slot.
    fn footing(&self) -> Result<Footing, CommandError> {
        let Some(cluster) = self.server.cluster() else { return Ok(Footing::Loose) };
        let slot = Key::new(&self.request.keys[0]).slot;
        match cluster.states().at(slot) {
            SlotState::Serving => Ok(Footing::Loose),
            SlotState::Migrating | SlotState::Importing => Ok(Footing::Firm),
            SlotState::Sealed | SlotState::Waiting | SlotState::Orphaned => Ok(Footing::NotNow),
            SlotState::Absent => Err(NOT_SERVED),
            SlotState::Elsewhere | SlotState::Copied => Err(cluster.moved(self.server, slot).unwrap_or(NOT_SERVED)),
        }
    }

    /// Locks all keys once something may be done in their slot, and says on what footing. Gives up [`HOLD_MAX`] after
    /// `began`.
    fn lock_when_open(&self, began: Instant) -> Result<(View<'a>, Footing), CommandError> {
        loop {
            let view = self.lock_all();
            let footing = self.footing()?;
            if footing != Footing::NotNow {
                return Ok((view, footing));
            }
            drop(view);
            if began.elapsed() > HOLD_MAX {
                return Err(NOT_SERVED);
            }
            std::thread::sleep(LOOK_AGAIN);
        }
    }

    /// Reads the keys that are there. From then on it is known when one changes.
    fn pack(&mut self) -> Result<(), CommandError> {
        let began = Instant::now();
        let mut loads = 0;
        loop {
            let (mut view, footing) = self.lock_when_open(began)?;
            self.footing = footing;
            let missing = if loads < LOADS_MAX { self.missing(&mut view)? } else { Vec::new() };
            if !missing.is_empty() {
                drop(view);
                loads += 1;
                missing.iter().try_for_each(|loading| loader::load(self.server, loading)).map_err(refuse)?;
                continue;
            }
            let keys: Vec<&'a [u8]> = self.request.keys.iter().map(|key| &**key).collect();
            let there: Vec<&'a [u8]> =
                keys.into_iter().filter(|key| view.read_outline(self.db, &Key::new(key)).is_some()).collect();
            if !self.hold(&view, &there) {
                // Another MIGRATE has one of them in hand.
                self.close(view);
                if began.elapsed() > self.request.timeout.max(HOLD_MAX) {
                    return Err(Trouble::Writing.into());
                }
                std::thread::sleep(LOOK_AGAIN);
                continue;
            }
            self.reign = self.server.gate.reign();
            let replaces = self.request.replaces || self.is_overwriting();
            for key in there {
                let flag = WatchFlag::default();
                let (payload, expiry) = read(&mut view, self.db, key).expect("it was just there");
                view.watch(self.db, &Key::new(key), flag.clone());
                self.parcels.push(Parcel { key: key.into(), payload, expiry, flag, replaces, stage: Stage::Due });
            }
            self.close(view);
            return Ok(());
        }
    }

    /// What has to be read from disk first.
    fn missing(&self, view: &mut View<'_>) -> Result<Vec<Loading>, CommandError> {
        let mut missing = Vec::new();
        for key in &self.request.keys {
            missing.extend(view.prepare(self.db, &Key::new(key), Need::Value).map_err(refuse)?);
        }
        Ok(missing)
    }

    /// Holds back what would write to the keys, if the slot is open; false if one is in other hands.
    fn hold(&self, view: &View<'_>, keys: &[&[u8]]) -> bool {
        match self.server.cluster() {
            Some(cluster) if self.footing == Footing::Firm => cluster.moving().begin(view, keys.iter().copied()),
            _ => true,
        }
    }

    /// Whether what the target has is worth nothing: as long as a key is here, this copy is the true one.
    fn is_overwriting(&self) -> bool {
        let slot = Key::new(&self.request.keys[0]).slot;
        let goes_there = |cluster: &Cluster| cluster.goes_to(slot, self.request.address.port);
        self.footing == Footing::Firm && !self.request.copies && self.server.cluster().is_some_and(goes_there)
    }

    /// Forgets the keys, wherever they are now.
    fn let_go(&mut self) {
        let mut view = self.lock_all();
        for parcel in &self.parcels {
            view.unwatch(self.db, &Key::new(&parcel.key), &parcel.flag);
        }
        self.close(view);
        if let (Footing::Firm, Some(cluster)) = (self.footing, self.server.cluster()) {
            cluster.end_moving(self.parcels.iter().map(|parcel| &*parcel.key));
        }
    }

    fn carry(&mut self) -> CommandResult {
        for _ in 0..=RESENDS {
            let sent = self.send();
            self.receive()?;
            sent?;
            if !self.has(&Stage::Due) {
                break;
            }
        }
        self.send_under_lock()?;
        self.delete_over_there()?;
        let refusal = self.parcels.iter().find_map(|parcel| match &parcel.stage {
            Stage::Refused(why) => Some(Trouble::Refused(why.clone())),
            _ => None,
        });
        refusal.map_or(Ok(()), |refusal| Err(refusal.into()))
    }

    fn has(&self, stage: &Stage) -> bool {
        self.parcels.iter().any(|parcel| parcel.is_at(stage))
    }

    /// Sends what is due.
    fn send(&mut self) -> CommandResult {
        self.await_lease()?;
        let links = &self.server.migrations.links;
        let (link, origin) = links.find(self.request)?;
        let link = match self.deliver(link) {
            // It had died before it was used.
            Err((trouble, 0)) if origin == Origin::Kept && trouble != Trouble::Reading(Patience::UsedUp) => {
                self.deliver(links.open(self.request)?).map_err(|(trouble, _)| trouble)?
            }
            result => result.map_err(|(trouble, _)| trouble)?,
        };
        if !self.parcels.iter().any(|parcel| matches!(parcel.stage, Stage::Refused(_))) {
            links.keep(&self.request.address, link);
        }
        Ok(())
    }

    /// Sends what is due over a connection. If that fails, says how many replies have come.
    fn deliver(&mut self, mut link: Link) -> Result<Link, (Trouble, usize)> {
        let command = self.command();
        let now = self.server.now();
        link.introduce(self.request).map_err(|trouble| match trouble {
            // It has answered, so it was alive.
            Trouble::Refused(_) => (trouble, 1),
            trouble => (trouble, 0),
        })?;
        let due = self.parcels.iter().filter(|parcel| parcel.is_at(&Stage::Due));
        link.restore(command, due.map(|parcel| parcel.restore(now))).map_err(|trouble| (trouble, 0))?;
        let due = self.parcels.iter_mut().filter(|parcel| parcel.is_at(&Stage::Due));
        for (replies, parcel) in due.enumerate() {
            parcel.stage = match link.reply().map_err(|trouble| (trouble, replies))? {
                Ok(()) => Stage::Arrived,
                Err(why) => Stage::Refused(why),
            };
        }
        Ok(link)
    }

    fn command(&self) -> &'static [u8] {
        if self.server.cluster().is_some() { b"RESTORE-ASKING" } else { b"RESTORE" }
    }

    /// Who leads no more must not send what he has read: by now the key may have been moved by another.
    fn await_lease(&self) -> CommandResult {
        let began = Instant::now();
        while !self.server.gate.has_leases() {
            if began.elapsed() > HOLD_MAX {
                return Err(NOT_SERVED);
            }
            std::thread::sleep(LOOK_AGAIN);
        }
        if self.server.gate.reign() == self.reign { Ok(()) } else { Err(NOT_SERVED) }
    }

    /// Deletes what has arrived, if it is still what was sent.
    fn receive(&mut self) -> CommandResult {
        if self.request.copies {
            self.parcels.iter_mut().filter(|parcel| parcel.is_at(&Stage::Arrived)).for_each(|parcel| {
                parcel.stage = Stage::Done;
            });
        }
        if !self.has(&Stage::Arrived) {
            return Ok(());
        }
        // A slot that is sealed is opened again, since the key is still in it.
        let (mut view, _) = self.lock_when_open(Instant::now())?;
        if self.server.gate.reign() != self.reign {
            // What was read may not be what there is: nobody looks at the target's copy as long as the key is here.
            return Err(NOT_SERVED);
        }
        let mut parcels = std::mem::take(&mut self.parcels);
        for parcel in parcels.iter_mut().filter(|parcel| parcel.is_at(&Stage::Arrived)) {
            parcel.stage = self.take_away(&mut view, parcel);
        }
        self.parcels = parcels;
        self.close(view);
        Ok(())
    }

    /// Deletes a key that has arrived, or packs it anew.
    fn take_away(&mut self, view: &mut View<'_>, parcel: &mut Parcel) -> Stage {
        let key = Key::new(&parcel.key);
        if view.glance(self.db, &key).is_none() {
            let is_due = parcel.expiry.is_some_and(|at| at.is_due(view.now()));
            // What is due goes by itself over there too; what is held back here can have gone only so.
            return if is_due || self.footing == Footing::Firm { Stage::Done } else { Stage::Deleted };
        }
        if !parcel.flag.is_raised() {
            self.delete(view, &parcel.key);
            return Stage::Done;
        }
        view.unwatch(self.db, &key, &parcel.flag);
        let (payload, expiry) = read(view, self.db, &parcel.key).expect("it was just there");
        let flag = WatchFlag::default();
        view.watch(self.db, &key, flag.clone());
        (parcel.payload, parcel.expiry, parcel.flag, parcel.replaces) = (payload, expiry, flag, true);
        Stage::Due
    }

    fn delete(&mut self, view: &mut View<'_>, key: &[u8]) {
        view.delete(self.db, &Key::new(key));
        if self.server.notify.wants(EventClass::Generic) {
            let event = KeyEvent { class: EventClass::Generic, event: "del", db: self.db, key: key.into() };
            self.outcome.announce(Announcement::Key(event));
        }
    }

    /// Sends what is still due, which others change too often, while nobody can: one key after the other.
    fn send_under_lock(&mut self) -> CommandResult {
        if !self.has(&Stage::Due) {
            return Ok(());
        }
        let links = &self.server.migrations.links;
        let mut link = links.meet(self.request)?;
        let command = self.command();
        let mut parcels = std::mem::take(&mut self.parcels);
        let mut result = Ok(());
        for parcel in parcels.iter_mut().filter(|parcel| parcel.is_at(&Stage::Due)) {
            let stripe = StripeSet::of(Key::new(&parcel.key).slot.stripe());
            let mut view = self.server.keyspace.lock(stripe, self.server.now());
            match self.send_locked(&mut view, &mut link, command, parcel) {
                Ok(stage) => parcel.stage = stage,
                Err(error) => result = Err(error),
            }
            self.outcome.settle(self.server, &mut view);
            if result.is_err() {
                break;
            }
        }
        self.parcels = parcels;
        result
    }

    fn send_locked(
        &mut self,
        view: &mut View<'_>,
        link: &mut Link,
        command: &'static [u8],
        parcel: &mut Parcel,
    ) -> Result<Stage, CommandError> {
        if self.footing()? == Footing::NotNow || self.server.gate.reign() != self.reign {
            return Err(NOT_SERVED);
        }
        let Some((payload, expiry)) = read(view, self.db, &parcel.key) else { return Ok(Stage::Deleted) };
        (parcel.payload, parcel.expiry) = (payload, expiry);
        link.restore(command, std::iter::once(parcel.restore(self.server.now())))?;
        Ok(match link.reply()? {
            Ok(()) => {
                self.delete(view, &parcel.key);
                Stage::Done
            }
            Err(why) => Stage::Refused(why),
        })
    }

    /// What was deleted here after it was sent.
    fn delete_over_there(&mut self) -> CommandResult {
        if !self.has(&Stage::Deleted) {
            return Ok(());
        }
        let links = &self.server.migrations.links;
        let mut link = links.meet(self.request)?;
        for parcel in self.parcels.iter().filter(|parcel| parcel.is_at(&Stage::Deleted)) {
            link.delete(&parcel.key)?;
        }
        links.keep(&self.request.address, link);
        Ok(())
    }
}

impl Parcel {
    fn restore(&self, now: UnixMs) -> Restore<'_> {
        // Zero would be for ever.
        let ttl_ms = self.expiry.map_or(0, |at| at.0.saturating_sub(now.0).max(1));
        Restore { key: &self.key, ttl_ms, payload: &self.payload, replaces: self.replaces }
    }
}

/// The payload of a key, and when it expires.
fn read(view: &mut View<'_>, db: DbIndex, key: &[u8]) -> Option<(Vec<u8>, Option<UnixMs>)> {
    let entry = view.peek(db, &Key::new(key))?;
    Some((dump::encode(&entry.value(), Compression::Lzf), entry.expiry()))
}
