//! `Set`: distinct byte strings, as sorted integers, packed, or in a table.
//!
//! A set begins in the smallest form that its first member allows and converts one way, where Redis 7.2 does: integers
//! go to packed when a member is no integer, to a table when there are too many; packed goes to a table when there are
//! too many members or one is too long. (Redis 7.0 knows no packed sets: there, a small set of strings is a table.)

use super::intset::{self, IntSet};
use super::item::Member;
use super::packed::Packed;
use super::thin::{Boxed, Form, Tagged};
use super::{Encoding, USAGE_SAMPLES, extrapolate};
use crate::number::{I64Text, format_i64, parse_i64, text_len};
use crate::rng::Rng;
use crate::table::{self, Item, ItemRef, ScanCursor, Table};
use std::ops::Deref;
use std::ptr::NonNull;

/// Up to where the small forms are kept: `set-max-intset-entries`, `set-max-listpack-entries`,
/// `set-max-listpack-value`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SetLimits {
    pub max_intset_entries: usize,
    pub max_listpack_entries: usize,
    pub max_listpack_value: usize,
}

impl Default for SetLimits {
    fn default() -> SetLimits {
        SetLimits { max_intset_entries: 512, max_listpack_entries: 128, max_listpack_value: 64 }
    }
}

type Forms = Form<IntSet, Packed, Boxed<Table<Member>>>;

/// The owning handle of a set; one word, which a keyspace entry may keep as it is.
#[repr(transparent)]
pub struct Set(Tagged<IntSet, Packed, Boxed<Table<Member>>>);

const _: () = assert!(size_of::<Set>() == 8);

impl Set {
    /// An empty set. It takes its form from the first member.
    pub fn new() -> Set {
        Set(Tagged::new(Form::Ints(IntSet::new())))
    }

    /// An empty set in the form for `count` members, of which `first` is one.
    pub fn for_members(first: &[u8], count: usize, limits: &SetLimits) -> Set {
        Set(Tagged::new(initial_form(first, count, limits)))
    }

    /// Converts ahead of `count` additions, as Redis does before it adds the members of one command.
    pub fn anticipate(&mut self, count: usize, limits: &SetLimits) {
        let too_many = match self.0.shared() {
            Form::Ints(_) => count > max_intset_entries(limits),
            Form::Packed(_) => count > limits.max_listpack_entries,
            Form::Table(_) => false,
        };
        if too_many {
            self.0.edit(|form| {
                into_table(form);
            });
        }
    }

    /// Adds `member`; false if it was there.
    pub fn add(&mut self, member: &[u8], limits: &SetLimits) -> bool {
        self.0.edit(|form| add_to(form, member, limits))
    }

    /// Takes `member` out; false if it was not there.
    pub fn remove(&mut self, member: &[u8]) -> bool {
        self.0.edit(|form| match form {
            Form::Ints(ints) => parse_i64(member).is_some_and(|value| ints.remove(value)),
            Form::Packed(packed) => match packed.view().find(member, 1) {
                Some(pos) => {
                    packed.remove(pos, 1);
                    true
                }
                None => false,
            },
            Form::Table(table) => match table.find(table::hash(member), member) {
                Some(loc) => {
                    table.remove(loc);
                    true
                }
                None => false,
            },
        })
    }

    pub fn contains(&self, member: &[u8]) -> bool {
        match self.0.shared() {
            Form::Ints(ints) => parse_i64(member).is_some_and(|value| ints.contains(value)),
            Form::Packed(packed) => packed.find(member, 1).is_some(),
            Form::Table(table) => table.find(table::hash(member), member).is_some(),
        }
    }

    /// Asks the processor for what finding these will look at.
    pub(crate) fn prefetch<'a>(&self, members: impl Iterator<Item = &'a [u8]>) {
        if let Form::Table(table) = self.0.shared() {
            table.prefetch(members);
        }
    }

    pub fn len(&self) -> usize {
        match self.0.shared() {
            Form::Ints(ints) => ints.len(),
            Form::Packed(packed) => packed.count(),
            Form::Table(table) => table.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All members, integers in ascending order, packed ones in order of insertion, others in no order.
    pub fn iter(&self) -> impl Iterator<Item = MemberRef<'_>> {
        let (ints, packed, table) = match self.0.shared() {
            Form::Ints(ints) => (Some(ints.iter()), None, None),
            Form::Packed(packed) => (None, Some(packed.iter()), None),
            Form::Table(table) => (None, None, Some(table.iter())),
        };
        let ints = ints.into_iter().flatten().map(|value| MemberRef::Int(format_i64(value)));
        let packed = packed.into_iter().flatten().map(MemberRef::Bytes);
        let table = table.into_iter().flatten().map(MemberRef::InTable);
        ints.chain(packed).chain(table)
    }

    /// A member, all with the same probability.
    pub fn random(&self, rng: &mut Rng) -> Option<MemberRef<'_>> {
        if self.is_empty() {
            return None;
        }
        match self.0.shared() {
            Form::Ints(ints) => Some(MemberRef::Int(format_i64(ints.at(below(rng, ints.len()))))),
            Form::Packed(packed) => packed.nth(below(rng, packed.count())).map(MemberRef::Bytes),
            Form::Table(table) => table.random(rng).map(MemberRef::InTable),
        }
    }

    /// Takes a random member out.
    pub fn pop_random(&mut self, rng: &mut Rng) -> Option<Vec<u8>> {
        let member = self.random(rng)?.to_vec();
        let was_there = self.remove(&member);
        assert!(was_there, "a member that was just drawn can be removed");
        Some(member)
    }

    /// Visits some members and tells where to go on; small forms are visited whole. `ScanCursor` as for tables.
    pub fn scan(&self, cursor: ScanCursor, count: usize, mut visit: impl FnMut(&[u8])) -> ScanCursor {
        if let Form::Table(table) = self.0.shared() {
            return table.scan(cursor, count, |member| visit(member.bytes()));
        }
        self.iter().for_each(|member| visit(&member));
        ScanCursor::START
    }

    /// Goes back to integers, if all members are integers and few enough. For the results of set algebra, which Redis
    /// stores in the smallest form as well; a set that lives on never goes back.
    pub fn compact(&mut self, limits: &SetLimits) {
        if matches!(self.0.shared(), Form::Ints(_)) || self.len() > max_intset_entries(limits) {
            return;
        }
        let mut ints = IntSet::new();
        for member in self.iter() {
            let Some(value) = parse_i64(&member) else {
                return;
            };
            ints.add(value);
        }
        *self = Set(Tagged::new(Form::Ints(ints)));
    }

    pub fn encoding(&self) -> Encoding {
        match self.0.shared() {
            Form::Ints(_) => Encoding::Intset,
            Form::Packed(_) => Encoding::Listpack,
            Form::Table(_) => Encoding::Hashtable,
        }
    }

    /// Memory of the set without its handle, estimated from a few members.
    pub fn heap_bytes(&self) -> usize {
        self.heap_bytes_sampled(USAGE_SAMPLES)
    }

    /// As `heap_bytes`, with the number of members to look at; 0 means all of them.
    pub fn heap_bytes_sampled(&self, samples: usize) -> usize {
        match self.0.shared() {
            Form::Ints(ints) => ints.heap_bytes(),
            Form::Packed(packed) => packed.heap_bytes(),
            Form::Table(table) => {
                let samples = if samples == 0 { usize::MAX } else { samples };
                let members = extrapolate(table.len(), table.iter().take(samples).map(|member| member.heap_bytes()));
                size_of::<Table<Member>>() + table.heap_bytes() + members
            }
        }
    }

    /// How many allocations it takes to free this set, about; large ones are better freed by another thread.
    pub fn free_effort(&self) -> usize {
        match self.0.shared() {
            Form::Table(table) => table.len(),
            _ => 1,
        }
    }

    /// Gives up the handle; only `from_raw` frees the set again.
    pub fn into_raw(self) -> NonNull<u8> {
        self.0.into_raw()
    }

    /// # Safety
    /// `raw` comes from `into_raw` of a `Set`, and ownership has not been taken back since.
    pub unsafe fn from_raw(raw: NonNull<u8>) -> Set {
        // SAFETY: the caller's promise is the one that `Tagged` asks for.
        Set(unsafe { Tagged::from_raw(raw) })
    }
}

impl Default for Set {
    fn default() -> Set {
        Set::new()
    }
}

impl Clone for Set {
    fn clone(&self) -> Set {
        Set(Tagged::new(match self.0.shared() {
            Form::Ints(ints) => Form::Ints(ints.to_ints()),
            Form::Packed(packed) => Form::Packed(packed.to_packed()),
            Form::Table(table) => {
                let mut copy = Table::new();
                for member in table.iter() {
                    copy.insert_new(table::hash(member.key()), (*member).clone());
                }
                Form::Table(Boxed::new(copy))
            }
        }))
    }
}

/// A member that is borrowed from its set. Dereferences to its bytes; those of an integer are made on the way.
pub enum MemberRef<'a> {
    Bytes(&'a [u8]),
    Int(I64Text),
    InTable(ItemRef<'a, Member>),
}

impl Deref for MemberRef<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            MemberRef::Bytes(bytes) => bytes,
            MemberRef::Int(text) => text,
            MemberRef::InTable(member) => member.bytes(),
        }
    }
}

impl AsRef<[u8]> for MemberRef<'_> {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

fn add_to(form: &mut Forms, member: &[u8], limits: &SetLimits) -> bool {
    if matches!(form, Form::Ints(ints) if ints.view().is_empty()) {
        *form = initial_form(member, 1, limits);
    }
    match form {
        Form::Ints(ints) => {
            let Some(value) = parse_i64(member) else {
                return add_text_to_ints(form, member, limits);
            };
            let added = ints.add(value);
            if ints.view().len() > max_intset_entries(limits) {
                // Straight to a table, even where the limits would allow as many packed members.
                into_table(form);
            }
            added
        }
        Form::Packed(packed) => {
            if packed.view().find(member, 1).is_some() {
                return false;
            }
            let small =
                packed.view().count() < limits.max_listpack_entries && member.len() <= limits.max_listpack_value;
            if small && packed.fits(&[member]) {
                packed.push(member);
            } else {
                insert_new(into_table(form), member);
            }
            true
        }
        Form::Table(table) => {
            let hash = table::hash(member);
            let is_new = table.find(hash, member).is_none();
            if is_new {
                table.insert_new(hash, Member::new(member));
            }
            is_new
        }
    }
}

/// Adds what is no integer to a set of integers, which then has to take another form. Always new.
fn add_text_to_ints(form: &mut Forms, member: &[u8], limits: &SetLimits) -> bool {
    let Form::Ints(ints) = form else { unreachable!("the caller has matched integers") };
    let view = ints.view();
    let longest = [view.min(), view.max()].into_iter().flatten().map(text_len).max().unwrap_or(0);
    let small = view.len() < limits.max_listpack_entries && member.len().max(longest) <= limits.max_listpack_value;
    if small {
        let mut packed = Packed::new();
        // With unusual limits the members may be more than one packed sequence holds.
        let all_fit = view.iter().all(|value| push_if_fits(&mut packed, &format_i64(value)));
        if all_fit && push_if_fits(&mut packed, member) {
            *form = Form::Packed(packed);
            return true;
        }
    }
    insert_new(into_table(form), member);
    true
}

fn push_if_fits(packed: &mut Packed, element: &[u8]) -> bool {
    let fits = packed.fits(&[element]);
    if fits {
        packed.push(element);
    }
    fits
}

/// Makes `form` a table with the same members, unless it is one.
fn into_table(form: &mut Forms) -> &mut Table<Member> {
    let mut table = Table::new();
    match form {
        Form::Ints(ints) => ints.view().iter().for_each(|value| insert_new(&mut table, &format_i64(value))),
        Form::Packed(packed) => packed.view().iter().for_each(|member| insert_new(&mut table, member)),
        Form::Table(_) => {}
    }
    if !matches!(form, Form::Table(_)) {
        *form = Form::Table(Boxed::new(table));
    }
    let Form::Table(table) = form else { unreachable!("the form has just been made a table") };
    table
}

fn insert_new(table: &mut Table<Member>, member: &[u8]) {
    table.insert_new(table::hash(member), Member::new(member));
}

fn initial_form(first: &[u8], count: usize, limits: &SetLimits) -> Forms {
    if count <= max_intset_entries(limits) && parse_i64(first).is_some() {
        Form::Ints(IntSet::new())
    } else if count <= limits.max_listpack_entries && first.len() <= limits.max_listpack_value {
        Form::Packed(Packed::new())
    } else {
        Form::Table(Boxed::new(Table::new()))
    }
}

fn max_intset_entries(limits: &SetLimits) -> usize {
    limits.max_intset_entries.min(intset::MAX_ENTRIES)
}

fn below(rng: &mut Rng, count: usize) -> usize {
    rng.below(count as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;
    use proptest::prelude::*;
    use std::collections::HashSet;

    const TINY: SetLimits = SetLimits { max_intset_entries: 8, max_listpack_entries: 12, max_listpack_value: 10 };

    fn set_of(members: &[&str], limits: &SetLimits) -> Set {
        let mut set = Set::new();
        members.iter().for_each(|member| assert!(set.add(member.as_bytes(), limits)));
        set
    }

    fn sorted(set: &Set) -> Vec<Vec<u8>> {
        let mut members: Vec<Vec<u8>> = set.iter().map(|member| member.to_vec()).collect();
        members.sort();
        members
    }

    #[test]
    fn encodings_change_where_redis_changes_them() {
        let numbers: Vec<String> = (0..20).map(|n| n.to_string()).collect();
        let numbers: Vec<&str> = numbers.iter().map(String::as_str).collect();
        let encoding = |members: &[&str], limits: &SetLimits| set_of(members, limits).encoding();
        assert_eq!(encoding(&["1", "2"], &TINY), Encoding::Intset);
        assert_eq!(encoding(&["1", "02"], &TINY), Encoding::Listpack);
        assert_eq!(encoding(&["a", "2"], &TINY), Encoding::Listpack);
        assert_eq!(encoding(&numbers[..8], &TINY), Encoding::Intset);
        assert_eq!(encoding(&numbers[..9], &TINY), Encoding::Hashtable);
        assert_eq!(encoding(&[&["x"], &numbers[..11]].concat(), &TINY), Encoding::Listpack);
        assert_eq!(encoding(&[&["x"], &numbers[..12]].concat(), &TINY), Encoding::Hashtable);
        assert_eq!(encoding(&["1", "a member that is long"], &TINY), Encoding::Hashtable);
        assert_eq!(encoding(&["a member that is long"], &TINY), Encoding::Hashtable);
        assert_eq!(encoding(&["123456789012", "x"], &TINY), Encoding::Hashtable, "an integer's text counts as well");
        let no_ints = SetLimits { max_intset_entries: 0, ..TINY };
        assert_eq!(encoding(&["1"], &no_ints), Encoding::Listpack);
        let nothing_small = SetLimits { max_listpack_entries: 0, ..no_ints };
        assert_eq!(encoding(&["1"], &nothing_small), Encoding::Hashtable);
    }

    #[test]
    fn a_number_of_members_that_is_known_ahead_decides_the_form() {
        assert_eq!(Set::for_members(b"1", 8, &TINY).encoding(), Encoding::Intset);
        assert_eq!(Set::for_members(b"1", 9, &TINY).encoding(), Encoding::Listpack);
        assert_eq!(Set::for_members(b"1", 13, &TINY).encoding(), Encoding::Hashtable);
        let mut set = set_of(&["1", "2"], &TINY);
        set.anticipate(8, &TINY);
        assert_eq!(set.encoding(), Encoding::Intset);
        set.anticipate(9, &TINY);
        assert_eq!((set.encoding(), sorted(&set)), (Encoding::Hashtable, vec![b"1".to_vec(), b"2".to_vec()]));
    }

    #[test]
    fn removing_never_goes_back_but_compacting_does() {
        let mut set = set_of(&["1", "2", "x"], &TINY);
        assert!(set.remove(b"x") && !set.remove(b"x"));
        assert_eq!(set.encoding(), Encoding::Listpack);
        set.compact(&TINY);
        assert_eq!((set.encoding(), set.len()), (Encoding::Intset, 2));
    }

    #[test]
    fn random_members_are_uniform_in_every_form() {
        let mut rng = Rng::seeded(3);
        for last in ["7", "x", "a member that is long"] {
            let set = set_of(&["1", "2", "3", last], &TINY);
            let mut hits = std::collections::HashMap::new();
            for _ in 0..4000 {
                *hits.entry(set.random(&mut rng).unwrap().to_vec()).or_insert(0) += 1;
            }
            assert_eq!(hits.len(), 4);
            assert!(hits.values().all(|count| (800..1200).contains(count)), "{hits:?}");
        }
        assert!(Set::new().random(&mut rng).is_none());
    }

    #[test]
    fn popping_yields_every_member_once() {
        let mut rng = Rng::seeded(4);
        for count in [5, 10, 200] {
            let mut set = Set::new();
            (0..count).for_each(|n| assert!(set.add(format!("m{n}").as_bytes(), &TINY)));
            let mut popped = HashSet::new();
            while let Some(member) = set.pop_random(&mut rng) {
                assert!(popped.insert(member));
            }
            assert_eq!((popped.len(), set.len()), (count, 0));
        }
    }

    #[test]
    fn small_forms_are_scanned_at_once_and_tables_until_the_end() {
        for count in [3, 300] {
            let mut set = Set::new();
            (0..count).for_each(|n| assert!(set.add(format!("m{n}").as_bytes(), &TINY)));
            let mut seen = HashSet::new();
            let mut cursor = ScanCursor::START;
            loop {
                cursor = set.scan(cursor, 10, |member| {
                    seen.insert(member.to_vec());
                });
                if cursor.is_end() {
                    break;
                }
            }
            assert_eq!(seen.len(), count);
        }
    }

    #[test]
    fn a_set_is_freed_and_read_by_other_threads() {
        let set = set_of(&["1", "x", "a member that is long"], &TINY);
        std::thread::scope(|scope| {
            scope.spawn(|| assert!(set.contains(b"x")));
            scope.spawn(|| assert!(set.contains(b"1")));
        });
        std::thread::spawn(move || drop(set)).join().unwrap();
    }

    #[test]
    fn a_large_set_of_16_byte_members_takes_at_most_36_bytes_each() {
        let mut set = Set::new();
        for count in 1..=60_000 {
            assert!(set.add(format!("{count:016}").as_bytes(), &TINY));
            if count >= 20_000 && count % 2_500 == 0 {
                let bytes = set.heap_bytes_sampled(0);
                assert!(bytes <= 36 * count, "{bytes} bytes for {count} members");
            }
        }
    }

    #[test]
    fn raw_words_carry_the_set() {
        for last in ["7", "x", "a member that is long"] {
            let raw = set_of(&["1", last], &TINY).into_raw();
            // SAFETY: the word was given up in the line before.
            let set = unsafe { Set::from_raw(raw) };
            assert!(set.len() == 2 && set.contains(b"1") && set.contains(last.as_bytes()));
        }
    }

    fn member() -> impl Strategy<Value = String> {
        prop_oneof![6 => (-8..16i64).prop_map(|n| n.to_string()), 1 => any::<i64>().prop_map(|n| n.to_string()),
            2 => "[a-c]{0,2}", 1 => "[a-b]{9,12}"]
    }

    proptest! {
        #[test]
        fn behaves_like_a_hash_set(steps in proptest::collection::vec((0..5u8, member()), 1..150)) {
            let mut set = Set::new();
            let mut model = HashSet::new();
            for (step, member) in steps {
                let bytes = member.as_bytes();
                if step < 3 {
                    prop_assert_eq!(set.add(bytes, &TINY), model.insert(member.clone()));
                } else {
                    prop_assert_eq!(set.remove(bytes), model.remove(&member));
                }
                prop_assert_eq!(set.contains(bytes), step < 3);
                prop_assert_eq!(set.len(), model.len());
            }
            let mut wanted: Vec<Vec<u8>> = model.into_iter().map(String::into_bytes).collect();
            wanted.sort();
            prop_assert_eq!(sorted(&set), wanted);
            let copy = set.clone();
            prop_assert_eq!((sorted(&copy), copy.encoding()), (sorted(&set), set.encoding()));
            set.compact(&TINY);
            prop_assert_eq!(sorted(&copy), sorted(&set));
        }
    }
}
