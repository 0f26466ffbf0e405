//! Frees big values off the network threads, so that deleting them stops nobody (Redis documentation, "Lazy freeing").

use crate::entry::Entry;
use crate::keyspace::{Sizes, Slots};
use crate::shared::SharedBytes;
use crate::value::{Value, string_free_effort};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};

/// Values with more allocations than this are freed on the reaper's thread.
const FREE_EFFORT_MAX: usize = 64;

/// What the reaper is given to drop. The channel is unbounded by design: waiting for room would be the stall that the
/// reaper exists to avoid, and what waits in it was in memory already.
enum Garbage {
    /// A value, and about how many bytes it has.
    Value(Value, u64),
    /// The tables of a stripe, about how many bytes they and their entries have, and where these are counted still.
    Tables(Box<Slots>, u64, Option<Arc<Sizes>>),
    /// A large string that was in no entry, or is no longer.
    Bytes(SharedBytes),
}

/// A handle to the freeing thread, which ends with its last handle.
#[derive(Clone)]
pub struct Reaper {
    sender: Sender<Garbage>,
    counters: Arc<Counters>,
}

#[derive(Default)]
struct Counters {
    pending: AtomicU64,
    pending_bytes: AtomicU64,
    freed: AtomicU64,
}

impl Reaper {
    pub(crate) fn start() -> Reaper {
        let (sender, receiver) = channel::<Garbage>();
        let counters = Arc::new(Counters::default());
        let shared = counters.clone();
        std::thread::Builder::new()
            .name("reaper".into())
            .spawn(move || {
                for garbage in receiver {
                    let (objects, bytes) = (garbage.objects(), garbage.bytes());
                    match garbage {
                        Garbage::Value(value, _) => drop(value),
                        Garbage::Tables(tables, _, sizes) => {
                            sizes.inspect(|sizes| sizes.take_all(&tables));
                            drop(tables);
                        }
                        Garbage::Bytes(bytes) => drop(bytes),
                    }
                    shared.pending_bytes.fetch_sub(bytes, Ordering::Relaxed);
                    shared.pending.fetch_sub(objects, Ordering::Relaxed);
                    shared.freed.fetch_add(objects, Ordering::Relaxed);
                }
            })
            .expect("the process can start a thread");
        Reaper { sender, counters }
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
            let bytes = value.heap_bytes() as u64;
            self.send(Garbage::Value(value, bytes));
        }
    }

    /// Lets go of a string that others may hold as well.
    pub fn let_go(&self, bytes: SharedBytes) {
        if string_free_effort(bytes.len()) > FREE_EFFORT_MAX && bytes.has_one_holder() {
            self.send(Garbage::Bytes(bytes));
        }
    }

    pub(crate) fn discard_tables(&self, tables: Box<Slots>) {
        let bytes = tables.bytes_about();
        self.send(Garbage::Tables(tables, bytes, None));
    }

    /// The same for tables of a database that stays. Its sizes have them until they are freed, since to count many
    /// entries takes as long as to free them.
    pub(crate) fn discard_some_tables(&self, tables: Box<Slots>, sizes: Arc<Sizes>) {
        let bytes = tables.bytes_about();
        self.send(Garbage::Tables(tables, bytes, Some(sizes)));
    }

    /// Objects handed over but not freed yet (INFO's `lazyfree_pending_objects`).
    pub fn pending(&self) -> u64 {
        self.counters.pending.load(Ordering::Relaxed)
    }

    /// About how many bytes these are. Whoever makes room counts them as free: otherwise the first keys after a flush
    /// would have to go.
    pub fn pending_bytes(&self) -> u64 {
        self.counters.pending_bytes.load(Ordering::Relaxed)
    }

    /// Objects freed since the start or the last reset (INFO's `lazyfreed_objects`).
    pub fn freed(&self) -> u64 {
        self.counters.freed.load(Ordering::Relaxed)
    }

    pub fn reset_freed(&self) {
        self.counters.freed.store(0, Ordering::Relaxed);
    }

    fn send(&self, garbage: Garbage) {
        self.counters.pending.fetch_add(garbage.objects(), Ordering::Relaxed);
        self.counters.pending_bytes.fetch_add(garbage.bytes(), Ordering::Relaxed);
        // Without its thread the garbage is dropped here: slower, never wrong.
        let _ = self.sender.send(garbage);
    }
}

impl Garbage {
    fn objects(&self) -> u64 {
        match self {
            Garbage::Value(..) => 1,
            Garbage::Tables(tables, ..) => tables.iter().map(|slot| slot.table.len() as u64).sum(),
            Garbage::Bytes(_) => 0,
        }
    }

    fn bytes(&self) -> u64 {
        match self {
            Garbage::Value(_, bytes) | Garbage::Tables(_, bytes, _) => *bytes,
            Garbage::Bytes(bytes) => bytes.capacity() as u64,
        }
    }
}
