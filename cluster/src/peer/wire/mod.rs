//! What passes between nodes, as bytes: frames, packets, hellos. Pure; whoever calls it owns the sockets.
//!
//! `docs/peer-protocol.md` describes it for those who have to read it off a wire; a test keeps it true.

pub mod frame;
pub mod hello;
pub mod packet;
pub mod pieces;
#[cfg(test)]
pub(super) mod tests;
