//! Decodes the value of one key, in any form that Redis ever wrote, into whatever implements [`Build`].

use std::borrow::Cow;

use super::kind::{Kind, unsupported_name};
use super::packed::{Element, checked_score, score_of_text};
use super::source::Source;
use super::{LoadError, intset, listpack, ziplist, zipmap};

/// What a value is, before its elements arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    String,
    List,
    Set,
    Hash,
    Zset,
}

/// A value under construction. Exactly the methods of its shape are called; on an error it is dropped half built.
///
/// `Err(Duplicate)` from a method makes the whole value corrupt.
pub trait Build: Sized {
    type Value;
    /// What decides about the representation, such as the thresholds for packed collections.
    type Limits;

    fn start(shape: Shape, limits: &Self::Limits) -> Self;
    /// The collection comes packed: it stays so whatever the length of its elements, as long as there are few enough.
    fn keep_packed(&mut self) {}
    fn string(&mut self, bytes: Cow<'_, [u8]>);
    fn list_item(&mut self, item: &[u8]);
    fn set_member(&mut self, member: &[u8]) -> Result<(), Duplicate>;
    fn hash_field(&mut self, field: &[u8], value: &[u8]) -> Result<(), Duplicate>;
    fn zset_member(&mut self, member: &[u8], score: f64) -> Result<(), Duplicate>;
    /// Called once all elements are in; there was at least one.
    fn finish(self) -> Self::Value;
}

/// The member or field is there already.
#[derive(Debug)]
pub struct Duplicate;

impl From<Duplicate> for LoadError {
    fn from(_: Duplicate) -> LoadError {
        LoadError::Corrupt("the same member twice")
    }
}

/// Reads the value whose type byte, already read, was `code`.
pub fn value<'a, B: Build>(source: &mut impl Source<'a>, code: u8, limits: &B::Limits) -> Result<B::Value, LoadError> {
    let Some(kind) = Kind::of_code(code) else {
        return Err(match unsupported_name(code) {
            Some(name) => LoadError::Unsupported { code, name },
            None => LoadError::Corrupt("a value of unknown type"),
        });
    };
    let mut build = B::start(shape(kind), limits);
    if matches!(
        kind,
        Kind::SetListpack | Kind::HashZiplist | Kind::HashListpack | Kind::ZsetZiplist | Kind::ZsetListpack
    ) {
        build.keep_packed();
    }
    let elements = match kind {
        Kind::String => {
            build.string(source.string()?);
            return Ok(build.finish());
        }
        Kind::List => counted(source, |source| {
            build.list_item(&source.string()?);
            Ok(())
        })?,
        Kind::Set => counted(source, |source| Ok(build.set_member(&source.string()?)?))?,
        Kind::Hash => counted(source, |source| Ok(build.hash_field(&source.string()?, &source.string()?)?))?,
        Kind::Zset => counted(source, |source| {
            let member = source.string()?;
            Ok(build.zset_member(&member, text_score(source)?)?)
        })?,
        Kind::Zset2 => counted(source, |source| {
            let member = source.string()?;
            let score = checked_score(f64::from_le_bytes(source.fixed()?))?;
            Ok(build.zset_member(&member, score)?)
        })?,
        Kind::ListZiplist => ziplist::each(&source.string()?, |item| list_item(&mut build, item))?,
        Kind::ListQuicklist => {
            nodes(source, |source| ziplist::each(&source.string()?, |item| list_item(&mut build, item)))?
        }
        Kind::ListQuicklist2 => nodes(source, |source| quicklist_node(source, &mut build))?,
        Kind::SetIntset => intset::each(&source.string()?, |number| set_member(&mut build, Element::Int(number)))?,
        Kind::SetListpack => listpack::each(&source.string()?, |member| set_member(&mut build, member))?,
        Kind::HashZipmap => zipmap::each(&source.string()?, |field, value| Ok(build.hash_field(field, value)?))?,
        Kind::HashZiplist => {
            let blob = source.string()?;
            pairs(|visit| ziplist::each(&blob, visit), |field, value| hash_field(&mut build, field, value))?
        }
        Kind::HashListpack => {
            let blob = source.string()?;
            pairs(|visit| listpack::each(&blob, visit), |field, value| hash_field(&mut build, field, value))?
        }
        Kind::ZsetZiplist => {
            let blob = source.string()?;
            pairs(|visit| ziplist::each(&blob, visit), |member, score| zset_member(&mut build, member, score))?
        }
        Kind::ZsetListpack => {
            let blob = source.string()?;
            pairs(|visit| listpack::each(&blob, visit), |member, score| zset_member(&mut build, member, score))?
        }
    };
    if elements == 0 { Err(LoadError::Empty) } else { Ok(build.finish()) }
}

fn shape(kind: Kind) -> Shape {
    match kind {
        Kind::String => Shape::String,
        Kind::List | Kind::ListZiplist | Kind::ListQuicklist | Kind::ListQuicklist2 => Shape::List,
        Kind::Set | Kind::SetIntset | Kind::SetListpack => Shape::Set,
        Kind::Hash | Kind::HashZipmap | Kind::HashZiplist | Kind::HashListpack => Shape::Hash,
        Kind::Zset | Kind::Zset2 | Kind::ZsetZiplist | Kind::ZsetListpack => Shape::Zset,
    }
}

/// A count, and that many elements. A false count meets the end of the data, since no element takes no bytes.
fn counted<'a, S: Source<'a>>(
    source: &mut S,
    mut element: impl FnMut(&mut S) -> Result<(), LoadError>,
) -> Result<usize, LoadError> {
    nodes(source, |source| element(source).map(|()| 1))
}

/// A count, and that many nodes of any number of elements; returns how many elements there were.
fn nodes<'a, S: Source<'a>>(
    source: &mut S,
    mut node: impl FnMut(&mut S) -> Result<usize, LoadError>,
) -> Result<usize, LoadError> {
    let mut elements = 0;
    for _ in 0..source.length()? {
        elements += node(source)?;
    }
    Ok(elements)
}

fn quicklist_node<'a, B: Build>(source: &mut impl Source<'a>, build: &mut B) -> Result<usize, LoadError> {
    match source.length()? {
        QUICKLIST_PLAIN => {
            build.list_item(&source.string()?);
            Ok(1)
        }
        QUICKLIST_PACKED => listpack::each(&source.string()?, |item| list_item(build, item)),
        _ => Err(LoadError::Corrupt("quicklist node of unknown form")),
    }
}

/// The node is one element, too big to be packed.
pub(super) const QUICKLIST_PLAIN: u64 = 1;
/// The node is a listpack.
pub(super) const QUICKLIST_PACKED: u64 = 2;

/// Visits the elements of a packed collection two by two; returns the count of pairs.
fn pairs<'a>(
    each: impl FnOnce(&mut dyn FnMut(Element<'a>) -> Result<(), LoadError>) -> Result<usize, LoadError>,
    mut visit: impl FnMut(Element<'a>, Element<'a>) -> Result<(), LoadError>,
) -> Result<usize, LoadError> {
    let mut first = None;
    let count = each(&mut |element| match first.take() {
        None => {
            first = Some(element);
            Ok(())
        }
        Some(first) => visit(first, element),
    })?;
    if first.is_some() { Err(LoadError::Corrupt("an odd count of elements")) } else { Ok(count / 2) }
}

fn list_item<B: Build>(build: &mut B, item: Element<'_>) -> Result<(), LoadError> {
    build.list_item(&item.text());
    Ok(())
}

fn set_member<B: Build>(build: &mut B, member: Element<'_>) -> Result<(), LoadError> {
    Ok(build.set_member(&member.text())?)
}

fn hash_field<B: Build>(build: &mut B, field: Element<'_>, value: Element<'_>) -> Result<(), LoadError> {
    Ok(build.hash_field(&field.text(), &value.text())?)
}

fn zset_member<B: Build>(build: &mut B, member: Element<'_>, score: Element<'_>) -> Result<(), LoadError> {
    Ok(build.zset_member(&member.text(), score.score()?)?)
}

/// A score in the old textual form: a length byte, of which three values stand for what has no digits.
fn text_score<'a>(source: &mut impl Source<'a>) -> Result<f64, LoadError> {
    match source.byte()? {
        255 => Ok(f64::NEG_INFINITY),
        254 => Ok(f64::INFINITY),
        253 => checked_score(f64::NAN),
        len => score_of_text(&source.bytes(len.into())?),
    }
}
