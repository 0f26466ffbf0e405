//! The table of settings as a configuration file and as a page: `config/basalt.conf` and `docs/configuration.md` are
//! its output, and tests keep them so.

use super::setting::{Change, Kind, Role, Setting};
use super::table::SETTINGS;
use std::fmt::Write;

const WIDTH: usize = 100;
const INTRODUCTION: &str = "\
# Basalt's settings, each with its default. Start the server with `basalt FILE`; options win over the file:
# `basalt FILE --port 7000`. Sizes take units: 1k is 1000 bytes, 1kb is 1024, likewise m, mb, g, gb.
# `include FILE` reads another file in its place. `rename-command NAME NEW` gives a command another name; an empty
# one takes the command away.
#
# This file is generated from server/src/config/table.rs by `basalt --print-default-config`.
";
const IRRELEVANT: &str = "\
# ---------------------------------------------------------------------------------------------------
# Settings of Redis that are accepted, so that existing files work, and that do nothing here.
";

/// The default configuration file.
pub fn default_file() -> String {
    let mut text = String::from(INTRODUCTION);
    for setting in SETTINGS.iter().filter(|setting| !matches!(setting.role, Role::Irrelevant)) {
        text.push('\n');
        comment(&mut text, setting.doc);
        if setting.change == Change::AtStart {
            comment(&mut text, "Cannot change while the server runs.");
        }
        let default = if setting.default.is_empty() { "\"\"" } else { setting.default };
        line(&mut text, &format!("# {} {default}", setting.name));
    }
    text.push('\n');
    text.push_str(IRRELEVANT);
    for (reason, names) in irrelevant() {
        text.push('\n');
        comment(&mut text, reason);
        comment(&mut text, &names.join(", "));
    }
    text
}

const PAGE_INTRODUCTION: &str = "\
# Configuration

A setting is given in a file, in the environment or on the command line; of these the later wins:

```
basalt /etc/basalt/basalt.conf                       # maxmemory 1gb
BASALT_MAXMEMORY=1gb basalt                          # BASALT_ and the name in capitals, _ for -
basalt /etc/basalt/basalt.conf --maxmemory 1gb
```

Files have the form of redis.conf, and those that were written for Redis work. `include FILE` reads another file in its
place; `rename-command NAME NEW` gives a command another name, an empty one takes it away; `--load-rdb FILE`, on the
command line only, fills an empty server from a dump. `basalt --check-config FILE` says what is wrong with a file, with
the line of each error, and starts nothing. It does not look at what only the start can know: whether ports are free,
directories there, addresses those of this machine.

CONFIG GET shows all settings, CONFIG SET changes those that can change while the server runs, CONFIG REWRITE writes
what was changed into the file. `config/` has a file with everything at its default (basalt.conf) and three to begin
with (cache.conf, durable.conf, cluster-node.conf).

In Kubernetes a service that is called `basalt` puts `BASALT_PORT=tcp://...` into the environment of its pods, which is
no port: set `enableServiceLinks: false`, or call the service otherwise.

This page is made from server/src/config/table.rs by `basalt --print-settings`.

## Settings

| setting | values | default | changes | meaning |
|---|---|---|---|---|
";

/// `docs/configuration.md`.
pub fn page() -> String {
    let mut text = String::from(PAGE_INTRODUCTION);
    for setting in SETTINGS.iter().filter(|setting| !matches!(setting.role, Role::Irrelevant)) {
        let Setting { name, kind, default, change, doc, .. } = setting;
        let alias = setting.alias.map(|alias| format!(" (`{alias}`)")).unwrap_or_default();
        let default = if default.is_empty() { String::new() } else { format!("`{default}`") };
        let change = match change {
            Change::AtRunTime => "at run time",
            Change::AtStart => "at the start",
            Change::Protected => "see `enable-protected-configs`",
        };
        line(&mut text, &format!("| `{name}`{alias} | {} | {default} | {change} | {doc} |", values(*kind)));
    }
    text.push_str("\n## Settings of Redis that are accepted and do nothing\n\n| settings | why |\n|---|---|\n");
    for (reason, names) in irrelevant() {
        let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
        line(&mut text, &format!("| {} | {reason} |", names.join(", ")));
    }
    text
}

/// What can be given.
fn values(kind: Kind) -> String {
    let names = |names: &[&str]| names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let most = |max: u64| if max >= i64::MAX as u64 { String::new() } else { format!(", at most {max}") };
    match kind {
        Kind::Bool => "`yes`, `no`".to_owned(),
        Kind::Int { min, max: i64::MAX } => format!("number, at least {min}"),
        Kind::Int { min, max } => format!("number, {min} to {max}"),
        Kind::Memory { min: 0, max } => format!("bytes: `100`, `1k`, `1kb`, `1gb`{}", most(max)),
        Kind::Memory { min, max } => format!("bytes, at least {min}{}", most(max)),
        Kind::MemoryOrPercent => "bytes, or `N%` of `maxmemory`".to_owned(),
        Kind::Octal => "permissions in octal".to_owned(),
        Kind::Enum(all) => names(all),
        Kind::Text | Kind::Secret => "text".to_owned(),
        Kind::Words => "words".to_owned(),
        Kind::Names(all) => format!("some of {}", names(all)),
        Kind::HostPort => "host and port".to_owned(),
        Kind::Save => "seconds and changes, in pairs".to_owned(),
        Kind::OutputLimits => "class, hard limit, soft limit, seconds, in fours".to_owned(),
        Kind::Percentiles => "numbers from 0 to 100".to_owned(),
        Kind::LogLevels => "`MODULE=LEVEL`, several".to_owned(),
        Kind::EventClasses => "letters of classes of events".to_owned(),
    }
}

/// Settings that do nothing, by the reason.
fn irrelevant() -> Vec<(&'static str, Vec<&'static str>)> {
    let mut reasons: Vec<(&str, Vec<&str>)> = Vec::new();
    for setting in SETTINGS.iter().filter(|setting| matches!(setting.role, Role::Irrelevant)) {
        match reasons.iter_mut().find(|(reason, _)| *reason == setting.doc) {
            Some((_, names)) => names.push(setting.name),
            None => reasons.push((setting.doc, vec![setting.name])),
        }
    }
    reasons
}

fn line(text: &mut String, line: &str) {
    writeln!(text, "{line}").expect("writing to a string does not fail");
}

/// The words as comment lines of a readable width.
fn comment(text: &mut String, words: &str) {
    let mut current = String::from("#");
    for word in words.split(' ') {
        if current.len() + 1 + word.len() > WIDTH {
            line(text, &current);
            current = String::from("#");
        }
        current.push(' ');
        current.push_str(word);
    }
    line(text, &current);
}

#[cfg(test)]
mod tests {
    use super::super::{Config, file};
    use std::path::Path;

    #[test]
    fn the_documented_file_is_the_table() {
        let file = include_str!("../../../config/basalt.conf");
        assert!(file == super::default_file(), "run: basalt --print-default-config > config/basalt.conf");
    }

    #[test]
    fn the_page_is_the_table() {
        let page = include_str!("../../../docs/configuration.md");
        assert!(page == super::page(), "run: basalt --print-settings > docs/configuration.md");
    }

    #[test]
    fn the_files_to_begin_with_can_be_used() {
        for name in ["basalt", "cache", "durable", "cluster-node"] {
            let path = format!("{}/../config/{name}.conf", env!("CARGO_MANIFEST_DIR"));
            let directives = file::read(Path::new(&path)).expect("a file that can be read");
            let errors: Vec<String> = Config::check(directives).iter().map(ToString::to_string).collect();
            assert_eq!(errors, Vec::<String>::new(), "{name}");
        }
    }

    #[test]
    fn all_errors_are_told() {
        let options = ["--port", "x", "--maxmemory", "1gb", "--nonsense", "1", "--mode", "tape"].map(str::to_owned);
        let errors = Config::check(file::read_arguments(&options).expect("options"));
        let told: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(told.len(), 3, "{told:?}");
        assert!(
            told[0].contains("port") && told[1].contains("nonsense") && told[2].contains("cache, durable"),
            "{told:?}"
        );
    }
}
