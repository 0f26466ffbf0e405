//! The complete requests at the start of a buffer, decoded together, so that what they need can be prefetched together.

use super::Args;
use super::args::shift;
use super::decode::{self, Decoded, Decoder, Limits, ProtocolError};
use basalt_storage::effect::DbIndex;
use basalt_storage::keyspace::{HashedKey, Keyspace};
use basalt_storage::slot::Slot;
use smallvec::SmallVec;

/// Requests decoded ahead: enough to hide the waits for memory, and few enough for the cache.
const REQUESTS_MAX: usize = 32;
/// Longer arguments are no keys worth hashing ahead.
const KEY_MAX: usize = 512;
/// Positions of arguments kept between batches.
const KEPT_RANGES: usize = 4096;

/// Requests at the start of a buffer.
#[derive(Default)]
pub struct Batch {
    ranges: Vec<(usize, usize)>,
    requests: Vec<Request>,
}

/// One request: positions of its arguments, and where the next one starts.
#[derive(Clone, Copy)]
struct Request {
    first: usize,
    last: usize,
    end: usize,
    key: Option<HashedKey>,
}

/// Why a batch ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// There may be more.
    Full,
    /// An inline command comes next, which is decoded by itself.
    Inline,
    /// What comes next is not whole before this many bytes are there.
    Incomplete {
        needed: usize,
    },
    Broken(ProtocolError),
}

impl Batch {
    /// Decodes what is complete in `input` from `start` on.
    #[inline]
    pub fn fill(&mut self, decoder: &mut Decoder, input: &[u8], start: usize, limits: Limits) -> Stop {
        self.requests.clear();
        self.ranges.clear();
        self.ranges.shrink_to(KEPT_RANGES);
        let mut at = start;
        // Who has not proved who they are may do so with the next request, and then the limits change.
        let most = if limits.authenticated { REQUESTS_MAX } else { 1 };
        while self.requests.len() < most {
            if decoder.is_between_requests()
                && let Some(end) = decode::whole_request(input, at, limits, &mut self.ranges)
            {
                self.add(input, end);
                at = end;
                continue;
            }
            let rest = &input[at..];
            if rest.first().is_some_and(|first| *first != b'*') && decoder.is_between_requests() {
                return Stop::Inline;
            }
            match decoder.decode(rest, limits) {
                Ok(Decoded::Request { bytes }) => {
                    self.ranges.extend(decoder.ranges().iter().map(|range| shift(*range, at)));
                    at += bytes;
                    self.add(input, at);
                    decoder.finish();
                    if !decoder.apart().is_empty() {
                        // What lies apart belongs to this request, and the next one may have such arguments too.
                        return Stop::Full;
                    }
                }
                Ok(Decoded::Incomplete { needed }) => return Stop::Incomplete { needed },
                Err(error) => return Stop::Broken(error),
            }
        }
        Stop::Full
    }

    /// Adds the request that ends at `end`: its arguments are those ranges that belong to none yet.
    #[inline]
    fn add(&mut self, input: &[u8], end: usize) {
        let first = self.requests.last().map_or(0, |request| request.last);
        let mut request = Request { first, last: self.ranges.len(), end, key: None };
        request.key = self.argument(&request, 1, input).map(HashedKey::of);
        self.requests.push(request);
    }

    pub fn len(&self) -> usize {
        self.requests.len()
    }

    pub fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    /// Where the request after this one starts.
    #[inline]
    pub fn end(&self, index: usize) -> usize {
        self.requests[index].end
    }

    /// The arguments of a request; `None` if it has none.
    #[inline]
    pub fn args<'a>(&'a self, index: usize, input: &'a [u8]) -> Option<Args<'a>> {
        let Request { first, last, key, .. } = self.requests[index];
        (last > first).then(|| Args::new(input, &self.ranges[first..last]).with_first_key(key))
    }

    /// The slots of the keys that the requests name first, as far as they seem to name some.
    pub fn slots(&self) -> impl Iterator<Item = Slot> {
        self.requests.iter().filter_map(|request| Some(request.key?.slot()))
    }

    /// Asks the processor for what the requests will look at, as far as that can be told without knowing their
    /// commands: the first argument behind the name is for most a key.
    pub fn prefetch(&self, keyspace: &Keyspace, db: DbIndex, input: &[u8]) {
        let runs = || self.requests.chunk_by(|one, next| one.key == next.key);
        let keys: SmallVec<[HashedKey; REQUESTS_MAX]> = runs().filter_map(|run| run[0].key).collect();
        keyspace.prefetch(db, &keys);
        for run in runs().filter(|run| run.len() > 1) {
            if let Some(key) = run[0].key {
                let key = key.with_bytes(self.argument(&run[0], 1, input).unwrap_or_default());
                let arguments = |request| [2, 3].map(|index| self.argument(request, index, input));
                keyspace.prefetch_members(db, &key, run.iter().map(arguments));
            }
        }
    }

    /// An argument that may be a key or member.
    #[inline]
    fn argument<'a>(&self, request: &Request, index: usize, input: &'a [u8]) -> Option<&'a [u8]> {
        let (from, to) = *self.ranges[request.first..request.last].get(index)?;
        input.get(from..to).filter(|bytes| bytes.len() <= KEY_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { bulk_len_max: 1 << 20, authenticated: true };

    #[test]
    fn a_batch_ends_where_something_else_begins() {
        let (mut batch, mut decoder) = (Batch::default(), Decoder::default());
        let get = "*2\r\n$3\r\nGET\r\n$1\r\nk\r\n";
        let input = format!("{get}*0\r\n{get}PING\r\n");
        assert_eq!(batch.fill(&mut decoder, input.as_bytes(), 0, LIMITS), Stop::Inline);
        assert_eq!((batch.len(), batch.end(2)), (3, input.len() - 6));
        assert!(batch.args(1, input.as_bytes()).is_none(), "a request without arguments");
        let args = batch.args(2, input.as_bytes()).expect("GET k");
        assert_eq!((args.at(0), args.key(1).bytes), (&b"GET"[..], &b"k"[..]));
        let key = |index: usize| batch.requests[index].key;
        assert_eq!([key(0), key(1), key(2)], [Some(HashedKey::of(b"k")), None, Some(HashedKey::of(b"k"))]);

        let cut = &input.as_bytes()[..get.len() + 5];
        let cut = [&cut[..get.len()], &get.as_bytes()[..9]].concat();
        assert_eq!(batch.fill(&mut decoder, &cut, 0, LIMITS), Stop::Incomplete { needed: 13 });
        assert_eq!(batch.len(), 1);
    }

    #[test]
    fn strangers_are_answered_one_by_one() {
        let (mut batch, mut decoder) = (Batch::default(), Decoder::default());
        let limits = Limits { authenticated: false, ..LIMITS };
        let input = b"*1\r\n$4\r\nPING\r\n*1\r\n$4\r\nPING\r\n";
        assert_eq!(batch.fill(&mut decoder, input, 0, limits), Stop::Full);
        assert_eq!(batch.len(), 1);
    }
}
