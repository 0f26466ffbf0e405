//! From the arguments of a command to what it orders of the cluster.
//!
//! What can be said without the rest of the cluster is said here: arguments that make no sense, names that are none,
//! and that this node still holds keys.

use crate::cluster::Cluster;
use crate::cluster::control::Denied;
use crate::cluster::order::{Identity, Order, Rehearsal, Which};
use crate::cluster::place::peer_port_of;
use crate::commands::Command;
use crate::commands::parse::integer;
use crate::error::{CommandError, SYNTAX};
use crate::resp::Args;
use crate::server::Server;
use basalt_cluster::Slot;
use basalt_cluster::ids::{ConfigEpoch, MigrationId, NodeId};
use basalt_cluster::map::{Change, Force, Refusal, Removal, Role, SlotRange};
use basalt_storage::effect::DbIndex;
use basalt_storage::number::parse_i64;
use basalt_storage::slot::SlotSet;
use std::net::{IpAddr, SocketAddr};

const INVALID_SLOT: CommandError = CommandError::new("ERR Invalid or out of range slot");
const FLUSH_FULL: CommandError = CommandError::new("ERR DB must be empty to perform CLUSTER FLUSHSLOTS.");
const RESET_FULL: CommandError =
    CommandError::new("ERR CLUSTER RESET can't be called with master nodes containing keys");
const SETSLOT_ACTION: CommandError =
    CommandError::new("ERR Invalid CLUSTER SETSLOT action or number of arguments. Try CLUSTER HELP");

type Parsed = Result<Order, CommandError>;

/// What the command orders of the cluster; nothing if it only asks.
pub fn order(server: &Server, cluster: &Cluster, command: &Command, args: Args<'_>) -> Option<Parsed> {
    let words = Words { server, cluster, args };
    Some(match command.full_name {
        "cluster|addslots" => words.slots().map(Order::AddSlots),
        "cluster|addslotsrange" => words.slot_ranges("addslotsrange").map(Order::AddSlots),
        "cluster|delslots" => words.slots().map(Order::DelSlots),
        "cluster|delslotsrange" => words.slot_ranges("delslotsrange").map(Order::DelSlots),
        "cluster|flushslots" => words.flush_slots(),
        "cluster|setslot" => words.set_slot(),
        "cluster|bumpepoch" => Ok(Order::BumpEpoch),
        "cluster|set-config-epoch" => words.set_config_epoch(),
        "cluster|meet" => words.meet(),
        "cluster|forget" => words.forget(),
        "cluster|replicate" => words.replicate(),
        "cluster|failover" => words.failover(),
        "cluster|reset" => words.reset(),
        "cluster|saveconfig" => Ok(Order::SaveConfig),
        "cluster|migrateslots" => words.migrate_slots(),
        "cluster|cancelslotmigrations" => words.cancel_slot_migrations(),
        "cluster|migration" => return words.migration(),
        "cluster|balance" => words.balance(),
        "cluster|drain" => words.drain(),
        "cluster|verify" => words.verify(),
        _ => return None,
    })
}

/// A slot's number, or the error that this argument is none.
pub fn slot(text: &[u8]) -> Result<Slot, CommandError> {
    let number = parse_i64(text).and_then(|number| u16::try_from(number).ok());
    number.and_then(Slot::new).ok_or(INVALID_SLOT)
}

pub fn unknown_node(text: &[u8]) -> CommandError {
    CommandError::of_bytes([b"ERR Unknown node ", CommandError::shown(text, usize::MAX)].concat())
}

struct Words<'a> {
    server: &'a Server,
    cluster: &'a Cluster,
    args: Args<'a>,
}

impl<'a> Words<'a> {
    fn slots(&self) -> Result<Vec<SlotRange>, CommandError> {
        let slots: Vec<Slot> = self.args.from(2).map(slot).collect::<Result<_, _>>()?;
        check_unique(slots.iter().copied())?;
        let mut sorted = slots;
        sorted.sort();
        Ok(SlotRange::of_slots(sorted))
    }

    fn slot_ranges(&self, name: &'static str) -> Result<Vec<SlotRange>, CommandError> {
        if !self.args.len().is_multiple_of(2) {
            return Err(CommandError::wrong_arity(&format!("cluster|{name}")));
        }
        let ranges = ranges(self.args, 2, self.args.len())?;
        check_unique(ranges.iter().flat_map(|range| range.slots()))?;
        Ok(ranges)
    }

    fn flush_slots(&self) -> Parsed {
        if self.has_keys() { Err(FLUSH_FULL) } else { Ok(Order::FlushSlots) }
    }

    fn has_keys(&self) -> bool {
        self.server.keyspace.see_all();
        self.server.keyspace.key_count(DbIndex(0)) > 0
    }

    fn set_slot(&self) -> Parsed {
        let args = self.args;
        if self.cluster.is_replica() {
            return Err(CommandError::new("ERR Please use SETSLOT only with masters."));
        }
        let slot = slot(args.at(2))?;
        // Valkey's TIMEOUT: how long to wait for others. Here all of them are waited for, as long as is allowed.
        let words = match args.len() {
            len if len >= 6 && args.is(len - 2, "TIMEOUT") => {
                integer(args.at(len - 1))?;
                len - 2
            }
            len => len,
        };
        let node = NodeId::from_text(args.maybe(4).unwrap_or_default());
        let name = node.unwrap_or(NOBODY);
        let (order, change) = match words {
            5 if args.is(3, "MIGRATING") => (
                Order::SetMigrating { slot, to: name },
                Change::OpenMigrating { node: self.cluster.me(), slot, to: name },
            ),
            5 if args.is(3, "IMPORTING") => (
                Order::SetImporting { slot, from: name },
                Change::OpenImporting { node: self.cluster.me(), slot, from: name },
            ),
            4 if args.is(3, "STABLE") => return Ok(Order::SetStable(slot)),
            5 if args.is(3, "NODE") && node.is_none() => return Err(unknown_node(args.at(4))),
            5 if args.is(3, "NODE") => return Ok(Order::SetNode { slot, to: name }),
            _ => return Err(SETSLOT_ACTION),
        };
        if node.is_some() {
            return Ok(order);
        }
        // The text is nobody's name. Something else may be wrong before that is.
        match self.cluster.picture().map.preview(&change) {
            Err(refusal) if !matches!(refusal, Refusal::DontKnowNode(_)) => Err(Denied::Refused(refusal).into()),
            _ => Err(CommandError::of_bytes([b"ERR I don't know about node ", args.at(4)].concat())),
        }
    }

    fn set_config_epoch(&self) -> Parsed {
        let epoch = integer(self.args.at(2))?;
        let invalid = || CommandError::owned(format!("ERR Invalid config epoch specified: {epoch}"));
        u64::try_from(epoch).map(|epoch| Order::SetConfigEpoch(ConfigEpoch(epoch))).map_err(|_| invalid())
    }

    fn meet(&self) -> Parsed {
        let args = self.args;
        if args.len() > 5 {
            return Err(CommandError::wrong_subcommand("CLUSTER", args));
        }
        let number = |at: usize, kind: &str| {
            let text = args.at(at);
            let opening = format!("ERR Invalid {kind} port specified: ");
            parse_i64(text).ok_or_else(|| CommandError::of_bytes([opening.as_bytes(), text].concat()))
        };
        let port = number(3, "TCP base")?;
        let peer_port = if args.len() == 5 { Some(number(4, "TCP bus")?) } else { None };
        let ip = std::str::from_utf8(args.at(2)).ok().and_then(|text| text.parse::<IpAddr>().ok());
        let as_port = |number: i64| u16::try_from(number).ok().filter(|port| *port != 0);
        let port = as_port(port);
        let peer_port = match peer_port {
            Some(peer_port) => port.and_then(|_| as_port(peer_port)),
            None => port.and_then(peer_port_of),
        };
        match (ip, peer_port) {
            (Some(ip), Some(peer_port)) => Ok(Order::Meet(SocketAddr::new(ip, peer_port))),
            _ => {
                let opening: &[u8] = b"ERR Invalid node address specified: ";
                Err(CommandError::of_bytes([opening, args.at(2), b":", args.at(3)].concat()))
            }
        }
    }

    /// A node's name. Whether it is known is found out where the order is carried out.
    fn node(&self, at: usize) -> Result<NodeId, CommandError> {
        NodeId::from_text(self.args.at(at)).ok_or_else(|| unknown_node(self.args.at(at)))
    }

    fn forget(&self) -> Parsed {
        self.node(2).map(Order::Forget)
    }

    fn replicate(&self) -> Parsed {
        let master = self.node(2)?;
        let change = Change::Replicate { node: self.cluster.me(), master };
        let picture = self.cluster.picture();
        let outcome = picture.map.preview(&change);
        let is_master = picture.roles.role(self.cluster.me()) == Some(Role::Master);
        // That this node is empty is what Redis looks at last, and what only this node knows.
        if outcome.is_ok() && is_master && self.has_keys() {
            return Err(Denied::Refused(Refusal::NotEmpty).into());
        }
        Ok(Order::Replicate(master))
    }

    fn failover(&self) -> Parsed {
        match self.args.len() {
            2 => Ok(Order::Failover(Force::HandOver)),
            3 if self.args.is(2, "FORCE") || self.args.is(2, "TAKEOVER") => Ok(Order::Failover(Force::Campaign)),
            3 => Err(SYNTAX),
            _ => Err(CommandError::wrong_subcommand("CLUSTER", self.args)),
        }
    }

    fn reset(&self) -> Parsed {
        let identity = match self.args.len() {
            2 => Identity::Kept,
            3 if self.args.is(2, "SOFT") => Identity::Kept,
            3 if self.args.is(2, "HARD") => Identity::New,
            3 => return Err(SYNTAX),
            _ => return Err(CommandError::wrong_subcommand("CLUSTER", self.args)),
        };
        if !self.cluster.is_replica() && self.has_keys() {
            return Err(RESET_FULL);
        }
        Ok(Order::Reset(identity))
    }

    /// `SLOTSRANGE a b [a b ...] NODE id`, once or more.
    fn migrate_slots(&self) -> Parsed {
        let args = self.args;
        let mut jobs = Vec::new();
        let mut at = 2;
        while at < args.len() {
            if !args.is(at, "SLOTSRANGE") {
                return Err(SYNTAX);
            }
            let end = (at + 1..args.len()).find(|&index| args.is(index, "NODE")).ok_or(SYNTAX)?;
            if end == at + 1 || !(end - at - 1).is_multiple_of(2) || end + 1 >= args.len() {
                return Err(SYNTAX);
            }
            let slots = ranges(args, at + 1, end)?;
            let name = args.at(end + 1);
            let node = NodeId::from_text(name)
                .ok_or_else(|| CommandError::of_bytes([b"ERR Invalid node name: ", name].concat()))?;
            jobs.push((node, slots));
            at = end + 2;
        }
        Ok(Order::Export(jobs))
    }

    fn cancel_slot_migrations(&self) -> Parsed {
        let picture = self.cluster.picture();
        let me = self.cluster.me();
        let mine = |migration: &basalt_cluster::map::Migration| picture.roles.face(migration.source) == Some(me);
        if picture.map.migrations_under_way().any(mine) {
            Ok(Order::Cancel(Which::Exports))
        } else {
            Err(CommandError::new("ERR No migrations ongoing"))
        }
    }

    /// `IMPORT a b [a b ...]`, `CANCEL ID id | ALL`; STATUS only asks.
    fn migration(&self) -> Option<Parsed> {
        let args = self.args;
        if args.is(2, "STATUS") {
            return None;
        }
        Some(match args.len() {
            len if args.is(2, "IMPORT") && len >= 5 && len % 2 == 1 => ranges(args, 3, len).and_then(|slots| {
                check_unique(slots.iter().flat_map(|range| range.slots()))?;
                Ok(Order::Import(slots))
            }),
            4 if args.is(2, "CANCEL") && args.is(3, "ALL") => Ok(Order::Cancel(Which::Imports)),
            5 if args.is(2, "CANCEL") && args.is(3, "ID") => Ok(match MigrationId::from_text(args.at(4)) {
                Some(id) => Order::Cancel(Which::One(id)),
                // There is none of this name, so none is cancelled.
                None => Order::Cancel(Which::One(MigrationId::new([0; MigrationId::BYTES]))),
            }),
            _ => Err(SYNTAX),
        })
    }

    fn balance(&self) -> Parsed {
        match self.args.len() {
            2 => Ok(Order::Balance(Rehearsal::CarryOut)),
            3 if self.args.is(2, "DRYRUN") => Ok(Order::Balance(Rehearsal::Plan)),
            _ => Err(SYNTAX),
        }
    }

    fn verify(&self) -> Parsed {
        match self.args.len() {
            2 => Ok(Order::Verify(SlotRange::all())),
            4 => Ok(Order::Verify(ranges(self.args, 2, 4)?[0])),
            _ => Err(SYNTAX),
        }
    }

    fn drain(&self) -> Parsed {
        let removal = match self.args.len() {
            3 => Removal::Wanted,
            4 if self.args.is(3, "STOP") => Removal::NotWanted,
            _ => return Err(SYNTAX),
        };
        Ok(Order::Drain { node: self.node(2)?, removal })
    }
}

/// A name that nobody draws.
const NOBODY: NodeId = NodeId::new([0xff; NodeId::BYTES]);

/// Pairs of first and last slot between two positions.
pub fn ranges(args: Args<'_>, from: usize, to: usize) -> Result<Vec<SlotRange>, CommandError> {
    let pair = |at: usize| {
        let (first, last) = (slot(args.at(at))?, slot(args.at(at + 1))?);
        SlotRange::new(first, last).ok_or_else(|| {
            CommandError::owned(format!(
                "ERR start slot number {} is greater than end slot number {}",
                first.number(),
                last.number()
            ))
        })
    };
    (from..to).step_by(2).map(pair).collect()
}

fn check_unique(slots: impl Iterator<Item = Slot>) -> Result<(), CommandError> {
    let mut seen = SlotSet::default();
    for slot in slots {
        if !seen.insert(slot) {
            return Err(Denied::Refused(Refusal::SlotRepeated(slot)).into());
        }
    }
    Ok(())
}
