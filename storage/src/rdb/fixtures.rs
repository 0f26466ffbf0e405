//! Payloads and a file written by redis-server 7.0.15, and what they hold.
//!
//! The forms of older servers were put together by hand and checked by a RESTORE into that server, except the set
//! listpack, which only 7.2 and later know.

use super::dump;
use super::file::{Access, Entry, Reader, Record};
use super::neutral::DumpValue::{self, Hash, List, Set, Str, Zset};
use super::neutral::Neutral;
use super::save::Compression;
use crate::clock::UnixMs;

/// Name, payload in hexadecimal digits, value (a set's members and a hash's fields sorted).
pub fn payloads() -> Vec<(&'static str, Vec<u8>, DumpValue)> {
    let rows = [
        ("string int8", "00c09c0a00ff77a3b766addee4", Str(b"-100".to_vec())),
        ("string int16", "00c130750a0049977f92988c365b", Str(b"30000".to_vec())),
        ("string int32", "00c2006cca880a0035ffaebd7f1d7a67", Str(b"-2000000000".to_vec())),
        (
            "string int64 as text",
            "0013393232333337323033363835343737353830370a003a657e9481e85f22",
            Str(b"9223372036854775807".to_vec()),
        ),
        (
            "string compressed",
            "004048616263616263616263616263616263616263616263616263616263616263616263616263616263616263616263\
             6162636162636162636162636162636162636162636162636162630a00610b185c2f71180b",
            Str(b"abcabcabcabcabcabcabcabcabcabcabcabcabcabcabcabcabcabcabcabcabcabcabcabc".to_vec()),
        ),
        ("string plain", "000800ff62696e6172790a009a91146352a45e48", Str(b"\x00\xffbinary".to_vec())),
        (
            "list listpack",
            "1201023c3c0000000500816102dffb02f270110104f4001a711802000000099e78787878787878787878787878787878\
             78787878787878787878787878781fff0a00b4856f710d8817c9",
            list(&[b"a", b"-5", b"70000", b"9000000000", b"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"]),
        ),
        (
            "list of three nodes",
            "1203020b0b000000020001010201ff020b0b000000020003010401ff020d0d0000000100846669766505ff0a000f4e09\
             7151a2aeb6",
            list(&[b"1", b"2", b"3", b"4", b"five"]),
        ),
        (
            "list with plain node",
            "1203020e0e000000010085736d616c6c06ff01156120726174686572206c6f6e6720656c656d656e74020c0c00000001\
             0083656e6404ff0a00ac4fb6a2706f90e4",
            list(&[b"small", b"a rather long element", b"end"]),
        ),
        ("set intset16", "0b0e0200000003000000d4fe020007000a00e23208a7311ac0fb", set(&[b"-300", b"2", b"7"])),
        ("set intset32", "0b10040000000200000001000000701101000a002735436efd6656c4", set(&[b"1", b"70000"])),
        (
            "set intset64",
            "0b18080000000200000000e68ee7fdffffff01000000000000000a0072259006799240f1",
            set(&[b"-9000000000", b"1"]),
        ),
        ("set table", "0203057468726565c002036f6e650a002e627803794da443", set(&[b"2", b"one", b"three"])),
        (
            "hash listpack",
            "101e1e0000000400846e616d650586626173616c7407847965617205c7ea02ff0a00198bb961f941b1ac",
            hash(&[(b"name", b"basalt"), (b"year", b"2026")]),
        ),
        (
            "hash table",
            "040201664041767676767676767676767676767676767676767676767676767676767676767676767676767676767676\
             7676767676767676767676767676767676767676767676c007c0080a005f13acee338cd619",
            hash(&[(b"7", b"8"), (b"f", b"vvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvv")]),
        ),
        (
            "zset listpack",
            "1130300000000800836c6f7704842d696e6605836d69640483312e350485746872656506030184686967680583696e66\
             04ff0a006ce8541c7dbb4b6c",
            zset(&[(b"low", f64::NEG_INFINITY), (b"mid", 1.5), (b"three", 3.0), (b"high", f64::INFINITY)]),
        ),
        (
            "zset table",
            "05030574687265650000000000000840036d6964000000000000f83f036c6f77000000000000f0ff0a000dd383134b91\
             47a6",
            zset(&[(b"low", f64::NEG_INFINITY), (b"mid", 1.5), (b"three", 3.0)]),
        ),
        (
            "list ziplist",
            "0a40444400000041000000090000016103f602fe9c03c0e80304f0c063ff05d000e1f50506e000000000000100000a14\
             797979797979797979797979797979797979797916fdff080033ed1e19cc0363ec",
            list(&[
                b"a",
                b"5",
                b"-100",
                b"1000",
                b"-40000",
                b"100000000",
                b"1099511627776",
                b"yyyyyyyyyyyyyyyyyyyy",
                b"12",
            ]),
        ),
        (
            "list quicklist of ziplists",
            "0e0210100000000d000000020000016103f2ff151500000011000000020000057a7a7a7a7a070162ff0800fb71ecf2da\
             fb1731",
            list(&[b"a", b"1", b"zzzzz", b"b"]),
        ),
        ("list plain", "01020161c0050800fe8e9b3659d631af", list(&[b"a", b"5"])),
        (
            "hash ziplist",
            "0d181800000013000000040000016603017603016e03c02c01ff080001d697a2185a6e82",
            hash(&[(b"f", b"v"), (b"n", b"300")]),
        ),
        (
            "hash zipmap",
            "091a0203666f6f030262617278780568656c6c6f0500776f726c64ff0800bd253cadc7500099",
            hash(&[(b"foo", b"bar"), (b"hello", b"world")]),
        ),
        (
            "zset ziplist",
            "0c191900000016000000040000016103042d312e3506016203f3ff080005be21d578d2e58c",
            zset(&[(b"a", -1.5), (b"b", 2.0)]),
        ),
        (
            "zset with text scores",
            "0303016103312e350162ff0163fe080055500233128b0d60",
            zset(&[(b"b", f64::NEG_INFINITY), (b"a", 1.5), (b"c", f64::INFINITY)]),
        ),
        ("set listpack of 7.2", "140c0c00000002008161020501ff0b0098347b5d798dab9c", set(&[b"5", b"a"])),
    ];
    rows.into_iter().map(|(name, hex, value)| (name, unhex(hex), value)).collect()
}

/// A file with AUX fields, a library of functions, two databases, an expiry and idle times.
pub fn file() -> Vec<u8> {
    unhex(
        "524544495330303130fa0972656469732d76657206372e302e3135fa0a72656469732d62697473c040fa056374696d65\
             c2d959016bfa08757365642d6d656dc238c51700fa08616f662d62617365c000f5404223216c7561206e616d653d6d0a\
             72656469732e72656769737465725f66756e6374696f6e282266222c2066756e6374696f6e28292072657475726e2031\
             20656e6429fe00fb0201fc7bd8c32cbb030000f8000001620374776ff842ba000161c001fe02fb0100f80012016c0102\
             0d0d0000000200817802817902ffffe3be7884bede1a8c",
    )
}

fn unhex(digits: &str) -> Vec<u8> {
    let value = |digit: u8| char::from(digit).to_digit(16).expect("a hexadecimal digit") as u8;
    digits.as_bytes().chunks(2).map(|pair| value(pair[0]) << 4 | value(pair[1])).collect()
}

fn list(items: &[&[u8]]) -> DumpValue {
    List(items.iter().map(|item| item.to_vec()).collect())
}

fn set(members: &[&[u8]]) -> DumpValue {
    Set(members.iter().map(|member| member.to_vec()).collect())
}

fn hash(fields: &[(&[u8], &[u8])]) -> DumpValue {
    Hash(fields.iter().map(|(field, value)| (field.to_vec(), value.to_vec())).collect())
}

fn zset(members: &[(&[u8], f64)]) -> DumpValue {
    Zset(members.iter().map(|(member, score)| (member.to_vec(), *score)).collect())
}

#[test]
fn payloads_of_redis_are_read() {
    for (name, payload, value) in payloads() {
        let read = dump::decode::<Neutral>(&payload, &()).unwrap_or_else(|err| panic!("{name}: {err:?}"));
        assert_eq!(read.sorted(), value.clone().sorted(), "{name}");
        for compression in [Compression::None, Compression::Lzf] {
            let again = dump::decode::<Neutral>(&dump::encode(&value, compression), &()).unwrap();
            assert_eq!(again.sorted(), value.clone().sorted(), "{name}, written by us");
        }
    }
}

#[test]
fn a_file_of_redis_is_read() {
    let file = file();
    let mut reader = Reader::new(&file[..]).unwrap();
    let mut aux = Vec::new();
    let mut records = Vec::new();
    while let Some(record) = reader.next_record::<Neutral>(&()).unwrap() {
        match record {
            Record::Aux { name, .. } => aux.push(String::from_utf8(name).unwrap()),
            other => records.push(other),
        }
    }
    assert_eq!(reader.version(), 10);
    assert_eq!(aux, ["redis-ver", "redis-bits", "ctime", "used-mem", "aof-base"]);
    let entry = |db, key: &[u8], value, expiry, idle_seconds| {
        let access = Some(Access::IdleSeconds(idle_seconds));
        Record::Entry(Entry { db, key: key.to_vec(), value, expiry, access })
    };
    let code = b"#!lua name=m\nredis.register_function(\"f\", function() return 1 end)".to_vec();
    let expected = [
        Record::Function { code },
        Record::Database { db: 0 },
        Record::Sizes { keys: 2, expiries: 1 },
        entry(0, b"b", Str(b"two".to_vec()), Some(UnixMs(4102444800123)), 0),
        entry(0, b"a", Str(b"1".to_vec()), None, 698),
        Record::Database { db: 2 },
        Record::Sizes { keys: 1, expiries: 0 },
        entry(2, b"l", list(&[b"x", b"y"]), None, 0),
    ];
    assert_eq!(records, expected);
}
