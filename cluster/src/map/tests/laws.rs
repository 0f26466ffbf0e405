//! Laws that hold for any changes.

use super::super::samples::{alone, change};
use super::super::{Change, ClusterMap, Outcome, Role, Roles};
use basalt_storage::rng::Rng;
use std::collections::{BTreeMap, BTreeSet};

/// Applies random changes, and after each asks everything that must hold.
#[test]
fn random_changes_keep_the_map_sound() {
    let mut applied: BTreeMap<String, [u32; 3]> = BTreeMap::new();
    for seed in 0..60 {
        let mut rng = Rng::seeded(seed);
        let mut map = alone(1);
        let mut past = Past::default();
        for _ in 0..250 {
            let change = change(&mut rng, &map);
            let before = map.clone();
            let result = map.apply(&change);
            map.check().unwrap_or_else(|broken| panic!("seed {seed}, {change:?} on {before:#?}: {broken}"));
            let figures = applied.entry(name_of(&change)).or_default();
            match &result {
                Err(_) => {
                    figures[0] += 1;
                    assert_eq!(map, before, "seed {seed}: {change:?} was refused and has changed something");
                }
                Ok(done) if map.version() == before.version() => {
                    figures[1] += 1;
                    assert_eq!(map, before, "seed {seed}: {change:?} has changed something without a version");
                    assert_eq!(done.version, map.version());
                }
                Ok(done) => {
                    figures[2] += 1;
                    assert_eq!(map.version(), before.version().next());
                    assert_eq!(done.version, map.version());
                    assert_ne!(done.outcome, Outcome::Unchanged);
                }
            }
            assert_eq!(before.clone().apply(&change), result, "seed {seed}: {change:?} depends on more than the map");
            past.look_at(&before, &map);
            let roles = Roles::of(&map);
            for (id, role) in roles.iter() {
                assert_eq!(map.role(id), Some(role), "the role of {id} depends on how it is asked for");
                assert!(role != Role::Master || map.receiving_group(id).is_some(), "{id} is a master of nothing");
                assert!(role == Role::Master || !map.leads_slots(id), "{id} is a replica and serves slots");
            }
        }
    }
    // A generator that makes only nonsense proves nothing.
    for (name, [_, _, changed]) in &applied {
        assert!(*changed > 0, "no {name} has ever changed anything: {applied:?}");
    }
}

fn name_of(change: &Change) -> String {
    let text = format!("{change:?}");
    text.split([' ', '(', '{']).next().unwrap_or_default().to_owned()
}

/// What was, and must not come again.
#[derive(Default)]
struct Past {
    replicas: BTreeMap<(u32, u64), [u8; 20]>,
    retired: BTreeSet<u32>,
}

impl Past {
    fn look_at(&mut self, before: &ClusterMap, map: &ClusterMap) {
        for (id, group) in map.groups() {
            assert!(!self.retired.contains(&id.0), "group {id} has come back");
            for replica in &group.members.replicas {
                // A number names one replica for ever: the same node, and no return once it is gone.
                let node = *replica.node.as_bytes();
                let former = self.replicas.insert((id.0, replica.id.0), node);
                assert!(former.is_none_or(|former| former == node), "a replica's number was used again");
                let was_there = before.group(*id).is_none_or(|group| group.members.replica(replica.id).is_some());
                assert!(former.is_none() || was_there, "a replica has come back");
            }
        }
        self.retired.extend(before.groups().keys().filter(|id| map.group(**id).is_none()).map(|id| id.0));
        for ((slot, was), (_, is)) in before.slots().iter().zip(map.slots().iter()) {
            let changed = was.owner != is.owner;
            assert!(is.epoch > was.epoch || (!changed && is.epoch == was.epoch), "epoch of {slot:?} did not grow");
        }
        assert!(map.current_epoch() >= before.current_epoch());
    }
}
