//! COMMAND: the table of commands, told to clients.
//!
//! Everything derives from the rows: [`describe`] writes what COMMAND INFO tells, [`docs`] what COMMAND DOCS tells, for
//! which [`syntax`] reads the arguments and [`history`] has the changes.

mod describe;
mod docs;
mod history;
pub mod syntax;

use super::categories::Categories;
use super::ctx::SessionCtx;
use super::spec::{Flags, Group, Handler::Session, KeyFlags, Locks, Spec};
use super::{Command, top_level};
use crate::algorithms::glob;
use crate::error::{CommandError, CommandResult, SYNTAX};
use crate::resp::{Args, ReplyBuf};

const BASE: Spec = Spec {
    flags: Flags::LOADING.or(Flags::STALE),
    group: Group::Server,
    since: "2.8.13",
    categories: &["connection"],
    locks: Locks::Nothing,
    ..Spec::DEFAULT
};

/// Order and wording of the replies may change.
const NONDETERMINISTIC_ORDER: &[&str] = &["nondeterministic_output_order"];

pub const COMMANDS: &[Spec] = &[Spec {
    name: "command",
    arity: -1,
    complexity: "O(N) where N is the number of commands",
    summary: "Answers details about all commands.",
    tips: NONDETERMINISTIC_ORDER,
    subcommands: SUBCOMMANDS,
    handler: Session(describe_all),
    ..BASE
}];

const SUBCOMMANDS: &[Spec] = &[
    Spec { name: "count", arity: 2, summary: "Answers how many commands there are.", handler: Session(count), ..BASE },
    Spec {
        name: "docs",
        arity: -2,
        since: "7.0.0",
        complexity: "O(N) where N is the number of commands looked up",
        summary: "Answers the documentation of some commands, or of all.",
        syntax: "[command-name [command-name ...]]",
        tips: NONDETERMINISTIC_ORDER,
        handler: Session(document),
        ..BASE
    },
    Spec {
        name: "getkeys",
        arity: -4,
        complexity: "O(N) where N is the number of arguments",
        summary: "Answers the keys of a request.",
        syntax: "command arg [arg ...]",
        handler: Session(keys),
        ..BASE
    },
    Spec {
        name: "getkeysandflags",
        arity: -4,
        since: "7.0.0",
        complexity: "O(N) where N is the number of arguments",
        summary: "Answers the keys of a request, and what it does with them.",
        syntax: "command arg [arg ...]",
        handler: Session(keys_and_flags),
        ..BASE
    },
    Spec { name: "help", arity: 2, since: "5.0.0", summary: "Lists the subcommands.", handler: Session(help), ..BASE },
    Spec {
        name: "info",
        arity: -2,
        complexity: "O(N) where N is the number of commands looked up",
        summary: "Answers details about some commands, or about all.",
        syntax: "[command-name [command-name ...]]",
        tips: NONDETERMINISTIC_ORDER,
        handler: Session(describe),
        ..BASE
    },
    Spec {
        name: "list",
        arity: -2,
        since: "7.0.0",
        complexity: "O(N) where N is the number of commands",
        summary: "Answers the names of commands.",
        syntax: "[FILTERBY <MODULE module-name | ACLCAT category | PATTERN pattern>]",
        tips: NONDETERMINISTIC_ORDER,
        handler: Session(list),
        ..BASE
    },
];

fn describe_all(ctx: &mut SessionCtx<'_, '_>, _: Args<'_>) -> CommandResult {
    ctx.out.array(top_level().len());
    top_level().for_each(|command| describe::write(ctx.out, command));
    Ok(())
}

fn count(ctx: &mut SessionCtx<'_, '_>, _: Args<'_>) -> CommandResult {
    ctx.out.count(top_level().len());
    Ok(())
}

/// Names that are no command's are answered with null.
fn describe(ctx: &mut SessionCtx<'_, '_>, args: Args<'_>) -> CommandResult {
    if args.len() == 2 {
        return describe_all(ctx, args);
    }
    ctx.out.array(args.len() - 2);
    for name in args.from(2) {
        match super::find_full(name) {
            Some(command) => describe::write(ctx.out, command),
            None => ctx.out.null(),
        }
    }
    Ok(())
}

/// Names that are no command's are left out.
fn document(ctx: &mut SessionCtx<'_, '_>, args: Args<'_>) -> CommandResult {
    let commands: Vec<&Command> =
        if args.len() == 2 { top_level().collect() } else { args.from(2).filter_map(super::find_full).collect() };
    ctx.out.map(commands.len());
    commands.iter().for_each(|command| docs::write(ctx.out, command));
    Ok(())
}

/// What COMMAND LIST is asked for.
enum Filter<'a> {
    None,
    /// There are no modules, so this finds nothing.
    Module,
    Category(Option<Categories>),
    Pattern(&'a [u8]),
}

impl<'a> Filter<'a> {
    fn parse(args: Args<'a>) -> Result<Filter<'a>, CommandError> {
        match args.len() {
            2 => Ok(Filter::None),
            5 if args.is(2, "FILTERBY") && args.is(3, "MODULE") => Ok(Filter::Module),
            5 if args.is(2, "FILTERBY") && args.is(3, "ACLCAT") => Ok(Filter::Category(Categories::named(args.at(4)))),
            5 if args.is(2, "FILTERBY") && args.is(3, "PATTERN") => Ok(Filter::Pattern(args.at(4))),
            _ => Err(SYNTAX),
        }
    }

    fn admits(&self, command: &Command) -> bool {
        match self {
            Filter::None => true,
            Filter::Module => false,
            Filter::Category(category) => {
                category.is_some_and(|category| Categories::of(command.spec).contains(category))
            }
            Filter::Pattern(pattern) => glob::matches(pattern, command.full_name.as_bytes(), glob::Case::Insensitive),
        }
    }
}

fn list(ctx: &mut SessionCtx<'_, '_>, args: Args<'_>) -> CommandResult {
    let filter = Filter::parse(args)?;
    let commands: Vec<_> = super::callable().filter(|command| filter.admits(command)).collect();
    ctx.out.array(commands.len());
    commands.iter().for_each(|command| ctx.out.bulk_str(command.full_name));
    Ok(())
}

fn keys(ctx: &mut SessionCtx<'_, '_>, args: Args<'_>) -> CommandResult {
    write_keys(ctx.out, args.skip(2), |out, key, _| out.bulk(key))
}

fn keys_and_flags(ctx: &mut SessionCtx<'_, '_>, args: Args<'_>) -> CommandResult {
    write_keys(ctx.out, args.skip(2), |out, key, flags| {
        out.array(2);
        out.bulk(key);
        describe::write_key_flags(out, flags);
    })
}

/// Writes the keys of a request that is not run.
fn write_keys(
    out: &mut ReplyBuf,
    request: Args<'_>,
    mut write: impl FnMut(&mut ReplyBuf, &[u8], KeyFlags),
) -> CommandResult {
    const INVALID_COMMAND: CommandError = CommandError::new("ERR Invalid command specified");
    const NO_KEYS: CommandError = CommandError::new("ERR The command has no key arguments");
    const WRONG_COUNT: CommandError = CommandError::new("ERR Invalid number of arguments specified for command");
    const INVALID: CommandError = CommandError::new("ERR Invalid arguments specified for command");
    let command = super::resolve(request).map_err(|_| INVALID_COMMAND)?;
    let spec = command.spec;
    // Names of shard channels are found like keys, but are none.
    let names_keys = spec.keys.iter().any(|keys| !keys.flags.contains(KeyFlags::NOT_KEY));
    if !names_keys && spec.find_keys.is_none() {
        return Err(NO_KEYS);
    }
    if !spec.accepts(request.len()) {
        return Err(WRONG_COUNT);
    }
    let mut found = Vec::new();
    spec.for_each_key_exactly(request, &mut |index, flags| found.push((index, flags))).map_err(|_| INVALID)?;
    if found.is_empty() && !spec.flags.contains(Flags::NO_MANDATORY_KEYS) {
        return Err(INVALID);
    }
    out.array(found.len());
    found.iter().for_each(|&(index, flags)| write(out, request.at(index), flags));
    Ok(())
}

fn help(ctx: &mut SessionCtx<'_, '_>, _: Args<'_>) -> CommandResult {
    ctx.out.help(
        "COMMAND",
        &[
            ("(no subcommand)", "Details about all commands."),
            ("COUNT", "How many commands there are."),
            ("LIST [FILTERBY <MODULE <name>|ACLCAT <category>|PATTERN <pattern>>]", "The names of commands."),
            ("INFO [<command-name> ...]", "Details about these commands (default: about all)."),
            ("DOCS [<command-name> ...]", "The documentation of these commands (default: of all)."),
            ("GETKEYS <full-command>", "The keys of a request."),
            ("GETKEYSANDFLAGS <full-command>", "The keys of a request, and what it does with them."),
        ],
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands;

    /// Words in front of the arguments: the name, and the subcommand's name.
    fn name_words(command: &Command) -> usize {
        1 + command.full_name.matches('|').count()
    }

    #[test]
    fn every_row_is_documented() {
        for command in commands::all() {
            let (name, spec) = (command.full_name, command.spec);
            assert!(!spec.summary.is_empty() && spec.summary.ends_with('.'), "{name} has no summary");
            let is_version = spec.since.split('.').filter(|part| part.parse::<u32>().is_ok()).count() == 3;
            assert!(is_version, "{name}: since {}", spec.since);
        }
    }

    #[test]
    fn the_syntax_of_every_row_agrees_with_its_arity() {
        for command in commands::all() {
            let (name, spec) = (command.full_name, command.spec);
            let arguments = syntax::arguments(spec).unwrap_or_else(|error| panic!("{name}: {error}"));
            if !spec.subcommands.is_empty() {
                continue;
            }
            let words = |count: usize| count + name_words(command);
            let min = words(arguments.iter().map(syntax::Argument::words_min).sum());
            let max = arguments.iter().map(syntax::Argument::words_max).sum::<Option<usize>>().map(words);
            match spec.arity {
                exactly @ 0.. => assert_eq!((min, max), (exactly as usize, Some(exactly as usize)), "{name}"),
                at_least => assert!(min >= at_least.unsigned_abs() as usize, "{name}: {min} {at_least}"),
            }
        }
    }
}
