//! The replies of the HELP subcommands.

use crate::error::CommandError;
use crate::resp::{Args, ReplyBuf};

/// A subcommand with its arguments, and lines that explain it.
pub type Entry<'a> = (&'a str, &'a [&'a str]);

/// Answers what a container can do, in the layout that redis-cli users know.
pub fn answer(out: &mut ReplyBuf, container: &str, entries: &[Entry<'_>]) {
    let own = [("HELP", ["Print this help."].as_slice())];
    let all = || entries.iter().chain(&own);
    out.array(1 + all().map(|(_, lines)| 1 + lines.len()).sum::<usize>());
    out.simple(&format!("{container} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"));
    for (usage, lines) in all() {
        out.simple(usage);
        lines.iter().for_each(|line| out.simple(&format!("    {line}")));
    }
}

/// A subcommand that exists was given arguments that it does not take.
pub fn wrong_arguments(container: &str, args: Args<'_>) -> CommandError {
    let name = String::from_utf8_lossy(args.at(1));
    CommandError::owned(format!(
        "ERR unknown subcommand or wrong number of arguments for '{name}'. Try {container} HELP."
    ))
}
