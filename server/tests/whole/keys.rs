//! The keys that clients use, and the slots in which they lie: all in one stripe, of which only some slots are
//! assigned, so that what a run does is about these.

use basalt_storage::slot::{Slot, StripeIndex};
use std::sync::LazyLock;

/// Slots that are assigned to somebody: the first ones.
pub const SLOTS: u16 = 24;

/// Keys of each kind.
const KEYS: usize = 8;

/// The stripe of all these slots.
pub const STRIPE: StripeIndex = match Slot::new(0) {
    Some(slot) => slot.stripe(),
    None => unreachable!(),
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A string that is overwritten, and deleted.
    Register,
    /// A number that is counted up.
    Counter,
    /// A list to which elements are added, none of them twice.
    List,
}

#[derive(Debug)]
pub struct ClientKey {
    pub name: Vec<u8>,
    pub slot: Slot,
    pub kind: Kind,
}

pub fn slot(number: u16) -> Slot {
    Slot::new(number).expect("below 16384")
}

pub fn all_slots() -> impl Iterator<Item = Slot> {
    (0..SLOTS).map(slot)
}

/// The same in every run.
pub static ALL: LazyLock<Vec<ClientKey>> = LazyLock::new(|| {
    let mut names = (0..).map(|number: u32| format!("key:{number}").into_bytes());
    let mut next = |kind| {
        let name = names.by_ref().find(|name| Slot::of_key(name).number() < SLOTS).expect("there is no end of names");
        ClientKey { slot: Slot::of_key(&name), name, kind }
    };
    [Kind::Register, Kind::Counter, Kind::List].into_iter().flat_map(|kind| [kind; KEYS]).map(&mut next).collect()
});
