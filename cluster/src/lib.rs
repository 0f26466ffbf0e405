//! Who holds what, and how copies of it agree.
//!
//! A node in cache mode without a cluster has one group with one copy: evaluation is commit, so today this crate only
//! names the unit that groups own, the slot. Groups, the cluster's map, migration and placement will be its modules;
//! data they see through the keyspace's effects, commands never.

pub use basalt_storage::slot::{SLOT_COUNT, Slot};
