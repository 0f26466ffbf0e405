//! HyperLogLog in Redis's own representation, so that PFADD's strings move between the two servers byte for byte.
//!
//! A string of this kind is a header of 16 bytes (the mark "HYLL", the encoding, three unused bytes, the cached
//! count as a little-endian number whose top bit says that it is stale) and 16384 registers of six bits, packed
//! one behind the other (dense) or as runs of equal values (sparse). Clients can write such strings with SET,
//! so nothing in them is to be trusted: `HyperLogLog::open` checks the header, and whoever walks sparse runs
//! checks that they cover the registers exactly. Parts: `sparse` and `dense` are the two encodings, `estimate`
//! turns registers into a count.

mod dense;
mod estimate;
mod murmur;
mod sparse;

/// How many bits of a hash choose the register.
const INDEX_BITS: u32 = 14;
const REGISTERS: usize = 1 << INDEX_BITS;

/// The rank of a hash whose remaining bits are all zero: the largest a register can hold.
const RANK_MAX: u8 = (64 - INDEX_BITS + 1) as u8;

const MARK: &[u8; 4] = b"HYLL";
const ENCODING_AT: usize = 4;
const COUNT_AT: usize = 8;
const HEADER_LEN: usize = 16;
const DENSE_LEN: usize = HEADER_LEN + dense::LEN;

/// The bit of the cached count's last byte that says "stale".
const STALE: u8 = 0x80;

/// The string is no HyperLogLog: Redis answers "WRONGTYPE Key is not a valid HyperLogLog string value."
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotHyperLogLog;

/// The header is right but the registers are not: Redis answers "INVALIDOBJ Corrupted HLL object detected".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Corrupt;

/// How the registers are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    Dense,
    Sparse,
}

/// A string with a valid header: borrowed bytes to read, owned ones to change.
///
/// Invariant: the header is complete, and a dense string has exactly `DENSE_LEN` bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HyperLogLog<B> {
    bytes: B,
}

/// The registers of several HyperLogLogs taken together: each holds the largest rank that any of them has.
pub struct Union {
    ranks: Box<[u8; REGISTERS]>,
    any_dense: bool,
}

impl<B: AsRef<[u8]>> HyperLogLog<B> {
    /// Takes a string for a HyperLogLog if its header says so.
    pub fn open(bytes: B) -> Result<HyperLogLog<B>, NotHyperLogLog> {
        let view = bytes.as_ref();
        if view.len() < HEADER_LEN || !view.starts_with(MARK) {
            return Err(NotHyperLogLog);
        }
        match view[ENCODING_AT] {
            0 if view.len() == DENSE_LEN => Ok(HyperLogLog { bytes }),
            1 => Ok(HyperLogLog { bytes }),
            _ => Err(NotHyperLogLog),
        }
    }

    pub fn encoding(&self) -> Encoding {
        if self.view()[ENCODING_AT] == 0 { Encoding::Dense } else { Encoding::Sparse }
    }

    /// The count as of the last PFCOUNT, if nothing changed since.
    pub fn cached_count(&self) -> Option<u64> {
        let count: [u8; 8] = self.view()[COUNT_AT..HEADER_LEN].try_into().expect("eight bytes of the header");
        (count[7] & STALE == 0).then(|| u64::from_le_bytes(count))
    }

    /// Estimates the number of distinct elements from the registers.
    pub fn count(&self) -> Result<u64, Corrupt> {
        let mut histogram = estimate::Histogram::new();
        match self.encoding() {
            Encoding::Dense => dense::ranks(self.body()).for_each(|rank| histogram.add(rank, 1)),
            Encoding::Sparse => {
                for run in sparse::runs(self.body()) {
                    let run = run?;
                    histogram.add(run.rank, run.len as u32);
                }
            }
        }
        Ok(histogram.estimate())
    }

    /// All registers in order, as PFDEBUG GETREG shows them.
    pub fn registers(&self) -> Result<Vec<u8>, Corrupt> {
        let mut union = Union::new();
        union.include(self)?;
        Ok(union.ranks.to_vec())
    }

    /// The runs of a sparse string, as PFDEBUG DECODE writes them; `None` for a dense one.
    pub fn describe_runs(&self) -> Option<Result<String, Corrupt>> {
        (self.encoding() == Encoding::Sparse).then(|| sparse::describe(self.body()))
    }

    fn view(&self) -> &[u8] {
        self.bytes.as_ref()
    }

    fn body(&self) -> &[u8] {
        &self.view()[HEADER_LEN..]
    }
}

impl HyperLogLog<Vec<u8>> {
    /// An empty one: sparse, with a count of zero that is not stale.
    pub fn new() -> HyperLogLog<Vec<u8>> {
        let mut bytes = Vec::with_capacity(HEADER_LEN + 16);
        bytes.extend_from_slice(MARK);
        bytes.resize(HEADER_LEN, 0);
        bytes[ENCODING_AT] = 1;
        sparse::push_empty(&mut bytes);
        HyperLogLog { bytes }
    }

    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Adds an element; whether a register changed. `sparse_max` is `hll-sparse-max-bytes`.
    pub fn add(&mut self, element: &[u8], sparse_max: usize) -> Result<bool, Corrupt> {
        let (index, rank) = locate(element);
        self.raise(index, rank, sparse_max)
    }

    /// Raises all registers to those of a union: PFMERGE. It becomes dense if any member of the union is.
    pub fn raise_to(&mut self, union: &Union, sparse_max: usize) -> Result<(), Corrupt> {
        if union.any_dense {
            self.make_dense()?;
        }
        for (index, &rank) in union.ranks.iter().enumerate().filter(|(_, rank)| **rank > 0) {
            self.raise(index, rank, sparse_max)?;
        }
        Ok(())
    }

    /// Marks the cached count as stale: what a writer does even if no register changed but the key is new.
    pub fn invalidate_count(&mut self) {
        self.bytes[HEADER_LEN - 1] |= STALE;
    }

    /// Caches a count that was just computed.
    pub fn store_count(&mut self, count: u64) {
        self.bytes[COUNT_AT..HEADER_LEN].copy_from_slice(&count.to_le_bytes());
    }

    /// Unpacks sparse runs; nothing happens to a dense string.
    pub fn make_dense(&mut self) -> Result<(), Corrupt> {
        if self.encoding() == Encoding::Dense {
            return Ok(());
        }
        let mut bytes = vec![0; DENSE_LEN];
        bytes[..HEADER_LEN].copy_from_slice(&self.bytes[..HEADER_LEN]);
        bytes[ENCODING_AT] = 0;
        let mut index = 0;
        for run in sparse::runs(self.body()) {
            let run = run?;
            if run.rank > 0 {
                (index..index + run.len).for_each(|at| dense::write(&mut bytes[HEADER_LEN..], at, run.rank));
            }
            index += run.len;
        }
        self.bytes = bytes;
        Ok(())
    }

    /// Raises one register to a rank; whether it was lower before.
    fn raise(&mut self, index: usize, rank: u8, sparse_max: usize) -> Result<bool, Corrupt> {
        if self.encoding() == Encoding::Sparse {
            match sparse::raise(&mut self.bytes, HEADER_LEN, index, rank, sparse_max)? {
                sparse::Raised::Yes => {
                    self.invalidate_count();
                    return Ok(true);
                }
                sparse::Raised::No => return Ok(false),
                sparse::Raised::TooLarge => self.make_dense()?,
            }
        }
        let body = &mut self.bytes[HEADER_LEN..];
        if dense::read(body, index) >= rank {
            return Ok(false);
        }
        dense::write(body, index, rank);
        self.invalidate_count();
        Ok(true)
    }
}

impl Default for HyperLogLog<Vec<u8>> {
    fn default() -> Self {
        HyperLogLog::new()
    }
}

impl Union {
    pub fn new() -> Union {
        Union { ranks: Box::new([0; REGISTERS]), any_dense: false }
    }

    /// Adds a member.
    pub fn include<B: AsRef<[u8]>>(&mut self, member: &HyperLogLog<B>) -> Result<(), Corrupt> {
        match member.encoding() {
            Encoding::Dense => {
                self.any_dense = true;
                let pairs = self.ranks.iter_mut().zip(dense::ranks(member.body()));
                pairs.for_each(|(max, rank)| *max = rank.max(*max));
            }
            Encoding::Sparse => {
                let mut index = 0;
                for run in sparse::runs(member.body()) {
                    let run = run?;
                    if run.rank > 0 {
                        self.ranks[index..index + run.len].iter_mut().for_each(|max| *max = run.rank.max(*max));
                    }
                    index += run.len;
                }
            }
        }
        Ok(())
    }

    /// Estimates the number of distinct elements in all members together: PFCOUNT of several keys.
    pub fn count(&self) -> u64 {
        let mut histogram = estimate::Histogram::new();
        self.ranks.iter().for_each(|rank| histogram.add(*rank, 1));
        histogram.estimate()
    }
}

impl Default for Union {
    fn default() -> Self {
        Union::new()
    }
}

/// The register of an element, and the rank it offers: one more than the zeros before the first set bit of the
/// rest.
fn locate(element: &[u8]) -> (usize, u8) {
    let hash = murmur::hash64a(element);
    let index = hash as usize % REGISTERS;
    let rest = hash >> INDEX_BITS | 1 << (64 - INDEX_BITS);
    (index, rest.trailing_zeros() as u8 + 1)
}

#[cfg(test)]
mod tests;
