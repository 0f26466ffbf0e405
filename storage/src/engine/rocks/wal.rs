//! Tells a write-ahead log that ends torn from one that is damaged.
//!
//! RocksDB recovers up to the first record that is not sound, and forgets the rest. That is right for what was not
//! synced when the power went: it may be torn, or have holes. It would be wrong for damage to what was synced. So each
//! write to this log is numbered, and carries a mark: its number, and up to which number everything was synced by then.
//! If behind an unsound record there is a sound one that says the unsound one was synced, then data has been lost, and
//! the database is not opened. The witness may be in a later file, but only of the same run, since each run begins its
//! numbers anew. So a mark names its run. If several threads write, RocksDB makes one record of their writes; it has
//! the marks of all of them, in any order.
//!
//! Knows of RocksDB's file format only records (checksum, length, type, in blocks) and where a batch has its first
//! blob.

use crate::crc32c::crc32c;
use crate::effect::wire::Reader;
use crate::engine::Durability;
use std::fs::File;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, Read};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

const BLOCK: usize = 32 << 10;
const HEADER: usize = 4 + 2 + 1;
const FULL: u8 = 1;
const FIRST: u8 = 2;
const LAST: u8 = 4;
const TYPE_MAX: u8 = 11;
/// Sequence number and count.
const BATCH_HEAD: usize = 8 + 4;
/// What a blob in a batch begins with.
const BLOB: u8 = 3;
const MARK: &[u8; 6] = b"number";
const MARK_BYTES: usize = MARK.len() + 3 * 8;

/// One opening of the database. What one opening has written is numbered once, also over several files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run(u64);

impl Run {
    pub(super) fn new() -> Run {
        // Keys of hash maps are random, which is all that is needed.
        Run(RandomState::new().build_hasher().finish())
    }
}

/// The numbers of one run's writes.
pub(super) struct Numbers {
    run: Run,
    given: AtomicU64,
    written: AtomicU64,
    synced: AtomicU64,
}

impl Numbers {
    pub fn new() -> Numbers {
        let zero = || AtomicU64::new(0);
        Numbers { run: Run::new(), given: zero(), written: zero(), synced: zero() }
    }

    /// The number of the next write, and the blob that it has to begin with.
    pub fn next(&self) -> (u64, [u8; MARK_BYTES]) {
        let synced = self.synced.load(Ordering::Acquire);
        let number = self.given.fetch_add(1, Ordering::AcqRel) + 1;
        (number, mark(self.run, number, synced))
    }

    /// The highest number that is in the log.
    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Acquire)
    }

    /// This write is in the log. A sync covers all that lies before it there.
    pub fn note_written(&self, number: u64, durability: Durability) {
        self.written.fetch_max(number, Ordering::AcqRel);
        if durability == Durability::Synced {
            self.synced.fetch_max(number, Ordering::AcqRel);
        }
    }
}

fn mark(run: Run, number: u64, synced: u64) -> [u8; MARK_BYTES] {
    let mut mark = [0; MARK_BYTES];
    let fields = [&MARK[..], &run.0.to_le_bytes(), &number.to_le_bytes(), &synced.to_le_bytes()];
    let mut rest = &mut mark[..];
    for field in fields {
        let (place, behind) = rest.split_at_mut(field.len());
        place.copy_from_slice(field);
        rest = behind;
    }
    mark
}

/// Says what is wrong if something that was synced is not there any more.
pub(super) fn check(directory: &Path) -> io::Result<Result<(), String>> {
    let mut paths = Vec::new();
    for file in std::fs::read_dir(directory)? {
        paths.push(file?.path());
    }
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "log"));
    // Their numbers have leading zeros, up to a million files; and order matters little.
    paths.sort();
    let mut scans = Vec::new();
    for path in &paths {
        scans.push(Scan::default().file(&mut File::open(path)?)?);
    }
    let lost = (0..scans.len()).find_map(|at| Some((at, lost(&scans, at)?)));
    Ok(lost.map_or(Ok(()), |(at, offset)| {
        let name = paths[at].file_name().unwrap_or_default().to_string_lossy().into_owned();
        Err(format!("{name} is unsound at byte {offset}, where it had been synced"))
    }))
}

/// Where this file is unsound although it was synced there.
fn lost(scans: &[Scan], at: usize) -> Option<u64> {
    let Some(offset) = scans[at].unsound else { return lost_end(scans, at) };
    let before = at.checked_sub(1).map(|before| &scans[before]);
    let behind = scans.get(at + 1);
    // A file of one record that is unsound does not say whose it is, but its neighbours do.
    let run = scans[at].run.or_else(|| before?.run.filter(|run| behind.is_some_and(|scan| scan.run == Some(*run))))?;
    let of_run = |from: usize| scans[from..].iter().filter(|scan| scan.run == Some(run));
    let synced = of_run(at).map(|scan| scan.synced).max()?;
    let last = scans[at].last.or_else(|| before.filter(|before| before.run == Some(run))?.last);
    // If nothing sound came before, the number of what is unsound is not known. But a sync covers what lies before.
    let behind = scans[at].behind.or_else(|| of_run(at + 1).find_map(|scan| scan.first));
    let is_lost = last.is_some_and(|last| synced > last) || behind.is_some_and(|behind| synced >= behind);
    is_lost.then_some(offset)
}

/// Where this file ends, although something that was synced came behind: the numbers go on elsewhere, with a gap.
fn lost_end(scans: &[Scan], at: usize) -> Option<u64> {
    let offset = scans[at].blank?;
    let run = scans[at].run?;
    let last = scans[at].last?;
    let behind = || scans[at + 1..].iter().filter(|scan| scan.run == Some(run));
    let (least, synced) = (behind().filter_map(|scan| scan.least).min()?, behind().map(|scan| scan.synced).max()?);
    (least > last + 1 && synced > last).then_some(offset)
}

/// What one file holds.
#[derive(Default)]
struct Scan {
    /// Who wrote it.
    run: Option<Run>,
    /// The first number that was found, and the least.
    first: Option<u64>,
    least: Option<u64>,
    /// From here on there are only zeros.
    blank: Option<u64>,
    /// The highest number in the record whose end has not come yet.
    open: Option<u64>,
    /// The end of what there is of it, in which a mark may begin.
    carried: Vec<u8>,
    /// The highest number of a write that is whole, and lies before what is unsound.
    last: Option<u64>,
    /// Where the first unsound record is.
    unsound: Option<u64>,
    /// The first number that was found sound behind it.
    behind: Option<u64>,
    /// The furthest that a mark says was synced.
    synced: u64,
}

impl Scan {
    fn file(mut self, file: &mut impl Read) -> io::Result<Scan> {
        let mut block = vec![0; BLOCK];
        let mut start = 0;
        loop {
            let len = fill(file, &mut block)?;
            self.block(&block[..len], start);
            if len < BLOCK {
                return Ok(self);
            }
            start += BLOCK as u64;
        }
    }

    fn block(&mut self, block: &[u8], start: u64) {
        if self.blank.is_some() {
            if is_blank(block) {
                return;
            }
            // A hole.
            self.unsound = self.unsound.or(self.blank.take());
        }
        let mut at = 0;
        while at + HEADER <= block.len() {
            match record(&block[at..]) {
                Some((kind, payload)) => {
                    self.record(kind, payload);
                    at += HEADER + payload.len();
                }
                // The part of a file that was not written to yet.
                None if self.open.is_none() && self.unsound.is_none() && is_blank(&block[at..]) => {
                    self.blank = Some(start + at as u64);
                    return;
                }
                None => {
                    self.unsound.get_or_insert(start + at as u64);
                    self.open = None;
                    // That these bytes name a run by accident cannot be.
                    self.run = self.run.or(marked(&block[at + HEADER..]).map(|mark| mark.run));
                    // The length may be what is wrong: the next sound record can be anywhere.
                    let next = (at + 1..block.len()).find(|&next| record(&block[next..]).is_some());
                    at = next.unwrap_or(block.len());
                }
            }
        }
    }

    fn record(&mut self, kind: u8, payload: &[u8]) {
        if matches!(kind, FULL | FIRST)
            && let Some(Mark { run, number, synced }) = marked(payload)
        {
            self.run = Some(run);
            self.first.get_or_insert(number);
            self.least = Some(self.least.map_or(number, |least| least.min(number)));
            self.synced = self.synced.max(synced);
            self.open = Some(number);
            self.carried.clear();
            if self.unsound.is_some() {
                self.behind.get_or_insert(number);
            }
        }
        self.note_marks(payload);
        if matches!(kind, FULL | LAST) {
            let number = self.open.take().filter(|_| self.unsound.is_none());
            self.last = self.last.max(number);
        }
    }
}

impl Scan {
    /// Looks for the marks of further writes in a part of the open record.
    fn note_marks(&mut self, payload: &[u8]) {
        let (Some(open), Some(run)) = (&mut self.open, self.run) else { return };
        let begin = [&MARK[..], &run.0.to_le_bytes()].concat();
        let mut note = |bytes: &[u8]| {
            for at in memchr::memmem::find_iter(bytes, &begin) {
                let number = bytes[at + begin.len()..].first_chunk::<8>();
                *open = number.map_or(*open, |number| u64::from_le_bytes(*number).max(*open));
            }
        };
        note(payload);
        self.carried.extend_from_slice(&payload[..payload.len().min(MARK_BYTES)]);
        note(&self.carried);
        self.carried.clear();
        self.carried.extend_from_slice(&payload[payload.len().saturating_sub(MARK_BYTES)..]);
    }
}

/// The record at the start of these bytes, if it is sound.
fn record(bytes: &[u8]) -> Option<(u8, &[u8])> {
    let (head, rest) = bytes.split_first_chunk::<HEADER>()?;
    let kind = head[6];
    if kind == 0 || (kind > TYPE_MAX && kind < 0x80) {
        return None;
    }
    let payload = rest.get(..usize::from(u16::from_le_bytes([head[4], head[5]])))?;
    let stored = u32::from_le_bytes([head[0], head[1], head[2], head[3]]);
    let sum = crc32c(crc32c(!0, &[kind]), payload);
    (masked(!sum) == stored).then_some((kind, payload))
}

fn is_blank(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}

/// What the mark of a write says.
struct Mark {
    run: Run,
    number: u64,
    synced: u64,
}

/// What the batch at the start of these bytes is marked with.
fn marked(payload: &[u8]) -> Option<Mark> {
    let mut reader = Reader::new(payload.get(BATCH_HEAD..)?);
    (reader.byte().ok()? == BLOB).then_some(())?;
    let mut mark = Reader::new(reader.bytes().ok()?.strip_prefix(MARK)?);
    let mut number = || mark.fixed().ok().map(u64::from_le_bytes);
    Some(Mark { run: Run(number()?), number: number()?, synced: number()? })
}

fn fill(file: &mut impl Read, block: &mut [u8]) -> io::Result<usize> {
    let mut len = 0;
    while len < block.len() {
        match file.read(&mut block[len..]) {
            Ok(0) => break,
            Ok(count) => len += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(len)
}

/// RocksDB stores checksums of what may contain checksums in this disguise.
fn masked(sum: u32) -> u32 {
    sum.rotate_right(15).wrapping_add(0xa282_ead8)
}
