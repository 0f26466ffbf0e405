//! What must hold in every map, whatever has been applied to it.
//!
//! Tests ask after every random change; a node asks once for a map that it has been sent, since a map that is not sound
//! has been built by another version, and acting on it could cost data.

use super::{ClusterMap, Members, OpenSlot, Phase, Role, Roles, Standing};
use crate::Slot;
use crate::ids::{GroupId, NodeId};
use std::collections::BTreeSet;
use std::fmt;

/// What is wrong with a map.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the cluster's map is not sound: {0}")]
pub struct Broken(pub String);

/// Above all that is accepted from outside and then counted on from, far below where counting would end.
const COUNT_MAX: u64 = 1 << 63;

fn must(holds: bool, what: impl FnOnce() -> String) -> Result<(), Broken> {
    if holds { Ok(()) } else { Err(Broken(what())) }
}

impl ClusterMap {
    /// Whether everything fits together.
    pub fn check(&self) -> Result<(), Broken> {
        self.check_numbers()?;
        self.check_nodes()?;
        self.check_groups()?;
        self.check_slots()?;
        self.check_migrations()?;
        self.check_roles()
    }

    /// What is counted on from has room to be.
    fn check_numbers(&self) -> Result<(), Broken> {
        let members = self.groups.values().map(|group| &group.members).chain([&self.root.members]);
        let replicas = members.map(|members| members.next_replica.0);
        let slots = self.slots.iter().map(|(_, info)| info.epoch.0);
        let highest = replicas.chain(slots).chain([self.version.0, self.current_epoch.0]).max();
        must(highest <= Some(COUNT_MAX), || "a count has run away".to_owned())
    }

    fn check_nodes(&self) -> Result<(), Broken> {
        let mut epochs = BTreeSet::new();
        for (id, node) in &self.nodes {
            let leaves = node.standing == Standing::Leaving;
            must(self.groups.contains_key(&node.home) || leaves, || format!("the home of {id} is no group"))?;
            must(!self.tombstones.contains_key(id), || format!("{id} has a tombstone and is there"))?;
            must(node.epoch <= self.current_epoch, || format!("the epoch of {id} is above the highest"))?;
            must(node.epoch.0 == 0 || epochs.insert(node.epoch), || format!("the epoch of {id} is not its own"))?;
            let is_held = || self.root.members.is_on(*id) || self.groups.values().any(|group| group.members.is_on(*id));
            must(!leaves || is_held(), || format!("{id} is leaving although nothing holds it"))?;
        }
        must(self.member_count() > 0, || "there are no nodes".to_owned())
    }

    fn check_groups(&self) -> Result<(), Broken> {
        self.check_members(&"the root group", &self.root.members)?;
        let mut shards = BTreeSet::new();
        let homes = self.homes();
        let moving = self.moving_groups();
        for (id, group) in &self.groups {
            let name = format!("group {id}");
            self.check_members(&name, &group.members)?;
            must(*id != self.root.id, || format!("{name} is the root group"))?;
            must(!self.retired.contains(id), || format!("{name} is retired and there"))?;
            must(shards.insert(group.shard), || format!("the shard of {name} is not its own"))?;
            let is_preferable = match homes.get(id) {
                Some(homes) => homes.contains(&group.preferred),
                None => group.members.is_on(group.preferred),
            };
            must(is_preferable, || format!("{name} prefers {}, which is not at home there", group.preferred))?;
            let is_needed = homes.contains_key(id) || self.slots.count(*id) > 0 || moving.contains(id);
            must(is_needed, || format!("{name} is there for nothing"))?;
        }
        Ok(())
    }

    fn check_members(&self, name: &dyn fmt::Display, members: &Members) -> Result<(), Broken> {
        let replicas = &members.replicas;
        let ascend = replicas.windows(2).all(|pair| pair[0].id < pair[1].id);
        must(ascend, || format!("the replicas of {name} do not ascend"))?;
        let bounded = replicas.iter().all(|replica| replica.id.0 > 0 && replica.id < members.next_replica);
        must(bounded, || format!("{name} has a replica with a number yet to be given"))?;
        must(members.staying().any(|replica| replica.wanted == super::Wanted::Voter), || {
            format!("{name} shall have no voter")
        })?;
        let mut nodes = BTreeSet::new();
        must(members.staying().all(|replica| nodes.insert(replica.node)), || {
            format!("{name} has two replicas on one node")
        })?;
        for replica in replicas {
            let node = self.nodes.get(&replica.node);
            must(node.is_some(), || format!("{name} has a replica on {}, which is no node", replica.node))?;
            let may_stay =
                replica.wanted == super::Wanted::Leaving || node.is_some_and(|node| node.standing != Standing::Leaving);
            must(may_stay, || format!("{name} wants a replica on {}, which is leaving", replica.node))?;
        }
        let leader = members.replica(members.leader.replica);
        must(leader.is_some_and(|leader| leader.node == members.leader.node), || {
            format!("the leader of {name} is not one of its replicas")
        })?;
        must(members.wanted_since <= self.version, || format!("the wishes for {name} are from the future"))
    }

    fn check_slots(&self) -> Result<(), Broken> {
        for (owner, _) in self.slots.owners() {
            must(self.groups.contains_key(&owner), || format!("slots belong to {owner}, which is no group"))?;
        }
        let exists = |group: GroupId| self.groups.contains_key(&group);
        for (&(group, slot), open) in &self.open {
            let at = || format!("slot {} is open for {group} without sense: {open:?}", slot.number());
            let is_owner = self.slots.owner(slot) == Some(group);
            must(is_owner == matches!(open, OpenSlot::Migrating { .. }), at)?;
            must(exists(group) && exists(open.other()) && group != open.other(), at)?;
        }
        Ok(())
    }

    fn check_migrations(&self) -> Result<(), Broken> {
        let mut bound: BTreeSet<Slot> = BTreeSet::new();
        let mut whole: BTreeSet<Slot> = BTreeSet::new();
        for (id, migration) in &self.migrations {
            must(*id == migration.id, || format!("migration {id} has another's name"))?;
            must(migration.begun <= migration.changed && migration.changed <= self.version, || {
                format!("migration {id} is from the future")
            })?;
            let owner = match &migration.phase {
                Phase::Copying(_) | Phase::Aborting { .. } => migration.source,
                Phase::Finishing(_) => migration.target,
                Phase::Ended(_) => continue,
            };
            for group in [migration.source, migration.target] {
                must(self.groups.contains_key(&group), || format!("migration {id}: {group} is no group"))?;
            }
            must(migration.source != migration.target, || format!("migration {id} leads nowhere"))?;
            if migration.kind != super::MigrationKind::HandOver {
                whole.extend(migration.all_slots());
            }
            for slot in migration.all_slots() {
                let number = slot.number();
                must(bound.insert(slot), || format!("slot {number} is in two migrations"))?;
                must(self.slots.owner(slot) == Some(owner), || format!("migration {id} has lost slot {number}"))?;
            }
        }
        match self.open.keys().find(|(_, slot)| whole.contains(slot)) {
            Some((_, slot)) => Err(Broken(format!("slot {} is open and in a migration", slot.number()))),
            None => Ok(()),
        }
    }

    /// Everybody has one role, masters of replicas are masters, all slots are somebody's who is shown.
    fn check_roles(&self) -> Result<(), Broken> {
        let roles = Roles::of(self);
        let serving: BTreeSet<NodeId> =
            self.slots.owners().filter_map(|(owner, _)| Some(self.group(owner)?.members.leader.node)).collect();
        for (id, role) in roles.iter() {
            if let Role::ReplicaOf(master) = role {
                must(roles.role(master) == Some(Role::Master), || format!("the master of {id} is no master"))?;
                must(!serving.contains(&id), || format!("{id} is a replica and serves slots"))?;
            }
        }
        for (owner, _) in self.slots.owners() {
            let face = self.face(owner);
            must(face.is_some_and(|face| roles.role(face) == Some(Role::Master)), || {
                format!("the slots of {owner} are shown with nobody")
            })?;
        }
        let members = self.nodes.iter().filter(|(_, node)| node.standing != Standing::Leaving);
        must(members.clone().all(|(id, _)| roles.role(*id).is_some()), || "a member is not shown".to_owned())
    }
}
