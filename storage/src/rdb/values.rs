//! Connects the formats to the values of the keyspace: which form each is written in, and how it is written.
//!
//! Redis 7.0 has no set listpack, so sets that are packed in memory are written as plain ones; its reader packs or
//! unpacks everything else by its own limits.

use std::io::{self, Write};

use super::kind::Kind;
use super::listpack;
use super::save::{Encoder, Save, fits_listpack};
use crate::number::parse_i64;
use crate::types::{Encoding, Hash, List, Set};

impl Save for List {
    fn kind(&self) -> Kind {
        Kind::ListQuicklist2
    }

    fn save<W: Write>(&self, out: &mut Encoder<W>) -> io::Result<()> {
        out.list(self.iter())
    }
}

impl Save for Set {
    fn kind(&self) -> Kind {
        match self.encoding() {
            Encoding::Intset => Kind::SetIntset,
            _ => Kind::Set,
        }
    }

    fn save<W: Write>(&self, out: &mut Encoder<W>) -> io::Result<()> {
        if self.kind() == Kind::SetIntset {
            let ints: Option<Vec<i64>> = self.iter().map(|member| parse_i64(&member)).collect();
            return out.intset(&ints.expect("an intset has only integers"));
        }
        out.length(self.len() as u64)?;
        self.iter().try_for_each(|member| out.string(&member))
    }
}

impl Save for Hash {
    fn kind(&self) -> Kind {
        let bytes = || self.iter().map(|field| field.name().len() + field.value().len()).sum();
        match self.encoding() {
            Encoding::Listpack if fits_listpack(self.len() * 2, bytes()) => Kind::HashListpack,
            _ => Kind::Hash,
        }
    }

    fn save<W: Write>(&self, out: &mut Encoder<W>) -> io::Result<()> {
        if self.kind() == Kind::HashListpack {
            let mut pack = listpack::Builder::default();
            for field in self.iter() {
                pack.push(field.name());
                pack.push(field.value());
            }
            return out.packed(pack);
        }
        out.length(self.len() as u64)?;
        self.iter().try_for_each(|field| {
            out.string(field.name())?;
            out.string(field.value())
        })
    }
}
