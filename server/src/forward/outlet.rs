//! The way of replies from whoever fetches them to the connection of the client, with a bound on what is between.

use tokio::sync::mpsc::{Receiver, Sender, channel};

/// Pieces between the two at most.
const PIECES_MAX: usize = 2;
/// A piece is sent when it has grown to this; nothing makes it larger than this and one read.
const PIECE_BYTES: usize = 64 * 1024;

/// Bytes of replies, in order.
#[derive(Debug)]
pub struct Piece {
    pub bytes: Vec<u8>,
    pub end: Place,
}

/// Where a piece ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Place {
    #[default]
    BetweenReplies,
    /// Nothing else must come in between.
    WithinReply,
}

/// Takes replies. Gives them on when there are many, or when it is told to.
pub struct Outlet {
    sender: Sender<Piece>,
    bytes: Vec<u8>,
    end: Place,
}

impl Outlet {
    pub fn new() -> (Outlet, Receiver<Piece>) {
        let (sender, receiver) = channel(PIECES_MAX);
        (Outlet { sender, bytes: Vec::new(), end: Place::default() }, receiver)
    }

    /// Adds bytes behind which there is `end`; waits while the client is slow.
    pub async fn put(&mut self, bytes: &[u8], end: Place) {
        self.bytes.extend_from_slice(bytes);
        self.end = end;
        if self.bytes.len() >= PIECE_BYTES {
            self.send().await;
        }
    }

    /// Whether the rest of a reply must come before anything else.
    pub fn is_within_reply(&self) -> bool {
        self.end == Place::WithinReply
    }

    /// Gives on what there is.
    pub async fn flush(&mut self) {
        if !self.bytes.is_empty() {
            self.send().await;
        }
    }

    async fn send(&mut self) {
        let piece = Piece { bytes: std::mem::take(&mut self.bytes), end: self.end };
        // Without the connection nobody polls this, so it does not fail.
        let _ = self.sender.send(piece).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn much_is_given_on_at_once_and_little_when_told() {
        let (mut outlet, mut pieces) = Outlet::new();
        outlet.put(&vec![0; PIECE_BYTES], Place::WithinReply).await;
        outlet.put(b"rest", Place::BetweenReplies).await;
        let first = pieces.try_recv().expect("it is large");
        assert_eq!((first.bytes.len(), first.end), (PIECE_BYTES, Place::WithinReply));
        assert!(pieces.try_recv().is_err());
        outlet.flush().await;
        let second = pieces.try_recv().expect("it was told");
        assert_eq!((second.bytes.as_slice(), second.end), (&b"rest"[..], Place::BetweenReplies));
    }
}
