#!/usr/bin/env python3
"""COMMAND: what Basalt tells about each of its commands, against what redis-server tells.

Compared are arity, flags, key range, categories, tips, key specifications, and from COMMAND DOCS since, group,
deprecation, versions of changes and the structure of the arguments. Texts are our own words, names of groups of
arguments too. Redis 7.2 is the model but 7.0 the reference, so `expected.txt` lists the differences that are meant.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "harness"))

from server import REFERENCE, Server, binary_under_test

EXPECTED = Path(__file__).resolve().parent / "expected.txt"
INFO_FIELDS = ["name", "arity", "flags", "first", "last", "step", "categories", "tips", "keys", "subcommands"]
# Names of groups are not shown to anybody, and 7.0 knows no display_text.
ARGUMENT_FIELDS = ["type", "token", "flags", "key_spec_index", "arguments"]
DOCS_FIELDS = ["since", "group", "doc_flags", "deprecated_since"]


def plain(reply):
    """A reply in Python's types; sets are sorted."""
    kind, value = reply
    if kind == "%":
        return {plain(value[i]): plain(value[i + 1]) for i in range(0, len(value), 2)}
    if kind == "~":
        return sorted((plain(item) for item in value), key=str)
    if kind == "*":
        return None if value is None else [plain(item) for item in value]
    return value.decode() if isinstance(value, bytes) else value


def key_spec(spec: dict) -> dict:
    """A key specification without its notes, which explain it to people."""
    return {field: value for field, value in spec.items() if field != "notes"}


def argument(fields: dict) -> dict:
    shown = {field: fields[field] for field in ARGUMENT_FIELDS if field in fields}
    if "arguments" in shown:
        shown["arguments"] = [argument(inner) for inner in shown["arguments"]]
    elif fields["type"] != "pure-token":
        shown["name"] = fields["name"]
    return shown


def describe(server: Server) -> dict:
    """Everything by full name, and field."""
    connection = server.connect(protocol=3)
    commands = {}
    for info in plain(connection.call("COMMAND")):
        for row in [info, *info[9]]:
            fields = dict(zip(INFO_FIELDS, row))
            fields["keys"] = [key_spec(spec) for spec in fields["keys"]]
            fields["subcommands"] = sorted(sub[0] for sub in fields["subcommands"])
            commands[fields.pop("name")] = fields
    add_docs(commands, plain(connection.call("COMMAND", "DOCS")))
    return commands


def add_docs(commands: dict, docs: dict) -> None:
    for name, doc in docs.items():
        fields = commands[name]
        fields.update({field: doc.get(field) for field in DOCS_FIELDS})
        fields["arguments"] = [argument(inner) for inner in doc.get("arguments", [])]
        # What has changed is in our own words, the versions are not.
        fields["history"] = [version for version, _ in doc.get("history", [])]
        add_docs(commands, doc.get("subcommands", {}))


def differences(reference: dict, tested: dict):
    """Pairs of what differs (`get arity`) and how."""
    for name in sorted(tested):
        if name not in reference:
            yield name, "redis-server does not have it"
            continue
        for field, value in reference[name].items():
            ours = tested[name][field]
            # Which subcommands there are shows when they are compared themselves.
            if ours != value and field != "subcommands":
                yield f"{name} {field}", f"{ours} instead of {value}"


def expected() -> dict:
    """What may differ, with the reason."""
    lines = [line for line in EXPECTED.read_text().splitlines() if line and not line.startswith("#")]
    return dict(line.split(": ", 1) for line in lines)


def main() -> None:
    with Server(REFERENCE) as reference, Server(binary_under_test()) as tested:
        commands = describe(tested)
        found = dict(differences(describe(reference), commands))
    meant = expected()
    new = sorted(found.keys() - meant.keys())
    gone = sorted(meant.keys() - found.keys())
    for what in new:
        print(f"{what}: {found[what]}")
    for what in gone:
        print(f"{what}: no longer differs, take it out of {EXPECTED.name}")
    failed = {what.split(" ")[0] for what in new + gone}
    print(f"commands: {len(commands) - len(failed)} passed, {len(failed)} failed, 0 skipped")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
