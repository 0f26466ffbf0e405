//! The names of what can go wrong.

use crate::client::Sharding;
use crate::target::Target;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A node is killed, and started again at once or after a while.
    Kill,
    /// A node stands still for a while, and then goes on as if nothing had happened.
    Pause,
    /// Those that follow stand still while their master is killed, so that they have not heard of its last writes.
    Behind,
    /// A node and all others do not hear each other.
    Cut,
    /// A node does not hear the others, or they do not hear it.
    OneWay,
    /// Whatever nodes tell each other comes late.
    Slow,
    /// A follower is told to take over.
    Transfer,
    /// Slots are moved from one master to another.
    Move,
    /// A node is emptied while it serves, and after a while no more.
    Drain,
    /// A new node joins; when it is the turn of this fault again, the node is emptied, and then it goes.
    Join,
    /// Somebody else takes the room on a node's volume, and gives it back.
    FillDisk,
}

impl Fault {
    pub const ALL: [Fault; 11] = [
        Fault::Kill,
        Fault::Pause,
        Fault::Behind,
        Fault::Cut,
        Fault::OneWay,
        Fault::Slow,
        Fault::Transfer,
        Fault::Move,
        Fault::Drain,
        Fault::Join,
        Fault::FillDisk,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Fault::Kill => "kill",
            Fault::Pause => "pause",
            Fault::Behind => "behind",
            Fault::Cut => "cut",
            Fault::OneWay => "one-way",
            Fault::Slow => "slow",
            Fault::Transfer => "transfer",
            Fault::Move => "move",
            Fault::Drain => "drain",
            Fault::Join => "join",
            Fault::FillDisk => "fill-disk",
        }
    }

    pub fn named(name: &str) -> Option<Fault> {
        Fault::ALL.into_iter().find(|fault| fault.name() == name)
    }

    pub fn is_possible(self, target: Target) -> bool {
        let is_cluster = target.sharding() == Sharding::Slots;
        match self {
            Fault::Kill | Fault::Pause => true,
            Fault::Behind | Fault::Cut | Fault::OneWay | Fault::Slow | Fault::Transfer | Fault::Move => is_cluster,
            Fault::Drain | Fault::Join => is_cluster && target.is_basalt(),
            Fault::FillDisk => target.is_durable(),
        }
    }
}
