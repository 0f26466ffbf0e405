//! What the slots cost that this node serves: how many bytes they have, and how many commands a second they see.
//!
//! A thread looks at the counters every [`PERIOD`], and has the node tell the cluster ([`Node::put_loads`]), which
//! spreads slots by it. Commands are averages over about a minute. Bytes are the number of entries, which is exact,
//! times the mean of some of them; those are looked up on disk, slot after slot, for a bounded part of the thread's
//! time, and again only if the slot was used since. What is in memory besides does not count: it is a copy of what is
//! used, and goes where the commands go.
//!
//! [`Node::put_loads`]: basalt_cluster::node::Node::put_loads

use super::stage::Stage;
use super::tally::Tally;
use crate::durability::replicas::Replica;
use crate::server::Server;
use basalt_cluster::placement::SlotLoad;
use basalt_storage::engine::Sample;
use basalt_storage::rng::Rng;
use basalt_storage::slot::{SLOT_COUNT, Slot};
use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant};

const PERIOD: Duration = Duration::from_secs(2);

/// Part of its time that the thread looks at entries, at most.
const LOOKING: f64 = 0.03;

/// Entries of a slot that are looked at.
const SAMPLE: u64 = 128;

/// A slot is not looked at again before this time, however much it is used.
const REST: Duration = Duration::from_secs(60);

/// The time over which commands are averaged.
const MEMORY: Duration = Duration::from_secs(60);

/// How much the mean of a further sample counts against those before.
const SAMPLE_WEIGHT: f64 = 0.3;

/// What is known of one slot.
#[derive(Clone, Copy, Debug, Default)]
struct Weight {
    /// The counter when it was looked at last; none if the slot was not served then.
    counter: Option<u32>,
    /// Commands a second.
    rate: Option<f64>,
    /// Bytes of an entry.
    mean: Option<f64>,
    /// When entries were looked at, and what the counter was.
    sampled: Option<(Instant, u32)>,
}

impl Weight {
    /// The counter is this now, so long after it was looked at before.
    fn note_counter(&mut self, counter: u32, elapsed: Duration) {
        let before = self.counter.replace(counter);
        let Some(before) = before else { return };
        let rate = f64::from(counter.wrapping_sub(before)) / elapsed.as_secs_f64();
        // The first is as good as any.
        let kept = self.rate.map_or(0.0, |_| (-elapsed.as_secs_f64() / MEMORY.as_secs_f64()).exp());
        self.rate = Some(self.rate.unwrap_or(0.0) * kept + rate * (1.0 - kept));
    }

    fn is_to_sample(&self, entries: u64, now: Instant) -> bool {
        let is_due = |(at, counter): (Instant, u32)| Some(counter) != self.counter && now >= at + REST;
        entries > 0 && self.sampled.is_none_or(is_due)
    }

    fn note_sample(&mut self, sample: Sample, now: Instant) {
        self.sampled = self.counter.map(|counter| (now, counter));
        if sample.entries == 0 {
            return;
        }
        let mean = sample.bytes as f64 / sample.entries as f64;
        let is_whole = sample.entries < SAMPLE;
        self.mean = Some(match self.mean {
            Some(before) if !is_whole => before + SAMPLE_WEIGHT * (mean - before),
            _ => mean,
        });
    }

    /// What is known, if it is enough.
    fn load(&self, entries: u64) -> Option<SlotLoad> {
        let bytes = if entries == 0 { 0.0 } else { entries as f64 * self.mean? };
        Some(SlotLoad { bytes: bytes.round() as u64, operations: self.rate?.round() as u64 })
    }
}

/// Starts the thread; it ends when the server does.
pub fn start(server: &Arc<Server>, stage: &Arc<Stage>) -> std::io::Result<()> {
    let (server, stage) = (Arc::downgrade(server), Arc::downgrade(stage));
    thread::Builder::new().name("slot-weights".into()).spawn(move || run(&server, &stage))?;
    Ok(())
}

fn run(server: &Weak<Server>, stage: &Weak<Stage>) {
    let mut scales = Scales::new();
    loop {
        thread::sleep(PERIOD);
        let (Some(server), Some(stage)) = (server.upgrade(), stage.upgrade()) else { return };
        if let Some(cluster) = server.cluster() {
            scales.look(cluster.tally(), &stage);
        }
    }
}

struct Scales {
    weights: Vec<Weight>,
    looked: Instant,
    /// The slot whose entries are looked at next.
    turn: usize,
    rng: Rng,
}

/// What is served here: by slot the group that has it and how many entries there are.
type Served = Vec<Option<(Arc<Replica>, u64)>>;

impl Scales {
    fn new() -> Scales {
        Scales {
            weights: vec![Weight::default(); SLOT_COUNT],
            looked: Instant::now(),
            turn: 0,
            rng: Rng::from_entropy(),
        }
    }

    fn look(&mut self, tally: &Tally, stage: &Stage) {
        let served = served(stage);
        let elapsed = self.looked.elapsed();
        self.looked = Instant::now();
        for slot in Slot::all() {
            let weight = &mut self.weights[usize::from(slot.number())];
            match served[usize::from(slot.number())] {
                Some(_) => weight.note_counter(tally.of(slot), elapsed),
                None => *weight = Weight::default(),
            }
        }
        self.sample(&served, PERIOD.mul_f64(LOOKING));
        let load = |slot: Slot| {
            let at = usize::from(slot.number());
            let (_, entries) = served[at].as_ref()?;
            Some((slot, self.weights[at].load(*entries)?))
        };
        if let Some(node) = stage.node() {
            node.put_loads(Slot::all().filter_map(load));
        }
    }

    /// Looks at entries for so long, about, and goes on where it has stopped.
    fn sample(&mut self, served: &Served, time: Duration) {
        let began = Instant::now();
        for _ in 0..SLOT_COUNT {
            let now = Instant::now();
            if now - began >= time {
                return;
            }
            let at = self.turn;
            self.turn = (at + 1) % SLOT_COUNT;
            let Some((replica, entries)) = &served[at] else { continue };
            let slot = Slot::new(at as u16).expect("there are as many slots");
            if !self.weights[at].is_to_sample(*entries, now) {
                continue;
            }
            // Where few are, all are looked at, from the first on.
            let from = if *entries < SAMPLE { 0 } else { self.rng.next_u64() as u32 };
            match replica.contents().sample_slot(slot, from, SAMPLE) {
                Ok(sample) => self.weights[at].note_sample(sample, now),
                // Whoever has to read or write it says so more loudly.
                Err(error) => tracing::debug!(slot = slot.number(), %error, "a slot could not be weighed"),
            }
        }
    }
}

fn served(stage: &Stage) -> Served {
    let of_group = |replica: Arc<Replica>| {
        let entries = replica.contents().entries_by_slot();
        (replica.id(), (replica, entries))
    };
    let groups: BTreeMap<_, _> = stage.replicas.all().into_iter().map(of_group).collect();
    let of_slot = |slot: Slot| {
        let (replica, entries) = groups.get(&stage.replicas.holder(slot)?)?;
        Some((replica.clone(), entries[usize::from(slot.number())]))
    };
    Slot::all().map(of_slot).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weight(counter: u32) -> Weight {
        let mut weight = Weight::default();
        weight.note_counter(counter, PERIOD);
        weight
    }

    #[test]
    fn a_rate_is_known_after_two_looks_and_follows_slowly() {
        let mut weight = weight(u32::MAX - 9);
        assert_eq!(weight.load(0), None);
        weight.note_counter(90, Duration::from_secs(1));
        assert_eq!(weight.load(0), Some(SlotLoad { bytes: 0, operations: 100 }), "the counter has begun anew");
        weight.note_counter(90, Duration::from_secs(1));
        assert_eq!(weight.load(0).map(|load| load.operations), Some(98));
        (0..300).for_each(|_| weight.note_counter(90, Duration::from_secs(1)));
        assert_eq!(weight.load(0).map(|load| load.operations), Some(1));
    }

    #[test]
    fn bytes_are_entries_times_their_mean() {
        let (mut weight, now) = (weight(0), Instant::now());
        weight.note_counter(2, PERIOD);
        assert!(weight.is_to_sample(1, now) && !weight.is_to_sample(0, now));
        assert_eq!(weight.load(1000), None);
        weight.note_sample(Sample { entries: SAMPLE, bytes: SAMPLE * 100 }, now);
        assert_eq!(weight.load(1000), Some(SlotLoad { bytes: 100_000, operations: 1 }));
        assert_eq!(weight.load(0).map(|load| load.bytes), Some(0));
        assert!(!weight.is_to_sample(1000, now + REST), "nobody has used it since");
        weight.note_counter(3, PERIOD);
        assert!(!weight.is_to_sample(1000, now) && weight.is_to_sample(1000, now + REST));
        weight.note_sample(Sample { entries: SAMPLE, bytes: SAMPLE * 200 }, now);
        assert_eq!(weight.load(1000).map(|load| load.bytes), Some(130_000), "one of several samples");
        weight.note_sample(Sample { entries: 2, bytes: 20 }, now);
        assert_eq!(weight.load(2).map(|load| load.bytes), Some(20), "these are all");
    }
}
