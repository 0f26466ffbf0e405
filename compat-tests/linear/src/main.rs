//! Runs clients against servers while things go wrong, and checks that what they saw is linearizable.

use linear::nemesis::Fault;
use linear::run::{Options, Report, run};
use linear::target::{Form, Programs, Target};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const USAGE: &str = "\
linear [options]: clients against servers that are started for it, under faults; is what they saw linearizable?
  --target NAME    basalt (durable, fsync always; default), basalt-cache, basalt-cluster,
                   basalt-cache-cluster, basalt-cache-replicas, redis, redis-cluster
  --nodes N        how many, in a cluster; --option NAME=VALUE: how they are started (may be given several times)
  --form FORM      how they become a cluster: join (--cluster-join), meet, or create:N (redis-cli, N replicas).
                   These three come behind --target.
  --faults LIST    none (default), all, or some of kill,pause; in clusters also
                   behind,cut,one-way,slow,transfer,move,drain,join; where it is durable also fill-disk (as root)
  --seconds N      of load (default 10)
  --rounds N       as often, each with servers and a seed of its own (default 1)
  --clients N      threads (default 12)
  --rate N         operations per second of all together, about (default 3000)
  --seed N         repeats the choices of a run, but not its timing
  --expect broken  succeed if an order is missing: is the harness blind? Tries up to three times.
  --keep           keep the servers' directories and tell what went wrong when
BASALT_BIN names the server; redis-server and redis-cli are those of the PATH.";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == "--help") {
        println!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    match parse(&arguments) {
        Ok(call) => call.carry_out(),
        Err(problem) => {
            eprintln!("{problem}\n{USAGE}");
            ExitCode::from(2)
        }
    }
}

/// How often it is tried to see what is expected to be broken.
const ATTEMPTS: usize = 3;

struct Call {
    options: Options,
    rounds: u64,
    expected: Expected,
    directories: Directories,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Expected {
    Order,
    Broken,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Directories {
    Removed,
    Kept,
}

fn parse(arguments: &[String]) -> Result<Call, String> {
    let seed = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| u64::from(since.subsec_nanos()));
    let mut options = Options {
        layout: Target::Basalt.layout(),
        faults: Vec::new(),
        time: Duration::from_secs(10),
        seed,
        clients: 12,
        rate: 3000,
    };
    let mut rounds = 1;
    let (mut expected, mut directories) = (Expected::Order, Directories::Removed);
    let mut words = arguments.iter();
    while let Some(option) = words.next() {
        if option == "--keep" {
            directories = Directories::Kept;
            continue;
        }
        let value = words.next().ok_or(format!("{option} needs a value"))?;
        match option.as_str() {
            "--target" => options.layout = Target::named(value).ok_or(format!("no such target: {value}"))?.layout(),
            "--nodes" => options.layout.nodes = number(value)?.clamp(1, 100) as usize,
            "--form" => options.layout.form = form(value)?,
            "--option" => {
                let (name, value) = value.split_once('=').ok_or(format!("{value} is not NAME=VALUE"))?;
                options.layout.options.extend([format!("--{name}"), value.to_owned()]);
            }
            "--faults" => options.faults = faults(value)?,
            "--seconds" => options.time = Duration::from_secs(number(value)?),
            "--rounds" => rounds = number(value)?,
            "--clients" => options.clients = number(value)?.clamp(1, 1000) as u16,
            "--rate" => options.rate = number(value)?.clamp(1, 1_000_000),
            "--seed" => options.seed = number(value)?,
            "--expect" if value == "broken" => expected = Expected::Broken,
            _ => return Err(format!("no such option: {option} {value}")),
        }
    }
    Ok(Call { options, rounds, expected, directories })
}

fn faults(list: &str) -> Result<Vec<Fault>, String> {
    match list {
        "none" => Ok(Vec::new()),
        "all" => Ok(Fault::ALL.into()),
        list => list.split(',').map(|name| Fault::named(name).ok_or(format!("no such fault: {name}"))).collect(),
    }
}

fn form(name: &str) -> Result<Form, String> {
    match name.split_once(':') {
        None if name == "join" => Ok(Form::Join),
        None if name == "meet" => Ok(Form::Meet),
        Some(("create", replicas)) => Ok(Form::Create { replicas: number(replicas)? as usize }),
        _ => Err(format!("no such form: {name}")),
    }
}

fn number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("not a number: {text}"))
}

impl Call {
    fn carry_out(mut self) -> ExitCode {
        let name = self.options.layout.target.name();
        let (mut passed, mut failed) = (0, 0);
        for _ in 0..self.rounds {
            match self.round() {
                Success::Yes => passed += 1,
                Success::No => failed += 1,
            }
        }
        println!("linear-{name}: {passed} passed, {failed} failed, 0 skipped");
        if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    /// Each attempt has a seed of its own.
    fn round(&mut self) -> Success {
        let attempts = if self.expected == Expected::Broken { ATTEMPTS } else { 1 };
        for _ in 0..attempts {
            let success = self.try_once();
            self.options.seed += 1;
            if success == Success::Yes {
                return Success::Yes;
            }
        }
        Success::No
    }

    fn try_once(&self) -> Success {
        let Options { layout, faults, seed, .. } = &self.options;
        let faults: Vec<&str> = faults.iter().map(|fault| fault.name()).collect();
        println!("linear: {} with faults [{}], seed {seed}", layout.target.name(), faults.join(","));
        let home = std::env::temp_dir().join(format!("basalt-linear-{}-{seed}", std::process::id()));
        let result = run(&self.options, &programs(), &home);
        let success = match &result {
            Ok(report) => self.judge(report),
            Err(problem) => {
                println!("the run has failed: {problem}");
                Success::No
            }
        };
        if self.directories == Directories::Kept || success == Success::No {
            println!("the directories of the servers are kept: {}", home.display());
        } else {
            // What is left is in the way of nobody.
            let _ = std::fs::remove_dir_all(&home);
        }
        success
    }

    fn judge(&self, report: &Report) -> Success {
        println!("{}", report.figures());
        if self.directories == Directories::Kept {
            report.faults.iter().for_each(|fault| println!("  {fault}"));
        }
        report.evidence.iter().for_each(|evidence| println!("{evidence}"));
        if !report.broken.is_empty() {
            println!("without an order: {}", report.broken.join(" "));
        }
        if !report.undecided.is_empty() {
            println!("undecided within the limits: {}", report.undecided.join(" "));
        }
        let is_as_expected = match self.expected {
            Expected::Order => report.broken.is_empty() && report.undecided.is_empty() && report.unseen == 0,
            Expected::Broken => !report.broken.is_empty(),
        };
        if is_as_expected { Success::Yes } else { Success::No }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Success {
    Yes,
    No,
}

fn programs() -> Programs {
    let basalt = std::env::var_os("BASALT_BIN").map_or_else(|| PathBuf::from("basalt"), PathBuf::from);
    // Servers are started in other directories. A name that is no file here is looked for in the PATH.
    let basalt = basalt.canonicalize().unwrap_or(basalt);
    Programs { basalt, redis_server: "redis-server".into(), redis_cli: "redis-cli".into() }
}
