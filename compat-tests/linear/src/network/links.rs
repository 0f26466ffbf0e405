//! What may pass from whom to whom, at the moment.

use std::sync::atomic::AtomicU64;
use std::sync::{Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passage {
    Open,
    Stalled,
    /// Everything passes so much later.
    Late(Duration),
}

/// One passage for each ordered pair of nodes.
pub struct Links {
    nodes: usize,
    passages: Mutex<Vec<Passage>>,
    change: Condvar,
    /// Connections that went through here.
    pub carried: AtomicU64,
}

impl Links {
    pub fn of(nodes: usize) -> Links {
        let passages = Mutex::new(vec![Passage::Open; nodes * nodes]);
        Links { nodes, passages, change: Condvar::new(), carried: AtomicU64::new(0) }
    }

    /// Chooses anew for every pair.
    pub fn set(&self, choose: impl Fn(usize, usize) -> Passage) {
        let mut passages = self.lock();
        for (index, passage) in passages.iter_mut().enumerate() {
            *passage = choose(index / self.nodes, index % self.nodes);
        }
        self.change.notify_all();
    }

    /// Until what has been sent arrives.
    pub fn wait(&self, from: usize, to: usize) {
        let mut passages = self.lock();
        loop {
            match passages[from * self.nodes + to] {
                Passage::Open => return,
                Passage::Stalled => {
                    passages = self.change.wait(passages).expect("nobody panics with the passages in hand");
                }
                Passage::Late(time) => {
                    drop(passages);
                    return thread::sleep(time);
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Passage>> {
        self.passages.lock().expect("nobody panics with the passages in hand")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stalled_passage_stalls_one_way_until_it_is_mended() {
        let links = Links::of(2);
        links.set(|from, _| if from == 0 { Passage::Stalled } else { Passage::Open });
        links.wait(1, 0);
        thread::scope(|scope| {
            let waiting = scope.spawn(|| links.wait(0, 1));
            links.set(|_, _| Passage::Open);
            waiting.join().expect("it passes in the end");
        });
    }
}
