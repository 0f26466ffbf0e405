//! Changes and whole maps as bytes: for the root group's log, for its snapshots, and for the nodes that are not in it.
//!
//! A version byte, then the parts in a fixed order, made of the primitives of [`basalt_storage::effect::wire`]. Bytes
//! that were not written by this module give an error, never a panic, and never more memory than a small multiple of
//! their own size. Within a version the form never changes: a new change gets a new tag, anything else a new version,
//! and with it a reader for the old one, since a cluster is upgraded node by node.

mod change;
mod parts;
mod whole;

use super::{Broken, Change, ClusterMap, Mode};
use basalt_storage::effect::wire::{Malformed, Reader};
use change::{put_change, read_change};
use parts::Wire;

/// The forms that are read and written; others are refused. The second is the first, said of a cluster in cache mode:
/// whoever does not know that there is such a thing must not read it.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Form {
    Durable = 1,
    Cache = 2,
}

impl Form {
    fn of(mode: Mode) -> Form {
        match mode {
            Mode::Durable => Form::Durable,
            Mode::Cache => Form::Cache,
        }
    }

    fn mode(self) -> Mode {
        match self {
            Form::Durable => Mode::Durable,
            Form::Cache => Mode::Cache,
        }
    }
}

/// Longest form of a change that is read: all slots one by one in a thousand migrations stay below it.
pub const CHANGE_LEN_MAX: usize = 4 << 20;
/// Longest form of a map that is read: a thousand nodes take some hundred kilobytes.
pub const MAP_LEN_MAX: usize = 64 << 20;

/// Why bytes are no change or no map.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    #[error("the cluster's map or a change of it has form {0}, which this version does not know; use a later one")]
    UnknownVersion(u8),
    #[error("the cluster's map or a change of it is damaged: {0}")]
    Malformed(#[from] Malformed),
    #[error("{0} bytes are too many for the cluster's map or a change of it")]
    TooLong(usize),
    #[error(transparent)]
    Broken(#[from] Broken),
}

impl Change {
    /// Appends the change to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let form = match self {
            Change::Join(joining) => Form::of(joining.mode),
            _ => Form::Durable,
        };
        out.push(form as u8);
        put_change(self, out);
    }

    /// Reads what [`Change::encode`] wrote, all of it.
    pub fn decode(bytes: &[u8]) -> Result<Change, CodecError> {
        let (form, mut reader) = open(bytes, CHANGE_LEN_MAX)?;
        let mut change = read_change(&mut reader)?;
        if let Change::Join(joining) = &mut change {
            joining.mode = form.mode();
        }
        close(reader, change)
    }
}

impl ClusterMap {
    /// Appends the whole map to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(Form::of(self.mode) as u8);
        self.put(out);
    }

    /// Reads what [`ClusterMap::encode`] wrote, all of it, and sees that it is sound.
    pub fn decode(bytes: &[u8]) -> Result<ClusterMap, CodecError> {
        let (form, mut reader) = open(bytes, MAP_LEN_MAX)?;
        let map = ClusterMap { mode: form.mode(), ..ClusterMap::read(&mut reader)? };
        let map = close(reader, map)?;
        map.check()?;
        Ok(map)
    }
}

fn open(bytes: &[u8], len_max: usize) -> Result<(Form, Reader<'_>), CodecError> {
    if bytes.len() > len_max {
        return Err(CodecError::TooLong(bytes.len()));
    }
    let mut reader = Reader::new(bytes);
    match reader.byte()? {
        1 => Ok((Form::Durable, reader)),
        2 => Ok((Form::Cache, reader)),
        version => Err(CodecError::UnknownVersion(version)),
    }
}

fn close<T>(reader: Reader<'_>, value: T) -> Result<T, CodecError> {
    if reader.is_empty() { Ok(value) } else { Err(Malformed("something follows the end").into()) }
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;
    use basalt_storage::rng::Rng;

    /// A map that much has happened to, and what could happen next.
    fn grown(rng: &mut Rng) -> (ClusterMap, Vec<Change>) {
        let mut map = samples::alone_in(1, if rng.below(2) == 0 { Mode::Cache } else { Mode::Durable });
        for _ in 0..200 {
            // Most are refused, which is as good a sample.
            let _ = map.apply(&samples::change(rng, &map));
        }
        let changes = (0..30).map(|_| samples::change(rng, &map)).collect();
        (map, changes)
    }

    #[test]
    fn maps_and_changes_survive() {
        let mut rng = Rng::seeded(1);
        for _ in 0..20 {
            let (map, changes) = grown(&mut rng);
            let mut bytes = Vec::new();
            map.encode(&mut bytes);
            assert_eq!(ClusterMap::decode(&bytes), Ok(map));
            for change in changes {
                let mut bytes = Vec::new();
                change.encode(&mut bytes);
                assert_eq!(Change::decode(&bytes), Ok(change));
            }
        }
    }

    #[test]
    fn a_map_that_was_read_goes_on_like_the_one_that_was_written() {
        let mut rng = Rng::seeded(2);
        let (mut map, _) = grown(&mut rng);
        let mut bytes = Vec::new();
        map.encode(&mut bytes);
        let mut copy = ClusterMap::decode(&bytes).unwrap();
        for _ in 0..100 {
            let change = samples::change(&mut rng, &map);
            assert_eq!(map.apply(&change), copy.apply(&change));
        }
        assert_eq!(map, copy);
    }

    #[test]
    fn damaged_bytes_never_panic_and_short_ones_are_errors() {
        let mut rng = Rng::seeded(3);
        for _ in 0..20 {
            let (map, changes) = grown(&mut rng);
            let mut whole = Vec::new();
            map.encode(&mut whole);
            let mut samples = vec![whole];
            samples.extend(changes.iter().map(|change| {
                let mut bytes = Vec::new();
                change.encode(&mut bytes);
                bytes
            }));
            for bytes in samples {
                let end = rng.below(bytes.len() as u64) as usize;
                assert!(ClusterMap::decode(&bytes[..end]).is_err() && Change::decode(&bytes[..end]).is_err());
                for _ in 0..20 {
                    let mut damaged = bytes.clone();
                    for _ in 0..1 + rng.below(3) {
                        let at = rng.below(damaged.len() as u64) as usize;
                        damaged[at] = rng.next_u64() as u8;
                    }
                    // Whatever comes out can be used: written again, and applied.
                    if let Ok(map) = ClusterMap::decode(&damaged) {
                        map.encode(&mut Vec::new());
                    }
                    if let Ok(change) = Change::decode(&damaged) {
                        change.encode(&mut Vec::new());
                        let mut map = map.clone();
                        let _ = map.apply(&change);
                        map.check().unwrap();
                    }
                }
            }
        }
    }

    #[test]
    fn depth_length_and_version_are_bounded() {
        let nested = Change::All(vec![Change::All(Vec::new())]);
        let mut bytes = Vec::new();
        nested.encode(&mut bytes);
        assert!(matches!(Change::decode(&bytes), Err(CodecError::Malformed(_))));
        assert_eq!(Change::decode(&[9, 0]), Err(CodecError::UnknownVersion(9)));
        assert_eq!(ClusterMap::decode(&[]), Err(CodecError::Malformed(Malformed("the data ends early"))));
        let long = vec![Form::Durable as u8; CHANGE_LEN_MAX + 1];
        assert_eq!(Change::decode(&long), Err(CodecError::TooLong(long.len())));
    }

    #[test]
    fn maps_are_small() {
        let mut bytes = Vec::new();
        samples::serving(100).encode(&mut bytes);
        assert!(bytes.len() < 15_000, "100 nodes take {} bytes", bytes.len());
    }
}
