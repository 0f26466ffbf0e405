//! A dump of one point in time, while clients go on writing.
//!
//! [`Keyspace::begin_dump`] marks every database of every stripe under all locks at once: that is the point in time.
//! Then the dump walks the stripes in short steps, each under one lock. Whoever is about to change an entry that the
//! walk has not reached yet first hands over what the entry still is; a flush hands over its tables whole, and the dump
//! walks them without any lock. Nobody waits for the disk, and nothing is copied but what changes.
//!
//! Invariants: an entry that was there at the point in time comes out exactly once, as it was then (an entry that is
//! due and meets its end before the walk does may be missing: no reader would load it); what was made later never comes
//! out. The queue of handovers needs no bound of its own: it holds each entry of the point in time at most once.

use super::key::Key;
use super::slots::Slots;
use super::{Keyspace, Stripe};
use crate::access;
use crate::clock::UnixMs;
use crate::effect::DbIndex;
use crate::entry::{Entry, EntryRef};
use crate::rdb::file::Access;
use crate::rdb::file_writer::encode_entry;
use crate::rdb::save::{Compression, Encoder};
use crate::slot::{SLOTS_PER_STRIPE, STRIPE_COUNT};
use crate::table::ScanCursor;
use crate::value::Value;
use hashbrown::HashSet;
use parking_lot::{Mutex, MutexGuard};
use std::collections::VecDeque;
use std::sync::Arc;

/// Entries that one step of the walk looks at, about: the longest that it holds a stripe's lock.
const STEP_ENTRIES: usize = 64;
/// A value of more bytes is copied under the lock, and encoded after it.
const LARGE_VALUE_BYTES: usize = 16 << 10;
/// Encoded entries are put together up to this size.
const PIECE_BYTES: usize = 256 << 10;

/// How entries are written.
#[derive(Clone, Copy, Debug)]
pub struct Form {
    pub compression: Compression,
    pub last_use: LastUse,
}

/// What is written about the use of entries.
#[derive(Clone, Copy, Debug)]
pub enum LastUse {
    Nothing,
    IdleTime,
    /// The counter of LFU, which loses one in this many minutes.
    Frequency {
        decay_time: usize,
    },
}

/// A part of the dump, ready to be written.
pub enum Piece {
    /// Entries of one database in the form of an RDB file.
    Encoded { db: DbIndex, entries: usize, bytes: Vec<u8> },
    /// An entry with a large value.
    Large { db: DbIndex, key: Box<[u8]>, value: Value, expiry: Option<UnixMs>, access: Option<Access> },
}

/// What one database had when the dump began.
#[derive(Clone, Copy, Debug)]
pub struct DatabaseSize {
    pub db: DbIndex,
    pub keys: u64,
    pub volatile: u64,
}

/// A dump that is being made. Whoever gives one up calls [`Dump::end`], or writers go on handing over.
pub struct Dump {
    pub sizes: Vec<DatabaseSize>,
    /// [`super::Stats::changes`] at the point in time.
    pub changes: u64,
    handovers: Arc<Handovers>,
    ready: VecDeque<Piece>,
    detached: Vec<(Box<Slots>, Progress)>,
    /// The stripe that is walked next.
    stripe: usize,
}

/// What others have handed over. Its lock is taken after a stripe's, never before.
struct Handovers {
    form: Form,
    now: UnixMs,
    queue: Mutex<Queue>,
}

#[derive(Default)]
struct Queue {
    pieces: VecDeque<Piece>,
    tables: Vec<(Box<Slots>, Progress)>,
}

/// How far the dump has come in one database of one stripe.
pub(super) struct Progress {
    /// The database's number at the point in time; it may have been swapped since.
    db: DbIndex,
    /// The slot that is walked next, and where in it.
    within: usize,
    cursor: ScanCursor,
    /// Keys that the walk passes over: handed over, made since the point in time, or met before by the walk of a slot
    /// that takes several steps, in which an entry may come up twice.
    settled: HashSet<Box<[u8]>>,
    /// Slots that came as a whole since the point in time: nothing of them belongs to the dump.
    left_out: Vec<usize>,
    handovers: Arc<Handovers>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Partial,
    Complete,
}

impl Keyspace {
    /// Makes this moment the point in time of a dump.
    ///
    /// # Panics
    /// If another dump is being made: the caller makes one at a time.
    pub fn begin_dump(&self, form: Form, now: UnixMs) -> Dump {
        let mut stripes: Vec<MutexGuard<'_, Stripe>> = self.stripes.iter().map(|stripe| stripe.lock()).collect();
        let handovers = Arc::new(Handovers { form, now, queue: Mutex::default() });
        let mut sizes = Vec::new();
        for db in (0..self.databases).map(DbIndex) {
            let mut size = DatabaseSize { db, keys: 0, volatile: 0 };
            for stripe in &mut stripes {
                let Some(database) = stripe.databases[db.0 as usize].as_deref_mut() else { continue };
                assert!(database.dump.is_none(), "one dump at a time");
                size.keys += database.entries;
                size.volatile += database.volatile;
                if database.entries > 0 {
                    database.dump = Some(Box::new(Progress::new(db, handovers.clone())));
                }
            }
            if size.keys > 0 {
                sizes.push(size);
            }
        }
        let changes = self.stats.changes.load(std::sync::atomic::Ordering::Relaxed);
        Dump { sizes, changes, handovers, ready: VecDeque::new(), detached: Vec::new(), stripe: 0 }
    }
}

impl Dump {
    /// The next piece; none after the last.
    pub fn next_piece(&mut self, keyspace: &Keyspace) -> Option<Piece> {
        loop {
            if let Some(piece) = self.ready.pop_front() {
                return Some(piece);
            }
            let handed = std::mem::take(&mut *self.handovers.queue.lock());
            self.ready = handed.pieces;
            self.detached.extend(handed.tables);
            if !self.ready.is_empty() {
                continue;
            }
            if let Some((slots, progress)) = self.detached.last_mut() {
                let step = progress.step(slots, &mut self.ready);
                if step == Step::Complete {
                    let (slots, _) = self.detached.pop().expect("the last one was walked");
                    keyspace.reaper.discard_tables(slots);
                }
            } else if self.stripe < STRIPE_COUNT {
                self.step_in_stripe(keyspace);
            } else {
                // Writers hand over under the lock of a stripe that is not complete: nothing can follow.
                return None;
            }
        }
    }

    fn step_in_stripe(&mut self, keyspace: &Keyspace) {
        let mut stripe = keyspace.stripes[self.stripe].lock();
        for database in stripe.databases.iter_mut().flatten() {
            let Some(progress) = &mut database.dump else { continue };
            if progress.step(&database.slots, &mut self.ready) == Step::Complete {
                database.dump = None;
            }
            return;
        }
        self.stripe += 1;
    }

    /// Lets writers go on without handing over, whether the dump is complete or not.
    pub fn end(self, keyspace: &Keyspace) {
        for stripe in &keyspace.stripes {
            for database in stripe.lock().databases.iter_mut().flatten() {
                database.dump = None;
            }
        }
        let handed = std::mem::take(&mut *self.handovers.queue.lock());
        for (slots, _) in self.detached.into_iter().chain(handed.tables) {
            keyspace.reaper.discard_tables(slots);
        }
    }
}

impl Progress {
    fn new(db: DbIndex, handovers: Arc<Handovers>) -> Progress {
        Progress { db, within: 0, cursor: ScanCursor::START, settled: HashSet::new(), left_out: Vec::new(), handovers }
    }

    /// For tables that are taken out of the database and walked by themselves.
    pub(super) fn part(&self) -> Progress {
        Progress {
            settled: self.settled.clone(),
            left_out: self.left_out.clone(),
            handovers: self.handovers.clone(),
            ..*self
        }
    }

    /// The slot at this position has come as a whole.
    pub(super) fn leave_out(&mut self, within: usize) {
        self.left_out.push(within);
    }

    /// Hands over what `key` holds before it changes, if the walk has not been there.
    #[cold]
    pub(super) fn before_change(&mut self, key: &Key<'_>, entry: Option<EntryRef<'_>>) {
        let within = key.slot.within_stripe();
        if within < self.within || self.settled.contains(key.bytes) || self.left_out.contains(&within) {
            return;
        }
        self.settled.insert(key.bytes.into());
        if let Some(entry) = entry {
            self.handovers.encode(self.db, entry, &mut self.handovers.queue.lock().pieces);
        }
    }

    /// Hands over all tables of the database: they are no longer the keyspace's.
    pub(super) fn hand_over_tables(self, slots: Box<Slots>) {
        let handovers = self.handovers.clone();
        handovers.queue.lock().tables.push((slots, self));
    }

    /// Encodes some entries.
    fn step(&mut self, slots: &Slots, pieces: &mut VecDeque<Piece>) -> Step {
        let mut left = STEP_ENTRIES;
        while self.within < SLOTS_PER_STRIPE {
            let is_left_out = self.left_out.contains(&self.within);
            let Some(table) = slots.slot(self.within).filter(|_| !is_left_out).map(|slot| &slot.table) else {
                (self.within, self.cursor) = (self.within + 1, ScanCursor::START);
                continue;
            };
            let is_whole = self.cursor == ScanCursor::START && table.len() <= STEP_ENTRIES;
            let mut visited = 0;
            let mut visit = |entry: &Entry| {
                visited += 1;
                let entry = entry.as_ref();
                let is_new = match is_whole {
                    true => !self.settled.contains(entry.key()),
                    false => self.settled.insert(entry.key().into()),
                };
                if is_new {
                    self.handovers.encode(self.db, entry, pieces);
                }
            };
            self.cursor = match is_whole {
                true => {
                    table.iter().for_each(|entry| visit(&entry));
                    ScanCursor::START
                }
                false => table.scan(self.cursor, left, visit),
            };
            if self.cursor.is_end() {
                self.within += 1;
            }
            left = left.saturating_sub(visited);
            if left == 0 {
                return Step::Partial;
            }
        }
        Step::Complete
    }
}

impl Handovers {
    fn encode(&self, db: DbIndex, entry: EntryRef<'_>, pieces: &mut VecDeque<Piece>) {
        let access = match self.form.last_use {
            LastUse::Nothing => None,
            LastUse::IdleTime => Some(Access::IdleSeconds(access::idle_ms(entry.stamp(), self.now) / 1000)),
            LastUse::Frequency { decay_time } => {
                Some(Access::Frequency(access::decayed(entry.stamp(), decay_time, self.now)))
            }
        };
        if entry.heap_bytes() > LARGE_VALUE_BYTES {
            pieces.push_back(Piece::Large {
                db,
                key: entry.key().into(),
                value: entry.to_value(),
                expiry: entry.expiry(),
                access,
            });
            return;
        }
        let (entries, bytes) = piece_of(db, pieces);
        *entries += 1;
        let mut encoder = Encoder::new(bytes, self.form.compression);
        encode_entry(&mut encoder, entry.key(), &entry.value(), entry.expiry(), access)
            .expect("writing to memory does not fail");
    }
}

/// The piece to which an entry of `db` can be added.
fn piece_of(db: DbIndex, pieces: &mut VecDeque<Piece>) -> (&mut usize, &mut Vec<u8>) {
    let fits = matches!(pieces.back(), Some(Piece::Encoded { db: of, bytes, .. })
        if *of == db && bytes.len() < PIECE_BYTES);
    if !fits {
        pieces.push_back(Piece::Encoded { db, entries: 0, bytes: Vec::new() });
    }
    match pieces.back_mut() {
        Some(Piece::Encoded { entries, bytes, .. }) => (entries, bytes),
        _ => unreachable!("the last piece takes encoded entries"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::NewExpiry;
    use super::*;
    use crate::rdb::file::{Entry as FileEntry, Reader, Record};
    use crate::rdb::file_writer::Writer;
    use crate::rdb::neutral::{DumpValue, Neutral};
    use crate::rng::Rng;
    use crate::slot::StripeSet;
    use crate::types::{End, List};
    use std::collections::BTreeMap;

    const DATABASES: u16 = 3;
    const FORM: Form = Form { compression: Compression::Lzf, last_use: LastUse::Nothing };

    type Data = BTreeMap<(u32, Vec<u8>), DumpValue>;

    /// Half of the keys share a slot, whose walk then takes several steps.
    fn name(rng: &mut Rng) -> Vec<u8> {
        let number = rng.below(700);
        match rng.below(2) {
            0 => format!("{{tag}}{number}").into_bytes(),
            _ => format!("key{number}").into_bytes(),
        }
    }

    fn change(keyspace: &Keyspace, rng: &mut Rng) {
        let db = DbIndex(rng.below(DATABASES.into()) as u16);
        let (name, other) = (name(rng), name(rng));
        let (key, other) = (Key::new(&name), Key::new(&other));
        let mut view = keyspace.lock(StripeSet::ALL, UnixMs(0));
        match rng.below(200) {
            0 => drop(view.flush(db)),
            1 | 2 => view.swap_databases(db, DbIndex(0)),
            3..60 => drop(view.delete(db, &key)),
            60..70 => drop(view.rename(db, &key, DbIndex(1), &other)),
            70..80 => drop(view.put_expiry(db, &key, Some(UnixMs(99)))),
            80..120 => {
                if let Ok(mut list) = view.existing_or_new::<List>(db, &key) {
                    let long = vec![b'x'; rng.below(2000) as usize];
                    list.push(End::Back, std::iter::once(&long[..]));
                }
            }
            120..130 => view.put_string(db, &key, &vec![b'y'; 30_000 + rng.below(9) as usize], NewExpiry::Clear),
            _ => view.put_string(db, &key, &rng.next_u64().to_be_bytes(), NewExpiry::Clear),
        }
    }

    /// Writes the rest of a dump, with up to `changes` changes after each piece, and reads it again.
    fn finish(keyspace: &Keyspace, mut dump: Dump, rng: &mut Rng, changes: u64) -> Data {
        let mut writer = Writer::new(Vec::new(), FORM.compression).unwrap();
        while let Some(piece) = dump.next_piece(keyspace) {
            match piece {
                Piece::Encoded { db, bytes, .. } => {
                    writer.select(db.0.into()).unwrap();
                    writer.encoded(&bytes).unwrap();
                }
                Piece::Large { db, key, value, expiry, access } => {
                    writer.select(db.0.into()).unwrap();
                    writer.entry(&key, &value, expiry, access).unwrap();
                }
            }
            for _ in 0..rng.below(changes + 1) {
                change(keyspace, rng);
            }
        }
        dump.end(keyspace);
        let file = writer.finish().unwrap();
        let mut reader = Reader::new(&file[..]).unwrap();
        let mut data = Data::new();
        while let Some(record) = reader.next_record::<Neutral>(&()).unwrap() {
            if let Record::Entry(FileEntry { db, key, value, .. }) = record {
                let before = data.insert((db, key), value);
                assert!(before.is_none(), "an entry came out twice");
            }
        }
        data
    }

    #[test]
    fn a_dump_is_what_was_there_when_it_began() {
        for seed in 0..20 {
            let mut rng = Rng::seeded(seed);
            let keyspace = Keyspace::new(DATABASES);
            for _ in 0..3000 {
                change(&keyspace, &mut rng);
            }
            let expected = finish(&keyspace, keyspace.begin_dump(FORM, UnixMs(0)), &mut rng, 0);
            let keys: u64 = (0..DATABASES).map(|db| keyspace.key_count(DbIndex(db))).sum();
            assert_eq!(expected.len() as u64, keys);
            let found = finish(&keyspace, keyspace.begin_dump(FORM, UnixMs(0)), &mut rng, 40);
            assert!(found == expected, "seed {seed}: {} entries instead of {}", found.len(), expected.len());
        }
    }

    /// Slots that leave are in the dump as they were, and those that come are not, also if they are the same.
    #[test]
    fn slots_that_come_and_go_during_a_dump_do_not_change_it() {
        for seed in 0..10 {
            let mut rng = Rng::seeded(seed);
            let keyspace = Keyspace::new(1);
            let hidden = keyspace.beside();
            let put = |keyspace: &Keyspace, name: &str, value: &[u8]| {
                let mut view = keyspace.lock(StripeSet::ALL, UnixMs(0));
                view.put_string(DbIndex(0), &Key::new(name.as_bytes()), value, NewExpiry::Clear);
            };
            for number in 0..2000 {
                put(&keyspace, &format!("{{tag}}{number}"), b"old");
                put(&keyspace, &format!("key{number}"), b"old");
                put(&hidden, &format!("{{tag}}{number}"), b"new");
                put(&hidden, &format!("key{number}"), b"new");
            }
            let expected = finish(&keyspace, keyspace.begin_dump(FORM, UnixMs(0)), &mut rng, 0);
            let mut dump = keyspace.begin_dump(FORM, UnixMs(0));
            for _ in 0..rng.below(90) {
                let piece = dump.next_piece(&keyspace);
                dump.ready.extend(piece);
                let handed = std::mem::take(&mut dump.ready);
                dump.step_in_stripe(&keyspace);
                dump.ready.extend(handed);
            }
            let slots: Vec<_> = crate::slot::Slot::all().filter(|slot| slot.number() % 2 == 0).collect();
            let mut view = keyspace.lock(StripeSet::ALL, UnixMs(0));
            view.abandon(&slots);
            view.adopt(&mut hidden.lock(StripeSet::ALL, UnixMs(0)), &slots);
            drop(view);
            (0..2000).for_each(|number| put(&keyspace, &format!("key{number}"), b"newer"));
            assert!(finish(&keyspace, dump, &mut rng, 0) == expected, "seed {seed}");
        }
    }

    #[test]
    fn a_dump_that_is_given_up_leaves_nothing_behind() {
        let mut rng = Rng::seeded(1);
        let keyspace = Keyspace::new(DATABASES);
        (0..500).for_each(|_| change(&keyspace, &mut rng));
        let mut dump = keyspace.begin_dump(FORM, UnixMs(0));
        assert!(dump.next_piece(&keyspace).is_some());
        let handovers = Arc::downgrade(&dump.handovers);
        dump.end(&keyspace);
        assert!(handovers.upgrade().is_none(), "writers would go on handing over");
    }
}
