//! Pub/sub commands.

use super::ctx::{Announcement, SessionCtx};
use super::spec::{Flags, Group, Handler::Session, KeyFlags, KeySpec, Locks, Spec};
use crate::error::{CommandError, CommandResult};
use crate::pubsub::{Message, Payload, Scope};
use crate::resp::{Args, ReplyBuf};
use crate::session::{ReplyMode, Subscriptions};
use hashbrown::HashSet;

const LISTEN: Flags = Flags::PUBSUB.or(Flags::NOSCRIPT).or(Flags::LOADING).or(Flags::STALE);
const TELL: Flags = Flags::PUBSUB.or(Flags::LOADING).or(Flags::STALE).or(Flags::FAST).or(Flags::MAY_REPLICATE);
const LOOK: Flags = Flags::PUBSUB.or(Flags::LOADING).or(Flags::STALE);
/// Shard channels are routed like keys, but are none.
const SHARD_CHANNEL: KeyFlags = KeyFlags::NOT_KEY;
/// What all have in common.
const BASE: Spec = Spec { group: Group::PubSub, since: "2.0.0", locks: Locks::Nothing, ..Spec::DEFAULT };

pub const COMMANDS: &[Spec] = &[
    Spec {
        name: "psubscribe",
        arity: -2,
        flags: LISTEN.or(Flags::SENTINEL),
        complexity: "O(N) where N is the number of patterns the client listens to already",
        summary: "Listens to all channels that match patterns.",
        syntax: "pattern [pattern ...]",
        handler: Session(psubscribe),
        ..BASE
    },
    Spec {
        name: "publish",
        arity: 3,
        flags: TELL.or(Flags::SENTINEL),
        complexity: "O(N+M) where N is the number of listeners to the channel and M that of all patterns",
        summary: "Sends a message to a channel.",
        syntax: "channel message",
        handler: Session(publish),
        ..BASE
    },
    Spec {
        name: "pubsub",
        arity: -2,
        since: "2.8.0",
        complexity: "Depends on subcommand.",
        summary: "Commands about channels and their listeners.",
        subcommands: SUBCOMMANDS,
        ..BASE
    },
    Spec {
        name: "punsubscribe",
        arity: -1,
        flags: LISTEN.or(Flags::SENTINEL),
        complexity: "O(N) where N is the number of patterns",
        summary: "Stops listening to patterns.",
        syntax: "[pattern [pattern ...]]",
        handler: Session(punsubscribe),
        ..BASE
    },
    Spec {
        name: "spublish",
        arity: 3,
        flags: TELL,
        keys: &[KeySpec::first(SHARD_CHANNEL)],
        since: "7.0.0",
        complexity: "O(N) where N is the number of listeners to the channel",
        summary: "Sends a message to a shard channel.",
        syntax: "shardchannel message",
        handler: Session(spublish),
        ..BASE
    },
    Spec {
        name: "ssubscribe",
        arity: -2,
        flags: LISTEN,
        keys: &[KeySpec::range(1, -1, 1, SHARD_CHANNEL)],
        since: "7.0.0",
        complexity: "O(N) where N is the number of channels",
        summary: "Listens to shard channels.",
        syntax: "shardchannel [shardchannel ...]",
        handler: Session(ssubscribe),
        ..BASE
    },
    Spec {
        name: "subscribe",
        arity: -2,
        flags: LISTEN.or(Flags::SENTINEL),
        complexity: "O(N) where N is the number of channels",
        summary: "Listens to channels.",
        syntax: "channel [channel ...]",
        handler: Session(subscribe),
        ..BASE
    },
    Spec {
        name: "sunsubscribe",
        arity: -1,
        flags: LISTEN,
        keys: &[KeySpec::range(1, -1, 1, SHARD_CHANNEL)],
        since: "7.0.0",
        complexity: "O(N) where N is the number of channels",
        summary: "Stops listening to shard channels.",
        syntax: "[shardchannel [shardchannel ...]]",
        handler: Session(sunsubscribe),
        ..BASE
    },
    Spec {
        name: "unsubscribe",
        arity: -1,
        flags: LISTEN.or(Flags::SENTINEL),
        complexity: "O(N) where N is the number of channels",
        summary: "Stops listening to channels.",
        syntax: "[channel [channel ...]]",
        handler: Session(unsubscribe),
        ..BASE
    },
];

const SUBCOMMANDS: &[Spec] = &[
    Spec {
        name: "channels",
        arity: -2,
        flags: LOOK,
        since: "2.8.0",
        complexity: "O(N) where N is the number of channels",
        summary: "Lists the channels that have listeners.",
        syntax: "[pattern]",
        handler: Session(channels),
        ..BASE
    },
    Spec {
        name: "help",
        arity: 2,
        flags: Flags::LOADING.or(Flags::STALE),
        since: "6.2.0",
        summary: "Lists the subcommands.",
        handler: Session(help),
        ..BASE
    },
    Spec {
        name: "numpat",
        arity: 2,
        flags: LOOK,
        since: "2.8.0",
        summary: "Counts the patterns that have listeners.",
        handler: Session(numpat),
        ..BASE
    },
    Spec {
        name: "numsub",
        arity: -2,
        flags: LOOK,
        since: "2.8.0",
        complexity: "O(N) where N is the number of channels asked for",
        summary: "Counts the listeners of channels.",
        syntax: "[channel [channel ...]]",
        handler: Session(numsub),
        ..BASE
    },
    Spec {
        name: "shardchannels",
        arity: -2,
        flags: LOOK,
        since: "7.0.0",
        complexity: "O(N) where N is the number of shard channels",
        summary: "Lists the shard channels that have listeners.",
        syntax: "[pattern]",
        handler: Session(shardchannels),
        ..BASE
    },
    Spec {
        name: "shardnumsub",
        arity: -2,
        flags: LOOK,
        since: "7.0.0",
        complexity: "O(N) where N is the number of shard channels asked for",
        summary: "Counts the listeners of shard channels.",
        syntax: "[shardchannel [shardchannel ...]]",
        handler: Session(shardnumsub),
        ..BASE
    },
];

/// What can be subscribed to.
#[derive(Clone, Copy)]
enum Kind {
    Channel,
    Pattern,
    ShardChannel,
}

impl Kind {
    fn names(self, subscriptions: &mut Subscriptions) -> &mut HashSet<Box<[u8]>> {
        match self {
            Kind::Channel => &mut subscriptions.channels,
            Kind::Pattern => &mut subscriptions.patterns,
            Kind::ShardChannel => &mut subscriptions.shard_channels,
        }
    }

    /// What is reported after each change: shard channels count for themselves.
    fn count(self, subscriptions: &Subscriptions) -> usize {
        match self {
            Kind::Channel | Kind::Pattern => subscriptions.count(),
            Kind::ShardChannel => subscriptions.shard_channels.len(),
        }
    }
}

/// Confirmations are messages like any other, so CLIENT REPLY does not hold them back.
fn confirm(ctx: &mut SessionCtx<'_, '_>, verb: &str, name: Option<&[u8]>, count: usize) {
    let mut message = ReplyBuf::new(ctx.out.protocol);
    message.push(3);
    message.bulk_str(verb);
    message.bulk_or_null(name);
    message.count(count);
    match ctx.session.reply_mode {
        ReplyMode::On => ctx.out.append(message),
        _ => ctx.session.client.post(|inbox| inbox.add(&message)),
    }
}

fn add(ctx: &mut SessionCtx<'_, '_>, verb: &str, kind: Kind, args: Args<'_>) -> CommandResult {
    let pubsub = &ctx.server.pubsub;
    for name in args.from(1) {
        if kind.names(&mut ctx.session.subscriptions).insert(name.into()) {
            let client = ctx.session.client.clone();
            match kind {
                Kind::Channel => pubsub.subscribe(Scope::Global, name, client),
                Kind::Pattern => pubsub.subscribe_pattern(name, client),
                Kind::ShardChannel => pubsub.subscribe(Scope::Shard, name, client),
            }
        }
        let count = kind.count(&ctx.session.subscriptions);
        confirm(ctx, verb, Some(name), count);
    }
    ctx.session.publish_subscriptions();
    Ok(())
}

fn remove(ctx: &mut SessionCtx<'_, '_>, verb: &str, kind: Kind, args: Args<'_>) -> CommandResult {
    let all: Vec<Box<[u8]>>;
    let names: Vec<&[u8]> = if args.len() > 1 {
        args.from(1).collect()
    } else {
        all = kind.names(&mut ctx.session.subscriptions).iter().cloned().collect();
        all.iter().map(|name| &**name).collect()
    };
    let (pubsub, id) = (&ctx.server.pubsub, ctx.session.client.id);
    for name in &names {
        if kind.names(&mut ctx.session.subscriptions).remove(*name) {
            match kind {
                Kind::Channel => pubsub.unsubscribe(Scope::Global, name, id),
                Kind::Pattern => pubsub.unsubscribe_pattern(name, id),
                Kind::ShardChannel => pubsub.unsubscribe(Scope::Shard, name, id),
            }
        }
        let count = kind.count(&ctx.session.subscriptions);
        confirm(ctx, verb, Some(name), count);
    }
    if names.is_empty() {
        let count = kind.count(&ctx.session.subscriptions);
        confirm(ctx, verb, None, count);
    }
    ctx.session.publish_subscriptions();
    Ok(())
}

fn subscribe(ctx: &mut SessionCtx<'_, '_>, args: Args<'_>) -> CommandResult {
    add(ctx, "subscribe", Kind::Channel, args)
}

fn psubscribe(ctx: &mut SessionCtx<'_, '_>, args: Args<'_>) -> CommandResult {
    add(ctx, "psubscribe", Kind::Pattern, args)
}

fn ssubscribe(ctx: &mut SessionCtx<'_, '_>, args: Args<'_>) -> CommandResult {
    add(ctx, "ssubscribe", Kind::ShardChannel, args)?;
    if let Some(cluster) = ctx.server.cluster() {
        cluster.recheck_channels(ctx.session, &mut args.from(1));
    }
    Ok(())
}

fn unsubscribe(ctx: &mut SessionCtx<'_, '_>, args: Args<'_>) -> CommandResult {
    remove(ctx, "unsubscribe", Kind::Channel, args)
}

fn punsubscribe(ctx: &mut SessionCtx<'_, '_>, args: Args<'_>) -> CommandResult {
    remove(ctx, "punsubscribe", Kind::Pattern, args)
}

fn sunsubscribe(ctx: &mut SessionCtx<'_, '_>, args: Args<'_>) -> CommandResult {
    remove(ctx, "sunsubscribe", Kind::ShardChannel, args)
}

fn publish(ctx: &mut SessionCtx<'_, '_>, args: Args<'_>) -> CommandResult {
    send(ctx, Scope::Global, args)
}

fn spublish(ctx: &mut SessionCtx<'_, '_>, args: Args<'_>) -> CommandResult {
    send(ctx, Scope::Shard, args)
}

/// Redis 7.2 lets a message to the sender itself follow the reply, or that of the whole transaction, where 7.0 put it
/// in front. So a message leaves with the other consequences of the command, in their order.
fn send(ctx: &mut SessionCtx<'_, '_>, scope: Scope, args: Args<'_>) -> CommandResult {
    ctx.out.count(ctx.server.pubsub.receivers(scope, args.at(1)));
    let payload = match args.shared(2) {
        Some(bytes) => Payload::Large(bytes.clone()),
        None => Payload::Plain(args.at(2).into()),
    };
    let message = Message { scope, channel: args.at(1).into(), payload };
    ctx.outcome.announce(Announcement::Message(message));
    Ok(())
}

fn channels(ctx: &mut SessionCtx<'_, '_>, args: Args<'_>) -> CommandResult {
    list(ctx, Scope::Global, args)
}

fn shardchannels(ctx: &mut SessionCtx<'_, '_>, args: Args<'_>) -> CommandResult {
    list(ctx, Scope::Shard, args)
}

fn list(ctx: &mut SessionCtx<'_, '_>, scope: Scope, args: Args<'_>) -> CommandResult {
    if args.len() > 3 {
        return Err(CommandError::wrong_subcommand("PUBSUB", args));
    }
    let channels = ctx.server.pubsub.channels(scope, args.maybe(2));
    ctx.out.array(channels.len());
    channels.iter().for_each(|channel| ctx.out.bulk(channel));
    Ok(())
}

fn numpat(ctx: &mut SessionCtx<'_, '_>, _: Args<'_>) -> CommandResult {
    ctx.out.count(ctx.server.pubsub.pattern_count());
    Ok(())
}

fn numsub(ctx: &mut SessionCtx<'_, '_>, args: Args<'_>) -> CommandResult {
    count(ctx, Scope::Global, args)
}

fn shardnumsub(ctx: &mut SessionCtx<'_, '_>, args: Args<'_>) -> CommandResult {
    count(ctx, Scope::Shard, args)
}

fn count(ctx: &mut SessionCtx<'_, '_>, scope: Scope, args: Args<'_>) -> CommandResult {
    let channels = args.from(2);
    ctx.out.array(channels.len() * 2);
    for channel in channels {
        ctx.out.bulk(channel);
        ctx.out.count(ctx.server.pubsub.listeners(scope, channel));
    }
    Ok(())
}

fn help(ctx: &mut SessionCtx<'_, '_>, _: Args<'_>) -> CommandResult {
    ctx.out.help(
        "PUBSUB",
        &[
            ("CHANNELS [<pattern>]", "Channels with listeners that match <pattern> (default: '*')."),
            ("NUMPAT", "Number of patterns with listeners."),
            ("NUMSUB [<channel> ...]", "Number of listeners of each channel, patterns not counted."),
            ("SHARDCHANNELS [<pattern>]", "Shard channels with listeners that match <pattern> (default: '*')."),
            ("SHARDNUMSUB [<shardchannel> ...]", "Number of listeners of each shard channel."),
        ],
    );
    Ok(())
}
