//! How a replica gets a whole copy: what a snapshot says besides the data, which never passes through here.
//!
//! The leader's raft-rs asks for a snapshot when the log no longer reaches back far enough. It gets one without data;
//! the message that carries it is handed out as [`Action::Ship`], and the shell makes the copy of the data, completes
//! the message for the entry at which that copy was made, and sends both. One at a time, and what became of it is
//! always reported: until then raft-rs sends that replica nothing else.
//!
//! The receiver first puts the data on its disk, beside its own, and then offers the message to its core
//! ([`Core::receive_snapshot`]). If raft-rs takes it, [`Action::Install`] changes over in one step that a crash leaves
//! done or not done; only after that is anything vouched for.

use basalt_storage::clock::UnixMs;
use raft::eraftpb::{MessageType, SnapshotMetadata};
use raft::{Ready, SnapshotStatus};

use super::ready::InFlight;
use super::size::LogSize;
use super::{Action, Core, PeerMessage, WriteNumber, record};
use crate::group::ids::{LogIndex, ReplicaId, Term};
use crate::group::state::Truncated;

/// What became of a snapshot that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    Installed,
    Failed,
}

/// What becomes of a snapshot that was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// [`Action::Install`] follows.
    Install,
    /// This replica has as much already, or has another leader: the data is not needed.
    Discard,
}

/// The leader's clock is the latest of all entries that the snapshot stands for, or a later one.
struct Extra {
    members_index: LogIndex,
    time: Option<UnixMs>,
}

impl Core {
    /// Completes the message of an [`Action::Ship`] for data with everything up to `index`, which is applied. None if
    /// the log has been cut behind it meanwhile.
    pub fn describe_snapshot(&self, mut message: PeerMessage, index: LogIndex) -> Option<PeerMessage> {
        let view = self.node.store();
        let term = view.term_at(index.0).filter(|term| *term != 0)?;
        // A change of members may be known that comes after `index`. It is committed, and not made a second time.
        let extra = Extra { members_index: view.state.members_index, time: self.time };
        let snapshot = message.0.mut_snapshot();
        let meta = SnapshotMetadata { index: index.0, term, ..SnapshotMetadata::default() };
        snapshot.set_metadata(meta);
        snapshot.mut_metadata().set_conf_state(record::conf_state_of(&view.state.members));
        snapshot.data = extra.encode().into();
        Some(message)
    }

    /// What has become of a snapshot. Must be called once for each [`Action::Ship`].
    pub fn on_shipped(&mut self, to: ReplicaId, delivery: Delivery) {
        self.node.mut_store().end_shipping(to);
        let status = match delivery {
            Delivery::Installed => SnapshotStatus::Finish,
            Delivery::Failed => SnapshotStatus::Failure,
        };
        self.node.report_snapshot(to.0, status);
    }

    /// Takes the message of a snapshot whose data is on the disk.
    pub fn receive_snapshot(&mut self, message: PeerMessage) -> Verdict {
        let message = message.0;
        let meta = message.get_snapshot().get_metadata();
        let index = meta.index;
        let is_sound = message.get_msg_type() == MessageType::MsgSnapshot
            && message.to == self.me.0
            && message.from != self.me.0
            && message.term != 0
            && index != 0
            && meta.term != 0
            && Extra::decode(&message.get_snapshot().data).is_some();
        let is_busy = self.node.snap().is_some() || self.in_flight.iter().any(|write| write.installs.is_some());
        if !is_sound || is_busy {
            return Verdict::Discard;
        }
        let term = message.term;
        if let Err(error) = self.node.step(message) {
            tracing::debug!(%error, "a snapshot was ignored");
        }
        if term == self.node.raft.term {
            self.promise.renew();
        }
        self.draw_patience();
        if self.node.snap().is_some_and(|taken| taken.get_metadata().index == index) {
            Verdict::Install
        } else {
            Verdict::Discard
        }
    }

    /// raft-rs has taken a snapshot: the log and the members begin with it.
    pub(super) fn install(&mut self, ready: &Ready) {
        let meta = ready.snapshot().get_metadata();
        let extra = Extra::decode(&ready.snapshot().data).expect("checked when it was received");
        let index = LogIndex(meta.index);
        let view = self.node.mut_store();
        view.begin_at(Truncated { index, term: Term(meta.term) });
        view.state.members = record::members_of(meta.get_conf_state());
        view.state.members_index = extra.members_index;
        if let Some(hard) = ready.hs() {
            record::keep_hard_state(&mut view.state, hard);
        }
        self.written_state = view.state.clone();
        self.delivered = index;
        self.time = self.time.max(extra.time);
        self.size = LogSize::new(self.log_bytes_max);
        self.writes += 1;
        let number = WriteNumber(self.writes);
        self.in_flight.push_back(InFlight::installing(number, index));
        self.actions.push_back(Action::Install { state: self.written_state.clone(), number });
    }
}

impl Extra {
    fn encode(&self) -> Vec<u8> {
        let time = self.time.map_or(i64::MIN, |time| time.0);
        [self.members_index.0.to_be_bytes(), time.to_be_bytes()].concat()
    }

    fn decode(bytes: &[u8]) -> Option<Extra> {
        let (members_index, time) = bytes.split_first_chunk()?;
        let time = i64::from_be_bytes(time.try_into().ok()?);
        let time = (time != i64::MIN).then_some(UnixMs(time));
        Some(Extra { members_index: LogIndex(u64::from_be_bytes(*members_index)), time })
    }
}
