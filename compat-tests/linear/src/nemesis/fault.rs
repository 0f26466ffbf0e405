//! The names of what can go wrong.

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
}

/// Where a fault is possible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    Anywhere,
    Cluster,
}

impl Fault {
    pub const ALL: [Fault; 9] = [
        Fault::Kill,
        Fault::Pause,
        Fault::Behind,
        Fault::Cut,
        Fault::OneWay,
        Fault::Slow,
        Fault::Transfer,
        Fault::Move,
        Fault::Drain,
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
        }
    }

    pub fn named(name: &str) -> Option<Fault> {
        Fault::ALL.into_iter().find(|fault| fault.name() == name)
    }

    pub fn scope(self) -> Scope {
        match self {
            Fault::Kill | Fault::Pause => Scope::Anywhere,
            Fault::Behind | Fault::Cut | Fault::OneWay | Fault::Slow | Fault::Transfer | Fault::Move | Fault::Drain => {
                Scope::Cluster
            }
        }
    }
}
