#!/usr/bin/env python3
"""Disks that report errors, data directories that cannot be used, and damage to what is on disk.

In every case the server must say what is wrong, and nothing that it has acknowledged may be gone without a word.
"""

import argparse
import errno
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

from disk import OPEN, SYNC, WRITE, Disk
from load import Load, Unreadable, Wrong
from node import DATA_DIRECTORY, Closed, Node, NotStarted
from server import binary_under_test

SOMEBODY_ELSE = 65534
# What storage/src/engine/rocks/layout.rs writes.
LAYOUT = 2
SMALL = ("--engine-memory", "16mb")


class Skipped(Exception):
    """This cannot be tried here."""


def expect(is_so: bool, what: str) -> None:
    if not is_so:
        raise Wrong(what)


# ---- errors of the disk -----------------------------------------------------------------------------------------


def failing_calls(home: Path, rng: random.Random, said: str, **fault) -> None:
    """Under load calls begin to fail: the server must stop, say why, and have acknowledged only what is there."""
    disk = Disk(home, home / "data")
    node = Node(binary_under_test(), disk.root, *SMALL, env=disk.env())
    node.start()
    load = Load(rng.getrandbits(32), clients=3)
    load.start(node)
    time.sleep(0.2 + rng.random() / 2)
    disk.fail(after=rng.randrange(30), **fault)
    status = ends_within(node, 60)
    load.finish()
    failed = disk.counts()[2]
    node.kill()
    expect(failed > 0, "the test did not make any call fail")
    expect(status is not None, f"{failed} calls have failed, and the server goes on")
    expect(status == -signal.SIGABRT, f"the server ended with status {status}: {node.tail()}")
    expect(said in node.tail() and "stopping at once" in node.tail(), f"it does not say {said!r}: {node.tail()}")
    disk.forget_faults()
    # What a failed sync has left is not to be relied on.
    disk.lose_power(rng)
    check_after_restart(node, load)


def ends_within(node: Node, seconds: float) -> int | None:
    try:
        return node.process.wait(seconds)
    except subprocess.TimeoutExpired:
        return None


def check_after_restart(node: Node, load: Load) -> None:
    node.start()
    connection = node.connect()
    load.check(connection)
    connection.close()
    node.kill()


def sync_of_the_log_fails(home, rng):
    failing_calls(home, rng, "Input/output error", ops=SYNC, suffix=".log")


def one_sync_of_the_log_fails(home, rng):
    """A second try would succeed and prove nothing: the system has forgotten what it could not write."""
    failing_calls(home, rng, "Input/output error", ops=SYNC, suffix=".log", times=1)


def write_of_the_log_fails(home, rng):
    failing_calls(home, rng, "Input/output error", ops=WRITE, suffix=".log")


def half_a_write_of_the_log_fails(home, rng):
    failing_calls(home, rng, "Input/output error", ops=WRITE, suffix=".log", times=1, torn=True)


def log_finds_no_space(home, rng):
    failing_calls(home, rng, "No space left on device", ops=WRITE, suffix=".log", error=errno.ENOSPC)


def table_cannot_be_written(home, rng):
    failing_calls(home, rng, "Input/output error", ops=WRITE | SYNC | OPEN, suffix=".sst")


def background_sync_fails(home, rng):
    """With fsync everysec it is the sync thread that meets the error."""
    disk = Disk(home, home / "data")
    node = Node(binary_under_test(), disk.root, *SMALL, "--fsync", "everysec", env=disk.env())
    node.start()
    disk.fail(SYNC, suffix=".log")
    connection = node.connect()
    connection.call("SET", "a", "1")
    expect(ends_within(node, 30) == -signal.SIGABRT, f"the server goes on after a failed sync: {node.tail()}")
    expect("stopping at once" in node.tail(), node.tail())


def start_finds_no_space(home, rng):
    disk = Disk(home, home / "data")
    disk.fail(WRITE | OPEN, error=errno.ENOSPC)
    node = Node(binary_under_test(), disk.root, env=disk.env())
    refused(node, "No space left on device")


def thread_that_panics(home, rng):
    """An invariant that is broken ends the process, which says so; nothing that was acknowledged is gone."""
    node = Node(binary_under_test(), home / "data", *SMALL, "--enable-debug-command", "yes")
    node.start()
    load = Load(rng.getrandbits(32), clients=3)
    load.start(node)
    connection = node.connect()
    connection.call("SET", "a", "1")
    try:
        connection.call("DEBUG", "PANIC")
    except Closed:
        pass
    status = ends_within(node, 60)
    load.finish()
    expect(status == -signal.SIGABRT, f"the server ended with status {status}: {node.tail()}")
    said = node.log.read_text(errors="replace")
    expect("has panicked: DEBUG PANIC" in said, f"it does not say why it ended: {node.tail()}")
    check_after_restart(node, load)


# ---- directories that cannot be used ----------------------------------------------------------------------------


def refused(node: Node, *said: str) -> None:
    """The start must fail, with these words."""
    before = len(node.tail())
    try:
        node.start()
    except NotStarted:
        pass
    else:
        node.kill()
        raise Wrong(f"it starts, and should have said {said}")
    text = node.log.read_text(errors="replace")
    expect(node.process.returncode == 1, f"it ended with {node.process.returncode}: {text[-2000:]}")
    expect("panicked" not in text, text[-2000:])
    for words in said:
        expect(words in text, f"it does not say {words!r}: {text[before - 500 if before > 500 else 0:]}")


def made(home: Path) -> Node:
    """A node with a little data, which was killed."""
    node = Node(binary_under_test(), home / "data", *SMALL)
    node.start()
    node.connect().call("SET", "key", "value")
    node.kill()
    return node


def directory_in_use(home, rng):
    node = made(home)
    node.start()
    other = Node(binary_under_test(), node.directory)
    other.log = home / "other.log"
    try:
        refused(other, "in use by another process")
        expect(node.connect().call("GET", "key") == ("$", b"value"), "the first one does not answer any more")
    finally:
        node.kill()


def as_somebody_else(home: Path) -> dict:
    if os.geteuid() != 0:
        raise Skipped("only root can start a process as somebody else")
    home.chmod(0o755)
    binary = home / "basalt"
    shutil.copyfile(binary_under_test(), binary)
    binary.chmod(0o755)
    return {"user": SOMEBODY_ELSE, "group": SOMEBODY_ELSE, "extra_groups": []}


def directory_of_another_owner(home, rng):
    node = made(home)
    node.popen = as_somebody_else(home)
    node.binary = str(home / "basalt")
    refused(node, "cannot write to the data directory", "it belongs to user 0", "run as its owner")


def unreadable_directory(home, rng):
    node = made(home)
    node.popen = as_somebody_else(home)
    node.binary = str(home / "basalt")
    (node.directory / DATA_DIRECTORY).chmod(0o700)
    refused(node, "cannot read the data directory", "it belongs to user 0")


def unreadable_file(home, rng):
    node = made(home)
    node.popen = as_somebody_else(home)
    node.binary = str(home / "basalt")
    data = node.directory / DATA_DIRECTORY
    for path in (data, *data.iterdir()):
        os.chown(path, SOMEBODY_ELSE, SOMEBODY_ELSE)
    log = max(data.glob("*.log"))
    os.chown(log, 0, 0)
    log.chmod(0o600)
    refused(node, "Permission denied")


def volume_that_is_read_only(home, rng):
    node = made(home)
    if os.geteuid() != 0:
        raise Skipped("only root can mount")
    mounted = mount(["--bind", str(node.directory), str(node.directory)])
    try:
        mount(["-o", "remount,bind,ro", str(node.directory)])
        refused(node, "Read-only file system", "mount it for writing")
    finally:
        if mounted:
            subprocess.run(["umount", str(node.directory)], check=True)


def mount(words: list) -> bool:
    done = subprocess.run(["mount", *words], capture_output=True, text=True)
    if done.returncode != 0:
        raise Skipped(f"mount says: {done.stderr.strip()}")
    return True


def directory_is_a_file(home, rng):
    node = Node(binary_under_test(), home / "data")
    (node.directory / DATA_DIRECTORY).write_text("not a directory")
    refused(node, "data directory", str(node.directory / DATA_DIRECTORY))


def newer_layout(home, rng):
    node = made(home)
    changed = sum(raise_layout(path) for path in (node.directory / DATA_DIRECTORY).glob("*.log"))
    expect(changed == 1, f"the layout's record was found {changed} times")
    refused(node, f"has layout {LAYOUT + (1 << 24)}", "use the version that wrote it")


def raise_layout(path: Path) -> int:
    """Adds 2^24 to the number in the record of a write-ahead log that says the layout; returns how many it found.

    Records are: checksum (4), length (2), type (1), payload. Only whole ones are looked at; the one that is meant is
    among the first that are written.
    """
    data, at, found = bytearray(path.read_bytes()), 0, 0
    number = b"\x04" + LAYOUT.to_bytes(4, "big")
    while at + 7 <= len(data):
        length, kind = struct.unpack_from("<HB", data, at + 4)
        if kind == 0:
            break
        payload = data[at + 7 : at + 7 + length]
        if kind == 1 and (value := payload.find(number)) > 0 and b"layout" in payload[:value]:
            payload[value + 1] = 1
            data[at + 7 : at + 7 + length] = payload
            struct.pack_into("<I", data, at, masked(crc32c(bytes([kind]) + payload)))
            found += 1
        at += 7 + length
        if 32768 - at % 32768 < 7:
            at += 32768 - at % 32768
    path.write_bytes(data)
    return found


def crc32c(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def masked(crc: int) -> int:
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


# ---- damage -----------------------------------------------------------------------------------------------------

DAMAGE_TRIES = 6


def damaged(home: Path, rng: random.Random, pattern: str, damage) -> None:
    """Damages a file of a directory with data, again and again from the same state.

    The start must be refused, or reads must say what is wrong, or nothing that matters was hit and all is there.
    """
    node = Node(binary_under_test(), home / "data", *SMALL)
    node.start()
    load = Load(rng.getrandbits(32), clients=3)
    for _ in range(2):
        load.start(node)
        time.sleep(1.0)
        load.finish()
        connection = node.connect()
        load.check(connection)
        connection.close()
        node.kill()
        node.start()
    load.start(node)
    time.sleep(0.5)
    load.finish()
    # A log that was begun a moment ago has something in it, too.
    connection = node.connect()
    connection.call("SELECT", 63)
    for number in range(100):
        expect(connection.call("SET", f"pad{number}", "x" * 500) == ("+", b"OK"), "a SET is refused")
    connection.close()
    data = node.directory / DATA_DIRECTORY
    sizes = {path.name: written_bytes(path) for path in data.iterdir()}
    # The last write cannot be told from one that was torn, and what comes after others says that they were synced. So
    # only what lies before these is damaged.
    connection = node.connect()
    connection.call("SELECT", 63)
    for number in range(5):
        expect(connection.call("SET", "last", number) == ("+", b"OK"), "a SET is refused")
    connection.close()
    node.kill()
    saved = home / "saved"
    node.directory.rename(saved)
    noticed = 0
    for _ in range(DAMAGE_TRIES):
        shutil.rmtree(node.directory, ignore_errors=True)
        shutil.copytree(saved, node.directory)
        files = [path for path in data.glob(pattern) if sizes.get(path.name, 0) > 100]
        expect(bool(files), f"there is no {pattern}")
        victim = rng.choice(sorted(files))
        story = f"{victim.name} {damage(victim, rng, sizes[victim.name])}"
        noticed += is_noticed(node, load, story)
    # Some damage hits what is not needed any more, but not always.
    expect(noticed > 0, f"{DAMAGE_TRIES} times {pattern} was damaged and nothing was noticed")


def written_bytes(path: Path) -> int:
    """A log has its length beforehand: what is not written to yet are zeros."""
    try:
        return len(path.read_bytes().rstrip(b"\0")) if path.suffix == ".log" else path.stat().st_size
    except FileNotFoundError:
        # The server still runs, and deletes what it needs no more.
        return 0


def is_noticed(node: Node, load: Load, story: str) -> bool:
    try:
        node.start()
    except NotStarted as not_started:
        said = str(not_started)
        expect("panicked" not in said and ("damaged" in said or "corrupt" in said.lower()), f"{story}: {said}")
        return True
    try:
        connection = node.connect()
        load.check_only(connection)
    except Unreadable as unreadable:
        expect("damaged" in node.tail() or "orrupt" in node.tail(), f"{story}: {unreadable}; {node.tail()}")
        return True
    except (OSError, Closed):
        expect("stopping at once" in node.tail(), f"{story}: it has ended: {node.tail()}")
        return True
    except Wrong as wrong:
        raise Wrong(f"{story}: nothing was said, and {wrong}") from wrong
    finally:
        node.kill()
    return False


def flip(path: Path, rng: random.Random, size: int) -> str:
    data = bytearray(path.read_bytes())
    at = rng.randrange(size)
    data[at] ^= 1 << rng.randrange(8)
    path.write_bytes(data)
    return f"of {len(data)} bytes has a wrong bit at {at}"


def flipped_bit_in_the_log(home, rng):
    damaged(home, rng, "*.log", flip)


def hole_in_the_log(home, rng):
    def damage(path: Path, rng: random.Random, size: int) -> str:
        data = bytearray(path.read_bytes())
        at = rng.randrange(size)
        end = min(at + 4096, size)
        data[at:end] = bytes(end - at)
        path.write_bytes(data)
        return f"of {len(data)} bytes has zeros from {at} to {end}"

    damaged(home, rng, "*.log", damage)


def flipped_bit_in_a_table(home, rng):
    damaged(home, rng, "*.sst", flip)


def shortened_table(home, rng):
    def damage(path: Path, rng: random.Random, size: int) -> str:
        length = rng.randrange(size)
        os.truncate(path, length)
        return f"was cut to {length} bytes"

    damaged(home, rng, "*.sst", damage)


def missing_table(home, rng):
    damaged(home, rng, "*.sst", lambda path, _rng, _size: path.unlink() or "is missing")


def flipped_bit_in_the_manifest(home, rng):
    damaged(home, rng, "MANIFEST-*", flip)


def nonsense_in_current(home, rng):
    node = made(home)
    (node.directory / DATA_DIRECTORY / "CURRENT").write_text("nonsense\n")
    refused(node, "damaged", "Restore it from a backup")


# ---- all of them ------------------------------------------------------------------------------------------------

CASES = [
    sync_of_the_log_fails,
    one_sync_of_the_log_fails,
    write_of_the_log_fails,
    half_a_write_of_the_log_fails,
    log_finds_no_space,
    table_cannot_be_written,
    background_sync_fails,
    thread_that_panics,
    start_finds_no_space,
    directory_in_use,
    directory_of_another_owner,
    unreadable_directory,
    unreadable_file,
    volume_that_is_read_only,
    directory_is_a_file,
    newer_layout,
    flipped_bit_in_the_log,
    hole_in_the_log,
    flipped_bit_in_a_table,
    shortened_table,
    missing_table,
    flipped_bit_in_the_manifest,
    nonsense_in_current,
]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", metavar="CASE", help="all, if none is named")
    parser.add_argument("--seed", type=int, default=None)
    options = parser.parse_args()
    seed = options.seed if options.seed is not None else int.from_bytes(os.urandom(4), "big")
    print(f"errors: seed {seed}", flush=True)
    cases = [case for case in CASES if not options.cases or case.__name__ in options.cases]
    passed = failed = skipped = 0
    for case in cases:
        home = Path(tempfile.mkdtemp(prefix="basalt-errors-"))
        name = case.__name__.replace("_", " ")
        try:
            case(home, random.Random(f"{seed}/{name}"))
        except Skipped as why:
            skipped += 1
            print(f"  {name}: skipped: {why}", flush=True)
        except (Wrong, NotStarted) as wrong:
            failed += 1
            print(f"  {name}: FAILED: {wrong}\n  the directory is kept: {home}", flush=True)
            continue
        except Exception:
            failed += 1
            print(f"  {name}: the test failed:\n{traceback.format_exc()}", flush=True)
        else:
            passed += 1
            print(f"  {name}: passed", flush=True)
        shutil.rmtree(home, ignore_errors=True)
    print(f"errors: {passed} passed, {failed} failed, {skipped} skipped")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
