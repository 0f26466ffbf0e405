//! Arguments that logs must not show: passwords, in SLOWLOG and MONITOR.

use crate::commands::Command;
use crate::resp::Args;

/// What stands in the place of a secret.
pub const REDACTED: &[u8] = b"(redacted)";

/// Settings whose values are secrets.
const SECRET_SETTINGS: [&[u8]; 7] = [
    b"requirepass",
    b"masterauth",
    b"masteruser",
    b"tls-key-file-pass",
    b"tls-client-key-file-pass",
    b"metrics-token",
    b"cluster-secret",
];

/// The arguments of a command, with its secrets covered.
pub fn shown<'a>(command: &Command, args: Args<'a>) -> impl Iterator<Item = &'a [u8]> {
    let secret = secrets(command.full_name, args);
    args.from(0).enumerate().map(move |(index, argument)| if secret(index) { REDACTED } else { argument })
}

/// Says of each position whether a secret stands there.
fn secrets<'a>(name: &'static str, args: Args<'a>) -> impl Fn(usize) -> bool + 'a {
    move |index| match name {
        "auth" => index >= 1,
        // AUTH takes a user and a password.
        "hello" => (2..index).any(|at| index - at <= 2 && args.is(at, "AUTH")),
        "migrate" => {
            let after = |word, count| (1..index).any(|at| index - at <= count && args.is(at, word));
            after("AUTH", 1) || after("AUTH2", 2)
        }
        "config|set" => index >= 3 && index % 2 == 1 && is_secret_setting(args.at(index - 1)),
        _ => false,
    }
}

fn is_secret_setting(name: &[u8]) -> bool {
    SECRET_SETTINGS.iter().any(|secret| secret.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::setting::Kind;
    use crate::config::table::SETTINGS;
    use crate::resp::OwnedArgs;

    #[test]
    fn every_secret_of_the_table_is_covered() {
        let secrets = SETTINGS.iter().filter(|setting| matches!(setting.kind, Kind::Secret));
        let shown: Vec<&str> =
            secrets.map(|setting| setting.name).filter(|name| !is_secret_setting(name.as_bytes())).collect();
        assert!(shown.is_empty(), "{shown:?}");
    }

    #[test]
    fn passwords_are_covered_wherever_a_command_takes_them() {
        for (name, request, expected) in [
            ("auth", "auth user secret", "auth (redacted) (redacted)"),
            ("hello", "hello 3 AUTH user secret SETNAME me", "hello 3 AUTH (redacted) (redacted) SETNAME me"),
            ("config|set", "config set port 1 requirepass secret", "config set port 1 requirepass (redacted)"),
            ("migrate", "migrate h 1 k 0 9 auth2 u p keys a", "migrate h 1 k 0 9 auth2 (redacted) (redacted) keys a"),
            ("set", "set requirepass auth", "set requirepass auth"),
        ] {
            let args = OwnedArgs::of(request.split(' ').map(str::as_bytes));
            let secret = secrets(name, args.as_args());
            let words = request.split(' ').enumerate();
            let shown: Vec<_> = words.map(|(at, word)| if secret(at) { "(redacted)" } else { word }).collect();
            assert_eq!(shown.join(" "), expected);
        }
    }
}
