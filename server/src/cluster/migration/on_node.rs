//! The ground of migrations on a real node: its stage, and what that leads to.
//!
//! Holds neither server nor node: a part that has begun ends with what it asks for when these are gone.

use super::ground::{Ground, Incoming, Outgoing};
use super::{Arrivals, Figures, Hitch, Reign, Source};
use crate::cluster::stage::Stage;
use basalt_cluster::ids::{GroupId, MigrationId, NodeId};
use basalt_cluster::map::{Change, ClusterMap, Migration};
use basalt_cluster::node::Decision;
use basalt_cluster::peer::{BulkReceiver, BulkSender, block_on_for};
use basalt_storage::clock::UnixMs;
use bytes::Bytes;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

/// Where the clock of this process begins.
static BEGINNING: LazyLock<Instant> = LazyLock::new(Instant::now);

impl Ground for Arc<Stage> {
    type Reign = Reign;
    type Source = Source;
    type Outgoing = BulkSender;

    fn me(&self) -> Option<NodeId> {
        self.node().map(|node| node.id())
    }

    fn map(&self) -> Option<Arc<ClusterMap>> {
        (self.server().is_some() && self.node().is_some()).then(|| Stage::map(self))?
    }

    fn decide(&self, change: Change) -> Decision {
        self.node().map_or(Decision::Unknown, |node| node.decide(change))
    }

    fn reign(&self, group: GroupId) -> Option<Reign> {
        Reign::of(&self.replicas, group)
    }

    fn listen(&self, reign: &Reign, migration: &Migration) -> Result<Source, Hitch> {
        let server = self.server().ok_or_else(|| Hitch::new("this node ends"))?;
        Ok(Source::listen(server, &reign.replica, migration))
    }

    fn open_stream(&self, to: NodeId, header: &[u8]) -> Result<BulkSender, Hitch> {
        let node = self.node().ok_or_else(|| Hitch::new("this node ends"))?;
        node.open_slot_stream(to, header).map_err(Hitch::new)
    }

    fn arrivals(&self) -> &Arrivals {
        &self.arrivals
    }

    fn figures(&self) -> &Figures {
        &self.migrations
    }

    fn seal(&self, migration: &Migration) {
        Stage::seal(self, migration);
    }

    fn unseal(&self, id: MigrationId) {
        Stage::unseal(self, id);
    }

    fn leaving<R>(&self, migration: &Migration, body: impl FnOnce() -> R) -> R {
        let _leaving = self.give_away(migration);
        body()
    }

    fn refresh(&self) {
        Stage::refresh(self);
    }

    fn outwait_flushes(&self) {
        Stage::outwait_flushes(self);
    }

    fn now(&self) -> UnixMs {
        self.server().map_or(UnixMs(0), |server| server.now())
    }

    fn clock(&self) -> Duration {
        BEGINNING.elapsed()
    }

    fn sleep(&self, time: Duration) {
        std::thread::sleep(time);
    }
}

impl Outgoing for BulkSender {
    fn send(&mut self, piece: Bytes) -> Result<(), Hitch> {
        self.send_blocking(piece).map_err(Hitch::new)
    }

    fn finish(self) -> Result<Bytes, Hitch> {
        self.finish_blocking().map_err(Hitch::new)
    }

    fn finish_within(self, patience: Duration) -> Result<Option<Bytes>, Hitch> {
        block_on_for(BulkSender::finish(self), patience).transpose().map_err(Hitch::new)
    }
}

impl Incoming for BulkReceiver {
    fn next(&mut self) -> Result<Option<Bytes>, Hitch> {
        self.next_blocking().map_err(Hitch::new)
    }

    fn finish(self, answer: &'static [u8]) {
        BulkReceiver::finish(self, answer);
    }

    fn refuse(self, why: &str) {
        BulkReceiver::refuse(self, why);
    }
}
