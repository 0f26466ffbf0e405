//! The sparse encoding: runs of registers with equal ranks, each in one or two bytes.
//!
//! The code `00llllll` is a run of l + 1 zeros, `01llllll llllllll` one of up to 16384 zeros, and `1rrrrrll` a
//! run of l + 1 registers (up to four) of rank r + 1 (up to 32). The way a run is split and neighbours are
//! joined again is part of the representation: strings come out byte for byte as Redis makes them.

use super::{Corrupt, REGISTERS};
use std::fmt::Write;

/// The longest zeros in one byte, the longest run of a rank, the largest rank that fits.
const ZEROS_MAX: usize = 64;
const VALUES_MAX: usize = 4;
const RANK_MAX: u8 = 32;

/// How many runs from the one before a change are looked at for neighbours to join.
const JOIN_STEPS: usize = 5;

/// Registers with equal ranks, side by side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) rank: u8,
    pub(super) len: usize,
    /// Bytes of its code.
    width: usize,
}

/// What became of an attempt to raise a register.
pub(super) enum Raised {
    Yes,
    No,
    /// The rank does not fit this encoding, or the string would become longer than allowed.
    TooLarge,
}

/// Appends the code of all registers zero.
pub(super) fn push_empty(bytes: &mut Vec<u8>) {
    let (code, width) = zeros(REGISTERS);
    bytes.extend_from_slice(&code[..width]);
}

/// The runs in order; an error at the end if they do not cover the registers exactly.
pub(super) fn runs(body: &[u8]) -> impl Iterator<Item = Result<Run, Corrupt>> {
    let mut rest = body;
    let mut left = REGISTERS;
    let mut failed = false;
    std::iter::from_fn(move || {
        if failed || (rest.is_empty() && left == 0) {
            return None;
        }
        let Some(run) = decode(rest).filter(|run| run.len <= left) else {
            failed = true;
            return Some(Err(Corrupt));
        };
        rest = &rest[run.width..];
        left -= run.len;
        Some(Ok(run))
    })
}

/// Writes the runs as PFDEBUG DECODE does.
pub(super) fn describe(body: &[u8]) -> Result<String, Corrupt> {
    let mut text = String::new();
    for run in runs(body) {
        let run = run?;
        let separator = if text.is_empty() { "" } else { " " };
        let written = match (run.rank, run.width) {
            (0, 1) => write!(text, "{separator}z:{}", run.len),
            (0, _) => write!(text, "{separator}Z:{}", run.len),
            (rank, _) => write!(text, "{separator}v:{rank},{}", run.len),
        };
        written.expect("writing to a string");
    }
    Ok(text)
}

/// Raises one register to a rank. The body starts at `start` of `bytes`; `max` bounds the length of all of `bytes`.
pub(super) fn raise(bytes: &mut Vec<u8>, start: usize, index: usize, rank: u8, max: usize) -> Result<Raised, Corrupt> {
    if rank > RANK_MAX {
        return Ok(Raised::TooLarge);
    }
    let Found { at, before, first, run } = find(bytes, start, index)?;
    if run.rank >= rank {
        return Ok(Raised::No);
    }
    if run.len == 1 && run.width == 1 {
        bytes[at] = values(rank, 1);
    } else {
        let (codes, width) = split(run, index - first, rank);
        let growth = width - run.width.min(width);
        if growth > 0 && bytes.len() + growth > max {
            return Ok(Raised::TooLarge);
        }
        bytes.splice(at..at + run.width, codes[..width].iter().copied());
    }
    join(bytes, before.unwrap_or(start));
    Ok(Raised::Yes)
}

/// The run that holds a register.
struct Found {
    at: usize,
    /// Where the run before it starts.
    before: Option<usize>,
    /// Its first register.
    first: usize,
    run: Run,
}

fn find(bytes: &[u8], start: usize, index: usize) -> Result<Found, Corrupt> {
    let (mut at, mut before, mut first) = (start, None, 0);
    loop {
        let run = decode(&bytes[at..]).ok_or(Corrupt)?;
        if index < first + run.len {
            // A foreign string's last run can reach too far; splitting it would write a code that does not exist.
            return if first + run.len <= REGISTERS { Ok(Found { at, before, first, run }) } else { Err(Corrupt) };
        }
        before = Some(at);
        first += run.len;
        at += run.width;
    }
}

/// The codes of a run whose register at `offset` gets another rank: what is before it, itself, what is behind it.
fn split(run: Run, offset: usize, rank: u8) -> ([u8; 5], usize) {
    let mut codes = [0; 5];
    let mut width = 0;
    let mut push = |(code, code_width): ([u8; 2], usize)| {
        codes[width..width + code_width].copy_from_slice(&code[..code_width]);
        width += code_width;
    };
    let remainder = |len: usize| {
        if run.rank == 0 { zeros(len) } else { ([values(run.rank, len), 0], 1) }
    };
    let behind = run.len - offset - 1;
    if offset > 0 {
        push(remainder(offset));
    }
    push(([values(rank, 1), 0], 1));
    if behind > 0 {
        push(remainder(behind));
    }
    (codes, width)
}

/// Joins neighbours of equal rank, from the run that starts at `from`.
fn join(bytes: &mut Vec<u8>, from: usize) {
    let mut at = from;
    for _ in 0..JOIN_STEPS {
        let Some(run) = bytes.get(at..).and_then(decode) else {
            return;
        };
        let next = bytes.get(at + run.width..).and_then(decode);
        match next {
            Some(next) if run.rank > 0 && next.rank == run.rank && run.len + next.len <= VALUES_MAX => {
                bytes[at] = values(run.rank, run.len + next.len);
                bytes.remove(at + 1);
            }
            _ => at += run.width,
        }
    }
}

fn decode(body: &[u8]) -> Option<Run> {
    match *body {
        [code, ..] if code & 0x80 != 0 => {
            Some(Run { rank: (code >> 2 & 0x1f) + 1, len: usize::from(code & 3) + 1, width: 1 })
        }
        [code, low, ..] if code & 0x40 != 0 => {
            Some(Run { rank: 0, len: (usize::from(code & 0x3f) << 8 | usize::from(low)) + 1, width: 2 })
        }
        [code, ..] if code & 0x40 == 0 => Some(Run { rank: 0, len: usize::from(code) + 1, width: 1 }),
        _ => None,
    }
}

fn zeros(len: usize) -> ([u8; 2], usize) {
    let code = len - 1;
    if len > ZEROS_MAX { ([0x40 | (code >> 8) as u8, code as u8], 2) } else { ([code as u8, 0], 1) }
}

fn values(rank: u8, len: usize) -> u8 {
    0x80 | (rank - 1) << 2 | (len - 1) as u8
}
