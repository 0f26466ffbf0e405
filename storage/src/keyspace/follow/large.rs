//! A large collection on its way in pieces, so that its stripe is locked only for as long as a piece takes.
//!
//! **Invariant**: what was passed on of it, applied in order, is a part of what it holds: of a list the first elements,
//! of others any. So when it becomes empty, or when it is gone, that part is too, and nothing can be left behind.
//!
//! Sets, hashes and sorted sets are scanned, and what changes in them is passed on as it is: it says of each element
//! what has become of it. What is there from the first piece to the last is met by the scan. In lists elements have
//! positions, so of what changes in one only that is passed on which concerns the part that was copied.
//!
//! Its expiry comes with the last piece.

use crate::effect::{Cause, Former, KeyEffect};
use crate::entry::{EntryRef, ValueRef};
use crate::table::ScanCursor;
use crate::types::End;
use crate::value::{Str, Type, Value};

/// A collection with more elements is copied in pieces of so many at most.
const PIECE_ELEMENTS: usize = 512;
/// So is one that takes more bytes, in pieces of about so many.
const PIECE_BYTES: usize = 64 << 10;

/// How far the copy of a collection has got.
#[derive(Debug)]
pub struct Partial {
    value_type: Type,
    place: Place,
}

#[derive(Debug)]
enum Place {
    Scanned(ScanCursor),
    /// Elements of a list that were copied, and all that it has.
    Listed {
        copied: usize,
        len: usize,
    },
}

/// What follows from a change of the collection.
pub enum Response {
    /// These changes are to be passed on in its place; more pieces are to come.
    Goes(Vec<KeyEffect>),
    /// With these the key is elsewhere what it is here.
    IsWhole(Vec<KeyEffect>),
    /// What was copied is of no use any more.
    BeginsAnew,
}

/// What is passed on next.
pub enum Piece {
    More(KeyEffect),
    Last(Vec<KeyEffect>),
}

/// Whether to copy an entry in pieces.
pub fn is_large(entry: EntryRef<'_>) -> bool {
    let Some(len) = len_of(entry) else { return false };
    len > PIECE_ELEMENTS || len > 1 && entry.heap_bytes() > PIECE_BYTES
}

/// Deletes a key that may be there or not: a deletion is only for what is there.
pub fn absence() -> [KeyEffect; 2] {
    let value = Value::Str(Str::Int(0));
    [KeyEffect::Put { value, expiry: None, former: Former::Unknown }, KeyEffect::Delete(Cause::Deleted)]
}

impl Partial {
    /// Nothing is copied yet, and nothing is there elsewhere.
    pub fn of(entry: EntryRef<'_>) -> Partial {
        let value_type = entry.value().type_of();
        let place = match value_type {
            Type::List => Place::Listed { copied: 0, len: len_of(entry).unwrap_or(0) },
            _ => Place::Scanned(ScanCursor::START),
        };
        Partial { value_type, place }
    }

    /// Goes on with what the key holds, which is of the same type.
    pub fn next(&mut self, entry: EntryRef<'_>) -> Piece {
        let count = elements_of_piece(entry);
        let (change, is_last) = match &mut self.place {
            Place::Scanned(cursor) => {
                let change;
                (change, *cursor) = scan(entry, *cursor, count);
                (change, cursor.is_end())
            }
            Place::Listed { copied, len } => {
                let ValueRef::List(list) = entry.value() else { unreachable!("another type ends the copy") };
                debug_assert_eq!(list.len(), *len, "every change of a list is counted");
                let elements: Vec<Box<[u8]>> = list.range(*copied..*copied + count).map(Box::from).collect();
                *copied += elements.len();
                (KeyEffect::ListPush { end: End::Back, elements }, copied == len)
            }
        };
        if !is_last {
            return Piece::More(change);
        }
        let expiry = entry.expiry().map(|at| KeyEffect::SetExpiry(Some(at)));
        Piece::Last([change].into_iter().filter(has_elements).chain(expiry).collect())
    }

    /// What to do about a change of the key, which has just happened.
    pub fn follow(&mut self, change: &KeyEffect) -> Response {
        match change {
            // What is there elsewhere may be nothing yet.
            KeyEffect::Delete(_) => return Response::IsWhole(absence().into()),
            KeyEffect::SetExpiry(_) => return Response::Goes(Vec::new()),
            KeyEffect::Put { .. } => return Response::IsWhole(vec![change.clone()]),
            _ => {}
        }
        if type_of(change) != Some(self.value_type) {
            // It became empty, and was made anew.
            return Response::IsWhole(vec![change.clone()]);
        }
        match &mut self.place {
            Place::Scanned(_) => Response::Goes(vec![change.clone()]),
            Place::Listed { copied, len } => follow_list(copied, len, change),
        }
    }
}

/// `copied` and `len` become what they are after the change.
fn follow_list(copied: &mut usize, len: &mut usize, change: &KeyEffect) -> Response {
    let mut passed = Vec::new();
    match change {
        KeyEffect::ListPush { end, elements } => {
            if *end == End::Front || copied == len {
                *copied += elements.len();
                passed.push(change.clone());
            }
            *len += elements.len();
        }
        KeyEffect::ListPop { end: End::Front, count } => {
            passed.extend(pop(End::Front, copied, *count));
            *len -= count;
        }
        KeyEffect::ListPop { end: End::Back, count } => {
            *len -= count;
            passed.extend(pop(End::Back, copied, copied.saturating_sub(*len)));
        }
        KeyEffect::ListSet { index, .. } => passed.extend((index < copied).then(|| change.clone())),
        KeyEffect::ListInsert { index, .. } => {
            if index < copied || copied == len {
                *copied += 1;
                passed.push(change.clone());
            }
            *len += 1;
        }
        KeyEffect::ListTrim { start, end } => {
            *len = end.min(len).saturating_sub(*start);
            passed.extend(pop(End::Back, copied, copied.saturating_sub(*end)));
            passed.extend(pop(End::Front, copied, *start));
        }
        // Where these elements were cannot be seen any more.
        _ => return Response::BeginsAnew,
    }
    if *len == 0 { Response::IsWhole(passed) } else { Response::Goes(passed) }
}

/// Takes elements from the part that was copied, as far as there are any.
fn pop(end: End, copied: &mut usize, count: usize) -> Option<KeyEffect> {
    let count = count.min(*copied);
    *copied -= count;
    (count > 0).then_some(KeyEffect::ListPop { end, count })
}

fn len_of(entry: EntryRef<'_>) -> Option<usize> {
    match entry.value() {
        ValueRef::List(list) => Some(list.len()),
        ValueRef::Set(set) => Some(set.len()),
        ValueRef::Hash(hash) => Some(hash.len()),
        ValueRef::Zset(zset) => Some(zset.len()),
        ValueRef::Int(_) | ValueRef::Str(_) | ValueRef::Outline(_) => None,
    }
}

fn elements_of_piece(entry: EntryRef<'_>) -> usize {
    let average = entry.heap_bytes() / len_of(entry).unwrap_or(0).max(1);
    (PIECE_BYTES / average.max(1)).clamp(1, PIECE_ELEMENTS)
}

/// Some elements from a cursor on, and where to go on.
fn scan(entry: EntryRef<'_>, cursor: ScanCursor, count: usize) -> (KeyEffect, ScanCursor) {
    match entry.value() {
        ValueRef::Set(set) => {
            let mut members = Vec::with_capacity(count);
            let next = set.scan(cursor, count, |member| members.push(member.into()));
            (KeyEffect::SetAdd { members }, next)
        }
        ValueRef::Hash(hash) => {
            let mut fields = Vec::with_capacity(count);
            let next = hash.scan(cursor, count, |field, value| fields.push((field.into(), value.into())));
            (KeyEffect::HashPut { fields }, next)
        }
        ValueRef::Zset(zset) => {
            let mut members = Vec::with_capacity(count);
            let next = zset.scan(cursor, count, |member, score| members.push((member.into(), score)));
            (KeyEffect::ZsetPut { members }, next)
        }
        _ => unreachable!("another type ends the copy"),
    }
}

/// A table may have been emptied but for what was met before.
fn has_elements(change: &KeyEffect) -> bool {
    match change {
        KeyEffect::ListPush { elements: names, .. } | KeyEffect::SetAdd { members: names } => !names.is_empty(),
        KeyEffect::HashPut { fields } => !fields.is_empty(),
        KeyEffect::ZsetPut { members } => !members.is_empty(),
        _ => true,
    }
}

/// Of what a change inside a value is.
fn type_of(change: &KeyEffect) -> Option<Type> {
    match change {
        KeyEffect::Put { .. } | KeyEffect::Delete(_) | KeyEffect::SetExpiry(_) => None,
        KeyEffect::Splice { .. } => Some(Type::String),
        KeyEffect::ListPush { .. }
        | KeyEffect::ListPop { .. }
        | KeyEffect::ListSet { .. }
        | KeyEffect::ListInsert { .. }
        | KeyEffect::ListRemove { .. }
        | KeyEffect::ListTrim { .. } => Some(Type::List),
        KeyEffect::SetAdd { .. } | KeyEffect::SetRemove { .. } => Some(Type::Set),
        KeyEffect::HashPut { .. } | KeyEffect::HashRemove { .. } => Some(Type::Hash),
        KeyEffect::ZsetPut { .. } | KeyEffect::ZsetRemove { .. } => Some(Type::Zset),
    }
}
