//! How long a blocking command is willing to wait, so that it can go on waiting at another node for the rest of that.

use crate::commands::Command;
use crate::resp::{Args, OwnedArgs};
use std::time::Duration;

/// Where the time limit of a blocking command stands among its arguments.
fn place(command: &Command, args: Args<'_>) -> Option<usize> {
    match command.spec.name {
        "blpop" | "brpop" | "blmove" | "brpoplpush" | "bzpopmin" | "bzpopmax" => Some(args.len() - 1),
        "blmpop" | "bzmpop" => Some(1),
        _ => None,
    }
}

/// The same request after it has waited for so long. One without a limit stays as it is, and so does what is none of
/// the commands that wait for keys.
pub fn shortened(command: &Command, args: &OwnedArgs, waited: Duration) -> Option<OwnedArgs> {
    let args = args.as_args();
    let place = place(command, args)?;
    let seconds: f64 = std::str::from_utf8(args.at(place)).ok()?.parse().ok()?;
    if !(seconds > 0.0 && seconds.is_finite()) {
        return None;
    }
    // Not zero, which would mean for ever.
    let left = format!("{:.3}", (seconds - waited.as_secs_f64()).max(0.001));
    let argument = |(index, argument)| if index == place { left.as_bytes() } else { argument };
    Some(OwnedArgs::of(args.from(0).enumerate().map(argument)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands;

    #[test]
    fn what_has_waited_waits_for_the_rest_only() {
        let waited = Duration::from_millis(1500);
        for (words, expected) in [
            ("BLPOP a 4", Some("BLPOP a 2.500")),
            ("BLPOP a 1", Some("BLPOP a 0.001")),
            ("BLPOP a 0", None),
            ("BLPOP a x", None),
            ("blmpop 2.5 1 a LEFT", Some("blmpop 1.000 1 a LEFT")),
            ("BLMOVE a b LEFT RIGHT 10", Some("BLMOVE a b LEFT RIGHT 8.500")),
            ("BZPOPMAX a b 2", Some("BZPOPMAX a b 0.500")),
            ("GET 5", None),
        ] {
            let owned = |text: &str| OwnedArgs::of(text.split(' ').map(str::as_bytes));
            let args = owned(words);
            let command = commands::resolve(args.as_args()).expect("a command");
            assert_eq!(shortened(command, &args, waited), expected.map(owned), "{words}");
        }
    }

    /// A command that waits must be known here.
    #[test]
    fn every_command_that_waits_for_keys_has_its_limit_found() {
        let request = OwnedArgs::of(["x", "1", "1", "1", "1", "1"].map(str::as_bytes));
        for command in commands::all().iter().filter(|command| waits_for_keys(command)) {
            assert!(place(command, request.as_args()).is_some(), "{}", command.full_name);
        }
    }

    fn waits_for_keys(command: &Command) -> bool {
        use crate::commands::spec::Flags;
        command.spec.flags.contains(Flags::BLOCKING.or(Flags::WRITE))
    }
}
