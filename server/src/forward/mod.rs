//! Any-node service: a client that knows nothing of clusters is served by whichever node it is connected to.
//!
//! A connection is *forwarded* if its listener says so (`cluster-forward`, `cluster-forward-port`) and the client has
//! not said that it follows redirections itself (CLIENT CAPA redirect). Where another client would hear MOVED or ASK,
//! the request joins the connection's [`Batch`] ([`admission`] decides), and so do those behind it that are for other
//! nodes as well. The connection then waits while [`carrier::carry`] takes the batch to the nodes that serve it, over
//! connections of the thread's [`pool`], and puts the raw replies where they belong: pipelined order is kept.
//!
//! Invariants: a request that may have changed something is never sent twice; if its fate is unknown the client's
//! connection ends. Replies pass as they come, so that what is kept of them does not grow with their size. A node never
//! passes on what another node has forwarded.
//!
//! Neighbours: who owns a slot is [`crate::cluster`]'s; the connection's part is in `net/connection/forwarding.rs`.

pub mod admission;
mod answer;
pub mod batch;
pub mod carrier;
pub mod figures;
mod ledger;
mod legs;
mod outlet;
mod pool;
mod refusal;
mod scanner;
mod upstream;
mod wait_limit;

pub use batch::Batch;
pub use carrier::UnknownFate;
pub use figures::Figures;
pub use outlet::{Outlet, Piece, Place};
