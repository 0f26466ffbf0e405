//! The sync thread: with `fsync everysec` it puts the log on the disk once a second, so that no commit waits for it.

use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::options::Fsync;
use super::shared::{Fatal, Shared};

/// How much of what is acknowledged may be lost with the power, about.
const SYNC_INTERVAL: Duration = Duration::from_secs(1);

/// Wakes the sync thread when the mode changes or the group ends.
#[derive(Default)]
pub(super) struct SyncBell {
    state: Mutex<Bell>,
    ring: Condvar,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Bell {
    #[default]
    Silent,
    Rung,
    Stopped,
}

impl SyncBell {
    pub(super) fn ring(&self) {
        let mut state = self.state.lock();
        if *state == Bell::Silent {
            *state = Bell::Rung;
        }
        self.ring.notify_one();
    }

    pub(super) fn stop(&self) {
        *self.state.lock() = Bell::Stopped;
        self.ring.notify_one();
    }

    /// Waits for the bell or for `patience`. Says whether to go on.
    fn wait(&self, patience: Option<Duration>) -> Bell {
        let mut state = self.state.lock();
        if *state == Bell::Silent {
            match patience {
                Some(patience) => drop(self.ring.wait_for(&mut state, patience)),
                None => self.ring.wait(&mut state),
            }
        }
        let heard = *state;
        if heard == Bell::Rung {
            *state = Bell::Silent;
        }
        heard
    }
}

/// The body of the sync thread.
pub(super) fn run(shared: &Shared) -> Result<(), Fatal> {
    loop {
        let patience = (shared.fsync() == Fsync::EverySecond).then_some(SYNC_INTERVAL);
        if shared.sync_bell.wait(patience) == Bell::Stopped {
            return Ok(());
        }
        // After a change away from `no` as well, so that what it left behind is soon safe.
        if shared.fsync() != Fsync::Never {
            sync_now(shared)?;
        }
    }
}

/// Puts all that is committed on the disk, unless it is there already.
pub(super) fn sync_now(shared: &Shared) -> Result<(), Fatal> {
    // Read before the sync: what is committed while it runs may not be covered.
    let committed = shared.progress.committed();
    if committed == shared.progress.synced() {
        return Ok(());
    }
    let began = Instant::now();
    shared.store.sync().map_err(|error| Fatal(error.to_string()))?;
    shared.figures.background_syncs.record(began.elapsed());
    shared.progress.note_synced(committed);
    shared.observer.synced(committed);
    Ok(())
}
