//! The table of commands: each family's file ends with its rows, and this doorstep puts them together.
//!
//! To add a command, write its handler and its row in the family's file; a new family adds one line to [`FAMILIES`].

pub mod bitmaps;
pub mod categories;
pub mod client;
pub mod cluster;
pub mod config;
pub mod connection;
pub mod ctx;
pub mod databases;
pub mod debug;
pub mod draw;
pub mod dump;
pub mod expire;
pub mod geo;
pub mod hashes;
pub mod hyperloglog;
pub mod info;
pub mod introspection;
pub mod keys;
pub mod latency;
pub mod lists;
pub mod looks;
pub mod memory;
pub mod migrate;
pub mod names;
pub mod node;
pub mod object;
pub mod parse;
pub mod persistence;
pub mod pubsub;
pub mod scan;
pub mod sets;
pub mod slowlog;
pub mod sort;
pub mod spec;
pub mod strings;
pub mod transactions;
pub mod waiting;
pub mod zsets;

use crate::cluster::route::Names;
use crate::error::CommandError;
use crate::resp::Args;
use basalt_storage::slot::StripeSet;
use hashbrown::{HashMap, HashSet};
use spec::{Flags, InvalidKeys, Locks, Spec};
use std::sync::LazyLock;

/// All rows, by family.
static FAMILIES: &[&[Spec]] = &[
    bitmaps::COMMANDS,
    client::COMMANDS,
    cluster::COMMANDS,
    config::COMMANDS,
    connection::COMMANDS,
    databases::COMMANDS,
    debug::COMMANDS,
    dump::COMMANDS,
    expire::COMMANDS,
    geo::COMMANDS,
    geo::search::COMMANDS,
    hashes::COMMANDS,
    hyperloglog::COMMANDS,
    info::COMMANDS,
    introspection::COMMANDS,
    keys::COMMANDS,
    latency::COMMANDS,
    lists::ends::COMMANDS,
    lists::inside::COMMANDS,
    lists::moves::COMMANDS,
    memory::COMMANDS,
    migrate::COMMANDS,
    node::COMMANDS,
    object::COMMANDS,
    persistence::COMMANDS,
    pubsub::COMMANDS,
    scan::COMMANDS,
    sets::COMMANDS,
    slowlog::COMMANDS,
    sort::COMMANDS,
    strings::COMMANDS,
    transactions::COMMANDS,
    zsets::add::COMMANDS,
    zsets::combine::COMMANDS,
    zsets::lookup::COMMANDS,
    zsets::pop::COMMANDS,
    zsets::range::COMMANDS,
];

/// Index of a command in the table: what statistics are kept by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommandId(pub usize);

/// A row of the table in its place.
pub struct Command {
    pub id: CommandId,
    /// The name as COMMAND shows it: `get`, `config|get`.
    pub full_name: &'static str,
    /// What clients call it (`rename-command`); nothing for subcommands, and for what cannot be called.
    pub called: Option<&'static str>,
    pub spec: &'static Spec,
    subcommands: HashMap<&'static [u8], &'static Command>,
    /// Where its key stands, if it locks just that one's stripe: most commands by far.
    lone_key: Option<usize>,
    /// What a request for it names, as far as a cluster cares.
    pub names: Names,
}

/// All commands, by what clients call them in lower case.
struct Table {
    by_name: HashMap<&'static [u8], &'static Command>,
    by_id: Vec<&'static Command>,
}

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    let mut table = Table { by_name: HashMap::default(), by_id: Vec::new() };
    let mut names = names::chosen().by_own_name();
    let mut rows = HashSet::new();
    for spec in FAMILIES.iter().flat_map(|family| family.iter()) {
        assert!(rows.insert(spec.name), "two rows for the command {}", spec.name);
        let called = names.remove(spec.name).map(|name| &*name.leak());
        let command = table.add(spec, None, called);
        if let Some(called) = called {
            table.by_name.insert(called.as_bytes(), command);
        }
    }
    table
});

impl Table {
    fn add(&mut self, spec: &'static Spec, parent: Option<&str>, called: Option<&'static str>) -> &'static Command {
        let full_name: &'static str = match parent {
            None => spec.name,
            Some(parent) => Box::leak(format!("{parent}|{}", spec.name).into_boxed_str()),
        };
        let mut subcommands = HashMap::default();
        for sub in spec.subcommands {
            subcommands.insert(sub.name.as_bytes(), self.add(sub, Some(spec.name), None));
        }
        // Rows live as long as the process: leaking them once makes every reference to them static.
        let id = CommandId(self.by_id.len());
        let lone_key = spec.lone_key();
        let command: &'static Command =
            Box::leak(Box::new(Command { id, full_name, called, spec, subcommands, lone_key, names: spec.names() }));
        self.by_id.push(command);
        command
    }
}

/// All commands and subcommands, by id.
pub fn all() -> &'static [&'static Command] {
    &TABLE.by_id
}

/// The commands that can be called by a name of their own, in no particular order.
pub fn top_level() -> impl ExactSizeIterator<Item = &'static Command> {
    TABLE.by_name.values().copied()
}

/// The commands that can be called, each followed by its subcommands.
pub fn callable() -> impl Iterator<Item = &'static Command> {
    top_level().flat_map(|command| std::iter::once(command).chain(command.subcommands()))
}

/// The command or container that is called so, in any case.
#[inline]
pub fn find(name: &[u8]) -> Option<&'static Command> {
    lowered(name, |name| TABLE.by_name.get(name).copied())
}

/// The command that is called so, such as `get`, `config`, `config|get`.
pub fn find_full(name: &[u8]) -> Option<&'static Command> {
    let mut parts = name.splitn(2, |byte| *byte == b'|');
    let command = parts.next().and_then(find)?;
    match parts.next() {
        None => Some(command),
        Some(subcommand) => command.subcommand(subcommand),
    }
}

/// Calls `f` with the name in lower case; names longer than any command's are nobody's.
#[inline]
fn lowered<R>(name: &[u8], f: impl FnOnce(&[u8]) -> Option<R>) -> Option<R> {
    /// All names but some that operators have chosen.
    const USUAL_MAX: usize = 32;
    let mut buffer = [0; USUAL_MAX];
    let Some(buffer) = buffer.get_mut(..name.len()) else {
        return if name.len() <= names::LENGTH_MAX { f(&name.to_ascii_lowercase()) } else { None };
    };
    buffer.copy_from_slice(name);
    buffer.make_ascii_lowercase();
    f(buffer)
}

impl Command {
    /// Whether its own name, and that alone, is what a request for it begins with.
    pub fn is_plain(&self) -> bool {
        self.subcommands.is_empty() && self.called == Some(self.spec.name)
    }

    pub fn subcommand(&self, name: &[u8]) -> Option<&'static Command> {
        lowered(name, |name| self.subcommands.get(name).copied())
    }

    pub fn subcommands(&self) -> impl ExactSizeIterator<Item = &'static Command> {
        self.subcommands.values().copied()
    }

    /// Administration is nobody's business who merely watches.
    pub fn is_hidden_from_monitors(&self) -> bool {
        self.spec.flags.contains(Flags::SKIP_MONITOR) || self.spec.flags.contains(Flags::ADMIN)
    }

    /// Where its key stands, if it is a command of one key and these arguments have it.
    #[inline]
    pub fn lone_key(&self, args: Args<'_>) -> Option<usize> {
        self.lone_key.filter(|index| *index < args.len())
    }

    /// The stripes that the command locks when it runs by itself.
    #[inline]
    pub fn stripes(&self, args: Args<'_>) -> StripeSet {
        if let Some(index) = self.lone_key(args) {
            return StripeSet::of(args.key(index).slot.stripe());
        }
        match self.spec.locks {
            Locks::Keys => self.key_stripes(args).unwrap_or(StripeSet::EMPTY),
            Locks::KeysOrPatterns if args.from(1).any(|argument| argument.contains(&b'*')) => StripeSet::ALL,
            Locks::KeysOrPatterns => self.key_stripes(args).unwrap_or(StripeSet::EMPTY),
            Locks::All => StripeSet::ALL,
            Locks::PieceByPiece | Locks::Nothing => StripeSet::EMPTY,
        }
    }

    /// The stripes that the command needs within a transaction.
    pub fn stripes_in_transaction(&self, args: Args<'_>) -> StripeSet {
        match self.spec.locks {
            Locks::PieceByPiece => StripeSet::ALL,
            _ => self.stripes(args),
        }
    }

    #[inline]
    fn key_stripes(&self, args: Args<'_>) -> Result<StripeSet, InvalidKeys> {
        let mut stripes = StripeSet::EMPTY;
        self.spec.for_each_key(args, &mut |index, _| {
            stripes = stripes.with(args.key(index).slot.stripe());
        })?;
        Ok(stripes)
    }
}

/// How many bytes of an unknown name an error shows.
const SHOWN: usize = 128;

/// The command that a request names.
#[inline]
pub fn resolve(args: Args<'_>) -> Result<&'static Command, CommandError> {
    let command = find(args.at(0)).ok_or_else(|| unknown_command(args))?;
    if command.spec.subcommands.is_empty() || args.len() < 2 {
        return Ok(command);
    }
    command.subcommand(args.at(1)).ok_or_else(|| {
        let name = CommandError::shown(args.at(1), SHOWN);
        let help = format!("'. Try {} HELP.", command.full_name.to_ascii_uppercase());
        CommandError::of_bytes([b"ERR unknown subcommand '", name, help.as_bytes()].concat())
    })
}

/// Redis shows at most 128 bytes of the name and as much of the arguments.
fn unknown_command(args: Args<'_>) -> CommandError {
    let mut rest = Vec::new();
    for argument in args.from(1) {
        if rest.len() >= SHOWN {
            break;
        }
        let shown = CommandError::shown(argument, SHOWN - rest.len());
        rest.extend_from_slice(&[b"'", shown, b"' "].concat());
    }
    let name = CommandError::shown(args.at(0), SHOWN);
    CommandError::of_bytes([b"ERR unknown command '", name, b"', with args beginning with: ", &rest].concat())
}
