//! Who holds what, and how copies of it agree.
//!
//! [`group`] is the unit that owns slots: a Raft group whose log carries batches of effects, which it neither reads
//! nor understands. [`map`] is what all nodes know about the cluster, a pure state machine; [`placement`] says
//! how it should change; [`peer`] is how nodes talk to each other, and [`node`] one node's part in it all. None of
//! them ever sees a command.

pub mod group;
pub mod ids;
pub mod map;
pub mod node;
pub mod peer;
pub mod placement;

pub use basalt_storage::slot::{SLOT_COUNT, Slot};
