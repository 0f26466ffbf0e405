//! The arguments of a command as a tree, read from the notation of Redis's documentation.
//!
//! `key [NX | XX] [EX seconds | KEEPTTL] value [value ...]`: words in capitals are tokens, others stand for values;
//! brackets hold what may be left out, `<a | b>` a choice, and `x [x ...]` says that `x` may be repeated. A value's
//! type follows from its name, or stands behind it: `increment/double`. One row of the command table thus yields both
//! what people read and what COMMAND DOCS tells programs.

use crate::commands::spec::Spec;
use std::iter::Peekable;
use std::str::CharIndices;

/// One argument, or a group of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Argument {
    pub name: String,
    pub kind: Kind,
    /// The word that must precede the value, or is all there is.
    pub token: Option<String>,
    pub is_optional: bool,
    pub is_multiple: bool,
    /// The token is repeated with each value.
    pub repeats_token: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A value of this type, in the words of COMMAND DOCS.
    Value(&'static str),
    /// A key, and which of the command's key specifications finds it.
    Key {
        spec_index: usize,
    },
    PureToken,
    OneOf(Vec<Argument>),
    /// All of these, one after another.
    Block(Vec<Argument>),
}

/// Why a text is not in the notation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SyntaxError {
    #[error("'{0}' is not closed")]
    Unclosed(char),
    #[error("'{0}' closes nothing")]
    Unopened(char),
    #[error("'...' does not repeat what is before it")]
    RepeatsNothing,
    #[error("nothing stands where an argument should")]
    Empty,
}

/// The arguments of a command.
pub fn arguments(spec: &Spec) -> Result<Vec<Argument>, SyntaxError> {
    let mut arguments = parse(spec.syntax)?;
    let mut keys = 0;
    arguments.iter_mut().for_each(|argument| find_keys(argument, spec, &mut keys));
    Ok(arguments)
}

/// Parses the notation; it does not say which values are keys.
pub fn parse(text: &str) -> Result<Vec<Argument>, SyntaxError> {
    let mut parser = Parser { text, chars: text.char_indices().peekable() };
    let alternatives = parser.alternatives(None)?;
    match alternatives.as_slice() {
        [sequence] => lower(sequence),
        _ => Ok(vec![one_of(&alternatives)?]),
    }
}

impl Argument {
    fn new(name: &str, kind: Kind) -> Argument {
        let name = name.to_ascii_lowercase();
        Argument { name, kind, token: None, is_optional: false, is_multiple: false, repeats_token: false }
    }

    /// Number of words that the argument takes at least.
    pub fn words_min(&self) -> usize {
        if self.is_optional {
            return 0;
        }
        let own = match &self.kind {
            Kind::Value(_) | Kind::Key { .. } => 1,
            Kind::PureToken => 0,
            Kind::OneOf(choices) => choices.iter().map(Argument::words_min).min().unwrap_or(0),
            Kind::Block(parts) => parts.iter().map(Argument::words_min).sum(),
        };
        own + usize::from(self.token.is_some())
    }

    /// Number of words that it takes at most; `None` if there is no limit.
    pub fn words_max(&self) -> Option<usize> {
        if self.is_multiple {
            return None;
        }
        let own = match &self.kind {
            Kind::Value(_) | Kind::Key { .. } => 1,
            Kind::PureToken => 0,
            Kind::OneOf(choices) => {
                choices.iter().map(Argument::words_max).try_fold(0, |most, max| Some(max?.max(most)))?
            }
            Kind::Block(parts) => parts.iter().map(Argument::words_max).sum::<Option<usize>>()?,
        };
        Some(own + usize::from(self.token.is_some()))
    }
}

/// The text as brackets and words, before it is known what repeats what.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Node<'t> {
    Word(&'t str),
    Optional(Vec<Sequence<'t>>),
    Choice(Vec<Sequence<'t>>),
    /// `[x ...]`
    Again(Vec<Sequence<'t>>),
    /// `x [x ...]`
    Many(Sequence<'t>),
}

type Sequence<'t> = Vec<Node<'t>>;

struct Parser<'t> {
    text: &'t str,
    chars: Peekable<CharIndices<'t>>,
}

impl<'t> Parser<'t> {
    /// Sequences divided by bars, up to the bracket that closes this one.
    fn alternatives(&mut self, closing: Option<char>) -> Result<Vec<Sequence<'t>>, SyntaxError> {
        let mut alternatives = vec![Sequence::new()];
        loop {
            let current = alternatives.last_mut().expect("there is always one");
            match self.chars.next() {
                None => match closing {
                    None => break,
                    Some(bracket) => return Err(SyntaxError::Unclosed(bracket)),
                },
                Some((_, bracket @ (']' | '>'))) if Some(bracket) == closing => break,
                Some((_, bracket @ (']' | '>'))) => return Err(SyntaxError::Unopened(bracket)),
                Some((_, '[')) => {
                    let inner = self.alternatives(Some(']'))?;
                    push_optional(current, inner)?;
                }
                Some((_, '<')) => current.push(Node::Choice(joined_repeats(self.alternatives(Some('>'))?))),
                Some((_, '|')) => alternatives.push(Sequence::new()),
                Some((_, ' ')) => {}
                Some((start, _)) => current.push(Node::Word(self.word(start))),
            }
        }
        Ok(alternatives)
    }

    fn word(&mut self, start: usize) -> &'t str {
        const ENDS: &[char] = &[' ', '[', ']', '<', '>', '|'];
        while self.chars.next_if(|(_, letter)| !ENDS.contains(letter)).is_some() {}
        let end = self.chars.peek().map_or(self.text.len(), |(end, _)| *end);
        &self.text[start..end]
    }
}

/// Adds a bracket to a sequence: one that ends in `...` joins what it repeats.
fn push_optional<'t>(sequence: &mut Sequence<'t>, mut inner: Vec<Sequence<'t>>) -> Result<(), SyntaxError> {
    let last = inner.last_mut().ok_or(SyntaxError::Empty)?;
    if last.last() != Some(&Node::Word("...")) {
        sequence.push(Node::Optional(joined_repeats(inner)));
        return Ok(());
    }
    last.pop();
    match inner.as_slice() {
        [repeated] if sequence.ends_with(repeated) => {
            let rest = sequence.len() - repeated.len();
            let many = Node::Many(sequence.split_off(rest));
            sequence.push(many);
        }
        // What it repeats are the alternatives around it, whose last one it ends.
        _ => sequence.push(Node::Again(inner)),
    }
    Ok(())
}

/// Makes one repeated choice of alternatives such as `a | b [a | b ...]`.
fn joined_repeats(alternatives: Vec<Sequence<'_>>) -> Vec<Sequence<'_>> {
    match repeats_itself(&alternatives) {
        Some(choices) => vec![vec![Node::Many(vec![Node::Choice(choices)])]],
        None => alternatives,
    }
}

fn repeats_itself<'t>(alternatives: &[Sequence<'t>]) -> Option<Vec<Sequence<'t>>> {
    let mut once = alternatives.to_vec();
    match once.last_mut()?.pop()? {
        Node::Again(repeated) if repeated == once => Some(once),
        _ => None,
    }
}

/// Makes arguments of a sequence.
fn lower(sequence: &[Node<'_>]) -> Result<Vec<Argument>, SyntaxError> {
    let mut arguments = Vec::new();
    let mut rest = sequence;
    while let Some((node, tail)) = rest.split_first() {
        rest = tail;
        arguments.push(match node {
            Node::Word(token) if is_token(token) => {
                let belongs = |node: &&Node<'_>| match node {
                    Node::Word(word) => !is_token(word),
                    Node::Choice(_) => true,
                    Node::Many(repeated) => !starts_with_token(repeated),
                    Node::Optional(_) | Node::Again(_) => false,
                };
                let values = tail.iter().take_while(belongs).count();
                rest = &tail[values..];
                with_token(token, lower(&tail[..values])?)
            }
            Node::Word(word) => value(word),
            Node::Choice(alternatives) => one_of(alternatives)?,
            Node::Optional(alternatives) => Argument { is_optional: true, ..one_of(alternatives)? },
            Node::Many(repeated) => {
                let argument = joined(lower(repeated)?)?;
                Argument { is_multiple: true, repeats_token: starts_with_token(repeated), ..argument }
            }
            Node::Again(_) => return Err(SyntaxError::RepeatsNothing),
        });
    }
    Ok(arguments)
}

fn is_token(word: &str) -> bool {
    !word.contains(|letter: char| letter.is_ascii_lowercase())
}

fn starts_with_token(sequence: &[Node<'_>]) -> bool {
    matches!(sequence.first(), Some(Node::Word(word)) if is_token(word))
}

fn with_token(token: &str, values: Vec<Argument>) -> Argument {
    let argument = match <[Argument; 1]>::try_from(values) {
        Ok([value]) if value.token.is_none() => value,
        Ok([value]) => Argument::new(token, Kind::Block(vec![value])),
        Err(values) if values.is_empty() => Argument::new(token, Kind::PureToken),
        Err(values) => Argument::new(token, Kind::Block(values)),
    };
    Argument { token: Some(token.to_owned()), ..argument }
}

/// One argument that stands for these.
fn joined(arguments: Vec<Argument>) -> Result<Argument, SyntaxError> {
    match <[Argument; 1]>::try_from(arguments) {
        Ok([argument]) => Ok(argument),
        Err(arguments) if arguments.is_empty() => Err(SyntaxError::Empty),
        Err(arguments) => Ok(Argument::new(&names(&arguments), Kind::Block(arguments))),
    }
}

/// One argument for these alternatives, of which there may be just one.
fn one_of(alternatives: &[Sequence<'_>]) -> Result<Argument, SyntaxError> {
    let choices = alternatives.iter().map(|sequence| joined(lower(sequence)?)).collect::<Result<Vec<_>, _>>()?;
    match <[Argument; 1]>::try_from(choices) {
        Ok([only]) => Ok(only),
        Err(choices) => Ok(Argument::new(&names(&choices), Kind::OneOf(choices))),
    }
}

/// A name for a group, which the notation does not give.
fn names(arguments: &[Argument]) -> String {
    arguments.iter().map(|argument| argument.name.as_str()).collect::<Vec<_>>().join("-")
}

fn value(word: &str) -> Argument {
    const TYPES: &[&str] = &["string", "integer", "double", "pattern", "unix-time"];
    let given = word.split_once('/').and_then(|(name, kind)| {
        let kind = TYPES.iter().find(|known| **known == kind)?;
        Some((name, *kind))
    });
    let (name, kind) = given.unwrap_or_else(|| (word, value_type(word)));
    Argument::new(name, Kind::Value(kind))
}

/// The type that a value's name suggests.
fn value_type(name: &str) -> &'static str {
    const INTEGERS: &[&str] = &[
        "bit",
        "cursor",
        "db",
        "decrement",
        "destination-db",
        "end",
        "frequency",
        "idletime",
        "increment",
        "index",
        "index1",
        "index2",
        "len",
        "limit",
        "milliseconds",
        "min-match-len",
        "ms",
        "num-matches",
        "numkeys",
        "numreplicas",
        "offset",
        "port",
        "protover",
        "rank",
        "seconds",
        "start",
        "stop",
        "threshold",
        "ttl",
        "version",
        "weight",
    ];
    const DOUBLES: &[&str] = &["height", "latitude", "longitude", "radius", "score", "timeout", "width"];
    match name {
        "pattern" => "pattern",
        "unix-time-seconds" | "unix-time-milliseconds" => "unix-time",
        name if INTEGERS.contains(&name) || name.ends_with("count") || name.ends_with("-id") => "integer",
        name if DOUBLES.contains(&name) => "double",
        _ => "string",
    }
}

/// Marks the values that are keys. Names tell them: the specifications only say where keys are in a given request.
fn find_keys(argument: &mut Argument, spec: &Spec, found: &mut usize) {
    const NAMES: &[&str] =
        &["key", "key1", "key2", "newkey", "source", "destination", "destkey", "sourcekey", "dst", "src"];
    match &mut argument.kind {
        Kind::OneOf(arguments) | Kind::Block(arguments) => {
            arguments.iter_mut().for_each(|argument| find_keys(argument, spec, found));
        }
        kind @ Kind::Value(_) if !spec.keys.is_empty() && NAMES.contains(&argument.name.as_str()) => {
            *kind = Kind::Key { spec_index: (*found).min(spec.keys.len() - 1) };
            *found += 1;
        }
        Kind::Value(_) | Kind::Key { .. } | Kind::PureToken => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tree in one line: `?` optional, `*` multiple, `+` with the token repeated.
    fn shown(arguments: &[Argument]) -> String {
        arguments.iter().map(show).collect::<Vec<_>>().join(" ")
    }

    fn show(argument: &Argument) -> String {
        let token = argument.token.as_ref().map_or(String::new(), |token| format!("{token}:"));
        let own = match &argument.kind {
            Kind::Value(kind) => format!("{}/{kind}", argument.name),
            Kind::Key { spec_index } => format!("{}/key{spec_index}", argument.name),
            Kind::PureToken => String::new(),
            Kind::OneOf(choices) => format!("<{}>", shown(choices)),
            Kind::Block(parts) => format!("({})", shown(parts)),
        };
        let marks = [(argument.is_optional, "?"), (argument.is_multiple, "*"), (argument.repeats_token, "+")];
        let marks: String = marks.iter().filter(|(is_set, _)| *is_set).map(|(_, mark)| *mark).collect();
        format!("{token}{own}{marks}")
    }

    #[test]
    fn the_notation_becomes_a_tree() {
        let cases = [
            ("", ""),
            ("key value", "key/string value/string"),
            ("key [NX | XX] [GET]", "key/string <NX: XX:>? GET:?"),
            ("key [EX seconds | KEEPTTL]", "key/string <EX:seconds/integer KEEPTTL:>?"),
            ("element [element ...]", "element/string*"),
            ("[channel [channel ...]]", "channel/string?*"),
            ("score member [score member ...]", "(score/double member/string)*"),
            ("[GET pattern [GET pattern ...]]", "GET:pattern/pattern?*+"),
            ("[WEIGHTS weight [weight ...]]", "WEIGHTS:weight/integer?*"),
            ("[LIMIT offset count]", "LIMIT:(offset/integer count/integer)?"),
            ("increment/double a/b", "increment/double a/b/string"),
            ("[COUNT count [ANY]]", "(COUNT:count/integer ANY:?)?"),
            ("[start [end [BYTE | BIT]]]", "(start/integer (end/integer <BYTE: BIT:>?)?)?"),
            ("<A x | B <M | KM>>", "<A:x/string B:<M: KM:>>"),
            ("STREAMS name [name ...] id [id ...]", "STREAMS:(name/string* id/string*)"),
            ("[GET a | SET a b [GET a | SET a b ...]]", "<GET:a/string SET:(a/string b/string)>?*"),
        ];
        for (text, tree) in cases {
            assert_eq!(parse(text).map(|arguments| shown(&arguments)).as_deref(), Ok(tree), "{text}");
        }
    }

    #[test]
    fn what_is_not_in_the_notation_is_refused() {
        assert_eq!(parse("key [value"), Err(SyntaxError::Unclosed(']')));
        assert_eq!(parse("key value>"), Err(SyntaxError::Unopened('>')));
        assert_eq!(parse("key [value ...]"), Err(SyntaxError::RepeatsNothing));
        assert_eq!(parse("<a | >"), Err(SyntaxError::Empty));
    }
}
