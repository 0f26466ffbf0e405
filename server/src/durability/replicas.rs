//! The replicas of data groups on a node of a cluster, and which of them holds which slot.
//!
//! All groups that this node leads share the one keyspace, and the one order of batches ([`Seq`]). So *committed* and
//! *applied* are fronts: the number below which no group has a batch outstanding.
//!
//! A slot is *held* by a group while the keyspace shows what that group has in it: only on its leader. The table of
//! holders changes under the lock of the slot's stripe, and says where a batch has to go.

use super::contents::Contents;
use super::in_memory::InMemory;
use super::log;
use super::losses::Fate;
use super::memory::Memory;
use super::tap::Tap;
use basalt_cluster::group::{self, CommittedEntry, Fsync, Group, Role, Stopped};
use basalt_cluster::ids::{GroupId, ReplicaId};
use basalt_storage::effect::{CodecError, DbIndex, Effect};
use basalt_storage::engine::{Engine, Rocks};
use basalt_storage::keyspace::{ColdCount, View};
use basalt_storage::seq::Seq;
use basalt_storage::slot::{SLOT_COUNT, Slot};
use parking_lot::{Condvar, Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// The only database of a cluster.
pub const DB: DbIndex = DbIndex(0);

/// In the table of holders: none. No group has this number.
const NOBODY: u32 = 0;

/// Who waits for something to be applied looks again after this time, should nobody have told.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// A replica of a data group.
pub struct Replica {
    id: GroupId,
    me: ReplicaId,
    contents: Contents,
    /// Locked while they are replaced by a snapshot: whoever reads from a replica that follows makes sure that they
    /// stay.
    changing: RwLock<()>,
    group: OnceLock<Arc<Group>>,
    role: Mutex<Role>,
    /// It has served in this reign.
    has_served: AtomicBool,
    /// See [`Replica::inherited_seal`].
    inherited_seal: AtomicU64,
    /// What was read of it may be on its way out: until the slots of a reign that is over have been taken away, and
    /// those who have read know that they must look.
    is_read: AtomicBool,
    /// The last batch whose fate is known: committed, or lost.
    settled: AtomicU64,
    applied: AtomicU64,
    synced: AtomicU64,
    /// The last batch that is lost.
    lost: AtomicU64,
    /// The last batch that was handed in when slots of it were let go.
    left: AtomicU64,
    /// Slots wait for that to be applied.
    is_awaited: AtomicBool,
    /// It leaves this node, and whatever its group thread still says, it leads nothing any more.
    is_leaving: AtomicBool,
    /// Told of what is applied.
    taps: RwLock<Vec<Arc<Tap>>>,
}

/// See [`Replica::snapshot`].
#[derive(Clone, Copy)]
pub struct Snapshot {
    pub role: Role,
    /// Whether clients may be served from it.
    pub serves: bool,
    /// Whether the keyspace shows what the group has. One that is just handing over keeps it: it may go on.
    pub holds: bool,
}

impl Replica {
    pub fn new(id: GroupId, me: ReplicaId, contents: Contents) -> Replica {
        let role = Role::Follower { term: group::Term(0), leader: None };
        Replica {
            id,
            me,
            contents,
            changing: RwLock::default(),
            group: OnceLock::new(),
            role: Mutex::new(role),
            has_served: AtomicBool::new(false),
            inherited_seal: AtomicU64::new(0),
            is_read: AtomicBool::new(false),
            settled: AtomicU64::new(0),
            applied: AtomicU64::new(0),
            synced: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            left: AtomicU64::new(0),
            is_awaited: AtomicBool::new(false),
            is_leaving: AtomicBool::new(false),
            taps: RwLock::default(),
        }
    }

    pub fn id(&self) -> GroupId {
        self.id
    }

    /// Which of the group's replicas it is.
    pub fn me(&self) -> ReplicaId {
        self.me
    }

    pub fn contents(&self) -> &Contents {
        &self.contents
    }

    /// In durable mode.
    pub fn engine(&self) -> Option<Arc<Engine>> {
        match &self.contents {
            Contents::OnDisk(disk) => Some(disk.engine()),
            Contents::Memory(_) => None,
        }
    }

    /// Whether what is evaluated for the group goes into its log: always, but for groups of a cache that have no other
    /// replica.
    pub fn keeps_log(&self) -> bool {
        self.contents.in_memory().is_none_or(|memory| memory.keeps_log())
    }

    /// While this is held, the state is not replaced by a snapshot.
    pub fn keep(&self) -> RwLockReadGuard<'_, ()> {
        self.changing.read()
    }

    /// The same for whoever must not wait.
    pub fn try_keep(&self) -> Option<RwLockReadGuard<'_, ()>> {
        self.changing.try_read()
    }

    /// While this is held, nobody reads from the state who does not lead.
    pub fn change_over(&self) -> RwLockWriteGuard<'_, ()> {
        self.changing.write()
    }

    /// The group, once it runs.
    pub fn group(&self) -> Option<&Arc<Group>> {
        self.group.get()
    }

    pub fn put_group(&self, group: Arc<Group>) {
        assert!(self.group.set(group).is_ok(), "a replica has one group");
    }

    pub fn role(&self) -> Role {
        *self.role.lock()
    }

    pub fn put_role(&self, role: Role) {
        if role.serves() && !self.has_served.load(Ordering::Acquire) {
            // Before the lock is taken, since this waits for what is just being applied.
            self.inherited_seal.store(self.contents.sealed_version(), Ordering::Release);
        }
        let mut current = self.role.lock();
        if matches!(role, Role::Leader { .. }) && self.is_leaving.load(Ordering::Acquire) {
            return;
        }
        match role {
            Role::Leader { serves, .. } => {
                self.has_served.fetch_or(serves, Ordering::AcqRel);
                self.is_read.fetch_or(serves, Ordering::AcqRel);
            }
            Role::Follower { .. } => self.has_served.store(false, Ordering::Release),
        }
        *current = role;
    }

    /// The newest version of the cluster's map by which slots were sealed before this node's reign: how that has ended
    /// only a newer map knows. Of later seals this node knows by itself.
    pub fn inherited_seal(&self) -> u64 {
        self.inherited_seal.load(Ordering::Acquire)
    }

    /// It leads nothing from now on.
    pub fn leave(&self) {
        let role = self.role.lock();
        self.is_leaving.store(true, Ordering::Release);
        drop(role);
    }

    /// The batches whose fate is not known, if there are any. Its slots must not be held any more.
    pub fn outstanding(&self) -> Option<RangeInclusive<Seq>> {
        let proposed = Seq(self.group()?.proposed().0);
        let settled = self.settled.load(Ordering::Acquire);
        (settled < proposed.0).then(|| Seq(settled + 1)..=proposed)
    }

    /// Nothing is read of it any more, and those who have read it have been told to look.
    pub fn end_reads(&self) {
        self.is_read.store(false, Ordering::Release);
    }

    /// All that slots depend on, at one moment: nobody may be served by a role from what the keyspace has given up.
    pub fn snapshot(&self) -> Snapshot {
        let runs = self.group().is_some();
        let role = self.role.lock();
        let holds = runs && self.has_served.load(Ordering::Acquire);
        Snapshot { role: *role, serves: runs && role.serves(), holds }
    }

    /// Whether clients may be served from it.
    pub fn serves(&self) -> bool {
        self.snapshot().serves
    }

    pub fn note_committed(&self, up_to: Seq) {
        self.settled.fetch_max(up_to.0, Ordering::AcqRel);
    }

    pub fn note_applied(&self, up_to: Seq) {
        self.applied.fetch_max(up_to.0, Ordering::SeqCst);
    }

    pub fn note_synced(&self, up_to: Seq) {
        self.synced.fetch_max(up_to.0, Ordering::AcqRel);
    }

    /// From now on the tap is told of what is applied. A snapshot that is taken later has what it is not told of.
    pub fn add_tap(&self, tap: &Arc<Tap>) {
        self.taps.write().push(tap.clone());
    }

    pub fn remove_tap(&self, tap: &Arc<Tap>) {
        self.taps.write().retain(|other| !Arc::ptr_eq(other, tap));
    }

    /// Entries were applied.
    pub(crate) fn tell_taps(&self, entries: &[CommittedEntry]) -> Result<(), CodecError> {
        let taps = self.taps.read();
        taps.iter().try_for_each(|tap| entries.iter().try_for_each(|entry| tap.note(entry)))
    }

    /// Slots of it are let go, whose stripe is locked: nothing more is handed in for them.
    fn note_left(&self) {
        let last = self.group().map_or(0, |group| group.proposed().0);
        self.left.fetch_max(last, Ordering::AcqRel);
    }

    /// Whether the engine has all that was evaluated for slots that were let go. If not, has it hurry, and
    /// [`Replica::has_settled_at_last`] says when it is time to ask again.
    pub fn has_settled(&self) -> bool {
        let is_applied = || self.applied.load(Ordering::SeqCst) >= self.left.load(Ordering::SeqCst);
        if is_applied() {
            return true;
        }
        self.is_awaited.store(true, Ordering::SeqCst);
        if let Some(group) = self.group() {
            group.announce();
            group.hurry();
        }
        // Looked at again after the wish is known, so that no end slips by.
        is_applied()
    }

    /// Whether somebody waits for this, and it is so by now. Says it once.
    pub fn has_settled_at_last(&self) -> bool {
        self.is_awaited.load(Ordering::SeqCst)
            && self.applied.load(Ordering::SeqCst) >= self.left.load(Ordering::SeqCst)
            && self.is_awaited.swap(false, Ordering::SeqCst)
    }

    /// What it has is worth nothing any more: it leads nothing from now on, and ends soon.
    pub fn spoil(&self) {
        if let Some(memory) = self.contents.in_memory() {
            self.leave();
            memory.spoil();
        }
    }

    /// In cache mode: the keyspace, whose view has these slots locked, does not show them any more. If this node still
    /// leads, they have gone to another group, or to none: then they are cleared, here and on all other replicas.
    fn part_with(&self, memory: &InMemory, view: &mut View<'_>, slots: &[Slot]) {
        if !memory.keeps_log() {
            view.abandon(slots);
            return memory.let_go(slots, Seq::NONE);
        }
        let leads = matches!(self.role(), Role::Leader { .. });
        if !leads && self.outstanding().is_some() {
            // What is in these slots may be more than was committed.
            self.spoil();
        }
        let proposed = || Seq(self.group().map_or(0, |group| group.proposed().0));
        if !leads && !self.is_leaving.load(Ordering::Acquire) {
            return memory.take_back(view, slots, proposed());
        }
        view.abandon(slots);
        if let (true, Some(group)) = (leads, self.group()) {
            let clear = |slot: &Slot| Effect::Clear { db: DB, slot: *slot, hashes: (0, u32::MAX) };
            // At the end of the process nobody is told of what comes of it.
            let _ = log::propose(group, slots.iter().map(clear).collect());
            group.announce();
        }
        memory.let_go(slots, proposed());
    }

    /// These batches are lost. What depends on them may still be made while the group's slots are held.
    pub fn note_lost(&self, up_to: Seq) -> Fate {
        self.lost.fetch_max(up_to.0, Ordering::AcqRel);
        if let Role::Leader { .. } = self.role() { Fate::Open } else { self.settle() }
    }

    /// The group's slots are not held any more, so nothing can come to depend on what is lost.
    pub fn settle(&self) -> Fate {
        let lost = self.lost.load(Ordering::Acquire);
        for mark in [&self.settled, &self.applied, &self.synced] {
            mark.fetch_max(lost, Ordering::AcqRel);
        }
        Fate::Settled
    }
}

/// All replicas, and the holders of slots.
pub struct Replicas {
    rocks: Arc<Rocks>,
    /// In cache mode.
    memory: Option<Arc<Memory>>,
    seqs: group::SeqCounter,
    fsync: AtomicU8,
    by_group: RwLock<BTreeMap<GroupId, Arc<Replica>>>,
    holders: Box<[AtomicU32; SLOT_COUNT]>,
    /// Whoever waits for something to be applied.
    waiting: Mutex<usize>,
    change: Condvar,
}

impl Replicas {
    pub fn new(rocks: Arc<Rocks>, fsync: Fsync, memory: Option<Arc<Memory>>) -> Replicas {
        Replicas {
            rocks,
            memory,
            seqs: group::SeqCounter::default(),
            fsync: AtomicU8::new(fsync as u8),
            by_group: RwLock::default(),
            holders: Box::new([const { AtomicU32::new(NOBODY) }; SLOT_COUNT]),
            waiting: Mutex::new(0),
            change: Condvar::new(),
        }
    }

    pub fn rocks(&self) -> &Arc<Rocks> {
        &self.rocks
    }

    /// What the groups have in common in cache mode; none in durable mode.
    pub fn memory(&self) -> Option<&Arc<Memory>> {
        self.memory.as_ref()
    }

    /// What numbers the batches of all groups.
    pub fn seqs(&self) -> group::SeqCounter {
        self.seqs.clone()
    }

    pub fn add(&self, replica: Arc<Replica>) {
        let former = self.by_group.write().insert(replica.id(), replica);
        assert!(former.is_none(), "two replicas of a group on one node");
    }

    pub fn remove(&self, group: GroupId) -> Option<Arc<Replica>> {
        self.by_group.write().remove(&group)
    }

    pub fn replica(&self, group: GroupId) -> Option<Arc<Replica>> {
        self.by_group.read().get(&group).cloned()
    }

    pub fn all(&self) -> Vec<Arc<Replica>> {
        self.by_group.read().values().cloned().collect()
    }

    pub fn for_each_group(&self, mut f: impl FnMut(&Group)) {
        self.by_group.read().values().filter_map(|replica| replica.group()).for_each(|group| f(group));
    }

    /// Whether anything that is evaluated goes into a log.
    #[inline]
    pub fn keep_logs(&self) -> bool {
        self.memory.as_ref().is_none_or(|memory| memory.has_logs())
    }

    /// Whether one of the groups is: which of them a command will write to is known only later.
    pub fn is_congested(&self) -> bool {
        self.by_group.read().values().filter_map(|replica| replica.group()).any(|group| group.is_congested())
    }

    pub fn engines(&self) -> Vec<Arc<Engine>> {
        self.by_group.read().values().filter_map(|replica| replica.engine()).collect()
    }

    /// The group that holds a slot. Steady while its stripe is locked.
    pub fn holder(&self, slot: Slot) -> Option<GroupId> {
        match self.holders[usize::from(slot.number())].load(Ordering::Acquire) {
            NOBODY => None,
            group => Some(GroupId(group)),
        }
    }

    /// The groups that hold any slot. Steady while all stripes are locked.
    pub fn holding_groups(&self) -> BTreeSet<GroupId> {
        Slot::all().filter_map(|slot| self.holder(slot)).collect()
    }

    pub fn holding_replica(&self, slot: Slot) -> Option<Arc<Replica>> {
        self.replica(self.holder(slot)?)
    }

    /// Changes who holds these slots, which the caller's view has locked: the keyspace forgets what it knew of them,
    /// and counts what there is now. Returns the slots that had another holder.
    pub fn hold(&self, view: &mut View<'_>, holders: &[(Slot, Option<GroupId>)]) -> Vec<Slot> {
        if self.memory.is_some() {
            return self.hold_in_memory(view, holders);
        }
        let mut left = Vec::new();
        for (slot, holder) in holders {
            let number = holder.map_or(NOBODY, |group| group.0);
            let former = self.holders[usize::from(slot.number())].swap(number, Ordering::AcqRel);
            if former != NOBODY {
                left.push(*slot);
                self.replica(GroupId(former)).into_iter().for_each(|replica| replica.note_left());
            }
        }
        view.abandon(&left);
        for (slot, holder) in holders {
            let Some(engine) = holder.and_then(|group| self.replica(group)?.engine()) else { continue };
            let counts = engine.counts(DB, *slot);
            if counts.entries > 0 {
                let entries = u32::try_from(counts.entries).expect("a slot has fewer than four billion keys");
                view.note_cold(DB, *slot, ColdCount { entries, volatile: counts.volatile as u32 });
            }
        }
        left
    }

    /// The same in cache mode: tables change hands.
    fn hold_in_memory(&self, view: &mut View<'_>, holders: &[(Slot, Option<GroupId>)]) -> Vec<Slot> {
        let (mut left, mut taken) = (BTreeMap::<GroupId, Vec<Slot>>::new(), BTreeMap::<GroupId, Vec<Slot>>::new());
        for (slot, holder) in holders {
            let number = holder.map_or(NOBODY, |group| group.0);
            let former = self.holders[usize::from(slot.number())].swap(number, Ordering::AcqRel);
            if former != NOBODY {
                left.entry(GroupId(former)).or_default().push(*slot);
            }
            if let Some(group) = holder {
                taken.entry(*group).or_default().push(*slot);
            }
        }
        for (group, slots) in &left {
            let replica = self.replica(*group);
            match replica.as_ref().and_then(|replica| Some((replica, replica.contents.in_memory()?))) {
                Some((replica, memory)) => {
                    replica.part_with(memory, view, slots);
                    replica.note_left();
                }
                None => drop(view.abandon(slots)),
            }
        }
        for (group, slots) in &taken {
            if let Some(memory) = self.replica(*group).as_ref().and_then(|replica| replica.contents.in_memory()) {
                memory.show(view, slots);
            }
        }
        left.into_values().flatten().collect()
    }

    pub fn fsync(&self) -> Fsync {
        match self.fsync.load(Ordering::Relaxed) {
            0 => Fsync::Always,
            1 => Fsync::EverySecond,
            _ => Fsync::Never,
        }
    }

    pub fn set_fsync(&self, fsync: Fsync) {
        self.fsync.store(fsync as u8, Ordering::Relaxed);
        self.for_each_group(|group| group.set_fsync(fsync));
    }

    pub fn committed(&self) -> Seq {
        self.front(|replica| &replica.settled)
    }

    pub fn applied(&self) -> Seq {
        self.front(|replica| &replica.applied)
    }

    pub fn synced(&self) -> Seq {
        self.front(|replica| &replica.synced)
    }

    /// The last batch before which no group has one that is not done.
    fn front(&self, done: impl Fn(&Replica) -> &AtomicU64) -> Seq {
        // Read first: a group that has been given a number up to here shows it below, since numbers are given out under
        // the lock behind which `proposed` looks.
        let mut front = self.seqs.last().0;
        for replica in self.by_group.read().values() {
            let Some(group) = replica.group() else { continue };
            let proposed = group.proposed().0;
            let done = done(replica).load(Ordering::Acquire);
            if done < proposed {
                front = front.min(done);
            }
        }
        Seq(front)
    }

    /// Blocks until all batches up to this one are applied, or lost.
    pub fn wait_applied(&self, seq: Seq) -> Result<(), Stopped> {
        let hurry = |group: &Group| {
            group.announce();
            group.hurry();
        };
        self.wait(|| self.applied() >= seq, || self.for_each_group(hurry));
        Ok(())
    }

    /// Blocks until a replica that leads has applied a batch of its own. Returns as well when it leads no more.
    pub fn wait_replica(&self, replica: &Replica, seq: Seq) {
        let leads = || matches!(replica.role(), Role::Leader { .. });
        let is_over = || replica.applied.load(Ordering::Acquire) >= seq.0 || !leads();
        self.wait(is_over, || replica.group().into_iter().for_each(|group| group.hurry_to(group::Seq(seq.0))));
    }

    fn wait(&self, is_over: impl Fn() -> bool, hurry: impl Fn()) {
        let mut waiting = self.waiting.lock();
        *waiting += 1;
        while !is_over() {
            hurry();
            self.change.wait_until(&mut waiting, Instant::now() + LOOK_AGAIN);
        }
        *waiting -= 1;
    }

    /// Something has been applied.
    pub fn wake_waiting(&self) {
        if *self.waiting.lock() > 0 {
            self.change.notify_all();
        }
    }
}

impl super::gate::Leases for Replicas {
    fn are_valid(&self) -> bool {
        // Without other replicas nobody else can come to lead.
        if self.memory.as_ref().is_some_and(|memory| !memory.has_logs()) {
            return true;
        }
        let by_group = self.by_group.read();
        let mut read = by_group.values().filter(|replica| replica.is_read.load(Ordering::Acquire));
        let now = Instant::now();
        read.all(|replica| replica.group().is_none_or(|group| group.lease_valid(now)))
    }
}
