//! Network threads: each runs its own single-threaded runtime and serves the connections it was given.

use super::connection::Connection;
use super::stream::RawStream;
use crate::client::Client;
use crate::server::Server;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use tokio::sync::mpsc::{Receiver, Sender, channel};

/// Connections on their way to a thread; beyond that the listener waits.
const HANDOVER_MAX: usize = 1024;

/// A new connection for a thread.
pub struct Handover {
    pub stream: RawStream,
    pub client: Arc<Client>,
}

/// All network threads, as the listeners see them.
pub struct IoThreads {
    threads: Vec<IoThread>,
}

struct IoThread {
    sender: Sender<Handover>,
    connections: Arc<AtomicUsize>,
}

impl IoThreads {
    /// Starts the threads besides the calling one, which is thread 0 and runs [`serve`] itself with the receiver that
    /// is returned.
    pub fn start(server: &Arc<Server>, count: usize) -> io::Result<(Arc<IoThreads>, ThreadZero)> {
        let mut threads = Vec::new();
        let mut first = None;
        for index in 0..count {
            let (sender, receiver) = channel(HANDOVER_MAX);
            let connections = Arc::new(AtomicUsize::new(0));
            threads.push(IoThread { sender, connections: connections.clone() });
            if index == 0 {
                first = Some(ThreadZero { receiver, connections });
                continue;
            }
            let server = server.clone();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            std::thread::Builder::new()
                .name(format!("io-{index}"))
                .spawn(move || runtime.block_on(serve(server, receiver, connections)))?;
        }
        let first = first.expect("there is at least one network thread");
        Ok((Arc::new(IoThreads { threads }), first))
    }

    /// The thread with the fewest connections.
    pub fn least_loaded(&self) -> usize {
        let load = |index: &usize| self.threads[*index].connections.load(Relaxed);
        (0..self.threads.len()).min_by_key(load).expect("there is at least one network thread")
    }

    /// Gives a connection to a thread.
    pub async fn hand_over(&self, thread: usize, handover: Handover) {
        self.threads[thread].connections.fetch_add(1, Relaxed);
        // It fails only while the process ends, when nobody is served any more.
        let _ = self.threads[thread].sender.send(handover).await;
    }
}

/// The part of thread 0.
pub struct ThreadZero {
    receiver: Receiver<Handover>,
    connections: Arc<AtomicUsize>,
}

impl ThreadZero {
    pub async fn serve(self, server: Arc<Server>) {
        serve(server, self.receiver, self.connections).await;
    }
}

async fn serve(server: Arc<Server>, mut receiver: Receiver<Handover>, connections: Arc<AtomicUsize>) {
    server.event_loops.add_this_thread();
    let relaying = server.clone();
    // Before the first connection: tasks begin in the order in which they are spawned.
    tokio::spawn(async move {
        relaying.gate.relay(|| relaying.announce_batches()).await;
    });
    while let Some(Handover { stream, client }) = receiver.recv().await {
        let (server, connections) = (server.clone(), connections.clone());
        match stream.adopt() {
            Ok(stream) => drop(tokio::spawn(async move {
                Connection::new(stream, server, client).serve().await;
                connections.fetch_sub(1, Relaxed);
            })),
            Err(error) => {
                tracing::warn!(%error, "a new connection could not be registered with its thread");
                server.clients.forget(client.id);
                connections.fetch_sub(1, Relaxed);
            }
        }
    }
}
