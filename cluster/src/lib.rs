//! Who holds what, and how copies of it agree.
//!
//! [`group`] is the unit that owns slots: a Raft group whose log carries batches of effects, which it neither reads
//! nor understands. The cluster's map, migration and placement will be further modules; data they see through the
//! keyspace's effects, commands never.

pub mod group;
pub mod ids;

pub use basalt_storage::slot::{SLOT_COUNT, Slot};
