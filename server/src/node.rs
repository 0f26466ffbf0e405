//! The composition root: puts the server together, starts its threads, and ends them.

use crate::cluster;
use crate::commands::names::Names;
use crate::config::Config;
use crate::cron;
use crate::durability;
use crate::eviction;
use crate::metrics;
use crate::migrate::Migrations;
use crate::net::io_thread::IoThreads;
use crate::persistence::loading::Pending;
use crate::persistence::{self, Persistence};
use crate::server::Server;
use crate::shutdown::{Due, OnSignal};
use std::sync::Arc;
use tokio::signal::unix::{SignalKind, signal};

/// Why a server could not run; the text tells the operator what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("{0}")]
    Setting(String),
    #[error("the system refused what the server needs: {0}")]
    System(#[from] std::io::Error),
    #[error("the dump of an earlier run cannot be loaded: {0}")]
    Dump(#[from] persistence::load::LoadError),
    #[error(transparent)]
    Durable(#[from] durability::open::StartError),
    #[error(transparent)]
    Import(#[from] persistence::import::ImportError),
}

/// Runs a server until it is told to stop.
pub fn run(mut config: Config) -> Result<(), StartError> {
    config.names.take().into_iter().for_each(Names::choose);
    let server = Server::new(config).map_err(StartError::Setting)?;
    let pid_file = server.config.text("pidfile");
    if !pid_file.is_empty() {
        std::fs::write(&pid_file, format!("{}\n", std::process::id()))
            .unwrap_or_else(|error| tracing::warn!(%error, pid_file, "the pid file could not be written"));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let result = runtime.block_on(run_thread_zero(server));
    if !pid_file.is_empty() {
        // Whoever looks at a stale file finds no such process.
        let _ = std::fs::remove_file(&pid_file);
    }
    result
}

async fn run_thread_zero(server: Arc<Server>) -> Result<(), StartError> {
    let config = &server.config;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        mode = config.text("mode"),
        io_threads = config.io_threads(),
        "Basalt starts"
    );
    if !config.ignored.is_empty() {
        tracing::info!(settings = config.ignored.join(" "), "these settings are accepted and do nothing here");
    }
    // First, so that whoever waits for the start can ask how far it is.
    metrics::endpoint::start(&server).map_err(StartError::Setting)?;
    let is_durable = config.text("mode") == "durable";
    let mut member = None;
    if config.is_yes("cluster-enabled") {
        member = Some(cluster::member::start(&server)?);
    } else if is_durable {
        durability::open::start(&server)?;
    }
    Migrations::start(&server)?;
    persistence::import::run(&server)?;
    let dump = match (is_durable, &member) {
        (true, _) => None,
        (false, None) => persistence::loading::find(&server)?,
        (false, Some(_)) => {
            persistence::loading::warn_of_dump(&server);
            None
        }
    };
    Persistence::start(&server)?;
    let (threads, thread_zero) = IoThreads::start(&server, config.io_threads())?;
    server.listeners.start(&server, threads).map_err(StartError::Setting)?;
    // Scripts that start redis-server wait for its number in the log, and then connect.
    tracing::info!("Listening, PID: {}", std::process::id());
    tokio::spawn(thread_zero.serve(server.clone()));
    tokio::spawn(cron::keep_time(server.clone()));
    tokio::spawn(cron::expire_actively(server.clone()));
    tokio::spawn(eviction::evict_in_background(server.clone()));
    tokio::spawn(crate::limits::patrol(server.clone()));
    server.note_running();
    serve_until_end(&server, dump).await?;
    let unix_socket = config.text("unixsocket");
    if !unix_socket.is_empty() {
        // The next start removes it as well.
        let _ = std::fs::remove_file(unix_socket);
    }
    if let Some(member) = member {
        let leaving = tokio::task::spawn_blocking(move || member.leave_the_stage());
        leaving.await.expect("a panic ends the process");
    }
    if let Some(durability) = server.durability() {
        durability.stop();
    }
    tracing::info!("Basalt is now ready to exit, bye bye...");
    Ok(())
}

/// Loads the dump, and returns when the server must end, which may be before all is loaded.
async fn serve_until_end(server: &Arc<Server>, dump: Option<Pending>) -> Result<(), StartError> {
    let mut end = std::pin::pin!(wait_for_end(server));
    if let Some(dump) = dump {
        let loaded = dump.start(server)?;
        tokio::select! {
            result = loaded => result.map_err(|_| std::io::Error::other("the thread that loads the dump has died"))??,
            result = &mut end => return result,
        }
    }
    let config = &server.config;
    tracing::info!(port = config.int("port"), unixsocket = config.text("unixsocket"), "Ready to accept connections");
    end.await
}

/// Returns when the server must end and the data is saved, if it was to be.
async fn wait_for_end(server: &Arc<Server>) -> Result<(), StartError> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut last_signal = "shutdown-on-sigterm";
    loop {
        tokio::select! {
            _ = terminate.recv() => {
                tracing::info!("Received SIGTERM scheduling shutdown...");
                last_signal = "shutdown-on-sigterm";
                server.shutdown.schedule();
            }
            _ = interrupt.recv() => {
                tracing::info!("Received SIGINT scheduling shutdown...");
                last_signal = "shutdown-on-sigint";
                server.shutdown.schedule();
            }
            due = server.shutdown.due(&server.switches) => match due {
                Due::Now => return Ok(()),
                Due::AfterSaving => {
                    let asked = OnSignal::parse(&server.config.text(last_signal));
                    let saving = server.clone();
                    let save = tokio::task::spawn_blocking(move || saving.save_before_end(asked.save));
                    let result = tokio::select! {
                        result = save => result.map_err(std::io::Error::other)?,
                        _ = interrupt.recv() => {
                            tracing::warn!("Received SIGINT again: exiting at once, without the save");
                            // It may not exist yet, or not any more.
                            let _ = std::fs::remove_file(persistence::file::temporary_path());
                            std::process::exit(1);
                        }
                    };
                    if result.is_ok() || asked.is_forced {
                        return Ok(());
                    }
                    server.shutdown.give_up();
                }
            },
        }
    }
}
