//! The end of the server: who asks for it, and what is saved before.

use parking_lot::Mutex;
use tokio::sync::Notify;

/// Whether the data is saved at the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Save {
    /// If the server saves by itself at all (`save`).
    #[default]
    AsConfigured,
    Always,
    Never,
}

/// A shutdown that SHUTDOWN has asked for.
#[derive(Default)]
pub struct Shutdown {
    save: Mutex<Option<Save>>,
    asked: Notify,
}

impl Shutdown {
    pub fn request(&self, save: Save) {
        *self.save.lock() = Some(save);
        self.asked.notify_one();
    }

    /// Waits until a shutdown is asked for.
    pub async fn requested(&self) -> Save {
        loop {
            let asked = self.asked.notified();
            if let Some(save) = *self.save.lock() {
                return save;
            }
            asked.await;
        }
    }
}
