//! The arguments of one request, borrowed from the read buffer or kept for later.

use basalt_storage::keyspace::{HashedKey, Key};
use basalt_storage::shared::SharedBytes;
use basalt_storage::slot::Slot;

/// Start of the range of an argument that is not among the other bytes; its end is an index into those that lie apart.
/// No buffer is so long, so such a range is found out by the check that any other passes.
const APART: usize = usize::MAX;

/// The range of the argument with this index among those that lie apart.
pub fn range_apart(index: usize) -> (usize, usize) {
    (APART, index)
}

/// The same range, in a buffer that has `offset` more bytes at its start.
pub fn shift((start, end): (usize, usize), offset: usize) -> (usize, usize) {
    if start == APART { (start, end) } else { (start + offset, end + offset) }
}

/// The arguments of a request, the command's name first. Never empty.
#[derive(Clone, Copy)]
pub struct Args<'a> {
    bytes: &'a [u8],
    ranges: &'a [(usize, usize)],
    /// Slot and hash of the first argument behind the name, if they were computed ahead.
    first: Option<HashedKey>,
    /// Arguments that lie apart, each in memory of its own.
    apart: &'a [SharedBytes],
}

impl<'a> Args<'a> {
    /// `ranges` are start and end of each argument within `bytes`.
    #[inline]
    pub fn new(bytes: &'a [u8], ranges: &'a [(usize, usize)]) -> Args<'a> {
        assert!(!ranges.is_empty(), "a request has a command name");
        Args { bytes, ranges, first: None, apart: &[] }
    }

    /// The same arguments, some of which lie apart.
    #[inline]
    pub fn with_apart(self, apart: &'a [SharedBytes]) -> Args<'a> {
        Args { apart, ..self }
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
        self.slice(self.ranges[index])
    }

    #[inline]
    fn slice(self, (start, end): (usize, usize)) -> &'a [u8] {
        match self.bytes.get(start..end) {
            Some(bytes) => bytes,
            None => self.slice_apart(end),
        }
    }

    #[cold]
    fn slice_apart(self, index: usize) -> &'a [u8] {
        &self.apart[index]
    }

    /// The argument at `index`, if it is so large that it may be held without being copied.
    #[inline]
    pub fn shared(self, index: usize) -> Option<&'a SharedBytes> {
        if self.apart.is_empty() { None } else { self.find_shared(index) }
    }

    /// Whether one of the arguments lies apart since it is so large.
    #[inline]
    pub fn has_large(self) -> bool {
        !self.apart.is_empty()
    }

    #[cold]
    fn find_shared(self, index: usize) -> Option<&'a SharedBytes> {
        match self.ranges[index] {
            (APART, index) => Some(&self.apart[index]),
            _ => None,
        }
    }

    /// The argument at `index`, if there are that many.
    #[inline]
    pub fn maybe(self, index: usize) -> Option<&'a [u8]> {
        (index < self.len()).then(|| self.at(index))
    }

    /// The arguments from `index` on.
    #[inline]
    pub fn from(self, index: usize) -> impl ExactSizeIterator<Item = &'a [u8]> + DoubleEndedIterator + Clone {
        self.ranges[index.min(self.len())..].iter().map(move |&range| self.slice(range))
    }

    /// Whether the argument at `index` is `word`, whatever the case of its letters. `word` is upper case.
    #[inline]
    pub fn is(self, index: usize, word: &str) -> bool {
        self.at(index).eq_ignore_ascii_case(word.as_bytes())
    }

    /// The same arguments without the first `count`: how a subcommand sees its own. At least one must be left.
    pub fn skip(self, count: usize) -> Args<'a> {
        Args::new(self.bytes, &self.ranges[count..]).with_apart(self.apart)
    }

    /// Bytes of all arguments.
    pub fn total_bytes(self) -> usize {
        self.from(0).map(<[u8]>::len).sum()
    }

    pub fn to_owned(self) -> OwnedArgs {
        let bytes_apart: usize = self.apart.iter().map(|bytes| bytes.len()).sum();
        let mut owned = OwnedArgs::default();
        owned.bytes.reserve_exact(self.total_bytes().saturating_sub(bytes_apart));
        owned.ranges.reserve_exact(self.len());
        for index in 0..self.len() {
            match self.shared(index) {
                None => owned.push(self.at(index)),
                Some(bytes) => {
                    owned.ranges.push(range_apart(owned.apart.len()));
                    owned.apart.push(bytes.clone());
                }
            }
        }
        owned
    }
}

/// Arguments that outlive the read buffer: of queued and blocked commands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnedArgs {
    bytes: Vec<u8>,
    ranges: Vec<(usize, usize)>,
    apart: Vec<SharedBytes>,
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
        Args::new(&self.bytes, &self.ranges).with_apart(&self.apart)
    }

    /// Heap bytes held, for memory limits per client.
    pub fn heap_bytes(&self) -> usize {
        let apart: usize = self.apart.iter().map(|bytes| size_of::<SharedBytes>() + bytes.capacity()).sum();
        self.bytes.capacity() + self.ranges.capacity() * size_of::<(usize, usize)>() + apart
    }
}
