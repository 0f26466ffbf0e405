//! Keeps the volume of the data directory from getting full: refuses writes while there is still room for those that
//! were accepted.
//!
//! A log that cannot be written ends the process, so this must act earlier. A thread measures several times a second
//! how much room is left when everything accepted has been written, flushed and compacted. Between two measurements a
//! limit on the bytes handed to the log guards what was left. Commands that may grow the data are refused first; those
//! that only take away may use most of the reserve, because they are what makes room.

use super::Durability;
use crate::commands::Command;
use crate::commands::spec::Flags;
use crate::error::{CommandError, NO_SPACE};
use crate::resp::Args;
use crate::server::Server;
use crate::session::Session;
use crate::transaction::Phase;
use basalt_storage::engine::Commitments;
use basalt_storage::volume::Volume;
use std::fs::File;
use std::io;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Weak};
use std::time::Duration;

/// Time between two measurements.
const PAUSE: Duration = Duration::from_millis(50);
/// With more left than this nothing that happens between two measurements can use it up.
const PLENTY_BYTES: u64 = 2 << 30;
/// A byte of a batch is written to the log, to the log's table and to the state's table.
const COPIES: u64 = 3;
/// Of which that of the state is still to come when the log has it.
const COPIES_OF_STATE: u64 = 1;
/// The reserve that is chosen if none is set: this part of the volume, within bounds.
const RESERVE_PART: u64 = 20;
const RESERVE_BYTES: std::ops::RangeInclusive<u64> = (4 << 20)..=(64 << 20);
/// A write-ahead log of this size is worth a flush when room is short.
const WAL_BYTES_MIN: u64 = 4 << 20;
const UNLIMITED: u64 = u64::MAX;

/// How much room there is, and what is refused for lack of it.
#[derive(Debug)]
pub struct Space {
    /// Bytes of proposals, since the start, up to which commands are admitted that grow the data.
    growth_limit: AtomicU64,
    /// The same for those that change it without adding to it.
    change_limit: AtomicU64,
    is_short: AtomicBool,
    /// A flush would give back what the write-ahead log takes.
    wants_flush: AtomicBool,
    /// There is room for a flush. One that finds none ends all writing, so then it must not be tried.
    can_flush: AtomicBool,
    free: AtomicU64,
    reserve: AtomicU64,
    refusals: AtomicU64,
}

/// For INFO.
#[derive(Clone, Copy, Debug)]
pub struct Report {
    pub is_short: bool,
    pub free: u64,
    pub reserve: u64,
    pub refusals: u64,
}

/// What a command does to the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Demand {
    Reads,
    Changes,
    Grows,
}

/// A part of a volume that something may take which is not data, of at most `most` bytes.
pub(super) fn part(volume: Volume, most: u64) -> u64 {
    (volume.total / RESERVE_PART).clamp(*RESERVE_BYTES.start(), most)
}

impl Default for Space {
    fn default() -> Space {
        Space {
            growth_limit: AtomicU64::new(UNLIMITED),
            change_limit: AtomicU64::new(UNLIMITED),
            is_short: AtomicBool::new(false),
            wants_flush: AtomicBool::new(false),
            can_flush: AtomicBool::new(false),
            free: AtomicU64::new(0),
            reserve: AtomicU64::new(0),
            refusals: AtomicU64::new(0),
        }
    }
}

impl Space {
    /// Refuses a command for which there may be no room.
    #[inline]
    pub fn admit(
        &self,
        durability: &Durability,
        session: &Session,
        command: &Command,
        args: Args<'_>,
    ) -> Result<(), CommandError> {
        if self.growth_limit.load(Relaxed) == UNLIMITED {
            return Ok(());
        }
        self.admit_to_rest(durability, session, command, args)
    }

    #[cold]
    fn admit_to_rest(
        &self,
        durability: &Durability,
        session: &Session,
        command: &Command,
        args: Args<'_>,
    ) -> Result<(), CommandError> {
        let limit = match demand(session, command) {
            Demand::Reads => return Ok(()),
            Demand::Changes => &self.change_limit,
            Demand::Grows => &self.growth_limit,
        };
        let proposed = durability.groups.proposal_bytes();
        let bytes = args.total_bytes() + queued_bytes(session, command);
        if proposed.saturating_add(bytes as u64) <= limit.load(Relaxed) {
            return Ok(());
        }
        self.refusals.fetch_add(1, Relaxed);
        Err(NO_SPACE)
    }

    pub fn can_flush(&self) -> bool {
        self.can_flush.load(Relaxed)
    }

    pub fn is_short(&self) -> bool {
        self.is_short.load(Relaxed)
    }

    /// Whether a flush is wanted; it is not any more, then.
    pub fn take_wish_to_flush(&self) -> bool {
        self.wants_flush.load(Relaxed) && self.wants_flush.swap(false, Relaxed)
    }

    pub fn report(&self) -> Report {
        Report {
            is_short: self.is_short(),
            free: self.free.load(Relaxed),
            reserve: self.reserve.load(Relaxed),
            refusals: self.refusals.load(Relaxed),
        }
    }

    /// Takes over what was measured.
    fn note(&self, volume: Volume, reserve: u64, needs: Needs) {
        self.free.store(volume.free, Relaxed);
        self.reserve.store(reserve, Relaxed);
        let spare = volume.free.saturating_sub(needs.accepted());
        let left = spare.saturating_sub(needs.commitments.compaction_bytes).saturating_sub(reserve);
        if left > PLENTY_BYTES {
            self.growth_limit.store(UNLIMITED, Relaxed);
            self.change_limit.store(UNLIMITED, Relaxed);
        } else {
            let limit = |bytes: u64| needs.proposed.saturating_add(bytes / COPIES);
            // A compaction that finds no room is tried again later; a delete that is refused makes no room at all.
            self.change_limit.store(limit(spare.saturating_sub(reserve / 4)), Relaxed);
            self.growth_limit.store(if self.is_short() { 0 } else { limit(left) }, Relaxed);
        }
        self.can_flush.store(spare >= RESERVE_BYTES.start() / 4, Relaxed);
        let wal = needs.commitments.wal_bytes;
        if wal >= WAL_BYTES_MIN && left < reserve.saturating_add(wal.saturating_mul(2)) {
            self.wants_flush.store(true, Relaxed);
        }
        self.note_shortage(volume, reserve, left);
    }

    /// It ends later than it begins, so that it does not begin again at once.
    fn note_shortage(&self, volume: Volume, reserve: u64, left: u64) {
        if !self.is_short() && left <= reserve / 8 {
            self.is_short.store(true, Relaxed);
            self.growth_limit.store(0, Relaxed);
            tracing::warn!(
                free_bytes = volume.free,
                reserve_bytes = reserve,
                "the disk is full: writes are refused with NOSPACE, reads go on; delete data or make room on the volume"
            );
        } else if self.is_short() && left >= reserve / 2 {
            self.is_short.store(false, Relaxed);
            tracing::info!(free_bytes = volume.free, "there is room on the disk again: writes are taken again");
        }
    }
}

/// What is accepted and not yet on disk in all its copies.
#[derive(Clone, Copy, Debug, Default)]
struct Needs {
    /// Bytes that were ever handed in. Read before the others, which makes them cover it.
    proposed: u64,
    queued: u64,
    unapplied: u64,
    commitments: Commitments,
}

impl Needs {
    fn of(durability: &Durability) -> Needs {
        let needs = durability.groups.with_figures(|figures| Needs {
            proposed: figures.proposal_bytes.load(Relaxed),
            queued: figures.queued_bytes.load(Relaxed),
            unapplied: figures.unapplied_bytes.load(Relaxed),
            commitments: Commitments::default(),
        });
        Needs { commitments: durability.groups.rocks().commitments(), ..needs }
    }

    /// What must be written whatever comes next.
    fn accepted(self) -> u64 {
        self.queued * COPIES + self.unapplied * COPIES_OF_STATE + self.commitments.memtable_bytes
    }
}

/// Starts the thread that measures; it ends with the server.
pub(super) fn start(server: &Arc<Server>) -> io::Result<()> {
    let server = Arc::downgrade(server);
    std::thread::Builder::new().name("space".into()).spawn(move || run(&server))?;
    Ok(())
}

fn run(server: &Weak<Server>) {
    let mut has_failed = false;
    while let Some(server) = server.upgrade() {
        if let Err(error) = measure(&server)
            && !std::mem::replace(&mut has_failed, true)
        {
            tracing::error!(%error, "how much room is on the disk cannot be found out");
        }
        drop(server);
        std::thread::sleep(PAUSE);
    }
}

fn measure(server: &Server) -> io::Result<()> {
    let Some(durability) = server.durability() else { return Ok(()) };
    let volume = Volume::of(&File::open(durability.groups.rocks().directory())?)?;
    let reserve = match server.config.int("disk-reserve") as u64 {
        0 => part(volume, *RESERVE_BYTES.end()),
        set => set,
    };
    // Looking closer costs a little.
    let is_far_from_full = volume.free > 4 * PLENTY_BYTES + server.config.int("engine-memory") as u64 + reserve;
    let needs = if is_far_from_full { Needs::default() } else { Needs::of(durability) };
    durability.space.note(volume, reserve, needs);
    Ok(())
}

/// A transaction demands what the hungriest of its commands does.
fn demand(session: &Session, command: &Command) -> Demand {
    match (&session.transaction.phase, command.spec.name) {
        (Phase::Queueing { queue, .. }, "exec") => {
            queue.iter().map(|queued| demand_of(queued.command)).max().unwrap_or(Demand::Reads)
        }
        _ => demand_of(command),
    }
}

fn demand_of(command: &Command) -> Demand {
    let flags = command.spec.flags;
    if flags.contains(Flags::WRITE | Flags::DENYOOM) {
        Demand::Grows
    } else if flags.contains(Flags::WRITE) {
        Demand::Changes
    } else {
        Demand::Reads
    }
}

/// The bytes that wait in a transaction, if this command runs it.
fn queued_bytes(session: &Session, command: &Command) -> usize {
    match (&session.transaction.phase, command.spec.name) {
        (Phase::Queueing { .. }, "exec") => session.client.info.queued_bytes.load(Relaxed),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn note(space: &Space, free: u64) {
        space.note(Volume { total: 100 * MIB, free }, 8 * MIB, Needs { proposed: 1000, ..Needs::default() });
    }

    #[test]
    fn with_plenty_left_nothing_is_counted() {
        let space = Space::default();
        note(&space, PLENTY_BYTES + 9 * MIB);
        assert_eq!(space.growth_limit.load(Relaxed), UNLIMITED);
    }

    #[test]
    fn what_is_left_bounds_what_is_admitted_until_the_next_look() {
        let space = Space::default();
        note(&space, 28 * MIB);
        assert_eq!(space.growth_limit.load(Relaxed), 1000 + 20 * MIB / COPIES);
        assert_eq!(space.change_limit.load(Relaxed), 1000 + 26 * MIB / COPIES);
        assert!(!space.is_short());
    }

    #[test]
    fn a_shortage_ends_later_than_it_begins_and_leaves_room_for_deletes() {
        let space = Space::default();
        let mut states = Vec::new();
        for free in [10, 9, 10, 11, 12, 10] {
            note(&space, free * MIB);
            states.push(space.is_short());
        }
        assert_eq!(states, [false, true, true, true, false, false]);
        note(&space, 7 * MIB);
        assert_eq!(space.growth_limit.load(Relaxed), 0);
        assert_eq!(space.change_limit.load(Relaxed), 1000 + 5 * MIB / COPIES);
    }

    #[test]
    fn what_is_accepted_keeps_its_room() {
        let commitments = Commitments { memtable_bytes: MIB, compaction_bytes: 2 * MIB, wal_bytes: 0 };
        let needs = Needs { proposed: 0, queued: MIB, unapplied: MIB, commitments };
        let space = Space::default();
        space.note(Volume { total: 100 * MIB, free: 21 * MIB }, 8 * MIB, needs);
        assert_eq!(space.growth_limit.load(Relaxed), 6 * MIB / COPIES);
        assert_eq!(space.change_limit.load(Relaxed), 14 * MIB / COPIES);
    }
}
