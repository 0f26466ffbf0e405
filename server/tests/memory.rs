//! What the server says about its memory, against what its allocator says.

#[path = "node/common/mod.rs"]
mod common;

use basalt_server::memory;
use common::TestServer;

/// One test, because the allocator's figures are those of the whole process.
#[test]
fn the_count_agrees_with_the_allocator_and_with_the_keys() {
    let mut test = TestServer::start();
    test.advance(1);
    let mut client = test.client();
    let text = |number: usize| format!("{number:0>width$}", width = 8 + number * 7 % 400);
    // The allocator counts as allocated what it keeps ready for the thread: what was freed before, not what is used.
    memory::flush_thread_cache();
    let (before, allocator_before) = (memory::used(), memory::allocator().allocated);
    for number in 0..100_000 {
        client.call(&["set", &format!("key:{number}"), &text(number)]).expect("SET does not wait");
        client.call(&["sadd", &format!("set:{}", number % 100), &text(number)]).expect("SADD does not wait");
        client.call(&["hset", &format!("hash:{}", number % 5000), &text(number % 5000), "v"]).expect("HSET answers");
    }
    memory::flush_thread_cache();
    let (grown, allocator_grown) = (memory::used() - before, memory::allocator().allocated - allocator_before);
    let off = grown.abs_diff(allocator_grown) as f64 / allocator_grown as f64;
    assert!(off < 0.01, "counted {grown}, allocated {allocator_grown}");

    let names = (0..100_000).map(|number| format!("key:{number}"));
    let names = names.chain((0..100).map(|number| format!("set:{number}")));
    let names = names.chain((0..5000).map(|number| format!("hash:{number}")));
    let usage: u64 = names
        .map(|name| client.say(&format!("memory usage {name} samples 0")))
        .map(|reply| reply[1..].trim_end().parse::<u64>().expect("an integer reply"))
        .sum();
    let tables = test.server.keyspace.overhead_bytes();
    // Usage has the share of the slot's table in it; empty slots belong to nobody.
    assert!(usage <= grown, "keys of {usage} bytes in {grown}");
    assert!(usage + tables >= grown * 98 / 100, "keys of {usage} bytes and tables of {tables} in {grown}");
}
