//! Slots that are open for the keywise protocol: `CLUSTER SETSLOT`, `MIGRATE`, `ASK`.
//!
//! Redis keeps this state on single nodes, and shows it in their lines. Here it belongs to a group, so that it follows
//! when another node takes the group over; the names of nodes are filled in when it is shown.

use crate::ids::GroupId;

/// What a group has opened a slot for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenSlot {
    /// It owns the slot; keys that it has not are asked for over there.
    Migrating { to: GroupId },
    /// It does not own the slot; who says ASKING is served.
    Importing { from: GroupId },
}

impl OpenSlot {
    /// The group at the other end.
    pub fn other(self) -> GroupId {
        match self {
            OpenSlot::Migrating { to } => to,
            OpenSlot::Importing { from } => from,
        }
    }
}
