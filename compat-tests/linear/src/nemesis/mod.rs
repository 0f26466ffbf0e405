//! What goes wrong while clients are served: from a seed, so that a run can be repeated as far as timing allows.
//!
//! At most one fault is under way at a time, and every one is mended again; only a node that has come stays for a
//! while, whatever happens meanwhile.
//!
//! | file | has |
//! |---|---|
//! | `fault` | their names, and where they are possible |
//! | `orders` | what a cluster is asked for |
//! | `visit` | the node that comes and goes |
//! | `shortage` | a volume without room |

mod fault;
mod orders;
mod shortage;
mod visit;

pub use fault::Fault;

use crate::deployment::Deployment;
use crate::network::Passage;
use crate::random::{Chance, Random};
use std::io::Result;
use std::time::{Duration, Instant};
use visit::Visit;

/// How much later things come on a slow network.
const LATE_MS: u64 = 150;

pub struct Nemesis {
    faults: Vec<Fault>,
    random: Random,
    visit: Visit,
    /// What was done, for the report.
    pub done: Vec<String>,
}

impl Nemesis {
    /// All of the faults have to be possible where they are to happen.
    pub fn new(faults: &[Fault], random: Random) -> Nemesis {
        Nemesis { faults: faults.into(), random, visit: Visit::default(), done: Vec::new() }
    }

    /// Breaks and mends until the time is over.
    pub fn run(&mut self, deployment: &mut Deployment, until: Instant) -> Result<()> {
        while Instant::now() < until {
            let calm = self.ms(200, 1500);
            std::thread::sleep(calm.min(until.saturating_duration_since(Instant::now())));
            if self.faults.is_empty() || Instant::now() >= until {
                continue;
            }
            let fault = self.faults[self.random.index(self.faults.len())];
            let victim = self.victim(deployment);
            let time = self.ms(50, 3000);
            self.done.push(format!("{} {victim} for {} ms", fault.name(), time.as_millis()));
            self.carry_out(deployment, fault, victim, time)?;
            deployment.heal()?;
            deployment.settle()?;
        }
        Ok(())
    }

    fn carry_out(&mut self, deployment: &mut Deployment, fault: Fault, victim: usize, time: Duration) -> Result<()> {
        match fault {
            Fault::Kill => {
                deployment.processes[victim].kill();
                if self.random.percent(50) == Chance::Yes {
                    std::thread::sleep(time);
                }
            }
            Fault::Pause => {
                deployment.processes[victim].pause()?;
                std::thread::sleep(time);
            }
            Fault::Behind => {
                let masters = orders::masters(deployment);
                let followers = (0..deployment.processes.len()).filter(|node| !masters.contains(node));
                let followers: Vec<usize> = followers.filter(|node| *node != victim).collect();
                followers.iter().try_for_each(|node| deployment.processes[*node].pause())?;
                // Shorter than anybody would notice.
                std::thread::sleep(self.ms(100, 500));
                deployment.processes[victim].kill();
                followers.iter().try_for_each(|node| deployment.processes[*node].resume())?;
                std::thread::sleep(time);
            }
            Fault::Cut => hold_up(deployment, time, |from, to| match from == victim || to == victim {
                true => Passage::Stalled,
                false => Passage::Open,
            }),
            Fault::OneWay => {
                let deaf = self.random.percent(50);
                hold_up(deployment, time, |from, to| match if deaf == Chance::Yes { to } else { from } == victim {
                    true => Passage::Stalled,
                    false => Passage::Open,
                });
            }
            Fault::Slow => {
                let late = self.ms(1, LATE_MS);
                hold_up(deployment, time, |_, _| Passage::Late(late));
            }
            Fault::Transfer => orders::take_over(deployment, &mut self.random),
            Fault::Move => orders::move_slots(deployment, &mut self.random),
            Fault::Drain => orders::drain(deployment, victim, time),
            Fault::Join => {
                let step = self.visit.go_on(deployment, &mut self.random)?;
                self.done.push(format!("  {step}"));
            }
            Fault::FillDisk => {
                // Now and then not even what was accepted has room.
                let room_max =
                    if self.random.percent(30) == Chance::Yes { shortage::NO_ROOM_MAX } else { shortage::ROOM_MAX };
                let room = self.random.below(room_max);
                let end = shortage::fill(deployment, victim, room, time)?;
                self.done.push(format!("  with {room} bytes left; {end}"));
            }
        }
        Ok(())
    }

    /// Mostly one that clients write to.
    fn victim(&mut self, deployment: &Deployment) -> usize {
        let count = deployment.processes.len();
        let (any, prefers) = (self.random.index(count), self.random.percent(80));
        let masters = orders::masters(deployment);
        match prefers {
            Chance::Yes if !masters.is_empty() => masters[any % masters.len()],
            _ => any,
        }
    }

    fn ms(&mut self, least: u64, most: u64) -> Duration {
        Duration::from_millis(least + self.random.below(most - least + 1))
    }
}

fn hold_up(deployment: &Deployment, time: Duration, choose: impl Fn(usize, usize) -> Passage) {
    if let Some(network) = &deployment.network {
        network.links.set(choose);
        std::thread::sleep(time);
    }
}
