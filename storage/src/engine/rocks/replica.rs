//! Which replicas of groups this node has, and where their records lie.
//!
//! Log and state of a replica lie under a number, its *store*, which this database gives out and never again. A group
//! that takes over another node's state gets a new store: the replica record changes from the old to the new one in
//! the same synced write that puts the log's state there. A crash leaves the one or the other, never a mixture; what
//! is left of the loser is deleted at the next start.
//!
//! The node's own record lies here too. What it says is the business of `basalt-cluster`.

use super::layout::{FAMILIES, LOG, end_of, group_property, log_state_key};
use super::open::Rocks;
use super::{corrupt, failed};
use crate::effect::wire::{Reader, put_varint};
use crate::engine::{Durability, EngineError, GroupId};
use rocksdb::WriteBatch;

const NODE: &[u8] = b"node";
const NODE_MAP: &[u8] = b"node-map";
const NEXT_STORE: &[u8] = b"next-store";
const REPLICAS: &[u8] = b"replica/";

/// The store of the one group of a node that knows no cluster, and of its home group when it joins one. The numbers
/// that are given out begin behind it.
pub const HOME_STORE: GroupId = GroupId(1);

/// A replica that this node has, or has had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplicaRecord {
    /// The group by its name in the cluster.
    pub group: u32,
    /// The highest replica of the group that was ever here.
    pub replica: u64,
    /// Where it lies; none when it was removed, which must not be forgotten: messages to it may still be on their way.
    pub store: Option<GroupId>,
}

impl ReplicaRecord {
    fn put(&self, batch: &mut WriteBatch) {
        let mut value = Vec::with_capacity(16);
        put_varint(&mut value, self.replica);
        if let Some(store) = self.store {
            put_varint(&mut value, store.0.into());
        }
        batch.put([REPLICAS, &self.group.to_be_bytes()].concat(), value);
    }
}

impl Rocks {
    /// The node's record, as it was last written.
    pub fn node_record(&self) -> Result<Option<Vec<u8>>, EngineError> {
        self.db.get(NODE).map_err(failed("reading the node's record"))
    }

    /// Replaces the node's record, and those of some replicas: all or none. They survive the loss of power when this
    /// returns.
    pub fn put_node_record(&self, record: &[u8], replicas: &[ReplicaRecord]) -> Result<(), EngineError> {
        let (mut batch, number) = self.marked_batch(record.len());
        batch.put(NODE, record);
        replicas.iter().for_each(|replica| replica.put(&mut batch));
        self.write_marked(batch, number, Durability::Synced, "writing the node's record")
    }

    /// The copy of the cluster's map that this node has kept, if any.
    pub fn node_map(&self) -> Result<Option<Vec<u8>>, EngineError> {
        self.db.get(NODE_MAP).map_err(failed("reading the node's map"))
    }

    /// Replaces the copy of the map. Not synced: an older one does as well.
    pub fn put_node_map(&self, map: &[u8]) -> Result<(), EngineError> {
        let (mut batch, number) = self.marked_batch(map.len());
        batch.put(NODE_MAP, map);
        self.write_marked(batch, number, Durability::Written, "writing the node's map")
    }

    /// Forgets who this node is and which replicas it has, in one write that survives the loss of power. What lay in
    /// their stores is lost, and deleted at the next start.
    pub fn forget_node(&self) -> Result<(), EngineError> {
        let (mut batch, number) = self.marked_batch(0);
        batch.delete(NODE);
        batch.delete(NODE_MAP);
        for replica in self.replicas()? {
            batch.delete([REPLICAS, &replica.group.to_be_bytes()].concat());
        }
        self.write_marked(batch, number, Durability::Synced, "forgetting the node's record")
    }

    /// Whether stores have been given out: what lies in the first one is then not that of a node that knows no cluster.
    pub fn has_given_out_stores(&self) -> Result<bool, EngineError> {
        Ok(self.db.get(NEXT_STORE).map_err(failed("reading the number of stores"))?.is_some())
    }

    /// All replicas, removed ones too.
    pub fn replicas(&self) -> Result<Vec<ReplicaRecord>, EngineError> {
        let mut found = Vec::new();
        let mut records = self.prefix_iterator("default", REPLICAS, None);
        records.seek_to_first();
        while let Some((key, value)) = records.item() {
            found.push(parse(&key[REPLICAS.len()..], value).map_err(corrupt("the record of a replica"))?);
            records.next();
        }
        records.status().map_err(failed("reading the records of replicas"))?;
        Ok(found)
    }

    /// Replaces the record of a replica, and with it the state of its log, if there is a new one: both or neither, and
    /// with everything that was written before. Survives the loss of power when this returns.
    pub fn put_replica(&self, record: &ReplicaRecord, log_state: Option<&[u8]>) -> Result<(), EngineError> {
        // State has no log of its own.
        self.save()?;
        let (mut batch, number) = self.marked_batch(0);
        record.put(&mut batch);
        if let (Some(store), Some(state)) = (record.store, log_state) {
            let key = log_state_key(store);
            batch.put_cf(self.family(LOG), key, super::log::with_checksum(&key, state));
        }
        self.write_marked(batch, number, Durability::Synced, "writing the record of a replica")
    }

    /// A store that nothing lies in.
    pub fn new_store(&self) -> Result<GroupId, EngineError> {
        let _one_at_a_time = self.store_numbers.lock();
        let found = self.db.get(NEXT_STORE).map_err(failed("reading the number of stores"))?;
        let next = match found.as_deref().map(<[u8; 4]>::try_from) {
            None => HOME_STORE.0 + 1,
            Some(Ok(number)) => u32::from_be_bytes(number),
            Some(Err(_)) => {
                let detail = "it is no number".to_owned();
                return Err(EngineError::Corrupt { what: "the number of stores".to_owned(), detail });
            }
        };
        let (mut batch, number) = self.marked_batch(0);
        batch.put(NEXT_STORE, (next + 1).to_be_bytes());
        // Synced before anything lies there: the number must not be given out again.
        self.write_marked(batch, number, Durability::Synced, "giving out a store")?;
        Ok(GroupId(next))
    }

    /// Deletes all that lies in a store: log, state and properties. Nothing may use it any more.
    pub fn delete_store(&self, store: GroupId) -> Result<(), EngineError> {
        let (mut batch, number) = self.marked_batch(0);
        let prefix = store.0.to_be_bytes();
        for family in FAMILIES {
            batch.delete_range_cf(self.family(family), &prefix[..], &end_of(&prefix)[..]);
        }
        let properties = group_property(store, "");
        batch.delete_range(&properties[..], &end_of(&properties)[..]);
        self.write_marked(batch, number, Durability::Written, "deleting a store")
    }

    /// Deletes the stores that were given out and belong to no replica: what a crash has left. At the start, before
    /// anything is transferred.
    pub fn delete_lost_stores(&self) -> Result<usize, EngineError> {
        let used: Vec<GroupId> = self.replicas()?.into_iter().filter_map(|replica| replica.store).collect();
        let found = self.db.get(NEXT_STORE).map_err(failed("reading the number of stores"))?;
        let end = found.and_then(|number| number.try_into().ok()).map_or(0, u32::from_be_bytes);
        // What lies in the first one is nobody's only if this is a node of a cluster.
        let begin = if self.node_record()?.is_some() { HOME_STORE.0 } else { HOME_STORE.0 + 1 };
        let is_lost = |store: &GroupId| !used.contains(store) && self.holds_anything(*store);
        let lost: Vec<GroupId> = (begin..end).map(GroupId).filter(is_lost).collect();
        lost.iter().try_for_each(|store| self.delete_store(*store))?;
        Ok(lost.len())
    }

    fn holds_anything(&self, store: GroupId) -> bool {
        let has = |family: &str, prefix: &[u8]| {
            let mut records = self.prefix_iterator(family, prefix, None);
            records.seek_to_first();
            records.valid()
        };
        FAMILIES.iter().any(|family| has(family, &store.0.to_be_bytes())) || has("default", &group_property(store, ""))
    }
}

fn parse(group: &[u8], value: &[u8]) -> Result<ReplicaRecord, crate::effect::wire::Malformed> {
    let (mut name, mut reader) = (Reader::new(group), Reader::new(value));
    let group = u32::from_be_bytes(name.fixed()?);
    let replica = reader.varint()?;
    let store = if reader.is_empty() { None } else { Some(GroupId(reader.varint()? as u32)) };
    Ok(ReplicaRecord { group, replica, store })
}
