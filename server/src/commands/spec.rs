//! What the server knows about a command besides its handler.
//!
//! Everything that asks "what is this command" derives from these rows: dispatch, key extraction and locking, COMMAND,
//! ACL categories, cluster routing, documentation, metrics.

use crate::cluster::route::Names;
use crate::commands::ctx::{Ctx, SessionCtx};
use crate::commands::looks::Looks;
use crate::error::CommandResult;
use crate::resp::Args;
use std::ops::BitOr;

/// One command or subcommand.
pub struct Spec {
    /// Lower case; a subcommand's is its own word only.
    pub name: &'static str,
    /// As Redis counts: the name included; negative for "at least".
    pub arity: i8,
    pub flags: Flags,
    pub keys: &'static [KeySpec],
    /// Finds keys that `keys` cannot describe; replaces it where set.
    pub find_keys: Option<KeyFinder>,
    /// What the command does with its keys, where other arguments decide that (`variable_flags`).
    pub key_access: Option<fn(Args<'_>) -> KeyFlags>,
    pub group: Group,
    pub since: &'static str,
    pub complexity: &'static str,
    pub summary: &'static str,
    /// The arguments in the notation of Redis's documentation, without the name.
    pub syntax: &'static str,
    /// ACL categories that do not follow from flags and group.
    pub categories: &'static [&'static str],
    /// Hints to clients and proxies, in Redis's words.
    pub tips: &'static [&'static str],
    pub standing: Standing,
    pub subcommands: &'static [Spec],
    pub locks: Locks,
    pub looks: Looks,
    pub handler: Handler,
}

/// Who should use a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    Current,
    /// Nobody any more, but something else instead.
    Deprecated {
        since: &'static str,
        replaced_by: &'static str,
    },
    /// Those who develop the server.
    Internal,
}

/// Calls back with each key's position and access.
pub type KeyFinder = fn(Args<'_>, &mut dyn FnMut(usize, KeyFlags)) -> Result<(), InvalidKeys>;

/// The arguments do not say where the keys are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidKeys;

impl Spec {
    /// What most rows leave as it is.
    pub const DEFAULT: Spec = Spec {
        name: "",
        arity: 0,
        flags: Flags::NONE,
        keys: &[],
        find_keys: None,
        key_access: None,
        group: Group::Generic,
        since: "1.0.0",
        complexity: "O(1)",
        summary: "",
        syntax: "",
        categories: &[],
        tips: &[],
        standing: Standing::Current,
        subcommands: &[],
        locks: Locks::Keys,
        looks: Looks::AtValues,
        handler: Handler::Container,
    };

    #[inline]
    pub fn accepts(&self, arguments: usize) -> bool {
        if self.arity >= 0 { arguments == self.arity as usize } else { arguments >= self.arity.unsigned_abs() as usize }
    }

    /// What a request for the command names, as far as a cluster cares.
    pub fn names(&self) -> Names {
        if self.keys.iter().any(|keys| keys.flags.contains(KeyFlags::NOT_KEY)) {
            return Names::ShardChannels;
        }
        if self.name == "migrate" { Names::KeysToMigrate } else { Names::Keys }
    }

    /// Where the only key stands, if there is always just one, and it alone says which stripe is locked.
    pub fn lone_key(&self) -> Option<usize> {
        match (self.locks, self.find_keys, self.keys) {
            (Locks::Keys, None, [KeySpec { begin: Begin::Index(index), find: Find::Range { last: 0, .. }, .. }]) => {
                Some(*index)
            }
            _ => None,
        }
    }

    /// Like [`Spec::for_each_key`], with the access that these very arguments ask for.
    pub fn for_each_key_exactly(
        &self,
        args: Args<'_>,
        visit: &mut dyn FnMut(usize, KeyFlags),
    ) -> Result<(), InvalidKeys> {
        let access = self.key_access.map(|access| access(args));
        self.for_each_key(args, &mut |index, flags| visit(index, access.unwrap_or(flags)))
    }

    /// Calls `visit` with the position and access of each key among `args`.
    #[inline]
    pub fn for_each_key(&self, args: Args<'_>, visit: &mut dyn FnMut(usize, KeyFlags)) -> Result<(), InvalidKeys> {
        if let Some(find) = self.find_keys {
            return find(args, visit);
        }
        self.keys.iter().try_for_each(|keys| keys.for_each(args, visit))
    }
}

/// What runs when the command is called.
#[derive(Clone, Copy)]
pub enum Handler {
    /// Works on the keyspace under the locks of its keys; may run for a client that is blocked elsewhere.
    Data(fn(&mut Ctx<'_, '_>, Args<'_>) -> CommandResult),
    /// Works on the client or the server.
    Session(fn(&mut SessionCtx<'_, '_>, Args<'_>) -> CommandResult),
    /// Has subcommands and does nothing by itself.
    Container,
}

/// Which stripes must be locked while the command runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Locks {
    /// Those of its keys.
    Keys,
    /// Those of its keys, or all if an argument is a pattern (has a star): SORT reads keys that its data name.
    KeysOrPatterns,
    /// All of them: it works on whole databases at one moment.
    All,
    /// None by itself: it locks piece by piece. In a transaction it needs all, since nobody may come in between.
    PieceByPiece,
    /// None at all.
    Nothing,
}

/// Where keys stand among the arguments, as COMMAND INFO describes it.
#[derive(Clone, Copy)]
pub struct KeySpec {
    pub begin: Begin,
    pub find: Find,
    pub flags: KeyFlags,
    pub notes: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    Index(usize),
    /// Right behind this word, looked for from this position; backwards from the end if negative.
    Keyword {
        word: &'static str,
        from: i32,
    },
    /// Somewhere: the specification does not say where, and `find_keys` has to.
    Unknown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Find {
    /// Up to `last`, counted from the first key; negative counts from the last argument. A `limit` of n > 1 stops at an
    /// n-th of what is left.
    Range { last: i32, step: usize, limit: usize },
    /// The number of keys stands at `at`, the first key at `first`, both counted from where the search begins.
    KeyNum { at: usize, first: usize, step: usize },
}

impl KeySpec {
    /// One key, the first argument.
    pub const fn first(flags: KeyFlags) -> KeySpec {
        KeySpec::at(1, flags)
    }

    /// One key at this position.
    pub const fn at(index: usize, flags: KeyFlags) -> KeySpec {
        KeySpec::range(index, 0, 1, flags)
    }

    /// All keys from `first` to `last` (negative: from the end), every `step` arguments.
    pub const fn range(first: usize, last: i32, step: usize, flags: KeyFlags) -> KeySpec {
        KeySpec { begin: Begin::Index(first), find: Find::Range { last, step, limit: 0 }, flags, notes: "" }
    }

    /// Keys behind their number, which stands at `index`.
    pub const fn counted(index: usize, flags: KeyFlags) -> KeySpec {
        KeySpec { begin: Begin::Index(index), find: Find::KeyNum { at: 0, first: 1, step: 1 }, flags, notes: "" }
    }

    /// Keys of which no rule says where they stand.
    pub const fn unknown(flags: KeyFlags, notes: &'static str) -> KeySpec {
        let find = Find::Range { last: 0, step: 1, limit: 0 };
        KeySpec { begin: Begin::Unknown, find, flags, notes }
    }

    #[inline]
    fn for_each(&self, args: Args<'_>, visit: &mut dyn FnMut(usize, KeyFlags)) -> Result<(), InvalidKeys> {
        let Some(start) = self.start(args) else { return Ok(()) };
        match self.find {
            Find::Range { last, step, limit } => {
                let end = match last {
                    last if last >= 0 => start + last as usize,
                    last => {
                        let end = (args.len() as i64 + i64::from(last)).max(0) as usize;
                        if limit > 1 { start + (end.saturating_sub(start) + 1) / limit - 1 } else { end }
                    }
                };
                (start..=end.min(args.len() - 1)).step_by(step).for_each(|index| visit(index, self.flags));
                Ok(())
            }
            Find::KeyNum { at, first, step } => {
                let text = args.maybe(start + at).ok_or(InvalidKeys)?;
                let number = basalt_storage::number::parse_i64(text).ok_or(InvalidKeys)?;
                let number = usize::try_from(number).ok().filter(|&number| number > 0).ok_or(InvalidKeys)?;
                let first = start + first;
                let last = number.checked_mul(step).and_then(|span| span.checked_add(first)).ok_or(InvalidKeys)?;
                if last > args.len() + step - 1 {
                    return Err(InvalidKeys);
                }
                (first..last).step_by(step).for_each(|index| visit(index, self.flags));
                Ok(())
            }
        }
    }

    #[inline]
    fn start(&self, args: Args<'_>) -> Option<usize> {
        match self.begin {
            Begin::Index(index) => (index < args.len()).then_some(index),
            Begin::Keyword { word, from } if from >= 0 => {
                (from as usize..args.len()).find(|&index| args.is(index, word)).map(|index| index + 1)
            }
            Begin::Keyword { word, from } => {
                let last = (args.len() as i64 + i64::from(from)).max(0) as usize;
                (1..=last).rev().find(|&index| args.is(index, word)).map(|index| index + 1)
            }
            Begin::Unknown => None,
        }
        .filter(|&index| index < args.len())
    }
}

/// How a command uses a key, as COMMAND INFO and GETKEYSANDFLAGS tell it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyFlags(pub u16);

impl KeyFlags {
    pub const RW: KeyFlags = KeyFlags(1 << 0);
    pub const RO: KeyFlags = KeyFlags(1 << 1);
    pub const OW: KeyFlags = KeyFlags(1 << 2);
    pub const RM: KeyFlags = KeyFlags(1 << 3);
    pub const ACCESS: KeyFlags = KeyFlags(1 << 4);
    pub const UPDATE: KeyFlags = KeyFlags(1 << 5);
    pub const INSERT: KeyFlags = KeyFlags(1 << 6);
    pub const DELETE: KeyFlags = KeyFlags(1 << 7);
    pub const NOT_KEY: KeyFlags = KeyFlags(1 << 8);
    pub const INCOMPLETE: KeyFlags = KeyFlags(1 << 9);
    pub const VARIABLE_FLAGS: KeyFlags = KeyFlags(1 << 10);

    pub const fn or(self, other: KeyFlags) -> KeyFlags {
        KeyFlags(self.0 | other.0)
    }

    pub const fn contains(self, other: KeyFlags) -> bool {
        self.0 & other.0 == other.0
    }
}

/// Common accesses.
pub const RO_ACCESS: KeyFlags = KeyFlags::RO.or(KeyFlags::ACCESS);
pub const RO_NONE: KeyFlags = KeyFlags::RO;
pub const RW_UPDATE: KeyFlags = KeyFlags::RW.or(KeyFlags::UPDATE);
pub const RW_INSERT: KeyFlags = KeyFlags::RW.or(KeyFlags::INSERT);
pub const RW_DELETE: KeyFlags = KeyFlags::RW.or(KeyFlags::DELETE);
pub const RW_ACCESS_UPDATE: KeyFlags = KeyFlags::RW.or(KeyFlags::ACCESS).or(KeyFlags::UPDATE);
pub const RW_ACCESS_DELETE: KeyFlags = KeyFlags::RW.or(KeyFlags::ACCESS).or(KeyFlags::DELETE);
pub const OW_UPDATE: KeyFlags = KeyFlags::OW.or(KeyFlags::UPDATE);
pub const OW_INSERT: KeyFlags = KeyFlags::OW.or(KeyFlags::INSERT);
pub const RM_DELETE: KeyFlags = KeyFlags::RM.or(KeyFlags::DELETE);

/// Properties of a command, as COMMAND INFO names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flags(pub u32);

impl Flags {
    pub const NONE: Flags = Flags(0);
    pub const WRITE: Flags = Flags(1 << 0);
    pub const READONLY: Flags = Flags(1 << 1);
    pub const DENYOOM: Flags = Flags(1 << 2);
    pub const ADMIN: Flags = Flags(1 << 3);
    pub const PUBSUB: Flags = Flags(1 << 4);
    pub const NOSCRIPT: Flags = Flags(1 << 5);
    pub const BLOCKING: Flags = Flags(1 << 6);
    pub const LOADING: Flags = Flags(1 << 7);
    pub const STALE: Flags = Flags(1 << 8);
    pub const SKIP_MONITOR: Flags = Flags(1 << 9);
    pub const SKIP_SLOWLOG: Flags = Flags(1 << 10);
    pub const ASKING: Flags = Flags(1 << 11);
    pub const FAST: Flags = Flags(1 << 12);
    pub const NO_AUTH: Flags = Flags(1 << 13);
    pub const MAY_REPLICATE: Flags = Flags(1 << 14);
    pub const SENTINEL: Flags = Flags(1 << 15);
    pub const NO_ASYNC_LOADING: Flags = Flags(1 << 16);
    pub const NO_MULTI: Flags = Flags(1 << 17);
    pub const MOVABLE_KEYS: Flags = Flags(1 << 18);
    pub const ALLOW_BUSY: Flags = Flags(1 << 19);
    pub const NO_MANDATORY_KEYS: Flags = Flags(1 << 20);
    pub const PROTECTED: Flags = Flags(1 << 21);
    pub const TOUCHES_ARBITRARY_KEYS: Flags = Flags(1 << 22);

    pub const fn or(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }

    #[inline]
    pub const fn contains(self, other: Flags) -> bool {
        self.0 & other.0 == other.0
    }
}

impl BitOr for Flags {
    type Output = Flags;

    fn bitor(self, other: Flags) -> Flags {
        self.or(other)
    }
}

/// The documentation group; most ACL data-type categories follow from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    Generic,
    String,
    List,
    Set,
    SortedSet,
    Hash,
    PubSub,
    Transactions,
    Connection,
    Server,
    Bitmap,
    HyperLogLog,
    Geo,
    Cluster,
}

impl Group {
    /// The name in COMMAND DOCS.
    pub const fn name(self) -> &'static str {
        match self {
            Group::Generic => "generic",
            Group::String => "string",
            Group::List => "list",
            Group::Set => "set",
            Group::SortedSet => "sorted-set",
            Group::Hash => "hash",
            Group::PubSub => "pubsub",
            Group::Transactions => "transactions",
            Group::Connection => "connection",
            Group::Server => "server",
            Group::Bitmap => "bitmap",
            Group::HyperLogLog => "hyperloglog",
            Group::Geo => "geo",
            Group::Cluster => "cluster",
        }
    }
}
