//! Tests of the whole server without a network. They are one program, because each program links the server and
//! RocksDB once more; what measures its own process (`memory.rs`) is another.

mod cluster;
mod common;
mod decoder;
mod law;
mod law_threads;
mod loading;
mod residency;
