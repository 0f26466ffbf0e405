//! What comes to the group thread besides batches: messages of other replicas, and orders from its own node.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;

use parking_lot::Mutex;

use super::core::{Delivery, Desired, PeerMessage, TransferRefused, Verdict};
use super::ids::{LogIndex, ReplicaId};
use super::machine::SnapshotSink;
use super::options::MAILBOX_BYTES_MAX;

/// Something for the group thread to do.
pub(super) enum Order {
    Message(PeerMessage),
    Transfer {
        to: ReplicaId,
        answer: Answer<Result<(), TransferRefused>>,
    },
    Desired(Vec<(ReplicaId, Desired)>),
    Describe {
        message: PeerMessage,
        index: LogIndex,
        answer: Answer<Option<PeerMessage>>,
    },
    Shipped {
        to: ReplicaId,
        delivery: Delivery,
    },
    /// A snapshot whose data is on the disk, beside that of this replica.
    Offer {
        message: PeerMessage,
        data: Box<dyn SnapshotSink>,
        answer: Answer<Verdict>,
    },
}

#[derive(Default)]
pub(super) struct Mailbox {
    waiting: Mutex<Waiting>,
    /// Somebody wants to read, and needs the lease for it.
    pub(super) wants_lease: AtomicBool,
    /// Somebody wants to know how old this follower's state is.
    pub(super) wants_proof: AtomicBool,
}

#[derive(Default)]
struct Waiting {
    orders: VecDeque<Order>,
    message_bytes: usize,
    is_closed: bool,
}

impl Mailbox {
    /// Messages that do not fit are dropped: Raft takes them for lost. Says whether it was taken.
    pub(super) fn message(&self, message: PeerMessage, bytes: usize) -> bool {
        let mut waiting = self.waiting.lock();
        if waiting.is_closed || waiting.message_bytes + bytes > MAILBOX_BYTES_MAX {
            return false;
        }
        waiting.message_bytes += bytes;
        waiting.orders.push_back(Order::Message(message));
        true
    }

    /// Needs no bound: there are few who give orders, and most of them wait for the answer. When the group thread has
    /// ended, what is ordered is dropped, and whoever waits for an answer gets none.
    pub(super) fn order(&self, order: Order) {
        let mut waiting = self.waiting.lock();
        if !waiting.is_closed {
            waiting.orders.push_back(order);
        } else {
            // Dropping a shipment orders something itself.
            drop(waiting);
            drop(order);
        }
    }

    pub(super) fn take(&self) -> VecDeque<Order> {
        let mut waiting = self.waiting.lock();
        waiting.message_bytes = 0;
        std::mem::take(&mut waiting.orders)
    }

    /// Nobody will look again.
    pub(super) fn close(&self) {
        let mut waiting = self.waiting.lock();
        waiting.is_closed = true;
        let orders = std::mem::take(&mut waiting.orders);
        drop(waiting);
        drop(orders);
    }

    pub(super) fn want_lease(&self) {
        // Read first: many threads ask, and should not fight for the cache line.
        if !self.wants_lease.load(Ordering::Relaxed) {
            self.wants_lease.store(true, Ordering::Relaxed);
        }
    }
}

/// The way back to somebody who waits for one answer. Dropped without one, it says that there is none.
pub(super) struct Answer<T>(mpsc::Sender<T>);

/// An answer that is to come.
pub(super) struct Awaited<T>(mpsc::Receiver<T>);

/// Both ends of it.
pub(super) fn answer<T>() -> (Answer<T>, Awaited<T>) {
    let (sender, receiver) = mpsc::channel();
    (Answer(sender), Awaited(receiver))
}

impl<T> Answer<T> {
    pub(super) fn give(self, answer: T) {
        // Nobody may wait any more.
        let _ = self.0.send(answer);
    }
}

impl<T> Awaited<T> {
    /// None if whoever has to answer is gone.
    pub(super) fn wait(self) -> Option<T> {
        self.0.recv().ok()
    }
}
