#!/usr/bin/env python3
"""A disk that gets full: writes are refused in time, reads go on, and when there is room again so do writes.

The data directory is on a small volume in memory, which only root can mount; without that all is skipped.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

from load import Wrong
from node import Closed, Node, NotStarted
from server import binary_under_test

VOLUME_BYTES = 96 << 20
VALUE_BYTES = 20_000
PATIENCE_SECONDS = 60
# A server that refuses for so long has given back all that it can.
STEADY_SECONDS = 6


def main() -> int:
    home = Path(tempfile.mkdtemp(prefix="basalt-full-"))
    volume = home / "volume"
    volume.mkdir()
    options = f"size={VOLUME_BYTES}"
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", volume], capture_output=True, text=True)
    if done.returncode != 0:
        shutil.rmtree(home)
        print(f"no small volume can be mounted here: {done.stderr.strip()}")
        print(f"full: 0 passed, 0 failed, {len(CASES)} skipped")
        return 0
    passed = failed = 0
    try:
        for case in CASES:
            name = case.__name__.replace("_", " ")
            node = Node(binary_under_test(), volume / "data", "--engine-memory", "16mb")
            node.log = home / f"{case.__name__}.log"
            try:
                case(node)
                passed += 1
                print(f"  {name}: passed", flush=True)
            except (Wrong, NotStarted, OSError, Closed) as wrong:
                failed += 1
                print(f"  {name}: FAILED: {wrong}\n  the server said: {node.tail()}", flush=True)
            except Exception:
                failed += 1
                print(f"  {name}: the test failed:\n{traceback.format_exc()}", flush=True)
            finally:
                node.kill()
                for path in volume.iterdir():
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
    finally:
        subprocess.run(["umount", volume], check=True)
    shutil.rmtree(home)
    print(f"full: {passed} passed, {failed} failed, 0 skipped")
    return int(failed > 0)


def expect(is_so: bool, what: str) -> None:
    if not is_so:
        raise Wrong(what)


class Filler:
    """Fills a server with values that do not compress, and knows which of them it has acknowledged."""

    def __init__(self, node: Node):
        self.node = node
        self.connection = node.connect()
        self.acknowledged = {}
        self.next = 0

    def fill(self) -> None:
        """Until the server refuses, and finds nothing any more that it could give back."""
        refused_since = None
        while len(self.acknowledged) * VALUE_BYTES < VOLUME_BYTES:
            if self.put():
                refused_since = None
                continue
            refused_since = refused_since or time.monotonic()
            if time.monotonic() - refused_since > STEADY_SECONDS:
                return
            time.sleep(0.05)
        raise Wrong("more than fits on the volume was accepted")

    def put(self) -> bool:
        keys = [b"key:%d" % (self.next + i) for i in range(20)]
        self.next += len(keys)
        values = {key: os.urandom(VALUE_BYTES) for key in keys}
        replies = self.connection.pipeline([["SET", key, value] for key, value in values.items()])
        for key, reply in zip(keys, replies):
            if reply == ("+", b"OK"):
                self.acknowledged[key] = values[key]
            else:
                expect(reply[0] == "-" and reply[1].startswith(b"NOSPACE "), f"a SET says {str(reply)[:300]}")
        return all(reply[0] == "+" for reply in replies)

    def put_again(self, count: int) -> None:
        """So many writes must get through, if one waits each time that they are refused."""
        until = len(self.acknowledged) + count
        while len(self.acknowledged) < until:
            if not self.put():
                self.wait_until_taken()

    def check(self) -> None:
        connection = self.connection
        size = connection.call("DBSIZE")[1]
        expect(size == len(self.acknowledged), f"{size} keys are there, {len(self.acknowledged)} were acknowledged")
        for key, value in self.acknowledged.items():
            expect(connection.call("GET", key) == ("$", value), f"{key!r} has another value or none")

    def wait_until_taken(self) -> None:
        """Writes must be taken again, by themselves."""
        began = time.monotonic()
        while (reply := self.connection.call("SET", "again", "x"))[0] == "-":
            expect(reply[1].startswith(b"NOSPACE "), f"a SET says {reply}")
            expect(time.monotonic() - began < PATIENCE_SECONDS, f"writes are refused for {PATIENCE_SECONDS} s: {reply}")
            time.sleep(0.05)
        self.connection.call("DEL", "again")

    def info(self, field: str) -> int:
        text = self.connection.call("INFO", "storage")[1].decode()
        return int(text.split(f"{field}:")[1].split("\r\n")[0])

    def wait_for(self, field: str, value: int) -> None:
        began = time.monotonic()
        while self.info(field) != value:
            expect(time.monotonic() - began < PATIENCE_SECONDS, f"{field} does not become {value}")
            time.sleep(0.05)


def the_server_fills_the_volume(node: Node) -> None:
    """What was acknowledged stays readable, also after a kill; deletes are taken, and give room for writes."""
    node.start()
    filler = Filler(node)
    filler.fill()
    filler.check()
    used = len(filler.acknowledged) * VALUE_BYTES
    expect(used > VOLUME_BYTES // 5, f"only {used} bytes of {VOLUME_BYTES} can be used")
    refused = ("APPEND", "RPUSH", "HSET", "SADD", "ZADD", "MSET")
    for command in refused:
        words = {"HSET": ("f", "v"), "ZADD": ("1", "m")}.get(command, ("x",))
        big = (*words[:-1], "x" * 4_000_000)
        reply = filler.connection.call(command, f"new:{command}", *big)
        expect(reply[0] == "-" and reply[1].startswith(b"NOSPACE "), f"{command} says {str(reply)[:300]}")
    expect(filler.info("disk_full_refusals") > 0, "INFO counts no refusals")
    node.kill()
    node.start()
    filler.connection = node.connect()
    filler.check()
    filler.fill()
    for key in list(filler.acknowledged)[::2]:
        expect(filler.connection.call("DEL", key) == (":", 1), "a DEL is refused")
        del filler.acknowledged[key]
    filler.wait_until_taken()
    filler.check()
    expect(filler.connection.call("FLUSHALL") == ("+", b"OK"), "FLUSHALL is refused")
    before = len(filler.acknowledged)
    filler.acknowledged.clear()
    filler.wait_until_taken()
    filler.wait_for("disk_full", 0)
    # There must be room for as much as before, after some time.
    filler.put_again(before // 2)
    filler.check()


def others_fill_the_volume(node: Node) -> None:
    """It begins and ends with what somebody else has on the volume, and both are said."""
    node.start()
    filler = Filler(node)
    for _ in range(20):
        expect(filler.put(), "writes are refused on an empty volume")
    # What the engine is just writing when others take its room is another matter: a flush that fails ends the process.
    node.stop()
    node.start()
    filler.connection = node.connect()
    ballast = node.directory.parent / "ballast"
    fill_but_for(ballast, 3 << 20)
    filler.wait_for("disk_full", 1)
    reply = filler.connection.call("SET", "key", "value")
    expect(reply[0] == "-" and reply[1].startswith(b"NOSPACE "), f"a SET says {reply}")
    expect(filler.connection.call("MULTI") == ("+", b"OK"), "MULTI is refused")
    expect(filler.connection.call("SET", "key", "value") == ("+", b"QUEUED"), "a SET is not queued")
    reply = filler.connection.call("EXEC")
    expect(reply[0] == "-" and b"NOSPACE" in reply[1], f"EXEC says {reply}")
    filler.check()
    ballast.unlink()
    filler.wait_until_taken()
    filler.check()
    said = node.tail()
    for words in ("the disk is full", "there is room on the disk again"):
        expect(words in said, f"it has not said {words!r}")


def fill_but_for(ballast: Path, rest: int) -> None:
    """Takes the volume but for a rest. The server writes meanwhile, so that what is free changes."""
    with open(ballast, "wb") as file:
        size = 0
        while (free := os.statvfs(ballast.parent)).f_bavail * free.f_frsize > rest + (1 << 18):
            size += (free.f_bavail * free.f_frsize - rest) // 2
            os.posix_fallocate(file.fileno(), 0, size)


def one_write_is_larger_than_the_room(node: Node) -> None:
    """It is refused before anything is written; smaller ones are taken."""
    node.start()
    filler = Filler(node)
    reply = filler.connection.call("SET", "big", bytes(VOLUME_BYTES))
    expect(reply[0] == "-" and reply[1].startswith(b"NOSPACE "), f"a SET of the volume's size says {str(reply)[:300]}")
    expect(filler.put(), "small writes are refused as well")
    filler.check()


CASES = [the_server_fills_the_volume, others_fill_the_volume, one_write_is_larger_than_the_room]


if __name__ == "__main__":
    sys.exit(main())
