//! Where log lines go and which are written.

use std::fs::OpenOptions;
use std::io;
use std::sync::OnceLock;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Registry, reload};

static LEVEL: OnceLock<reload::Handle<LevelFilter, Registry>> = OnceLock::new();

/// Starts logging to `logfile`, or to standard output if it is empty. Once per process.
pub fn start(logfile: &str) -> io::Result<()> {
    let writer = match logfile {
        "" => BoxMakeWriter::new(io::stdout),
        path => BoxMakeWriter::new(OpenOptions::new().create(true).append(true).open(path)?),
    };
    let (filter, handle) = reload::Layer::new(LevelFilter::INFO);
    let lines = tracing_subscriber::fmt::layer().with_ansi(false).with_target(false).with_writer(writer);
    tracing_subscriber::registry().with(filter).with(lines).init();
    LEVEL.get_or_init(|| handle);
    Ok(())
}

/// Sets the level from a value of the setting `loglevel`.
pub fn set_level(name: &str) {
    let level = match name {
        "debug" => LevelFilter::TRACE,
        "verbose" => LevelFilter::DEBUG,
        "warning" => LevelFilter::WARN,
        "nothing" => LevelFilter::OFF,
        _ => LevelFilter::INFO,
    };
    if let Some(handle) = LEVEL.get() {
        // It fails only if logging has ended, which it does with the process.
        let _ = handle.modify(|filter| *filter = level);
    }
}
