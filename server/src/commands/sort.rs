//! SORT and SORT_RO: the elements of a collection in order, or what other keys say about them.
//!
//! Patterns of BY and GET name keys by the elements, so such a command holds all stripes.

use super::ctx::Ctx;
use super::parse;
use super::spec::{Flags, Group, Handler::Data, InvalidKeys, KeyFlags, KeySpec, Locks, OW_UPDATE, RO_ACCESS, Spec};
use crate::error::{CommandError, CommandResult, SYNTAX, WRONG_TYPE};
use crate::notify::EventClass;
use crate::resp::Args;
use basalt_storage::entry::{EntryRef, ValueRef};
use basalt_storage::keyspace::{Key, StrRef};
use basalt_storage::number::parse_f64;
use basalt_storage::types::{End, List, MemberRef, Zset};
use basalt_storage::value::{Type, Value};
use std::cmp::Ordering;

const BY_GET_NOTES: &str = "Keys that BY and GET name follow from the elements, so nobody knows them beforehand";
const STORE_NOTES: &str = "STORE may stand anywhere among the options";

pub const COMMANDS: &[Spec] = &[
    Spec {
        name: "sort",
        arity: -2,
        flags: Flags::WRITE.or(Flags::DENYOOM).or(Flags::MOVABLE_KEYS),
        keys: &[
            KeySpec::first(RO_ACCESS),
            KeySpec::unknown(RO_ACCESS, BY_GET_NOTES),
            KeySpec::unknown(OW_UPDATE, STORE_NOTES),
        ],
        find_keys: Some(keys_of_sort),
        categories: &["set", "sortedset", "list", "dangerous"],
        group: Group::Generic,
        summary: "Sorts the elements of a list, set or sorted set.",
        syntax: "key [BY pattern] [LIMIT offset count] [GET pattern [GET pattern ...]] [ASC | DESC] [ALPHA] \
                 [STORE destination]",
        complexity: "O(N+M*log(M)), N being the number of elements and M that of those answered; O(N) without sorting",
        locks: Locks::KeysOrPatterns,
        handler: Data(|ctx, args| sort(ctx, args, Store::Permitted)),
        ..Spec::DEFAULT
    },
    Spec {
        name: "sort_ro",
        arity: -2,
        flags: Flags::READONLY.or(Flags::MOVABLE_KEYS),
        keys: &[KeySpec::first(RO_ACCESS), KeySpec::unknown(RO_ACCESS, BY_GET_NOTES)],
        find_keys: Some(keys_of_sort_ro),
        categories: &["set", "sortedset", "list", "dangerous"],
        group: Group::Generic,
        since: "7.0.0",
        summary: "Sorts the elements of a list, set or sorted set, and stores nothing.",
        syntax: "key [BY pattern] [LIMIT offset count] [GET pattern [GET pattern ...]] [ASC | DESC] [ALPHA]",
        complexity: "O(N+M*log(M)), N being the number of elements and M that of those answered; O(N) without sorting",
        locks: Locks::KeysOrPatterns,
        handler: Data(|ctx, args| sort(ctx, args, Store::Refused)),
        ..Spec::DEFAULT
    },
];

/// The first argument, and what stands behind the last STORE.
fn keys_of_sort(args: Args<'_>, visit: &mut dyn FnMut(usize, KeyFlags)) -> Result<(), InvalidKeys> {
    visit(1, RO_ACCESS);
    let mut destination = None;
    let mut at = 2;
    while at < args.len() {
        at += match args.at(at) {
            word if word.eq_ignore_ascii_case(b"limit") => 2,
            word if word.eq_ignore_ascii_case(b"get") || word.eq_ignore_ascii_case(b"by") => 1,
            word if word.eq_ignore_ascii_case(b"store") && at + 1 < args.len() => {
                destination = Some(at + 1);
                1
            }
            _ => 0,
        };
        at += 1;
    }
    if let Some(destination) = destination {
        visit(destination, OW_UPDATE);
    }
    Ok(())
}

fn keys_of_sort_ro(_: Args<'_>, visit: &mut dyn FnMut(usize, KeyFlags)) -> Result<(), InvalidKeys> {
    visit(1, RO_ACCESS);
    Ok(())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Store {
    Permitted,
    Refused,
}

/// By what the elements are ordered.
#[derive(Clone, Copy)]
enum By<'a> {
    Themselves,
    /// The strings or fields that this pattern names.
    Pattern(Pattern<'a>),
    /// Nothing: they stay as they are.
    Nothing,
}

/// The options of SORT.
struct Options<'a> {
    by: By<'a>,
    gets: Vec<Pattern<'a>>,
    descending: bool,
    alpha: bool,
    offset: i64,
    /// Negative: all.
    count: i64,
    destination: Option<&'a [u8]>,
}

impl<'a> Options<'a> {
    fn parse(args: Args<'a>, store: Store) -> Result<Options<'a>, CommandError> {
        let mut options = Options {
            by: By::Themselves,
            gets: Vec::new(),
            descending: false,
            alpha: false,
            offset: 0,
            count: -1,
            destination: None,
        };
        let mut at = 2;
        while at < args.len() {
            let left = args.len() - at - 1;
            at += match args.at(at).to_ascii_lowercase().as_slice() {
                b"asc" => {
                    options.descending = false;
                    1
                }
                b"desc" => {
                    options.descending = true;
                    1
                }
                b"alpha" => {
                    options.alpha = true;
                    1
                }
                b"limit" if left >= 2 => {
                    options.offset = parse::integer(args.at(at + 1))?;
                    options.count = parse::integer(args.at(at + 2))?;
                    3
                }
                b"store" if left >= 1 && store == Store::Permitted => {
                    options.destination = Some(args.at(at + 1));
                    2
                }
                b"by" if left >= 1 => {
                    let pattern = args.at(at + 1);
                    // A constant says "do not sort", whatever other BY stands beside it.
                    if !pattern.contains(&b'*') {
                        options.by = By::Nothing;
                    } else if !matches!(options.by, By::Nothing) {
                        options.by = By::Pattern(Pattern::parse(pattern));
                    }
                    2
                }
                b"get" if left >= 1 => {
                    options.gets.push(Pattern::parse(args.at(at + 1)));
                    2
                }
                _ => return Err(SYNTAX),
            };
        }
        Ok(options)
    }

    /// The part of `len` sorted elements that is asked for.
    fn range(&self, len: usize) -> std::ops::Range<usize> {
        let clamped = |number: i64| (number.max(0) as usize).min(len);
        let start = clamped(self.offset);
        let count = if self.count < 0 { len } else { clamped(self.count) };
        start..start.saturating_add(count).min(len)
    }
}

/// A pattern of BY or GET.
#[derive(Clone, Copy)]
enum Pattern<'a> {
    /// `#`: the element itself.
    Element,
    /// The key around the element; a field if it is a hash.
    Key { before: &'a [u8], behind: &'a [u8], field: Option<&'a [u8]> },
    /// Without a star: never there.
    Nothing,
}

impl<'a> Pattern<'a> {
    fn parse(text: &'a [u8]) -> Pattern<'a> {
        if text == b"#" {
            return Pattern::Element;
        }
        let Some(star) = text.iter().position(|byte| *byte == b'*') else { return Pattern::Nothing };
        let (before, rest) = (&text[..star], &text[star + 1..]);
        // An arrow counts behind the star only, and only with a name behind it.
        match rest.windows(2).position(|pair| pair == b"->").filter(|arrow| arrow + 2 < rest.len()) {
            Some(arrow) => Pattern::Key { before, behind: &rest[..arrow], field: Some(&rest[arrow + 2..]) },
            None => Pattern::Key { before, behind: rest, field: None },
        }
    }

    /// What the pattern names for `element`.
    fn look_up(self, ctx: &mut Ctx<'_, '_>, element: &[u8]) -> Option<Vec<u8>> {
        match self {
            Pattern::Element => Some(element.to_vec()),
            Pattern::Nothing => None,
            Pattern::Key { before, behind, field } => {
                let name = [before, element, behind].concat();
                let entry = ctx.view.read(ctx.db, &Key::new(&name))?;
                match field {
                    None => StrRef::of(entry).ok().map(StrRef::to_vec),
                    Some(field) => match entry.value() {
                        ValueRef::Hash(hash) => hash.get(field).map(|field| field.value().to_vec()),
                        _ => None,
                    },
                }
            }
        }
    }
}

fn sort(ctx: &mut Ctx<'_, '_>, args: Args<'_>, store: Store) -> CommandResult {
    let mut options = Options::parse(args, store)?;
    let key = args.key(1);
    let source = ctx.view.read(ctx.db, &key);
    let (kind, mut elements) = source.map_or(Ok((Type::List, Vec::new())), elements_of)?;
    // Redis turns a sorted set into a skiplist to walk it, and OBJECT ENCODING tells; its members stay the same.
    if kind == Type::Zset
        && let Some(mut zset) = ctx.view.existing::<Zset>(ctx.db, &key)?
    {
        zset.anticipate(usize::MAX, 0);
    }
    // A set has no order of its own: what is stored from one must not depend on how it happens to be laid out.
    if kind == Type::Set && matches!(options.by, By::Nothing) && options.destination.is_some() {
        options.by = By::Themselves;
        options.alpha = true;
    }
    match options.by {
        // Lists and sorted sets are read from the other end.
        By::Nothing if options.descending && kind != Type::Set => elements.reverse(),
        By::Nothing => {}
        By::Themselves => elements = sorted(elements, |element| Some(element.to_vec()), &options)?,
        By::Pattern(pattern) => elements = sorted(elements, |element| pattern.look_up(ctx, element), &options)?,
    }
    let range = options.range(elements.len());
    let answers = answers(ctx, &options, &elements[range]);
    match options.destination {
        None => {
            ctx.out.array(answers.len());
            answers.iter().for_each(|answer| ctx.out.bulk_or_null(answer.as_deref()));
        }
        Some(destination) => put_answers(ctx, destination, &answers),
    }
    Ok(())
}

/// The elements in their own order.
fn elements_of(entry: EntryRef<'_>) -> Result<(Type, Vec<Vec<u8>>), CommandError> {
    let value = entry.value();
    let elements = match value {
        ValueRef::List(list) => list.iter().map(<[u8]>::to_vec).collect(),
        ValueRef::Set(set) => set.iter().map(|member: MemberRef<'_>| member.to_vec()).collect(),
        ValueRef::Zset(zset) => zset.iter().map(|(member, _)| member.to_vec()).collect(),
        _ => return Err(WRONG_TYPE),
    };
    Ok((value.type_of(), elements))
}

/// Sorts by what `weight` says of each element. Elements without a weight come first, or count as zero.
fn sorted(
    elements: Vec<Vec<u8>>,
    mut weight: impl FnMut(&[u8]) -> Option<Vec<u8>>,
    options: &Options<'_>,
) -> Result<Vec<Vec<u8>>, CommandError> {
    let directed = |order: Ordering| if options.descending { order.reverse() } else { order };
    if options.alpha {
        let mut weighed: Vec<_> = elements.into_iter().map(|element| (weight(&element), element)).collect();
        weighed.sort_by(|one, other| directed(one.0.cmp(&other.0)));
        return Ok(weighed.into_iter().map(|(_, element)| element).collect());
    }
    let mut weighed = Vec::with_capacity(elements.len());
    for element in elements {
        let weight = weight(&element).map_or(Some(0.0), |text| number_of(&text));
        weighed.push((weight.ok_or(NOT_A_NUMBER)?, element));
    }
    weighed.sort_by(|one, other| directed(one.0.total_cmp(&other.0).then_with(|| one.1.cmp(&other.1))));
    Ok(weighed.into_iter().map(|(_, element)| element).collect())
}

const NOT_A_NUMBER: CommandError = CommandError::new("ERR One or more scores can't be converted into double");

/// As C's strtod reads it: white space in front is skipped, and the empty text is zero. Zeros have no sign here, since
/// they are compared as numbers.
fn number_of(text: &[u8]) -> Option<f64> {
    if text.is_empty() {
        return Some(0.0);
    }
    parse_f64(text.trim_ascii_start()).map(|number| number + 0.0)
}

/// What is answered for these elements: they themselves, or what each GET finds.
fn answers(ctx: &mut Ctx<'_, '_>, options: &Options<'_>, elements: &[Vec<u8>]) -> Vec<Option<Vec<u8>>> {
    if options.gets.is_empty() {
        return elements.iter().cloned().map(Some).collect();
    }
    let mut answers = Vec::with_capacity(elements.len() * options.gets.len());
    for element in elements {
        for get in &options.gets {
            answers.push(get.look_up(ctx, element));
        }
    }
    answers
}

fn put_answers(ctx: &mut Ctx<'_, '_>, destination: &[u8], answers: &[Option<Vec<u8>>]) {
    let key = Key::new(destination);
    if answers.is_empty() {
        if ctx.view.delete(ctx.db, &key) {
            ctx.notify(EventClass::Generic, "del", destination);
        }
    } else {
        let limits = ctx.server.keyspace.settings.list_limits();
        let mut list = List::new();
        for answer in answers {
            list.push(End::Back, answer.as_deref().unwrap_or_default(), &limits);
        }
        ctx.view.put(ctx.db, &key, Value::List(list), None);
        ctx.notify(EventClass::List, "sortstore", destination);
    }
    ctx.out.count(answers.len());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_read_as_strtod_reads_them() {
        for (text, number) in [("", Some(0.0)), (" 5", Some(5.0)), ("0x10", Some(16.0)), ("5 ", None), (" ", None)] {
            assert_eq!(number_of(text.as_bytes()), number, "{text:?}");
        }
        assert_eq!(number_of(b"-0").map(f64::to_bits), Some(0.0f64.to_bits()));
    }

    #[test]
    fn an_arrow_needs_a_star_before_and_a_name_behind() {
        let field = |text: &'static str| match Pattern::parse(text.as_bytes()) {
            Pattern::Key { field, .. } => field,
            _ => None,
        };
        assert_eq!(field("h_*->weight"), Some(&b"weight"[..]));
        assert_eq!(field("h_*->"), None);
        assert_eq!(field("a->b*c"), None);
        assert!(matches!(Pattern::parse(b"constant"), Pattern::Nothing));
    }
}
