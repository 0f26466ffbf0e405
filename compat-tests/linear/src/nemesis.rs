//! What goes wrong while clients are served: from a seed, so that a run can be repeated as far as timing allows.
//!
//! Every fault ends by itself; at most one is under way at a time. Links between nodes cannot be cut yet: a target
//! would have to let its peers be reached through a proxy.

use crate::client::Connection;
use crate::model::Reply;
use crate::random::{Chance, Random};
use crate::target::Deployment;
use std::io::Result;
use std::time::{Duration, Instant};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A node is killed, and started again at once or after a while.
    Kill,
    /// A node stands still for a while, and then goes on as if nothing had happened.
    Pause,
    /// Those that follow stand still while their master is killed, so that they have not heard of its last writes.
    Behind,
}

impl Fault {
    pub const ALL: [Fault; 3] = [Fault::Kill, Fault::Pause, Fault::Behind];

    pub fn name(self) -> &'static str {
        match self {
            Fault::Kill => "kill",
            Fault::Pause => "pause",
            Fault::Behind => "behind",
        }
    }

    pub fn named(name: &str) -> Option<Fault> {
        Fault::ALL.into_iter().find(|fault| fault.name() == name)
    }
}

pub struct Nemesis {
    faults: Vec<Fault>,
    random: Random,
    /// What was done, for the report.
    pub done: Vec<String>,
}

impl Nemesis {
    pub fn new(faults: Vec<Fault>, random: Random) -> Nemesis {
        Nemesis { faults, random, done: Vec::new() }
    }

    /// Breaks and mends until the time is over.
    pub fn run(&mut self, deployment: &mut Deployment, until: Instant) -> Result<()> {
        while Instant::now() < until {
            let calm = self.ms(200, 1500);
            sleep_until(until, calm);
            if self.faults.is_empty() || Instant::now() >= until {
                continue;
            }
            let fault = self.faults[self.random.index(self.faults.len())];
            let victim = self.victim(deployment);
            let time = self.ms(50, 3000);
            self.done.push(format!("{} {victim} for {} ms", fault.name(), time.as_millis()));
            match fault {
                Fault::Kill => self.kill(deployment, victim, time)?,
                Fault::Pause => {
                    deployment.processes[victim].pause()?;
                    std::thread::sleep(time);
                }
                Fault::Behind => {
                    let others = (0..deployment.processes.len()).filter(|other| *other != victim);
                    let followers: Vec<usize> =
                        others.filter(|other| is_master(deployment, *other).is_none()).collect();
                    followers.iter().try_for_each(|other| deployment.processes[*other].pause())?;
                    // Shorter than anybody would notice.
                    std::thread::sleep(self.ms(100, 500));
                    deployment.processes[victim].kill();
                    followers.iter().try_for_each(|other| deployment.processes[*other].resume())?;
                    std::thread::sleep(time);
                }
            }
            deployment.heal()?;
        }
        Ok(())
    }

    fn kill(&mut self, deployment: &mut Deployment, victim: usize, time: Duration) -> Result<()> {
        deployment.processes[victim].kill();
        if self.random.percent(50) == Chance::Yes {
            std::thread::sleep(time);
        }
        deployment.processes[victim].start()
    }

    /// Mostly one that clients write to.
    fn victim(&mut self, deployment: &Deployment) -> usize {
        let count = deployment.processes.len();
        let (any, prefers) = (self.random.index(count), self.random.percent(80));
        let masters: Vec<usize> = (0..count).filter(|node| is_master(deployment, *node).is_some()).collect();
        match prefers {
            Chance::Yes if !masters.is_empty() => masters[any % masters.len()],
            _ => any,
        }
    }

    fn ms(&mut self, least: u64, most: u64) -> Duration {
        Duration::from_millis(least + self.random.below(most - least + 1))
    }
}

/// Whether a node says that it is a master.
fn is_master(deployment: &Deployment, node: usize) -> Option<()> {
    let patience = Duration::from_millis(200);
    let mut connection = Connection::open(deployment.processes[node].address, patience).ok()?;
    let Reply::Array(role) = connection.call(&["ROLE"]).ok()? else { return None };
    (role.first()? == &Reply::Text("master".into())).then_some(())
}

fn sleep_until(end: Instant, time: Duration) {
    std::thread::sleep(time.min(end.saturating_duration_since(Instant::now())));
}
