//! The law with several threads: batches come in the order of evaluation whatever the threads do at once.
//!
//! As in `law.rs`, applying the recorded batches must give the same keyspace; here the commands are evaluated on
//! several threads without any order among them but that of the locks. What each thread sends follows from its seed;
//! how they meet does not, so a failure shows itself again only by repetition.

use crate::common::grammar::{Grammar, World};
use crate::common::{TestClient, TestServer, image};
use basalt_storage::clock::UnixMs;
use basalt_storage::effect::Batch;
use basalt_storage::keyspace::{BatchSink, Keyspace};
use basalt_storage::rng::Rng;
use basalt_storage::seq::Seq;
use std::sync::{Arc, Barrier, Mutex};

const THREADS: u64 = 4;
const ROUNDS: usize = 20;
/// Commands of one thread in a round; between rounds the two keyspaces are compared.
const COMMANDS: usize = 2000;

#[derive(Default)]
struct Recorder(Mutex<Vec<Batch>>);

impl BatchSink for Recorder {
    fn propose(&self, batch: Batch) -> Seq {
        self.0.lock().expect("no holder panics").push(batch);
        // Committed as soon as it is recorded: with a place in the order, the answers to clients that it unblocks would
        // wait at the gate for a commit that nobody tells it of.
        Seq::NONE
    }
}

/// Sends one round of commands.
fn round(client: &mut TestClient, rng: &mut Rng, now: UnixMs) {
    let grammar = Grammar::of_data();
    let world = World { now, dumps: Vec::new() };
    for _ in 0..COMMANDS {
        let command = match (client.session.transaction.is_queueing(), rng.below(100)) {
            (false, 0..=2) => vec![b"multi".to_vec()],
            (true, 0..=19) => vec![b"exec".to_vec()],
            _ => grammar.generate(rng, &world),
        };
        if client.call(&command).is_none() {
            client.time_out();
            // Another thread may have served it meanwhile; then its answer comes by mail.
            while client.is_waiting() {
                std::thread::yield_now();
                client.take_mail();
            }
        }
    }
}

#[test]
fn batches_of_all_threads_come_in_the_order_of_evaluation() {
    let mut test = TestServer::start();
    let recorder = Arc::new(Recorder::default());
    test.server.keyspace.record_to(recorder.clone());
    let replica = Keyspace::new(test.server.keyspace.databases());
    let mut clients: Vec<(TestClient, Rng)> = (0..THREADS).map(|seed| (test.client(), Rng::seeded(seed))).collect();
    let mut applied = 0;
    for _ in 0..ROUNDS {
        test.advance(1000);
        let (now, start) = (test.now(), Barrier::new(THREADS as usize));
        std::thread::scope(|scope| {
            for (client, rng) in &mut clients {
                scope.spawn(|| {
                    start.wait();
                    round(client, rng, now);
                });
            }
        });
        let batches = std::mem::take(&mut *recorder.0.lock().expect("no holder panics"));
        applied += batches.len();
        batches.into_iter().for_each(|batch| replica.apply(batch, UnixMs(1)));
        let (original, copy) = (image::of(&test.server.keyspace), image::of(&replica));
        assert!(original == copy, "{}", image::difference(&original, &copy));
    }
    assert!(applied > ROUNDS * COMMANDS / 4, "only {applied} batches");
}
