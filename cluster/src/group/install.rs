//! Receiving a snapshot: the data goes to the disk beside what is there, then the group thread changes over.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use thiserror::Error;

use super::core::{Delivery, PeerMessage, Verdict};
use super::machine::{ApplyError, SnapshotSink};
use super::mailbox::{self, Order};
use super::shared::Shared;

/// Why a snapshot is not received.
#[derive(Debug, Error)]
pub enum InstallRefused {
    #[error("this is not the header of a snapshot for this replica")]
    NotForHere,
    #[error("this replica has as much already")]
    NotNewer,
    #[error("another snapshot is being received")]
    UnderWay,
    #[error(transparent)]
    Machine(#[from] ApplyError),
}

/// A snapshot that is being received. One at a time; dropped, it leaves nothing.
pub struct Installation {
    shared: Arc<Shared>,
    message: PeerMessage,
    data: Option<Box<dyn SnapshotSink>>,
}

impl Installation {
    pub(super) fn begin(shared: &Arc<Shared>, header: &[u8]) -> Result<Installation, InstallRefused> {
        let message = message_of(shared, header).ok_or(InstallRefused::NotForHere)?;
        let index = message.snapshot_index().ok_or(InstallRefused::NotForHere)?;
        if index <= shared.progress.applied_index() {
            return Err(InstallRefused::NotNewer);
        }
        if shared.is_installing.swap(true, Ordering::AcqRel) {
            return Err(InstallRefused::UnderWay);
        }
        // From here on dropping it makes room for the next.
        let mut installation = Installation { shared: shared.clone(), message, data: None };
        installation.data = Some(shared.machine.import()?);
        Ok(installation)
    }

    /// Takes a chunk, in the order in which they were made. After an error there is no going on.
    pub fn add(&mut self, chunk: &[u8]) -> Result<(), ApplyError> {
        self.data.as_mut().map_or(Ok(()), |data| data.add(chunk))
    }

    /// All chunks are here. Waits until the change over is made, or found not to be wanted.
    pub fn finish(mut self) -> Result<Delivery, ApplyError> {
        let Some(mut data) = self.data.take() else { return Ok(Delivery::Failed) };
        data.complete()?;
        if let Some(header) = data.last_header() {
            self.message = message_of(&self.shared, &header).ok_or(ApplyError("a copy that ends strangely".into()))?;
        }
        let (answer, awaited) = mailbox::answer();
        self.shared.mailbox.order(Order::Offer { message: self.message.clone(), data, answer });
        self.shared.inbox.poke();
        Ok(match awaited.wait() {
            Some(Verdict::Install) => Delivery::Installed,
            Some(Verdict::Discard) | None => Delivery::Failed,
        })
    }
}

impl Drop for Installation {
    fn drop(&mut self) {
        self.shared.is_installing.store(false, Ordering::Release);
    }
}

fn message_of(shared: &Shared, header: &[u8]) -> Option<PeerMessage> {
    let message = PeerMessage::decode(header)?;
    (message.to() == shared.options.me && message.snapshot_index().is_some()).then_some(message)
}
