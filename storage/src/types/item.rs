//! What the tables of sets and hashes hold: one allocation per member or per field, nothing else.
//!
//! `Member` is a block with the member's bytes. `Field` is `[name length: varint][name][value]`, the value being the
//! rest. A field that expires on its own will carry its expiry between length and name, announced by one of the length
//! codes that `varint` leaves free, so that fields without expiry pay nothing for it.

use super::block::{Block, varint};
use crate::table::Item;
use std::ptr::NonNull;

/// A member of a large set.
#[derive(Clone, Debug)]
#[repr(transparent)]
pub struct Member(Block);

impl Member {
    pub fn new(bytes: &[u8]) -> Member {
        Member(Block::new(bytes))
    }

    pub fn bytes(&self) -> &[u8] {
        self.0.bytes()
    }

    pub fn heap_bytes(&self) -> usize {
        self.0.heap_bytes()
    }
}

// SAFETY: a block owns its allocation through one 8-aligned pointer; its bytes stay put while it is not changed, and
// `Member` has no method that changes them.
unsafe impl Item for Member {
    fn key(&self) -> &[u8] {
        self.bytes()
    }

    fn into_raw(self) -> NonNull<u8> {
        self.0.into_raw()
    }

    unsafe fn from_raw(raw: NonNull<u8>) -> Member {
        // SAFETY: the caller's promise is the one that `Block` asks for.
        Member(unsafe { Block::from_raw(raw) })
    }
}

/// A field of a large hash, with its value.
#[derive(Clone, Debug)]
#[repr(transparent)]
pub struct Field(Block);

impl Field {
    pub fn new(name: &[u8], value: &[u8]) -> Field {
        let mut header = [0; varint::MAX_LEN];
        let header_len = varint::write(name.len(), &mut header);
        Field(Block::concat(&[&header[..header_len], name, value]))
    }

    pub fn name(&self) -> &[u8] {
        let bytes = self.0.bytes();
        let (len, header) = varint::read(bytes);
        &bytes[header..header + len]
    }

    pub fn value(&self) -> &[u8] {
        &self.0.bytes()[self.value_start()..]
    }

    /// Overwrites the value; in place, if the field stays in its size class.
    pub fn replace_value(&mut self, value: &[u8]) {
        let start = self.value_start();
        self.0.splice(start, self.0.len() - start, value);
    }

    pub fn heap_bytes(&self) -> usize {
        self.0.heap_bytes()
    }

    fn value_start(&self) -> usize {
        let (len, header) = varint::read(self.0.bytes());
        header + len
    }
}

// SAFETY: a block owns its allocation through one 8-aligned pointer; `replace_value` does not change the name.
unsafe impl Item for Field {
    fn key(&self) -> &[u8] {
        self.name()
    }

    fn into_raw(self) -> NonNull<u8> {
        self.0.into_raw()
    }

    unsafe fn from_raw(raw: NonNull<u8>) -> Field {
        // SAFETY: the caller's promise is the one that `Block` asks for.
        Field(unsafe { Block::from_raw(raw) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_of_16_bytes_takes_24_and_a_field_of_16_and_16_takes_40() {
        assert_eq!(Member::new(&[b'm'; 16]).heap_bytes(), 24);
        assert_eq!(Field::new(&[b'f'; 16], &[b'v'; 16]).heap_bytes(), 40);
    }

    #[test]
    fn replacing_a_value_keeps_the_name() {
        let name = vec![b'n'; 300];
        let mut field = Field::new(&name, b"old");
        for len in [0, 3, 200, 70_000, 10] {
            let value = vec![b'v'; len];
            field.replace_value(&value);
            assert_eq!((field.name(), field.value()), (&name[..], &value[..]));
        }
    }

    #[test]
    fn a_value_that_stays_in_its_class_is_overwritten_in_place() {
        let mut field = Field::new(b"counter", b"1");
        let before = field.name().as_ptr();
        field.replace_value(b"99999");
        assert_eq!(field.heap_bytes(), 16);
        assert_eq!(field.name().as_ptr(), before);
    }
}
