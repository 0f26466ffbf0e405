#!/usr/bin/env python3
"""Dumps go from redis-server to the server under test and back, in both of its modes; DEBUG DIGEST must stay the same.

In durable mode all keys are cold when a dump is written. Also: when `--load-rdb` must be refused.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "harness"))

from resp import Connection, show
from server import REFERENCE, Server, binary_under_test

MARK = "basalt-data.loading"
YEAR_MS = 365 * 24 * 3600 * 1000


def main() -> int:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    passed = failed = 0
    with tempfile.TemporaryDirectory(prefix="basalt-dumps-") as directory:
        dump, digest = redis_dump(Path(directory))
        for test in TESTS:
            os.environ["BASALT_MODE"] = "cache" if test.__name__.startswith("cache") else "durable"
            try:
                test(dump, digest)
                passed += 1
            except (AssertionError, SystemExit) as error:
                failed += 1
                print(f"{test.__name__}: {test.__doc__}\n  {error}")
    print(f"dumps: {passed} passed, {failed} failed, 0 skipped")
    return 1 if failed else 0


# ---- data ---------------------------------------------------------------------------------------------------------


def fill(connection: Connection) -> None:
    """Values of every type, in every size that is encoded in a way of its own, in several databases."""
    commands = []
    for db in (0, 3, 15):
        commands.append(["SELECT", db])
        for number in (0, 1, -1, 127, 40000, 2**31, -(2**63), 2**63 - 1):
            commands.append(["SET", f"int:{number}", number])
        for length in (0, 1, 44, 45, 1000, 20_000, 300_000):
            commands.append(["SET", f"same:{length}", "x" * length])
            commands.append(["SET", f"bytes:{length}", bytes((i * 7919 + i // 251) % 256 for i in range(length))])
        for size in (1, 5, 130, 600, 3000):
            long = "long" * 30
            commands.append(["RPUSH", f"list:{size}", *range(size)])
            commands.append(["RPUSH", f"list:{size}:long", *(f"{long}{i}" for i in range(size))])
            commands.append(["SADD", f"ints:{size}", *range(0, size * 70_001, 70_001)])
            commands.append(["SADD", f"set:{size}", *(f"{long}{i}" for i in range(size))])
            commands.append(["HSET", f"hash:{size}", *(word for i in range(size) for word in (f"field{i}", i * 1.5))])
            commands.append(["HSET", f"hash:{size}:long", *(word for i in range(size) for word in (i, f"{long}{i}"))])
            commands.append(["ZADD", f"zset:{size}", *(word for i in range(size) for word in (i / 3, f"member{i}"))])
        commands.append(["RPUSH", "list:plain", "small", "y" * 20_000, "small again"])
        commands.append(["ZADD", "zset:edges", "-inf", "a", "inf", "b", "1e-300", "c", "1e300", "d", "0.1", "e"])
        commands.append(["PFADD", "hll", *range(100)])
        commands += [["PEXPIRE", f"{name}:130", YEAR_MS] for name in ("list", "ints", "set", "hash", "zset")]
        commands += [["SET", f"volatile:{i}", i, "PX", YEAR_MS + i] for i in range(50)]
    for words in commands:
        reply = connection.call(*(word if isinstance(word, bytes) else str(word) for word in words))
        assert reply[0] != "-", f"{words[:2]}: {show(reply)}"


def redis_dump(directory: Path) -> tuple:
    """A dump that redis-server has written, and the digest of what is in it."""
    with Server(REFERENCE) as reference:
        connection = reference.connect()
        fill(connection)
        call(connection, "SAVE")
        shutil.copy(reference.directory / "dump.rdb", directory / "redis.rdb")
        return directory / "redis.rdb", call(connection, "DEBUG", "DIGEST")


# ---- tests --------------------------------------------------------------------------------------------------------


def durable_takes_a_dump_and_keeps_it(dump: Path, digest: str) -> None:
    """--load-rdb fills a durable server; the data is there after a restart; a second load is refused."""
    with home() as directory:
        with server(directory, "--load-rdb", dump) as filled:
            expect_digest(filled, digest)
            assert not (directory / MARK).exists(), "the mark of an unfinished load is still there"
        with server(directory) as again:
            expect_digest(again, digest)
        expect_refusal(directory, "fills an empty server, and this one has", "--load-rdb", dump)
        with server(directory) as again:
            expect_digest(again, digest)


def durable_begins_an_unfinished_load_anew(dump: Path, digest: str) -> None:
    """After a load that was cut off, the server does not serve half of the data, and --load-rdb loads all of it."""
    with home() as directory:
        with server(directory) as half:
            call(half.connect(), "SET", "half", "of the data")
        (directory / MARK).touch()
        expect_refusal(directory, "did not come to its end")
        with server(directory, "--load-rdb", dump) as filled:
            expect_digest(filled, digest)


def durable_refuses_a_damaged_dump(dump: Path, digest: str) -> None:
    """A damaged dump is refused, what was loaded of it is not served, and a sound one then replaces it."""
    with home() as directory:
        damaged = directory / "damaged.rdb"
        content = bytearray(dump.read_bytes())
        del content[len(content) // 2 :]
        damaged.write_bytes(content)
        expect_refusal(directory, "damaged.rdb cannot be loaded", "--load-rdb", damaged)
        expect_refusal(directory, "did not come to its end")
        expect_refusal(directory, "missing.rdb cannot be loaded", "--load-rdb", directory / "missing.rdb")
        with server(directory, "--load-rdb", dump) as filled:
            expect_digest(filled, digest)


def durable_writes_dumps_for_redis(dump: Path, digest: str) -> None:
    """SAVE and BGSAVE of cold keys write what redis-server loads, and what cache mode loads, in either way."""
    with home() as directory:
        with server(directory, "--load-rdb", dump) as source:
            connection = source.connect()
            save_in_background(connection)
            expect_loads(directory / "dump.rdb", digest)
            call(connection, "DEBUG", "RELOAD")
            call(connection, "SAVE")
            expect_loads(directory / "dump.rdb", digest)


def cache_takes_a_dump(dump: Path, digest: str) -> None:
    """--load-rdb fills a cache, unless another dump would be loaded; BGSAVE writes what redis-server loads."""
    with home() as directory:
        with server(directory, "--load-rdb", dump) as filled:
            expect_digest(filled, digest)
            save_in_background(filled.connect())
        expect_loads(directory / "dump.rdb", digest)
        expect_refusal(directory, "move that away", "--load-rdb", dump)
        with server(directory, "--load-rdb", directory / "dump.rdb") as again:
            expect_digest(again, digest)


TESTS = [
    durable_takes_a_dump_and_keeps_it,
    durable_begins_an_unfinished_load_anew,
    durable_refuses_a_damaged_dump,
    durable_writes_dumps_for_redis,
    cache_takes_a_dump,
]


# ---- helpers ------------------------------------------------------------------------------------------------------


@contextmanager
def home():
    """A directory for the data of several runs of a server."""
    with tempfile.TemporaryDirectory(prefix="basalt-dumps-") as directory:
        yield Path(directory)


def server(directory: Path, *options, binary=None) -> Server:
    return Server(binary or binary_under_test(), "--dir", str(directory), *map(str, options))


def call(connection: Connection, *words) -> str:
    reply = connection.call(*words)
    assert reply[0] != "-", f"{words}: {show(reply)}"
    return show(reply)


def expect_digest(server: Server, digest: str) -> None:
    got = wait_for_digest(server)
    assert got == digest, f"the digest is {got}, not {digest}"


def wait_for_digest(server: Server) -> str:
    """The digest, once the server has loaded what it loads while it serves already."""
    connection = server.connect()
    deadline = time.monotonic() + 30
    while "loading:1" in call(connection, "INFO", "persistence") and time.monotonic() < deadline:
        time.sleep(0.01)
    return call(connection, "DEBUG", "DIGEST")


def save_in_background(connection: Connection) -> None:
    call(connection, "BGSAVE")
    deadline = time.monotonic() + 30
    while "rdb_bgsave_in_progress:1" in call(connection, "INFO", "persistence") and time.monotonic() < deadline:
        time.sleep(0.01)
    assert "rdb_last_bgsave_status:ok" in call(connection, "INFO", "persistence"), "BGSAVE did not succeed"


def expect_loads(dump: Path, digest: str) -> None:
    """redis-server loads the dump, and so does the server under test in cache mode."""
    mode = os.environ["BASALT_MODE"]
    os.environ["BASALT_MODE"] = "cache"
    try:
        for binary in (REFERENCE, binary_under_test()):
            with home() as directory:
                shutil.copy(dump, directory / "dump.rdb")
                with server(directory, binary=binary) as reader:
                    expect_digest(reader, digest)
    finally:
        os.environ["BASALT_MODE"] = mode


def expect_refusal(directory: Path, why: str, *options) -> None:
    """The server must not start, and say why."""
    words = [binary_under_test(), "--port", "0", "--dir", str(directory), *map(str, options)]
    try:
        done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=30)
    except subprocess.TimeoutExpired:
        raise AssertionError(f"the server starts, and should not since it {why}") from None
    assert done.returncode != 0 and why in done.stdout, f"expected a refusal with '{why}', got {done.stdout[-500:]}"


if __name__ == "__main__":
    sys.exit(main())
