//! Writes an RDB file, record by record, to any stream.

use std::io::{self, BufWriter, Write};

use super::VERSION_WRITTEN;
use super::crc64::crc64;
use super::file::Access;
use super::kind::opcode;
use super::save::{Compression, Encoder, Save};
use crate::clock::UnixMs;

const BUFFER: usize = 64 << 10;

/// The order of calls is the order in the file: facts, functions, then per database its number and its entries.
pub struct Writer<W: Write> {
    out: Encoder<BufWriter<Summing<W>>>,
}

impl<W: Write> Writer<W> {
    /// Writes the header.
    pub fn new(inner: W, compression: Compression) -> io::Result<Writer<W>> {
        let summing = Summing { inner, crc: 0 };
        let mut out = Encoder::new(BufWriter::with_capacity(BUFFER, summing), compression);
        out.bytes(format!("REDIS{VERSION_WRITTEN:04}").as_bytes())?;
        Ok(Writer { out })
    }

    /// A fact about this server. Redis writes `redis-ver`, `redis-bits`, `ctime`, `used-mem`.
    pub fn aux(&mut self, name: &[u8], value: &[u8]) -> io::Result<()> {
        self.out.bytes(&[opcode::AUX])?;
        self.out.string(name)?;
        self.out.string(value)
    }

    /// The code of a library of functions.
    pub fn function(&mut self, code: &[u8]) -> io::Result<()> {
        self.out.bytes(&[opcode::FUNCTION])?;
        self.out.string(code)
    }

    /// The entries that follow are in `db`; the sizes only help the reader to make room and may be off.
    pub fn database(&mut self, db: u32, keys: u64, expiries: u64) -> io::Result<()> {
        self.select(db)?;
        self.out.bytes(&[opcode::RESIZE_DB])?;
        self.out.length(keys)?;
        self.out.length(expiries)
    }

    /// Goes on in `db`, whose sizes were written before or do not matter.
    pub fn select(&mut self, db: u32) -> io::Result<()> {
        self.out.bytes(&[opcode::SELECT_DB])?;
        self.out.length(db.into())
    }

    pub fn entry(
        &mut self,
        key: &[u8],
        value: &impl Save,
        expiry: Option<UnixMs>,
        access: Option<Access>,
    ) -> io::Result<()> {
        encode_entry(&mut self.out, key, value, expiry, access)
    }

    /// Entries that [`encode_entry`] has encoded before.
    pub fn encoded(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.bytes(bytes)
    }

    /// Writes the end and the checksum, and gives the stream back. Whether it is synced is the caller's business.
    pub fn finish(mut self) -> io::Result<W> {
        self.out.bytes(&[opcode::EOF])?;
        self.out.inner().flush()?;
        let Summing { mut inner, crc } = self.out.into_inner().into_inner().map_err(|err| err.into_error())?;
        inner.write_all(&crc.to_le_bytes())?;
        inner.flush()?;
        Ok(inner)
    }
}

/// A key with all that a file says of it.
pub fn encode_entry<W: Write>(
    out: &mut Encoder<W>,
    key: &[u8],
    value: &impl Save,
    expiry: Option<UnixMs>,
    access: Option<Access>,
) -> io::Result<()> {
    if let Some(at) = expiry {
        out.bytes(&[opcode::EXPIRE_TIME_MS])?;
        out.bytes(&at.0.to_le_bytes())?;
    }
    match access {
        None => {}
        Some(Access::IdleSeconds(seconds)) => {
            out.bytes(&[opcode::IDLE])?;
            out.length(seconds)?;
        }
        Some(Access::Frequency(counter)) => out.bytes(&[opcode::FREQ, counter])?,
    }
    out.bytes(&[value.kind() as u8])?;
    out.string(key)?;
    value.save(out)
}

/// Sums up what passes through.
struct Summing<W> {
    inner: W,
    crc: u64,
}

impl<W: Write> Write for Summing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let len = self.inner.write(bytes)?;
        self.crc = crc64(self.crc, &bytes[..len]);
        Ok(len)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::super::file::{Entry, Reader, Record};
    use super::super::neutral::{DumpValue, Neutral};
    use super::*;

    fn sample(compression: Compression, long: usize) -> (Vec<u8>, Vec<Record<DumpValue>>) {
        let long = vec![b'v'; long];
        let values = [
            (DumpValue::Str(b"12345".to_vec()), None, None),
            (DumpValue::Str(long.clone()), Some(UnixMs(1 << 40)), Some(Access::Frequency(5))),
            (DumpValue::List(vec![b"a".to_vec(), b"77".to_vec(), long]), Some(UnixMs(-1)), None),
            (DumpValue::Zset(vec![(b"a".to_vec(), 1.5), (b"b".to_vec(), 2.0)]), None, Some(Access::IdleSeconds(9))),
        ];
        let mut writer = Writer::new(Vec::new(), compression).unwrap();
        let mut records = Vec::new();
        writer.aux(b"redis-ver", b"7.0.15").unwrap();
        records.push(Record::Aux { name: b"redis-ver".to_vec(), value: b"7.0.15".to_vec() });
        writer.function(b"#!lua name=x").unwrap();
        records.push(Record::Function { code: b"#!lua name=x".to_vec() });
        for db in [0, 9] {
            writer.database(db, 4, 2).unwrap();
            records.push(Record::Database { db });
            records.push(Record::Sizes { keys: 4, expiries: 2 });
            for (n, (value, expiry, access)) in values.iter().enumerate() {
                let key = format!("key{n}").into_bytes();
                writer.entry(&key, value, *expiry, *access).unwrap();
                let (value, expiry, access) = (value.clone(), *expiry, *access);
                records.push(Record::Entry(Entry { db, key, value, expiry, access }));
            }
        }
        (writer.finish().unwrap(), records)
    }

    fn read(bytes: &[u8]) -> Result<Vec<Record<DumpValue>>, super::super::file::FileError> {
        let mut reader = Reader::new(bytes)?;
        let mut records = Vec::new();
        while let Some(record) = reader.next_record::<Neutral>(&())? {
            records.push(record);
        }
        Ok(records)
    }

    #[test]
    fn what_is_written_is_read() {
        for compression in [Compression::None, Compression::Lzf] {
            let (bytes, records) = sample(compression, 2 * BUFFER);
            assert_eq!(read(&bytes).unwrap(), records);
        }
    }

    #[test]
    fn damage_is_noticed() {
        let (good, _) = sample(Compression::Lzf, 400);
        for end in 0..good.len() {
            assert!(read(&good[..end]).is_err(), "cut at {end}");
        }
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x10;
            assert!(read(&bad).is_err(), "byte {at}");
        }
        let mut unsummed = good.clone();
        let at = good.len() - 8;
        unsummed[at..].fill(0);
        assert!(read(&unsummed).is_ok());
    }
}
