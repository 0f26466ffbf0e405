//! The form of changes. Tags are never given to another change.

use super::parts::{Wire, choice, record};
use crate::map::{
    Address, AutoBalance, Change, Failure, Force, Health, Job, Joining, MigrationKind, Removal, ReplicaStatus, Report,
    Settings, Side, SlotClaim, Stage, Wanted,
};
use basalt_storage::effect::wire::{Malformed, Reader, put_varint};

/// The tag of a transaction, which only stands at the beginning: so no bytes can make the reader descend deeper.
const ALL: u8 = 0;

pub(super) fn put_change(change: &Change, out: &mut Vec<u8>) {
    change.put(out);
}

pub(super) fn read_change(reader: &mut Reader<'_>) -> Result<Change, Malformed> {
    let mut ahead = *reader;
    if ahead.byte()? != ALL {
        return Change::read(reader);
    }
    *reader = ahead;
    let count = reader.count()?;
    (0..count).map(|_| Change::read(reader)).collect::<Result<Vec<Change>, Malformed>>().map(Change::All)
}

fn put_all(change: &Change, out: &mut Vec<u8>) {
    let Change::All(changes) = change else { return };
    out.push(ALL);
    put_varint(out, changes.len() as u64);
    changes.iter().for_each(|change| change.put(out));
}

choice!(Change {
    1: AssignSlots { node, slots },
    2: UnassignSlots { node, slots },
    3: FlushSlots { node },
    4: ForceOwn { node, slot },
    5: OpenMigrating { node, slot, to },
    6: OpenImporting { node, slot, from },
    7: CloseSlot { node, slot },
    8: GiveSlot { node, slot, to, id, at },
    9: BumpEpoch { node },
    10: SetConfigEpoch { node, epoch },
    11: Register { node, incarnation, address, zone },
    12: SetHealth { node, health },
    13: Drain { node, removal },
    14: Forget { node, target },
    15: Leave { node },
    16: Replicate { node, master },
    17: Failover { node, force },
    18: LeaderChanged { group, replica, term },
    19: ReportReplicas { group, report },
    20: AddReplica { group, node, wanted },
    21: RemoveReplica { group, replica },
    22: RestartReplica { group, node },
    23: Refound { group, node },
    24: SetPreferred { group, node },
    25: BeginMigrations { jobs, at },
    26: ReportStage { id, stage, at },
    27: CommitMigration { id, seen, at },
    28: AbortMigration { id, why, at },
    29: FinishMigration { id, side, seen, at },
    32: RestartMigration { id, at },
} holding {
    30: Join,
    31: Configure,
} except { Change::All(_) => put_all });

record!(Joining { node, incarnation, address, zone, epoch, home, shard, replica, term, claims, mode });
record!(SlotClaim { slots, epoch });
record!(Report { term, seen, present });
record!(Job { id, kind, slots, from, to });
record!(Address { ip, port, tls_port, peer_port, hostname });
record!(Settings { replicas, repair_delay_ms, node_timeout_ms, auto_balance, migration_max_bytes_per_second });

choice!(Health { 0: Up {}, 1: Failed { since } });
choice!(Removal { 0: Wanted {}, 1: NotWanted {} });
choice!(Force { 0: HandOver {}, 1: Campaign {} });
choice!(Wanted { 0: Voter {}, 1: Learner {}, 2: Leaving {} });
choice!(ReplicaStatus { 0: Planned {}, 1: Learner {}, 2: Voter {} });
choice!(MigrationKind { 0: FromSource {}, 1: ToTarget {}, 2: Balancing {}, 3: HandOver {} });
choice!(Stage { 0: Starting {}, 1: Snapshot {}, 2: Tail {}, 3: Sealed {} });
choice!(Side { 0: Source {}, 1: Target {} });
choice!(Failure { 0: Cancelled {} } holding { 1: Failed });
choice!(AutoBalance { 0: No {}, 1: Yes {} });
