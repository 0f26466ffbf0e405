//! What raft-rs hands out, step by step, in the order that makes it safe; and what became of it.

use raft::Ready;
use raft::eraftpb::{Entry, EntryType, Message, MessageType};

use super::record::{self, record_of};
use super::{Action, Core, PeerMessage, WriteNumber};
use crate::group::entry::{self, CommittedEntry};
use crate::group::ids::{LogIndex, Seq, Term};
use crate::group::log::{Durability, LogWrite};
use crate::group::options::Fsync;

/// A write that is not done yet.
pub(super) struct InFlight {
    pub(super) number: WriteNumber,
    /// The last `Ready` that is persisted by it.
    ready: Option<u64>,
    /// The write of a `Ready` that is still being taken apart.
    awaits_ready: bool,
    /// Messages that must not leave before.
    held: Vec<Message>,
    compact_before: Option<LogIndex>,
    /// The snapshot that it installs.
    pub(super) installs: Option<LogIndex>,
}

/// An entry of this process's own.
pub(super) struct Proposal {
    pub(super) index: LogIndex,
    pub(super) term: Term,
    pub(super) first: Seq,
    pub(super) up_to: Seq,
    pub(super) bytes: usize,
}

impl InFlight {
    fn new(number: WriteNumber) -> InFlight {
        InFlight { number, ready: None, awaits_ready: false, held: Vec::new(), compact_before: None, installs: None }
    }

    pub(super) fn installing(number: WriteNumber, index: LogIndex) -> InFlight {
        InFlight { awaits_ready: true, installs: Some(index), ..InFlight::new(number) }
    }
}

impl Core {
    /// A write is on the disk, as far as was asked for. In the order in which they were handed out.
    pub fn on_written(&mut self, number: WriteNumber) {
        let done = self.in_flight.pop_front();
        let done = done.filter(|done| done.number == number).expect("writes end in the order in which they began");
        if let Some(ready) = done.ready {
            self.node.on_persist_ready(ready);
        }
        self.applied = self.applied.max(done.installs.unwrap_or(LogIndex(0)));
        self.tell_applied();
        // One that led when it asked for a snapshot may have one among these.
        self.send(done.held);
        self.actions.extend(done.compact_before.map(|before| Action::Compact { before }));
    }

    pub(super) fn process_ready(&mut self) {
        let mut ready = self.node.ready();
        self.give_up_proposals();
        self.note_role();
        let answers = ready.take_read_states();
        self.confirm_rounds(&answers);
        self.note_answers(&answers);
        self.note_lease();
        self.send(ready.take_messages());
        if !ready.snapshot().is_empty() {
            self.install(&ready);
        }
        let committed = ready.take_committed_entries();
        let changes_members = committed.iter().any(|entry| entry.entry_type != EntryType::EntryNormal);
        if changes_members {
            // Members must be in the state record before the state machine can have applied the entry.
            self.persist(ready);
            self.change_members(&committed);
            self.note_lease();
            self.write(LogWrite::default(), Durability::Written, None, Vec::new());
            self.commit(committed);
        } else {
            self.commit(committed);
            self.persist(ready);
        }
    }

    /// Steps 3 and 4: the write, and what waits for it. Ends raft-rs's hold on the `Ready`.
    fn persist(&mut self, mut ready: Ready) {
        let entries = ready.take_entries();
        let held = ready.take_persisted_messages();
        let (number, must_sync) = (ready.number(), ready.must_sync());
        let view = self.node.mut_store();
        let delete_tail = view.append(&entries);
        let mut is_new_term = false;
        if let Some(hard) = ready.hs() {
            let before = (view.state.term, view.state.vote);
            record::keep_hard_state(&mut view.state, hard);
            is_new_term = before != (view.state.term, view.state.vote);
        }
        self.node.advance_append_async(ready);
        for entry in &entries {
            self.size.add(LogIndex(entry.index), entry.data.len());
            // This replica may come to lead, and must not turn the clock back.
            let is_normal = entry.entry_type == EntryType::EntryNormal;
            self.time = self.time.max(if is_normal { entry::time(&entry.data) } else { None });
        }
        // The installation of a snapshot is a write by itself, and nothing else may have been asked for.
        let installation = self.in_flight.back_mut().filter(|write| write.awaits_ready);
        if let Some(installation) = installation.filter(|_| entries.is_empty()) {
            installation.ready = Some(number);
            installation.held.extend(held);
        } else if must_sync {
            // A forgotten vote or term is a second vote: that is no matter of taste.
            let may_wait = self.fsync != Fsync::Always && !is_new_term;
            let durability = if may_wait { Durability::Written } else { Durability::Synced };
            let entries = entries.iter().map(record_of).collect();
            self.write(LogWrite { entries, delete_tail, state: None }, durability, Some(number), held);
        } else if let Some(last) = self.in_flight.back_mut() {
            // Telling raft-rs that this one is persisted says so of all before it.
            last.ready = Some(number);
            last.held.extend(held);
        } else {
            self.node.on_persist_ready(number);
            self.send(held);
        }
        self.in_flight.iter_mut().for_each(|write| write.awaits_ready = false);
    }

    fn write(&mut self, mut write: LogWrite, durability: Durability, ready: Option<u64>, held: Vec<Message>) {
        let state = &self.node.store().state;
        if *state != self.written_state {
            write.state = Some(state.clone());
            self.written_state = state.clone();
        }
        self.writes += 1;
        let number = WriteNumber(self.writes);
        self.in_flight.push_back(InFlight { ready, held, ..InFlight::new(number) });
        self.actions.push_back(Action::Write { write, durability, number });
    }

    fn commit(&mut self, entries: Vec<Entry>) {
        let Some(last) = entries.last().map(|entry| LogIndex(entry.index)) else { return };
        let mut up_to = None;
        let mut committed = Vec::with_capacity(entries.len());
        for entry in entries {
            let index = LogIndex(entry.index);
            assert!(index == self.delivered.next(), "entry {index} is committed after {}", self.delivered);
            self.delivered = index;
            let is_normal = entry.entry_type == EntryType::EntryNormal;
            let payload = if is_normal { entry.data } else { Default::default() };
            let mut one = CommittedEntry::new(index, payload).expect("checked when the log was read or made");
            one.seq = self.take_proposal(index, Term(entry.term));
            up_to = one.seq.or(up_to);
            committed.push(one);
        }
        self.node.mut_store().release(last);
        self.actions.push_back(Action::Commit { up_to, entries: committed });
    }

    /// The last batch of the entry, if it is this process's own.
    fn take_proposal(&mut self, index: LogIndex, term: Term) -> Option<Seq> {
        let proposal = self.proposals.front().filter(|proposal| proposal.index == index)?;
        // Proposals of earlier terms have been given up before.
        assert!(proposal.term == term, "entry {index} of this leader was overruled while it led");
        self.uncommitted_bytes -= proposal.bytes;
        self.proposals.pop_front().map(|proposal| proposal.up_to)
    }

    /// Says that the fate of proposals is unknown which were made in a reign that is over.
    fn give_up_proposals(&mut self) {
        let (leads, term) = (self.leads(), self.term());
        let is_lost = |proposal: &&Proposal| !leads || proposal.term != term;
        let Some(first) = self.proposals.front().filter(is_lost).map(|proposal| proposal.first) else { return };
        let mut last = first;
        while let Some(proposal) = self.proposals.front().filter(is_lost) {
            last = proposal.up_to;
            self.uncommitted_bytes -= proposal.bytes;
            self.proposals.pop_front();
        }
        self.actions.push_back(Action::Unknown(first..=last));
    }

    /// Writes where the log will begin, with a sync. Only then may entries go.
    pub(super) fn truncate(&mut self, up_to: LogIndex) {
        self.node.mut_store().truncate(up_to);
        self.write(LogWrite::default(), Durability::Synced, None, Vec::new());
        let write = self.in_flight.back_mut().expect("just begun");
        write.compact_before = Some(up_to.next());
    }

    /// Tells raft-rs what is applied, as far as it knows that this is persisted.
    pub(super) fn tell_applied(&mut self) {
        let log = &self.node.raft.raft_log;
        let index = self.applied.0.min(log.persisted).min(log.committed);
        if index > log.applied {
            self.node.mut_store().note_applied(LogIndex(index));
            self.node.advance_apply_to(index);
        }
    }

    fn send(&mut self, messages: Vec<Message>) {
        self.actions.extend(messages.into_iter().map(|message| {
            let (is_snapshot, message) = (message.get_msg_type() == MessageType::MsgSnapshot, PeerMessage(message));
            if is_snapshot { Action::Ship(message) } else { Action::Send(message) }
        }));
    }
}
