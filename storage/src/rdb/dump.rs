//! The DUMP payload: type byte, value, and a footer of version (u16) and CRC (u64), both little endian.

use super::crc64::crc64;
use super::load::{self, Build};
use super::save::{Compression, Encoder, Save};
use super::source::{SliceSource, Source};
use super::{LoadError, VERSION_READ_MAX, VERSION_WRITTEN};

const FOOTER: usize = 10;

/// Why RESTORE refuses a payload; the two cases have different texts in Redis.
#[derive(Debug, thiserror::Error)]
pub enum DumpError {
    #[error("DUMP payload version or checksum are wrong")]
    Footer,
    #[error("Bad data format")]
    Format(#[source] LoadError),
}

/// The payload for `value`.
pub fn encode(value: &impl Save, compression: Compression) -> Vec<u8> {
    let mut out = Encoder::new(vec![value.kind() as u8], compression);
    value.save(&mut out).expect("writing to memory does not fail");
    let mut payload = out.into_inner();
    payload.extend_from_slice(&VERSION_WRITTEN.to_le_bytes());
    let crc = crc64(0, &payload);
    payload.extend_from_slice(&crc.to_le_bytes());
    payload
}

/// The value in `payload`.
pub fn decode<B: Build>(payload: &[u8], limits: &B::Limits) -> Result<B::Value, DumpError> {
    decode_body::<B>(verified_body(payload)?, limits)
}

/// What stands before the footer, if version and CRC are right.
pub fn verified_body(payload: &[u8]) -> Result<&[u8], DumpError> {
    let (summed, crc) = payload.split_last_chunk().ok_or(DumpError::Footer)?;
    let body = unverified_body(payload)?;
    if crc64(0, summed) == u64::from_le_bytes(*crc) { Ok(body) } else { Err(DumpError::Footer) }
}

/// The same without a look at the CRC, for `DEBUG SET-SKIP-CHECKSUM-VALIDATION`.
pub fn unverified_body(payload: &[u8]) -> Result<&[u8], DumpError> {
    let (body, footer) = payload.split_last_chunk::<FOOTER>().ok_or(DumpError::Footer)?;
    if u16::from_le_bytes([footer[0], footer[1]]) > VERSION_READ_MAX {
        return Err(DumpError::Footer);
    }
    Ok(body)
}

/// The value in a payload's body.
pub fn decode_body<B: Build>(body: &[u8], limits: &B::Limits) -> Result<B::Value, DumpError> {
    let mut source = SliceSource::new(body);
    let code = source.byte().map_err(DumpError::Format)?;
    let value = load::value::<B>(&mut source, code, limits).map_err(DumpError::Format)?;
    if source.is_empty() {
        Ok(value)
    } else {
        Err(DumpError::Format(LoadError::Corrupt("the payload goes on after its value")))
    }
}

#[cfg(test)]
mod tests {
    use super::super::neutral::{DumpValue, Neutral};
    use super::*;

    #[test]
    fn the_footer_is_checked() {
        let good = encode(&DumpValue::Str(b"hello".to_vec()), Compression::Lzf);
        // As redis-server 7.0 dumps it.
        assert_eq!(good, b"\x00\x05hello\x0a\x00cr\xdfve4 \x0a");
        assert_eq!(decode::<Neutral>(&good, &()).unwrap(), DumpValue::Str(b"hello".to_vec()));
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            assert!(matches!(decode::<Neutral>(&bad, &()), Err(DumpError::Footer)));
            assert!(matches!(decode::<Neutral>(&good[..at], &()), Err(DumpError::Footer)));
        }
        let mut newer = good[..good.len() - FOOTER].to_vec();
        newer.extend((VERSION_READ_MAX + 1).to_le_bytes());
        newer.extend(crc64(0, &newer).to_le_bytes());
        assert!(matches!(decode::<Neutral>(&newer, &()), Err(DumpError::Footer)));
    }
}
