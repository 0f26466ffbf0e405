//! Configuration: what the table of settings says, what files and clients set, and the copies that hot paths read.
//!
//! [`table`] lists all settings; [`setting`] knows their kinds; [`file`] reads files and command lines and rewrites
//! files; [`apply`] hands changed values to the parts that keep copies. To add a setting, add its row, and an `apply`
//! function if something must happen when it changes.

mod apply;
pub mod document;
pub mod file;
pub mod setting;
pub mod table;

use crate::commands::Command;
use crate::commands::names::Names;
use crate::error::{CommandError, LOADING};
use crate::resp::decode::Limits;
use crate::server::Server;
use crate::session::Session;
use file::{Directive, FileError, Source};
use hashbrown::HashMap;
use parking_lot::RwLock;
use setting::{Change, Kind, OutputLimits, Role, Setting, Value};
use std::path::PathBuf;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering::Relaxed};
use table::{FIXED_WHILE_LOADING, HIDDEN, SETTINGS};

const BAD_DIRECTIVE: &str = "Bad directive or wrong number of arguments";

static INDEX: LazyLock<HashMap<&'static str, usize>> = LazyLock::new(|| {
    let mut index = HashMap::new();
    for (at, setting) in SETTINGS.iter().enumerate() {
        for name in std::iter::once(setting.name).chain(setting.alias) {
            let before = index.insert(name, at);
            assert!(before.is_none(), "two settings are named {name}");
        }
    }
    index
});

/// The settings of one server.
pub struct Config {
    values: RwLock<Vec<Value>>,
    /// The file that was read at the start, which CONFIG REWRITE writes again.
    pub file: Option<PathBuf>,
    /// Settings that were given and do nothing here; logged once.
    pub ignored: Vec<&'static str>,
    /// What clients call the commands, if `rename-command` has changed that.
    pub names: Option<Names>,
    /// A dump that is to be loaded into the empty server (`--load-rdb`).
    pub load_rdb: Option<PathBuf>,
    pub hot: Hot,
}

/// Copies of settings that are read for every command or connection.
#[derive(Default)]
pub struct Hot {
    pub maxmemory: AtomicU64,
    pub maxclients: AtomicUsize,
    pub proto_max_bulk_len: AtomicU64,
    pub query_buffer_limit: AtomicU64,
    /// Bytes; percentages are already worked out.
    pub maxmemory_clients: AtomicU64,
    pub timeout_s: AtomicU64,
    pub tcp_keepalive_s: AtomicU64,
    pub hll_sparse_max_bytes: AtomicUsize,
    pub hz: AtomicU64,
    pub active_expire_effort: AtomicU64,
    pub maxmemory_samples: AtomicUsize,
    pub maxmemory_eviction_tenacity: AtomicI64,
    pub maxmemory_policy: parking_lot::Mutex<String>,
    /// New connections are forwarded.
    pub cluster_forward: AtomicBool,
    password: RwLock<String>,
}

/// What only listeners look at, which do not listen yet when settings are applied for the first time.
const OF_LISTENERS: &[&str] = &["bind", "port", "cluster-forward-port"];

/// The file of `--load-rdb`, made absolute before `dir` changes the working directory. It is no setting: it fills a
/// server once, and in a file it would stop the next start.
fn dump_to_load(directive: &Directive) -> Result<PathBuf, String> {
    match (&directive.source, directive.words.as_slice()) {
        (Source::CommandLine { .. }, [path]) if !path.is_empty() => {
            std::path::absolute(path).map_err(|error| error.to_string())
        }
        (Source::CommandLine { .. }, _) => Err(BAD_DIRECTIVE.into()),
        _ => Err("load-rdb is an option of the command line only".into()),
    }
}

impl Config {
    /// All defaults.
    pub fn new() -> Config {
        let unset = Value::Bool(false);
        let default = |setting: &Setting| {
            let words: Vec<String> = match setting.kind.takes_words() {
                true => setting.default.split(' ').map(str::to_owned).collect(),
                false => vec![setting.default.to_owned()],
            };
            setting.kind.read(&words, &unset).unwrap_or_else(|error| panic!("default of {}: {error}", setting.name))
        };
        let values = SETTINGS.iter().map(default).collect();
        let config = Config {
            values: RwLock::new(values),
            file: None,
            ignored: Vec::new(),
            names: None,
            load_rdb: None,
            hot: Hot::default(),
        };
        // A container's own loopback is all that a default server listens to, so the directory is made absolute once.
        let directory = std::env::current_dir().unwrap_or_default().display().to_string();
        config.store(INDEX["dir"], Value::Text(directory));
        config
    }

    /// Defaults, then the directives in order.
    pub fn from_directives(directives: Vec<Directive>, file: Option<PathBuf>) -> Result<Config, FileError> {
        let mut config = Config::new();
        config.file = file;
        let mut has_save = false;
        for directive in directives {
            let refuse = |reason: String| directive.refused(reason);
            if directive.name == "rename-command" {
                let [old, new] = directive.words.as_slice() else { return Err(refuse(BAD_DIRECTIVE.into())) };
                config.names.get_or_insert_default().rename(old, new).map_err(refuse)?;
                continue;
            }
            if directive.name == "load-rdb" {
                config.load_rdb = Some(dump_to_load(&directive).map_err(refuse)?);
                continue;
            }
            let index = find(&directive.name).ok_or_else(|| refuse(BAD_DIRECTIVE.into()))?;
            let setting = &SETTINGS[index];
            let mut words = directive.words.clone();
            if let ([only], true) = (words.as_slice(), setting.kind.takes_words())
                && !only.is_empty()
            {
                words = only.split_whitespace().map(str::to_owned).collect();
            }
            if setting.name == "save" {
                // The first line replaces the default.
                words = if has_save { accumulated_save(&config.text("save"), words) } else { words };
                has_save = true;
            }
            if setting.name == "cluster-join" {
                // Each line names further nodes.
                words.splice(0..0, config.text("cluster-join").split_whitespace().map(str::to_owned));
            }
            let value = setting.kind.read(&words, &config.values.read()[index]).map_err(refuse)?;
            if matches!(setting.role, Role::Irrelevant) && !config.ignored.contains(&setting.name) {
                config.ignored.push(setting.name);
            }
            config.store(index, value);
        }
        Ok(config)
    }

    /// What is wrong with the directives: with each of them, not only the first.
    pub fn check(directives: Vec<Directive>) -> Vec<FileError> {
        let (mut good, mut errors) = (Vec::new(), Vec::new());
        for directive in directives {
            good.push(directive);
            // Some add to what those before have said, so each is read behind all that were good.
            if let Err(error) = Config::from_directives(good.clone(), None) {
                good.pop();
                errors.push(error);
            }
        }
        errors
    }

    fn store(&self, index: usize, value: Value) {
        self.values.write()[index] = value;
    }

    /// The value of a setting, for cold paths. The name must be one of the table's.
    pub fn value(&self, name: &str) -> Value {
        self.values.read()[INDEX[name]].clone()
    }

    /// The text of a setting, as CONFIG GET shows it.
    pub fn text(&self, name: &str) -> String {
        let index = INDEX[name];
        self.values.read()[index].text(SETTINGS[index].kind)
    }

    /// A whole number, for cold paths.
    pub fn int(&self, name: &str) -> i64 {
        match self.value(name) {
            Value::Int(number) => number,
            Value::Bytes(bytes) => bytes as i64,
            other => panic!("the setting {name} is no number but {other:?}"),
        }
    }

    pub fn is_yes(&self, name: &str) -> bool {
        self.value(name) == Value::Bool(true)
    }

    pub fn output_limits(&self) -> OutputLimits {
        match self.value("client-output-buffer-limit") {
            Value::OutputLimits(limits) => limits,
            other => panic!("output limits are no {other:?}"),
        }
    }

    /// How many there are. In a cluster that is one, whatever is set, as in Redis.
    pub fn databases(&self) -> u16 {
        if self.is_yes("cluster-enabled") { 1 } else { self.int("databases") as u16 }
    }

    pub fn io_threads(&self) -> usize {
        self.int("io-threads") as usize
    }

    /// In bytes; zero: no limit.
    #[inline]
    pub fn maxmemory(&self) -> u64 {
        self.hot.maxmemory.load(Relaxed)
    }

    /// What a client may send.
    #[inline]
    pub fn request_limits(&self, session: &Session) -> Limits {
        Limits { bulk_len_max: self.hot.proto_max_bulk_len.load(Relaxed), authenticated: session.is_authenticated }
    }

    /// Whether clients need a password.
    pub fn needs_password(&self) -> bool {
        !self.hot.password.read().is_empty()
    }

    /// The password that other nodes of the cluster want to hear: that of this one, unless `masterauth` says otherwise.
    pub fn password_of_nodes(&self) -> String {
        let set_apart = self.text("masterauth");
        if set_apart.is_empty() { self.hot.password.read().clone() } else { set_apart }
    }

    /// Whether this is the password. Takes the same time wherever the first difference is.
    pub fn is_password(&self, given: &[u8]) -> bool {
        let password = self.hot.password.read();
        let mut difference = password.len() ^ given.len();
        for (at, byte) in given.iter().enumerate() {
            difference |= usize::from(byte ^ password.as_bytes().get(at).copied().unwrap_or(0));
        }
        difference == 0
    }

    /// Whether `enable-debug-command` and kin admit this client.
    pub fn admits_protected(&self, command: &Command, session: &Session) -> Result<(), CommandError> {
        let name = command.full_name.split('|').next().unwrap_or_default();
        let setting = if name == "debug" { "enable-debug-command" } else { "enable-module-command" };
        let admitted = match self.text(setting).as_str() {
            "yes" => true,
            "local" => session.client.is_local(),
            _ => false,
        };
        if admitted {
            return Ok(());
        }
        let upper = name.to_ascii_uppercase();
        Err(CommandError::owned(format!(
            "ERR {upper} command not allowed. If the {setting} option is set to \"local\", you can run it from a local \
             connection, otherwise you need to set this option in the configuration file, and then restart the server."
        )))
    }

    /// Hands all settings to the parts that keep copies; at the start.
    pub fn apply_to(&self, server: &Server) -> Result<(), String> {
        for (index, setting) in SETTINGS.iter().enumerate() {
            let value = self.values.read()[index].clone();
            if let (Role::Applied(apply), true) = (setting.role, !OF_LISTENERS.contains(&setting.name)) {
                apply(server, &value).map_err(|reason| format!("{}: {reason}", setting.name))?;
            }
        }
        Ok(())
    }
}

impl Default for Config {
    fn default() -> Config {
        Config::new()
    }
}

/// The index of the setting of this name or alias, in any case.
fn find(name: &str) -> Option<usize> {
    INDEX.get(name.to_ascii_lowercase().as_str()).copied()
}

/// Several `save` lines add up, and an empty one starts over.
fn accumulated_save(present: &str, words: Vec<String>) -> Vec<String> {
    if words.iter().all(String::is_empty) || present.is_empty() {
        return words;
    }
    present.split(' ').map(str::to_owned).chain(words).collect()
}

/// Names (with aliases) and values of the settings that match one of the patterns, each once, in the table's order.
pub fn matching(server: &Server, patterns: &[&[u8]]) -> Vec<(&'static str, String)> {
    use crate::algorithms::glob::{Case, matches};
    let wanted = |name: &str| {
        patterns.iter().any(|pattern| {
            let is_plain = !pattern.iter().any(|byte| b"*?[".contains(byte));
            if is_plain {
                pattern.eq_ignore_ascii_case(name.as_bytes())
            } else {
                !HIDDEN.contains(&name) && matches(pattern, name.as_bytes(), Case::Insensitive)
            }
        })
    };
    let mut found = Vec::new();
    for setting in SETTINGS {
        for name in std::iter::once(setting.name).chain(setting.alias).filter(|name| wanted(name)) {
            found.push((name, server.config.text(setting.name)));
        }
    }
    found
}

/// Sets several settings at once, or none: CONFIG SET.
pub fn set(server: &Server, session: &Session, pairs: &[(String, String)]) -> Result<(), CommandError> {
    let config = &server.config;
    let failed = |name: &str, reason: String| {
        CommandError::owned(format!("ERR CONFIG SET failed (possibly related to argument '{name}') - {reason}"))
    };
    // As in Redis, a name that may not be set is told before any value that cannot be read.
    let mut indexes: Vec<usize> = Vec::new();
    for (name, _) in pairs {
        let index = find(name).ok_or_else(|| {
            CommandError::owned(format!("ERR Unknown option or number of arguments for CONFIG SET - '{name}'"))
        })?;
        let setting = &SETTINGS[index];
        match setting.change {
            Change::AtRunTime => {}
            Change::AtStart => return Err(failed(name, "can't set immutable config".into())),
            Change::Protected => admit_protected(config, session).map_err(|reason| failed(name, reason))?,
        }
        if server.persistence.loading.is_active() && FIXED_WHILE_LOADING.contains(&setting.name) {
            return Err(LOADING);
        }
        if indexes.contains(&index) {
            return Err(failed(name, "duplicate parameter".into()));
        }
        indexes.push(index);
    }
    let mut changes: Vec<(usize, Value)> = Vec::new();
    for (index, (name, text)) in indexes.into_iter().zip(pairs) {
        let setting = &SETTINGS[index];
        let words = match setting.kind.takes_words() {
            true => split(text).ok_or_else(|| failed(name, "unbalanced quotes".into()))?,
            false => vec![text.clone()],
        };
        let present = config.values.read()[index].clone();
        changes.push((index, setting.kind.read(&words, &present).map_err(|reason| failed(name, reason))?));
    }
    let before: Vec<_> = changes.iter().map(|(index, _)| (*index, config.values.read()[*index].clone())).collect();
    // All are known before any is applied, since some only fit each other: a certificate and its key.
    for (index, value) in &changes {
        config.store(*index, value.clone());
    }
    for (at, (index, value)) in changes.iter().enumerate() {
        if let Role::Applied(apply) = SETTINGS[*index].role
            && let Err(reason) = apply(server, value)
        {
            for (index, value) in &before {
                config.store(*index, value.clone());
            }
            for (index, value) in before.into_iter().take(at + 1) {
                if let Role::Applied(apply) = SETTINGS[index].role {
                    // It held before, so it holds again; if not, the log says so.
                    let _ = apply(server, &value).inspect_err(|reason| tracing::warn!(reason, "taking a setting back"));
                }
            }
            return Err(failed(&pairs[at].0, reason));
        }
    }
    Ok(())
}

fn split(text: &str) -> Option<Vec<String>> {
    if text.is_empty() {
        return Some(vec![String::new()]);
    }
    let words = crate::resp::decode::split_words(text.as_bytes())?;
    Some(words.into_iter().map(|word| String::from_utf8_lossy(&word).into_owned()).collect())
}

fn admit_protected(config: &Config, session: &Session) -> Result<(), String> {
    match config.text("enable-protected-configs").as_str() {
        "yes" => Ok(()),
        "local" if session.client.is_local() => Ok(()),
        _ => Err("can't set protected config".into()),
    }
}

/// Whether a value differs from the table's default.
fn is_default(setting: &Setting, text: &str) -> bool {
    match setting.kind {
        Kind::Enum(_) => setting.default.eq_ignore_ascii_case(text),
        _ => setting.default == text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_valid_and_reads_back() {
        let config = Config::new();
        for setting in SETTINGS.iter().filter(|setting| setting.name != "dir") {
            assert_eq!(config.text(setting.name), setting.default, "{}", setting.name);
        }
    }

    #[test]
    fn every_setting_is_documented() {
        for setting in SETTINGS {
            assert!(setting.doc.ends_with('.'), "the documentation of {} is a sentence", setting.name);
        }
    }
}
