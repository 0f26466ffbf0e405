//! Which migrations this node has a part in, and the threads that play it.
//!
//! A node has a part in a migration for as long as it leads the source or the target. What there is to do stands in
//! the map and in the groups' logs, so whoever comes to lead goes on without being told. Each part has a thread of its
//! own while there is something to do.

use super::ground::Ground;
use super::part::{self, DEPARTURES_MAX};
use crate::cluster::stage::Stage;
use crate::server::Server;
use basalt_cluster::ids::MigrationId;
use basalt_cluster::map::{ClusterMap, Side};
use parking_lot::{Condvar, Mutex};
use std::collections::BTreeSet;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// How often is looked for something to do, if nothing has changed.
const PERIOD: Duration = Duration::from_millis(100);

pub struct Mover {
    server: Weak<Server>,
    stage: Arc<Stage>,
    /// The parts that are being played.
    playing: Mutex<BTreeSet<(MigrationId, Side)>>,
    news: Mutex<bool>,
    bell: Condvar,
}

impl Mover {
    /// Starts the thread that looks; it ends with the process.
    pub fn start(server: &Arc<Server>, stage: &Arc<Stage>) -> std::io::Result<Arc<Mover>> {
        let mover = Arc::new(Mover {
            server: Arc::downgrade(server),
            stage: stage.clone(),
            playing: Mutex::default(),
            news: Mutex::new(false),
            bell: Condvar::new(),
        });
        let own = mover.clone();
        std::thread::Builder::new().name("slot-mover".into()).spawn(move || own.run())?;
        Ok(mover)
    }

    /// The map or a role has changed.
    pub fn wake(&self) {
        *self.news.lock() = true;
        self.bell.notify_one();
    }

    fn run(self: Arc<Self>) {
        while self.server.strong_count() > 0 {
            if let Some(map) = Ground::map(&self.stage) {
                self.look(&map);
            }
            let mut news = self.news.lock();
            if !*news {
                self.bell.wait_for(&mut news, PERIOD);
            }
            *news = false;
        }
    }

    fn look(self: &Arc<Self>, map: &ClusterMap) {
        for (id, side, group) in part::due(map) {
            if self.stage.reign(group).is_some() {
                self.begin(id, side);
            }
        }
        for replica in self.stage.replicas.all() {
            for mark in replica.contents().marks() {
                part::clear_away(&self.stage, map, replica.id(), &mark);
            }
        }
    }

    /// Plays a part, if it is not being played already.
    fn begin(self: &Arc<Self>, id: MigrationId, side: Side) {
        let key = (id, side);
        {
            let mut playing = self.playing.lock();
            let departures = playing.iter().filter(|(_, side)| *side == Side::Source).count();
            if side == Side::Source && departures >= DEPARTURES_MAX || !playing.insert(key) {
                return;
            }
        }
        let own = self.clone();
        let play = move || {
            part::play(&own.stage, id, side);
            if side == Side::Source {
                // Whoever comes to lead again finds in the log what is sealed.
                own.stage.unseal(id);
            }
            own.playing.lock().remove(&key);
            own.wake();
        };
        let name = if side == Side::Source { "slots-out" } else { "slots-in" };
        if let Err(error) = std::thread::Builder::new().name(name.into()).spawn(play) {
            tracing::error!(%error, "the system refused a thread");
            self.playing.lock().remove(&key);
        }
    }
}
