//! MIGRATE: keys of this server become keys of another one. What happens then is [`crate::migrate`]'s.

use super::ctx::SessionCtx;
use super::parse;
use super::spec::{
    Begin, Find, Flags, Handler::Session, InvalidKeys, KeyFlags, KeySpec, Locks, RW_ACCESS_DELETE, Spec,
};
use crate::commands;
use crate::error::{CommandError, CommandResult, SYNTAX};
use crate::migrate::{Address, Credentials, Job, Request};
use crate::resp::Args;
use crate::session::{Awaited, Waiting};
use std::sync::Arc;
use std::time::{Duration, Instant};

pub const COMMANDS: &[Spec] = &[Spec {
    name: "migrate",
    tips: &["nondeterministic_output"],
    arity: -6,
    flags: Flags::WRITE.or(Flags::MOVABLE_KEYS),
    keys: &[
        KeySpec::at(KEY, RW_ACCESS_DELETE),
        KeySpec {
            begin: Begin::Keyword { word: "KEYS", from: -2 },
            find: Find::Range { last: -1, step: 1, limit: 0 },
            flags: RW_ACCESS_DELETE.or(KeyFlags::INCOMPLETE),
            notes: "",
        },
    ],
    find_keys: Some(find_keys),
    categories: &["keyspace", "dangerous"],
    since: "2.6.0",
    summary: "Moves keys to another server.",
    syntax: "host port key destination-db timeout/integer [COPY] [REPLACE] [AUTH password | AUTH2 username password] \
             [KEYS key [key ...]]",
    complexity: "What DUMP and DEL cost here, and RESTORE there; O(N) for sending N bytes",
    locks: Locks::Nothing,
    handler: Session(migrate),
    ..Spec::DEFAULT
}];

/// Where the key stands, if it is only one.
const KEY: usize = 3;

/// Where the words begin.
const OPTIONS: usize = 6;

/// What Redis takes if it is told none.
const TIMEOUT: Duration = Duration::from_secs(1);

fn find_keys(args: Args<'_>, visit: &mut dyn FnMut(usize, KeyFlags)) -> Result<(), InvalidKeys> {
    let mut at = OPTIONS;
    while at < args.len() {
        if args.is(at, "KEYS") {
            if !args.at(KEY).is_empty() || at + 1 == args.len() {
                return Err(InvalidKeys);
            }
            (at + 1..args.len()).for_each(|index| visit(index, RW_ACCESS_DELETE.or(KeyFlags::INCOMPLETE)));
            return Ok(());
        }
        at += 1 + words_behind(args, at);
    }
    visit(KEY, RW_ACCESS_DELETE);
    Ok(())
}

/// How many words belong to the one at this position.
fn words_behind(args: Args<'_>, at: usize) -> usize {
    match at {
        at if args.is(at, "AUTH") => 1,
        at if args.is(at, "AUTH2") => 2,
        _ => 0,
    }
}

impl Request {
    fn parse(args: Args<'_>) -> Result<Request, CommandError> {
        const NAMED_TWICE: CommandError =
            CommandError::new("ERR When using MIGRATE KEYS option, the key argument must be set to the empty string");
        let (mut copies, mut replaces, mut credentials) = (false, false, None);
        let mut keys: Vec<Box<[u8]>> = vec![args.at(KEY).into()];
        let mut at = OPTIONS;
        while at < args.len() {
            let behind = words_behind(args, at);
            if at + behind >= args.len() {
                return Err(SYNTAX);
            }
            if args.is(at, "COPY") {
                copies = true;
            } else if args.is(at, "REPLACE") {
                replaces = true;
            } else if behind > 0 {
                let user = (behind == 2).then(|| args.at(at + 1).into());
                credentials = Some(Credentials { user, password: args.at(at + behind).into() });
            } else if args.is(at, "KEYS") {
                if !args.at(KEY).is_empty() {
                    return Err(NAMED_TWICE);
                }
                keys = args.from(at + 1).map(Box::from).collect();
                break;
            } else {
                return Err(SYNTAX);
            }
            at += 1 + behind;
        }
        let timeout = parse::integer(args.at(5))?;
        let db = parse::integer(args.at(4))?;
        let timeout = u64::try_from(timeout).ok().filter(|ms| *ms > 0).map_or(TIMEOUT, Duration::from_millis);
        let host = String::from_utf8_lossy(args.at(1)).into_owned();
        Ok(Request {
            address: Address { host, port: port(args.at(2)) },
            keys,
            db,
            timeout,
            credentials,
            copies,
            replaces,
        })
    }
}

/// Redis looks at the digits in front, and finds out about the rest when it connects.
fn port(text: &[u8]) -> u16 {
    let digits = text.iter().map_while(|byte| char::from(*byte).to_digit(10));
    digits.fold(0u16, |port, digit| port.wrapping_mul(10).wrapping_add(digit as u16))
}

fn migrate(ctx: &mut SessionCtx<'_, '_>, args: Args<'_>) -> CommandResult {
    let request = Request::parse(args)?;
    if ctx.held.is_some() {
        // Redis lets everybody wait for the other server. Here a transaction would have to, with all locks held.
        return Err(CommandError::new("ERR MIGRATE is not possible inside a transaction"));
    }
    if request.keys.is_empty() {
        ctx.out.simple("NOKEY");
        return Ok(());
    }
    let session = &mut *ctx.session;
    let command = commands::find(args.at(0)).expect("it was called by this name");
    let (client, db, reply_mode) = (session.client.clone(), session.db, session.reply_mode);
    let args = Arc::new(args.to_owned());
    session.waiting = Some(Waiting { command, args, since: Instant::now(), until: None, awaited: Awaited::Answer });
    ctx.server.migrations.submit(Job { client, request, db, reply_mode });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::OwnedArgs;

    fn owned(request: &str) -> OwnedArgs {
        OwnedArgs::of(request.split(' ').map(|word| if word == "''" { b"" } else { word.as_bytes() }))
    }

    fn keys(request: &str) -> Option<Vec<String>> {
        let owned = owned(request);
        let args = owned.as_args();
        let mut keys = Vec::new();
        let visit = &mut |index, _| keys.push(String::from_utf8_lossy(args.at(index)).into_owned());
        find_keys(args, visit).ok().map(|()| keys)
    }

    #[test]
    fn keys_stand_in_their_place_or_behind_a_word() {
        for (request, expected) in [
            ("migrate h 1 k 0 9", Some(vec!["k"])),
            ("migrate h 1 '' 0 9", Some(vec![""])),
            ("migrate h 1 '' 0 9 copy keys a b", Some(vec!["a", "b"])),
            ("migrate h 1 '' 0 9 auth keys keys a", Some(vec!["a"])),
            ("migrate h 1 '' 0 9 auth2 keys keys keys a", Some(vec!["a"])),
            ("migrate h 1 k 0 9 keys a", None),
            ("migrate h 1 '' 0 9 keys", None),
        ] {
            let expected = expected.map(|keys| keys.into_iter().map(str::to_owned).collect());
            assert_eq!(keys(request), expected, "{request}");
        }
    }

    #[test]
    fn words_are_understood_as_redis_does() {
        let parsed = |request: &str| Request::parse(owned(request).as_args());
        let plain = parsed("migrate h 17x k 0 0").expect("in order");
        assert_eq!((plain.address.port, plain.timeout, plain.db), (17, TIMEOUT, 0));
        let full = parsed("migrate h 1 '' 3 50 copy replace auth2 u p keys a b").expect("in order");
        assert_eq!((full.keys.len(), full.copies, full.replaces), (2, true, true));
        assert_eq!(full.credentials.and_then(|known| known.user).as_deref(), Some(&b"u"[..]));
        for wrong in ["migrate h 1 k 0 9 auth", "migrate h 1 k 0 9 auth2 u", "migrate h 1 k 0 9 what"] {
            assert_eq!(parsed(wrong), Err(SYNTAX), "{wrong}");
        }
        assert!(parsed("migrate h 1 k 0 9 keys a").is_err());
        assert!(parsed("migrate h 1 k x 9").is_err());
    }
}
