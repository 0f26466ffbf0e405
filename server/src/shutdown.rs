//! The end of the server: who asks for it, and what is saved before.

use crate::switches::Switches;
use parking_lot::Mutex;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::sync::Notify;

/// How long a scheduled shutdown may be taken back at least.
const GRACE: Duration = Duration::from_millis(20);

/// Whether the data is saved at the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Save {
    /// If the server saves by itself at all (`save`).
    #[default]
    AsConfigured,
    Always,
    Never,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Running,
    /// A signal asked; the periodic work will see to it, so until then SHUTDOWN ABORT may take it back.
    Scheduled,
    Asked(Save),
}

/// A shutdown that a signal or SHUTDOWN has asked for.
#[derive(Default)]
pub struct Shutdown {
    state: Mutex<State>,
    asked: Notify,
}

impl Shutdown {
    pub fn request(&self, save: Save) {
        *self.state.lock() = State::Asked(save);
        self.asked.notify_one();
    }

    pub fn schedule(&self) {
        let mut state = self.state.lock();
        if *state == State::Running {
            *state = State::Scheduled;
            self.asked.notify_one();
        }
    }

    /// Takes back a scheduled shutdown; returns whether there was one.
    pub fn abort(&self) -> bool {
        let mut state = self.state.lock();
        let was_scheduled = *state == State::Scheduled;
        if was_scheduled {
            *state = State::Running;
            tracing::info!("Shutdown manually aborted");
        }
        was_scheduled
    }

    /// Waits until the server must end.
    pub async fn due(&self, switches: &Switches) -> Save {
        loop {
            let asked = self.asked.notified();
            let state = *self.state.lock();
            match state {
                State::Asked(save) => return save,
                State::Running => asked.await,
                State::Scheduled => {
                    // Resting first gives SHUTDOWN ABORT its chance.
                    tokio::time::sleep(GRACE).await;
                    if *self.state.lock() == State::Scheduled && switches.cron.load(Relaxed) {
                        return Save::AsConfigured;
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_scheduled_shutdown_can_be_taken_back() {
        let shutdown = Shutdown::default();
        assert!(!shutdown.abort());
        shutdown.schedule();
        assert!(shutdown.abort());
        shutdown.request(Save::Never);
        shutdown.schedule();
        assert!(!shutdown.abort());
    }
}
