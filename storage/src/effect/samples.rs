//! Random effects and values for tests, and a form of them that can be compared.

use super::{Cause, DbIndex, Effect, Former, KeyEffect, Mark, Passage};
use crate::clock::UnixMs;
use crate::rdb::dump;
use crate::rdb::neutral::{DumpValue, Neutral};
use crate::rdb::save::Compression;
use crate::rng::Rng;
use crate::slot::{SLOT_COUNT, Slot};
use crate::types::zset::ZsetLimits;
use crate::types::{Encoding, End, Hash, HashLimits, List, ListLimits, Set, SetLimits, Zset};
use crate::value::{Str, StrForm, Value};

/// Any effect at all, whether it fits any data or not.
pub fn effect(rng: &mut Rng) -> Effect {
    let (db, other) = (DbIndex(rng.below(16) as u16), DbIndex(rng.below(300) as u16));
    match rng.below(24) {
        20 => Effect::Clear { db, slot: slot(rng), hashes: (rng.next_u64() as u32, rng.next_u64() as u32) },
        21 => Effect::Mark(mark(rng)),
        22 => Effect::Unmark { passage: Passage::Arriving, name: [rng.next_u64() as u8; Mark::NAME_BYTES] },
        0 => Effect::Flush { db },
        1 => Effect::SwapDb { one: db, other },
        2 => Effect::Rename { from_db: db, from: text(rng), to_db: other, to: text(rng) },
        _ => Effect::Key { db, key: text(rng), change: change(rng) },
    }
}

pub fn mark(rng: &mut Rng) -> Mark {
    let passage = if rng.below(2) == 0 { Passage::Sealed } else { Passage::Arriving };
    let slots = (0..rng.below(4)).map(|_| (slot(rng), slot(rng))).collect();
    Mark { passage, name: [rng.below(4) as u8; Mark::NAME_BYTES], version: rng.next_u64(), slots }
}

fn slot(rng: &mut Rng) -> Slot {
    Slot::new(rng.below(SLOT_COUNT as u64) as u16).expect("below the count")
}

fn change(rng: &mut Rng) -> KeyEffect {
    let end = if rng.below(2) == 0 { End::Front } else { End::Back };
    let size = rng.below(1000) as usize;
    match rng.below(16) {
        0 | 1 => {
            let former = [Former::Unknown, Former::Nothing, Former::Plain][rng.below(3) as usize];
            KeyEffect::Put { value: value(rng), expiry: expiry(rng), former }
        }
        2 => KeyEffect::Delete([Cause::Deleted, Cause::Expired, Cause::Evicted][rng.below(3) as usize]),
        3 => KeyEffect::SetExpiry(expiry(rng)),
        4 => KeyEffect::Splice { offset: size, bytes: text(rng) },
        5 => KeyEffect::ListPush { end, elements: texts(rng) },
        6 => KeyEffect::ListPop { end, count: size },
        7 => KeyEffect::ListSet { index: size, element: text(rng) },
        8 => KeyEffect::ListInsert { index: size, element: text(rng) },
        9 => KeyEffect::ListRemove { count: rng.next_u64() as i64, element: text(rng) },
        10 => KeyEffect::ListTrim { start: size, end: size + 9 },
        11 => KeyEffect::SetAdd { members: texts(rng) },
        12 => KeyEffect::SetRemove { members: texts(rng) },
        13 => KeyEffect::HashPut { fields: texts(rng).into_iter().map(|field| (field, text(rng))).collect() },
        14 => KeyEffect::HashRemove { fields: texts(rng) },
        _ => match rng.below(2) {
            0 => KeyEffect::ZsetPut { members: texts(rng).into_iter().map(|member| (member, score(rng))).collect() },
            _ => KeyEffect::ZsetRemove { members: texts(rng) },
        },
    }
}

/// A value of any type and form.
pub fn value(rng: &mut Rng) -> Value {
    let many = if rng.below(4) == 0 { 700 } else { 6 };
    let count = 1 + rng.below(many);
    match rng.below(7) {
        0 => Value::Str(Str::Int(rng.next_u64() as i64 >> rng.below(64))),
        1 => Value::Str(Str::Bytes(text(rng).into_vec(), StrForm::Plain)),
        2 => Value::Str(Str::Bytes(vec![b'm'; count as usize * 3], StrForm::Modified)),
        3 => {
            let mut list = List::new();
            (0..count).for_each(|_| list.push(End::Back, &text(rng), &ListLimits::default()));
            Value::List(list)
        }
        4 => {
            let (mut set, ints) = (Set::new(), rng.below(2) == 0);
            for _ in 0..count {
                let member = if ints { rng.below(5000).to_string().into_bytes().into() } else { text(rng) };
                set.add(&member, &SetLimits::default());
            }
            Value::Set(set)
        }
        5 => {
            let mut hash = Hash::new();
            for _ in 0..count {
                hash.put(&text(rng), &text(rng), &HashLimits::default());
            }
            Value::Hash(hash)
        }
        _ => {
            let mut zset = Zset::new();
            for _ in 0..count {
                zset.put(&text(rng), score(rng), &ZsetLimits::default());
            }
            Value::Zset(zset)
        }
    }
}

fn text(rng: &mut Rng) -> Box<[u8]> {
    let long = if rng.below(20) == 0 { 300 } else { 8 };
    let len = rng.below(long);
    (0..len).map(|_| rng.below(256) as u8).collect()
}

fn texts(rng: &mut Rng) -> Vec<Box<[u8]>> {
    (0..1 + rng.below(5)).map(|_| text(rng)).collect()
}

fn score(rng: &mut Rng) -> f64 {
    match rng.below(10) {
        0 => f64::INFINITY,
        1 => f64::NEG_INFINITY,
        _ => rng.f64() * 1000.0 - 500.0,
    }
}

fn expiry(rng: &mut Rng) -> Option<UnixMs> {
    (rng.below(2) == 0).then(|| UnixMs(rng.next_u64() as i64))
}

/// A value with the form it has in memory, comparable.
#[derive(Debug, PartialEq)]
pub struct Described {
    value: DumpValue,
    encoding: Encoding,
}

pub fn describe_value(value: &Value) -> Described {
    let encoding = match value {
        Value::Str(Str::Int(_)) => Encoding::Int,
        Value::Str(Str::Bytes(_, StrForm::Plain)) => Encoding::Embstr,
        Value::Str(Str::Bytes(_, StrForm::Modified) | Str::Shared(_)) => Encoding::Raw,
        Value::List(list) => list.encoding(),
        Value::Set(set) => set.encoding(),
        Value::Hash(hash) => hash.encoding(),
        Value::Zset(zset) => zset.encoding(),
        Value::Outline(_) => panic!("effects have values"),
    };
    Described { value: neutral(value), encoding }
}

/// The value alone, whatever its form.
pub fn neutral(value: &Value) -> DumpValue {
    let payload = dump::encode(value, Compression::None);
    dump::decode::<Neutral>(&payload, &()).expect("what is written can be read").sorted()
}

/// What an effect says, as text.
pub fn describe(effect: &Effect) -> String {
    match effect {
        Effect::Key { db, key, change: KeyEffect::Put { value, expiry, former } } => {
            format!("{db:?} {key:?} put {:?} {expiry:?} over {former:?}", describe_value(value))
        }
        other => {
            let mut bytes = Vec::new();
            super::codec::encode(std::slice::from_ref(other), &mut bytes);
            format!("{bytes:?}")
        }
    }
}
