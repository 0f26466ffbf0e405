//! CLUSTER LINKS: the connections to other nodes.

use crate::cluster::control::{Direction, Link};
use crate::resp::ReplyBuf;

pub fn links(links: &[Link], out: &mut ReplyBuf) {
    out.array(links.len());
    for link in links {
        out.map(6);
        out.bulk_str("direction");
        out.bulk_str(match link.direction {
            Direction::To => "to",
            Direction::From => "from",
        });
        out.bulk_str("node");
        out.bulk_str(&link.node.to_string());
        out.bulk_str("create-time");
        out.integer(link.created_ms);
        out.bulk_str("events");
        out.bulk_str(link.events);
        out.bulk_str("send-buffer-allocated");
        out.count(link.buffer_allocated);
        out.bulk_str("send-buffer-used");
        out.count(link.buffer_used);
    }
}
