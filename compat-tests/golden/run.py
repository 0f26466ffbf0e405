#!/usr/bin/env python3
"""Golden scripts: commands and the replies that Redis gave, as text; the server under test must give the same.

A script is golden/scripts/<family>/<scenario>:

    # A comment.
    protocol 3                  connections speak RESP3 (first lines; RESP2 otherwise)
    by hand                     written by hand, because 7.0 differs (first lines); neither sent to it nor regenerated
    > SET key "a value"         a command, and below it the reply in the manner of redis-cli
    OK
    >~ SMEMBERS set             the elements come in any order: they are sorted before they are compared
    >? TIME                     only the shape of the reply is compared, not its values
    b> GET key                  the same on another connection, here named b
    b! BLPOP list 0             sent, without waiting for the reply (the next step waits until it blocks)
    b<                          the next reply or message that b receives
    not cold: why               left out with --cold (first lines)

`--regenerate` rewrites the replies with those of redis-server; review the difference as code.
"""

import argparse
import difflib
import re
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "harness"))

from resp import Closed, Connection, encode, show
from server import REFERENCE, Server, binary_under_test

STEP = re.compile(r"^([a-z][a-z0-9]*)?([>!<])([~?]?)(?: (.*))?$")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scripts", nargs="*", help="part of the path of the scripts to run; all if none")
    parser.add_argument("--regenerate", action="store_true", help="write the replies of redis-server into the scripts")
    parser.add_argument("--cold", action="store_true", help="let all keys be cold before each command")
    arguments = parser.parse_args()
    paths = sorted(path for path in (HERE / "scripts").glob("*/*") if path.is_file())
    chosen = [path for path in paths if not arguments.scripts or any(s in str(path) for s in arguments.scripts)]
    passed = failed = skipped = 0
    with Server(REFERENCE if arguments.regenerate else binary_under_test()) as server:
        control = server.connect()
        is_7_0 = b"redis_version:7.0" in control.call("INFO", "server")[1]
        settings = read_settings(control)
        for path in chosen:
            name = f"{path.parent.name}/{path.name}"
            text = path.read_text()
            if is_7_0 and re.search(r"(?m)^by hand$", text):
                skipped += 1
                continue
            if arguments.cold and re.search(r"(?m)^not cold: ", text):
                skipped += 1
                continue
            got = Script(text, server, control if arguments.cold else None).run()
            # A script may kill all clients.
            control.close()
            control = server.connect()
            clean(control, settings)
            if arguments.regenerate:
                path.write_text(got)
            if got == text or arguments.regenerate:
                passed += 1
            else:
                failed += 1
                print(f"{name}: expected (-) and got (+)")
                print("\n".join(difflib.unified_diff(text.split("\n"), got.split("\n"), lineterm="", n=3)))
            if not server.alive():
                print(f"the server died in {name}:\n{server.log.read_text(errors='replace')[-3000:]}")
                failed += 1
                break
        else:
            if not arguments.scripts and not is_7_0:
                missing = commands_without_script(control, paths)
                failed += len(missing) > 0
                passed += not missing
                if missing:
                    print(f"commands that no golden script uses: {' '.join(missing)}")
    print(f"golden: {passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed else 0


class Script:
    """One script: its connections, and the text with the replies that came."""

    def __init__(self, text: str, server: Server, chiller=None):
        self.lines = text.split("\n")
        self.server = server
        self.chiller = chiller
        self.protocol = 3 if "protocol 3" in self.lines[:10] else 2
        self.connections = {}

    def run(self) -> str:
        output = []
        for line in self.lines:
            step = STEP.match(line)
            if step:
                output.append(line)
                output += self.step(*step.groups())
            elif not line or line.startswith("#") or line in ("protocol 3", "by hand") or line.startswith("not cold: "):
                output.append(line)
        for connection in self.connections.values():
            connection.close()
        return "\n".join(output)

    def step(self, name, action, filter, words) -> list:
        try:
            connection = self.connection(name or "")
            if self.chiller and action != "<":
                self.chiller.call("DEBUG", "RELOAD")
            if action == "!":
                self.send_blocking(connection, split(words))
                return []
            reply = connection.read() if action == "<" else connection.call(*split(words))
        except Closed:
            return ["(connection closed)"]
        except TimeoutError:
            return ["(nothing came)"]
        if filter == "?":
            return shape(reply).split("\n")
        return show(in_order(reply) if filter == "~" else reply).split("\n")

    def connection(self, name: str) -> Connection:
        if name not in self.connections:
            self.connections[name] = self.server.connect(self.protocol, timeout=5)
        return self.connections[name]

    def blocked(self) -> int:
        """How many clients the server says are blocked."""
        probe = self.server.connect()
        text = probe.call("INFO", "clients")[1]
        probe.close()
        return int(re.search(rb"blocked_clients:(\d+)", text)[1])

    def send_blocking(self, connection: Connection, words: list) -> None:
        """Sends a command that blocks, and returns when the server counts one more blocked client."""
        before = self.blocked()
        connection.send(encode(words))
        deadline = time.monotonic() + 5
        while self.blocked() <= before and time.monotonic() < deadline:
            time.sleep(0.005)


def split(line: str) -> list:
    """Words of a command line; double quotes hold escapes such as \\x00."""
    words = []
    for match in re.finditer(r'"((?:[^"\\]|\\.)*)"|(\S+)', line):
        quoted, plain = match.groups()
        unquoted = (quoted or "").encode().decode("unicode_escape").encode("latin-1")
        words.append(unquoted if plain is None else plain.encode())
    return words


def in_order(reply):
    kind, value = reply
    if kind == "%" and value:
        pairs = sorted((value[i : i + 2] for i in range(0, len(value), 2)), key=repr)
        return kind, [item for pair in pairs for item in pair]
    return (kind, sorted(value, key=repr)) if kind in "*~>" and value else reply


def shape(reply) -> str:
    """The type of a reply and of the elements of a short array, without values."""
    kind, value = reply
    names = {"+": "status", "-": "error", ":": "integer", "$": "string", ",": "double", "#": "boolean", "=": "verbatim"}
    if value is None:
        return "nil"
    if kind in "*~%>" and len(value) <= 4:
        return {"*": "array", "~": "set", "%": "map", ">": "push"}[kind] + "(" + " ".join(map(shape, value)) + ")"
    return {"*": "array", "~": "set", "%": "map", ">": "push"}.get(kind) or names[kind]


def read_settings(control: Connection) -> dict:
    items = [item[1] for item in control.call("CONFIG", "GET", "*")[1]]
    return dict(zip(items[::2], items[1::2]))


def clean(control: Connection, settings: dict) -> None:
    """Puts back data and settings, so that scripts do not depend on each other."""
    if b"" != settings.get(b"requirepass", b""):
        control.call("AUTH", settings[b"requirepass"])
    control.call("FLUSHALL")
    for name, value in read_settings(control).items():
        if settings.get(name) != value:
            control.call("CONFIG", "SET", name, settings[name])
    control.call("SLOWLOG", "RESET")
    control.call("LATENCY", "RESET")
    control.call("CONFIG", "RESETSTAT")


def commands_without_script(control: Connection, paths: list) -> list:
    used = set()
    for path in paths:
        for line in path.read_text().split("\n"):
            step = STEP.match(line)
            if step and step[4]:
                used.add(step[4].split()[0].lower())
    known = {name.decode().lower() for _, name in control.call("COMMAND", "LIST")[1]}
    return sorted(name for name in known if name not in used and "|" not in name)


if __name__ == "__main__":
    sys.exit(main())
