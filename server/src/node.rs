//! The composition root: puts the server together, starts its threads, and ends them.

use crate::config::Config;
use crate::net::io_thread::IoThreads;
use crate::net::listener;
use crate::server::Server;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;

/// How often the clock is compared with the system's.
const CLOCK_INTERVAL: Duration = Duration::from_millis(100);

/// Runs a server until it is told to stop.
pub fn run(config: Config) -> io::Result<()> {
    let server = Server::new(config);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(run_thread_zero(server))
}

async fn run_thread_zero(server: Arc<Server>) -> io::Result<()> {
    let (threads, thread_zero) = IoThreads::start(&server, server.config.io_threads())?;
    for address in &server.config.bind {
        let listener = TcpListener::bind((address.as_str(), server.config.port)).await?;
        tokio::spawn(listener::accept_tcp(server.clone(), threads.clone(), listener));
    }
    tokio::spawn(thread_zero.serve(server.clone()));
    tokio::spawn(keep_time(server.clone()));
    tracing::info!(port = server.config.port, "Ready to accept connections");
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    let mut interrupt = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => tracing::info!("received SIGTERM, shutting down"),
        _ = interrupt.recv() => tracing::info!("received SIGINT, shutting down"),
        () = server.shutdown.notified() => tracing::info!("SHUTDOWN was called"),
    }
    Ok(())
}

async fn keep_time(server: Arc<Server>) {
    let mut interval = tokio::time::interval(CLOCK_INTERVAL);
    loop {
        interval.tick().await;
        server.synchronize_clock();
        crate::memory::note_peak();
    }
}
