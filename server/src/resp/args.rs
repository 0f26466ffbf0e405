//! The arguments of one request, borrowed from the read buffer or kept for later.

use basalt_storage::keyspace::{HashedKey, Key};
use basalt_storage::slot::Slot;

/// The arguments of a request, the command's name first. Never empty.
#[derive(Clone, Copy)]
pub struct Args<'a> {
    bytes: &'a [u8],
    ranges: &'a [(usize, usize)],
    /// Slot and hash of the first argument behind the name, if they were computed ahead.
    first: Option<HashedKey>,
}

impl<'a> Args<'a> {
    /// `ranges` are start and end of each argument within `bytes`.
    #[inline]
    pub fn new(bytes: &'a [u8], ranges: &'a [(usize, usize)]) -> Args<'a> {
        assert!(!ranges.is_empty(), "a request has a command name");
        Args { bytes, ranges, first: None }
    }

    /// The same arguments, with slot and hash of the first one behind the name, which must be this one's.
    #[inline]
    pub fn with_first_key(self, first: Option<HashedKey>) -> Args<'a> {
        Args { first, ..self }
    }

    /// The argument at `index` as a key.
    #[inline]
    pub fn key(self, index: usize) -> Key<'a> {
        match self.first {
            Some(first) if index == 1 => first.with_bytes(self.at(1)),
            _ => self.hashed_key(index),
        }
    }

    /// The slot of the argument at `index` as a key.
    #[inline]
    pub fn slot(self, index: usize) -> Slot {
        match self.first {
            Some(first) if index == 1 => first.with_bytes(self.at(1)).slot,
            _ => Slot::of_key(self.at(index)),
        }
    }

    #[inline(never)]
    fn hashed_key(self, index: usize) -> Key<'a> {
        Key::new(self.at(index))
    }

    /// Number of arguments, the command's name included.
    #[allow(clippy::len_without_is_empty, reason = "never empty")]
    #[inline]
    pub fn len(self) -> usize {
        self.ranges.len()
    }

    /// The argument at `index`, which arity has made sure of.
    #[inline]
    pub fn at(self, index: usize) -> &'a [u8] {
        let (start, end) = self.ranges[index];
        &self.bytes[start..end]
    }

    /// The argument at `index`, if there are that many.
    #[inline]
    pub fn maybe(self, index: usize) -> Option<&'a [u8]> {
        (index < self.len()).then(|| self.at(index))
    }

    /// The arguments from `index` on.
    #[inline]
    pub fn from(self, index: usize) -> impl ExactSizeIterator<Item = &'a [u8]> + DoubleEndedIterator + Clone {
        self.ranges[index.min(self.len())..].iter().map(move |&(start, end)| &self.bytes[start..end])
    }

    /// Whether the argument at `index` is `word`, whatever the case of its letters. `word` is upper case.
    #[inline]
    pub fn is(self, index: usize, word: &str) -> bool {
        self.at(index).eq_ignore_ascii_case(word.as_bytes())
    }

    /// The same arguments without the first `count`: how a subcommand sees its own. At least one must be left.
    pub fn skip(self, count: usize) -> Args<'a> {
        Args::new(self.bytes, &self.ranges[count..])
    }

    /// Bytes of all arguments.
    pub fn total_bytes(self) -> usize {
        self.ranges.iter().map(|(start, end)| end - start).sum()
    }

    pub fn to_owned(self) -> OwnedArgs {
        let mut owned = OwnedArgs { bytes: Vec::with_capacity(self.total_bytes()), ranges: Vec::new() };
        owned.ranges.reserve_exact(self.len());
        for argument in self.from(0) {
            owned.push(argument);
        }
        owned
    }
}

/// Arguments that outlive the read buffer: of queued and blocked commands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnedArgs {
    bytes: Vec<u8>,
    ranges: Vec<(usize, usize)>,
}

impl OwnedArgs {
    pub fn of<'a>(arguments: impl IntoIterator<Item = &'a [u8]>) -> OwnedArgs {
        let mut owned = OwnedArgs::default();
        for argument in arguments {
            owned.push(argument);
        }
        owned
    }

    fn push(&mut self, argument: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(argument);
        self.ranges.push((start, self.bytes.len()));
    }

    pub fn as_args(&self) -> Args<'_> {
        Args::new(&self.bytes, &self.ranges)
    }

    /// Heap bytes held, for memory limits per client.
    pub fn heap_bytes(&self) -> usize {
        self.bytes.capacity() + self.ranges.capacity() * size_of::<(usize, usize)>()
    }
}
