//! Bitmap commands: single bits and ranges of them (`bits`), integers inside strings (`fields`). The values are
//! ordinary strings.

mod bits;
mod fields;

use super::spec::{Flags, Group, Handler::Data, KeyFlags, KeySpec, OW_UPDATE, RO_ACCESS, RW_ACCESS_UPDATE, Spec};
use crate::commands::looks::{self, Looks};
use crate::commands::parse;
use crate::error::CommandError;
use crate::server::Server;
use std::sync::atomic::Ordering::Relaxed;

const WRITES: Flags = Flags::WRITE.or(Flags::DENYOOM);
const READS: Flags = Flags::READONLY;
const READS_FAST: Flags = Flags::READONLY.or(Flags::FAST);

const BITMAP: Spec = Spec { group: Group::Bitmap, ..Spec::DEFAULT };

const FIELD_KEY: KeySpec = KeySpec {
    notes: "The operations decide whether the key is read or changed",
    ..KeySpec::first(RW_ACCESS_UPDATE.or(KeyFlags::VARIABLE_FLAGS))
};

pub const COMMANDS: &[Spec] = &[
    Spec {
        name: "getbit",
        looks: Looks::AtParts(looks::bit),
        arity: 3,
        flags: READS_FAST,
        keys: &[KeySpec::first(RO_ACCESS)],
        since: "2.2.0",
        summary: "Answers one bit of a string.",
        syntax: "key offset",
        handler: Data(bits::read_bit),
        ..BITMAP
    },
    Spec {
        name: "setbit",
        arity: 4,
        flags: WRITES,
        keys: &[KeySpec::first(RW_ACCESS_UPDATE)],
        since: "2.2.0",
        summary: "Writes one bit of a string, which grows if need be.",
        syntax: "key offset value/integer",
        handler: Data(bits::write_bit),
        ..BITMAP
    },
    Spec {
        name: "bitcount",
        arity: -2,
        flags: READS,
        keys: &[KeySpec::first(RO_ACCESS)],
        since: "2.6.0",
        complexity: "O(N)",
        summary: "Counts the set bits of a string.",
        syntax: "key [start end [BYTE | BIT]]",
        handler: Data(bits::count),
        ..BITMAP
    },
    Spec {
        name: "bitpos",
        arity: -3,
        flags: READS,
        keys: &[KeySpec::first(RO_ACCESS)],
        since: "2.8.7",
        complexity: "O(N)",
        summary: "Finds the first bit of a string that is set, or clear.",
        syntax: "key bit [start [end [BYTE | BIT]]]",
        handler: Data(bits::position),
        ..BITMAP
    },
    Spec {
        name: "bitop",
        arity: -4,
        flags: WRITES,
        keys: &[KeySpec::at(2, OW_UPDATE), KeySpec::range(3, -1, 1, RO_ACCESS)],
        since: "2.6.0",
        complexity: "O(N)",
        summary: "Combines strings bit by bit and keeps the result.",
        syntax: "<AND | OR | XOR | NOT> destkey key [key ...]",
        handler: Data(bits::combine),
        ..BITMAP
    },
    Spec {
        name: "bitfield",
        arity: -2,
        flags: WRITES,
        keys: &[FIELD_KEY],
        key_access: Some(fields::access),
        since: "3.2.0",
        complexity: "O(1) for each operation",
        summary: "Reads and writes integers of any width inside a string.",
        syntax: "key [GET encoding offset | [OVERFLOW <WRAP | SAT | FAIL>] <SET encoding offset value/integer | \
                 INCRBY encoding offset increment> [GET encoding offset | [OVERFLOW <WRAP | SAT | FAIL>] \
                 <SET encoding offset value/integer | INCRBY encoding offset increment> ...]]",
        handler: Data(fields::read_and_write),
        ..BITMAP
    },
    Spec {
        name: "bitfield_ro",
        arity: -2,
        flags: READS_FAST,
        keys: &[KeySpec::first(RO_ACCESS)],
        since: "6.0.0",
        complexity: "O(1) for each operation",
        summary: "Reads integers of any width inside a string.",
        syntax: "key [GET encoding offset [GET encoding offset ...]]",
        handler: Data(fields::read_only),
        ..BITMAP
    },
];

const BAD_OFFSET: CommandError = CommandError::new("ERR bit offset is not an integer or out of range");

/// A bit offset: below the end of the longest string that a client may send.
fn offset(server: &Server, text: &[u8]) -> Result<u64, CommandError> {
    let offset = parse::integer(text).map_err(|_| BAD_OFFSET)?;
    in_longest_string(server, offset)
}

fn in_longest_string(server: &Server, offset: i64) -> Result<u64, CommandError> {
    let longest = server.config.hot.proto_max_bulk_len.load(Relaxed);
    u64::try_from(offset).ok().filter(|offset| offset / 8 < longest).ok_or(BAD_OFFSET)
}
