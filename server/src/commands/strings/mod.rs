//! String commands: whole values (`write`, `read`), numbers (`count`), parts (`range`) and comparison (`lcs`).
//!
//! GET, SET and INCR are what clients send most: their handlers allocate nothing. `lifetime` reads the options about
//! the time to live that SET and GETEX share.

mod count;
mod lcs;
mod lifetime;
mod range;
mod read;
mod write;

pub use range::resolve as resolve_range;

use super::spec::{
    Flags, Group, Handler::Data, KeyFlags, KeySpec, OW_INSERT, OW_UPDATE, RO_ACCESS, RO_NONE, RW_ACCESS_DELETE,
    RW_ACCESS_UPDATE, RW_INSERT, RW_UPDATE, Spec, Standing,
};
use crate::commands::looks::{self, Looks};
use lifetime::Term;

const READS: Flags = Flags::READONLY;
const READS_FAST: Flags = Flags::READONLY.or(Flags::FAST);
const WRITES: Flags = Flags::WRITE.or(Flags::DENYOOM);
const WRITES_FAST: Flags = Flags::WRITE.or(Flags::DENYOOM).or(Flags::FAST);

const STRING: Spec = Spec { group: Group::String, ..Spec::DEFAULT };

/// With GET it reads what it replaces, which the arguments decide.
const SET_KEY: KeySpec =
    KeySpec { notes: "ACCESS is for the option GET", ..KeySpec::first(RW_ACCESS_UPDATE.or(KeyFlags::VARIABLE_FLAGS)) };

const GETEX_KEY: KeySpec = KeySpec { notes: "UPDATE is for the time to live", ..KeySpec::first(RW_ACCESS_UPDATE) };

pub const COMMANDS: &[Spec] = &[
    Spec {
        name: "get",
        arity: 2,
        flags: READS_FAST,
        keys: &[KeySpec::first(RO_ACCESS)],
        summary: "Answers the string at a key.",
        syntax: "key",
        handler: Data(read::get),
        ..STRING
    },
    Spec {
        name: "set",
        arity: -3,
        flags: WRITES,
        keys: &[SET_KEY],
        key_access: Some(write::set_access),
        summary: "Sets a key to a string, whatever it held.",
        syntax: "key value [NX | XX] [GET] [EX seconds | PX milliseconds | EXAT unix-time-seconds | \
                 PXAT unix-time-milliseconds | KEEPTTL]",
        handler: Data(write::set),
        ..STRING
    },
    Spec {
        name: "setnx",
        arity: 3,
        flags: WRITES_FAST,
        keys: &[KeySpec::first(OW_INSERT)],
        summary: "Sets a key to a string unless it exists.",
        syntax: "key value",
        handler: Data(write::set_if_absent),
        ..STRING
    },
    Spec {
        name: "setex",
        arity: 4,
        flags: WRITES,
        keys: &[KeySpec::first(OW_UPDATE)],
        since: "2.0.0",
        summary: "Sets a key to a string that lives for some seconds.",
        syntax: "key seconds value",
        handler: Data(|ctx, args| write::set_for(ctx, args, "setex", Term::Seconds)),
        ..STRING
    },
    Spec {
        name: "psetex",
        arity: 4,
        flags: WRITES,
        keys: &[KeySpec::first(OW_UPDATE)],
        since: "2.6.0",
        summary: "Sets a key to a string that lives for some milliseconds.",
        syntax: "key milliseconds value",
        handler: Data(|ctx, args| write::set_for(ctx, args, "psetex", Term::Milliseconds)),
        ..STRING
    },
    Spec {
        name: "getset",
        arity: 3,
        flags: WRITES_FAST,
        keys: &[KeySpec::first(RW_ACCESS_UPDATE)],
        summary: "Sets a key to a string and answers the string that it held.",
        syntax: "key value",
        standing: Standing::Deprecated { since: "6.2.0", replaced_by: "`SET` with `GET`" },
        handler: Data(write::getset),
        ..STRING
    },
    Spec {
        name: "getdel",
        arity: 2,
        flags: Flags::WRITE.or(Flags::FAST),
        keys: &[KeySpec::first(RW_ACCESS_DELETE)],
        since: "6.2.0",
        summary: "Deletes a key and answers the string that it held.",
        syntax: "key",
        handler: Data(write::getdel),
        ..STRING
    },
    Spec {
        name: "getex",
        arity: -2,
        flags: Flags::WRITE.or(Flags::FAST),
        keys: &[GETEX_KEY],
        since: "6.2.0",
        summary: "Answers the string at a key and changes its time to live.",
        syntax: "key [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds | PERSIST]",
        handler: Data(read::getex),
        ..STRING
    },
    Spec {
        name: "mget",
        arity: -2,
        flags: READS_FAST,
        keys: &[KeySpec::range(1, -1, 1, RO_ACCESS)],
        complexity: "O(N), N being the number of keys",
        summary: "Answers the strings at several keys.",
        syntax: "key [key ...]",
        tips: &["request_policy:multi_shard"],
        handler: Data(read::mget),
        ..STRING
    },
    Spec {
        name: "mset",
        arity: -3,
        flags: WRITES,
        keys: &[KeySpec::range(1, -1, 2, OW_UPDATE)],
        since: "1.0.1",
        complexity: "O(N), N being the number of keys",
        summary: "Sets several keys at one moment.",
        syntax: "key value [key value ...]",
        tips: &["request_policy:multi_shard", "response_policy:all_succeeded"],
        handler: Data(write::set_many),
        ..STRING
    },
    Spec {
        name: "msetnx",
        tips: &["request_policy:multi_shard", "response_policy:agg_min"],
        arity: -3,
        flags: WRITES,
        keys: &[KeySpec::range(1, -1, 2, OW_INSERT)],
        since: "1.0.1",
        complexity: "O(N), N being the number of keys",
        summary: "Sets several keys at one moment, unless one of them exists.",
        syntax: "key value [key value ...]",
        handler: Data(write::set_many_if_absent),
        ..STRING
    },
    Spec {
        name: "incr",
        arity: 2,
        flags: WRITES_FAST,
        keys: &[KeySpec::first(RW_ACCESS_UPDATE)],
        summary: "Adds one to the integer at a key.",
        syntax: "key",
        handler: Data(count::increment),
        ..STRING
    },
    Spec {
        name: "incrby",
        arity: 3,
        flags: WRITES_FAST,
        keys: &[KeySpec::first(RW_ACCESS_UPDATE)],
        summary: "Adds to the integer at a key.",
        syntax: "key increment",
        handler: Data(count::increment_by),
        ..STRING
    },
    Spec {
        name: "decr",
        arity: 2,
        flags: WRITES_FAST,
        keys: &[KeySpec::first(RW_ACCESS_UPDATE)],
        summary: "Takes one from the integer at a key.",
        syntax: "key",
        handler: Data(count::decrement),
        ..STRING
    },
    Spec {
        name: "decrby",
        arity: 3,
        flags: WRITES_FAST,
        keys: &[KeySpec::first(RW_ACCESS_UPDATE)],
        summary: "Takes from the integer at a key.",
        syntax: "key decrement",
        handler: Data(count::decrement_by),
        ..STRING
    },
    Spec {
        name: "incrbyfloat",
        arity: 3,
        flags: WRITES_FAST,
        keys: &[KeySpec::first(RW_ACCESS_UPDATE)],
        since: "2.6.0",
        summary: "Adds to the number at a key.",
        syntax: "key increment/double",
        handler: Data(count::increment_by_float),
        ..STRING
    },
    Spec {
        name: "append",
        arity: 3,
        flags: WRITES_FAST,
        keys: &[KeySpec::first(RW_INSERT)],
        since: "2.0.0",
        complexity: "O(1) for small appended strings",
        summary: "Adds bytes to the end of the string at a key.",
        syntax: "key value",
        handler: Data(range::append),
        ..STRING
    },
    Spec {
        name: "strlen",
        looks: Looks::AtOutlines,
        arity: 2,
        flags: READS_FAST,
        keys: &[KeySpec::first(RO_NONE)],
        since: "2.2.0",
        summary: "Answers the length of the string at a key.",
        syntax: "key",
        handler: Data(range::length),
        ..STRING
    },
    Spec {
        name: "getrange",
        looks: Looks::AtParts(looks::bytes),
        arity: 4,
        flags: READS,
        keys: &[KeySpec::first(RO_ACCESS)],
        since: "2.4.0",
        complexity: "O(N), N being the length of the answer",
        summary: "Answers a part of the string at a key.",
        syntax: "key start end",
        handler: Data(range::part),
        ..STRING
    },
    Spec {
        name: "substr",
        looks: Looks::AtParts(looks::bytes),
        arity: 4,
        flags: READS,
        keys: &[KeySpec::first(RO_ACCESS)],
        complexity: "O(N), N being the length of the answer",
        summary: "Answers a part of the string at a key: the old name of GETRANGE.",
        syntax: "key start end",
        standing: Standing::Deprecated { since: "2.0.0", replaced_by: "`GETRANGE`" },
        handler: Data(range::part),
        ..STRING
    },
    Spec {
        name: "setrange",
        arity: 4,
        flags: WRITES,
        keys: &[KeySpec::first(RW_UPDATE)],
        since: "2.2.0",
        complexity: "O(1) for small strings, else O(M), M being the length of the value",
        summary: "Writes bytes into the string at a key.",
        syntax: "key offset value",
        handler: Data(range::overwrite),
        ..STRING
    },
    Spec {
        name: "lcs",
        arity: -3,
        flags: READS,
        keys: &[KeySpec::range(1, 1, 1, RO_ACCESS)],
        since: "7.0.0",
        complexity: "O(N*M), N and M being the lengths of the strings",
        summary: "Finds the longest common subsequence of two strings.",
        syntax: "key1 key2 [LEN] [IDX] [MINMATCHLEN min-match-len] [WITHMATCHLEN]",
        handler: Data(lcs::lcs),
        ..STRING
    },
];
