//! The state of a replica: the cluster's map, or a keyspace with what the group remembers of slots on their way.
//!
//! Real ones, but for the engine: what would lie in RocksDB is a keyspace in memory, and as bytes a batch that builds
//! it.

use basalt_cluster::group::CommittedEntry;
use basalt_cluster::ids::NodeId;
use basalt_cluster::map::{Applied, ClusterMap, Refusal};
use basalt_cluster::node::{Proposal, Ticket};
use basalt_storage::clock::UnixMs;
use basalt_storage::effect::{Batch, DbIndex, Effect, Former, KeyEffect, Mark, Passage, decode, encode};
use basalt_storage::keyspace::Keyspace;
use basalt_storage::slot::{Slot, SlotSet, StripeSet};
use std::sync::Arc;

use crate::keys::STRIPE;

pub const DB: DbIndex = DbIndex(0);

pub enum Machine {
    /// None before the first snapshot of a replica that was added later.
    Map(Option<Arc<ClusterMap>>),
    Data(Box<Data>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Map,
    Data,
}

/// Who has asked for a change, and what has become of it.
pub type Verdict = (NodeId, Ticket, Result<Applied, Refusal>);

impl Machine {
    pub fn load(kind: Kind, bytes: &[u8]) -> Machine {
        match kind {
            Kind::Map => {
                let map = (!bytes.is_empty()).then(|| ClusterMap::decode(bytes).expect("nothing damages it"));
                Machine::Map(map.map(Arc::new))
            }
            Kind::Data => Machine::Data(Box::new(Data::load(bytes))),
        }
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Machine::Map(Some(map)) => map.encode(&mut out),
            Machine::Map(None) => (),
            Machine::Data(data) => encode(&data.as_batch(), &mut out),
        }
        out
    }

    pub fn apply(&mut self, entry: &CommittedEntry) -> Vec<Verdict> {
        match self {
            Machine::Map(map) => {
                let mut next = ClusterMap::clone(map.as_ref().expect("a snapshot comes first"));
                let decide = |bytes| {
                    let Proposal { proposer, ticket, change } = Proposal::decode(bytes).expect("nothing damages it");
                    (proposer, ticket, next.apply(&change))
                };
                let verdicts = entry.batches().map(decide).collect();
                *map = Some(Arc::new(next));
                verdicts
            }
            Machine::Data(data) => {
                entry.batches().for_each(|bytes| data.apply(decode(bytes).expect("nothing damages it")));
                Vec::new()
            }
        }
    }

    pub fn data(&self) -> Option<&Data> {
        match self {
            Machine::Data(data) => Some(data),
            Machine::Map(_) => None,
        }
    }
}

pub struct Data {
    keyspace: Keyspace,
    marks: Vec<Mark>,
    /// The newest version of the map by which slots were ever sealed.
    pub sealed_version: u64,
}

impl Data {
    fn load(bytes: &[u8]) -> Data {
        let mut data = Data { keyspace: Keyspace::new(1), marks: Vec::new(), sealed_version: 0 };
        if !bytes.is_empty() {
            data.apply(decode(bytes).expect("nothing damages it"));
        }
        data
    }

    fn apply(&mut self, batch: Batch) {
        for effect in &batch {
            match effect {
                Effect::Mark(mark) => {
                    self.forget(mark.passage, &mark.name);
                    if mark.passage == Passage::Sealed {
                        self.sealed_version = self.sealed_version.max(mark.version);
                    }
                    // One without slots is of the newest seal that a snapshot has seen.
                    self.marks.extend((!mark.slots.is_empty()).then(|| mark.clone()));
                }
                Effect::Unmark { passage, name } => self.forget(*passage, name),
                _ => (),
            }
        }
        self.keyspace.apply(batch, UnixMs(0));
    }

    fn forget(&mut self, passage: Passage, name: &[u8; Mark::NAME_BYTES]) {
        self.marks.retain(|mark| mark.passage != passage || mark.name != *name);
    }

    fn as_batch(&self) -> Batch {
        let mut marks = self.marks.clone();
        marks.sort_by_key(|mark| (mark.name, mark.passage as u8));
        let (passage, name, version) = (Passage::Sealed, [0; Mark::NAME_BYTES], self.sealed_version);
        marks.push(Mark { passage, name, version, slots: Vec::new() });
        self.entries(|_| true).into_iter().chain(marks.into_iter().map(Effect::Mark)).collect()
    }

    /// What there is of some slots, by keys, as effects that build it anew.
    pub fn entries(&self, is_meant: impl Fn(Slot) -> bool) -> Batch {
        let mut entries = Vec::new();
        let view = self.keyspace.lock(StripeSet::of(STRIPE), UnixMs(0));
        view.for_each_entry(DB, |entry| {
            if is_meant(Slot::of_key(entry.key())) {
                entries.push((entry.key().to_vec(), entry.to_value(), entry.expiry()));
            }
        });
        entries.sort_by(|one, other| one.0.cmp(&other.0));
        let put = |(key, value, expiry): (Vec<u8>, _, _)| {
            let change = KeyEffect::Put { value, expiry, former: Former::Unknown };
            Effect::Key { db: DB, key: key.into(), change }
        };
        entries.into_iter().map(put).collect()
    }

    pub fn has_keys(&self, slot: Slot) -> bool {
        self.keyspace.lock(StripeSet::of(STRIPE), UnixMs(0)).slot_len(DB, slot) > 0
    }

    pub fn marks(&self) -> &[Mark] {
        &self.marks
    }

    pub fn marked(&self, passage: Passage) -> SlotSet {
        self.marks.iter().filter(|mark| mark.passage == passage).flat_map(Mark::all_slots).collect()
    }
}
