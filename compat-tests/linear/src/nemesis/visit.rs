//! A node that comes, stays for a while, and goes again, so that the number of nodes stays within bounds. Each time it
//! is another one, with an empty directory and a name of its own, at the same address.
//!
//! One step at a time: whatever else goes wrong happens between them, and so while the node joins and while it is
//! emptied.

use super::orders::{ask, id};
use crate::deployment::Deployment;
use crate::model::{Reply, Text};
use crate::random::{Chance, Random};
use std::io::Result;

/// Where the visit has got to.
#[derive(Debug, Default)]
pub enum Visit {
    #[default]
    Away,
    /// It was started with the addresses of those whom it is to join.
    Here,
    /// It was asked that it be emptied.
    Leaving(Text),
}

impl Visit {
    /// Takes the next step, if the cluster lets it; says which it was.
    pub fn go_on(&mut self, deployment: &mut Deployment, random: &mut Random) -> Result<&'static str> {
        match self {
            Visit::Away => {
                deployment.admit_guest()?;
                *self = Visit::Here;
                Ok("a node joins")
            }
            Visit::Here => Ok(self.stay_or_leave(deployment, random)),
            Visit::Leaving(name) => {
                if !is_forgotten(deployment, name) {
                    return Ok("the node that came is not empty yet");
                }
                deployment.dismiss_guest()?;
                *self = Visit::Away;
                Ok("the node that came is gone")
            }
        }
    }

    /// Slots move to a new node by themselves only after a while, which is long for a test.
    fn stay_or_leave(&mut self, deployment: &Deployment, random: &mut Random) -> &'static str {
        let Some(guest) = deployment.guest() else { unreachable!("it was admitted") };
        let Some(name) = id(deployment, guest).filter(|name| is_known(deployment, name)) else {
            return "the node that came has not joined yet";
        };
        if random.percent(50) == Chance::Yes {
            ask(deployment, 0, &["CLUSTER", "BALANCE"]);
            return "slots are spread over all nodes";
        }
        if !has_agreed(deployment, &["CLUSTER", "DRAIN", &name]) {
            return "nobody lets the node that came leave";
        }
        *self = Visit::Leaving(name);
        "the node that came is emptied"
    }
}

/// Whether a node that stays knows this one.
fn is_known(deployment: &Deployment, name: &str) -> bool {
    let shows = |reply| matches!(reply, Some(Reply::Text(nodes)) if nodes.lines().any(|line| line.starts_with(name)));
    deployment.residents().any(|node| shows(ask(deployment, node, &["CLUSTER", "NODES"])))
}

/// A node that still has something is not forgotten.
fn is_forgotten(deployment: &Deployment, name: &str) -> bool {
    has_agreed(deployment, &["CLUSTER", "FORGET", name])
}

/// Whether one of the nodes that stay has done what it was asked for.
fn has_agreed(deployment: &Deployment, words: &[&str]) -> bool {
    deployment.residents().any(|node| ask(deployment, node, words) == Some(Reply::Ok))
}
