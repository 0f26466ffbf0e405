//! Requests that other nodes answer: the connection waits while they are on their way, and takes the replies as they
//! come.

use super::{Connection, Ended};
use crate::forward::{Batch, Outlet, Piece, Place, UnknownFate, carrier};
use crate::resp::Output;
use crate::server::Server;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};
use tokio::sync::mpsc::Receiver;

/// More is not taken from other nodes while the client has so much to read.
pub(super) const FORWARDED_BACKLOG_MAX: usize = 256 * 1024;

type Carrier = Pin<Box<dyn Future<Output = Result<(), UnknownFate>> + Send>>;

/// A batch on its way. Nobody else knows of it: if this is dropped, its connections to other nodes are closed.
pub(super) struct Forwarding {
    /// Until it has ended.
    carrier: Option<Carrier>,
    result: Result<(), UnknownFate>,
    pieces: Receiver<Piece>,
    /// Where the last piece has ended.
    place: Place,
    waits_for_keys: bool,
}

/// What a batch on its way has come to.
pub(super) enum Progress {
    Piece(Piece),
    Ended(Result<(), UnknownFate>),
}

impl Forwarding {
    fn start(server: Arc<Server>, batch: Batch) -> Forwarding {
        let (outlet, pieces) = Outlet::new();
        let waits_for_keys = batch.waits_for_keys();
        let carrier: Carrier = Box::pin(carrier::carry(server, batch, outlet));
        Forwarding { carrier: Some(carrier), result: Ok(()), pieces, place: Place::default(), waits_for_keys }
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Progress> {
        if let Some(carrier) = &mut self.carrier
            && let Poll::Ready(result) = carrier.as_mut().poll(cx)
        {
            self.result = result;
            // With it goes the outlet, so that the pieces come to an end.
            self.carrier = None;
        }
        match self.pieces.poll_recv(cx) {
            Poll::Ready(Some(piece)) => Poll::Ready(Progress::Piece(piece)),
            Poll::Ready(None) => Poll::Ready(Progress::Ended(self.result)),
            Poll::Pending => Poll::Pending,
        }
    }

    /// Whether only the rest of a reply may be written now.
    pub(super) fn is_within_reply(&self) -> bool {
        self.place == Place::WithinReply
    }

    /// Whether it ends with the client, rather than being answered before.
    pub(super) fn waits_for_keys(&self) -> bool {
        self.waits_for_keys
    }
}

impl Connection {
    /// Sends on its way what was given away while requests were answered.
    pub(super) fn start_forwarding(&mut self) {
        if self.forwarding.is_none()
            && let Some(batch) = self.session.forwards.take()
        {
            let forwarding = Forwarding::start(self.server.clone(), *batch);
            self.session.client.info.is_blocked.store(forwarding.waits_for_keys, Relaxed);
            self.forwarding = Some(forwarding);
        }
    }

    pub(super) fn on_forwarded(&mut self, progress: Progress) -> Result<(), Ended> {
        match progress {
            Progress::Piece(Piece { mut bytes, end }) => {
                let mut output = Output::default();
                output.take_from(&mut bytes);
                self.out.add(output);
                if let Some(forwarding) = &mut self.forwarding {
                    forwarding.place = end;
                }
                Ok(())
            }
            Progress::Ended(Err(UnknownFate)) => Err(Ended::UnknownFate),
            Progress::Ended(Ok(())) => {
                self.forwarding = None;
                self.session.client.info.is_blocked.store(false, Relaxed);
                self.answer_input()
            }
        }
    }
}
