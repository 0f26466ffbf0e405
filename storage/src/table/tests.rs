//! The table against a model, under every operation, and the laws of its walks.
//!
//! Items count how many of them are alive, so that each test also proves that nothing leaks and nothing is freed
//! twice. The sequences are drawn from seeds that a failing assertion names.

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use proptest::prelude::{ProptestConfig, Strategy, any, prop, prop_oneof, proptest};

use super::*;

/// An item with a value to tell two with the same key apart.
struct Pebble(NonNull<Body>);

struct Body {
    key: Vec<u8>,
    value: u64,
    alive: Rc<Cell<isize>>,
}

// SAFETY: the pointer is that of a box which only `drop` gives back; the key is never changed.
unsafe impl Item for Pebble {
    fn key(&self) -> &[u8] {
        &self.body().key
    }

    fn into_raw(self) -> NonNull<u8> {
        ManuallyDrop::new(self).0.cast()
    }

    unsafe fn from_raw(raw: NonNull<u8>) -> Self {
        Self(raw.cast())
    }
}

impl Pebble {
    fn new(key: u64, value: u64, alive: &Rc<Cell<isize>>) -> Self {
        alive.set(alive.get() + 1);
        let body = Body { key: key_bytes(key), value, alive: Rc::clone(alive) };
        Self(NonNull::from(Box::leak(Box::new(body))))
    }

    fn body(&self) -> &Body {
        // SAFETY: the body lives until the drop of the one owning pebble.
        unsafe { self.0.as_ref() }
    }

    fn number(&self) -> u64 {
        std::str::from_utf8(self.key()).unwrap().trim_start_matches("pebble:").parse().unwrap()
    }
}

impl Drop for Pebble {
    fn drop(&mut self) {
        let alive = &self.body().alive;
        alive.set(alive.get() - 1);
        // SAFETY: the body came from a box, and the owner is dropped once.
        drop(unsafe { Box::from_raw(self.0.as_ptr()) });
    }
}

fn key_bytes(key: u64) -> Vec<u8> {
    format!("pebble:{key}").into_bytes()
}

/// A table and what should be in it.
#[derive(Default)]
struct Twin {
    table: Table<Pebble>,
    model: HashMap<u64, (u64, Mark)>,
    alive: Rc<Cell<isize>>,
}

impl Twin {
    fn with(count: u64) -> Self {
        let mut twin = Self::default();
        (0..count).for_each(|key| twin.put(key, key));
        twin
    }

    fn find(&self, key: u64) -> Option<Loc> {
        let bytes = key_bytes(key);
        self.table.find(hash(&bytes), &bytes)
    }

    fn put(&mut self, key: u64, value: u64) {
        let item = Pebble::new(key, value, &self.alive);
        match self.find(key) {
            Some(loc) => {
                let old = self.table.replace(loc, item);
                let entry = self.model.get_mut(&key).expect("the model has what the table has");
                assert_eq!(old.body().value, entry.0);
                entry.0 = value;
            }
            None => {
                let loc = self.table.insert_new(hash(&key_bytes(key)), item);
                assert_eq!(self.table.at(loc).number(), key);
                assert!(!self.table.is_marked(loc));
                assert!(self.model.insert(key, (value, Mark::Clear)).is_none());
            }
        }
    }

    fn remove(&mut self, key: u64) {
        let removed = self.find(key).map(|loc| self.table.remove(loc).body().value);
        assert_eq!(removed, self.model.remove(&key).map(|(value, _)| value));
    }

    fn set_mark(&mut self, key: u64, mark: Mark) {
        if let Some(loc) = self.find(key) {
            self.table.mark(loc, mark);
            self.model.get_mut(&key).expect("the model has what the table has").1 = mark;
        }
    }

    fn update(&mut self, key: u64, value: u64) {
        if let Some(loc) = self.find(key) {
            let alive = Rc::clone(&self.alive);
            let old = self.table.update(loc, |item| std::mem::replace(item, Pebble::new(key, value, &alive)));
            assert_eq!(old.number(), key);
            self.model.get_mut(&key).expect("the model has what the table has").0 = value;
        }
    }

    fn check(&self) {
        assert_eq!(self.table.len(), self.model.len());
        assert_eq!(self.alive.get(), self.model.len() as isize, "as many items alive as in the table");
        match &self.table.root {
            Root::One(segment) => segment.check(),
            Root::Many(directory) => directory.check(Table::<Pebble>::rehash),
        }
        let seen: BTreeMap<u64, u64> = self.table.iter().map(|item| (item.number(), item.body().value)).collect();
        assert_eq!(seen, self.model.iter().map(|(&key, &(value, _))| (key, value)).collect());
        for (&key, &(value, mark)) in &self.model {
            let loc = self.find(key).expect("what is in the model is in the table");
            assert_eq!(self.table.at(loc).body().value, value);
            assert_eq!(self.table.is_marked(loc), mark == Mark::Set);
        }
    }

    fn finish(self) {
        self.check();
        let alive = Rc::clone(&self.alive);
        drop(self);
        assert_eq!(alive.get(), 0, "the table drops its items");
    }
}

#[derive(Clone, Debug)]
enum Step {
    Put(u64, u64),
    Update(u64, u64),
    Remove(u64),
    Mark(u64, bool),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let key = 0..200u64;
    let step = prop_oneof![
        4 => (key.clone(), any::<u64>()).prop_map(|(key, value)| Step::Put(key, value)),
        1 => (key.clone(), any::<u64>()).prop_map(|(key, value)| Step::Update(key, value)),
        3 => key.clone().prop_map(Step::Remove),
        1 => (key, any::<bool>()).prop_map(|(key, set)| Step::Mark(key, set)),
    ];
    prop::collection::vec(step, 0..600)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn small_tables_do_what_a_map_does(steps in steps()) {
        let mut twin = Twin::default();
        for step in steps {
            match step {
                Step::Put(key, value) => twin.put(key, value),
                Step::Update(key, value) => twin.update(key, value),
                Step::Remove(key) => twin.remove(key),
                Step::Mark(key, set) => twin.set_mark(key, if set { Mark::Set } else { Mark::Clear }),
            }
        }
        twin.finish();
    }
}

/// Grows and shrinks through splits, merges and both ends of the directory's life.
#[test]
fn large_tables_do_what_a_map_does() {
    for seed in 0..4 {
        let mut rng = Rng::seeded(seed);
        let mut twin = Twin::default();
        for target in [3_000, 500, 12_000, 900, 0, 2_000] {
            while twin.table.len() != target {
                let key = rng.below(20_000);
                let grow = twin.table.len() < target;
                match rng.below(8) {
                    0 if grow => twin.remove(key),
                    0 => twin.put(key, rng.next_u64()),
                    1 => twin.update(key, rng.next_u64()),
                    2 => twin.set_mark(key, if rng.below(2) == 0 { Mark::Set } else { Mark::Clear }),
                    _ if grow => twin.put(key, rng.next_u64()),
                    _ => {
                        let victim = twin.table.random(&mut rng).expect("more than the target are left").number();
                        twin.remove(victim);
                    }
                }
            }
            twin.check();
            assert!(target > 480 || matches!(twin.table.root, Root::One(_)), "a small table needs no directory");
        }
        twin.finish();
    }
}

#[test]
fn an_emptied_table_holds_no_memory() {
    let mut twin = Twin::with(5_000);
    assert!(matches!(twin.table.root, Root::Many(_)));
    (0..5_000).for_each(|key| twin.remove(key));
    twin.check();
    assert_eq!(twin.table.heap_bytes(), 0);
    assert!(twin.table.random(&mut Rng::seeded(1)).is_none());
    (0..10).for_each(|key| twin.put(key, key));
    twin.table.clear();
    assert_eq!((twin.table.len(), twin.table.heap_bytes(), twin.alive.get()), (0, 0, 0));
}

#[test]
fn an_update_that_panics_keeps_what_it_had_made() {
    let mut twin = Twin::with(3);
    let loc = twin.find(1).unwrap();
    let alive = Rc::clone(&twin.alive);
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        twin.table.update(loc, |item| {
            *item = Pebble::new(1, 77, &alive);
            std::panic::resume_unwind(Box::new("after the change"));
        })
    }));
    assert!(outcome.is_err());
    twin.model.insert(1, (77, Mark::Clear));
    twin.finish();
}

#[test]
fn into_iter_yields_all_and_drops_the_rest() {
    for size in [0, 1, 700, 4_000] {
        let twin = Twin::with(size);
        let alive = Rc::clone(&twin.alive);
        let mut items = twin.table.into_iter();
        let taken: HashSet<u64> = items.by_ref().take(size as usize / 2).map(|item| item.number()).collect();
        assert_eq!(alive.get(), size as isize - taken.len() as isize);
        let rest: HashSet<u64> = items.by_ref().take(size as usize / 4).map(|item| item.number()).collect();
        assert!(taken.is_disjoint(&rest));
        drop(items);
        assert_eq!(alive.get(), 0);
    }
    assert_eq!(Twin::with(4_000).table.into_iter().count(), 4_000);
}

/// Goal: what is there throughout a scan is returned. Method: keys below `stable` stay, all others come and go in
/// waves between the calls, so that segments grow, shrink, split and merge under the cursor.
#[test]
fn a_scan_sees_whatever_stays() {
    for seed in 0..60 {
        let mut rng = Rng::seeded(seed);
        let stable = [0, 1, 40, 400, 2_000][(seed % 5) as usize];
        let wave = [50, 1_500, 6_000][(seed % 3) as usize];
        let mut twin = Twin::with(stable);
        let mut seen = HashSet::new();
        let mut cursor = ScanCursor::START;
        let mut growing = rng.below(2) == 0;
        if !growing {
            (stable..stable + wave).for_each(|key| twin.put(key, 0));
        }
        for call in 0.. {
            assert!(call < 100_000, "seed {seed}: the scan does not end");
            let count = 1 + rng.below(60) as usize;
            let mut visited = 0;
            cursor = twin.table.scan(cursor, count, |item| {
                visited += 1;
                seen.insert(item.number());
            });
            assert!(cursor.raw() < 1 << ScanCursor::BITS);
            assert_eq!(ScanCursor::from_raw(cursor.raw()), cursor);
            if cursor.is_end() {
                break;
            }
            assert!(visited >= count, "seed {seed}: {visited} of at least {count}");
            for _ in 0..rng.below(wave) {
                let key = stable + rng.below(wave);
                if growing { twin.put(key, 1) } else { twin.remove(key) }
            }
            if rng.below(6) == 0 {
                growing = !growing;
            }
        }
        assert!((0..stable).all(|key| seen.contains(&key)), "seed {seed}: a stable item was missed");
        twin.finish();
    }
}

#[test]
fn a_scan_of_a_quiet_table_sees_everything_once() {
    for size in [0, 1, 100, 900, 10_000] {
        let twin = Twin::with(size);
        for count in [0, 1, 10, 1_000_000] {
            let (mut seen, mut cursor, mut calls) = (Vec::new(), ScanCursor::START, 0);
            loop {
                cursor = twin.table.scan(cursor, count, |item| seen.push(item.number()));
                calls += 1;
                if cursor.is_end() {
                    break;
                }
            }
            assert!(calls <= 1 + size as usize / count.max(1));
            seen.sort_unstable();
            assert!(seen.iter().copied().eq(0..size));
        }
    }
}

#[test]
fn any_number_is_a_cursor() {
    let mut rng = Rng::seeded(9);
    for size in [0, 10, 5_000] {
        let twin = Twin::with(size);
        for _ in 0..2_000 {
            let raw = rng.next_u64() >> rng.below(64);
            let mut visited = 0;
            let next = twin.table.scan(ScanCursor::from_raw(raw), 5, |_| visited += 1);
            assert!(visited >= 5 || next.is_end());
        }
    }
}

#[test]
fn taking_marked_items_takes_the_due_ones() {
    for size in [10, 900, 9_000u64] {
        let mut twin = Twin::with(size);
        (0..size).filter(|key| key % 3 != 0).for_each(|key| twin.set_mark(key, Mark::Set));
        let (mut taken, mut cursor) = (Vec::new(), ScanCursor::START);
        loop {
            let mut visited = 0;
            twin.table.scan_marked(cursor, 50, |loc, item| {
                assert!(twin.table.is_marked(loc) && item.number() % 3 != 0);
                visited += 1;
            });
            assert!(visited < 200);
            cursor = twin.table.take_marked(cursor, 50, |item| item.number() % 10 != 7, &mut taken);
            if cursor.is_end() {
                break;
            }
        }
        let taken: HashSet<u64> = taken.into_iter().map(|item| item.number()).collect();
        assert!((0..size).all(|key| taken.contains(&key) == (key % 3 != 0 && key % 10 != 7)));
        twin.model.retain(|key, _| !taken.contains(key));
        twin.finish();
    }
}

/// 200 draws per item; a fair die strays by about seven percent, so half and double would be a bias.
#[test]
fn random_items_are_drawn_evenly() {
    for size in [1, 2, 50, 3_000u64] {
        let mut rng = Rng::seeded(size);
        let mut twin = Twin::with(size * 4);
        (size..size * 4).for_each(|key| twin.remove(key));
        let mut hits = vec![0u32; size as usize];
        for _ in 0..size * 200 {
            hits[twin.table.random(&mut rng).unwrap().number() as usize] += 1;
        }
        let (least, most) = (hits.iter().min().unwrap(), hits.iter().max().unwrap());
        assert!(*least > 120 && *most < 290, "{size} items: {least} to {most}");
    }
}

#[test]
fn marked_items_are_sampled_even_when_rare() {
    let mut rng = Rng::seeded(4);
    for size in [1, 60, 5_000u64] {
        let mut twin = Twin::with(size);
        assert!(twin.table.sample_marked(&mut rng, 100_000).is_none());
        twin.set_mark(size / 2, Mark::Set);
        assert_eq!(twin.table.sample_marked(&mut rng, 100_000).unwrap().number(), size / 2);
        (0..size).filter(|key| key % 2 == 0).for_each(|key| twin.set_mark(key, Mark::Set));
        for _ in 0..1_000 {
            assert_eq!(twin.table.sample_marked(&mut rng, 1_000).unwrap().number() % 2, 0);
        }
    }
}

/// The sizes of tables are a hard goal: the keyspace alone has 16384 of them.
#[test]
fn an_item_costs_little_more_than_a_word() {
    let mut twin = Twin::default();
    let mut sum = 0.0;
    for size in 1..=5_000 {
        twin.put(size, 0);
        sum += twin.table.heap_bytes() as f64 / size as f64;
    }
    let mean = sum / 5_000.0;
    assert!(mean <= 10.5, "{mean} bytes per item");
    let mut worst: f64 = 0.0;
    for size in 5_001..=1_000_000 {
        twin.put(size, 0);
        if size % 10_000 == 0 {
            worst = worst.max(twin.table.heap_bytes() as f64 / size as f64);
        }
    }
    let last = twin.table.heap_bytes() as f64 / 1e6;
    assert!(last <= 10.5 && worst <= 10.8, "{last} bytes per item, at worst {worst}");
    eprintln!("bytes per item: mean {mean:.2} up to 5000, {last:.2} at 1M, worst {worst:.2}");
}

/// Without good hashes a table is slow but still right: here all items of a group share every bit of the hash.
#[test]
fn equal_hashes_are_told_apart() {
    let alive = Rc::default();
    let mut table = Table::new();
    for key in 0..900 {
        table.insert_new(key % 3 * 0x3fff, Pebble::new(key, key, &alive));
    }
    for key in 0..900 {
        let loc = table.find(key % 3 * 0x3fff, &key_bytes(key)).expect("every key is found");
        assert_eq!(table.at(loc).number(), key);
        assert!(table.find((key + 1) % 3 * 0x3fff, &key_bytes(key)).is_none());
    }
    for key in (0..900).rev() {
        let loc = table.find(key % 3 * 0x3fff, &key_bytes(key)).expect("every key is found");
        assert_eq!(table.remove(loc).number(), key);
    }
    assert!(table.is_empty() && alive.get() == 0);
}
