//! Tells a write-ahead log that ends torn from one that is damaged.
//!
//! RocksDB recovers up to the first record that is not sound, and forgets the rest. That is right for what was not
//! synced when the power went: it may be torn, or have holes. It would be wrong for damage to what was synced. So each
//! write of the log carries a mark: the sequence number up to which everything was synced by then. If behind an
//! unsound record there is a sound one that says the unsound one was synced, then data has been lost, and the database
//! is not opened. The witness may be in a later file, but only of the same run: another run may number anew what a
//! crash tore off. So a mark names its run.
//!
//! Knows of RocksDB's file format only records (checksum, length, type, in blocks) and where a batch has its sequence
//! number, its count and its first blob.

use crate::crc32c::crc32c;
use crate::effect::wire::Reader;
use std::fs::File;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, Read};
use std::path::Path;

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
const MARK: &[u8; 6] = b"synced";

/// One opening of the database. What one opening has written is numbered once, also over several files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run(u64);

impl Run {
    pub(super) fn new() -> Run {
        // Keys of hash maps are random, which is all that is needed.
        Run(RandomState::new().build_hasher().finish())
    }
}

/// The blob that says up to which sequence number everything was synced.
pub(super) fn mark(run: Run, synced: u64) -> [u8; 22] {
    let mut mark = [0; 22];
    mark[..6].copy_from_slice(MARK);
    mark[6..14].copy_from_slice(&run.0.to_le_bytes());
    mark[14..].copy_from_slice(&synced.to_le_bytes());
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
    let (offset, sequence) = scans[at].unsound?;
    let before = at.checked_sub(1).map(|before| &scans[before]);
    let behind = scans.get(at + 1);
    // A file of one record that is unsound does not say whose it is, but its neighbours do.
    let run = scans[at].run.or_else(|| before?.run.filter(|run| behind.is_some_and(|scan| scan.run == Some(*run))))?;
    let first_lost = match (sequence, before) {
        (0, Some(before)) if before.run == Some(run) => before.next,
        _ => sequence,
    };
    let of_run = scans[at..].iter().filter(|scan| scan.run == Some(run));
    let synced = of_run.map(|scan| scan.synced).max()?;
    // Zero: nothing sound came before, so the number of what is unsound is not known.
    let is_lost = (first_lost > 0 && synced >= first_lost) || scans[at].behind.is_some_and(|behind| synced >= behind);
    is_lost.then_some(offset)
}

/// What one file holds.
#[derive(Default)]
struct Scan {
    /// Who wrote it.
    run: Option<Run>,
    /// The record whose end has not come yet: its sequence number and count.
    open: Option<(u64, u64)>,
    /// The first sequence number that has not been seen.
    next: u64,
    /// Where the first unsound record is, and its sequence number if that is known.
    unsound: Option<(u64, u64)>,
    /// The first sequence number that was found sound behind it.
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
        let mut at = 0;
        while at + HEADER <= block.len() {
            match record(&block[at..]) {
                Some((kind, payload)) => {
                    self.record(kind, payload);
                    at += HEADER + payload.len();
                }
                None => {
                    if self.unsound.is_none() {
                        let sequence = self.open.map_or(self.next, |(sequence, _)| sequence);
                        self.unsound = Some((start + at as u64, sequence));
                    }
                    self.open = None;
                    // That these bytes name a run by accident cannot be.
                    let mark = batch_head(&block[at + HEADER..]).and_then(|head| head.mark);
                    self.run = self.run.or(mark.map(|(run, _)| run));
                    // The length may be what is wrong: the next sound record can be anywhere.
                    let next = (at + 1..block.len()).find(|&next| record(&block[next..]).is_some());
                    at = next.unwrap_or(block.len());
                }
            }
        }
    }

    fn record(&mut self, kind: u8, payload: &[u8]) {
        if matches!(kind, FULL | FIRST)
            && let Some(BatchHead { sequence, count, mark }) = batch_head(payload)
        {
            self.open = Some((sequence, count));
            if self.unsound.is_some() {
                self.behind.get_or_insert(sequence);
            }
            if let Some((run, synced)) = mark {
                self.run = Some(run);
                self.synced = self.synced.max(synced);
            }
        }
        if matches!(kind, FULL | LAST)
            && let Some((sequence, count)) = self.open.take()
        {
            self.next = sequence + count;
        }
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

/// How a batch begins.
struct BatchHead {
    sequence: u64,
    count: u64,
    /// What its mark says, if it begins with one: the run, and what was known to be synced.
    mark: Option<(Run, u64)>,
}

fn batch_head(payload: &[u8]) -> Option<BatchHead> {
    let (head, rest) = payload.split_first_chunk::<BATCH_HEAD>()?;
    let (sequence, count) = head.split_first_chunk::<8>()?;
    let count = u32::from_le_bytes(count.try_into().ok()?);
    Some(BatchHead { sequence: u64::from_le_bytes(*sequence), count: count.into(), mark: marked(rest) })
}

fn marked(rest: &[u8]) -> Option<(Run, u64)> {
    let mut reader = Reader::new(rest);
    (reader.byte().ok()? == BLOB).then_some(())?;
    let (mark, rest) = reader.bytes().ok()?.split_first_chunk::<6>()?;
    (mark == MARK).then_some(())?;
    let (run, synced) = rest.split_first_chunk::<8>()?;
    Some((Run(u64::from_le_bytes(*run)), u64::from_le_bytes(synced.try_into().ok()?)))
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
