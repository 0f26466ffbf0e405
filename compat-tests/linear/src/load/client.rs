//! One client: a thread that sends one operation after the other and writes down what it has seen.

use super::board::{Board, tag_of};
use super::kind::Kind;
use crate::client::{Attempt, Router};
use crate::history::{ClientId, Clock, End, GroupId, Operation};
use crate::model::{Command, Name, Reply, Text};
use crate::random::Random;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Between two attempts when a node says that it cannot.
const RETRY_PAUSE: Duration = Duration::from_millis(10);

pub struct Client<'a> {
    pub id: ClientId,
    pub router: Router,
    pub clock: Clock,
    pub random: Random,
    pub board: &'a Board,
    pub history: Vec<Operation>,
    /// Attempts that were refused.
    pub refused: u64,
    /// Until an operation was answered that was tried again and again.
    pub longest_wait: Duration,
}

impl Client<'_> {
    /// Sends operations until it is told to stop, with a pause between them of `pause` on average.
    pub fn run(&mut self, stop: &AtomicBool, pause: Duration) {
        let mut number = 0;
        while !stop.load(Ordering::Relaxed) {
            number += 1;
            let (group, kind) = self.board.draw(&mut self.random);
            let unique = Text::from(format!("{}-{number}", self.id.0));
            let mut command = kind.command(&mut self.random, unique);
            if let Command::Swap(name, expected, _) = &mut command {
                let Some(found) = self.look_up(group, kind, name) else { continue };
                *expected = found;
            }
            let began = Instant::now();
            let mut tried = self.try_once(group, kind, &command);
            while tried == Tried::InVain && !stop.load(Ordering::Relaxed) {
                std::thread::sleep(RETRY_PAUSE);
                tried = self.try_once(group, kind, &command);
            }
            if tried == Tried::Answered {
                self.longest_wait = self.longest_wait.max(began.elapsed());
            }
            let pause_us = pause.as_micros() as u64;
            std::thread::sleep(Duration::from_micros(self.random.below(2 * pause_us + 1)));
        }
    }

    /// What a key holds just now; nothing if nobody says.
    fn look_up(&mut self, group: GroupId, kind: Kind, name: Name) -> Option<Option<Text>> {
        if self.try_once(group, kind, &Command::Get(name)) != Tried::Answered {
            return None;
        }
        match &self.history.last()?.end {
            End::Answered { reply: Reply::Text(text), .. } => Some(Some(text.clone())),
            End::Answered { reply: Reply::Nil, .. } => Some(None),
            End::Answered { .. } | End::Unknown => None,
        }
    }

    /// Looks once more at groups until none is left or the time is over; returns those that nobody could look at.
    pub fn look_at_all(&mut self, groups: &Mutex<Vec<(GroupId, Kind)>>, until: Instant) -> usize {
        let mut unseen = 0;
        loop {
            let next = groups.lock().expect("nobody panics with the groups in hand").pop();
            let Some((group, kind)) = next else { return unseen };
            let look = kind.last_look();
            loop {
                match self.try_once(group, kind, &look) {
                    Tried::Answered => break,
                    _ if Instant::now() > until => {
                        unseen += 1;
                        break;
                    }
                    Tried::InVain | Tried::NotAnswered | Tried::Refrained => std::thread::sleep(RETRY_PAUSE),
                }
            }
        }
    }

    fn try_once(&mut self, group: GroupId, kind: Kind, command: &Command) -> Tried {
        let (invoked, end, tried) = match self.router.attempt(&tag_of(group, kind), command) {
            Attempt::NotDone => {
                self.refused += 1;
                return Tried::InVain;
            }
            Attempt::Refrained => return Tried::Refrained,
            Attempt::Unknown { invoked } => (invoked, End::Unknown, Tried::NotAnswered),
            Attempt::Answered { invoked, reply } => {
                let end = End::Answered { at: self.clock.now(), reply: reply.normal_for(command) };
                (invoked, end, Tried::Answered)
            }
        };
        if tried == Tried::NotAnswered && command.changes() {
            self.board.note_unknown(group);
        }
        self.history.push(Operation { client: self.id, group, command: command.clone(), invoked, end });
        tried
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Tried {
    Answered,
    NotAnswered,
    /// It has not happened.
    InVain,
    /// It has not happened, because something else has.
    Refrained,
}
