#!/usr/bin/env python3
"""The hints of redis-cli, which it makes from COMMAND DOCS: what it shows while one types must be the same with Basalt.

redis-cli runs in a pseudo-terminal. It draws its line anew after each key and ends each drawing in the same way, so the
test counts drawings instead of waiting.
"""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "harness"))

from run import describe, expected
from server import REFERENCE, Server, binary_under_test

COLUMNS = 4000
# A drawing starts by erasing the line, and ends by putting the cursor behind what is typed.
ERASE = b"\r\x1b[0K"
DRAWN = re.compile(rb"\r\x1b\[\d+C")
COLOUR = re.compile(rb"\x1b\[[0-9;]*m")
KILL_LINE = b"\x15"
# Besides every command with nothing behind its name.
PARTLY_TYPED = [
    "set k ",
    "set k v EX ",
    "set k v EX 10 ",
    "set k v get ",
    "zadd k NX ",
    "zadd k 1 a ",
    "geosearch k FROMMEMBER m ",
    "mset a b ",
    "bitfield k GET u8 ",
    "sort k LIMIT 0 ",
    "config set a b ",
    "lpos k e RANK 1 ",
    "zrange k 0 1 BYSCORE ",
    "object encoding ",
    "get k ",
    "nosuchcommand ",
]


class Terminal:
    """redis-cli connected to a server, with somebody typing."""

    def __init__(self, server: Server):
        self.end, other = pty.openpty()
        fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack("HHHH", 50, COLUMNS, 0, 0))
        environment = {**os.environ, "TERM": "xterm", "REDISCLI_HISTFILE": "/dev/null", "HOME": str(server.directory)}
        self.process = subprocess.Popen(
            ["redis-cli", "-p", str(server.port)], stdin=other, stdout=other, stderr=other, env=environment
        )
        os.close(other)
        prompt = b""
        while not prompt.endswith(b"> "):
            prompt += os.read(self.end, 65536)
        self.prompt = prompt.decode()

    def last_drawing(self, count: int) -> str:
        """Reads until the line was drawn so many times; returns it without colours."""
        data = b""
        while len(DRAWN.findall(data)) < count:
            data += os.read(self.end, 65536)
        return COLOUR.sub(b"", DRAWN.split(data)[count - 1].removeprefix(ERASE)).decode()

    def hint(self, text: str) -> str:
        """What redis-cli adds to this text."""
        os.write(self.end, KILL_LINE)
        self.last_drawing(1)
        os.write(self.end, text.encode())
        drawn = self.last_drawing(len(text))
        assert drawn.startswith(self.prompt + text), drawn
        return drawn.removeprefix(self.prompt + text).strip()

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.end)


def main() -> None:
    meant = expected()
    failed = passed = skipped = 0
    with Server(REFERENCE) as reference, Server(binary_under_test()) as tested:
        names = sorted(describe(tested).keys() & describe(reference).keys())
        typed = [(name, name.replace("|", " ") + " ") for name in names] + [("", text) for text in PARTLY_TYPED]
        terminals = [Terminal(reference), Terminal(tested)]
        for name, text in typed:
            wanted, found = (terminal.hint(text) for terminal in terminals)
            if wanted == found:
                passed += 1
            elif f"{name} arguments" in meant:
                skipped += 1
            else:
                failed += 1
                print(f"{text!r}: {found!r} instead of {wanted!r}")
        for terminal in terminals:
            terminal.close()
    print(f"hints: {passed} passed, {failed} failed, {skipped} skipped")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
