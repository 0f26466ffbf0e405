//! List commands.
//!
//! | file | owns |
//! |---|---|
//! | `ends` | pushing and popping, waiting for an element to pop |
//! | `inside` | indices, ranges, searching, inserting, removing |
//! | `moves` | from one list to another, waiting for an element to move |

pub mod ends;
pub mod inside;
pub mod moves;
