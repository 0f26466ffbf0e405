//! COMMAND DOCS: what programs show to people, redis-cli's hints above all.

use super::history;
use super::syntax::{self, Argument, Kind};
use crate::commands::Command;
use crate::commands::spec::Standing;
use crate::resp::ReplyBuf;

/// Writes the name of a command and the map of what is known about it.
pub fn write(out: &mut ReplyBuf, command: &Command) {
    let spec = command.spec;
    out.bulk_str(command.full_name);
    let map = out.deferred();
    let mut fields = 0;
    let mut field = |out: &mut ReplyBuf, name: &str| {
        out.bulk_str(name);
        fields += 1;
    };
    let texts = [
        ("summary", spec.summary),
        ("since", spec.since),
        ("group", spec.group.name()),
        ("complexity", spec.complexity),
    ];
    // Few commands have no complexity to speak of.
    for (name, text) in texts.into_iter().filter(|(_, text)| !text.is_empty()) {
        field(out, name);
        out.bulk_str(text);
    }
    match spec.standing {
        Standing::Current => {}
        Standing::Internal => {
            field(out, "doc_flags");
            out.set(1);
            out.simple("syscmd");
        }
        Standing::Deprecated { since, replaced_by } => {
            field(out, "doc_flags");
            out.set(1);
            out.simple("deprecated");
            field(out, "deprecated_since");
            out.bulk_str(since);
            field(out, "replaced_by");
            out.bulk_str(replaced_by);
        }
    }
    let history = history::of(command.full_name);
    if !history.is_empty() {
        field(out, "history");
        out.set(history.len());
        for (version, change) in history {
            out.array(2);
            out.bulk_str(version);
            out.bulk_str(change);
        }
    }
    // A test holds every row to the notation.
    let arguments = syntax::arguments(spec).unwrap_or_default();
    if !arguments.is_empty() {
        field(out, "arguments");
        write_arguments(out, &arguments);
    }
    if !spec.subcommands.is_empty() {
        field(out, "subcommands");
        out.map(spec.subcommands.len());
        command.subcommands().for_each(|subcommand| write(out, subcommand));
    }
    out.finish_map(map, fields);
}

fn write_arguments(out: &mut ReplyBuf, arguments: &[Argument]) {
    out.array(arguments.len());
    arguments.iter().for_each(|argument| write_argument(out, argument));
}

fn write_argument(out: &mut ReplyBuf, argument: &Argument) {
    let map = out.deferred();
    let mut fields = 0;
    let mut field = |out: &mut ReplyBuf, name: &str| {
        out.bulk_str(name);
        fields += 1;
    };
    field(out, "name");
    out.bulk_str(&argument.name);
    field(out, "type");
    out.bulk_str(match argument.kind {
        Kind::Value(kind) => kind,
        Kind::Key { .. } => "key",
        Kind::PureToken => "pure-token",
        Kind::OneOf(_) => "oneof",
        Kind::Block(_) => "block",
    });
    // Since Redis 7.2.
    if !matches!(argument.kind, Kind::OneOf(_) | Kind::Block(_)) {
        field(out, "display_text");
        out.bulk_str(&argument.name);
    }
    if let Kind::Key { spec_index } = argument.kind {
        field(out, "key_spec_index");
        out.count(spec_index);
    }
    if let Some(token) = &argument.token {
        field(out, "token");
        out.bulk_str(token);
    }
    let flags = [
        (argument.is_optional, "optional"),
        (argument.is_multiple, "multiple"),
        (argument.repeats_token, "multiple_token"),
    ];
    let count = flags.iter().filter(|(is_set, _)| *is_set).count();
    if count > 0 {
        field(out, "flags");
        out.set(count);
        flags.iter().filter(|(is_set, _)| *is_set).for_each(|(_, name)| out.simple(name));
    }
    if let Kind::OneOf(arguments) | Kind::Block(arguments) = &argument.kind {
        field(out, "arguments");
        write_arguments(out, arguments);
    }
    out.finish_map(map, fields);
}
