//! Whom this replica must not vote against, and for how long.
//!
//! A follower that hears its leader lets it serve reads from a lease (see [`super::lease`]): for one election timeout
//! it votes for nobody else. raft-rs keeps that as long as it remembers who leads. It forgets that in three cases: when
//! the process ends, when a late refusal of a preliminary vote carries a higher term, and when a candidacy of its own
//! fails. So the promise is kept here, by ticks that nothing but time takes away.
//!
//! A vote that a leader has asked for by handing over is exempt: that leader serves nothing from a lease any more.

use raft::eraftpb::{Message, MessageType};

/// How raft-rs marks the votes of a transfer.
const TRANSFER: &[u8] = b"CampaignTransfer";

pub(super) struct Promise {
    length_ticks: usize,
    left_ticks: usize,
}

impl Promise {
    /// For a replica that has heard no leader yet.
    pub(super) fn none(length_ticks: usize) -> Promise {
        Promise { length_ticks, left_ticks: 0 }
    }

    /// For a replica that was here before: it may have promised something up to the last moment.
    pub(super) fn of_a_former_run(length_ticks: usize) -> Promise {
        Promise { length_ticks, left_ticks: length_ticks }
    }

    /// The leader of this replica's term has been heard.
    pub(super) fn renew(&mut self) {
        self.left_ticks = self.length_ticks;
    }

    pub(super) fn tick(&mut self) {
        self.left_ticks = self.left_ticks.saturating_sub(1);
    }

    pub(super) fn forbids(&self, message: &Message) -> bool {
        let asks = matches!(message.get_msg_type(), MessageType::MsgRequestVote | MessageType::MsgRequestPreVote);
        asks && self.left_ticks > 0 && message.context != TRANSFER
    }
}
