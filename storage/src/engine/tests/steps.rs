//! Random effects that fit the data they meet.

use crate::clock::UnixMs;
use crate::effect::samples;
use crate::effect::{Batch, Cause, DbIndex, Effect, Former, KeyEffect, PLAIN_BYTES_MAX};
use crate::entry::ValueRef;
use crate::keyspace::{Key, Keyspace};
use crate::rng::Rng;
use crate::slot::StripeSet;
use crate::types::End;
use crate::value::{Str, StrForm, Value};

pub const DATABASES: u16 = 3;
const KEYS: u64 = 9;

/// All keys there may be; some share a slot.
pub fn universe() -> Vec<Box<[u8]>> {
    let name = |number| if number % 3 == 0 { format!("{{tag}}{number}") } else { format!("key{number}") };
    (0..KEYS).map(|number| name(number).into_bytes().into()).collect()
}

/// One effect after the other, each applied to the keyspace at once.
pub fn batch(rng: &mut Rng, keyspace: &Keyspace) -> Batch {
    let mut batch = Batch::new();
    for _ in 0..1 + rng.below(4) {
        if let Some(effect) = effect(rng, keyspace) {
            keyspace.apply(vec![effect.clone()], UnixMs(0));
            batch.push(effect);
        }
    }
    batch
}

/// What is known of the value that a change must fit.
enum There {
    Nothing,
    Str,
    List(usize, Vec<u8>),
    Set(Vec<Box<[u8]>>),
    Hash(Vec<Box<[u8]>>),
    Zset(Vec<Box<[u8]>>),
}

fn effect(rng: &mut Rng, keyspace: &Keyspace) -> Option<Effect> {
    let universe = universe();
    let (db, key) = (database(rng), universe[rng.below(KEYS) as usize].clone());
    match rng.below(300) {
        0 => return Some(Effect::Flush { db }),
        1..4 => return Some(Effect::SwapDb { one: db, other: database(rng) }),
        _ => {}
    }
    let there = look(keyspace, db, &key, rng);
    if let There::Nothing = there {
        return Some(Effect::Key { db, key, change: creation(rng) });
    }
    let change = match rng.below(24) {
        0 => {
            let to = universe[rng.below(KEYS) as usize].clone();
            return Some(Effect::Rename { from_db: db, from: key, to_db: database(rng), to });
        }
        1 => KeyEffect::Delete(Cause::Expired),
        2 | 3 => KeyEffect::SetExpiry((rng.below(3) > 0).then(|| UnixMs(rng.below(1000) as i64 - 100))),
        4 => put(rng, former(keyspace, db, &key)),
        _ => match there {
            There::Nothing => unreachable!("handled above"),
            There::Str => splice(rng),
            There::List(len, element) => list_change(rng, len, element.into()),
            There::Set(members) => match rng.below(5) {
                0..3 => KeyEffect::SetAdd { members: names(rng) },
                _ => KeyEffect::SetRemove { members: some_of(rng, members) },
            },
            There::Hash(fields) => match rng.below(5) {
                0..3 => KeyEffect::HashPut { fields: names(rng).into_iter().map(|name| (name, text(rng))).collect() },
                _ => KeyEffect::HashRemove { fields: some_of(rng, fields) },
            },
            There::Zset(members) => match rng.below(5) {
                0..3 => KeyEffect::ZsetPut { members: scored(rng) },
                _ => KeyEffect::ZsetRemove { members: some_of(rng, members) },
            },
        },
    };
    Some(Effect::Key { db, key, change })
}

fn look(keyspace: &Keyspace, db: DbIndex, key: &[u8], rng: &mut Rng) -> There {
    let mut view = keyspace.lock(StripeSet::ALL, UnixMs(0));
    view.stop_expiring();
    match view.peek(db, &Key::new(key)).map(|entry| entry.value()) {
        None => There::Nothing,
        Some(ValueRef::Int(_) | ValueRef::Str(_)) => There::Str,
        Some(ValueRef::List(list)) => {
            let index = rng.below(list.len() as u64) as usize;
            There::List(list.len(), list.get(index).unwrap().to_vec())
        }
        Some(ValueRef::Set(set)) => There::Set(set.iter().map(|member| member[..].into()).collect()),
        Some(ValueRef::Hash(hash)) => There::Hash(hash.iter().map(|field| field.name().into()).collect()),
        Some(ValueRef::Zset(zset)) => There::Zset(zset.iter().map(|(member, _)| member.into()).collect()),
        Some(ValueRef::Outline(_)) => panic!("this keyspace has no engine"),
    }
}

fn creation(rng: &mut Rng) -> KeyEffect {
    match rng.below(6) {
        0 => put(rng, Former::Nothing),
        1 => splice(rng),
        2 => KeyEffect::ListPush { end: end(rng), elements: texts(rng) },
        3 => KeyEffect::SetAdd { members: names(rng) },
        4 => KeyEffect::HashPut { fields: names(rng).into_iter().map(|name| (name, text(rng))).collect() },
        _ => KeyEffect::ZsetPut { members: scored(rng) },
    }
}

/// What is said of an entry that something takes the place of.
fn former(keyspace: &Keyspace, db: DbIndex, key: &[u8]) -> Former {
    let mut view = keyspace.lock(StripeSet::ALL, UnixMs(0));
    view.stop_expiring();
    let entry = view.peek(db, &Key::new(key)).expect("there is an entry");
    match entry.value() {
        ValueRef::Int(_) if entry.expiry().is_none() => Former::Plain,
        ValueRef::Str(bytes) if entry.expiry().is_none() && bytes.len() <= PLAIN_BYTES_MAX => Former::Plain,
        _ => Former::Unknown,
    }
}

fn put(rng: &mut Rng, former: Former) -> KeyEffect {
    let value = match rng.below(8) {
        0 => Value::Str(Str::Bytes(vec![b'L'; 60_000 + rng.below(40_000) as usize], StrForm::Plain)),
        _ => samples::value(rng),
    };
    let former = if rng.below(3) == 0 { Former::Unknown } else { former };
    KeyEffect::Put { value, expiry: (rng.below(3) == 0).then(|| UnixMs(rng.below(1000) as i64)), former }
}

fn splice(rng: &mut Rng) -> KeyEffect {
    let far = [10, 100, 20_000, 100_000][rng.below(4) as usize];
    let long = if rng.below(10) == 0 { 40_000 } else { 20 };
    let (offset, len) = (rng.below(far) as usize, rng.below(long) as usize);
    KeyEffect::Splice { offset, bytes: (0..len).map(|n| n as u8).collect() }
}

fn list_change(rng: &mut Rng, len: usize, element: Box<[u8]>) -> KeyEffect {
    let index = rng.below(len as u64) as usize;
    match rng.below(12) {
        0..4 => KeyEffect::ListPush { end: end(rng), elements: texts(rng) },
        4 => KeyEffect::ListPop { end: end(rng), count: 1 + index },
        5 | 6 => KeyEffect::ListSet { index, element: text(rng) },
        7 | 8 => KeyEffect::ListInsert { index: rng.below(len as u64 + 1) as usize, element: text(rng) },
        9 | 10 => KeyEffect::ListRemove { count: rng.below(7) as i64 - 3, element },
        _ => KeyEffect::ListTrim { start: index / 2, end: len - index / 3 },
    }
}

fn database(rng: &mut Rng) -> DbIndex {
    DbIndex(rng.below(DATABASES.into()) as u16)
}

fn end(rng: &mut Rng) -> End {
    if rng.below(2) == 0 { End::Front } else { End::Back }
}

/// How many elements a change brings: often one, sometimes enough to outgrow a record.
fn many(rng: &mut Rng) -> u64 {
    [1, 1, 1, 3, 10, 80, 900][rng.below(7) as usize]
}

fn text(rng: &mut Rng) -> Box<[u8]> {
    format!("t{}", rng.below(40)).into_bytes().repeat(1 + rng.below(4) as usize).into()
}

fn texts(rng: &mut Rng) -> Vec<Box<[u8]>> {
    (0..many(rng)).map(|_| text(rng)).collect()
}

/// Distinct or not, and often there already.
fn names(rng: &mut Rng) -> Vec<Box<[u8]>> {
    (0..many(rng)).map(|_| format!("n{}", rng.below(1500)).into_bytes().into()).collect()
}

fn scored(rng: &mut Rng) -> Vec<(Box<[u8]>, f64)> {
    names(rng).into_iter().map(|name| (name, 1.0 + rng.below(50) as f64 / 4.0)).collect()
}

/// Some or all members, and one that may not be there.
fn some_of(rng: &mut Rng, mut members: Vec<Box<[u8]>>) -> Vec<Box<[u8]>> {
    match rng.below(4) {
        0 => {}
        1 => members.truncate(members.len() / 2),
        _ => members.truncate(1 + rng.below(3) as usize),
    }
    members.push(format!("n{}", rng.below(1500)).into_bytes().into());
    members
}
