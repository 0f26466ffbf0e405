//! The rows of CLUSTER and its kin, and what CLUSTER HELP answers.

use super::{ask, change};
use crate::commands::ctx::SessionCtx;
use crate::commands::spec::{Flags, Group, Handler::Session, Locks, Spec, Standing};
use crate::error::CommandResult;
use crate::resp::Args;

const ASKS: Flags = Flags::STALE;
const ADMIN: Flags = Flags::ADMIN.or(Flags::STALE);
const CHANGES: Flags = ADMIN.or(Flags::NO_ASYNC_LOADING);
/// What the subcommands have in common.
const SUB: Spec = Spec { flags: ASKS, group: Group::Cluster, since: "3.0.0", locks: Locks::Nothing, ..Spec::DEFAULT };
/// What a client says about its connection.
const MODE: Spec = Spec {
    arity: 1,
    group: Group::Cluster,
    since: "3.0.0",
    categories: &["connection"],
    locks: Locks::Nothing,
    ..Spec::DEFAULT
};

pub const COMMANDS: &[Spec] = &[
    Spec {
        name: "asking",
        flags: Flags::FAST,
        summary: "Says that the next command is for a slot that is being imported.",
        handler: Session(ask::asking),
        ..MODE
    },
    Spec {
        name: "cluster",
        arity: -2,
        flags: Flags::NONE,
        complexity: "Depends on subcommand.",
        summary: "Commands about the cluster.",
        subcommands: SUBCOMMANDS,
        ..SUB
    },
    Spec {
        name: "readonly",
        flags: Flags::FAST.or(Flags::LOADING).or(Flags::STALE),
        summary: "Allows reads on this connection that a replica answers.",
        handler: Session(ask::readonly),
        ..MODE
    },
    Spec {
        name: "readwrite",
        flags: Flags::FAST.or(Flags::LOADING).or(Flags::STALE),
        summary: "Ends what READONLY has allowed.",
        handler: Session(ask::readwrite),
        ..MODE
    },
];

const SUBCOMMANDS: &[Spec] = &[
    Spec {
        name: "addslots",
        arity: -3,
        flags: CHANGES,
        complexity: "O(N) where N is the number of slots that are named",
        summary: "Assigns slots to this node.",
        syntax: "slot/integer [slot/integer ...]",
        handler: Session(change::ordered),
        ..SUB
    },
    Spec {
        name: "addslotsrange",
        arity: -4,
        flags: CHANGES,
        since: "7.0.0",
        complexity: "O(N) where N is the number of slots that are named",
        summary: "Assigns ranges of slots to this node.",
        syntax: "start-slot/integer end-slot/integer [start-slot/integer end-slot/integer ...]",
        handler: Session(change::ordered),
        ..SUB
    },
    Spec {
        name: "balance",
        arity: -2,
        flags: CHANGES,
        since: "7.2.0",
        complexity: "O(N) where N is the number of slots",
        summary: "Spreads slots evenly over the nodes, or tells how.",
        syntax: "[DRYRUN]",
        handler: Session(change::ordered),
        ..SUB
    },
    Spec {
        name: "bumpepoch",
        tips: &["nondeterministic_output"],
        arity: 2,
        flags: CHANGES,
        summary: "Gives this node the highest epoch.",
        handler: Session(change::ordered),
        ..SUB
    },
    Spec {
        name: "cancelslotmigrations",
        arity: 2,
        flags: CHANGES,
        since: "7.2.0",
        summary: "Ends all migrations of slots out of this node.",
        handler: Session(change::ordered_quietly),
        ..SUB
    },
    Spec {
        name: "count-failure-reports",
        tips: &["nondeterministic_output"],
        arity: 3,
        flags: ADMIN,
        complexity: "O(N) where N is the number of reports",
        summary: "Counts the nodes that say that a node is down.",
        syntax: "node-id/string",
        handler: Session(ask::count_failure_reports),
        ..SUB
    },
    Spec {
        name: "countkeysinslot",
        arity: 3,
        summary: "Counts the keys of a slot on this node.",
        syntax: "slot/integer",
        handler: Session(ask::count_keys_in_slot),
        ..SUB
    },
    Spec {
        name: "delslots",
        arity: -3,
        flags: CHANGES,
        complexity: "O(N) where N is the number of slots that are named",
        summary: "Makes slots unassigned.",
        syntax: "slot/integer [slot/integer ...]",
        handler: Session(change::ordered),
        ..SUB
    },
    Spec {
        name: "delslotsrange",
        arity: -4,
        flags: CHANGES,
        since: "7.0.0",
        complexity: "O(N) where N is the number of slots that are named",
        summary: "Makes ranges of slots unassigned.",
        syntax: "start-slot/integer end-slot/integer [start-slot/integer end-slot/integer ...]",
        handler: Session(change::ordered),
        ..SUB
    },
    Spec {
        name: "drain",
        arity: -3,
        flags: CHANGES,
        since: "7.2.0",
        summary: "Empties a node while it serves.",
        syntax: "node-id/string [STOP]",
        handler: Session(change::ordered),
        ..SUB
    },
    Spec {
        name: "failover",
        arity: -2,
        flags: CHANGES,
        summary: "Makes this replica the master.",
        syntax: "[FORCE | TAKEOVER]",
        handler: Session(change::ordered),
        ..SUB
    },
    Spec {
        name: "flushslots",
        arity: 2,
        flags: CHANGES,
        summary: "Makes all slots of this node unassigned.",
        handler: Session(change::ordered),
        ..SUB
    },
    Spec {
        name: "forget",
        arity: 3,
        flags: CHANGES,
        summary: "Removes a node from the cluster.",
        syntax: "node-id/string",
        handler: Session(change::ordered),
        ..SUB
    },
    Spec {
        name: "getkeysinslot",
        tips: &["nondeterministic_output"],
        arity: 4,
        complexity: "O(N) where N is the number of keys that are asked for",
        summary: "Lists keys of a slot on this node.",
        syntax: "slot/integer count/integer",
        handler: Session(ask::keys_in_slot),
        ..SUB
    },
    Spec {
        name: "getslotmigrations",
        tips: &["nondeterministic_output"],
        arity: 2,
        flags: ADMIN,
        since: "7.2.0",
        complexity: "O(N) where N is the number of migrations",
        summary: "Describes migrations of slots.",
        handler: Session(change::slot_migrations),
        ..SUB
    },
    Spec {
        name: "help",
        arity: 2,
        flags: Flags::LOADING.or(Flags::STALE),
        since: "5.0.0",
        summary: "Lists the subcommands.",
        handler: Session(help),
        ..SUB
    },
    Spec {
        name: "info",
        tips: &["nondeterministic_output"],
        arity: 2,
        summary: "Tells figures of the cluster.",
        handler: Session(ask::info),
        ..SUB
    },
    Spec {
        name: "keyslot",
        arity: 3,
        complexity: "O(N) where N is the number of bytes of the key",
        summary: "Answers the slot of a key.",
        syntax: "key/string",
        handler: Session(ask::key_slot),
        ..SUB
    },
    Spec {
        name: "links",
        tips: &["nondeterministic_output"],
        arity: 2,
        since: "7.0.0",
        complexity: "O(N) where N is the number of nodes",
        summary: "Describes the connections to other nodes.",
        handler: Session(ask::links),
        ..SUB
    },
    Spec {
        name: "meet",
        arity: -4,
        flags: CHANGES,
        summary: "Makes this node and another one part of the same cluster.",
        syntax: "ip port/integer [cluster_bus_port/integer]",
        handler: Session(change::ordered),
        ..SUB
    },
    Spec {
        name: "migrateslots",
        arity: -6,
        flags: CHANGES,
        since: "7.2.0",
        complexity: "O(N) where N is the number of slots that are named",
        summary: "Moves slots of this node, with their keys, to other nodes.",
        syntax: "<SLOTSRANGE start-slot/integer end-slot/integer [start-slot/integer end-slot/integer ...] \
                 NODE node-id/string [SLOTSRANGE start-slot/integer end-slot/integer \
                 [start-slot/integer end-slot/integer ...] NODE node-id/string ...]>",
        handler: Session(change::ordered_quietly),
        ..SUB
    },
    Spec {
        name: "migration",
        arity: -3,
        flags: CHANGES,
        since: "7.2.0",
        complexity: "O(N) where N is the number of slots that are named",
        summary: "Moves slots, with their keys, to this node; tells how far that is, or ends it.",
        syntax: "<IMPORT start-slot/integer end-slot/integer [start-slot/integer end-slot/integer ...] | STATUS | \
                 CANCEL>",
        handler: Session(change::migration),
        ..SUB
    },
    Spec { name: "myid", arity: 2, summary: "Answers the id of this node.", handler: Session(ask::my_id), ..SUB },
    Spec {
        name: "myshardid",
        tips: &["nondeterministic_output"],
        arity: 2,
        since: "7.2.0",
        summary: "Answers the id that this node has in common with its master or its replicas.",
        handler: Session(ask::my_shard_id),
        ..SUB
    },
    Spec {
        name: "nodes",
        tips: &["nondeterministic_output"],
        arity: 2,
        complexity: "O(N) where N is the number of nodes",
        summary: "Describes all nodes, one per line.",
        handler: Session(ask::nodes),
        ..SUB
    },
    Spec {
        name: "replicas",
        tips: &["nondeterministic_output"],
        arity: 3,
        flags: ADMIN,
        since: "5.0.0",
        complexity: "O(N) where N is the number of replicas",
        summary: "Describes the replicas of a master.",
        syntax: "node-id/string",
        handler: Session(ask::replicas),
        ..SUB
    },
    Spec {
        name: "replicate",
        arity: 3,
        flags: CHANGES,
        summary: "Makes this node a replica of a master.",
        syntax: "node-id/string",
        handler: Session(change::ordered),
        ..SUB
    },
    Spec {
        name: "reset",
        arity: -2,
        flags: Flags::ADMIN.or(Flags::NOSCRIPT).or(Flags::STALE),
        complexity: "O(N) where N is the number of nodes",
        summary: "Makes this node a cluster by itself again.",
        syntax: "[HARD | SOFT]",
        handler: Session(change::ordered),
        ..SUB
    },
    Spec {
        name: "saveconfig",
        arity: 2,
        flags: CHANGES,
        summary: "Makes sure that what this node knows of the cluster is on disk.",
        handler: Session(change::ordered),
        ..SUB
    },
    Spec {
        name: "set-config-epoch",
        arity: 3,
        flags: CHANGES,
        summary: "Sets the epoch of a new node.",
        syntax: "config-epoch/integer",
        handler: Session(change::ordered),
        ..SUB
    },
    Spec {
        name: "setslot",
        arity: -4,
        flags: CHANGES,
        summary: "Opens a slot for moving its keys one by one, closes it, or gives it to a node.",
        syntax: "slot/integer <IMPORTING node-id/string | MIGRATING node-id/string | NODE node-id/string | STABLE>",
        handler: Session(change::ordered),
        ..SUB
    },
    Spec {
        name: "shards",
        tips: &["nondeterministic_output"],
        arity: 2,
        since: "7.0.0",
        complexity: "O(N) where N is the number of nodes",
        summary: "Describes masters with their slots and replicas.",
        handler: Session(ask::shards),
        ..SUB
    },
    Spec {
        name: "slaves",
        tips: &["nondeterministic_output"],
        arity: 3,
        flags: ADMIN,
        complexity: "O(N) where N is the number of replicas",
        summary: "Describes the replicas of a master.",
        syntax: "node-id/string",
        standing: Standing::Deprecated { since: "5.0.0", replaced_by: "`CLUSTER REPLICAS`" },
        handler: Session(ask::replicas),
        ..SUB
    },
    Spec {
        name: "slot-stats",
        tips: &["nondeterministic_output"],
        arity: -4,
        since: "8.2.0",
        complexity: "O(N) where N is the number of slots",
        summary: "Tells how many keys there are in slots of this node.",
        syntax: "<SLOTSRANGE start-slot/integer end-slot/integer | ORDERBY metric [LIMIT limit/integer] [ASC | DESC]>",
        handler: Session(ask::slot_stats),
        ..SUB
    },
    Spec {
        name: "slots",
        tips: &["nondeterministic_output"],
        arity: 2,
        complexity: "O(N) where N is the number of nodes",
        summary: "Describes ranges of slots with the nodes that serve them.",
        standing: Standing::Deprecated { since: "7.0.0", replaced_by: "`CLUSTER SHARDS`" },
        handler: Session(ask::slots),
        ..SUB
    },
    Spec {
        name: "verify",
        tips: &["nondeterministic_output"],
        arity: -2,
        flags: CHANGES,
        since: "7.2.0",
        complexity: "O(N) where N is the number of entries and elements in these slots",
        summary: "Compares the replicas of each group while they run.",
        syntax: "[start-slot/integer end-slot/integer]",
        handler: Session(change::ordered),
        ..SUB
    },
];

fn help(ctx: &mut SessionCtx<'_, '_>, _: Args<'_>) -> CommandResult {
    ask::cluster_of(ctx.server)?;
    ctx.out.help(
        "CLUSTER",
        &[
            ("ADDSLOTS <slot> [<slot> ...]", "Assign slots to this node."),
            ("ADDSLOTSRANGE <start slot> <end slot> [<start slot> <end slot> ...]", "Assign ranges of slots to it."),
            ("BALANCE [DRYRUN]", "Spread slots evenly, or list the moves that would do it."),
            ("BUMPEPOCH", "Give this node the highest epoch."),
            ("CANCELSLOTMIGRATIONS", "End all migrations of slots out of this node."),
            ("COUNT-FAILURE-REPORTS <node-id>", "The number of nodes that say that <node-id> is down."),
            ("COUNTKEYSINSLOT <slot>", "The number of keys in <slot>."),
            ("DELSLOTS <slot> [<slot> ...]", "Make slots unassigned."),
            ("DELSLOTSRANGE <start slot> <end slot> [<start slot> <end slot> ...]", "Make ranges unassigned."),
            ("DRAIN <node-id> [STOP]", "Empty a node while it serves, or stop emptying it."),
            ("FAILOVER [FORCE|TAKEOVER]", "Make this replica the master."),
            ("FORGET <node-id>", "Remove a node from the cluster."),
            ("GETKEYSINSLOT <slot> <count>", "Keys of <slot>, at most <count>."),
            ("GETSLOTMIGRATIONS", "Migrations of slots, the newest first."),
            ("FLUSHSLOTS", "Make all slots of this node unassigned."),
            ("INFO", "Figures of the cluster."),
            ("KEYSLOT <key>", "The slot of <key>."),
            ("LINKS", "The connections to other nodes."),
            ("MEET <ip> <port> [<bus-port>]", "Join the cluster of that node, or have it join this one's."),
            (
                "MIGRATESLOTS SLOTSRANGE <start slot> <end slot> [...] NODE <node-id> [...]",
                "Move slots with their keys.",
            ),
            (
                "MIGRATION IMPORT <start slot> <end slot> [...]|STATUS [ID <id>|ALL]|CANCEL ID <id>|ALL",
                "Move slots with their keys to this node; look at that, or end it.",
            ),
            ("MYID", "The id of this node."),
            ("MYSHARDID", "The id of this node's shard."),
            (
                "NODES",
                "All nodes, one per line:\n<id> <ip:port@bus-port[,hostname]> <flags> <master> <ping> <pong> \
             <epoch> <link> <slot> ...",
            ),
            ("REPLICATE <node-id>", "Become a replica of that master."),
            ("RESET [HARD|SOFT]", "Become a cluster by itself (default: soft)."),
            ("SET-CONFIG-EPOCH <epoch>", "Set the epoch of a new node."),
            ("SETSLOT <slot> (IMPORTING <node-id>|MIGRATING <node-id>|STABLE|NODE <node-id>)", "Set a slot's state."),
            ("REPLICAS <node-id>", "The replicas of that master."),
            ("SAVECONFIG", "Make sure that what is known of the cluster is on disk."),
            ("SLOTS", "Ranges of slots: start, end, master and replicas with addresses, ports and ids."),
            (
                "SLOT-STATS SLOTSRANGE <start slot> <end slot>|ORDERBY KEY-COUNT [LIMIT <n>] [ASC|DESC]",
                "Keys per slot.",
            ),
            ("SHARDS", "Masters with their slots and replicas."),
            ("VERIFY [<start slot> <end slot>]", "Compare the replicas of each group, and say which differ in what."),
        ],
    );
    Ok(())
}
