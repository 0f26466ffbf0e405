//! Keeps `docs/peer-protocol.md` true: its tables are made from the lists in the code, and the lists are held to what
//! is really written.

use std::fmt::Write;
use std::path::Path;

use bytes::Bytes;

use super::wire::hello::{MAGIC, REASONS, VERSION, VERSION_OLDEST};
use super::wire::packet::{KINDS, KindSpec};
use super::wire::tests::samples;

/// The part of the document between these lines is generated.
const BEGIN: &str = "<!-- generated: from here -->\n";
const END: &str = "<!-- generated: to here -->\n";

/// Set to write the document anew.
const REWRITE: &str = "BASALT_REWRITE_DOCS";

#[test]
fn the_document_says_what_the_code_does() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/peer-protocol.md");
    let text = std::fs::read_to_string(&path).expect("the document");
    let (before, rest) = text.split_once(BEGIN).expect("where the generated part begins");
    let (_, after) = rest.split_once(END).expect("where it ends");
    let expected = format!("{before}{BEGIN}{}{END}{after}", generated());
    if std::env::var_os(REWRITE).is_some() {
        std::fs::write(&path, &expected).expect("writing the document");
    }
    let current = std::fs::read_to_string(&path).expect("the document");
    assert!(current == expected, "docs/peer-protocol.md is out of date: run this test with {REWRITE}=1 and look at it");
}

#[test]
fn the_listed_fields_are_those_that_are_written() {
    for (spec, packet) in KINDS.iter().zip(samples(5, &Bytes::from_static(b"rest"))) {
        let encoded = packet.encode();
        assert_eq!(encoded.kind, spec.kind);
        assert_eq!(encoded.head.len(), fixed_len(spec), "{}", spec.name);
        let ends_with_bytes = spec.fields.last().is_some_and(|(_, kind, _)| *kind == "bytes");
        assert_eq!(!encoded.rest.is_empty(), ends_with_bytes, "{}", spec.name);
    }
}

fn fixed_len(spec: &KindSpec) -> usize {
    let len_of = |kind: &str| match kind {
        "u8" => 1,
        "u16" => 2,
        "u32" => 4,
        "u64" => 8,
        "id" => 20,
        "hash" => 32,
        "bytes" => 0,
        other => panic!("no such type: {other}"),
    };
    spec.fields.iter().map(|(_, kind, _)| len_of(kind)).sum()
}

fn generated() -> String {
    let mut out = String::new();
    let magic = MAGIC.map(|byte| format!("{byte:02x}")).join(" ");
    let spoken = if VERSION == VERSION_OLDEST { VERSION.to_string() } else { format!("{VERSION_OLDEST} to {VERSION}") };
    writeln!(out, "Magic: `{magic}`. Version: {spoken}.\n").expect("writing to a String");
    writeln!(out, "| number | kind | fields | meaning |\n|---|---|---|---|").expect("writing to a String");
    for KindSpec { kind, name, fields, says } in KINDS {
        let fields: Vec<String> =
            fields.iter().map(|(name, kind, means)| format!("`{name}` {kind}: {means}")).collect();
        let number = *kind as u8;
        writeln!(out, "| {number} | {name} | {} | {says} |", fields.join("; ")).expect("writing to a String");
    }
    writeln!(out, "\nReasons of a refusal:\n\n| number | meaning |\n|---|---|").expect("writing to a String");
    for (number, meaning) in REASONS {
        writeln!(out, "| {number} | {meaning} |").expect("writing to a String");
    }
    out
}
