//! Keyspace notifications: which events somebody wants, and how they are published (Redis documentation, "Keyspace
//! notifications").

use crate::server::Server;
use basalt_storage::effect::DbIndex;
use basalt_storage::keyspace::Happened;
use std::sync::atomic::{AtomicU32, Ordering};

/// The class of an event, one letter of `notify-keyspace-events`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum EventClass {
    Generic = 1 << 2,
    String = 1 << 3,
    List = 1 << 4,
    Set = 1 << 5,
    Hash = 1 << 6,
    Zset = 1 << 7,
    Expired = 1 << 8,
    Evicted = 1 << 9,
    Stream = 1 << 10,
    KeyMiss = 1 << 11,
    Module = 1 << 13,
    New = 1 << 14,
}

/// `K`: events are published under the key's name.
const KEYSPACE: u32 = 1 << 0;
/// `E`: events are published under the event's name.
const KEYEVENT: u32 = 1 << 1;
/// `A`: all classes but key misses and new keys.
const ALL: u32 = 0b10_0111_1111_1100;

const LETTERS: [(u8, u32); 14] = [
    (b'g', EventClass::Generic as u32),
    (b'$', EventClass::String as u32),
    (b'l', EventClass::List as u32),
    (b's', EventClass::Set as u32),
    (b'h', EventClass::Hash as u32),
    (b'z', EventClass::Zset as u32),
    (b'x', EventClass::Expired as u32),
    (b'e', EventClass::Evicted as u32),
    (b't', EventClass::Stream as u32),
    (b'd', EventClass::Module as u32),
    (b'K', KEYSPACE),
    (b'E', KEYEVENT),
    (b'm', EventClass::KeyMiss as u32),
    (b'n', EventClass::New as u32),
];

/// One event to publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyEvent {
    pub class: EventClass,
    pub event: &'static str,
    pub db: DbIndex,
    pub key: Box<[u8]>,
}

/// The events that are published, as a set of classes.
#[derive(Debug, Default)]
pub struct Notifications(AtomicU32);

impl Notifications {
    #[inline]
    pub fn wants(&self, class: EventClass) -> bool {
        let flags = self.0.load(Ordering::Relaxed);
        flags & class as u32 != 0 && flags & (KEYSPACE | KEYEVENT) != 0
    }

    /// Sets the classes from the letters of `notify-keyspace-events`; `false` if one is unknown.
    pub fn configure(&self, letters: &str) -> bool {
        let Some(flags) = parse(letters) else { return false };
        self.0.store(flags, Ordering::Relaxed);
        true
    }

    /// What the keyspace must tell for the events of these classes.
    pub fn wanted_news(&self) -> Vec<Happened> {
        let news = [(EventClass::New, Happened::Created), (EventClass::KeyMiss, Happened::Missed)];
        news.into_iter().filter(|(class, _)| self.wants(*class)).map(|(_, happened)| happened).collect()
    }

    /// The letters, in Redis's order.
    pub fn letters(&self) -> String {
        format(self.0.load(Ordering::Relaxed))
    }

    /// Publishes an event under the key's name, the event's name, or both.
    pub fn publish(&self, server: &Server, event: &KeyEvent) {
        let flags = self.0.load(Ordering::Relaxed);
        let db = event.db.0;
        if flags & KEYSPACE != 0 {
            let channel = [format!("__keyspace@{db}__:").as_bytes(), &event.key].concat();
            server.pubsub.publish(&channel, event.event.as_bytes());
        }
        if flags & KEYEVENT != 0 {
            let channel = format!("__keyevent@{db}__:{}", event.event);
            server.pubsub.publish(channel.as_bytes(), &event.key);
        }
    }
}

/// The letters in Redis's order; `None` if one is unknown.
pub fn canonical(letters: &str) -> Option<String> {
    parse(letters).map(format)
}

fn parse(letters: &str) -> Option<u32> {
    letters.bytes().try_fold(0, |flags, letter| {
        if letter == b'A' {
            return Some(flags | ALL);
        }
        LETTERS.iter().find(|(known, _)| *known == letter).map(|(_, flag)| flags | flag)
    })
}

fn format(flags: u32) -> String {
    let mut letters = String::new();
    let is_all = flags & ALL == ALL;
    if is_all {
        letters.push('A');
    }
    for (letter, flag) in LETTERS {
        if flags & flag != 0 && !(is_all && ALL & flag != 0) {
            letters.push(letter as char);
        }
    }
    letters
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_come_back_in_their_canonical_order() {
        // What CONFIG GET answers after CONFIG SET, by redis-server 7.0.
        for (set, got) in [("KEA", "AKE"), ("Kg$", "g$K"), ("", ""), ("Elshzxegtdm$", "AEm"), ("KEn", "KEn")] {
            assert_eq!(parse(set).map(format).as_deref(), Some(got), "{set}");
        }
        assert_eq!(parse("KQ"), None);
    }
}
