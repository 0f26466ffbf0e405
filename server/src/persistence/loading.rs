//! The dump of an earlier run: loaded on a thread of its own when the server starts, while clients are served already.
//!
//! Until the load is done, only commands with the flag `loading` run, and nothing that needs the whole data set happens
//! by itself: no expiry, no eviction, no save. [`Loading`] tells everybody so, and how far the load is.

use super::load::{self, Existing, LoadError, Loaded};
use crate::server::Server;
use basalt_storage::clock::UnixMs;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed};
use std::time::Instant;
use tokio::sync::oneshot;

/// How far the load is.
#[derive(Default)]
pub struct Loading {
    is_active: AtomicBool,
    since_ms: AtomicI64,
    total_bytes: AtomicU64,
    loaded_bytes: AtomicU64,
    /// What the server that wrote the dump used, as the dump says.
    dump_memory: AtomicU64,
}

/// Numbers that INFO shows while a dump is loaded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Report {
    pub since_s: i64,
    pub total_bytes: u64,
    pub loaded_bytes: u64,
    pub dump_memory: u64,
    pub percent: f64,
    pub seconds_left: u64,
}

impl Loading {
    #[inline]
    pub fn is_active(&self) -> bool {
        self.is_active.load(Relaxed)
    }

    pub fn note_dump_memory(&self, bytes: u64) {
        self.dump_memory.store(bytes, Relaxed);
    }

    pub fn report(&self, now: UnixMs) -> Option<Report> {
        let since_ms = self.since_ms.load(Relaxed);
        let (total_bytes, loaded_bytes) = (self.total_bytes.load(Relaxed), self.loaded_bytes.load(Relaxed));
        let elapsed_s = u64::try_from(now.0 - since_ms).unwrap_or(0) / 1000;
        let bytes_left = total_bytes.saturating_sub(loaded_bytes);
        self.is_active().then(|| Report {
            since_s: since_ms / 1000,
            total_bytes,
            loaded_bytes,
            dump_memory: self.dump_memory.load(Relaxed),
            percent: loaded_bytes as f64 / total_bytes.max(1) as f64 * 100.0,
            // At the speed so far; one second before there is any.
            seconds_left: if loaded_bytes == 0 { 1 } else { (elapsed_s * bytes_left).div_ceil(loaded_bytes) },
        })
    }
}

/// A dump that is there, and not loaded yet. From here on clients are told that it is being loaded.
pub struct Pending(File);

/// Looks for the dump of an earlier run.
pub fn find(server: &Server) -> Result<Option<Pending>, LoadError> {
    let file = match File::open(server.config.text("dbfilename")) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        return Err(io::Error::from(io::ErrorKind::IsADirectory).into());
    }
    let loading = &server.persistence.loading;
    loading.since_ms.store(server.now().0, Relaxed);
    loading.total_bytes.store(metadata.len(), Relaxed);
    loading.is_active.store(true, Relaxed);
    Ok(Some(Pending(file)))
}

/// In a cluster a slot that was lost comes back empty, and others may have it by now: what a dump has would be older
/// than what clients were told.
pub fn warn_of_dump(server: &Server) {
    let dump = server.config.text("dbfilename");
    if Path::new(&dump).exists() {
        tracing::warn!(dump, "there is a dump, and a node of a cluster does not load it");
    }
}

impl Pending {
    /// Starts the thread that loads; what comes of it is received when it is done.
    pub fn start(self, server: &Arc<Server>) -> io::Result<oneshot::Receiver<Result<(), LoadError>>> {
        let (sender, done) = oneshot::channel();
        let server = server.clone();
        let load = move || {
            // Nobody receives it while the process ends.
            let _ = sender.send(self.load(&server));
        };
        std::thread::Builder::new().name("loader".into()).spawn(load)?;
        Ok(done)
    }

    fn load(self, server: &Server) -> Result<(), LoadError> {
        let since = Instant::now();
        let loading = &server.persistence.loading;
        let source = BufReader::new(Counted { inner: self.0, bytes: &loading.loaded_bytes });
        let Loaded { keys, expired } = load::load(server, None, source, Existing::Refused)?;
        tracing::info!("Done loading RDB, keys loaded: {keys}, keys expired: {expired}.");
        tracing::info!("DB loaded from disk: {:.3} seconds", since.elapsed().as_secs_f64());
        // In this order, so that what was loaded never looks like changes that are to be saved.
        server.persistence.note_loaded(server);
        loading.is_active.store(false, Relaxed);
        Ok(())
    }
}

/// Counts the bytes that are read.
struct Counted<'a, R> {
    inner: R,
    bytes: &'a AtomicU64,
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = self.inner.read(buffer)?;
        self.bytes.fetch_add(len as u64, Relaxed);
        Ok(len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_left_follows_from_the_speed_so_far() {
        let loading = Loading::default();
        assert_eq!(loading.report(UnixMs(0)), None);
        loading.is_active.store(true, Relaxed);
        loading.since_ms.store(10_000, Relaxed);
        loading.total_bytes.store(400, Relaxed);
        let left = |now| loading.report(UnixMs(now)).map(|report| (report.percent, report.seconds_left));
        assert_eq!(left(12_000), Some((0.0, 1)));
        loading.loaded_bytes.store(100, Relaxed);
        assert_eq!(left(12_000), Some((25.0, 6)));
    }
}
