//! Where log lines go, in which form, and which are written.

use parking_lot::Mutex;
use std::fs::OpenOptions;
use std::io;
use std::sync::OnceLock;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Registry, reload};

/// The words of `loglevel` and `log-filter`, the most talkative first.
pub const LEVELS: &[&str] = &["debug", "verbose", "notice", "warning", "nothing"];

/// The forms of `log-format`.
pub const FORMATS: &[&str] = &["text", "json"];

static FILTER: OnceLock<reload::Handle<Targets, Registry>> = OnceLock::new();

/// What the settings say. Kept here, since each of them comes alone.
static CHOSEN: Mutex<Chosen> = Mutex::new(Chosen { level: LevelFilter::INFO, modules: Vec::new() });

struct Chosen {
    level: LevelFilter,
    modules: Vec<Module>,
}

/// A module and those within it, with a level of their own.
type Module = (String, LevelFilter);

/// Starts logging to `logfile`, or to standard output if it is empty. Once per process.
pub fn start(logfile: &str, format: &str) -> io::Result<()> {
    let writer = match logfile {
        "" => BoxMakeWriter::new(io::stdout),
        path => BoxMakeWriter::new(OpenOptions::new().create(true).append(true).open(path)?),
    };
    let (filter, handle) = reload::Layer::new(CHOSEN.lock().filter());
    let lines = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(writer);
    let lines = match format {
        "json" => lines.json().flatten_event(true).with_current_span(false).with_span_list(false).boxed(),
        _ => lines.with_target(false).boxed(),
    };
    tracing_subscriber::registry().with(filter).with(lines).init();
    FILTER.get_or_init(|| handle);
    Ok(())
}

/// Sets the level from a value of the setting `loglevel`.
pub fn put_level(name: &str) {
    change(|chosen| chosen.level = level(name).unwrap_or(LevelFilter::INFO));
}

/// Sets the levels of single modules from a value of the setting `log-filter`.
pub fn put_filter(text: &str) {
    change(|chosen| chosen.modules = text.split_whitespace().filter_map(|word| module(word).ok()).collect());
}

/// Reads a word of `log-filter`: `basalt_cluster::node=debug`.
pub fn module(word: &str) -> Result<Module, String> {
    let is_of_path = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == ':';
    match word.split_once('=') {
        Some((path, name)) if !path.is_empty() && path.chars().all(is_of_path) => match level(name) {
            Some(level) => Ok((path.to_owned(), level)),
            None => Err(format!("'{name}' is no level: {}", LEVELS.join(", "))),
        },
        _ => Err(format!("'{word}' is not MODULE=LEVEL, as in basalt_cluster::node=debug")),
    }
}

fn level(name: &str) -> Option<LevelFilter> {
    Some(match name {
        "debug" => LevelFilter::TRACE,
        "verbose" => LevelFilter::DEBUG,
        "notice" => LevelFilter::INFO,
        "warning" => LevelFilter::WARN,
        "nothing" => LevelFilter::OFF,
        _ => return None,
    })
}

fn change(put: impl FnOnce(&mut Chosen)) {
    let mut chosen = CHOSEN.lock();
    put(&mut chosen);
    if let Some(handle) = FILTER.get() {
        // It fails only if logging has ended, which it does with the process.
        let _ = handle.modify(|filter| *filter = chosen.filter());
    }
}

impl Chosen {
    fn filter(&self) -> Targets {
        Targets::new().with_default(self.level).with_targets(self.modules.iter().cloned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing::Level;

    #[test]
    fn modules_have_levels_of_their_own() {
        let read = |word: &str| module(word).expect("a module and a level");
        let modules = vec![read("basalt_cluster=debug"), read("basalt_cluster::peer=nothing")];
        let filter = Chosen { level: LevelFilter::WARN, modules }.filter();
        assert!(filter.would_enable("basalt_cluster::node::host", &Level::TRACE));
        assert!(!filter.would_enable("basalt_cluster::peer::link", &Level::ERROR));
        assert!(filter.would_enable("basalt_server", &Level::WARN));
        assert!(!filter.would_enable("basalt_server", &Level::INFO));
    }

    #[test]
    fn what_is_no_module_with_a_level_is_refused() {
        for word in ["basalt_cluster", "=debug", "a b=debug", "a=loud", "a=", "[x]=debug", "a=Debug"] {
            assert!(module(word).is_err(), "{word}");
        }
    }
}
