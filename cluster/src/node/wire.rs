//! What nodes ask each other, and what they report. Carried by [`crate::peer`], which neither reads nor understands it.
//!
//! A kind, then fields; maps and changes in their own form. What is read may be anything.

use super::loads::{Figures, put_figures, read_figures};
use crate::ids::{ClusterId, ConfigEpoch, MapVersion, MigrationId, NodeId};
use crate::map::codec::CodecError;
use crate::map::{Applied, Change, Mode, Outcome};
use basalt_storage::effect::wire::{Malformed, Reader, put_bytes, put_varint};
use std::net::{IpAddr, SocketAddr};

/// What one node asks another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// For the root group's leader: decide about this change. From a stranger, only that it joins.
    Decide(Change),
    /// From the root group's leader: take this map over.
    Learn(Vec<u8>),
    /// Who are you? (`CLUSTER MEET`, from a stranger.)
    Greet(Greeting),
    /// Join my cluster: it has other nodes, yours has none. I listen for peers there.
    Invite { address: SocketAddr },
    /// From front end to front end, in a form of their own.
    Front(Vec<u8>),
    /// For whoever has a replica of the root group: what do slots cost?
    Loads,
}

/// Who somebody is, for strangers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Greeting {
    pub node: NodeId,
    pub cluster: ClusterId,
    /// How many nodes its cluster has.
    pub members: u64,
    pub mode: Mode,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The change was made. Whoever joins gets the map along.
    Decided {
        applied: Applied,
        map: Option<Vec<u8>>,
    },
    /// The change was refused, in the words that clients are told.
    Refused(String),
    /// Ask this node, or any other.
    NotLeader(Option<NodeId>),
    Learned(MapVersion),
    Greeting(Greeting),
    /// It will be tried.
    Accepted,
    /// The front end's.
    Front(Vec<u8>),
    Loads(Figures),
}

/// What each node tells the voters of the root group again and again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beat {
    /// Of the map that it knows.
    pub version: MapVersion,
    /// What some of the slots cost that it leads. Nodes of earlier versions neither say nor read it.
    pub figures: Figures,
}

impl Beat {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_varint(&mut out, self.version.0);
        if !self.figures.is_empty() {
            put_figures(&mut out, &self.figures);
        }
        out
    }

    pub fn decode(bytes: &[u8]) -> Result<Beat, Malformed> {
        let mut reader = Reader::new(bytes);
        let version = MapVersion(reader.varint()?);
        let figures = if reader.is_empty() { Figures::new() } else { read_figures(&mut reader)? };
        // Later versions may say more.
        Ok(Beat { version, figures })
    }
}

impl Question {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Question::Decide(change) => {
                out.push(b'd');
                change.encode(&mut out);
            }
            Question::Learn(map) => {
                out.push(b'l');
                out.extend_from_slice(map);
            }
            Question::Greet(greeting) => {
                out.push(b'g');
                greeting.put(&mut out);
            }
            Question::Invite { address } => {
                out.push(b'i');
                put_address(&mut out, *address);
            }
            Question::Front(question) => {
                out.push(b'f');
                out.extend_from_slice(question);
            }
            Question::Loads => out.push(b'w'),
        }
        out
    }

    pub fn decode(bytes: &[u8]) -> Result<Question, CodecError> {
        let mut reader = Reader::new(bytes);
        match reader.byte()? {
            b'd' => Ok(Question::Decide(Change::decode(reader.rest())?)),
            b'l' => Ok(Question::Learn(reader.rest().to_vec())),
            b'g' => Ok(Question::Greet(Greeting::read(&mut reader)?)),
            b'i' => Ok(Question::Invite { address: address(&mut reader)? }),
            b'f' => Ok(Question::Front(reader.rest().to_vec())),
            b'w' => Ok(Question::Loads),
            _ => Err(Malformed("a question that this version does not know").into()),
        }
    }
}

impl Answer {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Answer::Decided { applied, map } => {
                out.push(b'd');
                put_varint(&mut out, applied.version.0);
                put_outcome(&mut out, &applied.outcome);
                out.push(u8::from(map.is_some()));
                out.extend_from_slice(map.as_deref().unwrap_or_default());
            }
            Answer::Refused(why) => {
                out.push(b'r');
                out.extend_from_slice(why.as_bytes());
            }
            Answer::NotLeader(leader) => {
                out.push(b'n');
                out.extend_from_slice(leader.as_ref().map_or(&[], |leader| &leader.as_bytes()[..]));
            }
            Answer::Learned(version) => {
                out.push(b'l');
                put_varint(&mut out, version.0);
            }
            Answer::Greeting(greeting) => {
                out.push(b'g');
                greeting.put(&mut out);
            }
            Answer::Accepted => out.push(b'a'),
            Answer::Front(answer) => {
                out.push(b'f');
                out.extend_from_slice(answer);
            }
            Answer::Loads(figures) => {
                out.push(b'w');
                put_figures(&mut out, figures);
            }
        }
        out
    }

    pub fn decode(bytes: &[u8]) -> Result<Answer, Malformed> {
        let mut reader = Reader::new(bytes);
        Ok(match reader.byte()? {
            b'd' => {
                let applied = Applied { version: MapVersion(reader.varint()?), outcome: outcome(&mut reader, 0)? };
                let map = match reader.byte()? {
                    0 => None,
                    _ => Some(reader.rest().to_vec()),
                };
                Answer::Decided { applied, map }
            }
            b'r' => Answer::Refused(String::from_utf8_lossy(reader.rest()).into_owned()),
            b'n' if reader.is_empty() => Answer::NotLeader(None),
            b'n' => Answer::NotLeader(Some(NodeId::new(reader.fixed()?))),
            b'l' => Answer::Learned(MapVersion(reader.varint()?)),
            b'g' => Answer::Greeting(Greeting::read(&mut reader)?),
            b'a' => Answer::Accepted,
            b'f' => Answer::Front(reader.rest().to_vec()),
            b'w' => Answer::Loads(read_figures(&mut reader)?),
            _ => return Err(Malformed("an answer that this version does not know")),
        })
    }
}

impl Greeting {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.node.as_bytes());
        out.extend_from_slice(&self.cluster.0.to_be_bytes());
        put_varint(out, self.members);
        // Those who end here are in durable mode, as all were when this was not said yet.
        if self.mode == Mode::Cache {
            out.push(b'c');
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Greeting, Malformed> {
        let node = NodeId::new(reader.fixed()?);
        let cluster = ClusterId(u64::from_be_bytes(reader.fixed()?));
        let members = reader.varint()?;
        let mode = match reader.is_empty() || reader.byte()? != b'c' {
            true => Mode::Durable,
            false => Mode::Cache,
        };
        Ok(Greeting { node, cluster, members, mode })
    }
}

fn put_address(out: &mut Vec<u8>, address: SocketAddr) {
    put_bytes(out, address.ip().to_string().as_bytes());
    put_varint(out, address.port().into());
}

fn address(reader: &mut Reader<'_>) -> Result<SocketAddr, Malformed> {
    let ip = str::from_utf8(reader.bytes()?).ok().and_then(|text| text.parse::<IpAddr>().ok());
    let port = u16::try_from(reader.varint()?).map_err(|_| Malformed("a port beyond 65535"))?;
    Ok(SocketAddr::new(ip.ok_or(Malformed("an address that is none"))?, port))
}

fn put_outcome(out: &mut Vec<u8>, outcome: &Outcome) {
    match outcome {
        Outcome::Unchanged => out.push(b'u'),
        Outcome::Changed => out.push(b'c'),
        Outcome::Bumped(epoch) => {
            out.push(b'b');
            put_varint(out, epoch.0);
        }
        Outcome::StillHighest(epoch) => {
            out.push(b's');
            put_varint(out, epoch.0);
        }
        Outcome::HandingOver(id) => {
            out.push(b'h');
            out.extend_from_slice(id.as_bytes());
        }
        Outcome::StillHandingOver(id) => {
            out.push(b'o');
            out.extend_from_slice(id.as_bytes());
        }
        Outcome::All(outcomes) => {
            out.push(b'a');
            put_varint(out, outcomes.len() as u64);
            outcomes.iter().for_each(|outcome| put_outcome(out, outcome));
        }
    }
}

/// Transactions have no transactions in them, so what claims to go deeper is damaged.
fn outcome(reader: &mut Reader<'_>, depth: u32) -> Result<Outcome, Malformed> {
    Ok(match reader.byte()? {
        b'u' => Outcome::Unchanged,
        b'c' => Outcome::Changed,
        b'b' => Outcome::Bumped(ConfigEpoch(reader.varint()?)),
        b's' => Outcome::StillHighest(ConfigEpoch(reader.varint()?)),
        b'h' => Outcome::HandingOver(MigrationId::new(reader.fixed()?)),
        b'o' => Outcome::StillHandingOver(MigrationId::new(reader.fixed()?)),
        b'a' if depth == 0 => {
            let count = reader.count()?;
            Outcome::All((0..count).map(|_| outcome(reader, depth + 1)).collect::<Result<_, _>>()?)
        }
        _ => return Err(Malformed("an outcome that this version does not know")),
    })
}

#[cfg(test)]
mod tests {
    use super::super::loads::Figure;
    use super::*;
    use crate::placement::SlotLoad;
    use basalt_storage::rng::Rng;

    fn answers() -> Vec<Answer> {
        let id = MigrationId::new([9; 20]);
        let outcomes = vec![Outcome::Bumped(ConfigEpoch(300)), Outcome::HandingOver(id), Outcome::Unchanged];
        let applied = Applied { version: MapVersion(1 << 40), outcome: Outcome::All(outcomes) };
        let greeting = Greeting { node: NodeId::new([1; 20]), cluster: ClusterId(2), members: 3, mode: Mode::Cache };
        vec![
            Answer::Decided { applied: applied.clone(), map: Some(vec![]) },
            Answer::Decided { applied: Applied { outcome: Outcome::StillHandingOver(id), ..applied }, map: None },
            Answer::Refused("no".into()),
            Answer::NotLeader(None),
            Answer::NotLeader(Some(NodeId::new([8; 20]))),
            Answer::Learned(MapVersion(7)),
            Answer::Greeting(greeting),
            Answer::Accepted,
            Answer::Front(vec![4, 5]),
            Answer::Loads(figures()),
        ]
    }

    fn figures() -> Figures {
        let figure = Figure::of(SlotLoad { bytes: 1 << 20, operations: 100 });
        [0, 1, 300, 16383].map(|number| (crate::map::samples::slot(number), figure)).to_vec()
    }

    fn questions() -> Vec<Question> {
        let greeting = Greeting { node: NodeId::new([1; 20]), cluster: ClusterId(2), members: 3, mode: Mode::Durable };
        vec![
            Question::Decide(Change::BumpEpoch { node: NodeId::new([4; 20]) }),
            Question::Learn(vec![1, 2, 3]),
            Question::Greet(greeting),
            Question::Invite { address: "[::1]:17000".parse().unwrap() },
            Question::Invite { address: "10.1.2.3:65535".parse().unwrap() },
            Question::Front(vec![1, 2, 3]),
            Question::Loads,
        ]
    }

    #[test]
    fn what_is_said_comes_back_as_it_was() {
        for question in questions() {
            assert_eq!(Question::decode(&question.encode()), Ok(question));
        }
        for answer in answers() {
            assert_eq!(Answer::decode(&answer.encode()), Ok(answer));
        }
        for figures in [Figures::new(), figures()] {
            let beat = Beat { version: MapVersion(u64::MAX), figures };
            assert_eq!(Beat::decode(&beat.encode()), Ok(beat.clone()));
        }
    }

    #[test]
    fn nothing_that_is_read_does_any_harm() {
        let mut rng = Rng::seeded(1);
        let beat = Beat { version: MapVersion(300), figures: figures() };
        let (questions, answers) = (questions(), answers());
        let words = questions.iter().map(Question::encode).chain(answers.iter().map(Answer::encode));
        let all: Vec<Vec<u8>> = words.chain([beat.encode()]).collect();
        for bytes in &all {
            for len in 0..bytes.len() {
                let _ = (Question::decode(&bytes[..len]), Answer::decode(&bytes[..len]), Beat::decode(&bytes[..len]));
            }
            for _ in 0..500 {
                let mut bytes = bytes.clone();
                let place = rng.below(bytes.len() as u64) as usize;
                bytes[place] = rng.below(256) as u8;
                let _ = (Question::decode(&bytes), Answer::decode(&bytes), Beat::decode(&bytes));
            }
        }
    }
}
