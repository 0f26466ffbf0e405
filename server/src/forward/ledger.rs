//! What came of the requests of a batch, on its way to the client in the client's order.
//!
//! As long as all were executed, replies pass. Behind one that was not they are kept, so that it can be tried again
//! first; if that would be more than [`KEPT_MAX`], the client hears the error.

use super::answer::{Answered, Setback, error_reply};
use super::batch::Answer;
use super::figures::{Figures, count};
use super::outlet::{Outlet, Place};

/// Replies kept at most.
const KEPT_MAX: usize = 4 * 1024 * 1024;

pub struct Ledger<'a> {
    outlet: &'a mut Outlet,
    figures: &'a Figures,
    leftovers: Vec<Leftover>,
    /// The reply that is being read, if it must be kept.
    current: Vec<u8>,
    kept_bytes: usize,
}

/// What came of a request that the client has not heard of yet.
#[derive(Debug)]
pub enum Leftover {
    /// It was executed; this is the reply.
    Reply(Vec<u8>),
    NotExecuted(Setback),
}

impl<'a> Ledger<'a> {
    pub fn new(outlet: &'a mut Outlet, figures: &'a Figures) -> Ledger<'a> {
        Ledger { outlet, figures, leftovers: Vec::new(), current: Vec::new(), kept_bytes: 0 }
    }

    /// Takes part of a reply, behind which there is `end`.
    pub async fn put(&mut self, bytes: &[u8], end: Place) {
        if self.leftovers.is_empty() {
            return self.outlet.put(bytes, end).await;
        }
        self.current.extend_from_slice(bytes);
        self.kept_bytes += bytes.len();
        if self.kept_bytes > KEPT_MAX {
            self.give_up().await;
            let current = std::mem::take(&mut self.current);
            self.outlet.put(&current, end).await;
        }
    }

    /// Notes how a request has ended. What there was of its reply was put.
    pub async fn note(&mut self, answered: Answered, answer: Answer) {
        if let (Answered::Error(error), Answer::Wanted) = (&answered, answer) {
            self.put(&error_reply(error), Place::BetweenReplies).await;
        }
        match answered {
            Answered::NotExecuted(setback) => self.leftovers.push(Leftover::NotExecuted(setback)),
            Answered::Passed | Answered::Error(_) if self.leftovers.is_empty() => {}
            Answered::Passed | Answered::Error(_) => {
                self.leftovers.push(Leftover::Reply(std::mem::take(&mut self.current)));
            }
        }
    }

    /// Whether the client has got part of a reply, and the rest is to come.
    pub fn is_within_reply(&self) -> bool {
        self.outlet.is_within_reply()
    }

    /// What came of the last requests, from the first on that was not executed.
    pub fn leftovers(self) -> Vec<Leftover> {
        self.leftovers
    }

    async fn give_up(&mut self) {
        for leftover in std::mem::take(&mut self.leftovers) {
            match leftover {
                Leftover::Reply(reply) => self.outlet.put(&reply, Place::BetweenReplies).await,
                Leftover::NotExecuted(Setback { error, .. }) => {
                    count(&self.figures.unserved);
                    self.outlet.put(&error_reply(&error), Place::BetweenReplies).await;
                }
            }
        }
        self.kept_bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forward::Piece;
    use tokio::sync::mpsc::Receiver;

    fn received(pieces: &mut Receiver<Piece>) -> Vec<u8> {
        std::iter::from_fn(|| pieces.try_recv().ok()).flat_map(|piece| piece.bytes).collect()
    }

    async fn reply(ledger: &mut Ledger<'_>, bytes: &[u8]) {
        ledger.put(bytes, Place::BetweenReplies).await;
        ledger.note(Answered::Passed, Answer::Wanted).await;
    }

    #[tokio::test]
    async fn replies_behind_a_request_that_was_not_executed_are_kept() {
        let (mut outlet, mut pieces) = Outlet::new();
        let figures = Figures::default();
        let mut ledger = Ledger::new(&mut outlet, &figures);
        reply(&mut ledger, b":1\r\n").await;
        ledger.note(Answered::Error(b"ERR no".to_vec()), Answer::Wanted).await;
        ledger.note(Answered::NotExecuted(Setback::nobody()), Answer::Wanted).await;
        reply(&mut ledger, b":2\r\n").await;
        ledger.note(Answered::Error(b"ERR muted".to_vec()), Answer::Muted).await;
        let leftovers = ledger.leftovers();
        let replies: Vec<Option<&[u8]>> = leftovers
            .iter()
            .map(|leftover| match leftover {
                Leftover::Reply(reply) => Some(&**reply),
                Leftover::NotExecuted(_) => None,
            })
            .collect();
        assert_eq!(replies, [None, Some(&b":2\r\n"[..]), Some(&b""[..])]);
        outlet.flush().await;
        assert_eq!(received(&mut pieces), b":1\r\n-ERR no\r\n");
    }

    #[tokio::test]
    async fn too_much_is_not_kept() {
        let (mut outlet, mut pieces) = Outlet::new();
        let figures = Figures::default();
        let mut ledger = Ledger::new(&mut outlet, &figures);
        ledger.note(Answered::NotExecuted(Setback::nobody()), Answer::Wanted).await;
        ledger.put(&vec![b'x'; KEPT_MAX + 1], Place::WithinReply).await;
        assert!(ledger.is_within_reply());
        ledger.put(b"end", Place::BetweenReplies).await;
        ledger.note(Answered::Passed, Answer::Wanted).await;
        assert!(ledger.leftovers().is_empty());
        outlet.flush().await;
        let bytes = received(&mut pieces);
        assert!(bytes.starts_with(b"-CLUSTERDOWN ") && bytes.ends_with(b"xend"));
    }
}
