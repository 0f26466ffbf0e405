//! RESP on the wire: requests in, replies out. Pure: bytes to arguments, values to bytes.
//!
//! RESP types stay in this crate; nothing below the server knows them.

pub mod args;
pub mod batch;
pub mod decode;
pub mod output;
pub mod reply;

pub use args::{Args, OwnedArgs};
pub use output::Output;
pub use reply::{Protocol, ReplyBuf};
