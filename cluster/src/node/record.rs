//! What a node must know before it has a map: who it is, and which cluster and groups it belongs to.
//!
//! Written synced at each start (the incarnation counts up) and whenever the node joins or leaves a cluster.

use crate::ids::{ClusterId, GroupId, Incarnation, NodeId};
use basalt_storage::effect::wire::{Malformed, Reader, put_bytes, put_varint};
use std::net::SocketAddr;

/// A binary that finds a higher one must not guess.
const FORMAT: u8 = 1;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeRecord {
    pub node: NodeId,
    /// Of the process that has written it.
    pub incarnation: Incarnation,
    pub cluster: ClusterId,
    pub root: GroupId,
    pub home: GroupId,
    /// Where another cluster was asked to let this node in. Whether it has is to be asked again.
    pub joining: Option<SocketAddr>,
}

impl NodeRecord {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![FORMAT];
        out.extend_from_slice(self.node.as_bytes());
        put_varint(&mut out, self.incarnation.0);
        out.extend_from_slice(&self.cluster.0.to_be_bytes());
        out.extend_from_slice(&self.root.0.to_be_bytes());
        out.extend_from_slice(&self.home.0.to_be_bytes());
        let joining = self.joining.map(|address| address.to_string()).unwrap_or_default();
        put_bytes(&mut out, joining.as_bytes());
        out
    }

    /// # Errors
    /// If these are not the bytes of a record, or those of a newer format.
    pub fn decode(bytes: &[u8]) -> Result<NodeRecord, Malformed> {
        let mut reader = Reader::new(bytes);
        if reader.byte()? != FORMAT {
            return Err(Malformed("the record of this node has a format of a newer version of Basalt"));
        }
        let record = NodeRecord {
            node: NodeId::new(reader.fixed()?),
            incarnation: Incarnation(reader.varint()?),
            cluster: ClusterId(u64::from_be_bytes(reader.fixed()?)),
            root: GroupId(u32::from_be_bytes(reader.fixed()?)),
            home: GroupId(u32::from_be_bytes(reader.fixed()?)),
            joining: match reader.bytes()? {
                [] => None,
                text => Some(address(text).ok_or(Malformed("the record of this node has an address that is none"))?),
            },
        };
        if reader.is_empty() {
            Ok(record)
        } else {
            Err(Malformed("the record of this node is longer than it should be"))
        }
    }
}

fn address(text: &[u8]) -> Option<SocketAddr> {
    str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_comes_back_and_damage_is_an_error() {
        let alone = NodeRecord {
            node: NodeId::new([7; 20]),
            incarnation: Incarnation(300),
            cluster: ClusterId(u64::MAX),
            root: GroupId(5),
            home: GroupId(6),
            joining: None,
        };
        assert_eq!(NodeRecord::decode(&alone.encode()), Ok(alone.clone()));
        let record = NodeRecord { joining: "[::1]:17000".parse().ok(), ..alone };
        let bytes = record.encode();
        assert_eq!(NodeRecord::decode(&bytes), Ok(record));
        for len in 0..bytes.len() {
            assert!(NodeRecord::decode(&bytes[..len]).is_err(), "cut at {len}");
        }
        assert!(NodeRecord::decode(&[&bytes[..], &[0]].concat()).is_err());
        assert!(NodeRecord::decode(&[&[FORMAT + 1], &bytes[1..]].concat()).is_err());
    }
}
