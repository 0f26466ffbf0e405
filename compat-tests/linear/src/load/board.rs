//! Which groups of keys are in use. Few at a time, so that clients meet; each only for a while, so that its history
//! stays short enough to be checked, and for less long if answers are missing, which make the search hard.

use super::kind::Kind;
use crate::history::GroupId;
use crate::random::Random;
use std::sync::Mutex;

const OPERATIONS_MAX: u32 = 250;
const UNKNOWN_MAX: u32 = 4;

pub struct Board(Mutex<Groups>);

struct Groups {
    active: Vec<Active>,
    /// The kinds of all groups there ever were, by number.
    kinds: Vec<Kind>,
}

struct Active {
    group: GroupId,
    operations: u32,
    unknown: u32,
}

impl Board {
    pub fn new(kinds: &[Kind]) -> Board {
        let mut groups = Groups { active: Vec::new(), kinds: Vec::new() };
        for kind in kinds {
            let group = groups.begin(*kind);
            groups.active.push(group);
        }
        Board(Mutex::new(groups))
    }

    /// A group for one operation.
    pub fn draw(&self, random: &mut Random) -> (GroupId, Kind) {
        let mut groups = self.lock();
        let at = random.index(groups.active.len());
        let kind = groups.kind(groups.active[at].group);
        if groups.active[at].operations >= OPERATIONS_MAX || groups.active[at].unknown >= UNKNOWN_MAX {
            groups.active[at] = groups.begin(kind);
        }
        groups.active[at].operations += 1;
        (groups.active[at].group, kind)
    }

    /// Nobody knows what became of an operation.
    pub fn note_unknown(&self, group: GroupId) {
        if let Some(active) = self.lock().active.iter_mut().find(|active| active.group == group) {
            active.unknown += 1;
        }
    }

    /// All groups that were ever used.
    pub fn all(&self) -> Vec<(GroupId, Kind)> {
        (0..).map(GroupId).zip(self.lock().kinds.iter().copied()).collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Groups> {
        self.0.lock().expect("nobody panics with the groups in hand")
    }
}

impl Groups {
    fn begin(&mut self, kind: Kind) -> Active {
        let group = GroupId(self.kinds.len() as u32);
        self.kinds.push(kind);
        Active { group, operations: 0, unknown: 0 }
    }

    fn kind(&self, group: GroupId) -> Kind {
        self.kinds[group.0 as usize]
    }
}

/// The hash tag of a group's keys.
pub fn tag_of(group: GroupId, kind: Kind) -> String {
    format!("{}-{}", kind.name(), group.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_left_when_it_was_used_enough_or_too_much_is_unknown() {
        let board = Board::new(&[Kind::List]);
        let mut random = Random::seeded(1);
        let (first, _) = board.draw(&mut random);
        for _ in 1..OPERATIONS_MAX {
            assert_eq!(board.draw(&mut random), (first, Kind::List));
        }
        let (second, _) = board.draw(&mut random);
        assert_ne!(first, second);
        (0..UNKNOWN_MAX).for_each(|_| board.note_unknown(second));
        board.note_unknown(first);
        let (third, _) = board.draw(&mut random);
        assert_eq!(board.all(), [first, second, third].map(|group| (group, Kind::List)));
    }
}
