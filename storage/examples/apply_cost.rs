//! What applying SET costs, in CPU time per command, by the number of commands that come in one call.
//!
//! `cargo run -p basalt-storage --example apply_cost [commands]`

use basalt_storage::effect::{Batch, DbIndex, Effect, Former, KeyEffect};
use basalt_storage::engine::{Durability, Engine, GroupId, LogIndex, LogWrite, Rocks, RocksOptions};
use basalt_storage::value::{Str, StrForm, Value};
use std::collections::HashSet;
use std::time::Duration;

const VALUE: &[u8] = &[b'x'; 64];
const GROUP: GroupId = GroupId(1);

fn main() {
    let commands = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(400_000);
    let directory = std::env::temp_dir().join(format!("apply-cost-{}", std::process::id()));
    let rocks = Rocks::open(&directory, &RocksOptions::default()).expect("a new directory");
    let engine = Engine::open(rocks.clone(), GROUP, 16).expect("an empty database");
    let mut index = 0;
    let mut known = HashSet::new();
    println!("{:>24} {:>8} {:>12} {:>12}", "keys", "a call", "apply µs", "log µs");
    for a_call in [50, 800, 5000] {
        for (name, keys) in [("new", u64::MAX), ("100,000, again", 100_000), ("1,000, again", 1000)] {
            let (mut applying, mut logging) = (Duration::ZERO, Duration::ZERO);
            let mut left = commands;
            while left > 0 {
                let count = a_call.min(left);
                left -= count;
                index += 1;
                let batches: Vec<(LogIndex, Batch)> =
                    (0..count).map(|at| (LogIndex(index), set(index * 10_007 + at, keys, &mut known))).collect();
                let entry = vec![b'e'; count as usize * 96];
                let write = LogWrite { group: GROUP, entries: &[(index, &entry)], delete_tail: 0..0, state: None };
                let start = cpu_time();
                rocks.log_write(&[write], Durability::Written).expect("room");
                let written = cpu_time();
                engine.apply(batches.into_iter()).expect("room");
                applying += cpu_time() - written;
                logging += written - start;
                if index % 64 == 0 {
                    rocks.log_compact(GROUP, index.saturating_sub(100)).expect("room");
                }
            }
            let per_command = |total: Duration| total.as_secs_f64() * 1e6 / commands as f64;
            println!("{name:>24} {a_call:>8} {:>12.2} {:>12.2}", per_command(applying), per_command(logging));
        }
    }
    drop((engine, rocks));
    std::fs::remove_dir_all(&directory).expect("made above");
}

/// The numbers are mixed, so that keys come in no order.
fn set(number: u64, keys: u64, known: &mut HashSet<u64>) -> Batch {
    let number = (number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 8) % keys;
    let key = format!("key:{number:012}").into_bytes().into();
    let former = if known.insert(number) { Former::Nothing } else { Former::Plain };
    let value = Value::Str(Str::Bytes(VALUE.into(), StrForm::Plain));
    vec![Effect::Key { db: DbIndex(0), key, change: KeyEffect::Put { value, expiry: None, former } }]
}

/// Of this thread: what RocksDB does in the background is left out.
fn cpu_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call only fills in the struct, which is ours.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    assert_eq!(result, 0, "every thread has a clock");
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
