//! What an evaluation causes besides its reply, on its way out: keyspace events, and replies to clients that waited.

use crate::client::Client;
use crate::commands::ctx::Announcement;
use crate::error::CommandResult;
use crate::resp::ReplyBuf;
use crate::server::Server;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// Leaves as a whole, when the batch of its evaluation is committed.
#[derive(Default)]
pub struct Release {
    pub deliveries: Vec<Delivery>,
    pub announcements: Vec<Announcement>,
}

/// The reply to a client that has waited for keys.
pub struct Delivery {
    pub client: Arc<Client>,
    pub reply: ReplyBuf,
    pub result: CommandResult,
}

impl Release {
    pub fn is_empty(&self) -> bool {
        self.deliveries.is_empty() && self.announcements.is_empty()
    }

    /// What is left of it when its batch is lost: nobody hears of it, and those who would have been answered are sent
    /// away.
    pub fn lost(self) -> Release {
        self.deliveries.iter().for_each(|delivery| delivery.client.close("the fate of a write is unknown"));
        Release::default()
    }

    /// Lets it out. Those who waited are answered before anybody hears what serving them has changed.
    pub fn let_out(self, server: &Server) {
        self.deliveries.into_iter().for_each(Delivery::deliver);
        for announcement in self.announcements {
            match announcement {
                Announcement::Key(event) => server.notify.publish(server, &event),
                Announcement::Message(message) => server.pubsub.send(&message),
            }
        }
    }
}

impl Delivery {
    pub fn deliver(self) {
        self.client.info.is_blocked.store(false, Relaxed);
        self.client.post(|inbox| {
            inbox.add(&self.reply);
            inbox.unblocked = Some(self.result);
        });
    }
}
