//! Where the root group leads: brings the map to those who know an older one.
//!
//! A thread of its own: whoever decides something, the steward too, waits until those in reach know it.

use super::host::Node;
use super::map_cell::encoded;
use super::wire::Question;
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;

/// A map that was sent is sent again if it is not known after this time.
const RESEND: Duration = Duration::from_millis(500);

/// How long another node may take to take a map over.
const LEARN_PATIENCE: Duration = Duration::from_secs(2);

/// One round.
pub(super) fn run(node: &Arc<Node>) {
    if node.leading_root().is_none() {
        return;
    }
    let map = node.map();
    let mut question = None;
    for id in map.nodes().keys().copied().filter(|id| *id != node.me) {
        let knows = node.heard.last(id).is_some_and(|last| last.version >= map.version());
        if knows || !node.watch.may_send(id, map.version(), RESEND) {
            continue;
        }
        let question = question.get_or_insert_with(|| Bytes::from(Question::Learn(encoded(&map)).encode())).clone();
        // The node's next beat says whether it has arrived.
        drop(node.peers.call(id, question, LEARN_PATIENCE));
    }
}
