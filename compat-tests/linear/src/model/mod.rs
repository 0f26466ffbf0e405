//! A Redis small enough to be obviously right: what commands do to the keys of one group, and what they answer.
//!
//! | file | has |
//! |---|---|
//! | `command` | the commands, their words and their names of keys |
//! | `reply` | answers, in a form that can be compared |
//! | `state` | what the keys hold, and what a command makes of it |

mod command;
mod reply;
mod state;

pub use command::{Command, Name, Text};
pub use reply::Reply;
pub use state::{EARLY_MS, LATE_MS, State};
