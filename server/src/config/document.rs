//! The table of settings as a configuration file: `config/basalt.conf` is its output, and a test keeps it so.

use super::setting::{Change, Role};
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
    let mut reasons: Vec<&str> = Vec::new();
    for setting in SETTINGS.iter().filter(|setting| matches!(setting.role, Role::Irrelevant)) {
        if !reasons.contains(&setting.doc) {
            reasons.push(setting.doc);
        }
    }
    for reason in reasons {
        text.push('\n');
        comment(&mut text, reason);
        let names: Vec<&str> = SETTINGS
            .iter()
            .filter(|setting| setting.doc == reason && matches!(setting.role, Role::Irrelevant))
            .map(|setting| setting.name)
            .collect();
        comment(&mut text, &names.join(", "));
    }
    text
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
    #[test]
    fn the_documented_file_is_the_table() {
        let file = include_str!("../../../config/basalt.conf");
        assert!(file == super::default_file(), "run: basalt --print-default-config > config/basalt.conf");
    }
}
