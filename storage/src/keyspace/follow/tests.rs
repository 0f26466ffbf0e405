//! Copies of slots that change meanwhile.

use super::*;
use crate::entry::ValueRef;
use crate::keyspace::{BatchSink, NewExpiry};
use crate::rng::Rng;
use crate::seq::Seq;
use crate::types::{End, Hash, List, Set, Zset};
use crate::value::{Str, StrForm, Value};
use std::collections::BTreeMap;
use std::sync::Arc;

const DB: DbIndex = DbIndex(0);

struct Teller(Arc<Followed>);

impl BatchSink for Teller {
    fn propose(&self, batch: Batch) -> Seq {
        self.0.note(&batch);
        Seq::NONE
    }
}

/// Most keys share two slots, one of which is walked in many steps.
fn name(rng: &mut Rng) -> String {
    match rng.below(8) {
        0 => format!("{{small}}{}", rng.below(20)),
        1 => format!("key{}", rng.below(300)),
        _ => format!("{{tag}}{}", rng.below(500)),
    }
}

fn change(keyspace: &Keyspace, rng: &mut Rng, now: UnixMs) {
    let (name, other) = (name(rng), format!("{{tag}}{}", rng.below(500)));
    let (key, other) = (Key::new(name.as_bytes()), Key::new(other.as_bytes()));
    let mut view = keyspace.lock(StripeSet::of(key.slot.stripe()).union(StripeSet::of(other.slot.stripe())), now);
    match rng.below(20) {
        0..4 => drop(view.delete(DB, &key)),
        4 if key.slot == other.slot => drop(view.rename(DB, &key, DB, &other)),
        5 => drop(view.put_expiry(DB, &key, Some(UnixMs(now.0 + 5)))),
        6..10 => {
            if let Ok(mut list) = view.existing_or_new::<List>(DB, &key) {
                list.push(End::Back, std::iter::once(&b"element"[..]));
            }
        }
        10..12 => {
            if let Ok(mut hash) = view.existing_or_new::<Hash>(DB, &key) {
                hash.put([(&rng.next_u64().to_be_bytes()[..], &b"value"[..])].into_iter());
            }
        }
        _ => view.put_string(DB, &key, &rng.next_u64().to_be_bytes(), NewExpiry::Clear),
    }
}

/// What an entry holds, with its elements in an order that is the same for equal ones.
fn elements(entry: EntryRef<'_>) -> Vec<Vec<u8>> {
    let pair = |name: &[u8], value: &[u8]| [name, b"=", value].concat();
    let mut found: Vec<Vec<u8>> = match entry.value() {
        ValueRef::Set(set) => set.iter().map(|member| member.to_vec()).collect(),
        ValueRef::Hash(hash) => hash.iter().map(|field| pair(field.name(), field.value())).collect(),
        ValueRef::Zset(zset) => zset.iter().map(|(name, score)| pair(name, &score.to_be_bytes())).collect(),
        ValueRef::List(list) => return list.iter().map(<[u8]>::to_vec).collect(),
        _ => {
            let mut bytes = Vec::new();
            crate::effect::encode(&[whole(DB, entry)], &mut bytes);
            vec![bytes]
        }
    };
    found.sort();
    found
}

type Contents = BTreeMap<Box<[u8]>, (Vec<Vec<u8>>, Option<UnixMs>)>;

fn contents(keyspace: &Keyspace, slots: &SlotSet) -> Contents {
    let mut found = BTreeMap::new();
    keyspace.lock(StripeSet::ALL, UnixMs(0)).for_each_entry(DB, |entry| {
        if slots.contains(Slot::of_key(entry.key())) {
            found.insert(entry.key().into(), (elements(entry), entry.expiry()));
        }
    });
    found
}

fn follow(keyspace: &Keyspace, slots: &SlotSet) -> Arc<Followed> {
    let followed = Arc::new(Followed::new(DB, slots.iter().collect()));
    keyspace.offer_to(Arc::new(Teller(followed.clone())));
    keyspace.start_recording();
    followed
}

/// Whatever is changed meanwhile, the copy is what was there at the end.
#[test]
fn a_copy_with_what_has_changed_meanwhile_is_the_same() {
    for seed in 0..15 {
        let mut rng = Rng::seeded(seed);
        let (keyspace, now) = (Keyspace::new(1), std::cell::Cell::new(0));
        let tick = || UnixMs(now.get());
        (0..2000).for_each(|_| change(&keyspace, &mut rng, tick()));
        let slots: SlotSet = Slot::all().filter(|slot| slot.number() % 3 != 1).collect();
        let followed = follow(&keyspace, &slots);
        let there = keyspace.beside();
        let changes = |followed: &Followed| {
            while let Some(change) = followed.next().unwrap() {
                let Change::Batch(batch) = change else { panic!("nothing was flushed") };
                there.apply(batch, UnixMs(0));
            }
        };
        for slot in slots.iter() {
            let copied = followed.copy(&keyspace, slot, tick, |batch| {
                there.apply(batch, UnixMs(0));
                for _ in 0..rng.below(200) {
                    now.set(now.get() + 1);
                    change(&keyspace, &mut rng, tick());
                }
                Ok::<(), Lost>(())
            });
            copied.unwrap();
            changes(&followed);
        }
        followed.note_complete();
        (0..500).for_each(|_| change(&keyspace, &mut rng, tick()));
        changes(&followed);
        assert_eq!(contents(&there, &slots), contents(&keyspace, &slots), "seed {seed}");
        assert_eq!(there.key_count(DB), contents(&keyspace, &slots).len() as u64);
        keyspace.stop_recording();
        change(&keyspace, &mut rng, tick());
        assert!(followed.next().unwrap().is_none());
    }
}

#[test]
fn a_flush_ends_a_copying_and_is_passed_on_after_it() {
    let keyspace = Keyspace::new(1);
    let slot = Slot::of_key(b"key");
    let slots: SlotSet = [slot].into_iter().collect();
    let put = || {
        let mut view = keyspace.lock(StripeSet::ALL, UnixMs(0));
        view.put_string(DB, &Key::new(b"key"), b"value", NewExpiry::Clear);
    };
    let followed = follow(&keyspace, &slots);
    followed.copy(&keyspace, slot, || UnixMs(0), |_| Ok::<(), Lost>(())).unwrap();
    followed.note_complete();
    put();
    keyspace.lock(StripeSet::ALL, UnixMs(0)).flush(DB);
    put();
    assert!(matches!(followed.next(), Ok(Some(Change::Batch(_)))));
    assert!(matches!(followed.next(), Ok(Some(Change::Flushed))));
    assert!(matches!(followed.next(), Ok(Some(Change::Batch(_)))));
    assert!(matches!(followed.next(), Ok(None)));
    let other = Followed::new(DB, slots);
    other.note(&[Effect::Flush { db: DB }]);
    assert_eq!(other.next().err(), Some(Lost::Flushed));
}

#[test]
fn what_nobody_fetches_is_lost_and_not_kept() {
    let slot = Slot::of_key(b"key");
    let followed = Followed::new(DB, [slot].into_iter().collect());
    let keyspace = Keyspace::new(1);
    followed.copy(&keyspace, slot, || UnixMs(0), |_| Ok::<(), Lost>(())).unwrap();
    let value = Value::Str(Str::Bytes(vec![b'x'; 1 << 20], StrForm::Plain));
    let put = KeyEffect::Put { value, expiry: None, former: Former::Unknown };
    let batch = vec![Effect::Key { db: DB, key: b"key"[..].into(), change: put }];
    (0..=WAITING_BYTES_MAX >> 20).for_each(|_| followed.note(&batch));
    assert_eq!(followed.next().err(), Some(Lost::Overflow));
    assert!(followed.state.lock().waiting.is_empty());
}

/// Few keys with many elements each, which become empty and other types now and then.
fn change_large(keyspace: &Keyspace, rng: &mut Rng) {
    let kind = rng.below(4);
    let name = format!("{{tag}}{kind}:{}", rng.below(2));
    let key = Key::new(name.as_bytes());
    let other = format!("{{tag}}{kind}:{}", rng.below(3));
    let mut view = keyspace.lock(StripeSet::of(key.slot.stripe()), UnixMs(0));
    let texts: Vec<String> = (0..1 + rng.below(400)).map(|_| rng.below(4000).to_string()).collect();
    let texts: Vec<&[u8]> = texts.iter().map(String::as_bytes).collect();
    match rng.below(40) {
        0 => drop(view.delete(DB, &key)),
        1 if other != name && view.revisit(DB, &key).is_some() => {
            view.rename(DB, &key, DB, &Key::new(other.as_bytes()));
        }
        2 => drop(view.put_expiry(DB, &key, Some(UnixMs(1 + rng.below(1000) as i64)))),
        3 => view.put_string(DB, &key, b"text", NewExpiry::Clear),
        4 => remove_all(&mut view, &key),
        5..16 => remove_some(&mut view, &key, kind, &texts, rng),
        _ => add_some(&mut view, &key, kind, &texts, rng),
    }
}

fn add_some(view: &mut View<'_>, key: &Key<'_>, kind: u64, texts: &[&[u8]], rng: &mut Rng) {
    let end = if rng.below(2) == 0 { End::Front } else { End::Back };
    // A key that is of another type just now stays as it is.
    match kind {
        0 => {
            let Ok(mut set) = view.existing_or_new::<Set>(DB, key) else { return };
            set.add(texts.iter().copied());
        }
        1 => {
            let Ok(mut hash) = view.existing_or_new::<Hash>(DB, key) else { return };
            let fields: Vec<(&[u8], &[u8])> = texts.iter().map(|text| (*text, texts[0])).collect();
            hash.put(fields.into_iter());
        }
        2 => {
            let Ok(mut zset) = view.existing_or_new::<Zset>(DB, key) else { return };
            for text in texts {
                zset.put(text, rng.below(100) as f64);
            }
        }
        _ => {
            let Ok(mut list) = view.existing_or_new::<List>(DB, key) else { return };
            list.push(end, texts.iter().copied());
        }
    }
}

fn remove_some(view: &mut View<'_>, key: &Key<'_>, kind: u64, texts: &[&[u8]], rng: &mut Rng) {
    match kind {
        0 => {
            let Ok(Some(mut set)) = view.existing::<Set>(DB, key) else { return };
            set.remove(texts.iter().copied());
        }
        1 => {
            let Ok(Some(mut hash)) = view.existing::<Hash>(DB, key) else { return };
            hash.remove(texts.iter().copied());
        }
        2 => {
            let Ok(Some(mut zset)) = view.existing::<Zset>(DB, key) else { return };
            zset.remove(texts.iter().copied());
        }
        _ => {
            let Ok(Some(mut list)) = view.existing::<List>(DB, key) else { return };
            let len = list.value().len();
            let (near, count) = (rng.below(len as u64) as usize, texts.len().min(300));
            match rng.below(8) {
                0 | 1 => _ = list.pop(End::Front, count, |_| {}),
                2 | 3 => _ = list.pop(End::Back, count, |_| {}),
                4 => list.set(near, texts[0]),
                5 => list.insert(near, texts[0]),
                6 => list.trim(count.min(len / 8)..len - len / 8),
                _ => _ = list.remove(1, texts[0]),
            }
        }
    }
}

/// It becomes empty by itself, and is gone without having been deleted.
fn remove_all(view: &mut View<'_>, key: &Key<'_>) {
    let Some(entry) = view.revisit(DB, key) else { return };
    match entry.value() {
        ValueRef::Set(set) => {
            let members: Vec<Vec<u8>> = set.iter().map(|member| member.to_vec()).collect();
            let Ok(Some(mut set)) = view.existing::<Set>(DB, key) else { return };
            set.remove(members.iter().map(Vec::as_slice));
        }
        ValueRef::List(_) => {
            let Ok(Some(mut list)) = view.existing::<List>(DB, key) else { return };
            list.pop(End::Front, usize::MAX, |_| {});
        }
        _ => {}
    }
}

/// The same for large collections, which are copied in pieces: none of them holds much.
#[test]
fn large_collections_are_copied_in_pieces_that_agree_with_what_changes() {
    let (mut begun, mut pieces) = (0, 0);
    for seed in 0..20 {
        let mut rng = Rng::seeded(seed);
        let keyspace = Keyspace::new(1);
        (0..200).for_each(|_| change_large(&keyspace, &mut rng));
        let slot = Slot::of_key(b"{tag}");
        let slots: SlotSet = [slot].into_iter().collect();
        let followed = follow(&keyspace, &slots);
        let there = keyspace.beside();
        begun += contents(&keyspace, &slots).values().filter(|(elements, _)| elements.len() > 600).count();
        let copied = followed.copy(
            &keyspace,
            slot,
            || UnixMs(0),
            |batch| {
                pieces += 1;
                there.apply(batch, UnixMs(0));
                (0..rng.below(6)).for_each(|_| change_large(&keyspace, &mut rng));
                Ok::<(), Lost>(())
            },
        );
        copied.unwrap();
        (0..50).for_each(|_| change_large(&keyspace, &mut rng));
        while let Some(Change::Batch(batch)) = followed.next().unwrap() {
            there.apply(batch, UnixMs(0));
        }
        let (found, wanted) = (contents(&there, &slots), contents(&keyspace, &slots));
        for key in wanted.keys().chain(found.keys()) {
            assert!(found.get(key) == wanted.get(key), "seed {seed}: {}", key.escape_ascii());
        }
    }
    assert!(begun > 50 && pieces > 2 * begun, "{begun} large ones in {pieces} pieces");
}

#[test]
fn a_set_of_many_members_is_never_held_as_a_whole() {
    let keyspace = Keyspace::new(1);
    let key = Key::new(b"key");
    let members: Vec<String> = (0..20_000).map(|number| format!("member:{number}")).collect();
    let mut view = keyspace.lock(StripeSet::ALL, UnixMs(0));
    view.existing_or_new::<Set>(DB, &key).unwrap().add(members.iter().map(String::as_bytes));
    view.put_expiry(DB, &key, Some(UnixMs(77)));
    drop(view);
    let slots: SlotSet = [key.slot].into_iter().collect();
    let followed = follow(&keyspace, &slots);
    let there = keyspace.beside();
    let mut most = 0;
    let copied = followed.copy(
        &keyspace,
        key.slot,
        || UnixMs(0),
        |batch| {
            most = most.max(bytes_about(&batch));
            there.apply(batch, UnixMs(0));
            Ok::<(), Lost>(())
        },
    );
    copied.unwrap();
    assert!(most < 200_000, "{most} bytes at once");
    assert!(contents(&there, &slots) == contents(&keyspace, &slots));
}
