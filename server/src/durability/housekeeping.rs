//! What happens beside the clients in durable mode: cold keys that are due go, and what nothing refers to any more is
//! deleted from disk. Both in small steps on one thread, which may wait for the disk. When the disk is full it
//! gives back what it can, in steps that are not small.

use crate::commands::ctx::Outcome;
use crate::server::Server;
use basalt_storage::engine::{Cleaning, DueKey};
use basalt_storage::keyspace::{Key, high_water};
use basalt_storage::slot::StripeSet;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

/// Time between two looks when there is nothing to do.
const PAUSE: Duration = Duration::from_millis(100);
/// Due keys that are taken from the engine at once.
const DUE_AT_ONCE: usize = 256;
/// Entries that the cleaner looks at before it lets expiry have its turn.
const CLEAN_AT_ONCE: usize = 4096;
/// Time between two attempts to give space back while the disk is full.
const RECLAIM_PAUSE: Duration = Duration::from_secs(2);

/// Starts the thread; it ends with the server.
pub(super) fn start(server: &Arc<Server>) -> std::io::Result<()> {
    let server = Arc::downgrade(server);
    std::thread::Builder::new().name("housekeeping".into()).spawn(move || run(&server))?;
    Ok(())
}

fn run(server: &Weak<Server>) {
    let mut reclaimed = Instant::now();
    while let Some(server) = server.upgrade() {
        relieve(&server, &mut reclaimed);
        let has_more = expire_cold(&server) | clean(&server);
        drop(server);
        if !has_more {
            std::thread::sleep(PAUSE);
        }
    }
}

/// Makes room on the disk, if it is short. A failure says nothing new: the disk is full.
fn relieve(server: &Server, reclaimed: &mut Instant) {
    let Some(durability) = server.durability() else { return };
    if !durability.space.can_flush() {
        return;
    }
    let rocks = durability.groups.rocks();
    let result = if durability.space.is_short() && reclaimed.elapsed() >= RECLAIM_PAUSE {
        let result = rocks.reclaim();
        *reclaimed = Instant::now();
        result
    } else if durability.space.take_wish_to_flush() {
        rocks.flush_memtables()
    } else {
        Ok(())
    };
    if let Err(error) = result {
        tracing::warn!(%error, "no space could be given back");
    }
}

/// Deletes some of the cold keys that are due; returns whether there may be more.
fn expire_cold(server: &Server) -> bool {
    let may_expire = server.switches.active_expiry.load(Relaxed) && !server.pause.stops_expiry(server);
    let Some(durability) = server.durability().filter(|_| may_expire && server.keyspace.has_cold()) else {
        return false;
    };
    let mut has_more = false;
    for led in durability.groups.led() {
        match led.engine.due(server.now(), DUE_AT_ONCE, |key| led.shows(key)) {
            Ok(due) => has_more |= expire(server, &due) == DUE_AT_ONCE,
            Err(error) => tracing::error!(%error, "keys that are due cannot be found"),
        }
    }
    // Keys that have expired already are due on disk until that is applied.
    has_more
}

/// Deletes keys that are due; returns how many of them had not been before.
fn expire(server: &Server, due: &[DueKey]) -> usize {
    let mut expired = 0;
    for (db, bytes) in due {
        let key = Key::new(bytes);
        let mut outcome = Outcome::default();
        let mut view = server.keyspace.lock(StripeSet::of(key.slot.stripe()), server.now());
        view.survives(*db, &key);
        expired += usize::from(view.has_news());
        outcome.settle(server, &mut view);
        drop(view);
        outcome.release(server);
        // This thread answers nobody.
        high_water::take();
    }
    expired
}

/// Deletes some garbage; returns whether there is more.
fn clean(server: &Server) -> bool {
    let Some(durability) = server.durability() else { return false };
    let mut has_more = false;
    for engine in durability.groups.engines() {
        match engine.clean_some(CLEAN_AT_ONCE) {
            Ok(cleaned) => has_more |= cleaned == Cleaning::More,
            Err(error) => tracing::error!(%error, "what is deleted cannot be cleaned up"),
        }
    }
    has_more
}
