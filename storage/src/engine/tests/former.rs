//! What whoever evaluates says of former entries is true: in tests the engine looks, and panics if it is not.

use super::Scratch;
use super::steps::{DATABASES, universe};
use crate::clock::UnixMs;
use crate::effect::{self, Batch, DbIndex, Effect, Former, KeyEffect, PLAIN_BYTES_MAX, samples};
use crate::engine::{Engine, GroupId, LogIndex};
use crate::keyspace::{BatchSink, Key, Keyspace, NewExpiry, View};
use crate::rng::Rng;
use crate::seq::Seq;
use crate::slot::StripeSet;
use parking_lot::Mutex;
use std::sync::Arc;

#[derive(Default)]
struct Batches(Mutex<Vec<Batch>>);

impl BatchSink for Batches {
    fn propose(&self, batch: Batch) -> Seq {
        let mut batches = self.0.lock();
        batches.push(batch);
        Seq(batches.len() as u64)
    }
}

fn recording() -> (Keyspace, Arc<Batches>) {
    let (keyspace, batches) = (Keyspace::new(DATABASES), Arc::<Batches>::default());
    keyspace.record_to(batches.clone());
    (keyspace, batches)
}

fn step(rng: &mut Rng, view: &mut View<'_>, now: i64) {
    let universe = universe();
    let mut any = || DbIndex(rng.below(u64::from(DATABASES)) as u16);
    let (db, other) = (any(), any());
    let mut name = || universe[rng.below(universe.len() as u64) as usize].clone();
    let (name, to) = (name(), name());
    let (key, to) = (Key::new(&name), Key::new(&to));
    let soon = UnixMs(now + rng.below(20) as i64);
    let expiry = [NewExpiry::Clear, NewExpiry::Keep, NewExpiry::At(soon)][rng.below(3) as usize];
    match rng.below(40) {
        0..10 => view.put_bytes(db, &key, &vec![b's'; rng.below(60) as usize], expiry),
        10..16 => view.put_int(db, &key, rng.below(1000) as i64, expiry),
        16..18 => view.put_bytes(db, &key, &vec![b'l'; PLAIN_BYTES_MAX - 1 + rng.below(70_000) as usize], expiry),
        18..22 => {
            let value = samples::value(rng);
            view.put(db, &key, value, None);
        }
        22..26 => drop(view.delete(db, &key)),
        26..29 => drop(view.put_expiry(db, &key, Some(soon))),
        29..31 => drop(view.put_expiry(db, &key, None)),
        31..34 => drop(view.rename(db, &key, other, &to)),
        34..38 if matches!(view.string_to_change(db, &key), Ok(Some(_) | None)) => {
            view.splice_string(db, &key, rng.below(20_000) as usize, b"spliced");
        }
        38 => drop(view.flush(db)),
        39 => view.swap_databases(db, other),
        _ => {}
    }
}

#[test]
fn it_is_true_whatever_happens() {
    let scratch = Scratch::new("former");
    let engine = Engine::open(scratch.open(), GroupId(1), DATABASES).unwrap();
    let (keyspace, batches) = recording();
    let mut rng = Rng::seeded(5);
    let mut spared = 0;
    for now in 1..6000 {
        let mut view = keyspace.lock(StripeSet::ALL, UnixMs(now));
        if rng.below(6) == 0 {
            view.hide_due();
        }
        (0..1 + rng.below(3)).for_each(|_| step(&mut rng, &mut view, now));
        drop(view);
        for batch in batches.0.lock().drain(..) {
            let is_known = |effect: &Effect| match effect {
                Effect::Key { change: KeyEffect::Put { former, .. }, .. } => *former != Former::Unknown,
                _ => false,
            };
            spared += batch.iter().filter(|effect| is_known(effect)).count();
            let mut bytes = Vec::new();
            effect::encode(&batch, &mut bytes);
            engine.apply_encoded([(LogIndex(now as u64), Some(&bytes[..]))].into_iter()).unwrap();
        }
    }
    assert!(spared > 1000, "{spared} looks were spared");
    for db in (0..DATABASES).map(DbIndex) {
        assert_eq!(engine.totals(db).entries, keyspace.key_count(db), "{db:?}");
    }
}

/// The formers of the last puts.
fn formers(batches: &Batches) -> Vec<Former> {
    let effects = batches.0.lock().drain(..).flatten().collect::<Vec<_>>();
    let former = |effect: &Effect| match effect {
        Effect::Key { change: KeyEffect::Put { former, .. }, .. } => Some(*former),
        _ => None,
    };
    effects.iter().filter_map(former).collect()
}

#[test]
fn it_is_said_where_it_is_known() {
    let (keyspace, batches) = recording();
    let (db, key) = (DbIndex(0), Key::new(b"key"));
    let put = |now, bytes: &[u8], expiry| {
        keyspace.lock(StripeSet::ALL, UnixMs(now)).put_string(db, &key, bytes, expiry);
    };
    put(1, b"text", NewExpiry::Clear);
    put(1, b"12", NewExpiry::Clear);
    put(1, &[b'x'; PLAIN_BYTES_MAX], NewExpiry::Clear);
    put(1, &[b'x'; PLAIN_BYTES_MAX + 1], NewExpiry::Clear);
    put(1, b"text", NewExpiry::At(UnixMs(5)));
    put(2, b"text", NewExpiry::At(UnixMs(5)));
    let expected = [Former::Nothing, Former::Plain, Former::Plain, Former::Plain, Former::Unknown, Former::Unknown];
    assert_eq!(formers(&batches), expected);
    // Due, and so gone.
    put(9, b"text", NewExpiry::At(UnixMs(10)));
    assert_eq!(formers(&batches), [Former::Nothing]);
    // Due and hidden, and so still there.
    let mut view = keyspace.lock(StripeSet::ALL, UnixMs(20));
    view.hide_due();
    view.put_bytes(db, &key, b"other", NewExpiry::Clear);
    drop(view);
    assert_eq!(formers(&batches), [Former::Unknown]);
}
