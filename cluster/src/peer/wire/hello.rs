//! The hello: how two nodes find out, before anything else, whether they should talk to each other.
//!
//! The dialer sends [`MAGIC`] and its hello; the acceptor checks it, and answers with the magic and its own hello or
//! a refusal; the dialer checks that. Nothing else passes before. Whoever has no cluster yet, or wants to join
//! another, is a *stranger*: it may make calls on the control lane, and nothing else.

use bytes::Bytes;
use thiserror::Error;

use super::packet::{Malformed, take, take_u8, take_u16, take_u64};
use crate::ids::{ClusterId, Incarnation, NodeId};

/// How each direction of a connection begins. A client port of a Redis answers to the line end that it does not know
/// this command, which tells a mistyped port from one that does not answer.
pub const MAGIC: [u8; 8] = *b"BASALT\r\n";

/// The newest version of the protocol that this program speaks, and the oldest.
pub const VERSION: u16 = 1;
pub const VERSION_OLDEST: u16 = 1;

/// Whoever listens, and nobody: what stands for a node that is not known.
const ANYBODY: [u8; NodeId::BYTES] = [0; NodeId::BYTES];

/// What a connection is for. Each is a connection of its own, so that none waits for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// Heartbeats, votes, calls and their answers.
    Control = 0,
    /// Log entries.
    Append = 1,
    /// Snapshots and migrations.
    Bulk = 2,
}

pub const LANES: [Lane; 3] = [Lane::Control, Lane::Append, Lane::Bulk];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hello {
    pub version: u16,
    pub oldest: u16,
    /// None: a stranger's.
    pub cluster: Option<ClusterId>,
    pub node: NodeId,
    /// None: whoever listens there.
    pub to: Option<NodeId>,
    pub incarnation: Incarnation,
    pub lane: Lane,
}

/// What a node knows about itself when it looks at a hello.
#[derive(Clone, Copy, Debug)]
pub struct Me {
    pub cluster: ClusterId,
    pub node: NodeId,
    pub incarnation: Incarnation,
}

/// Whether the other side belongs to this cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    Member,
    /// May only call.
    Stranger,
}

/// Why a hello is not accepted. The text goes to the logs of both sides.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    #[error(
        "it speaks versions {theirs_oldest} to {theirs} of the peer protocol, here {ours_oldest} to {ours} are spoken"
    )]
    Version { theirs: u16, theirs_oldest: u16, ours: u16, ours_oldest: u16 },
    #[error("it belongs to cluster {theirs}, this node to cluster {ours}")]
    Cluster { theirs: ClusterId, ours: ClusterId },
    #[error("it is looking for node {wanted}, this is node {found}")]
    Node { wanted: NodeId, found: NodeId },
    #[error("node {node} has been started again since: it said incarnation {said}, incarnation {known} is known")]
    Incarnation { node: NodeId, said: Incarnation, known: Incarnation },
    #[error("it belongs to no cluster, and so may open no other lane than control")]
    Stranger,
    #[error("it is this node itself")]
    Myself,
    #[error("{0}")]
    Unwelcome(String),
    #[error("it does not know the `cluster-secret`")]
    Secret,
}

/// Reasons as numbers on the wire, for the document.
pub const REASONS: &[(u8, &str)] = &[
    (1, "no version of the protocol that both speak"),
    (2, "another cluster"),
    (3, "another node listens here"),
    (4, "a later start of the same node is known"),
    (5, "a stranger may only open the control lane"),
    (6, "a node has dialled itself"),
    (7, "not welcome, for a reason in the text"),
    (8, "the proof that the secret is known is wrong"),
];

impl Refusal {
    pub fn reason(&self) -> u8 {
        match self {
            Refusal::Version { .. } => 1,
            Refusal::Cluster { .. } => 2,
            Refusal::Node { .. } => 3,
            Refusal::Incarnation { .. } => 4,
            Refusal::Stranger => 5,
            Refusal::Myself => 6,
            Refusal::Unwelcome(_) => 7,
            Refusal::Secret => 8,
        }
    }
}

impl Lane {
    pub fn name(self) -> &'static str {
        match self {
            Lane::Control => "control",
            Lane::Append => "append",
            Lane::Bulk => "bulk",
        }
    }
}

impl Me {
    /// What to say to a node of the same cluster; with no cluster, what a stranger says.
    pub fn hello(&self, cluster: Option<ClusterId>, to: Option<NodeId>, lane: Lane) -> Hello {
        let Me { node, incarnation, .. } = *self;
        Hello { version: VERSION, oldest: VERSION_OLDEST, cluster, node, to, incarnation, lane }
    }

    /// The acceptor's side. Which incarnations of the node are known is a question for its caller.
    pub fn judge(&self, hello: &Hello) -> Result<Standing, Refusal> {
        judge_version(hello)?;
        if hello.node == self.node {
            return Err(Refusal::Myself);
        }
        if let Some(wanted) = hello.to.filter(|to| *to != self.node) {
            return Err(Refusal::Node { wanted, found: self.node });
        }
        match hello.cluster {
            Some(theirs) if theirs != self.cluster => Err(Refusal::Cluster { theirs, ours: self.cluster }),
            Some(_) => Ok(Standing::Member),
            None if hello.lane == Lane::Control => Ok(Standing::Stranger),
            None => Err(Refusal::Stranger),
        }
    }

    /// The dialer's side: is this answer from the node that was dialled?
    pub fn judge_answer(&self, dialled: Option<NodeId>, answer: &Hello) -> Result<(), Refusal> {
        judge_version(answer)?;
        let Some(wanted) = dialled else { return Ok(()) };
        if answer.node != wanted {
            return Err(Refusal::Node { wanted, found: answer.node });
        }
        match answer.cluster {
            Some(theirs) if theirs != self.cluster => Err(Refusal::Cluster { theirs, ours: self.cluster }),
            _ => Ok(()),
        }
    }
}

fn judge_version(hello: &Hello) -> Result<(), Refusal> {
    if hello.version < VERSION_OLDEST || hello.oldest > VERSION {
        let Hello { version: theirs, oldest: theirs_oldest, .. } = *hello;
        return Err(Refusal::Version { theirs, theirs_oldest, ours: VERSION, ours_oldest: VERSION_OLDEST });
    }
    Ok(())
}

impl Hello {
    pub(in crate::peer) fn put(&self, put: &mut impl FnMut(&[u8])) {
        put(&self.version.to_le_bytes());
        put(&self.oldest.to_le_bytes());
        put(&self.cluster.map_or(0, |cluster| cluster.0).to_le_bytes());
        put(self.node.as_bytes());
        put(self.to.as_ref().map_or(&ANYBODY, NodeId::as_bytes).as_slice());
        put(&self.incarnation.0.to_le_bytes());
        put(&[self.lane as u8]);
    }

    pub(super) fn take(from: &mut Bytes) -> Result<Hello, Malformed> {
        Ok(Hello {
            version: take_u16(from)?,
            oldest: take_u16(from)?,
            cluster: Some(take_u64(from)?).filter(|id| *id != 0).map(ClusterId),
            node: NodeId::new(take(from)?),
            to: Some(take(from)?).filter(|id| *id != ANYBODY).map(NodeId::new),
            incarnation: Incarnation(take_u64(from)?),
            lane: match take_u8(from)? {
                0 => Lane::Control,
                1 => Lane::Append,
                2 => Lane::Bulk,
                _ => return Err(Malformed("a lane that there is not")),
            },
        })
    }
}

/// What those bytes are that should have been the magic, as far as one can tell.
pub fn what_is_it(first: &[u8; 8]) -> &'static str {
    match first {
        [b'-', b'E', b'R', b'R', ..] => "the client port of a Redis or a Basalt; the peer port is another",
        [b'R', b'C', b'm', b'b', ..] => "a node of a Redis cluster",
        [b'H', b'T', b'T', b'P', ..] | [b'G', b'E', b'T', b' ', ..] | [b'P', b'O', b'S', b'T', ..] => "HTTP",
        // The first record of a side that dials, or what one that is dialled says of whoever does not speak TLS.
        [0x16 | 0x15, 3, ..] => "TLS: it has `tls-cluster yes`, and this node has `tls-cluster no`",
        [b'*' | b'$', b'0'..=b'9', ..] => "a Redis client",
        _ => "no Basalt node",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: NodeId = NodeId::new([1; 20]);
    const B: NodeId = NodeId::new([2; 20]);
    const C: NodeId = NodeId::new([3; 20]);

    fn me(node: NodeId) -> Me {
        Me { cluster: ClusterId(7), node, incarnation: Incarnation(1) }
    }

    #[test]
    fn nodes_of_one_cluster_accept_each_other() {
        let hello = me(A).hello(Some(ClusterId(7)), Some(B), Lane::Append);
        assert_eq!(me(B).judge(&hello), Ok(Standing::Member));
        let answer = me(B).hello(Some(ClusterId(7)), Some(A), Lane::Append);
        assert_eq!(me(A).judge_answer(Some(B), &answer), Ok(()));
    }

    #[test]
    fn another_cluster_node_or_version_is_refused_by_both_sides() {
        let good = me(A).hello(Some(ClusterId(7)), Some(B), Lane::Control);
        let cases = [
            (Hello { cluster: Some(ClusterId(8)), ..good }, 2),
            (Hello { to: Some(C), ..good }, 3),
            (Hello { version: VERSION + 2, oldest: VERSION + 1, ..good }, 1),
            (Hello { version: VERSION_OLDEST - 1, oldest: 0, ..good }, 1),
            (Hello { node: B, ..good }, 6),
            (Hello { cluster: None, lane: Lane::Bulk, ..good }, 5),
        ];
        for (hello, reason) in cases {
            assert_eq!(me(B).judge(&hello).unwrap_err().reason(), reason, "{hello:?}");
        }
        let answer = me(B).hello(Some(ClusterId(7)), Some(A), Lane::Control);
        let cases = [
            (Hello { cluster: Some(ClusterId(8)), ..answer }, 2),
            (Hello { node: C, ..answer }, 3),
            (Hello { oldest: VERSION + 1, version: VERSION + 1, ..answer }, 1),
        ];
        for (hello, reason) in cases {
            assert_eq!(me(A).judge_answer(Some(B), &hello).unwrap_err().reason(), reason, "{hello:?}");
        }
    }

    #[test]
    fn a_later_version_that_still_speaks_this_one_is_accepted() {
        let hello = me(A).hello(Some(ClusterId(7)), None, Lane::Control);
        let later = Hello { version: VERSION + 5, oldest: VERSION, ..hello };
        assert_eq!(me(B).judge(&later), Ok(Standing::Member));
    }

    #[test]
    fn strangers_find_whoever_listens() {
        let hello = me(A).hello(None, None, Lane::Control);
        assert_eq!(me(B).judge(&hello), Ok(Standing::Stranger));
        let answer = Hello { cluster: Some(ClusterId(99)), ..me(B).hello(None, Some(A), Lane::Control) };
        assert_eq!(me(A).judge_answer(None, &answer), Ok(()));
    }

    #[test]
    fn common_mistakes_are_named() {
        assert!(what_is_it(b"-ERR unk").contains("client port"));
        assert_eq!(what_is_it(b"GET / HT"), "HTTP");
        assert!(what_is_it(&[0x16, 3, 1, 0, 250, 1, 0, 0]).contains("tls-cluster"), "a hello");
        assert!(what_is_it(&[0x15, 3, 3, 0, 2, 2, 50, 0]).contains("tls-cluster"), "an alert");
        assert_eq!(what_is_it(&[0; 8]), "no Basalt node");
    }
}
