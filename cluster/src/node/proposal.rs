//! A change of the map on its way through the root group's log: whose it is comes along, so that whoever waits for its
//! outcome hears of it, on whichever node that is.

use crate::ids::NodeId;
use crate::map::Change;
use crate::map::codec::CodecError;
use basalt_storage::effect::wire::{Reader, put_varint};

/// Names a proposal among those of one process of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    pub proposer: NodeId,
    pub ticket: Ticket,
    pub change: Change,
}

impl Proposal {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = self.proposer.as_bytes().to_vec();
        put_varint(&mut out, self.ticket.0);
        self.change.encode(&mut out);
        out
    }

    pub fn decode(bytes: &[u8]) -> Result<Proposal, CodecError> {
        let mut reader = Reader::new(bytes);
        let proposer = NodeId::new(reader.fixed()?);
        let ticket = Ticket(reader.varint()?);
        Ok(Proposal { proposer, ticket, change: Change::decode(reader.rest())? })
    }
}
