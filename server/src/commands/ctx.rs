//! What a handler is given: the locked keyspace, a place for its reply, and who calls.

use crate::blocked::BlockRequest;
use crate::client::ClientId;
use crate::durability::errand::Errand;
use crate::durability::release::{Delivery, Release};
use crate::notify::{EventClass, KeyEvent};
use crate::pubsub::Message;
use crate::resp::ReplyBuf;
use crate::server::Server;
use crate::session::Session;
use basalt_storage::clock::UnixMs;
use basalt_storage::effect::DbIndex;
use basalt_storage::keyspace::{Happened, Key, KeyNews, ReadyKey, View, high_water};
use basalt_storage::slot::StripeSet;

/// Context of a command that works on the keyspace.
///
/// The fields are public so that a handler can read from `view` while it writes to `out`.
pub struct Ctx<'c, 'k> {
    pub server: &'c Server,
    pub view: &'c mut View<'k>,
    pub out: &'c mut ReplyBuf,
    pub db: DbIndex,
    pub client: ClientId,
    pub attempt: Attempt,
    pub outcome: &'c mut Outcome,
}

/// Why the handler runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// The client called, and may be made to wait.
    First,
    /// The client called, and must not wait: it is inside a transaction.
    NoWait,
    /// The client waits, and one of its keys has changed: keys that do not fit are passed over.
    Retry,
}

/// What the world is told of a command.
pub enum Announcement {
    Key(KeyEvent),
    Message(Message),
}

/// What a command caused besides its reply. That is nothing for most, so it costs them no more than one pointer.
#[derive(Default)]
pub struct Outcome {
    caused: Option<Box<Caused>>,
}

#[derive(Default)]
struct Caused {
    /// Keyspace events and messages in order; they leave when the batch is committed.
    events: Vec<Announcement>,
    /// The client must wait.
    block: Option<BlockRequest>,
    /// The client must wait while this runs elsewhere.
    errand: Option<Errand>,
    /// Replies to clients that this evaluation has unblocked; they leave with the events, before them.
    deliveries: Vec<Delivery>,
    /// Keys whose waiters are to be served once the locks of this evaluation are released.
    elsewhere: Vec<ReadyKey>,
}

impl Outcome {
    fn caused(&mut self) -> &mut Caused {
        self.caused.get_or_insert_default()
    }

    /// Whether the client must wait.
    pub fn blocks(&self) -> bool {
        self.caused.as_ref().is_some_and(|caused| caused.block.is_some())
    }

    /// What the client must wait for.
    #[inline]
    pub fn take_block(&mut self) -> Option<BlockRequest> {
        self.caused.as_mut()?.block.take()
    }

    /// Makes the client wait while this runs on another thread.
    pub fn send(&mut self, errand: Errand) {
        self.caused().errand = Some(errand);
    }

    /// What runs elsewhere, while the client waits.
    #[inline]
    pub fn take_errand(&mut self) -> Option<Errand> {
        self.caused.as_mut()?.errand.take()
    }

    /// A reply to a client that this evaluation has unblocked.
    pub fn deliver(&mut self, delivery: Delivery) {
        self.caused().deliveries.push(delivery);
    }

    /// An event or message that leaves behind those that are there already.
    pub fn announce(&mut self, announcement: Announcement) {
        self.caused().events.push(announcement);
    }

    /// Takes over what was announced in the course of `other`.
    pub fn announce_all_of(&mut self, other: &mut Outcome) {
        if let Some(other) = &mut other.caused {
            self.caused().events.append(&mut other.events);
        }
    }

    /// Ends an evaluation whose locks are still held: notes what happened to keys on the way, serves waiters.
    #[inline]
    pub fn settle(&mut self, server: &Server, view: &mut View<'_>) {
        if view.has_news() {
            self.note_news(server, view);
            let elsewhere = server.blocked.serve(server, view, self);
            if !elsewhere.is_empty() {
                self.caused().elsewhere.extend(elsewhere);
            }
            self.note_news(server, view);
        }
    }

    /// Turns what the view tells of keys into events, behind those that are there already.
    pub fn note_news(&mut self, server: &Server, view: &mut View<'_>) {
        for KeyNews { happened, db, key } in view.take_news() {
            let (class, event) = match happened {
                Happened::Expired => (EventClass::Expired, "expired"),
                Happened::Created => (EventClass::New, "new"),
                Happened::Missed => (EventClass::KeyMiss, "keymiss"),
            };
            if server.notify.wants(class) {
                self.announce(Announcement::Key(KeyEvent { class, event, db, key }));
            }
        }
    }

    /// Lets out what the evaluation caused, when it is committed. Its locks are released already.
    #[inline]
    pub fn release(&mut self, server: &Server) {
        if self.caused.is_some() {
            self.release_caused(server);
        }
    }

    fn release_caused(&mut self, server: &Server) {
        let elsewhere = std::mem::take(&mut self.caused().elsewhere);
        if !elsewhere.is_empty() {
            server.blocked.serve_elsewhere(server, elsewhere, self);
        }
        let caused = self.caused();
        let (announcements, deliveries) = (std::mem::take(&mut caused.events), std::mem::take(&mut caused.deliveries));
        if !announcements.is_empty() || !deliveries.is_empty() {
            server.gate.release(server, high_water::current(), Release { deliveries, announcements });
        }
    }
}

impl<'c, 'k> Ctx<'c, 'k> {
    #[inline]
    pub fn now(&self) -> UnixMs {
        self.view.now()
    }

    /// Tells the world about a change of `key`, if somebody listens for such events.
    #[inline]
    pub fn notify(&mut self, class: EventClass, event: &'static str, key: &[u8]) {
        self.notify_in(self.db, class, event, key);
    }

    /// Like [`Ctx::notify`], for a key of another database.
    #[inline]
    pub fn notify_in(&mut self, db: DbIndex, class: EventClass, event: &'static str, key: &[u8]) {
        if self.server.notify.wants(class) {
            // What happened on the way here comes first: a key is new before it is set.
            self.outcome.note_news(self.server, self.view);
            self.outcome.announce(Announcement::Key(KeyEvent { class, event, db, key: key.into() }));
        }
    }

    /// Makes the client wait until one of `keys` changes; where it must not wait, answers as if time had run out.
    pub fn block(&mut self, request: BlockRequest) {
        match self.attempt {
            Attempt::First | Attempt::Retry => self.outcome.caused().block = Some(request),
            Attempt::NoWait => (request.timeout_reply)(self.out),
        }
    }
}

/// Context of a command that works on the client or the server.
pub struct SessionCtx<'c, 'k> {
    pub server: &'k Server,
    pub session: &'c mut Session,
    pub out: &'c mut ReplyBuf,
    pub now: UnixMs,
    /// The locks of the transaction that the command is part of.
    pub held: Option<&'c mut View<'k>>,
    pub outcome: &'c mut Outcome,
}

/// Runs `f` on a view that holds `stripes`: that of a transaction, if there is one.
pub fn with_stripes<'k, R>(
    server: &'k Server,
    held: Option<&mut View<'k>>,
    now: UnixMs,
    outcome: &mut Outcome,
    stripes: StripeSet,
    f: impl FnOnce(&mut View<'k>) -> R,
) -> R {
    match held {
        Some(view) => {
            assert!(stripes.is_subset_of(view.stripes()), "a transaction locks what its commands need");
            f(view)
        }
        None => {
            let mut view = server.keyspace.lock(stripes, now);
            if server.pause.stops_expiry(server) {
                view.hide_due();
            }
            let result = f(&mut view);
            outcome.settle(server, &mut view);
            result
        }
    }
}

impl<'k> SessionCtx<'_, 'k> {
    /// Runs `f` on a view that holds `stripes`: the transaction's, if there is one.
    pub fn with_stripes<R>(&mut self, stripes: StripeSet, f: impl FnOnce(&mut View<'k>) -> R) -> R {
        with_stripes(self.server, self.held.as_deref_mut(), self.now, self.outcome, stripes, f)
    }

    /// Runs `f` on the stripe of `key`.
    pub fn with_key<R>(&mut self, key: &Key<'_>, f: impl FnOnce(&mut View<'k>) -> R) -> R {
        self.with_stripes(StripeSet::of(key.slot.stripe()), f)
    }

    pub fn notify_in(&mut self, db: DbIndex, class: EventClass, event: &'static str, key: &[u8]) {
        if self.server.notify.wants(class) {
            self.outcome.announce(Announcement::Key(KeyEvent { class, event, db, key: key.into() }));
        }
    }
}
