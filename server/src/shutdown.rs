//! The end of the server: who asks for it, and what is saved before.

use crate::pause::Mode;
use crate::persistence::file::SaveError;
use crate::server::Server;
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
    /// Everything is done that has to be done before the end.
    Asked,
}

/// What is left to do when the server must end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    Now,
    /// A signal asked, and nobody has looked after the data yet.
    AfterSaving,
}

/// What a signal asks for (`shutdown-on-sigterm`, `shutdown-on-sigint`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OnSignal {
    pub save: Save,
    /// The server ends even if it could not save.
    pub is_forced: bool,
}

impl OnSignal {
    pub fn parse(words: &str) -> OnSignal {
        let mut asked = OnSignal::default();
        for word in words.split_whitespace() {
            match word.to_ascii_lowercase().as_str() {
                "save" => asked.save = Save::Always,
                "nosave" => asked.save = Save::Never,
                "force" => asked.is_forced = true,
                _ => {}
            }
        }
        asked
    }
}

/// A shutdown that a signal or SHUTDOWN has asked for.
#[derive(Default)]
pub struct Shutdown {
    state: Mutex<State>,
    asked: Notify,
}

impl Shutdown {
    /// The server ends now; what is to be saved is saved.
    pub fn request(&self) {
        *self.state.lock() = State::Asked;
        self.asked.notify_one();
    }

    /// What a signal has asked for cannot be done: the server goes on.
    pub fn give_up(&self) {
        *self.state.lock() = State::Running;
    }

    pub fn schedule(&self) {
        let mut state = self.state.lock();
        if *state == State::Running {
            *state = State::Scheduled;
            self.asked.notify_one();
        }
    }

    /// Somebody has asked for the end.
    pub fn is_under_way(&self) -> bool {
        *self.state.lock() != State::Running
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
    pub async fn due(&self, switches: &Switches) -> Due {
        loop {
            let asked = self.asked.notified();
            let state = *self.state.lock();
            match state {
                State::Asked => return Due::Now,
                State::Running => asked.await,
                State::Scheduled => {
                    // Resting first gives SHUTDOWN ABORT its chance.
                    tokio::time::sleep(GRACE).await;
                    if *self.state.lock() == State::Scheduled && switches.cron.load(Relaxed) {
                        return Due::AfterSaving;
                    }
                }
            }
        }
    }
}

impl Server {
    /// Saves the data if it is to be saved. Clients wait from here on, so that nothing is acknowledged that is in no
    /// dump; they go on if it fails.
    pub fn save_before_end(&self, save: Save) -> Result<(), SaveError> {
        let is_wanted = match save {
            Save::Always => true,
            Save::Never => false,
            Save::AsConfigured => self.persistence.saves_by_itself(),
        };
        // A dump that is being loaded must not be replaced by a part of itself.
        if !is_wanted || self.persistence.loading.is_active() {
            self.persistence.cancel();
            return Ok(());
        }
        tracing::info!("Saving the final RDB snapshot before exiting.");
        self.pause.start(self, i64::MAX, Mode::All);
        let result = self.persistence.save_finally(self);
        if result.is_err() {
            tracing::warn!("Error trying to save the DB, can't exit.");
            self.pause.stop();
        }
        result
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
        shutdown.request();
        shutdown.schedule();
        assert!(!shutdown.abort());
    }
}
