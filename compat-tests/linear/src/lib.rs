//! Histories of concurrent clients: making them under faults, and checking that they are linearizable.
//!
//! | module | has |
//! |---|---|
//! | `history` | what clients have done and seen |
//! | `model` | what commands should do and answer |
//! | `checker` | whether a history has an order that explains it |
//! | `client` | a client of one server or of a cluster |
//! | `load` | what clients do, and to which keys |
//! | `target`, `deployment`, `process` | the servers: one, or a cluster |
//! | `volume` | a small volume for the data of one of them |
//! | `network` | the links between the nodes of a cluster |
//! | `nemesis` | what goes wrong meanwhile |
//! | `run` | all of it together |

pub mod checker;
pub mod client;
pub mod deployment;
pub mod history;
pub mod load;
pub mod model;
pub mod nemesis;
pub mod network;
pub mod process;
pub mod random;
pub mod run;
pub mod target;
pub mod volume;
