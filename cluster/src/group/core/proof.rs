//! How a follower learns that what it has is not older than some moment.
//!
//! It asks the leader for its commit index (the read index of raft-rs), and notes when it *began* to ask. The leader
//! answers when a majority has confirmed, after the question came, that it still leads. So whatever had been committed
//! when the question was asked lies at or before the answer: an earlier leader's entries are in this leader's log,
//! which answers nothing before it has committed an entry of its own term, and a later leader would have kept the
//! majority from confirming. A follower that has applied up to the answer shows a state that is not older than the
//! moment at which it began to ask, by its own clock and whatever happens to anybody afterwards.
//!
//! That a leader was heard proves nothing of the kind: it may be deposed without knowing, for as long as the others'
//! promises last, and what it says of the commit index is bounded by what this replica is known to have.
//!
//! A question that gets no answer costs nothing but its place: it is asked again.

use std::collections::VecDeque;
use std::time::Duration;

use raft::eraftpb::Message;

use super::{Action, Core};
use crate::group::ids::{LogIndex, ReplicaId};

/// Questions without an answer. Older ones are given up: the answer to a later one proves more.
const QUESTIONS_MAX: usize = 8;

/// A leader drops questions beyond this: it has lost its majority, or somebody asks too much.
const PENDING_MAX: usize = 256;

/// Who asks, in which life, and which question it is: no two questions to a leader are the same, or the answer to an
/// old one might be taken for one to a new one.
const CONTEXT_BYTES: usize = 24;

pub(super) struct Questions {
    life: u64,
    asked: u64,
    open: VecDeque<Question>,
}

struct Question {
    number: u64,
    began: Duration,
}

impl Questions {
    /// `life` differs from one start of a replica to the next.
    pub(super) fn new(life: u64) -> Questions {
        Questions { life, asked: 0, open: VecDeque::new() }
    }

    fn context(&self, me: ReplicaId, number: u64) -> Vec<u8> {
        [me.0, self.life, number].map(u64::to_be_bytes).concat()
    }
}

/// Whether the questions of a message, or the answers, are such as [`Core::begin_proof`] makes.
pub(super) fn is_sound(message: &Message, asker: u64) -> bool {
    let [entry] = message.get_entries() else { return false };
    entry.data.len() == CONTEXT_BYTES && entry.data.starts_with(&asker.to_be_bytes())
}

impl Core {
    /// Begins to find out what had been committed by now; [`Action::Proven`] says it. `now` is a monotonic clock from
    /// any beginning, always the same for one core. Says whether there is somebody to be asked.
    pub fn begin_proof(&mut self, now: Duration) -> bool {
        if self.leads() || self.node.raft.leader_id == 0 {
            return false;
        }
        let questions = &mut self.questions;
        questions.asked += 1;
        questions.open.push_back(Question { number: questions.asked, began: now });
        if questions.open.len() > QUESTIONS_MAX {
            questions.open.pop_front();
        }
        let context = questions.context(self.me, questions.asked);
        self.node.read_index(context);
        true
    }

    /// Whether a question is under way.
    pub fn awaits_proof(&self) -> bool {
        !self.questions.open.is_empty()
    }

    /// Whether this replica takes questions: it leads, and answers those it has.
    pub(super) fn takes_questions(&self) -> bool {
        self.leads() && self.node.raft.pending_read_count() < PENDING_MAX
    }

    /// The leader has answered these.
    pub(super) fn note_answers(&mut self, answers: &[raft::ReadState]) {
        for answer in answers {
            let questions = &self.questions;
            let is_answered = |question: &&Question| answer.request_ctx == questions.context(self.me, question.number);
            let Some(number) = questions.open.iter().find(is_answered).map(|question| question.number) else {
                continue;
            };
            while let Some(question) = self.questions.open.pop_front() {
                if question.number == number {
                    let index = LogIndex(answer.index);
                    self.actions.push_back(Action::Proven { since: question.began, index });
                    break;
                }
            }
        }
    }
}
