//! `Packed`: a short sequence of byte strings in one allocation, the counterpart of Redis's listpack.
//!
//! Layout of the block: `[count: u16][element...]`, an element being a varint length (one byte up to 250) and its
//! bytes. Elements carry no back-length: the whole is short, so walking from the front is cheap, and a byte per element
//! is a lot when elements are short. Numbers are kept as their text.
//!
//! Invariants: `count` elements follow each other without gaps and fill the block; never longer than `MAX_BYTES`, so
//! that one change moves a bounded number of bytes. Owners ask `fits` first and change to another form if it does not.

use super::block::{Block, allocation_size, varint};
use super::thin::InBlock;

const COUNT_BYTES: usize = 2;

/// The longest payload. Above what Redis's default limits let a listpack become (512 pairs of 64-byte strings), so that
/// with these limits a collection changes its encoding exactly where Redis's does.
pub const MAX_BYTES: usize = 80 * 1024;

/// Where an element starts. Valid until the next change before or at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pos(usize);

/// The owner of a packed sequence.
#[derive(Clone)]
#[repr(transparent)]
pub struct Packed(Block);

impl Packed {
    pub fn new() -> Packed {
        Packed(Block::new(&[0; COUNT_BYTES]))
    }

    pub fn view(&self) -> PackedView<'_> {
        PackedView(self.0.bytes())
    }

    /// Whether `elements` may be added.
    pub fn fits(&self, elements: &[&[u8]]) -> bool {
        self.view().fits(elements)
    }

    pub fn push(&mut self, element: &[u8]) {
        self.push_all(&[element]);
    }

    /// Adds `elements` at the end.
    pub fn push_all(&mut self, elements: &[&[u8]]) {
        self.splice(self.0.len(), 0, 0, elements);
    }

    /// Puts `elements` before the one at `pos`.
    pub fn insert(&mut self, pos: Pos, elements: &[&[u8]]) {
        self.splice(pos.0, 0, 0, elements);
    }

    /// Puts `elements` in front of all others.
    pub fn push_front(&mut self, elements: &[&[u8]]) {
        self.splice(COUNT_BYTES, 0, 0, elements);
    }

    pub fn replace(&mut self, pos: Pos, element: &[u8]) {
        let old = self.view().at(pos).len();
        if old == element.len() {
            // The usual overwrite (counters, fixed-size values) moves nothing.
            let start = pos.0 + varint::encoded_len(old);
            self.0.bytes_mut()[start..start + old].copy_from_slice(element);
        } else {
            self.splice(pos.0, encoded_len(old), 1, &[element]);
        }
    }

    /// Takes out `count` elements from `pos` on.
    pub fn remove(&mut self, pos: Pos, count: usize) {
        let view = self.view();
        let mut end = pos;
        for _ in 0..count {
            end = view.after(end);
        }
        self.splice(pos.0, end.0 - pos.0, count, &[]);
    }

    /// Cuts the sequence before element `index` and returns what follows.
    pub fn split_off(&mut self, index: usize) -> Packed {
        let view = self.view();
        let Some(pos) = view.pos(index) else {
            return Packed::new();
        };
        let moved = view.count() - index;
        let tail = Packed(Block::concat(&[&(moved as u16).to_le_bytes(), &view.0[pos.0..]]));
        self.splice(pos.0, self.0.len() - pos.0, moved, &[]);
        tail
    }

    /// Adds all elements of `other` at the end.
    pub fn append(&mut self, other: PackedView<'_>) {
        let count = self.view().count() + other.count();
        assert!(
            self.0.len() + other.0.len() <= MAX_BYTES && count <= usize::from(u16::MAX),
            "packed sequence overflows"
        );
        self.0.splice(self.0.len(), 0, &other.0[COUNT_BYTES..]);
        self.write_count(count);
    }

    /// What the allocator hands out for this sequence.
    pub fn heap_bytes(&self) -> usize {
        self.0.heap_bytes()
    }

    /// Replaces `old_count` elements, which take `old_bytes` from `at` on, by `elements`.
    fn splice(&mut self, at: usize, old_bytes: usize, old_count: usize, elements: &[&[u8]]) {
        let new_bytes: usize = elements.iter().map(|element| encoded_len(element.len())).sum();
        let count = self.view().count() - old_count + elements.len();
        assert!(self.0.len() - old_bytes + new_bytes <= MAX_BYTES, "packed sequence overflows");
        assert!(count <= usize::from(u16::MAX), "packed sequence has too many elements");
        self.0.splice_with(at, old_bytes, new_bytes, |mut gap| {
            for element in elements {
                let header = varint::write(element.len(), gap);
                gap[header..header + element.len()].copy_from_slice(element);
                gap = &mut gap[header + element.len()..];
            }
        });
        self.write_count(count);
    }

    fn write_count(&mut self, count: usize) {
        self.0.bytes_mut()[..COUNT_BYTES].copy_from_slice(&(count as u16).to_le_bytes());
    }
}

impl Default for Packed {
    fn default() -> Packed {
        Packed::new()
    }
}

impl<'e> FromIterator<&'e [u8]> for Packed {
    fn from_iter<E: IntoIterator<Item = &'e [u8]>>(elements: E) -> Packed {
        let mut packed = Packed::new();
        elements.into_iter().for_each(|element| packed.push(element));
        packed
    }
}

impl InBlock for Packed {
    type View<'a> = PackedView<'a>;

    fn into_block(self) -> Block {
        self.0
    }

    fn from_block(block: Block) -> Packed {
        Packed(block)
    }

    fn view_of(bytes: &[u8]) -> PackedView<'_> {
        PackedView(bytes)
    }
}

/// A packed sequence for reading.
#[derive(Clone, Copy)]
pub struct PackedView<'a>(&'a [u8]);

impl<'a> PackedView<'a> {
    pub fn count(self) -> usize {
        usize::from(u16::from_le_bytes([self.0[0], self.0[1]]))
    }

    pub fn is_empty(self) -> bool {
        self.count() == 0
    }

    /// Length of the payload, which is what limits in bytes are about.
    pub fn byte_len(self) -> usize {
        self.0.len()
    }

    /// A copy that owns its elements.
    pub fn to_packed(self) -> Packed {
        Packed(Block::new(self.0))
    }

    /// What the allocator hands out for this sequence.
    pub fn heap_bytes(self) -> usize {
        allocation_size(self.0.len())
    }

    pub fn fits(self, elements: &[&[u8]]) -> bool {
        let new_bytes: usize = elements.iter().map(|element| encoded_len(element.len())).sum();
        self.0.len() + new_bytes <= MAX_BYTES && self.count() + elements.len() <= usize::from(u16::MAX)
    }

    /// The element at `pos`.
    pub fn at(self, pos: Pos) -> &'a [u8] {
        let rest = &self.0[pos.0..];
        let (len, header) = varint::read(rest);
        &rest[header..header + len]
    }

    /// Where element `index` starts.
    pub fn pos(self, index: usize) -> Option<Pos> {
        self.entries().nth(index).map(|(pos, _)| pos)
    }

    /// Element `index`.
    pub fn nth(self, index: usize) -> Option<&'a [u8]> {
        self.iter().nth(index)
    }

    /// The element that follows the one at `pos`.
    pub fn next(self, pos: Pos) -> Option<Pos> {
        let after = self.after(pos);
        (after.0 < self.0.len()).then_some(after)
    }

    pub fn iter(self) -> impl Iterator<Item = &'a [u8]> {
        self.entries().map(|(_, element)| element)
    }

    pub fn entries(self) -> Entries<'a> {
        Entries { view: self, at: COUNT_BYTES }
    }

    /// Elements two by two: fields and values, members and scores.
    pub fn pairs(self) -> impl Iterator<Item = (Pos, &'a [u8], &'a [u8])> {
        let mut entries = self.entries();
        std::iter::from_fn(move || {
            let (pos, first) = entries.next()?;
            let (_, second) = entries.next()?;
            Some((pos, first, second))
        })
    }

    /// Where `wanted` is, looking only at every `stride`-th element from the first on.
    pub fn find(self, wanted: &[u8], stride: usize) -> Option<Pos> {
        // The hottest loop of small collections: one pass, and lengths are compared before any byte is looked at.
        let bytes = self.0;
        let mut at = COUNT_BYTES;
        let mut passed_over = 0;
        while at < bytes.len() {
            let (len, header) = varint::read(&bytes[at..]);
            let start = at + header;
            if passed_over == 0 {
                if len == wanted.len() && &bytes[start..start + len] == wanted {
                    return Some(Pos(at));
                }
                passed_over = stride;
            }
            passed_over -= 1;
            at = start + len;
        }
        None
    }

    /// Where the element at `pos` ends.
    fn after(self, pos: Pos) -> Pos {
        let (len, header) = varint::read(&self.0[pos.0..]);
        Pos(pos.0 + header + len)
    }
}

/// Iterates over elements and where they start.
#[derive(Clone)]
pub struct Entries<'a> {
    view: PackedView<'a>,
    at: usize,
}

impl<'a> Iterator for Entries<'a> {
    type Item = (Pos, &'a [u8]);

    #[inline]
    fn next(&mut self) -> Option<(Pos, &'a [u8])> {
        let rest = &self.view.0[self.at..];
        if rest.is_empty() {
            return None;
        }
        let (len, header) = varint::read(rest);
        let pos = Pos(self.at);
        self.at += header + len;
        Some((pos, &rest[header..header + len]))
    }
}

/// What an element of `len` bytes takes.
pub const fn encoded_len(len: usize) -> usize {
    varint::encoded_len(len) + len
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn five_short_pairs_take_64_bytes() {
        let mut packed = Packed::new();
        for i in 0..5 {
            packed.push_all(&[format!("field:{i:02}").as_bytes(), b"42"]);
        }
        assert_eq!(packed.heap_bytes(), 64);
        assert_eq!(packed.view().heap_bytes(), 64);
    }

    #[test]
    fn fits_ends_at_the_limit() {
        let mut packed = Packed::new();
        let element = vec![b'x'; 1021];
        while packed.fits(&[&element]) {
            packed.push(&element);
        }
        assert_eq!(packed.view().count(), 79);
        assert!(packed.fits(&[b"short"]));
    }

    #[derive(Clone, Debug)]
    enum Step {
        Push(Vec<u8>),
        PushFront(Vec<u8>),
        Insert(usize, Vec<u8>, Vec<u8>),
        Replace(usize, Vec<u8>),
        Remove(usize, usize),
        SplitAndJoin(usize),
    }

    fn element() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            8 => proptest::collection::vec(any::<u8>(), 0..20),
            1 => proptest::collection::vec(any::<u8>(), 245..260),
        ]
    }

    fn step() -> impl Strategy<Value = Step> {
        let index = 0..100usize;
        prop_oneof![
            element().prop_map(Step::Push),
            element().prop_map(Step::PushFront),
            (index.clone(), element(), element()).prop_map(|(i, a, b)| Step::Insert(i, a, b)),
            (index.clone(), element()).prop_map(|(i, a)| Step::Replace(i, a)),
            (index.clone(), 1..4usize).prop_map(|(i, n)| Step::Remove(i, n)),
            index.prop_map(Step::SplitAndJoin),
        ]
    }

    proptest! {
        #[test]
        fn behaves_like_a_vector(steps in proptest::collection::vec(step(), 1..120)) {
            let mut packed = Packed::new();
            let mut model: Vec<Vec<u8>> = Vec::new();
            for step in steps {
                let len = model.len();
                match step {
                    Step::Push(e) => { packed.push(&e); model.push(e); }
                    Step::PushFront(e) => { packed.push_front(&[&e]); model.insert(0, e); }
                    Step::Insert(i, a, b) if len > 0 => {
                        let i = i % len;
                        packed.insert(packed.view().pos(i).unwrap(), &[&a, &b]);
                        model.splice(i..i, [a, b]);
                    }
                    Step::Replace(i, e) if len > 0 => {
                        packed.replace(packed.view().pos(i % len).unwrap(), &e);
                        model[i % len] = e;
                    }
                    Step::Remove(i, n) if len > 0 => {
                        let i = i % len;
                        let n = n.min(len - i);
                        packed.remove(packed.view().pos(i).unwrap(), n);
                        model.drain(i..i + n);
                    }
                    Step::SplitAndJoin(i) => {
                        let tail = packed.split_off(i);
                        prop_assert_eq!(tail.view().count(), len.saturating_sub(i));
                        prop_assert_eq!(packed.view().count(), len.min(i));
                        packed.append(tail.view());
                    }
                    _ => {}
                }
                prop_assert_eq!(packed.view().count(), model.len());
                prop_assert!(packed.view().iter().eq(model.iter().map(Vec::as_slice)));
            }
            for (i, e) in model.iter().enumerate() {
                prop_assert_eq!(packed.view().nth(i), Some(e.as_slice()));
            }
            prop_assert!(packed.clone().view().iter().eq(packed.view().iter()));
        }
    }
}
