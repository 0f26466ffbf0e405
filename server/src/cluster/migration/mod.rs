//! Slots that move to another group with all their keys, while clients go on using them.
//!
//! The record in the cluster's map says how far a migration is, and its commit is the one moment at which slots change
//! their owner ([`basalt_cluster::map::Migration`]). What happens besides, and in which log it stands:
//!
//! 1. The target's log: `Arriving`. What there was of the slots is cleared away.
//! 2. The source's leader reads the slots from a snapshot of its engine, and sends them as batches of effects; then
//!    what was applied to them since ([`crate::durability::tap`]), in rounds, until the target has nearly all of it.
//!    Its leader proposes the batches to its own group. Nobody sees that, because its slots are not served there.
//! 3. The slots are not evaluated any more; requests wait. The source's log: `Sealed`, after everything that was
//!    evaluated in them. The rest is sent, and the target says that it has applied all.
//! 4. The map: the commit, which the root group refuses if the copying has begun anew meanwhile.
//! 5. The source's leader clears the slots away, the target's takes its mark off; each tells the root group.
//!
//! A thread may stand still for as long as it likes, and a node that comes to lead may know an old map: it would clear
//! away slots that have arrived. So whoever plays a part asks the root group how the map is now, in the reign in which
//! he acts ([`ground::Ground::catch_up`]), and no copying is begun twice: the target's log says which one has been.
//!
//! If anything fails before the commit was asked for, the seal is broken and the copying begins anew. Whoever becomes
//! the source's leader finds a seal in its log: it has the copying begun anew in the map first, so that the commit that
//! its predecessor may have asked for is refused, and only then breaks the seal. If the commit has come first, there is
//! nothing to take back.
//!
//! In cache mode a group has no log, and what it has is in memory: the slots are read from the keyspace and followed
//! from then on ([`basalt_storage::keyspace::follow`]), the target builds them beside what its clients see, and "in the
//! log" means "done" ([`crate::durability::memory`]). The steps, and what they guard against, are the same.
//!
//! | file | owns |
//! |---|---|
//! | `mover` | which migrations this node has a part in, and the threads that play it |
//! | `part` | playing it: what to do next, by the record |
//! | `departure` | the source's part |
//! | `arrival` | the target's part |
//! | `source` | where the source's part copies from |
//! | `way` | what passes from one to the other |
//! | `reign` | what a leader does to its group for as long as it leads |
//! | `figures` | what is counted |
//! | `ground` | what all of them need of their node; `on_node` is the real one, the simulation has another |

mod arrival;
mod departure;
mod figures;
pub mod ground;
mod mover;
mod on_node;
pub mod part;
mod reign;
mod source;
#[cfg(test)]
mod tests;
mod way;

pub use arrival::Arrivals;
pub use figures::Figures;
pub use mover::Mover;
pub use reign::Reign;
pub use source::Source;
pub use way::{Attempt, Header, Opening, take_in};

use basalt_cluster::map::Migration;
use basalt_storage::effect::{Mark, Passage};

/// What a group's log says of the slots of a migration, as of its record.
fn mark_of(migration: &Migration, passage: Passage) -> Mark {
    let slots = migration.slots.iter().map(|range| (range.first(), range.last())).collect();
    Mark { passage, name: *migration.id.as_bytes(), version: migration.changed.0, slots }
}

/// Why a part cannot be played any further at the moment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Hitch(String);

impl Hitch {
    pub fn new(why: impl std::fmt::Display) -> Hitch {
        Hitch(why.to_string())
    }
}
