//! Encodes values: the forms that redis-server 7.0 loads, built from iterators over the elements.

use std::io::{self, Write};

use super::kind::Kind;
use super::listpack;
use super::load::{QUICKLIST_PACKED, QUICKLIST_PLAIN};
use super::{intset, lzf};
use crate::number::parse_i64;

/// Below this length compression cannot win.
const COMPRESSED_MIN: usize = 21;

/// The longest text that can be an integer of 32 bits.
const INT_TEXT_MAX: usize = 11;

/// Bytes of a list's node, as in Redis by default (`list-max-listpack-size -2`).
const LIST_NODE_BYTES: usize = 8 << 10;

/// Room for an element's encoding and back length, at most.
const ELEMENT_OVERHEAD: usize = 10;

/// Whether strings are compressed where that makes them shorter (`rdbcompression`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    None,
    Lzf,
}

/// A value that can be written. The twin of [`Build`](super::Build).
pub trait Save {
    /// The form in which [`Save::save`] writes it.
    fn kind(&self) -> Kind;
    fn save<W: Write>(&self, out: &mut Encoder<W>) -> io::Result<()>;
}

/// Writes the primitives and each kind's body.
pub struct Encoder<W> {
    out: W,
    compression: Compression,
}

impl<W: Write> Encoder<W> {
    pub fn new(out: W, compression: Compression) -> Encoder<W> {
        Encoder { out, compression }
    }

    pub fn into_inner(self) -> W {
        self.out
    }

    pub fn inner(&mut self) -> &mut W {
        &mut self.out
    }

    pub fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)
    }

    pub fn length(&mut self, len: u64) -> io::Result<()> {
        match len {
            0..=0x3f => self.bytes(&[len as u8]),
            0x40..=0x3fff => self.bytes(&(0x4000 | len as u16).to_be_bytes()),
            0x4000..=0xffff_ffff => {
                self.bytes(&[0x80])?;
                self.bytes(&(len as u32).to_be_bytes())
            }
            _ => {
                self.bytes(&[0x81])?;
                self.bytes(&len.to_be_bytes())
            }
        }
    }

    /// A string in its shortest encoding.
    pub fn string(&mut self, bytes: &[u8]) -> io::Result<()> {
        if bytes.len() <= INT_TEXT_MAX
            && let Some(number) = parse_i64(bytes).and_then(|number| i32::try_from(number).ok())
        {
            return self.int(number);
        }
        if self.compression == Compression::Lzf
            && bytes.len() >= COMPRESSED_MIN
            && let Some(packed) = lzf::compress(bytes)
        {
            self.bytes(&[0xc3])?;
            self.length(packed.len() as u64)?;
            self.length(bytes.len() as u64)?;
            return self.bytes(&packed);
        }
        self.length(bytes.len() as u64)?;
        self.bytes(bytes)
    }

    fn int(&mut self, number: i32) -> io::Result<()> {
        let raw = number.to_le_bytes();
        let (code, width) = match number {
            -0x80..=0x7f => (0xc0, 1),
            -0x8000..=0x7fff => (0xc1, 2),
            _ => (0xc2, 4),
        };
        self.bytes(&[code])?;
        self.bytes(&raw[..width])
    }

    /// [`Kind::ListQuicklist2`]. The items are gone through twice, since the count of nodes comes first.
    pub fn list<'v>(&mut self, items: impl Iterator<Item: AsRef<[u8]> + 'v> + Clone) -> io::Result<()> {
        let mut split = NodeSplit::default();
        let nodes = items.clone().filter(|item| split.starts_node(item.as_ref().len())).count();
        self.length(nodes as u64)?;

        let mut split = NodeSplit::default();
        let mut node = listpack::Builder::default();
        for item in items {
            let item = item.as_ref();
            if split.starts_node(item.len()) {
                self.list_node(&mut node)?;
            }
            if item.len() >= PLAIN_MIN {
                self.length(QUICKLIST_PLAIN)?;
                self.string(item)?;
            } else {
                node.push(item);
            }
        }
        self.list_node(&mut node)
    }

    fn list_node(&mut self, node: &mut listpack::Builder) -> io::Result<()> {
        if node.is_empty() {
            return Ok(());
        }
        self.length(QUICKLIST_PACKED)?;
        self.string(&node.finish())
    }

    /// A finished listpack: the whole body of [`Kind::HashListpack`] and [`Kind::ZsetListpack`].
    ///
    /// A hash's fields alternate with their values, a sorted set's members with their scores, in ascending order.
    pub fn packed(&mut self, mut elements: listpack::Builder) -> io::Result<()> {
        self.string(&elements.finish())
    }

    /// The whole body of [`Kind::SetIntset`]; the integers are ascending.
    pub fn intset(&mut self, sorted: &[i64]) -> io::Result<()> {
        self.string(&intset::encode(sorted))
    }

    /// A score of [`Kind::Zset2`].
    pub fn score(&mut self, score: f64) -> io::Result<()> {
        self.bytes(&score.to_le_bytes())
    }
}

/// From this size on a list's element is a node of its own, not in a listpack.
const PLAIN_MIN: usize = listpack::BYTES_MAX - 1024;

/// Whether this many elements of this many bytes in total fit into one listpack, whatever they are.
pub fn fits_listpack(elements: usize, bytes: usize) -> bool {
    elements.saturating_mul(ELEMENT_OVERHEAD).saturating_add(bytes) < listpack::BYTES_MAX - 1024
}

/// Decides, from lengths only, where a list is cut into nodes.
#[derive(Default)]
struct NodeSplit {
    /// An upper bound on the bytes of the node so far; none yet before the first element.
    used: Option<usize>,
}

impl NodeSplit {
    fn starts_node(&mut self, len: usize) -> bool {
        let cost = len.saturating_add(ELEMENT_OVERHEAD);
        match self.used {
            Some(used) if used.saturating_add(cost) <= LIST_NODE_BYTES => {
                self.used = Some(used + cost);
                false
            }
            _ => {
                self.used = Some(cost);
                true
            }
        }
    }
}
