//! The root group's state machine: the cluster map, one document on disk.
//!
//! Invariants: what is on disk is the map as of the applied index; whoever has proposed a change here hears its outcome
//! exactly once, after the map that this node shows has it.

use super::map_cell::{MapCell, encoded};
use super::place::{Place, StoreId};
use super::proposal::{Proposal, Ticket};
use crate::group::state::LogState;
use crate::group::{ApplyError, CommittedEntry, LogIndex, SnapshotSink, StateMachine};
use crate::ids::NodeId;
use crate::map::codec::CodecError;
use crate::map::{Applied, ClusterMap, Refusal};
use basalt_storage::effect::wire::Malformed;
use basalt_storage::engine::EngineError;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

/// What became of a change.
pub type Verdict = Result<Applied, Refusal>;

#[derive(Clone)]
pub struct MapMachine(Arc<Inner>);

struct Inner {
    place: Arc<Place>,
    me: NodeId,
    state: Mutex<State>,
    waiting: Mutex<HashMap<Ticket, SyncSender<Verdict>>>,
    next_ticket: AtomicU64,
    cell: Arc<MapCell>,
}

struct State {
    /// None before the first snapshot of a replica that was added later.
    map: Option<Arc<ClusterMap>>,
    applied: LogIndex,
}

/// Why the map cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum MapError {
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(transparent)]
    Codec(#[from] CodecError),
    #[error("a proposal is damaged: {0}")]
    Damaged(#[from] Malformed),
    #[error("the cluster map is not there")]
    Missing,
}

impl From<MapError> for ApplyError {
    fn from(error: MapError) -> ApplyError {
        ApplyError(Box::new(error))
    }
}

impl MapMachine {
    /// Goes on with the map that lies in the replica's place, if there is one.
    pub fn open(place: Arc<Place>, me: NodeId, cell: Arc<MapCell>) -> Result<MapMachine, MapError> {
        let state = match place.rocks().document(place.store())? {
            Some((applied, bytes)) => State { map: Some(Arc::new(ClusterMap::decode(&bytes)?)), applied },
            None => State { map: None, applied: LogIndex(0) },
        };
        if let Some(map) = &state.map {
            cell.learn(map.clone());
        }
        let inner = Inner {
            place,
            me,
            state: Mutex::new(state),
            waiting: Mutex::default(),
            next_ticket: AtomicU64::new(1),
            cell,
        };
        Ok(MapMachine(Arc::new(inner)))
    }

    /// A ticket for a proposal, and where its outcome arrives.
    pub fn expect(&self) -> (Ticket, Receiver<Verdict>) {
        let ticket = Ticket(self.0.next_ticket.fetch_add(1, Ordering::Relaxed));
        let (sender, receiver) = sync_channel(1);
        self.0.waiting.lock().insert(ticket, sender);
        (ticket, receiver)
    }

    /// Nobody waits for this outcome any more.
    pub fn forget(&self, ticket: Ticket) {
        self.0.waiting.lock().remove(&ticket);
    }

    fn tell(&self, outcomes: Vec<(Ticket, Verdict)>) {
        let mut waiting = self.0.waiting.lock();
        for (ticket, outcome) in outcomes {
            // The other side may have lost patience.
            let _ = waiting.remove(&ticket).map(|sender| sender.try_send(outcome));
        }
    }
}

impl StateMachine for MapMachine {
    fn applied(&self) -> LogIndex {
        self.0.state.lock().applied
    }

    fn saved(&self) -> LogIndex {
        self.applied()
    }

    fn apply(&self, entries: Vec<CommittedEntry>) -> Result<(), ApplyError> {
        let Some(last) = entries.last().map(|entry| entry.index) else { return Ok(()) };
        let mut map = ClusterMap::clone(self.0.state.lock().map.as_ref().ok_or(MapError::Missing)?);
        let mut outcomes = Vec::new();
        for bytes in entries.iter().flat_map(CommittedEntry::batches) {
            let proposal = Proposal::decode(bytes).map_err(MapError::from)?;
            let outcome = map.apply(&proposal.change);
            if proposal.proposer == self.0.me {
                outcomes.push((proposal.ticket, outcome));
            }
        }
        let place = &self.0.place;
        let document = encoded(&map);
        place.rocks().put_document(place.store(), last, &document).map_err(MapError::from)?;
        let map = Arc::new(map);
        *self.0.state.lock() = State { map: Some(map.clone()), applied: last };
        self.0.cell.learn(map);
        self.tell(outcomes);
        Ok(())
    }

    fn export(
        &self,
        begin: &mut dyn FnMut(LogIndex),
        sink: &mut dyn FnMut(Vec<u8>) -> Result<(), ApplyError>,
    ) -> Result<(), ApplyError> {
        let (map, applied) = {
            let state = self.0.state.lock();
            (state.map.clone().ok_or(MapError::Missing)?, state.applied)
        };
        begin(applied);
        sink([&applied.0.to_be_bytes(), &encoded(&map)[..]].concat())
    }

    fn import(&self) -> Result<Box<dyn SnapshotSink>, ApplyError> {
        Ok(Box::new(MapImport { machine: self.clone(), copy: None }))
    }
}

/// A map that is being received. It is small, so it lies in memory until all of it is there.
struct MapImport {
    machine: MapMachine,
    copy: Option<(LogIndex, Vec<u8>, Arc<ClusterMap>)>,
}

impl SnapshotSink for MapImport {
    fn add(&mut self, chunk: &[u8]) -> Result<(), ApplyError> {
        let cut_off = MapError::Damaged(Malformed("it is cut off"));
        let (index, document) = chunk.split_first_chunk().ok_or(cut_off)?;
        let map = ClusterMap::decode(document).map_err(MapError::from)?;
        self.copy = Some((LogIndex(u64::from_be_bytes(*index)), document.to_vec(), Arc::new(map)));
        Ok(())
    }

    fn complete(&mut self) -> Result<(), ApplyError> {
        if self.copy.is_some() { Ok(()) } else { Err(MapError::Missing.into()) }
    }

    fn install(self: Box<Self>, state: &LogState) -> Result<(), ApplyError> {
        let inner = &self.machine.0;
        let (index, document, map) = self.copy.ok_or(MapError::Missing)?;
        let rocks = inner.place.rocks();
        let move_in = || -> Result<(), EngineError> {
            let store: StoreId = rocks.new_store()?;
            rocks.put_document(store, index, &document)?;
            inner.place.move_to(store, state)
        };
        move_in().map_err(MapError::from)?;
        *inner.state.lock() = State { map: Some(map.clone()), applied: index };
        inner.cell.learn(map);
        Ok(())
    }
}
