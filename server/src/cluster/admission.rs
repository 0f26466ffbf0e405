//! Whether a request may be evaluated here, asked before it is queued or evaluated, and again under its locks.
//!
//! Before: [`Cluster::admit`] finds the request's slot and decides by the table of slot states, without locks. Under
//! the locks: [`Cluster::confirm`] sees whether the table has changed since, and then decides again; where keys move
//! one by one it looks which are there. So nobody evaluates in a slot that has just left.
//!
//! What a connection remembers for this between its requests is its [`Routing`].

use super::control::Outcome;
use super::order::Order;
use super::replica_reads::Reads;
use super::route::{self, Allowed, Asking, Decision, Effect, Here, Mode, Names, Presence, Request, Wanted};
use super::slots::{SlotState, StatesEpoch};
use super::{Cluster, Picture};
use crate::commands::Command;
use crate::commands::cluster::parse;
use crate::commands::spec::{Flags, Group, KeyFlags};
use crate::durability::replicas::DB;
use crate::error::CommandError;
use crate::forward::admission::{self as forward, Passage};
use crate::forward::batch::{Destination, Way};
use crate::resp::Args;
use crate::server::Server;
use crate::session::{Queued, Session};
use crate::transaction::Phase;
use basalt_cluster::ids::NodeId;
use basalt_cluster::map::OpenSlot;
use basalt_storage::keyspace::{Key, View};
use basalt_storage::slot::{Slot, StripeSet};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

pub const NOT_SERVED: CommandError = CommandError::new("CLUSTERDOWN Hash slot not served");
pub const CLUSTER_DOWN: CommandError = CommandError::new("CLUSTERDOWN The cluster is down");
const ONLY_READS: CommandError = CommandError::new("CLUSTERDOWN The cluster is down and only accepts read commands");
const CROSS_SLOT: CommandError = CommandError::new("CROSSSLOT Keys in request don't hash to the same slot");
const TRY_AGAIN: CommandError = CommandError::new("TRYAGAIN Multiple keys request during rehashing of slot");
const READ_ONLY: CommandError = CommandError::new("READONLY You can't write against a read only replica.");

/// Results of a request's orders, filled in by whoever has carried them out.
type Results = Arc<Mutex<Option<VecDeque<Result<Outcome, CommandError>>>>>;

/// What a connection remembers about the cluster.
#[derive(Default)]
pub struct Routing {
    asked: Asked,
    pub mode: Mode,
    /// The decision that has let the request at hand in.
    fence: Option<Fence>,
    /// Until when the request at hand may be held back.
    held_until: Option<Instant>,
    /// The orders of the request at hand were submitted.
    results: Option<Results>,
    /// What becomes of the request at hand if another node serves it.
    passage: Passage,
    /// Which one, if it is forwarded there.
    destination: Option<(Slot, Destination)>,
    /// How it reads from a replica.
    pub reads: Reads,
}

/// How far ASKING is in force: it holds for the next command, or for the next transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
enum Asked {
    #[default]
    No,
    JustNow,
    Yes,
}

#[derive(Clone, Copy)]
struct Fence {
    epoch: StatesEpoch,
    wanted: Wanted,
    request: Request,
    decision: Decision,
}

/// What a request may do that was not refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    Now,
    /// It may read the copy that this node has of the slot.
    FromCopy(Slot),
    /// It is looked at again when the client gets mail.
    AfterMail,
    /// It is forwarded; see [`Routing::take_destination`].
    Elsewhere,
}

/// Why a request that was let in is not evaluated after all.
pub enum Stay {
    /// The client gets mail when it is to be tried again.
    Held,
    Refused(CommandError),
    /// It is forwarded; see [`Routing::take_destination`].
    Elsewhere,
}

impl Routing {
    pub fn ask(&mut self) {
        self.asked = Asked::JustNow;
    }

    /// The result of the next order of this request.
    pub fn next_result(&mut self) -> Option<Result<Outcome, CommandError>> {
        self.results.as_ref()?.lock().as_mut()?.pop_front()
    }

    /// Requests are redirected from now on.
    pub fn stop_forwarding(&mut self) {
        self.passage = Passage::Redirected;
    }

    /// Where the request at hand is forwarded.
    pub fn take_destination(&mut self) -> Option<(Slot, Destination)> {
        self.destination.take()
    }

    /// A request was answered; `phase` is that of the connection's transaction now.
    #[inline]
    pub fn end_request(&mut self, phase: &Phase) {
        self.fence = None;
        self.results = None;
        self.reads.end_request();
        self.asked = match (self.asked, phase) {
            (Asked::JustNow, _) => Asked::Yes,
            (Asked::Yes, Phase::Queueing { .. }) => Asked::Yes,
            _ => Asked::No,
        };
    }
}

impl Cluster {
    /// Asks the processor for what deciding about a request for this slot will look at.
    #[inline]
    pub fn prefetch(&self, slot: Slot) {
        self.states.prefetch(slot);
        self.tally.prefetch(slot);
    }

    /// Decides about a request before it is queued or evaluated.
    // Within its caller it makes the path of every command longer, where there is no cluster too: 5 % of a SET.
    #[inline(never)]
    pub fn admit(
        &self,
        server: &Server,
        session: &mut Session,
        command: &Command,
        args: Args<'_>,
    ) -> Result<Entry, CommandError> {
        match self.admit_at_once(session, command, args) {
            Some(entry) => Ok(entry),
            None => self.admit_closely(server, session, command, args),
        }
    }

    /// Nearly every request of nearly every cluster: one key, in a slot that is served. `None` for all that has to be
    /// looked at closely.
    #[inline]
    fn admit_at_once(&self, session: &mut Session, command: &Command, args: Args<'_>) -> Option<Entry> {
        let slot = args.slot(command.lone_key(args)?);
        let epoch = self.states.epoch();
        let is_served = self.states.at(slot) == SlotState::Serving && self.cover() == route::Cover::Up;
        let is_plain = !session.transaction.is_queueing() && !session.client.is_forwarded();
        if !is_served || !is_plain || command.spec.group == Group::Cluster {
            return None;
        }
        let request = request(session, command, Scope::Command);
        let routing = session.routing();
        routing.held_until = None;
        routing.fence = Some(Fence { epoch, wanted: Wanted::One(slot), request, decision: Decision::Served });
        Some(Entry::Now)
    }

    #[inline(never)]
    fn admit_closely(
        &self,
        server: &Server,
        session: &mut Session,
        command: &Command,
        args: Args<'_>,
    ) -> Result<Entry, CommandError> {
        let scope = match session.transaction.is_queueing() && command.spec.name == "exec" {
            true => Scope::Transaction,
            false => Scope::Command,
        };
        if command.spec.group == Group::Cluster || scope == Scope::Transaction {
            let entry = self.admit_orders(server, session, command, args);
            if entry == Entry::AfterMail {
                return Ok(entry);
            }
        }
        let wanted = match &session.transaction.phase {
            Phase::Queueing { queue, .. } if scope == Scope::Transaction => wanted_by_all(queue),
            _ => wanted_by(command, args),
        };
        if wanted == Wanted::Nothing {
            let writes = command.spec.flags.contains(Flags::WRITE) && self.is_replica();
            return if writes { Err(READ_ONLY) } else { Ok(Entry::Now) };
        }
        let request = request(session, command, scope);
        if session.client.is_forwarded() {
            session.routing().passage = forward::passage(session, command);
        }
        let epoch = self.states.epoch();
        let mut decision = self.decide(server, wanted, request, None);
        if decision == Decision::IfPresent && session.transaction.is_queueing() && scope == Scope::Command {
            // Whether the client has to go elsewhere with its transaction is said as early as in Redis.
            let mut view = server.keyspace.lock(command.stripes(args), server.now());
            let presence = self.presence(&mut view, [(command, args)].into_iter());
            decision = self.decide(server, wanted, request, Some(presence));
        }
        let has_copies = self.replica_reads.is_some();
        if decision == Decision::FromCopy && !(has_copies && may_be_copied(session, command, args, scope)) {
            decision = Decision::Moved;
        }
        match self.carry_out(server, session, wanted, epoch, decision) {
            Ok(()) => {
                session.routing().fence = Some(Fence { epoch, wanted, request, decision });
                Ok(match (decision, wanted, &session.transaction.phase) {
                    // It is only queued, or dropped.
                    (_, _, Phase::Queueing { is_broken: true, .. }) => Entry::Now,
                    (_, _, Phase::Queueing { .. }) if scope == Scope::Command => Entry::Now,
                    (Decision::FromCopy, Wanted::One(slot), _) => Entry::FromCopy(slot),
                    _ => Entry::Now,
                })
            }
            Err(Stay::Held) => Ok(Entry::AfterMail),
            Err(Stay::Elsewhere) => Ok(Entry::Elsewhere),
            Err(Stay::Refused(error)) => Err(error),
        }
    }

    /// Makes sure, under the request's locks, that it is still for this node.
    #[inline]
    pub fn confirm(
        &self,
        server: &Server,
        session: &mut Session,
        view: &mut View<'_>,
        command: &Command,
        args: Args<'_>,
    ) -> Result<(), Stay> {
        let Some(fence) = session.routing().fence else { return Ok(()) };
        if !self.holds(&fence) {
            self.decide_again(server, session, view, fence, [(command, args)].into_iter())?;
        }
        self.count(fence, 1);
        Ok(())
    }

    /// The same for a transaction.
    pub fn confirm_all(
        &self,
        server: &Server,
        session: &mut Session,
        view: &mut View<'_>,
        queue: &[Queued],
    ) -> Result<(), Stay> {
        let commands = queue.iter().map(|queued| (queued.command, queued.args.as_args()));
        let Some(fence) = session.routing().fence else { return Ok(()) };
        if !self.holds(&fence) {
            self.decide_again(server, session, view, fence, commands)?;
        }
        self.count(fence, u32::try_from(queue.len()).unwrap_or(u32::MAX));
        Ok(())
    }

    /// So many commands are about to be evaluated in the slot of a decision.
    #[inline]
    fn count(&self, fence: Fence, commands: u32) {
        if let Wanted::One(slot) | Wanted::Several(slot) = fence.wanted {
            self.tally.count(slot, commands);
        }
    }

    #[inline]
    fn holds(&self, fence: &Fence) -> bool {
        fence.decision == Decision::Served && fence.epoch == self.states.epoch()
    }

    fn decide_again<'a>(
        &self,
        server: &Server,
        session: &mut Session,
        view: &mut View<'_>,
        fence: Fence,
        commands: impl Iterator<Item = (&'a Command, Args<'a>)>,
    ) -> Result<(), Stay> {
        let epoch = self.states.epoch();
        let mut decision = self.decide(server, fence.wanted, fence.request, None);
        if decision == Decision::IfPresent {
            let presence = self.presence(view, commands);
            decision = self.decide(server, fence.wanted, fence.request, Some(presence));
        }
        if decision == Decision::FromCopy {
            // It was let in to be evaluated here, where nothing is to be seen any more.
            decision = Decision::Moved;
        }
        self.carry_out(server, session, fence.wanted, epoch, decision)
    }

    #[inline]
    fn decide(&self, server: &Server, wanted: Wanted, request: Request, presence: Option<Presence>) -> Decision {
        let (Wanted::One(slot) | Wanted::Several(slot)) = wanted else { return Decision::Served };
        let cover = self.cover();
        // The settings matter only while the cluster is down, and reading them takes a lock.
        let allows = |name| match cover == route::Cover::Down && server.config.is_yes(name) {
            true => Allowed::Yes,
            false => Allowed::No,
        };
        let here = Here {
            slot: self.states.at(slot),
            cluster: cover,
            reads_when_down: allows("cluster-allow-reads-when-down"),
            channels_when_down: allows("cluster-allow-pubsubshard-when-down"),
        };
        route::decide(wanted, request, here, presence)
    }

    /// Turns a decision into what the client hears, if anything.
    #[inline]
    fn carry_out(
        &self,
        server: &Server,
        session: &mut Session,
        wanted: Wanted,
        epoch: StatesEpoch,
        decision: Decision,
    ) -> Result<(), Stay> {
        let (Wanted::One(slot) | Wanted::Several(slot)) = wanted else { return Ok(()) };
        match decision {
            Decision::Served | Decision::FromCopy | Decision::IfPresent => {
                session.routing().held_until = None;
                Ok(())
            }
            _ => self.keep_out(server, session, slot, epoch, decision),
        }
    }

    /// Has the client go elsewhere, or wait.
    #[cold]
    fn keep_out(
        &self,
        server: &Server,
        session: &mut Session,
        slot: Slot,
        epoch: StatesEpoch,
        decision: Decision,
    ) -> Result<(), Stay> {
        let redirection = match decision {
            Decision::Moved | Decision::Ask if session.routing().passage != Passage::Redirected => {
                match self.send_elsewhere(session.routing(), slot, decision) {
                    Some(result) => return result,
                    None => None,
                }
            }
            Decision::Moved => self.moved(server, slot),
            Decision::Ask => self.ask(server, slot),
            Decision::TryAgain => Some(TRY_AGAIN),
            Decision::CrossSlot => Some(CROSS_SLOT),
            Decision::NotServed => Some(NOT_SERVED),
            Decision::ClusterDown => Some(CLUSTER_DOWN),
            Decision::OnlyReads => Some(ONLY_READS),
            Decision::Hold => None,
            Decision::Served | Decision::FromCopy | Decision::IfPresent => {
                unreachable!("{decision:?} lets a request in")
            }
        };
        let routing = session.routing();
        if let Some(error) = redirection {
            routing.held_until = None;
            return Err(Stay::Refused(error));
        }
        let now = Instant::now();
        let until = *routing.held_until.get_or_insert(now + super::hold::HOLD_MAX);
        if until <= now {
            routing.held_until = None;
            return Err(Stay::Refused(NOT_SERVED));
        }
        self.hold(epoch, &session.client, until);
        Err(Stay::Held)
    }

    /// What becomes of a request that is for another node, and is not redirected; nothing if the map does not know
    /// better than that it is for this one.
    fn send_elsewhere(&self, routing: &mut Routing, slot: Slot, decision: Decision) -> Option<Result<(), Stay>> {
        let destination = self.destination(slot, decision)?;
        routing.held_until = None;
        Some(match &routing.passage {
            Passage::Refused(error) => Err(Stay::Refused(error.clone())),
            Passage::Queued => Ok(()),
            Passage::Forwarded | Passage::Redirected => {
                routing.destination = Some((slot, destination));
                Err(Stay::Elsewhere)
            }
        })
    }

    /// The node that a decision is about, if it is another one.
    fn destination(&self, slot: Slot, decision: Decision) -> Option<Destination> {
        let picture = self.picture();
        let (node, way) = match decision {
            Decision::Ask => (self.importer(&picture, slot)?, Way::Asking),
            _ => (picture.owner(slot)?, Way::Plain),
        };
        let address = picture.client_address(node).filter(|_| node != self.me())?;
        Some(Destination { node, address, way })
    }

    /// Where a command is forwarded by this node's table alone, which suffices unless its slot is open, or nobody's.
    pub fn plain_destination(
        &self,
        server: &Server,
        session: &mut Session,
        command: &Command,
        args: Args<'_>,
    ) -> Option<(Slot, Destination)> {
        let wanted = wanted_by(command, args);
        let Wanted::One(slot) = wanted else { return None };
        let request = request(session, command, Scope::Command);
        match self.decide(server, wanted, request, None) {
            Decision::Moved => Some((slot, self.destination(slot, Decision::Moved)?)),
            _ => None,
        }
    }

    /// Where a slot is served; nothing if the map does not know better than that it is here.
    pub fn moved(&self, server: &Server, slot: Slot) -> Option<CommandError> {
        self.redirect(server, "MOVED", slot, self.picture().owner(slot)?)
    }

    /// Where the keys of a slot are that have left this node.
    fn ask(&self, server: &Server, slot: Slot) -> Option<CommandError> {
        let importer = self.importer(&self.picture(), slot)?;
        self.redirect(server, "ASK", slot, importer)
    }

    fn importer(&self, picture: &Picture, slot: Slot) -> Option<NodeId> {
        let owner = picture.map.slots().owner(slot)?;
        let Some(OpenSlot::Migrating { to }) = picture.map.open_slots().get(&(owner, slot)) else { return None };
        picture.leader(*to)
    }

    fn redirect(&self, server: &Server, verb: &str, slot: Slot, node: NodeId) -> Option<CommandError> {
        if node == self.me() {
            return None;
        }
        let picture = self.picture();
        let address = &picture.map.node(node)?.address;
        let host = self.endpoint(server).in_redirection(address);
        Some(CommandError::owned(format!("{verb} {} {host}:{}", slot.number(), address.port)))
    }

    /// Which of the keys of these commands are there.
    fn presence<'a>(&self, view: &mut View<'_>, commands: impl Iterator<Item = (&'a Command, Args<'a>)>) -> Presence {
        let mut presence = Presence::default();
        let mut first: Option<&[u8]> = None;
        for (command, args) in commands {
            let visit = &mut |index: usize, flags: KeyFlags| {
                if flags.contains(KeyFlags::NOT_KEY) {
                    return;
                }
                let bytes = args.at(index);
                presence.are_several |= *first.get_or_insert(bytes) != bytes;
                presence.move_now |= self.moving().contains(bytes);
                match view.glance(DB, &Key::new(bytes)) {
                    Some(_) => presence.present += 1,
                    None => presence.missing += 1,
                }
            };
            let _ = command.spec.for_each_key(args, visit);
        }
        presence
    }

    /// Has what a request orders of the cluster carried out before it is evaluated.
    fn admit_orders(&self, server: &Server, session: &mut Session, command: &Command, args: Args<'_>) -> Entry {
        if let Some(results) = &session.routing().results {
            let is_known = results.lock().is_some();
            return if is_known { Entry::Now } else { Entry::AfterMail };
        }
        let parsed: Vec<Result<Order, CommandError>> = match &session.transaction.phase {
            Phase::Queueing { is_broken: true, .. } => return Entry::Now,
            Phase::Queueing { queue, .. } if command.spec.name == "exec" => {
                let order = |queued: &Queued| parse::order(server, self, queued.command, queued.args.as_args());
                queue.iter().filter_map(order).collect()
            }
            Phase::Queueing { .. } => return Entry::Now,
            Phase::None => parse::order(server, self, command, args).into_iter().collect(),
        };
        if parsed.is_empty() {
            return Entry::Now;
        }
        let results = Results::default();
        session.routing().results = Some(results.clone());
        let mut orders = Vec::new();
        let mut errors = Vec::new();
        for order in parsed {
            match order {
                Ok(order) => {
                    orders.push(order);
                    errors.push(None);
                }
                Err(error) => errors.push(Some(error)),
            }
        }
        if orders.is_empty() {
            *results.lock() = Some(errors.into_iter().flatten().map(Err).collect());
            return Entry::Now;
        }
        let client = session.client.clone();
        let done = move |answers: Vec<super::control::Answer>| {
            let mut answers = answers.into_iter();
            let result = |error: Option<CommandError>| match error {
                Some(error) => Err(error),
                None => answers.next().expect("an answer for each order").map_err(CommandError::from),
            };
            *results.lock() = Some(errors.into_iter().map(result).collect());
            client.post(|inbox| inbox.loaded = Some(Ok(())));
        };
        self.control.submit(orders, Box::new(done));
        Entry::AfterMail
    }

    /// A client has just subscribed to shard channels. If one's slot left in this very moment, those who told the other
    /// subscribers have not seen this one.
    pub fn recheck_channels(&self, session: &Session, channels: &mut dyn Iterator<Item = &[u8]>) {
        let has_left = |channel: &&[u8]| {
            use super::slots::SlotState::{Absent, Elsewhere};
            matches!(self.states.at(Slot::of_key(channel)), Absent | Elsewhere)
        };
        let left: Vec<Box<[u8]>> = channels.filter(has_left).map(Box::from).collect();
        if !left.is_empty() {
            session.client.post(|inbox| inbox.left_channels.extend(left));
        }
    }
}

/// Whether a copy of the keys that a request names is enough for it. What watches keys hears of their changes only
/// where these are evaluated, and what looks at other keys too finds them there.
fn may_be_copied(session: &Session, command: &Command, args: Args<'_>, scope: Scope) -> bool {
    let looks_elsewhere = |command: &Command, args| command.stripes_in_transaction(args) == StripeSet::ALL;
    match &session.transaction.phase {
        Phase::Queueing { queue, .. } if scope == Scope::Transaction => {
            !queue.iter().any(|queued| looks_elsewhere(queued.command, queued.args.as_args()))
        }
        _ => command.spec.name != "watch" && !looks_elsewhere(command, args),
    }
}

/// What a request asks for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scope {
    Command,
    /// All that is queued: the command is EXEC.
    Transaction,
}

#[inline]
fn request(session: &mut Session, command: &Command, scope: Scope) -> Request {
    let names = match &session.transaction.phase {
        Phase::Queueing { queue, .. } if scope == Scope::Transaction => {
            let mut naming =
                queue.iter().filter(|queued| wanted_by(queued.command, queued.args.as_args()) != Wanted::Nothing);
            let are_channels = naming.all(|queued| queued.command.names == Names::ShardChannels);
            if are_channels { Names::ShardChannels } else { Names::Keys }
        }
        _ => command.names,
    };
    let effect = if session.changes_data(command) { Effect::Writes } else { Effect::Reads };
    let routing = session.routing();
    let asks = routing.asked == Asked::Yes || command.spec.flags.contains(Flags::ASKING);
    Request { names, effect, asking: if asks { Asking::Yes } else { Asking::No }, mode: routing.mode }
}

#[inline]
fn wanted_by(command: &Command, args: Args<'_>) -> Wanted {
    if let Some(index) = command.lone_key(args) {
        return Wanted::One(args.slot(index));
    }
    let mut wanted = Wanted::Nothing;
    // What does not say where its keys are is refused by its handler.
    let _ = command.spec.for_each_key(args, &mut |index, _| wanted.add(args.slot(index)));
    wanted
}

fn wanted_by_all(queue: &[Queued]) -> Wanted {
    let mut wanted = Wanted::Nothing;
    for queued in queue {
        let args = queued.args.as_args();
        let _ = queued.command.spec.for_each_key(args, &mut |index, _| wanted.add(args.slot(index)));
    }
    wanted
}
