//! The rules of the house as tests: who may depend on whom, what pure code must not touch, what is never committed.
//!
//! Each rule is a function from text to offences, tried on a bad example below, and one test that applies it to the
//! files of the repository. A rule that turns out to be wrong is changed here, not worked around there.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

/// The longest line that a reader has to cope with.
const COLUMNS_MAX: usize = 120;

/// A file longer than this hides more than one concept. Lists (tables, golden data) may be longer: see [`LISTS`].
const LINES_MAX: usize = 800;

/// Parts of the paths of files that are long because they are lists: of rows, or of cases.
const LISTS: &[&str] = &["server/src/commands/table", "server/src/config/", "tests.rs"];

/// Which of our crates a crate may name. `server -> cluster -> storage`, never back; the black-box tests know none.
const EDGES: &[(&str, &[&str])] = &[
    ("server", &["cluster", "storage"]),
    ("cluster", &["storage"]),
    ("storage", &[]),
    ("compat-tests", &[]),
    ("compat-tests/linear", &[]),
];

const CRATES: &[&str] = &["server", "cluster", "storage", "bench"];

/// Code that decides from its arguments alone: no runtime, no clock, no randomness but those handed in.
const PURE: &[&str] = &[
    "cluster/src/ids",
    "cluster/src/map",
    "cluster/src/placement",
    "server/src/algorithms",
    "server/src/cluster/route",
    "server/src/cluster/show",
    "server/src/forward/scanner",
    "cluster/src/peer/wire",
    "server/src/resp",
    "storage/src/crc",
    "storage/src/number",
    "storage/src/rdb",
    "storage/src/rng",
    "storage/src/table",
    "storage/src/types",
];

#[test]
fn crates_depend_in_one_direction_only() {
    let mut offences = Vec::new();
    for (name, allowed) in EDGES {
        let manifest = read(&root().join(name).join("Cargo.toml"));
        offences.extend(wrong_edges(name, &manifest, allowed));
    }
    report(offences);
}

#[test]
fn only_the_rocks_engine_names_rocksdb() {
    let elsewhere = rust_files().into_iter().filter(|file| !starts_with(file, "storage/src/engine/rocks"));
    report(elsewhere.flat_map(|file| lines_with(&file, &code_of(&file), &["rocksdb::"])).collect());
}

#[test]
fn only_the_core_of_a_group_names_raft() {
    let elsewhere = rust_files().into_iter().filter(|file| !starts_with(file, "cluster/src/group/core"));
    report(elsewhere.flat_map(|file| lines_with(&file, &code_of(&file), &["raft::", "protobuf::"])).collect());
}

#[test]
fn resp_types_stay_in_the_server() {
    let mut offences = Vec::new();
    for name in ["cluster", "storage"] {
        let manifest = root().join(name).join("Cargo.toml");
        offences.extend(lines_with(&manifest, &read(&manifest), &["redis-protocol"]));
        for file in files_below(&root().join(name), "rs") {
            offences.extend(lines_with(&file, &code_of(&file), &["redis_protocol", "RespValue", "Resp3"]));
        }
    }
    report(offences);
}

#[test]
fn pure_code_touches_no_runtime_clock_or_randomness() {
    let impure = ["tokio::", "SystemTime", "Instant::now", "rand::", "thread::sleep", "std::net::", "std::fs::"];
    let pure = rust_files().into_iter().filter(|file| PURE.iter().any(|prefix| starts_with(file, prefix)));
    report(pure.flat_map(|file| lines_with(&file, before_tests(&code_of(&file)), &impure)).collect());
}

#[test]
fn nothing_unfinished_is_committed() {
    let unfinished = ["todo!(", "dbg!(", "unimplemented!(", "#[ignore"];
    report(rust_files().iter().flat_map(|file| lines_with(file, &code_of(file), &unfinished)).collect());
}

#[test]
fn accessors_have_no_get_prefix() {
    report(rust_files().iter().flat_map(|file| lines_with(file, &code_of(file), &["fn get_"])).collect());
}

#[test]
fn every_unsafe_is_proved() {
    report(rust_files().iter().flat_map(|file| unproved(file, &read(file))).collect());
}

#[test]
fn tests_do_not_sleep() {
    let mut offences = Vec::new();
    for file in rust_files() {
        let text = code_of(&file);
        let is_test = file.components().any(|part| part.as_os_str() == "tests");
        let tests = if is_test { text.as_str() } else { &text[before_tests(&text).len()..] };
        offences.extend(lines_with(&file, tests, &["thread::sleep(", "time::sleep("]));
    }
    report(offences);
}

#[test]
fn lines_and_files_are_short() {
    let mut offences = Vec::new();
    for file in text_files() {
        let text = read(&file);
        // A table in a document cannot be broken.
        let lines = text.lines().enumerate().filter(|(_, line)| !line.starts_with('|'));
        for (number, line) in lines.filter(|(_, line)| line.chars().count() > COLUMNS_MAX) {
            offences.push(format!("{}:{}: {} columns", shown(&file), number + 1, line.chars().count()));
        }
        let is_list = LISTS.iter().any(|part| shown(&file).contains(part));
        if file.extension().is_some_and(|kind| kind == "rs") && !is_list && text.lines().count() > LINES_MAX {
            offences.push(format!("{}: {} lines", shown(&file), text.lines().count()));
        }
    }
    report(offences);
}

#[test]
fn no_path_of_a_machine_is_committed() {
    // Written in two halves so that this line does not find itself.
    let paths = [concat!("/ro", "ot/"), concat!("/wo", "rk/"), concat!("/home", "/")];
    report(text_files().iter().flat_map(|file| lines_with(file, &read(file), &paths)).collect());
}

#[test]
fn the_rules_find_what_they_are_for() {
    let file = root().join("storage/src/example.rs");
    assert_eq!(wrong_edges("storage", "basalt-server.workspace = true\n", &[]).len(), 1);
    assert_eq!(wrong_edges("server", "basalt-storage.workspace = true\n", &["storage"]).len(), 0);
    assert_eq!(lines_with(&file, "a\n    dbg!(x)\n", &["dbg!("]).len(), 1);
    assert_eq!(unproved(&file, "fn f() {\n    unsafe { g() }\n}\n").len(), 1);
    assert_eq!(unproved(&file, "// SAFETY: g has no precondition.\nunsafe { g() }\n").len(), 0);
    assert_eq!(before_tests("code\n#[cfg(test)]\nmod tests {}\n"), "code\n");
    assert_eq!(without_comments("a // tokio::\n/// SystemTime\nb\n"), "a \n\nb\n");
}

fn wrong_edges(name: &str, manifest: &str, allowed: &[&str]) -> Vec<String> {
    let named = CRATES.iter().filter(|other| {
        let dependency = format!("basalt-{other}");
        manifest.lines().any(|line| line.starts_with(&dependency))
    });
    named.filter(|other| !allowed.contains(other)).map(|other| format!("{name} depends on {other}")).collect()
}

fn lines_with(file: &Path, text: &str, patterns: &[&str]) -> Vec<String> {
    let mut offences = Vec::new();
    for (number, line) in text.lines().enumerate() {
        for pattern in patterns.iter().filter(|pattern| line.contains(**pattern)) {
            offences.push(format!("{}:{}: `{pattern}` in: {}", shown(file), number + 1, line.trim()));
        }
    }
    offences
}

/// Uses of `unsafe` without a `SAFETY` comment on the line or among the ten lines above it.
fn unproved(file: &Path, text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().collect();
    let mut offences = Vec::new();
    for (number, line) in lines.iter().enumerate() {
        let code = line.split("//").next().unwrap_or_default().split('"').next().unwrap_or_default();
        if !code.contains("unsafe {") && !code.contains("unsafe impl") {
            continue;
        }
        let near = &lines[number.saturating_sub(10)..=number];
        if !near.iter().any(|line| line.contains("SAFETY")) {
            offences.push(format!("{}:{}: unsafe without a SAFETY comment", shown(file), number + 1));
        }
    }
    offences
}

/// The part of a file before its unit tests; keeps line numbers.
fn before_tests(text: &str) -> &str {
    text.find("#[cfg(test)]").map_or(text, |at| &text[..at])
}

/// Comments may name what code must not; lines stay, so that numbers fit.
fn without_comments(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    for line in text.lines() {
        let end = line.find("//").filter(|at| !line[..*at].contains('"')).unwrap_or(line.len());
        writeln!(code, "{}", &line[..end]).expect("writing to a String");
    }
    code
}

fn code_of(file: &Path) -> String {
    // This file names everything that it forbids.
    if file.ends_with("compat-tests/tests/tidy.rs") { String::new() } else { without_comments(&read(file)) }
}

fn report(offences: Vec<String>) {
    assert!(offences.is_empty(), "{} offences:\n{}", offences.len(), offences.join("\n"));
}

fn root() -> PathBuf {
    // Asked for when it runs: clones that share a target directory share this program too.
    let manifest = std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo runs the tests");
    Path::new(&manifest).parent().expect("the crate lies in the workspace").to_path_buf()
}

fn rust_files() -> Vec<PathBuf> {
    files_below(&root(), "rs")
}

/// Everything written by hand that is read by people; golden scripts hold replies as they came.
fn text_files() -> Vec<PathBuf> {
    let kinds = ["rs", "py", "js", "sh", "md", "conf", "yml", "yaml"];
    let mut files: Vec<PathBuf> = kinds.iter().flat_map(|kind| files_below(&root(), kind)).collect();
    files.extend(["dev", ".ci/run"].map(|name| root().join(name)));
    files
}

fn files_below(directory: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).expect("a folder of the repository can be listed") {
        let path = entry.expect("an entry of a folder can be read").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            if !["target", "node_modules", "results"].contains(&name.as_str()) && !name.starts_with('.') {
                found.extend(files_below(&path, extension));
            }
        } else if path.extension().is_some_and(|kind| kind == extension) {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn read(file: &Path) -> String {
    fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", shown(file)))
}

fn starts_with(file: &Path, prefix: &str) -> bool {
    shown(file).starts_with(prefix)
}

fn shown(file: &Path) -> String {
    file.strip_prefix(root()).unwrap_or(file).to_string_lossy().into_owned()
}
