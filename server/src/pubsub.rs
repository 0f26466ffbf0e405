//! Channels, patterns and shard channels, and who listens to them.

use crate::algorithms::glob::{self, Case};
use crate::client::{Client, ClientId};
use crate::resp::{Protocol, ReplyBuf};
use basalt_storage::shared::SharedBytes;
use basalt_storage::slot::Slot;
use hashbrown::HashMap;
use parking_lot::RwLock;
use std::sync::Arc;

type Listeners = Vec<Arc<Client>>;

/// A namespace of channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    Global,
    Shard,
}

/// What PUBLISH sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub scope: Scope,
    pub channel: Box<[u8]>,
    pub payload: Payload,
}

/// The text of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    Plain(Box<[u8]>),
    /// Is not copied for anybody who gets it.
    Large(SharedBytes),
}

#[derive(Default)]
struct Registry {
    channels: HashMap<Box<[u8]>, Listeners>,
    patterns: HashMap<Box<[u8]>, Listeners>,
    shard_channels: HashMap<Box<[u8]>, Listeners>,
}

impl Registry {
    fn scope(&self, scope: Scope) -> &HashMap<Box<[u8]>, Listeners> {
        match scope {
            Scope::Global => &self.channels,
            Scope::Shard => &self.shard_channels,
        }
    }

    fn scope_mut(&mut self, scope: Scope) -> &mut HashMap<Box<[u8]>, Listeners> {
        match scope {
            Scope::Global => &mut self.channels,
            Scope::Shard => &mut self.shard_channels,
        }
    }
}

/// All subscriptions of this node.
#[derive(Default)]
pub struct PubSub {
    registry: RwLock<Registry>,
}

impl PubSub {
    pub fn subscribe(&self, scope: Scope, channel: &[u8], client: Arc<Client>) {
        add(self.registry.write().scope_mut(scope), channel, client);
    }

    pub fn unsubscribe(&self, scope: Scope, channel: &[u8], client: ClientId) {
        remove(self.registry.write().scope_mut(scope), channel, client);
    }

    pub fn subscribe_pattern(&self, pattern: &[u8], client: Arc<Client>) {
        add(&mut self.registry.write().patterns, pattern, client);
    }

    pub fn unsubscribe_pattern(&self, pattern: &[u8], client: ClientId) {
        remove(&mut self.registry.write().patterns, pattern, client);
    }

    pub fn send(&self, message: &Message) {
        match message.scope {
            Scope::Global => self.publish_text(&message.channel, message.payload.text()),
            Scope::Shard => self.publish_shard(&message.channel, message.payload.text()),
        };
    }

    /// How many would get a message; one who listens to the channel and to a pattern gets it twice.
    pub fn receivers(&self, scope: Scope, channel: &[u8]) -> usize {
        let registry = self.registry.read();
        let listeners = registry.scope(scope).get(channel).map_or(0, Vec::len);
        if scope == Scope::Shard || registry.patterns.is_empty() {
            return listeners;
        }
        let matching = registry.patterns.iter().filter(|(pattern, _)| glob::matches(pattern, channel, Case::Sensitive));
        listeners + matching.map(|(_, listeners)| listeners.len()).sum::<usize>()
    }

    /// Sends a message to all who listen to the channel or to a pattern that matches it; returns how many that were.
    pub fn publish(&self, channel: &[u8], message: &[u8]) -> usize {
        self.publish_text(channel, Text::Plain(message))
    }

    fn publish_text(&self, channel: &[u8], message: Text<'_>) -> usize {
        let registry = self.registry.read();
        let mut receivers = 0;
        if let Some(listeners) = registry.channels.get(channel) {
            receivers += deliver(listeners, &[b"message", channel], message);
        }
        for (pattern, listeners) in &registry.patterns {
            if glob::matches(pattern, channel, Case::Sensitive) {
                receivers += deliver(listeners, &[b"pmessage", pattern, channel], message);
            }
        }
        receivers
    }

    fn publish_shard(&self, channel: &[u8], message: Text<'_>) -> usize {
        let registry = self.registry.read();
        registry.shard_channels.get(channel).map_or(0, |all| deliver(all, &[b"smessage", channel], message))
    }

    /// Channels with listeners that match the pattern, if one is given.
    pub fn channels(&self, scope: Scope, pattern: Option<&[u8]>) -> Vec<Box<[u8]>> {
        let registry = self.registry.read();
        let is_wanted = |channel: &[u8]| pattern.is_none_or(|pattern| glob::matches(pattern, channel, Case::Sensitive));
        registry.scope(scope).keys().filter(|channel| is_wanted(channel)).cloned().collect()
    }

    pub fn listeners(&self, scope: Scope, channel: &[u8]) -> usize {
        self.registry.read().scope(scope).get(channel).map_or(0, Vec::len)
    }

    /// Takes the channels of certain slots away, and tells their listeners by mail.
    pub fn leave_slots(&self, is_left: &dyn Fn(Slot) -> bool) {
        let mut registry = self.registry.write();
        registry.shard_channels.retain(|channel, listeners| {
            let stays = !is_left(Slot::of_key(channel));
            if !stays {
                listeners.iter().for_each(|client| client.post(|inbox| inbox.left_channels.push(channel.clone())));
            }
            stays
        });
    }

    pub fn channel_count(&self, scope: Scope) -> usize {
        self.registry.read().scope(scope).len()
    }

    pub fn pattern_count(&self) -> usize {
        self.registry.read().patterns.len()
    }
}

impl Payload {
    fn text(&self) -> Text<'_> {
        match self {
            Payload::Plain(text) => Text::Plain(text),
            Payload::Large(text) => Text::Large(text),
        }
    }
}

/// A [`Payload`] as it is delivered.
#[derive(Clone, Copy)]
enum Text<'a> {
    Plain(&'a [u8]),
    Large(&'a SharedBytes),
}

fn add(table: &mut HashMap<Box<[u8]>, Listeners>, name: &[u8], client: Arc<Client>) {
    table.entry(name.into()).or_default().push(client);
}

fn remove(table: &mut HashMap<Box<[u8]>, Listeners>, name: &[u8], client: ClientId) {
    if let Some(listeners) = table.get_mut(name) {
        listeners.retain(|listener| listener.id != client);
        if listeners.is_empty() {
            table.remove(name);
        }
    }
}

/// Spells the message once per protocol in use.
fn deliver(listeners: &Listeners, head: &[&[u8]], text: Text<'_>) -> usize {
    let (mut resp2, mut resp3) = (None, None);
    for listener in listeners {
        let protocol = listener.protocol();
        let spelled = match protocol {
            Protocol::Resp2 => &mut resp2,
            Protocol::Resp3 => &mut resp3,
        };
        let message = spelled.get_or_insert_with(|| {
            let mut message = ReplyBuf::new(protocol);
            message.push(head.len() + 1);
            head.iter().for_each(|part| message.bulk(part));
            match text {
                Text::Plain(text) => message.bulk(text),
                Text::Large(text) => message.shared_bulk(text, 0..text.len()),
            }
            message
        });
        listener.post(|inbox| inbox.add(message));
    }
    listeners.len()
}
