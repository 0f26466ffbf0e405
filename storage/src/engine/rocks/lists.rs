//! Lists: small ones are a sequence in their record; in large ones each element has a position.
//!
//! Positions are signed and have no gaps, so that both ends grow without touching what is there, and the element of an
//! index is found without a search. Inserting and removing inside moves the elements of the shorter side.

use super::layout::{PARTS, part_key, position_name, position_of};
use super::meta::{Data, Large, Meta, collection_bytes_max};
use super::staged::Staged;
use super::{corrupt, failed};
use crate::effect::KeyEffect;
use crate::effect::body::Kind;
use crate::effect::wire::{Malformed, Reader, put_bytes, put_varint};
use crate::engine::EngineError;
use crate::types::End;
use crate::value::Type;
use rocksdb::ReadOptions;

impl Staged<'_> {
    /// Applies a change of a list; none is left if it became empty.
    pub fn change_list(&mut self, meta: Option<Meta>, change: &KeyEffect) -> Result<Option<Meta>, EngineError> {
        let expiry = meta.as_ref().and_then(|meta| meta.expiry);
        let data = match meta.map(|meta| meta.data) {
            Some(Data::Parts(large)) if large.kind.value_type() != Type::List => return self.diverged(NO_LIST),
            Some(Data::Parts(large)) => self.change_large(large, change)?.map(Data::Parts),
            Some(Data::Whole(body)) => {
                let (kind, elements) = read_elements(&body)?;
                if kind.value_type() != Type::List {
                    return self.diverged(NO_LIST);
                }
                self.change_small(kind, elements, change)?
            }
            None => self.change_small(Kind::ListPacked, Vec::new(), change)?,
        };
        Ok(data.map(|data| Meta { expiry, data }))
    }

    fn change_small<'a>(
        &mut self,
        kind: Kind,
        mut elements: Vec<&'a [u8]>,
        change: &'a KeyEffect,
    ) -> Result<Option<Data>, EngineError> {
        let len = elements.len();
        match change {
            KeyEffect::ListPush { end: End::Back, elements: pushed } => elements.extend(pushed.iter().map(|e| &e[..])),
            KeyEffect::ListPush { end: End::Front, elements: pushed } => {
                elements.splice(0..0, pushed.iter().rev().map(|element| &element[..]));
            }
            KeyEffect::ListPop { count, .. } if *count > len => return self.diverged(TOO_SHORT),
            KeyEffect::ListPop { end: End::Front, count } => drop(elements.drain(..count)),
            KeyEffect::ListPop { end: End::Back, count } => elements.truncate(len - count),
            KeyEffect::ListSet { index, element } => match elements.get_mut(*index) {
                Some(place) => *place = element,
                None => return self.diverged(TOO_SHORT),
            },
            KeyEffect::ListInsert { index, .. } if *index > len => return self.diverged(TOO_SHORT),
            KeyEffect::ListInsert { index, element } => elements.insert(*index, element),
            KeyEffect::ListRemove { count, element } => {
                let matches = |index: &usize| elements[*index] == &element[..];
                let limit = limit_of(*count);
                let removed: Vec<usize> = match count {
                    ..0 => (0..len).rev().filter(matches).take(limit).collect(),
                    _ => (0..len).filter(matches).take(limit).collect(),
                };
                let mut index = 0;
                elements.retain(|_| {
                    index += 1;
                    !removed.contains(&(index - 1))
                });
            }
            KeyEffect::ListTrim { start, end } => {
                elements.truncate((*end).min(len));
                elements.drain(..(*start).min(elements.len()));
            }
            _ => unreachable!("only effects on lists are applied to lists"),
        }
        if elements.is_empty() {
            return Ok(None);
        }
        let size: usize = elements.iter().map(|element| element.len() + 1).sum();
        if size > collection_bytes_max() {
            return Ok(Some(Data::Parts(self.split_list(kind, &elements))));
        }
        let mut body = Vec::with_capacity(size + 8);
        body.push(kind as u8);
        put_varint(&mut body, elements.len() as u64);
        elements.iter().for_each(|element| put_bytes(&mut body, element));
        Ok(Some(Data::Whole(body)))
    }

    /// Makes parts of a list.
    pub fn split_list(&mut self, kind: Kind, elements: &[&[u8]]) -> Large {
        let large = Large { kind, version: self.new_version(), len: elements.len() as u64, head: 0 };
        for (position, element) in elements.iter().enumerate() {
            self.put_part(large.version, &position_name(position as i64), (*element).into());
        }
        large
    }

    fn change_large(&mut self, mut large: Large, change: &KeyEffect) -> Result<Option<Large>, EngineError> {
        let len = large.len;
        match change {
            KeyEffect::ListPush { end, elements } => {
                elements.iter().for_each(|element| self.push(&mut large, *end, element));
            }
            KeyEffect::ListPop { count, .. } if *count as u64 > len => return self.diverged(TOO_SHORT),
            KeyEffect::ListPop { end: End::Front, count } => return Ok(self.keep(large, *count as u64, len)),
            KeyEffect::ListPop { end: End::Back, count } => return Ok(self.keep(large, 0, len - *count as u64)),
            KeyEffect::ListSet { index, .. } if *index as u64 >= len => return self.diverged(TOO_SHORT),
            KeyEffect::ListSet { index, element } => {
                self.put_part(large.version, &large.name(*index as u64), element.clone());
            }
            KeyEffect::ListInsert { index, .. } if *index as u64 > len => return self.diverged(TOO_SHORT),
            KeyEffect::ListInsert { index, element } => self.insert(&mut large, *index as u64, element)?,
            KeyEffect::ListRemove { count, element } => {
                let removed = self.matches(&large, *count, element)?;
                return self.close_gaps(large, &removed);
            }
            KeyEffect::ListTrim { start, end } => {
                let end = (*end as u64).min(len);
                return Ok(self.keep(large, (*start as u64).min(end), end));
            }
            _ => unreachable!("only effects on lists are applied to lists"),
        }
        Ok(Some(large))
    }

    fn push(&mut self, large: &mut Large, end: End, element: &[u8]) {
        large.len += 1;
        let index = match end {
            End::Front => {
                large.head -= 1;
                0
            }
            End::Back => large.len - 1,
        };
        self.put_part(large.version, &large.name(index), element.into());
    }

    /// Deletes all but the elements from `start` to before `end`.
    fn keep(&mut self, mut large: Large, start: u64, end: u64) -> Option<Large> {
        if start >= end {
            self.discard_parts(&large);
            return None;
        }
        self.delete_positions(large.version, large.position(end)..large.position(large.len));
        self.delete_positions(large.version, large.position(0)..large.position(start));
        large.head = large.position(start);
        large.len = end - start;
        Some(large)
    }

    fn insert(&mut self, large: &mut Large, index: u64, element: &[u8]) -> Result<(), EngineError> {
        let len = large.len;
        large.len += 1;
        if index > len / 2 {
            for moved in (index..len).rev() {
                let value = self.element(large, moved)?;
                self.put_part(large.version, &large.name(moved + 1), value);
            }
        } else {
            large.head -= 1;
            for moved in 0..index {
                let value = self.element(large, moved + 1)?;
                self.put_part(large.version, &large.name(moved), value);
            }
        }
        self.put_part(large.version, &large.name(index), element.into());
        Ok(())
    }

    fn element(&self, large: &Large, index: u64) -> Result<Box<[u8]>, EngineError> {
        let found = self.part(large.version, &large.name(index))?;
        found.ok_or_else(|| corrupt("a list")(Malformed("an element is missing")))
    }

    /// The ascending indexes of the elements that are to be removed.
    fn matches(&self, large: &Large, count: i64, element: &[u8]) -> Result<Vec<u64>, EngineError> {
        let limit = limit_of(count);
        let mut found = Vec::new();
        if self.is_touched(large.version) {
            let index_of = |step| if count < 0 { large.len - 1 - step } else { step };
            for index in (0..large.len).map(index_of) {
                if found.len() == limit {
                    break;
                }
                if *self.element(large, index)? == *element {
                    found.push(index);
                }
            }
        } else {
            self.matches_on_disk(large, count, |index, value| {
                if value == element {
                    found.push(index);
                }
                found.len() < limit
            })?;
        }
        found.sort_unstable();
        Ok(found)
    }

    /// Visits the elements as they are on disk, from the end that `count` says, for as long as `visit` wants more.
    fn matches_on_disk(
        &self,
        large: &Large,
        count: i64,
        mut visit: impl FnMut(u64, &[u8]) -> bool,
    ) -> Result<(), EngineError> {
        let (rocks, group) = (&self.engine.rocks, self.engine.group);
        let mut options = ReadOptions::default();
        options.set_total_order_seek(true);
        options.set_iterate_lower_bound(part_key(group, large.version, &large.name(0)));
        options.set_iterate_upper_bound(part_key(group, large.version, &large.name(large.len)));
        let mut parts = rocks.db.raw_iterator_cf_opt(rocks.family(PARTS), options);
        if count < 0 {
            parts.seek_to_last()
        } else {
            parts.seek_to_first()
        }
        while let Some((key, value)) = parts.item() {
            let position = position_of(&key[super::layout::VERSION_PREFIX..]);
            let position = position.ok_or_else(|| corrupt("a list")(Malformed("an element without a position")))?;
            if !visit(position.abs_diff(large.head), value) {
                break;
            }
            if count < 0 { parts.prev() } else { parts.next() }
        }
        parts.status().map_err(failed("reading what an effect changes"))
    }

    /// Removes the elements at these ascending indexes, moving those of the shorter side.
    fn close_gaps(&mut self, mut large: Large, removed: &[u64]) -> Result<Option<Large>, EngineError> {
        let (Some(&first), Some(&last)) = (removed.first(), removed.last()) else { return Ok(Some(large)) };
        let (len, gone) = (large.len, removed.len() as u64);
        if gone == len {
            self.discard_parts(&large);
            return Ok(None);
        }
        if len - first <= last + 1 {
            let mut to = first;
            for from in first..len {
                if removed.binary_search(&from).is_err() {
                    let value = self.element(&large, from)?;
                    self.put_part(large.version, &large.name(to), value);
                    to += 1;
                }
            }
            self.delete_positions(large.version, large.position(len - gone)..large.position(len));
        } else {
            let mut to = last;
            for from in (0..=last).rev() {
                if removed.binary_search(&from).is_err() {
                    let value = self.element(&large, from)?;
                    self.put_part(large.version, &large.name(to), value);
                    to = to.wrapping_sub(1);
                }
            }
            self.delete_positions(large.version, large.position(0)..large.position(gone));
            large.head = large.position(gone);
        }
        large.len -= gone;
        Ok(Some(large))
    }
}

const NO_LIST: &str = "what is there is no list";
const TOO_SHORT: &str = "the list is shorter than it should be";

impl Large {
    fn position(&self, index: u64) -> i64 {
        self.head + index as i64
    }

    /// The name of the element at this index.
    pub fn name(&self, index: u64) -> [u8; 8] {
        position_name(self.position(index))
    }
}

/// How many elements LREM removes at most.
fn limit_of(count: i64) -> usize {
    if count == 0 { usize::MAX } else { usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX) }
}

/// The elements of a list that lies whole in its record; none if it is no list.
pub(super) fn read_elements(body: &[u8]) -> Result<(Kind, Vec<&[u8]>), EngineError> {
    let read = || {
        let mut reader = Reader::new(body);
        let kind = Kind::read(&mut reader)?;
        let count = if kind.value_type() == Type::List { reader.count()? } else { 0 };
        let elements = (0..count).map(|_| reader.bytes()).collect::<Result<Vec<_>, Malformed>>()?;
        Ok((kind, elements))
    };
    read().map_err(corrupt("a small list"))
}
