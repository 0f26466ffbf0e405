//! CLIENT: what clients may know and decide about each other and about themselves.

mod control;
mod identity;
mod kill;
mod list;

use super::ctx::SessionCtx;
use super::spec::{Flags, Group, Handler::Session, Locks, Spec};
use crate::error::CommandResult;
use crate::resp::Args;

const OWN: Flags = Flags::NOSCRIPT.or(Flags::LOADING).or(Flags::STALE).or(Flags::SENTINEL);
const ADMIN: Flags = OWN.or(Flags::ADMIN);
/// What the subcommands have in common.
const SUB: Spec =
    Spec { flags: OWN, group: Group::Connection, categories: &["connection"], locks: Locks::Nothing, ..Spec::DEFAULT };

pub const COMMANDS: &[Spec] = &[Spec {
    name: "client",
    arity: -2,
    flags: Flags::SENTINEL,
    group: Group::Connection,
    since: "2.4.0",
    complexity: "Depends on subcommand.",
    summary: "Commands about client connections.",
    subcommands: SUBCOMMANDS,
    locks: Locks::Nothing,
    ..Spec::DEFAULT
}];

const SUBCOMMANDS: &[Spec] = &[
    Spec {
        name: "caching",
        arity: 3,
        since: "6.0.0",
        summary: "Says whether the keys of the next command are tracked.",
        syntax: "<YES | NO>",
        handler: Session(control::caching),
        ..SUB
    },
    Spec {
        name: "capa",
        arity: -3,
        since: "7.2.0",
        summary: "Says what the client can do: `redirect` if it follows redirections, so that nothing is forwarded.",
        syntax: "<capability> [<capability> ...]",
        handler: Session(identity::capa),
        ..SUB
    },
    Spec {
        name: "getname",
        arity: 2,
        since: "2.6.9",
        summary: "Answers the name of the connection.",
        handler: Session(identity::getname),
        ..SUB
    },
    Spec {
        name: "getredir",
        arity: 2,
        since: "6.0.0",
        summary: "Answers the client that gets this one's invalidations.",
        handler: Session(control::getredir),
        ..SUB
    },
    Spec {
        name: "help",
        arity: 2,
        flags: Flags::LOADING.or(Flags::STALE).or(Flags::SENTINEL),
        since: "5.0.0",
        summary: "Lists the subcommands.",
        handler: Session(help),
        ..SUB
    },
    Spec {
        name: "id",
        arity: 2,
        since: "5.0.0",
        summary: "Answers the id of the connection.",
        handler: Session(identity::id),
        ..SUB
    },
    Spec {
        name: "info",
        tips: &["nondeterministic_output"],
        arity: 2,
        since: "6.2.0",
        summary: "Describes the connection.",
        handler: Session(list::info),
        ..SUB
    },
    Spec {
        name: "kill",
        arity: -3,
        flags: ADMIN,
        since: "2.4.0",
        complexity: "O(N) where N is the number of connections",
        summary: "Closes connections.",
        syntax: "<ip:port | <ID client-id | TYPE <NORMAL | MASTER | SLAVE | REPLICA | PUBSUB> | USER username | \
                 ADDR ip:port | LADDR ip:port | SKIPME <YES | NO> [ID client-id | \
                 TYPE <NORMAL | MASTER | SLAVE | REPLICA | PUBSUB> | USER username | ADDR ip:port | \
                 LADDR ip:port | SKIPME <YES | NO> ...]>>",
        handler: Session(kill::kill),
        ..SUB
    },
    Spec {
        name: "list",
        tips: &["nondeterministic_output"],
        arity: -2,
        flags: ADMIN,
        since: "2.4.0",
        complexity: "O(N) where N is the number of connections",
        summary: "Describes connections, one per line.",
        syntax: "[TYPE <NORMAL | MASTER | REPLICA | PUBSUB>] [ID client-id [client-id ...]]",
        handler: Session(list::list),
        ..SUB
    },
    Spec {
        name: "no-evict",
        arity: 3,
        flags: ADMIN,
        since: "7.0.0",
        summary: "Says whether the connection may be closed when clients need too much memory.",
        syntax: "<ON | OFF>",
        handler: Session(control::no_evict),
        ..SUB
    },
    Spec {
        name: "no-touch",
        arity: 3,
        since: "7.2.0",
        summary: "Says whether the connection's reads leave a trace in access times.",
        syntax: "<ON | OFF>",
        handler: Session(control::no_touch),
        ..SUB
    },
    Spec {
        name: "pause",
        arity: -3,
        flags: ADMIN,
        since: "2.9.50",
        summary: "Holds back all commands, or writes, for a while.",
        syntax: "timeout/integer [WRITE | ALL]",
        handler: Session(control::pause),
        ..SUB
    },
    Spec {
        name: "read-staleness",
        arity: -2,
        since: "7.4.0",
        summary: "Says how old may be what a replica shows to the connection after READONLY, or tells it.",
        syntax: "[milliseconds]",
        handler: Session(control::read_staleness),
        ..SUB
    },
    Spec {
        name: "reply",
        arity: 3,
        since: "3.2.0",
        summary: "Says whether commands are answered.",
        syntax: "<ON | OFF | SKIP>",
        handler: Session(control::reply),
        ..SUB
    },
    Spec {
        name: "setinfo",
        arity: 4,
        since: "7.2.0",
        summary: "Notes name or version of the client's library.",
        syntax: "<LIB-NAME libname | LIB-VER libver>",
        handler: Session(identity::setinfo),
        ..SUB
    },
    Spec {
        name: "setname",
        arity: 3,
        since: "2.6.9",
        summary: "Names the connection.",
        syntax: "connection-name",
        handler: Session(identity::setname),
        ..SUB
    },
    Spec {
        name: "tracking",
        arity: -3,
        since: "6.0.0",
        complexity: "O(1). Some options may take more.",
        summary: "Switches the tracking of keys for client side caches.",
        syntax: "<ON | OFF> [REDIRECT client-id] [PREFIX prefix [PREFIX prefix ...]] [BCAST] [OPTIN] [OPTOUT] [NOLOOP]",
        handler: Session(control::tracking),
        ..SUB
    },
    Spec {
        name: "trackinginfo",
        arity: 2,
        since: "6.2.0",
        summary: "Describes the tracking of keys for the connection.",
        handler: Session(control::tracking_info),
        ..SUB
    },
    Spec {
        name: "unblock",
        arity: -3,
        flags: ADMIN,
        since: "5.0.0",
        complexity: "O(log N) where N is the number of connections",
        summary: "Ends the waiting of another client.",
        syntax: "client-id [TIMEOUT | ERROR]",
        // It takes the locks of what the client waits for, which only it can tell.
        locks: Locks::PieceByPiece,
        handler: Session(control::unblock),
        ..SUB
    },
    Spec {
        name: "unpause",
        arity: 2,
        flags: ADMIN,
        since: "6.2.0",
        complexity: "O(N) where N is the number of paused clients",
        summary: "Ends a pause.",
        handler: Session(control::unpause),
        ..SUB
    },
];

fn help(ctx: &mut SessionCtx<'_, '_>, _: Args<'_>) -> CommandResult {
    ctx.out.help(
        "CLIENT",
        &[
            ("CACHING (YES|NO)", "Track the keys of the next command, or do not (OPTIN and OPTOUT modes)."),
            ("GETREDIR", "The client that receives this one's invalidations."),
            ("GETNAME", "The name of this connection."),
            ("ID", "The id of this connection."),
            ("INFO", "A description of this connection."),
            ("KILL <ip:port>", "Close the connection from <ip:port>."),
            (
                "KILL <option> <value> [<option> <value> [...]]",
                "Close all connections that fit. Options:\n* ID <client-id>\n\
                 * ADDR (<ip:port>|<unixsocket>:0): the client's end.\n\
                 * LADDR (<ip:port>|<unixsocket>:0): the server's end.\n* TYPE (NORMAL|MASTER|REPLICA|PUBSUB)\n\
                 * USER <username>\n* SKIPME (YES|NO): whether this connection is spared (default: yes).",
            ),
            (
                "LIST [options ...]",
                "A line for each connection. Options:\n* TYPE (NORMAL|MASTER|REPLICA|PUBSUB)\n\
                 * ID <client-id> [<client-id> ...]",
            ),
            ("UNPAUSE", "End a pause now."),
            ("PAUSE <timeout> [WRITE|ALL]", "Hold back all clients, or just writes, for <timeout> milliseconds."),
            (
                "READ-STALENESS [<milliseconds>]",
                "How old what a replica shows after READONLY may be; 0 for any age, which is the default.",
            ),
            ("REPLY (ON|OFF|SKIP)", "Whether this connection is answered."),
            ("SETNAME <name>", "Give this connection a name."),
            ("CAPA <capability> [<capability> ...]", "Say what the client can do: `redirect` to follow redirections."),
            ("SETINFO <option> <value>", "Note LIB-NAME or LIB-VER of the client's library."),
            ("UNBLOCK <clientid> [TIMEOUT|ERROR]", "End the waiting of that client."),
            (
                "TRACKING (ON|OFF) [REDIRECT <id>] [BCAST] [PREFIX <prefix> [...]] [OPTIN] [OPTOUT] [NOLOOP]",
                "Switch server assisted client side caching.",
            ),
            ("TRACKINGINFO", "The state of tracking for this connection."),
            ("NO-EVICT (ON|OFF)", "Keep this connection when clients need too much memory."),
            ("NO-TOUCH (ON|OFF)", "Read without a trace in access times."),
        ],
    );
    Ok(())
}
