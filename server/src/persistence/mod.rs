//! Dumps of the data on disk: when they are written, what is known about them, and that only one is made at a time.
//!
//! A dump is of one point in time and stops nobody: see `basalt_storage::keyspace::dump`. BGSAVE fixes the point in
//! time when it is called and leaves the writing to a thread of its own; SAVE writes on the thread of its client, and
//! the last save of a server on the way out does so while all clients wait. [`file`] writes, [`load`] reads,
//! [`loading`] is the load at the start, and [`import`] fills an empty server.

mod engine_dump;
pub mod file;
pub mod import;
pub mod load;
pub mod loading;
mod points;

use crate::server::Server;
use basalt_storage::effect::DbIndex;
use basalt_storage::keyspace::dump::Dump;
use basalt_storage::seq::Seq;
use parking_lot::{Condvar, Mutex};
use points::SavePoint;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

/// After a dump that failed, the next one is not begun by itself before this.
const RETRY_DELAY_S: i64 = 5;

/// Who waits for a dump.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Foreground,
    Background,
}

/// Why no dump can be begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AlreadyRunning;

/// What a dump shows.
enum PointInTime {
    /// What was in memory when it was begun.
    Memory(Dump),
    /// Durable mode: what the engine has, and at least this batch.
    Engine { at: Seq, changes: u64 },
}

impl PointInTime {
    fn now(server: &Server) -> PointInTime {
        if server.durability().is_some() {
            let changes = server.keyspace.stats.changes.load(Relaxed);
            return PointInTime::Engine { at: server.keyspace.proposed(), changes };
        }
        PointInTime::Memory(server.keyspace.begin_dump(file::form(server), server.now()))
    }

    fn keys(&self, server: &Server) -> u64 {
        match self {
            PointInTime::Memory(dump) => dump.sizes.iter().map(|size| size.keys).sum(),
            PointInTime::Engine { .. } => {
                (0..server.keyspace.databases()).map(|db| server.keyspace.key_count(DbIndex(db))).sum()
            }
        }
    }

    /// Writes it; returns how many changes the keyspace had seen at that point.
    fn write(self, server: &Server) -> (Result<(), file::SaveError>, u64) {
        match self {
            PointInTime::Memory(mut dump) => {
                let result = file::write(server, &mut dump);
                let changes = dump.changes;
                dump.end(&server.keyspace);
                (result, changes)
            }
            PointInTime::Engine { at, changes } => (engine_dump::write(server, at), changes),
        }
    }
}

/// The dump that is being written.
struct Current {
    kind: Kind,
    since: Instant,
}

/// What became of the dumps so far.
#[derive(Clone, Debug)]
struct History {
    /// Second of the last dump that succeeded; of the start, before the first.
    saved_at_s: i64,
    tried_at_s: i64,
    background_failed: bool,
    background_time: Option<Duration>,
    saves: u64,
    /// The keyspace's count of changes up to which all are in the file.
    changes: u64,
}

/// Numbers that INFO shows.
#[derive(Clone, Debug)]
pub struct Report {
    pub is_in_background: bool,
    pub current_time: Option<Duration>,
    pub keys_processed: u64,
    pub keys_total: u64,
    pub changes: u64,
    pub saved_at_s: i64,
    pub background_failed: bool,
    pub background_time: Option<Duration>,
    pub saves: u64,
    pub loaded: load::Loaded,
}

pub struct Persistence {
    current: Mutex<Option<Current>>,
    /// There is no dump any more.
    idle: Condvar,
    is_cancelled: AtomicBool,
    keys_processed: AtomicU64,
    keys_total: AtomicU64,
    history: Mutex<History>,
    loaded: load::Progress,
    pub loading: loading::Loading,
    points: Mutex<Vec<SavePoint>>,
    /// A dump is to be begun as soon as possible.
    is_scheduled: AtomicBool,
    refuses_writes: AtomicBool,
    begun: Sender<PointInTime>,
    to_write: Mutex<Option<Receiver<PointInTime>>>,
}

impl Persistence {
    pub fn new(now_s: i64) -> Persistence {
        let (begun, to_write) = channel();
        let history = History {
            saved_at_s: now_s,
            tried_at_s: 0,
            background_failed: false,
            background_time: None,
            saves: 0,
            changes: 0,
        };
        Persistence {
            current: Mutex::default(),
            idle: Condvar::new(),
            is_cancelled: AtomicBool::new(false),
            keys_processed: AtomicU64::new(0),
            keys_total: AtomicU64::new(0),
            history: Mutex::new(history),
            loaded: load::Progress::default(),
            loading: loading::Loading::default(),
            points: Mutex::default(),
            is_scheduled: AtomicBool::new(false),
            refuses_writes: AtomicBool::new(false),
            begun,
            to_write: Mutex::new(Some(to_write)),
        }
    }

    /// Starts the thread that writes what BGSAVE begins.
    pub fn start(server: &Arc<Server>) -> std::io::Result<()> {
        let to_write = server.persistence.to_write.lock().take().expect("started once");
        let server = server.clone();
        let write = move || {
            for dump in to_write {
                // What went wrong is in the log and in the history.
                let _ = server.persistence.write(&server, dump, Kind::Background);
            }
        };
        std::thread::Builder::new().name("saver".into()).spawn(write).map(drop)
    }

    /// Takes over `save` and `stop-writes-on-bgsave-error`.
    pub fn configure(&self, server: &Server) {
        // In durable mode everything is on disk anyway: dumps are for taking away, and made when asked for.
        let is_durable = server.config.text("mode") == "durable";
        let points = if is_durable { Vec::new() } else { SavePoint::parse_all(&server.config.text("save")) };
        *self.points.lock() = points;
        self.update_refusal(server);
    }

    /// Whether the server saves without being asked.
    pub fn saves_by_itself(&self) -> bool {
        !self.points.lock().is_empty()
    }

    /// Whether writes are refused because they could not be saved.
    #[inline]
    pub fn refuses_writes(&self) -> bool {
        self.refuses_writes.load(Relaxed)
    }

    fn update_refusal(&self, server: &Server) {
        let refuses = self.history.lock().background_failed
            && self.saves_by_itself()
            && server.config.is_yes("stop-writes-on-bgsave-error");
        self.refuses_writes.store(refuses, Relaxed);
    }

    /// BGSAVE: makes this moment the point in time of a dump that is written in the background.
    pub fn begin_in_background(&self, server: &Server) -> Result<(), AlreadyRunning> {
        let dump = self.begin(server, Kind::Background)?;
        tracing::info!("Background saving started");
        self.begun.send(dump).expect("the thread that writes lives as long as the server");
        Ok(())
    }

    /// SAVE: writes a dump before it returns.
    pub fn save(&self, server: &Server) -> Result<Result<(), file::SaveError>, AlreadyRunning> {
        let dump = self.begin(server, Kind::Foreground)?;
        Ok(self.write(server, dump, Kind::Foreground))
    }

    pub fn is_saving_in_background(&self) -> bool {
        self.current.lock().as_ref().is_some_and(|current| current.kind == Kind::Background)
    }

    /// Begins a dump in the background as soon as none is running.
    pub fn schedule(&self) {
        self.is_scheduled.store(true, Relaxed);
    }

    fn begin(&self, server: &Server, kind: Kind) -> Result<PointInTime, AlreadyRunning> {
        {
            let mut current = self.current.lock();
            if current.is_some() {
                return Err(AlreadyRunning);
            }
            self.is_cancelled.store(false, Relaxed);
            *current = Some(Current { kind, since: Instant::now() });
        }
        // Not under the lock of `current`, which others take while they hold stripes.
        self.history.lock().tried_at_s = server.now().0 / 1000;
        let point = PointInTime::now(server);
        self.keys_processed.store(0, Relaxed);
        self.keys_total.store(point.keys(server), Relaxed);
        Ok(point)
    }

    fn write(&self, server: &Server, point: PointInTime, kind: Kind) -> Result<(), file::SaveError> {
        let (result, changes) = point.write(server);
        if let Err(error) = &result {
            tracing::warn!(%error, "the data could not be saved");
        }
        let mut current = self.current.lock();
        let begun = current.take().expect("a dump is current while it is written");
        let was_cancelled = matches!(result, Err(file::SaveError::Cancelled));
        {
            let mut history = self.history.lock();
            if result.is_ok() {
                history.saved_at_s = server.now().0 / 1000;
                history.changes = changes;
                history.saves += 1;
                history.background_failed = false;
            }
            if kind == Kind::Background {
                history.background_time = Some(begun.since.elapsed());
                // Whoever gives a dump up knows about it; that is no reason to refuse writes.
                history.background_failed = result.is_err() && !was_cancelled;
            }
        }
        self.update_refusal(server);
        drop(current);
        self.idle.notify_all();
        match (&result, kind) {
            (Ok(()), Kind::Foreground) => tracing::info!("DB saved on disk"),
            (Ok(()), Kind::Background) => tracing::info!("Background saving terminated with success"),
            (Err(_), Kind::Foreground) => {}
            (Err(_), Kind::Background) => tracing::warn!("Background saving error"),
        }
        result
    }

    /// Gives up the dump that is being written, if there is one, and returns when it is gone.
    pub fn cancel(&self) {
        let mut current = self.current.lock();
        while current.is_some() {
            self.is_cancelled.store(true, Relaxed);
            self.idle.wait(&mut current);
        }
    }

    /// The last save before the end: whatever is running makes way for it.
    pub fn save_finally(&self, server: &Server) -> Result<(), file::SaveError> {
        loop {
            self.cancel();
            // BGSAVE may have come in between.
            if let Ok(result) = self.save(server) {
                return result;
            }
        }
    }

    /// Begins a dump if one is due. Called often.
    pub fn tick(&self, server: &Server) {
        if self.loading.is_active() {
            return;
        }
        if self.is_scheduled.load(Relaxed) {
            if self.begin_in_background(server).is_ok() {
                self.is_scheduled.store(false, Relaxed);
            }
            return;
        }
        let now_s = server.now().0 / 1000;
        let (changes, elapsed_s) = {
            let history = self.history.lock();
            if history.background_failed && now_s - history.tried_at_s <= RETRY_DELAY_S {
                return;
            }
            (self.changes_since(server, &history), now_s - history.saved_at_s)
        };
        let due = self.points.lock().iter().copied().find(|point| point.is_due(changes, elapsed_s));
        if let Some(point) = due
            && self.begin_in_background(server).is_ok()
        {
            tracing::info!("{} changes in {} seconds. Saving...", point.changes, point.seconds);
        }
    }

    fn changes_since(&self, server: &Server, history: &History) -> u64 {
        server.keyspace.stats.changes.load(Relaxed).saturating_sub(history.changes)
    }

    /// What is in memory now is what is on disk.
    pub fn note_loaded(&self, server: &Server) {
        self.history.lock().changes = server.keyspace.stats.changes.load(Relaxed);
    }

    /// FLUSHALL has emptied all databases, under all locks: that is on disk at once too, if the server saves by itself.
    /// `pending_changes` are those that the keyspace does not count yet.
    pub fn note_emptied(&self, server: &Server, pending_changes: u64) {
        if !self.saves_by_itself() {
            return;
        }
        {
            let mut current = self.current.lock();
            if current.is_some() {
                // What is being written is out of date, and its writer may wait for the locks that are held here.
                self.is_cancelled.store(true, Relaxed);
                self.schedule();
                return;
            }
            *current = Some(Current { kind: Kind::Foreground, since: Instant::now() });
        }
        let result = file::write_empty(server);
        if let Err(error) = &result {
            tracing::warn!(%error, "the data could not be saved");
        } else {
            let mut history = self.history.lock();
            history.saved_at_s = server.now().0 / 1000;
            history.saves += 1;
            history.changes = server.keyspace.stats.changes.load(Relaxed) + pending_changes;
        }
        *self.current.lock() = None;
        self.idle.notify_all();
    }

    /// Second of the last dump that succeeded; of the start, if there was none.
    pub fn saved_at_s(&self) -> i64 {
        self.history.lock().saved_at_s
    }

    pub fn report(&self, server: &Server) -> Report {
        let current = self.current.lock();
        let history = self.history.lock();
        let is_in_background = current.as_ref().is_some_and(|current| current.kind == Kind::Background);
        let keys = |counter: &AtomicU64| if is_in_background { counter.load(Relaxed) } else { 0 };
        Report {
            is_in_background,
            current_time: current.as_ref().filter(|_| is_in_background).map(|current| current.since.elapsed()),
            keys_processed: keys(&self.keys_processed),
            keys_total: keys(&self.keys_total),
            changes: self.changes_since(server, &history),
            saved_at_s: history.saved_at_s,
            background_failed: history.background_failed,
            background_time: history.background_time,
            saves: history.saves,
            loaded: self.loaded.counts(),
        }
    }
}
