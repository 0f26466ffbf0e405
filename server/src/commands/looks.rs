//! How much of the values of its keys a command looks at: in durable mode no more than that is read from disk.

use super::parse::{self, Ranks, ScanOf, ScanOptions};
use crate::resp::Args;
use basalt_storage::engine::PartName;
use basalt_storage::keyspace::{Place, page_of};
use basalt_storage::number::parse_i64;

/// What a command looks at.
#[derive(Clone, Copy)]
pub enum Looks {
    AtValues,
    /// At type, length and expiry; or at nothing, as what deletes or overwrites.
    AtOutlines,
    /// At whether the keys are there. This makes none of them resident.
    AtPresence,
    AtParts(Parts),
}

/// The parts that a command with these arguments looks at in a value of a length; none if it had better have all of it.
pub type Parts = for<'a> fn(Args<'a>, u64) -> Option<Vec<PartName<'a>>>;

/// For more elements than this the value is loaded: reading them one by one takes longer.
const PARTS_MAX: usize = 1024;
/// For more bytes than this a string is loaded.
const RANGE_MAX: usize = 1 << 20;
/// The encoding of a shorter value may depend on its elements.
const ENCODING_LEN_MAX: u64 = 1 << 16;

/// Fields or members, from the third argument on.
pub fn named<'a>(args: Args<'a>, _: u64) -> Option<Vec<PartName<'a>>> {
    (args.len() <= PARTS_MAX).then(|| args.from(2).map(PartName::Named).collect())
}

/// The element of a list at an index.
pub fn element<'a>(args: Args<'a>, _: u64) -> Option<Vec<PartName<'a>>> {
    Some(parse_i64(args.at(2)).map(PartName::Index).into_iter().collect())
}

/// The elements of a list between two indexes.
pub fn elements<'a>(args: Args<'a>, len: u64) -> Option<Vec<PartName<'a>>> {
    let Ok(ranks) = Ranks::parse(args.at(2), args.at(3)) else { return Some(Vec::new()) };
    let range = ranks.of(len as usize);
    (range.len() <= PARTS_MAX).then(|| range.map(|index| PartName::Index(index as i64)).collect())
}

/// The bytes of a string between two offsets.
pub fn bytes<'a>(args: Args<'a>, len: u64) -> Option<Vec<PartName<'a>>> {
    let (Some(start), Some(end)) = (parse_i64(args.at(2)), parse_i64(args.at(3))) else { return Some(Vec::new()) };
    let range = super::strings::resolve_range(start, end, len as usize);
    let name = PartName::Range { start: range.start as u64, len: range.len() as u64 };
    (range.len() <= RANGE_MAX).then(|| vec![name])
}

/// The byte of a string that a bit is in.
pub fn bit<'a>(args: Args<'a>, _: u64) -> Option<Vec<PartName<'a>>> {
    let offset = parse_i64(args.at(2)).and_then(|offset| u64::try_from(offset).ok());
    Some(offset.map(|offset| PartName::Range { start: offset / 8, len: 1 }).into_iter().collect())
}

/// What says how a value would be encoded in memory.
pub fn encoding<'a>(_: Args<'a>, len: u64) -> Option<Vec<PartName<'a>>> {
    (len > ENCODING_LEN_MAX).then(Vec::new)
}

/// A step of HSCAN, SSCAN or ZSCAN.
pub fn page<'a>(args: Args<'a>, _: u64) -> Option<Vec<PartName<'a>>> {
    let step = || {
        let place = Place::from_number(parse::scan_cursor(args.at(2)).ok()?);
        let options = ScanOptions::parse(args, 3, ScanOf::Collection).ok()?;
        Some(page_of(place, options.count))
    };
    Some(step().into_iter().collect())
}
