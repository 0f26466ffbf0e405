//! What Redis clients see of Basalt: the protocol, the commands and the process around them.

pub mod algorithms;
