//! Strings of which a part is written: large ones are kept in chunks, so that a bit costs no more than its chunk.
//!
//! A chunk that is missing, or shorter than the others, is zeros where it has nothing.

use super::corrupt;
use super::layout::position_name;
use super::meta::{Data, Large, Meta, SPLICED_BYTES_MAX};
use super::staged::Staged;
use crate::effect::body::Kind;
use crate::effect::wire::{Malformed, Reader, put_bytes};
use crate::engine::EngineError;
use crate::number::format_i64;

/// Bytes of a chunk.
pub(super) const CHUNK: usize = 16 << 10;

impl Staged<'_> {
    /// Writes `bytes` at `offset`, extending the string with zeros if need be.
    pub fn splice(&mut self, meta: Option<Meta>, offset: usize, bytes: &[u8]) -> Result<Meta, EngineError> {
        let expiry = meta.as_ref().and_then(|meta| meta.expiry);
        let mut whole = match meta.map(|meta| meta.data) {
            Some(Data::Parts(large)) => {
                let data = self.splice_chunks(large, offset, bytes)?;
                return Ok(Meta { expiry, data });
            }
            Some(Data::Whole(body)) => read_string(&body).map_err(corrupt("a string"))?,
            None => Vec::new(),
        };
        let end = offset + bytes.len();
        if end.max(whole.len()) > SPLICED_BYTES_MAX {
            let large = self.chunks(Kind::Modified, &whole);
            let data = self.splice_chunks(large, offset, bytes)?;
            return Ok(Meta { expiry, data });
        }
        if whole.len() < end {
            whole.resize(end, 0);
        }
        whole[offset..end].copy_from_slice(bytes);
        let mut body = Vec::with_capacity(whole.len() + 4);
        body.push(Kind::Modified as u8);
        put_bytes(&mut body, &whole);
        Ok(Meta { expiry, data: Data::Whole(body) })
    }

    /// A string in chunks.
    pub fn chunks(&mut self, kind: Kind, string: &[u8]) -> Large {
        let version = self.new_version();
        for (number, chunk) in string.chunks(CHUNK).enumerate() {
            self.put_part(version, &position_name(number as i64), chunk.into());
        }
        Large { kind, version, len: string.len() as u64, head: 0 }
    }

    fn splice_chunks(&mut self, mut large: Large, offset: usize, bytes: &[u8]) -> Result<Data, EngineError> {
        if !matches!(large.kind, Kind::Plain | Kind::Modified) {
            return self.diverged("what is there is no string");
        }
        let mut written = 0;
        while written < bytes.len() {
            let (number, start) = ((offset + written) / CHUNK, (offset + written) % CHUNK);
            let count = (CHUNK - start).min(bytes.len() - written);
            let name = position_name(number as i64);
            let mut chunk = self.part(large.version, &name)?.unwrap_or_default().into_vec();
            if chunk.len() < start + count {
                chunk.resize(start + count, 0);
            }
            chunk[start..start + count].copy_from_slice(&bytes[written..written + count]);
            self.put_part(large.version, &name, chunk.into());
            written += count;
        }
        large.kind = Kind::Modified;
        large.len = large.len.max((offset + bytes.len()) as u64);
        Ok(Data::Parts(large))
    }
}

/// The bytes of a string that lies whole in its record.
pub(super) fn read_string(body: &[u8]) -> Result<Vec<u8>, Malformed> {
    let mut reader = Reader::new(body);
    match Kind::read(&mut reader)? {
        Kind::Int => Ok(format_i64(reader.signed()?).to_vec()),
        Kind::Plain | Kind::Modified => Ok(reader.bytes()?.to_vec()),
        _ => Err(Malformed("a string is due, and a collection is there")),
    }
}
