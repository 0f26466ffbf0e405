//! A node's own part in its cluster.
//!
//! | file | owns |
//! |---|---|
//! | `host` | the node: founding, starting again, running what the map says |
//! | `record` | what a node must know before it has a map |
//! | `map_cell` | the newest map that it knows |
//! | `map_machine` | the root group's state machine: the map, on disk and in memory |
//! | `proposal` | a change of the map on its way through the root group's log |
//! | `decide` | how a change is decided: here, or by another node |
//! | `reports` | what the root group is told of this node and of the groups that it leads |
//! | `anew` | replicas in memory whose process has ended: their groups begin anew |
//! | `handover` | giving the lead to whom it belongs, or away before a stop |
//! | `steward`, `courier`, `watch`, `heard` | what the root group's leader does for all nodes |
//! | `loads` | what slots cost, measured here and heard of others |
//! | `meeting` | how nodes that were alone become one cluster |
//! | `wire` | what nodes ask each other |
//! | `ears` | what other nodes say to this one |
//! | `carrier` | what passes between replicas of a group |
//! | `hosted`, `place` | the replicas that run here, and where they lie |
//! | `bell` | waking the node's threads |

mod anew;
mod bell;
mod carrier;
mod courier;
mod decide;
mod ears;
mod handover;
mod heard;
mod host;
mod hosted;
mod loads;
mod map_cell;
mod map_machine;
mod meeting;
mod place;
mod proposal;
mod record;
mod reports;
mod steward;
#[cfg(test)]
mod tests;
mod watch;
mod wire;

pub use anew::EmptiedSlots;
pub use decide::{Decision, has_log};
pub use host::{Hosting, Medium, Node, NodeError, NodeOptions, Stage, desired};
pub use hosted::{Hosted, HostedReplicas};
pub use map_machine::MapError;
pub use meeting::{MeetError, Seeds};
pub use place::{Place, StoreId};
pub use proposal::{Proposal, Ticket};
pub use reports::about_group;
