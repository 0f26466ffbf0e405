//! Valid payloads and files, damaged at random: nothing may panic, take unbounded memory, or be accepted wrongly.

use super::dump::{self, DumpError};
use super::file::Reader;
use super::fixtures;
use super::neutral::{DumpValue, Neutral};
use super::save::Compression;
use super::values::{Builder, Limits};
use crate::rng::Rng;

/// Paste a seed here to see its damage again.
const SEED: u64 = 0x5eed;
const ROUNDS_PER_PAYLOAD: usize = 1500;
const FOOTER: usize = 10;

/// Bytes that mean something somewhere in the formats.
const TELLING: [u8; 16] = [0, 1, 2, 0x7f, 0x80, 0x81, 0xc0, 0xc3, 0xe0, 0xef, 0xf0, 0xf1, 0xf4, 0xfe, 0xfd, 0xff];

fn below(rng: &mut Rng, bound: usize) -> usize {
    rng.below(bound as u64) as usize
}

/// Up to four small changes.
fn damage(bytes: &mut Vec<u8>, rng: &mut Rng) {
    for _ in 0..=rng.below(4) {
        if bytes.is_empty() {
            return;
        }
        let at = below(rng, bytes.len());
        match rng.below(8) {
            0 => bytes[at] ^= 1 << rng.below(8),
            1 => bytes[at] = TELLING[below(rng, TELLING.len())],
            2 => bytes[at] = rng.next_u64() as u8,
            3 => bytes.truncate(at),
            4 => bytes.insert(at, TELLING[below(rng, TELLING.len())]),
            5 => drop(bytes.remove(at)),
            6 => {
                let end = at + below(rng, bytes.len() - at);
                let copy = bytes[at..end].to_vec();
                bytes.splice(at..at, copy);
            }
            _ => bytes[at] = bytes[at].wrapping_add(1),
        }
    }
}

/// All bytes and elements of a value together.
fn size(value: &DumpValue) -> usize {
    match value {
        DumpValue::Str(bytes) => bytes.len(),
        DumpValue::List(items) | DumpValue::Set(items) => items.iter().map(|item| item.len() + 1).sum(),
        DumpValue::Hash(fields) => fields.iter().map(|(field, value)| field.len() + value.len() + 2).sum(),
        DumpValue::Zset(members) => members.iter().map(|(member, _)| member.len() + 9).sum(),
    }
}

#[test]
fn damaged_payloads() {
    let mut rng = Rng::seeded(SEED);
    let mut accepted = 0;
    let mut refused = 0;
    for (name, payload, value) in fixtures::payloads() {
        let ours = dump::encode(&value, Compression::Lzf);
        for original in [payload, ours] {
            for _ in 0..ROUNDS_PER_PAYLOAD {
                let mut body = original[..original.len() - FOOTER].to_vec();
                damage(&mut body, &mut rng);
                let typed = dump::decode_body::<Builder>(&body, &Limits::default());
                match dump::decode_body::<Neutral>(&body, &()) {
                    Ok(value) => {
                        // 88 is what LZF can unpack to; the rest is digits and overhead of elements of one byte.
                        assert!(size(&value) <= body.len() * 88 * 8, "{name}: {body:x?}");
                        let again = dump::encode(&value, Compression::Lzf);
                        let again = dump::decode::<Neutral>(&again, &()).expect("what was accepted can be written");
                        assert_eq!(again.sorted(), value.clone().sorted(), "{name}: {body:x?}");
                        let typed = typed.unwrap_or_else(|err| panic!("{name}: {err:?}: {body:x?}"));
                        let again = dump::encode(&typed, Compression::Lzf);
                        let again = dump::decode::<Neutral>(&again, &()).expect("what was accepted can be written");
                        assert_eq!(again.sorted(), value.sorted(), "{name}: {body:x?}");
                        accepted += 1;
                    }
                    Err(DumpError::Format(_)) => {
                        assert!(typed.is_err(), "{name}: {body:x?}");
                        refused += 1;
                    }
                    Err(DumpError::Footer) => panic!("{name}: no footer was looked at"),
                }
            }
        }
    }
    // Both outcomes were really tried.
    assert!(accepted > 1000 && refused > 10_000, "{accepted} accepted, {refused} refused");
}

#[test]
fn damaged_files() {
    let mut rng = Rng::seeded(SEED);
    let original = fixtures::file();
    for _ in 0..10_000 {
        let mut bytes = original.clone();
        damage(&mut bytes, &mut rng);
        // A checksum of zero is not compared, so that the damage itself must be survived.
        let at = bytes.len().saturating_sub(8);
        bytes[at..].fill(0);
        let Ok(mut reader) = Reader::new(&bytes[..]) else {
            continue;
        };
        let mut records = 0;
        while let Ok(Some(_)) = reader.next_record::<Neutral>(&()) {
            records += 1;
            assert!(records <= bytes.len(), "more records than bytes: {bytes:x?}");
        }
    }
}
