//! What nodes ask each other to compare replicas, carried by [`basalt_cluster::node::Node::ask`].
//!
//! A kind, then fields. What is read may be anything.

use super::report::{Difference, Report};
use basalt_cluster::group::LogIndex;
use basalt_cluster::ids::{GroupId, NodeId, ReplicaId};
use basalt_cluster::map::SlotRange;
use basalt_storage::effect::Check;
use basalt_storage::effect::wire::{Malformed, Reader, put_bytes, put_varint};
use basalt_storage::engine::StateDigest;
use basalt_storage::slot::Slot;
use std::time::Duration;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// From a group's leader: what has your replica come to?
    Digest { group: GroupId, replica: ReplicaId, check: Check },
    /// To a group's leader: compare its replicas.
    Verify { group: GroupId, slots: SlotRange },
}

/// How far a replica is with a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It has not applied it, or knows it no more.
    Unknown,
    /// It is being read.
    Pending,
    Found(Found),
    Failed(String),
}

/// What a replica had when it had applied the check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub applied: LogIndex,
    pub digest: StateDigest,
}

const NO_SLOT: Malformed = Malformed("a slot that does not exist");
const NO_KIND: Malformed = Malformed("something that this version does not know");

impl Question {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Question::Digest { group, replica, check } => {
                out.push(b'd');
                out.extend_from_slice(&group.0.to_be_bytes());
                put_varint(&mut out, replica.0);
                out.extend_from_slice(&check.id.to_be_bytes());
                put_slot(&mut out, *check.slots.start());
                put_slot(&mut out, *check.slots.end());
            }
            Question::Verify { group, slots } => {
                out.push(b'v');
                out.extend_from_slice(&group.0.to_be_bytes());
                put_slot(&mut out, slots.first());
                put_slot(&mut out, slots.last());
            }
        }
        out
    }

    pub fn decode(bytes: &[u8]) -> Result<Question, Malformed> {
        let mut reader = Reader::new(bytes);
        let kind = reader.byte()?;
        let group = GroupId(u32::from_be_bytes(reader.fixed()?));
        match kind {
            b'd' => {
                let (replica, id) = (ReplicaId(reader.varint()?), u64::from_be_bytes(reader.fixed()?));
                let slots = read_range(&mut reader)?;
                Ok(Question::Digest { group, replica, check: Check { id, slots: slots.first()..=slots.last() } })
            }
            b'v' => Ok(Question::Verify { group, slots: read_range(&mut reader)? }),
            _ => Err(NO_KIND),
        }
    }
}

impl Outcome {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Outcome::Unknown => out.push(b'u'),
            Outcome::Pending => out.push(b'p'),
            Outcome::Found(Found { applied, digest }) => {
                out.push(b'f');
                put_varint(&mut out, applied.0);
                put_varint(&mut out, digest.bytes);
                out.extend_from_slice(&digest.marks.to_be_bytes());
                put_varint(&mut out, digest.slots.len() as u64);
                for (slot, of_slot) in &digest.slots {
                    put_slot(&mut out, *slot);
                    out.extend_from_slice(&of_slot.to_be_bytes());
                }
            }
            Outcome::Failed(why) => {
                out.push(b'x');
                out.extend_from_slice(why.as_bytes());
            }
        }
        out
    }

    pub fn decode(bytes: &[u8]) -> Result<Outcome, Malformed> {
        let mut reader = Reader::new(bytes);
        Ok(match reader.byte()? {
            b'u' => Outcome::Unknown,
            b'p' => Outcome::Pending,
            b'f' => {
                let (applied, bytes) = (LogIndex(reader.varint()?), reader.varint()?);
                let marks = u64::from_be_bytes(reader.fixed()?);
                let count = reader.count()?;
                let mut one = || Ok((read_slot(&mut reader)?, u64::from_be_bytes(reader.fixed()?)));
                let slots = (0..count).map(|_| one()).collect::<Result<_, Malformed>>()?;
                Outcome::Found(Found { applied, digest: StateDigest { slots, marks, bytes } })
            }
            b'x' => Outcome::Failed(String::from_utf8_lossy(reader.rest()).into_owned()),
            _ => return Err(NO_KIND),
        })
    }
}

impl Report {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = self.group.0.to_be_bytes().to_vec();
        out.push(u8::from(self.leader.is_some()));
        self.leader.iter().for_each(|leader| out.extend_from_slice(leader.as_bytes()));
        put_varint(&mut out, self.applied.0);
        put_varint(&mut out, self.bytes);
        put_varint(&mut out, self.took.as_micros() as u64);
        out.extend_from_slice(&self.digest.to_be_bytes());
        put_varint(&mut out, self.compared.len() as u64);
        self.compared.iter().for_each(|node| out.extend_from_slice(node.as_bytes()));
        put_varint(&mut out, self.missing.len() as u64);
        for (node, why) in &self.missing {
            out.extend_from_slice(node.as_bytes());
            put_bytes(&mut out, why.as_bytes());
        }
        put_varint(&mut out, self.differences.len() as u64);
        for (node, difference) in &self.differences {
            out.extend_from_slice(node.as_bytes());
            out.push(u8::from(difference.has_other_marks));
            put_varint(&mut out, difference.slots.len() as u64);
            difference.slots.iter().for_each(|slot| put_slot(&mut out, *slot));
        }
        put_bytes(&mut out, self.failure.as_deref().unwrap_or_default().as_bytes());
        out
    }

    pub fn decode(bytes: &[u8]) -> Result<Report, Malformed> {
        let mut reader = Reader::new(bytes);
        let reader = &mut reader;
        let mut report = Report::new(GroupId(u32::from_be_bytes(reader.fixed()?)));
        if reader.byte()? != 0 {
            report.leader = Some(read_node(reader)?);
        }
        report.applied = LogIndex(reader.varint()?);
        report.bytes = reader.varint()?;
        report.took = Duration::from_micros(reader.varint()?);
        report.digest = u64::from_be_bytes(reader.fixed()?);
        for _ in 0..reader.count()? {
            report.compared.push(read_node(reader)?);
        }
        for _ in 0..reader.count()? {
            report.missing.push((read_node(reader)?, text(reader)?));
        }
        for _ in 0..reader.count()? {
            let (node, has_other_marks) = (read_node(reader)?, reader.byte()? != 0);
            let slots = (0..reader.count()?).map(|_| read_slot(reader)).collect::<Result<_, _>>()?;
            report.differences.push((node, Difference { slots, has_other_marks }));
        }
        report.failure = Some(text(reader)?).filter(|why| !why.is_empty());
        Ok(report)
    }
}

fn put_slot(out: &mut Vec<u8>, slot: Slot) {
    out.extend_from_slice(&slot.number().to_be_bytes());
}

fn read_slot(reader: &mut Reader<'_>) -> Result<Slot, Malformed> {
    Slot::new(u16::from_be_bytes(reader.fixed()?)).ok_or(NO_SLOT)
}

fn read_range(reader: &mut Reader<'_>) -> Result<SlotRange, Malformed> {
    SlotRange::new(read_slot(reader)?, read_slot(reader)?).ok_or(Malformed("a range of slots that ends too early"))
}

fn read_node(reader: &mut Reader<'_>) -> Result<NodeId, Malformed> {
    reader.fixed().map(NodeId::new)
}

fn text(reader: &mut Reader<'_>) -> Result<String, Malformed> {
    Ok(String::from_utf8_lossy(reader.bytes()?).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use basalt_storage::rng::Rng;

    fn slot(number: u16) -> Slot {
        Slot::new(number).unwrap()
    }

    fn questions() -> [Question; 2] {
        let (group, slots) = (GroupId(1 << 31), slot(5)..=slot(16383));
        let check = Check { id: u64::MAX - 1, slots };
        let range = SlotRange::new(slot(0), slot(9)).unwrap();
        [Question::Digest { group, replica: ReplicaId(300), check }, Question::Verify { group, slots: range }]
    }

    fn outcomes() -> [Outcome; 4] {
        let digest = StateDigest { slots: vec![(slot(1), 7), (slot(300), u64::MAX)], marks: 9, bytes: 1 << 40 };
        let found = Found { applied: LogIndex(77), digest };
        [Outcome::Unknown, Outcome::Pending, Outcome::Found(found), Outcome::Failed("no".to_owned())]
    }

    fn report() -> Report {
        let node = |number| NodeId::new([number; NodeId::BYTES]);
        let difference = Difference { slots: vec![slot(3), slot(4)], has_other_marks: true };
        Report {
            leader: Some(node(1)),
            applied: LogIndex(5),
            bytes: 1000,
            took: Duration::from_micros(1234),
            digest: 5,
            compared: vec![node(1), node(2)],
            missing: vec![(node(3), "away".to_owned())],
            differences: vec![(node(2), difference)],
            failure: Some("why".to_owned()),
            ..Report::new(GroupId(8))
        }
    }

    #[test]
    fn what_is_said_comes_back_and_nothing_that_is_read_does_any_harm() {
        for question in questions() {
            assert_eq!(Question::decode(&question.encode()), Ok(question));
        }
        for outcome in outcomes() {
            assert_eq!(Outcome::decode(&outcome.encode()), Ok(outcome));
        }
        for report in [report(), Report::new(GroupId(3))] {
            assert_eq!(Report::decode(&report.encode()), Ok(report));
        }
        let all = questions().map(|it| it.encode()).into_iter();
        let all = all.chain(outcomes().map(|it| it.encode())).chain([report().encode()]);
        let mut rng = Rng::seeded(1);
        let read = |bytes: &[u8]| (Question::decode(bytes), Outcome::decode(bytes), Report::decode(bytes));
        for bytes in all {
            (0..bytes.len()).for_each(|len| drop(read(&bytes[..len])));
            for _ in 0..500 {
                let mut bytes = bytes.clone();
                let place = rng.below(bytes.len() as u64) as usize;
                bytes[place] = rng.below(256) as u8;
                drop(read(&bytes));
            }
        }
    }
}
