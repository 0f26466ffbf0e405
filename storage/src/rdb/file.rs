//! Reads an RDB file, record by record, from any stream.

use std::borrow::Cow;
use std::io::Read;

use super::kind::{Kind, opcode};
use super::load::{self, Build};
use super::source::Source;
use super::stream::StreamSource;
use super::{LoadError, VERSION_READ_MAX};
use crate::clock::UnixMs;

/// Files before this version have no checksum.
const VERSION_WITH_CHECKSUM: u16 = 5;

/// One thing that a file says.
#[derive(Debug, PartialEq)]
pub enum Record<V> {
    /// A fact about the server that wrote the file.
    Aux {
        name: Vec<u8>,
        value: Vec<u8>,
    },
    /// The entries that follow are in this database.
    Database {
        db: u32,
    },
    /// About what this database holds, so that one can make room; not to be trusted.
    Sizes {
        keys: u64,
        expiries: u64,
    },
    /// The code of a library of functions.
    Function {
        code: Vec<u8>,
    },
    Entry(Entry<V>),
}

/// A key and all that is known of it.
#[derive(Debug, PartialEq)]
pub struct Entry<V> {
    pub db: u32,
    pub key: Vec<u8>,
    pub value: V,
    /// May have passed already: whether such an entry is wanted is the reader's decision.
    pub expiry: Option<UnixMs>,
    pub access: Option<Access>,
}

/// What the writing server's eviction policy knew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    IdleSeconds(u64),
    /// The logarithmic counter of LFU.
    Frequency(u8),
}

/// An error, and where in the file it was.
#[derive(Debug, thiserror::Error)]
#[error("{place}: {source}")]
pub struct FileError {
    pub place: Place,
    #[source]
    pub source: LoadError,
}

#[derive(Debug)]
pub enum Place {
    Header,
    Between { db: u32 },
    Entry { db: u32, key: Vec<u8> },
    Checksum,
}

impl std::fmt::Display for Place {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Place::Header => write!(out, "in the file's header"),
            Place::Between { db } => write!(out, "between entries of database {db}"),
            Place::Entry { db, key } => {
                write!(out, "key '{}' of database {db}", key.escape_ascii())
            }
            Place::Checksum => write!(out, "in the file's checksum"),
        }
    }
}

pub struct Reader<R> {
    source: StreamSource<R>,
    version: u16,
    db: u32,
    empty_keys: u64,
    at_end: bool,
}

impl<R: Read> Reader<R> {
    /// Reads the header.
    pub fn new(inner: R) -> Result<Reader<R>, FileError> {
        let mut source = StreamSource::new(inner);
        let version = version(&mut source).map_err(|source| FileError { place: Place::Header, source })?;
        Ok(Reader { source, version, db: 0, empty_keys: 0, at_end: false })
    }

    pub fn version(&self) -> u16 {
        self.version
    }

    /// How many keys held a collection without elements, and were left out.
    pub fn empty_keys(&self) -> u64 {
        self.empty_keys
    }

    /// The next record; none after the last, when the checksum has been found right.
    pub fn next_record<B: Build>(&mut self, limits: &B::Limits) -> Result<Option<Record<B::Value>>, FileError> {
        if self.at_end {
            return Ok(None);
        }
        let mut place = Place::Between { db: self.db };
        self.record::<B>(&mut place, limits).map_err(|source| FileError { place, source })
    }

    fn record<B: Build>(
        &mut self,
        place: &mut Place,
        limits: &B::Limits,
    ) -> Result<Option<Record<B::Value>>, LoadError> {
        let mut expiry = None;
        let mut access = None;
        loop {
            match self.source.byte()? {
                opcode::EOF => {
                    *place = Place::Checksum;
                    return self.end().map(|()| None);
                }
                opcode::EXPIRE_TIME_MS => expiry = Some(UnixMs(i64::from_le_bytes(self.source.fixed()?))),
                opcode::EXPIRE_TIME => {
                    expiry = Some(UnixMs(i64::from(i32::from_le_bytes(self.source.fixed()?)) * 1000))
                }
                opcode::IDLE => access = Some(Access::IdleSeconds(self.source.length()?)),
                opcode::FREQ => access = Some(Access::Frequency(self.source.byte()?)),
                opcode::AUX => {
                    let [name, value] = [self.source.string()?, self.source.string()?].map(Cow::into_owned);
                    return Ok(Some(Record::Aux { name, value }));
                }
                opcode::SELECT_DB => {
                    let db = u32::try_from(self.source.length()?);
                    self.db = db.map_err(|_| LoadError::Corrupt("database number out of range"))?;
                    return Ok(Some(Record::Database { db: self.db }));
                }
                opcode::RESIZE_DB => {
                    let [keys, expiries] = [self.source.length()?, self.source.length()?];
                    return Ok(Some(Record::Sizes { keys, expiries }));
                }
                opcode::SLOT_INFO => {
                    for _slot_keys_expires in 0..3 {
                        self.source.length()?;
                    }
                }
                opcode::FUNCTION => {
                    let code = self.source.string()?.into_owned();
                    return Ok(Some(Record::Function { code }));
                }
                opcode::FUNCTION_PRE_GA => {
                    return Err(LoadError::Unsupported { code: opcode::FUNCTION_PRE_GA, name: "function of 7.0-rc" });
                }
                opcode::MODULE_AUX => self.skip_module_aux()?,
                code => {
                    let key = self.source.string()?.into_owned();
                    let loaded = load::value::<B>(&mut self.source, code, limits);
                    match loaded {
                        Ok(value) => {
                            return Ok(Some(Record::Entry(Entry { db: self.db, key, value, expiry, access })));
                        }
                        Err(LoadError::Empty) => {
                            // Old servers could write such keys; Redis drops them too.
                            self.empty_keys += 1;
                            (expiry, access) = (None, None);
                        }
                        Err(err) => {
                            // A byte that is no type at all means that the key is not one either.
                            if Kind::of_code(code).is_some() || matches!(err, LoadError::Unsupported { .. }) {
                                *place = Place::Entry { db: self.db, key };
                            }
                            return Err(err);
                        }
                    }
                }
            }
        }
    }

    fn end(&mut self) -> Result<(), LoadError> {
        if self.version >= VERSION_WITH_CHECKSUM {
            let actual = self.source.crc();
            let stored = u64::from_le_bytes(self.source.fixed()?);
            // Zero stands for a writer that was told not to compute it.
            if stored != 0 && stored != actual {
                return Err(LoadError::Corrupt("wrong checksum"));
            }
        }
        self.at_end = true;
        Ok(())
    }

    /// What a module saved beside the keys has no meaning here, but its parts are self-describing.
    fn skip_module_aux(&mut self) -> Result<(), LoadError> {
        self.source.length()?;
        loop {
            match self.source.length()? {
                0 => return Ok(()),
                1 | 2 => drop(self.source.length()?),
                3 => drop(self.source.fixed::<4>()?),
                4 => drop(self.source.fixed::<8>()?),
                5 => drop(self.source.string()?),
                _ => return Err(LoadError::Corrupt("module data of unknown form")),
            }
        }
    }
}

fn version(source: &mut impl Source<'static>) -> Result<u16, LoadError> {
    let header: [u8; 9] = source.fixed()?;
    let digits = header.strip_prefix(b"REDIS").ok_or(LoadError::Corrupt("not an RDB file"))?;
    let version = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok());
    match version {
        Some(version @ 1..=VERSION_READ_MAX) => Ok(version),
        _ => Err(LoadError::Corrupt("unknown RDB version")),
    }
}
