//! The form of a whole map. The table of slots is written as runs of equal owner and epoch.

use super::parts::{Wire, choice, read_run_len, record};
use crate::map::{
    ClusterMap, Ending, GroupInfo, Leader, Members, Migration, NodeInfo, OpenSlot, Part, Phase, ReplicaInfo, RootGroup,
    Sides, SlotInfo, SlotTable, Standing, Tombstone,
};
use crate::{SLOT_COUNT, Slot};
use basalt_storage::effect::wire::{Malformed, Reader, put_varint};
use std::sync::Arc;

record!(ClusterMap {
    cluster_id,
    version,
    current_epoch,
    root,
    nodes,
    groups,
    slots,
    open,
    migrations,
    tombstones,
    retired,
    settings,
    mode,
});
record!(RootGroup { id, members });
record!(NodeInfo { address, incarnation, home, zone, health, standing, epoch });
record!(Tombstone { incarnation });
record!(GroupInfo { shard, members, preferred });
record!(Members { replicas, next_replica, leader, wanted_since });
record!(ReplicaInfo { id, node, wanted, status });
record!(Leader { replica, node, term });
record!(SlotInfo { owner, epoch });
record!(Migration { id, kind, slots, source, target, phase, begun, changed, created_at, updated_at });
record!(Sides { source, target });

choice!(Standing { 0: Member {}, 1: Draining {}, 2: Leaving {} });
choice!(OpenSlot { 0: Migrating { to }, 1: Importing { from } });
choice!(Phase { 0: Aborting { why, sides } } holding { 1: Copying, 2: Finishing, 3: Ended });
choice!(Part { 0: Due {}, 1: Done {} });
choice!(Ending { 0: Done {} } holding { 1: NotDone });

impl Wire for SlotTable {
    fn put(&self, out: &mut Vec<u8>) {
        let slots: Vec<SlotInfo> = self.iter().map(|(_, info)| info).collect();
        let runs: Vec<&[SlotInfo]> = slots.chunk_by(|one, next| one == next).collect();
        put_varint(out, runs.len() as u64);
        for run in runs {
            put_varint(out, run.len() as u64);
            run[0].put(out);
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<SlotTable, Malformed> {
        let mut slots = [SlotInfo::default(); SLOT_COUNT];
        let mut done = 0;
        for _ in 0..reader.count()? {
            let len = read_run_len(reader, done)?;
            slots[done..done + len].fill(SlotInfo::read(reader)?);
            done += len;
        }
        if done != SLOT_COUNT {
            return Err(Malformed("fewer slots than there are"));
        }
        Ok(SlotTable::from_slots(Arc::new(slots)))
    }
}

/// Slots are counted on from here; the form assumes that they are as many as it was made for.
const _: () = assert!(Slot::BITS == 14);
