//! COMMAND INFO: arity, flags, keys, categories of a command, as client libraries read them.

use crate::commands::Command;
use crate::commands::categories::Categories;
use crate::commands::spec::{Begin, Find, Flags, KeyFlags, KeySpec, Spec};
use crate::resp::ReplyBuf;

/// The names of flags, in the order in which Redis lists them.
const FLAGS: &[(Flags, &str)] = &[
    (Flags::WRITE, "write"),
    (Flags::READONLY, "readonly"),
    (Flags::DENYOOM, "denyoom"),
    (Flags::ADMIN, "admin"),
    (Flags::PUBSUB, "pubsub"),
    (Flags::NOSCRIPT, "noscript"),
    (Flags::BLOCKING, "blocking"),
    (Flags::LOADING, "loading"),
    (Flags::STALE, "stale"),
    (Flags::SKIP_MONITOR, "skip_monitor"),
    (Flags::SKIP_SLOWLOG, "skip_slowlog"),
    (Flags::ASKING, "asking"),
    (Flags::FAST, "fast"),
    (Flags::NO_AUTH, "no_auth"),
    (Flags::NO_MANDATORY_KEYS, "no_mandatory_keys"),
    (Flags::NO_ASYNC_LOADING, "no_async_loading"),
    (Flags::NO_MULTI, "no_multi"),
    (Flags::MOVABLE_KEYS, "movablekeys"),
    (Flags::ALLOW_BUSY, "allow_busy"),
];

const KEY_FLAGS: &[(KeyFlags, &str)] = &[
    (KeyFlags::RO, "RO"),
    (KeyFlags::RW, "RW"),
    (KeyFlags::OW, "OW"),
    (KeyFlags::RM, "RM"),
    (KeyFlags::ACCESS, "access"),
    (KeyFlags::UPDATE, "update"),
    (KeyFlags::INSERT, "insert"),
    (KeyFlags::DELETE, "delete"),
    (KeyFlags::NOT_KEY, "not_key"),
    (KeyFlags::INCOMPLETE, "incomplete"),
    (KeyFlags::VARIABLE_FLAGS, "variable_flags"),
];

/// Writes everything about a command, and the same about its subcommands.
pub fn write(out: &mut ReplyBuf, command: &Command) {
    let spec = command.spec;
    let range = KeyRange::of(spec);
    out.array(10);
    out.bulk_str(command.full_name);
    out.integer(spec.arity.into());
    write_flags(out, effective_flags(spec));
    out.integer(range.first);
    out.integer(range.last);
    out.integer(range.step);
    let categories = Categories::of(spec);
    out.set(categories.count());
    categories.names().for_each(|name| out.simple(&format!("@{name}")));
    out.set(spec.tips.len());
    spec.tips.iter().for_each(|tip| out.bulk_str(tip));
    out.set(spec.keys.len());
    spec.keys.iter().for_each(|keys| write_key_spec(out, keys));
    out.array(spec.subcommands.len());
    command.subcommands().for_each(|subcommand| write(out, subcommand));
}

fn write_flags(out: &mut ReplyBuf, flags: Flags) {
    let names = FLAGS.iter().filter(|(flag, _)| flags.contains(*flag));
    out.set(names.clone().count());
    names.for_each(|(_, name)| out.simple(name));
}

/// Writes the names of a key's flags.
pub fn write_key_flags(out: &mut ReplyBuf, flags: KeyFlags) {
    let names = KEY_FLAGS.iter().filter(|(flag, _)| flags.contains(*flag));
    out.set(names.clone().count());
    names.for_each(|(_, name)| out.simple(name));
}

/// A row's own flags, and those that follow from the rest of the row.
fn effective_flags(spec: &Spec) -> Flags {
    if KeyRange::of(spec).is_exact { spec.flags } else { spec.flags | Flags::MOVABLE_KEYS }
}

/// Where keys are as clients were told before there were key specifications: one range.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct KeyRange {
    first: i64,
    last: i64,
    step: i64,
    /// Whether the range holds all keys; if not, clients must ask (`movablekeys`).
    is_exact: bool,
}

impl KeyRange {
    fn of(spec: &Spec) -> KeyRange {
        let mut range = KeyRange { is_exact: true, ..KeyRange::default() };
        match spec.keys {
            [keys] => range.add(keys),
            several => several.iter().for_each(|keys| range.join(keys)),
        }
        range
    }

    /// Widens the range by one of several specifications. Only ranges without steps that follow one another without a
    /// gap can be joined.
    fn join(&mut self, keys: &KeySpec) {
        let follows = |start: usize| self.first == 0 || self.last == start as i64 - 1;
        match (keys.begin, keys.find) {
            (Begin::Index(start), Find::Range { step: 1, .. }) if follows(start) => self.add(keys),
            _ => self.is_exact = false,
        }
    }

    fn add(&mut self, keys: &KeySpec) {
        let (Begin::Index(start), Find::Range { last, step, .. }) = (keys.begin, keys.find) else {
            self.is_exact = false;
            return;
        };
        let (start, step) = (start as i64, step as i64);
        if keys.flags.contains(KeyFlags::INCOMPLETE) {
            self.is_exact = false;
        }
        if self.first == 0 {
            self.first = start;
        }
        self.last = if last >= 0 { start + i64::from(last) } else { i64::from(last) };
        self.step = step;
    }
}

fn write_key_spec(out: &mut ReplyBuf, keys: &KeySpec) {
    let has_notes = !keys.notes.is_empty();
    out.map(3 + usize::from(has_notes));
    if has_notes {
        out.bulk_str("notes");
        out.bulk_str(keys.notes);
    }
    out.bulk_str("flags");
    write_key_flags(out, keys.flags);
    out.bulk_str("begin_search");
    match keys.begin {
        Begin::Index(index) => write_search(out, "index", &[("index", index as i64)]),
        Begin::Keyword { word, from } => {
            write_search_header(out, "keyword", 2);
            out.bulk_str("keyword");
            out.bulk_str(word);
            out.bulk_str("startfrom");
            out.integer(from.into());
        }
        Begin::Unknown => write_search(out, "unknown", &[]),
    }
    out.bulk_str("find_keys");
    match (keys.begin, keys.find) {
        (Begin::Unknown, _) => write_search(out, "unknown", &[]),
        (_, Find::Range { last, step, limit }) => {
            write_search(out, "range", &[("lastkey", last.into()), ("keystep", step as i64), ("limit", limit as i64)]);
        }
        (_, Find::KeyNum { at, first, step }) => {
            let numbers = [("keynumidx", at as i64), ("firstkey", first as i64), ("keystep", step as i64)];
            write_search(out, "keynum", &numbers);
        }
    }
}

fn write_search(out: &mut ReplyBuf, kind: &str, numbers: &[(&str, i64)]) {
    write_search_header(out, kind, numbers.len());
    for (name, number) in numbers {
        out.bulk_str(name);
        out.integer(*number);
    }
}

fn write_search_header(out: &mut ReplyBuf, kind: &str, fields: usize) {
    out.map(2);
    out.bulk_str("type");
    out.bulk_str(kind);
    out.bulk_str("spec");
    out.map(fields);
}
