//! `Hash`: fields with values, packed or in a table.
//!
//! A hash begins packed, as a sequence of field, value, field, value, and becomes a table when there are too many
//! fields or one field or value is too long; it never goes back. Neighbour: `item::Field`, where the layout has room
//! for an expiry of single fields.

use super::item::Field;
use super::packed::Packed;
use super::thin::{Boxed, Form, Never, Tagged};
use super::{Encoding, USAGE_SAMPLES, extrapolate};
use crate::rng::Rng;
use crate::table::{self, Item, ItemRef, ScanCursor, Table};
use std::ptr::NonNull;

/// Up to where a hash stays packed: `hash-max-listpack-entries`, `hash-max-listpack-value`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashLimits {
    pub max_listpack_entries: usize,
    pub max_listpack_value: usize,
}

impl Default for HashLimits {
    fn default() -> HashLimits {
        HashLimits { max_listpack_entries: 512, max_listpack_value: 64 }
    }
}

/// Whether a `put` added a field or changed one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PutOutcome {
    Created,
    Replaced,
}

type Forms = Form<Never, Packed, Boxed<Table<Field>>>;

/// Fields and values alternate in a packed hash; names are looked for at every second element only.
const PAIR: usize = 2;

/// The owning handle of a hash; one word, which a keyspace entry may keep as it is.
#[repr(transparent)]
pub struct Hash(Tagged<Never, Packed, Boxed<Table<Field>>>);

const _: () = assert!(size_of::<Hash>() == 8);

impl Hash {
    pub fn new() -> Hash {
        Hash(Tagged::new(Form::Packed(Packed::new())))
    }

    /// Converts ahead of putting `count` fields, as Redis does before it puts the fields of one command.
    pub fn anticipate(&mut self, count: usize, limits: &HashLimits) {
        if count > limits.max_listpack_entries {
            self.0.edit(|form| {
                into_table(form);
            });
        }
    }

    /// Sets the value of `field`.
    pub fn put(&mut self, field: &[u8], value: &[u8], limits: &HashLimits) -> PutOutcome {
        self.0.edit(|form| put_into(form, field, value, limits))
    }

    /// The field with its value.
    pub fn get(&self, field: &[u8]) -> Option<FieldRef<'_>> {
        match self.0.shared() {
            Form::Packed(packed) => {
                let pos = packed.find(field, PAIR)?;
                let value = packed.next(pos).expect("every field of a packed hash has a value");
                Some(FieldRef::Packed { name: packed.at(pos), value: packed.at(value) })
            }
            Form::Table(table) => table.get(field).map(FieldRef::InTable),
        }
    }

    pub fn contains(&self, field: &[u8]) -> bool {
        match self.0.shared() {
            Form::Packed(packed) => packed.find(field, PAIR).is_some(),
            Form::Table(table) => table.find(table::hash(field), field).is_some(),
        }
    }

    /// The length of the value of `field`.
    pub fn value_len(&self, field: &[u8]) -> Option<usize> {
        self.get(field).map(|field| field.value().len())
    }

    /// Takes `field` out; false if it was not there.
    pub fn remove(&mut self, field: &[u8]) -> bool {
        self.0.edit(|form| match form {
            Form::Ints(never) => match *never {},
            Form::Packed(packed) => match packed.view().find(field, PAIR) {
                Some(pos) => {
                    packed.remove(pos, PAIR);
                    true
                }
                None => false,
            },
            Form::Table(table) => match table.find(table::hash(field), field) {
                Some(loc) => {
                    table.remove(loc);
                    true
                }
                None => false,
            },
        })
    }

    /// Asks the processor for what finding these will look at.
    pub(crate) fn prefetch<'a>(&self, members: impl Iterator<Item = &'a [u8]>) {
        if let Form::Table(table) = self.0.shared() {
            table.prefetch(members);
        }
    }

    /// The number of fields.
    pub fn len(&self) -> usize {
        match self.0.shared() {
            Form::Packed(packed) => packed.count() / PAIR,
            Form::Table(table) => table.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All fields, packed ones in order of insertion, others in no order.
    pub fn iter(&self) -> impl Iterator<Item = FieldRef<'_>> {
        let (packed, table) = match self.0.shared() {
            Form::Packed(packed) => (Some(packed.pairs()), None),
            Form::Table(table) => (None, Some(table.iter())),
        };
        let packed = packed.into_iter().flatten().map(|(_, name, value)| FieldRef::Packed { name, value });
        packed.chain(table.into_iter().flatten().map(FieldRef::InTable))
    }

    /// A field, all with the same probability.
    pub fn random(&self, rng: &mut Rng) -> Option<FieldRef<'_>> {
        if self.is_empty() {
            return None;
        }
        match self.0.shared() {
            Form::Packed(packed) => {
                let index = rng.below(self.len() as u64) as usize;
                packed.pairs().nth(index).map(|(_, name, value)| FieldRef::Packed { name, value })
            }
            Form::Table(table) => table.random(rng).map(FieldRef::InTable),
        }
    }

    /// Visits some fields with their values and tells where to go on; a packed hash is visited whole.
    pub fn scan(&self, cursor: ScanCursor, count: usize, mut visit: impl FnMut(&[u8], &[u8])) -> ScanCursor {
        match self.0.shared() {
            Form::Packed(packed) => {
                packed.pairs().for_each(|(_, name, value)| visit(name, value));
                ScanCursor::START
            }
            Form::Table(table) => table.scan(cursor, count, |field| visit(field.name(), field.value())),
        }
    }

    pub fn encoding(&self) -> Encoding {
        match self.0.shared() {
            Form::Packed(_) => Encoding::Listpack,
            Form::Table(_) => Encoding::Hashtable,
        }
    }

    /// Memory of the hash without its handle, estimated from a few fields.
    pub fn heap_bytes(&self) -> usize {
        self.heap_bytes_sampled(USAGE_SAMPLES)
    }

    /// As `heap_bytes`, with the number of fields to look at; 0 means all of them.
    pub fn heap_bytes_sampled(&self, samples: usize) -> usize {
        match self.0.shared() {
            Form::Packed(packed) => packed.heap_bytes(),
            Form::Table(table) => {
                let samples = if samples == 0 { usize::MAX } else { samples };
                let fields = extrapolate(table.len(), table.iter().take(samples).map(|field| field.heap_bytes()));
                size_of::<Table<Field>>() + table.heap_bytes() + fields
            }
        }
    }

    /// How many allocations it takes to free this hash, about; large ones are better freed by another thread.
    pub fn free_effort(&self) -> usize {
        match self.0.shared() {
            Form::Packed(_) => 1,
            Form::Table(table) => table.len(),
        }
    }

    /// Gives up the handle; only `from_raw` frees the hash again.
    pub fn into_raw(self) -> NonNull<u8> {
        self.0.into_raw()
    }

    /// # Safety
    /// `raw` comes from `into_raw` of a `Hash`, and ownership has not been taken back since.
    pub unsafe fn from_raw(raw: NonNull<u8>) -> Hash {
        // SAFETY: the caller's promise is the one that `Tagged` asks for.
        Hash(unsafe { Tagged::from_raw(raw) })
    }
}

impl Default for Hash {
    fn default() -> Hash {
        Hash::new()
    }
}

impl Clone for Hash {
    fn clone(&self) -> Hash {
        Hash(Tagged::new(match self.0.shared() {
            Form::Packed(packed) => Form::Packed(packed.to_packed()),
            Form::Table(table) => {
                let mut copy = Table::new();
                for field in table.iter() {
                    copy.insert_new(table::hash(field.key()), (*field).clone());
                }
                Form::Table(Boxed::new(copy))
            }
        }))
    }
}

/// A field that is borrowed from its hash.
pub enum FieldRef<'a> {
    Packed { name: &'a [u8], value: &'a [u8] },
    InTable(ItemRef<'a, Field>),
}

impl FieldRef<'_> {
    pub fn name(&self) -> &[u8] {
        match self {
            FieldRef::Packed { name, .. } => name,
            FieldRef::InTable(field) => field.name(),
        }
    }

    pub fn value(&self) -> &[u8] {
        match self {
            FieldRef::Packed { value, .. } => value,
            FieldRef::InTable(field) => field.value(),
        }
    }
}

fn put_into(form: &mut Forms, field: &[u8], value: &[u8], limits: &HashLimits) -> PutOutcome {
    if let Form::Packed(packed) = form {
        // As in Redis, a long value converts even if it only replaces one, and so does a hash that is already too large
        // because the limit was lowered.
        if field.len().max(value.len()) <= limits.max_listpack_value && packed.fits(&[field, value]) {
            let outcome = put_packed(packed, field, value);
            if packed.view().count() / PAIR > limits.max_listpack_entries {
                into_table(form);
            }
            return outcome;
        }
    }
    put_table(into_table(form), field, value)
}

fn put_packed(packed: &mut Packed, field: &[u8], value: &[u8]) -> PutOutcome {
    let view = packed.view();
    match view.find(field, PAIR) {
        Some(pos) => {
            let pos = view.next(pos).expect("every field of a packed hash has a value");
            packed.replace(pos, value);
            PutOutcome::Replaced
        }
        None => {
            packed.push_all(&[field, value]);
            PutOutcome::Created
        }
    }
}

fn put_table(table: &mut Table<Field>, field: &[u8], value: &[u8]) -> PutOutcome {
    let hash = table::hash(field);
    match table.find(hash, field) {
        Some(loc) => {
            table.update(loc, |field| field.replace_value(value));
            PutOutcome::Replaced
        }
        None => {
            table.insert_new(hash, Field::new(field, value));
            PutOutcome::Created
        }
    }
}

/// Makes `form` a table with the same fields, unless it is one.
fn into_table(form: &mut Forms) -> &mut Table<Field> {
    if let Form::Packed(packed) = form {
        let mut table = Table::new();
        for (_, name, value) in packed.view().pairs() {
            table.insert_new(table::hash(name), Field::new(name, value));
        }
        *form = Form::Table(Boxed::new(table));
    }
    let Form::Table(table) = form else { unreachable!("the form has just been made a table") };
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;
    use proptest::prelude::*;
    use std::collections::{HashMap, HashSet};

    const TINY: HashLimits = HashLimits { max_listpack_entries: 6, max_listpack_value: 10 };

    fn sorted(hash: &Hash) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut fields: Vec<_> = hash.iter().map(|field| (field.name().to_vec(), field.value().to_vec())).collect();
        fields.sort();
        fields
    }

    fn hash_of(count: usize) -> Hash {
        let mut hash = Hash::new();
        for n in 0..count {
            assert_eq!(hash.put(format!("f{n}").as_bytes(), b"v", &TINY), PutOutcome::Created);
        }
        hash
    }

    #[test]
    fn five_short_fields_take_64_bytes() {
        let mut hash = Hash::new();
        for n in 0..5 {
            hash.put(format!("field:{n:02}").as_bytes(), b"42", &HashLimits::default());
        }
        assert_eq!((hash.heap_bytes(), hash.free_effort()), (64, 1));
    }

    #[test]
    fn a_large_hash_of_16_byte_fields_and_values_takes_at_most_55_bytes_each() {
        let mut hash = Hash::new();
        for count in 1..=60_000 {
            hash.put(format!("{count:016}").as_bytes(), &[b'v'; 16], &TINY);
            if count >= 20_000 && count % 2_500 == 0 {
                let bytes = hash.heap_bytes_sampled(0);
                assert!(bytes <= 55 * count, "{bytes} bytes for {count} fields");
            }
        }
    }

    #[test]
    fn encodings_change_where_redis_changes_them() {
        assert_eq!(hash_of(6).encoding(), Encoding::Listpack);
        assert_eq!(hash_of(7).encoding(), Encoding::Hashtable);
        let long = b"more than ten bytes";
        for (field, value) in [(&b"f0"[..], &long[..]), (long, b"v")] {
            let mut hash = hash_of(2);
            hash.put(field, value, &TINY);
            assert_eq!(hash.encoding(), Encoding::Hashtable);
            assert_eq!(hash.get(field).unwrap().value(), value);
            assert_eq!(hash.get(b"f1").unwrap().value(), b"v");
        }
        let mut hash = hash_of(2);
        hash.anticipate(6, &TINY);
        assert_eq!(hash.encoding(), Encoding::Listpack);
        hash.anticipate(7, &TINY);
        assert_eq!((hash.encoding(), hash.len(), hash.free_effort()), (Encoding::Hashtable, 2, 2));
    }

    #[test]
    fn with_the_default_limits_the_largest_packed_hash_stays_packed() {
        let limits = HashLimits::default();
        let mut hash = Hash::new();
        for n in 0..512 {
            hash.put(format!("{n:064}").as_bytes(), &[b'v'; 64], &limits);
        }
        assert_eq!((hash.len(), hash.encoding()), (512, Encoding::Listpack));
        hash.put(b"one more", b"v", &limits);
        assert_eq!((hash.len(), hash.encoding()), (513, Encoding::Hashtable));
    }

    #[test]
    fn a_value_that_equals_a_field_name_is_not_that_field() {
        let mut hash = Hash::new();
        hash.put(b"a", b"b", &TINY);
        assert!(!hash.contains(b"b") && hash.get(b"b").is_none() && !hash.remove(b"b"));
        assert_eq!((hash.value_len(b"a"), hash.value_len(b"b")), (Some(1), None));
    }

    #[test]
    fn random_fields_are_uniform_in_every_form() {
        let mut rng = Rng::seeded(5);
        for count in [4, 8] {
            let hash = hash_of(count);
            let mut hits = HashMap::new();
            for _ in 0..1000 * count {
                *hits.entry(hash.random(&mut rng).unwrap().name().to_vec()).or_insert(0) += 1;
            }
            assert_eq!(hits.len(), count);
            assert!(hits.values().all(|count| (800..1200).contains(count)), "{hits:?}");
        }
        assert!(Hash::new().random(&mut rng).is_none());
    }

    #[test]
    fn scans_visit_every_field() {
        for count in [3, 300] {
            let hash = hash_of(count);
            let mut seen = HashSet::new();
            let mut cursor = ScanCursor::START;
            loop {
                cursor = hash.scan(cursor, 10, |name, value| {
                    assert_eq!(value, b"v");
                    seen.insert(name.to_vec());
                });
                if cursor.is_end() {
                    break;
                }
            }
            assert_eq!(seen.len(), count);
        }
    }

    fn text() -> impl Strategy<Value = String> {
        prop_oneof![5 => "[a-c]{0,2}", 1 => "[a-b]{10,12}", 1 => "x{240,260}"]
    }

    proptest! {
        #[test]
        fn behaves_like_a_hash_map(steps in proptest::collection::vec((0..5u8, text(), text()), 1..150), roomy: bool) {
            let limits = if roomy { HashLimits { max_listpack_entries: 100, max_listpack_value: 300 } } else { TINY };
            let mut hash = Hash::new();
            let mut model = HashMap::new();
            for (step, name, value) in steps {
                let field = name.as_bytes();
                if step < 3 {
                    let outcome = match model.insert(name.clone(), value.clone()) {
                        Some(_) => PutOutcome::Replaced,
                        None => PutOutcome::Created,
                    };
                    prop_assert_eq!(hash.put(field, value.as_bytes(), &limits), outcome);
                } else {
                    prop_assert_eq!(hash.remove(field), model.remove(&name).is_some());
                }
                let found = hash.get(field).map(|found| found.value().to_vec());
                prop_assert_eq!(found, model.get(&name).map(|value| value.clone().into_bytes()));
                prop_assert_eq!(hash.len(), model.len());
            }
            let mut wanted: Vec<_> = model.into_iter().map(|(n, v)| (n.into_bytes(), v.into_bytes())).collect();
            wanted.sort();
            prop_assert_eq!(sorted(&hash), &wanted[..]);
            // SAFETY: the word is given up in the same expression.
            let copy = unsafe { Hash::from_raw(hash.clone().into_raw()) };
            drop(hash);
            prop_assert_eq!(sorted(&copy), wanted);
        }
    }
}
