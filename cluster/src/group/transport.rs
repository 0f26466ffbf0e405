//! The seam between a group and the network: what carries its messages and its snapshots to other replicas.

use std::cell::Cell;
use std::sync::{Arc, Weak};

use thiserror::Error;

use super::core::{Delivery, PeerMessage};
use super::ids::{GroupId, LogIndex, ReplicaId};
use super::machine::ApplyError;
use super::mailbox::{self, Order};
use super::shared::Shared;

/// The way to the other replicas of a group.
pub trait Transport: Send + Sync {
    /// Never waits. The message may be lost, but those of one lane ([`PeerMessage::lane`]) to one replica keep their
    /// order. Raft sends again what is not answered.
    fn send(&self, group: GroupId, message: PeerMessage);

    /// Sends a whole copy. Called by the group thread, so the work is done by another: [`Shipment::export`], then what
    /// the receiver says to [`Shipment::finish`].
    fn ship(&self, group: GroupId, shipment: Shipment);
}

/// For a group whose only replica is here: there is nobody to send to.
pub struct NoTransport;

impl Transport for NoTransport {
    fn send(&self, _group: GroupId, message: PeerMessage) {
        tracing::debug!(to = message.to().0, "there is no way to another replica");
    }

    fn ship(&self, _group: GroupId, shipment: Shipment) {
        shipment.finish(Delivery::Failed);
    }
}

/// A copy of the data that another replica is to get. Whatever becomes of it, the group gets to know: also if it is
/// just dropped.
pub struct Shipment {
    shared: Weak<Shared>,
    message: PeerMessage,
    delivery: Delivery,
}

/// Why a copy was not made, or not to its end.
#[derive(Debug, Error)]
pub enum ExportError {
    #[error("the group has stopped")]
    Stopped,
    #[error("the log no longer has the entry at which the copy was made")]
    TooOld,
    #[error(transparent)]
    Machine(#[from] ApplyError),
}

impl Shipment {
    pub(super) fn new(shared: &Arc<Shared>, message: PeerMessage) -> Shipment {
        Shipment { shared: Arc::downgrade(shared), message, delivery: Delivery::Failed }
    }

    pub fn from(&self) -> ReplicaId {
        self.message.from()
    }

    pub fn to(&self) -> ReplicaId {
        self.message.to()
    }

    /// Makes the copy and hands it out in pieces. The first is the header that [`super::Group::begin_install`] wants,
    /// all others are for [`super::Installation::add`]; the last may be another header, see
    /// [`super::SnapshotSink::last_header`]. Works for as long as that takes; an error of `send` ends it.
    pub fn export(&self, send: &mut dyn FnMut(Vec<u8>) -> Result<(), ApplyError>) -> Result<(), ExportError> {
        let shared = self.shared.upgrade().ok_or(ExportError::Stopped)?;
        let index = Cell::new(LogIndex(0));
        // Not asked for under the locks of the state machine, for which the group thread may wait.
        let mut missing = None;
        let mut described = None;
        let result = shared.machine.export(&mut |applied| index.set(applied), &mut |chunk| {
            if described.is_none() {
                described = Some(index.get());
                match self.header(&shared, index.get()) {
                    Ok(header) => send(header)?,
                    Err(error) => {
                        let cause = error.to_string();
                        missing = Some(error);
                        return Err(ApplyError(cause.into()));
                    }
                }
            }
            send(chunk)
        });
        if let Some(error) = missing {
            return Err(error);
        }
        result?;
        if described.is_some_and(|described| described != index.get()) {
            send(self.header(&shared, index.get())?)?;
        }
        Ok(())
    }

    fn header(&self, shared: &Shared, index: LogIndex) -> Result<Vec<u8>, ExportError> {
        let (answer, awaited) = mailbox::answer();
        shared.mailbox.order(Order::Describe { message: self.message.clone(), index, answer });
        shared.inbox.poke();
        let described = awaited.wait().ok_or(ExportError::Stopped)?;
        described.map(|message| message.encode()).ok_or(ExportError::TooOld)
    }

    /// What the receiver said.
    pub fn finish(mut self, delivery: Delivery) {
        self.delivery = delivery;
    }
}

impl Drop for Shipment {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.upgrade() {
            shared.mailbox.order(Order::Shipped { to: self.message.to(), delivery: self.delivery });
            shared.inbox.poke();
        }
    }
}
