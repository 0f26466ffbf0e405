//! Frees big values off the network threads, so that deleting them stops nobody (Redis documentation, "Lazy freeing").

use crate::entry::Entry;
use crate::keyspace::SlotTable;
use crate::value::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};

/// Values with more allocations than this are freed on the reaper's thread.
const FREE_EFFORT_MAX: usize = 64;

/// What the reaper is given to drop. The channel is unbounded by design: waiting for room would be the stall that the
/// reaper exists to avoid, and what waits in it was in memory already.
enum Garbage {
    Value(Value),
    Tables(Box<[SlotTable]>),
}

/// A handle to the freeing thread, which ends with its last handle.
pub struct Reaper {
    sender: Sender<Garbage>,
    pending: Arc<AtomicU64>,
    freed: Arc<AtomicU64>,
}

impl Reaper {
    pub(crate) fn start() -> Reaper {
        let (sender, receiver) = channel::<Garbage>();
        let (pending, freed) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let counters = (pending.clone(), freed.clone());
        std::thread::Builder::new()
            .name("reaper".into())
            .spawn(move || {
                for garbage in receiver {
                    let objects = garbage.objects();
                    match garbage {
                        Garbage::Value(value) => drop(value),
                        Garbage::Tables(tables) => drop(tables),
                    }
                    counters.0.fetch_sub(objects, Ordering::Relaxed);
                    counters.1.fetch_add(objects, Ordering::Relaxed);
                }
            })
            .expect("the process can start a thread");
        Reaper { sender, pending, freed }
    }

    /// Drops an entry, here or on the reaper's thread, whichever is right for its size.
    #[inline]
    pub(crate) fn discard(&self, entry: Entry) {
        if entry.as_ref().free_effort() > FREE_EFFORT_MAX {
            self.discard_value(entry.into_value());
        }
    }

    pub(crate) fn discard_value(&self, value: Value) {
        if value.free_effort() > FREE_EFFORT_MAX {
            self.send(Garbage::Value(value));
        }
    }

    pub(crate) fn discard_tables(&self, tables: Box<[SlotTable]>) {
        self.send(Garbage::Tables(tables));
    }

    /// Objects handed over but not freed yet (INFO's `lazyfree_pending_objects`).
    pub fn pending(&self) -> u64 {
        self.pending.load(Ordering::Relaxed)
    }

    /// Objects freed since the start or the last reset (INFO's `lazyfreed_objects`).
    pub fn freed(&self) -> u64 {
        self.freed.load(Ordering::Relaxed)
    }

    pub fn reset_freed(&self) {
        self.freed.store(0, Ordering::Relaxed);
    }

    fn send(&self, garbage: Garbage) {
        self.pending.fetch_add(garbage.objects(), Ordering::Relaxed);
        // Without its thread the garbage is dropped here: slower, never wrong.
        let _ = self.sender.send(garbage);
    }
}

impl Garbage {
    fn objects(&self) -> u64 {
        match self {
            Garbage::Value(_) => 1,
            Garbage::Tables(tables) => tables.iter().map(|slot| slot.table.len() as u64).sum(),
        }
    }
}
