//! The `basalt` binary: `basalt [file] [--setting value ...]`.

use basalt_server::config::file::Directive;
use basalt_server::config::{Config, document, file};
use basalt_server::{crash, log, metrics, node, proc_title};
use std::path::PathBuf;
use std::process::ExitCode;

const USAGE: &str = "\
Usage: basalt [FILE] [--SETTING VALUE ...]

FILE is a configuration file in the form of redis.conf, or - for standard input.
Every setting of the file can be given as an option, and then wins; or in the environment,
as BASALT_ and its name in capitals (BASALT_MAXMEMORY=1gb, BASALT_IO_THREADS=4):

    basalt                              serve on port 6379, with the data below the current directory
    basalt --dir /var/lib/basalt        with the data there
    basalt --mode cache --maxmemory 1gb serve a cache of one gigabyte, in memory only
    basalt /etc/basalt/basalt.conf --loglevel debug

    --load-rdb FILE  before serving, load a dump of redis-server (or of Basalt) into the empty server
    -v, --version    show the version
    -h, --help       show this help
    --check-config FILE [--SETTING VALUE ...]   say whether the file, the environment and the options can be
                     used, without starting: all that is wrong, with file and line
    --print-default-config   show all settings with their defaults, as a configuration file
    --print-settings         show all settings, as a page of documentation
    --print-metrics          show all metrics, as a page of documentation";

fn main() -> ExitCode {
    let mut arguments = std::env::args();
    let name = arguments.next().unwrap_or_default();
    let arguments: Vec<String> = arguments.collect();
    // SAFETY: no thread has been started yet, and the arguments are copied.
    unsafe { proc_title::prepare(name) };
    match arguments.first().map(String::as_str) {
        Some("-h" | "--help") => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Some("--print-default-config") => {
            print!("{}", document::default_file());
            return ExitCode::SUCCESS;
        }
        Some("--check-config") => return check(&arguments[1..]),
        Some("--print-settings") => {
            print!("{}", document::page());
            return ExitCode::SUCCESS;
        }
        Some("--print-metrics") => {
            print!("{}", metrics::document::page());
            return ExitCode::SUCCESS;
        }
        Some("-v" | "--version") => {
            println!("Basalt server v={}", env!("CARGO_PKG_VERSION"));
            return ExitCode::SUCCESS;
        }
        _ => {}
    }
    match read_config(&arguments).map_err(|error| error.to_string()).and_then(run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("basalt: {reason}");
            ExitCode::FAILURE
        }
    }
}

/// Says what is wrong with a configuration.
fn check(arguments: &[String]) -> ExitCode {
    let errors = match read_directives(arguments) {
        Ok((_, directives)) => Config::check(directives),
        Err(error) => vec![error],
    };
    for error in &errors {
        eprintln!("basalt: {error}");
    }
    match errors.is_empty() {
        true => println!("the configuration can be used"),
        false => eprintln!("basalt: the configuration has {} error(s)", errors.len()),
    }
    if errors.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn read_config(arguments: &[String]) -> Result<Config, file::FileError> {
    let (path, directives) = read_directives(arguments)?;
    // CONFIG REWRITE finds the file again after `dir` has changed the working directory.
    let absolute = path.filter(|path| path.as_os_str() != "-").map(|path| std::path::absolute(&path).unwrap_or(path));
    Config::from_directives(directives, absolute)
}

/// The file first, then the environment, then the options, so that options win.
fn read_directives(arguments: &[String]) -> Result<(Option<PathBuf>, Vec<Directive>), file::FileError> {
    let (path, options) = match arguments.split_first() {
        Some((first, rest)) if !first.starts_with("--") => (Some(PathBuf::from(first)), rest),
        _ => (None, arguments),
    };
    let mut directives = match &path {
        Some(path) => file::read(path)?,
        None => Vec::new(),
    };
    directives.extend(file::read_environment(std::env::vars()));
    directives.extend(file::read_arguments(options)?);
    Ok((path, directives))
}

fn run(config: Config) -> Result<(), String> {
    let logfile = config.text("logfile");
    log::start(&logfile, &config.text("log-format"))
        .map_err(|error| format!("can't write the log file {logfile}: {error}"))?;
    crash::end_on_panic();
    node::run(config).map_err(|error| {
        tracing::error!(%error, "the server could not run");
        error.to_string()
    })
}
