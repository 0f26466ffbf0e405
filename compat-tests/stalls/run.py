#!/usr/bin/env python3
"""Stalls: how long one client can keep the others waiting, against redis-server in the same run.

Each case lets one client do something large while another sends PINGs. Both servers run on one core. The slowest PING
and the memory that the case has taken must not be far beyond what they are with redis-server: timings on a busy machine
are rough, so these are bounds against what would be noticed, and memory tells what was copied without any noise.
"""

import argparse
import multiprocessing
import os
import sys
import time
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "harness"))

from resp import Connection, encode
from server import REFERENCE, Server, binary_under_test

MIB = 1 << 20
# Not at the edge of a size class of the allocator, where a further byte takes a copy.
SMALL = {"value": 125 * 1_000_000, "keys": 200_000, "elements": 200_000, "commands": 20_000, "part": 32 * MIB}
FULL = {"value": 500 * MIB, "keys": 10_000_000, "elements": 1_000_000, "commands": 100_000, "part": 128 * MIB}
# What may be noise, and what is not.
PING_SLACK_SECONDS = 0.25
PING_FACTOR = 3
MEMORY_SLACK_KB = 64 * 1024
MEMORY_FACTOR = 1.25


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="sizes at which the differences show")
    parser.add_argument("case", nargs="*", help="only these")
    arguments = parser.parse_args()
    sizes = FULL if arguments.full else SMALL
    passed = failed = 0
    print(f"{'':34}{'slowest PING, ms':>28}{'memory, MB':>28}")
    for case in CASES:
        if arguments.case and case.__name__ not in arguments.case:
            continue
        try:
            ours, theirs = (measure(binary, case, sizes) for binary in (binary_under_test(), REFERENCE))
            result = judge(ours, theirs)
            figures = f"{ours.ping * 1000:12.1f} to {theirs.ping * 1000:10.1f}  "
            figures += f"{ours.memory_kb / 1024:14.0f} to {theirs.memory_kb / 1024:8.0f}"
        except Exception as problem:  # noqa: BLE001 - a case may fail in any way, and the others still run
            where = traceback.extract_tb(problem.__traceback__)[-1]
            result, figures = f"FAILED: {problem!r} ({where.name}, line {where.lineno})", ""
        passed += result == "ok"
        failed += result != "ok"
        print(f"{case.__name__:34}{figures}  {result}", flush=True)
    print(f"stalls: {passed} passed, {failed} failed, 0 skipped")
    return 1 if failed else 0


class Figures:
    def __init__(self, ping: float, memory_kb: int):
        self.ping = ping
        self.memory_kb = memory_kb


def judge(ours: Figures, theirs: Figures) -> str:
    if ours.ping > theirs.ping * PING_FACTOR + PING_SLACK_SECONDS:
        return "FAILED: others wait too long"
    if ours.memory_kb > theirs.memory_kb * MEMORY_FACTOR + MEMORY_SLACK_KB:
        return "FAILED: too much memory"
    return "ok"


def measure(binary: str, case, sizes: dict) -> Figures:
    """Runs a case against a server that has one core of the machine's for itself, as far as there are several."""
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, cores[:1])
    try:
        options = () if binary == REFERENCE or "redis" in os.path.basename(binary) else ("--mode", "cache")
        server = Server(binary, *options)
    finally:
        os.sched_setaffinity(0, cores[1:] or cores)
    try:
        client = Client(server)
        act = case(client, sizes)
        server.forget_peak()
        before = server.memory_kb()
        with Pings(server) as pings:
            act()
        return Figures(pings.slowest, max(0, server.memory_kb("VmHWM") - before))
    finally:
        server.close()
        os.sched_setaffinity(0, cores)


class Pings:
    """Another client, in a process of its own, which asks for little all the time."""

    def __init__(self, server: Server):
        self.shared = multiprocessing.Array("d", [0.0, 0.0])
        self.process = multiprocessing.Process(target=self.run, args=(server.port,), daemon=True)

    def run(self, port: int) -> None:
        connection = Connection("127.0.0.1", port, timeout=60)
        while True:
            started = time.perf_counter()
            connection.call("PING")
            self.shared[0] = max(self.shared[0], time.perf_counter() - started)
            self.shared[1] += 1
            time.sleep(0.001)

    def __enter__(self) -> "Pings":
        self.process.start()
        self.wait()
        # Connecting does not count.
        self.shared[0] = 0.0
        return self

    def __exit__(self, *_) -> None:
        self.wait()
        self.process.kill()
        self.process.join()
        self.slowest = self.shared[0]

    def wait(self) -> None:
        """Until two more PINGs were answered: the one that is on its way may have been slow, and counts."""
        enough = self.shared[1] + 2
        while self.shared[1] < enough:
            time.sleep(0.002)


class Client:
    def __init__(self, server: Server):
        self.connection = server.connect(timeout=60)
        self.server = server

    def call(self, *words):
        return self.connection.call(*words)

    def do(self, *words) -> None:
        """Sends a command and throws its reply away, whatever its size."""
        self.send(encode(words))
        self.skip()

    def send(self, data) -> None:
        self.connection.send(data)

    def skip(self) -> None:
        """Throws all replies away that are still to come."""
        marker = b"the end of what was asked"
        self.send(encode(["ECHO", marker]))
        tail = b""
        while not tail.endswith(marker + b"\r\n"):
            chunk = self.connection.socket.recv(MIB)
            if not chunk:
                raise EOFError("the server has closed the connection")
            tail = (tail[-len(marker) :] + chunk)[-2 * len(marker) :]

    def send_value(self, *words, size: int) -> None:
        """A command whose last argument has `size` bytes."""
        head = b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)
        self.send(b"*%d\r\n%s$%d\r\n" % (len(words) + 1, head, size))
        chunk = b"x" * MIB
        for _ in range(size // MIB):
            self.send(chunk)
        self.send(chunk[: size % MIB] + b"\r\n")

    def do_with_value(self, *words, size: int) -> None:
        self.send_value(*words, size=size)
        self.skip()

    def populate(self, keys: int) -> None:
        self.do("DEBUG", "POPULATE", keys, "key", 3)


def set_large(client: Client, sizes: dict):
    return lambda: client.do_with_value(b"SET", b"k", size=sizes["value"])


def set_large_again(client: Client, sizes: dict):
    client.do_with_value(b"SET", b"k", size=sizes["value"])
    return lambda: client.do_with_value(b"SET", b"k", size=sizes["value"])


def get_large(client: Client, sizes: dict):
    client.do_with_value(b"SET", b"k", size=sizes["value"])
    return lambda: client.do("GET", "k")


def get_large_in_transaction(client: Client, sizes: dict):
    client.do_with_value(b"SET", b"k", size=sizes["value"])

    def act():
        client.send(encode(["MULTI"]) + encode(["GET", "k"]) + encode(["EXEC"]))
        client.skip()

    return act


def set_large_in_transaction(client: Client, sizes: dict):
    def act():
        client.call("MULTI")
        client.send_value(b"SET", b"k", size=sizes["value"])
        client.do("EXEC")

    return act


def overwrite_large(client: Client, sizes: dict):
    client.do_with_value(b"SET", b"k", size=sizes["value"])
    return lambda: client.do("SET", "k", "v")


def delete_large(client: Client, sizes: dict):
    client.do_with_value(b"SET", b"k", size=sizes["value"])
    return lambda: client.do("DEL", "k")


def append_to_large(client: Client, sizes: dict):
    client.do_with_value(b"SET", b"k", size=sizes["value"])
    return lambda: [client.do("APPEND", "k", "tail") for _ in range(10)]


def append_large(client: Client, sizes: dict):
    client.do("SET", "k", "head")
    return lambda: client.do_with_value(b"APPEND", b"k", size=sizes["part"])


def setrange_in_large(client: Client, sizes: dict):
    client.do_with_value(b"SET", b"k", size=sizes["value"])
    return lambda: [client.do("SETRANGE", "k", 1000, "there") for _ in range(10)]


def setrange_far(client: Client, sizes: dict):
    return lambda: client.do("SETRANGE", "k", sizes["value"], "x")


def getrange_of_large(client: Client, sizes: dict):
    client.do_with_value(b"SET", b"k", size=sizes["value"])
    return lambda: client.do("GETRANGE", "k", 1, -2)


def copy_large(client: Client, sizes: dict):
    client.do_with_value(b"SET", b"k", size=sizes["value"])
    return lambda: client.do("COPY", "k", "l")


def bitcount_of_large(client: Client, sizes: dict):
    client.do_with_value(b"SET", b"k", size=sizes["value"])
    return lambda: client.do("BITCOUNT", "k")


def push_large(client: Client, sizes: dict):
    return lambda: client.do_with_value(b"RPUSH", b"k", size=sizes["part"])


def hset_large(client: Client, sizes: dict):
    return lambda: client.do_with_value(b"HSET", b"k", b"f", size=sizes["part"])


def hget_large(client: Client, sizes: dict):
    client.do_with_value(b"HSET", b"k", b"f", size=sizes["part"])
    return lambda: client.do("HGET", "k", "f")


def publish_large(client: Client, sizes: dict):
    subscriber = client.server.connect(timeout=60)
    subscriber.call("SUBSCRIBE", "channel")
    return lambda: client.do_with_value(b"PUBLISH", b"channel", size=sizes["part"])


def transaction_of_many(client: Client, sizes: dict):
    commands = [encode(["SET", f"key:{number}", "value"]) for number in range(sizes["commands"])]

    def act():
        client.send(encode(["MULTI"]) + b"".join(commands) + encode(["EXEC"]))
        client.skip()

    return act


def keys_of_all(client: Client, sizes: dict):
    client.populate(sizes["keys"])
    return lambda: client.do("KEYS", "*")


def flushall(client: Client, sizes: dict):
    client.populate(sizes["keys"])
    return lambda: client.do("FLUSHALL")


def many_expire_at_once(client: Client, sizes: dict):
    for number in range(sizes["commands"] // 1000):
        client.send(b"".join(encode(["SET", f"key:{number}:{n}", "v", "PX", "1500"]) for n in range(1000)))
        client.skip()
    return lambda: time.sleep(2.5)


def slow_reader(client: Client, sizes: dict):
    """Asks for very much, and reads nothing until all is asked for."""
    client.do_with_value(b"SET", b"k", size=MIB)

    def act():
        for _ in range(sizes["value"] // MIB):
            client.send(encode(["GET", "k"]))
        time.sleep(0.5)
        client.skip()

    return act


def words(prefix: str, sizes: dict, step: int = 1) -> list:
    names = [f"{prefix}:{number}" for number in range(sizes["elements"])]
    return names if step == 1 else [word for name in names for word in (name, "v")]


def hset_many(client: Client, sizes: dict):
    request = encode(["HSET", "k", *words("field", sizes, 2)])
    return lambda: (client.send(request), client.skip())


def rpush_many(client: Client, sizes: dict):
    request = encode(["RPUSH", "k", *words("element", sizes)])
    return lambda: (client.send(request), client.skip())


def sadd_many(client: Client, sizes: dict):
    request = encode(["SADD", "k", *words("member", sizes)])
    return lambda: (client.send(request), client.skip())


def mset_many(client: Client, sizes: dict):
    request = encode(["MSET", *words("key", sizes, 2)])
    return lambda: (client.send(request), client.skip())


def mget_many(client: Client, sizes: dict):
    client.send(encode(["MSET", *words("key", sizes, 2)]))
    client.skip()
    request = encode(["MGET", *words("key", sizes)])
    return lambda: (client.send(request), client.skip())


def hgetall_of_many(client: Client, sizes: dict):
    hset_many(client, sizes)()
    return lambda: client.do("HGETALL", "k")


def lrange_of_many(client: Client, sizes: dict):
    rpush_many(client, sizes)()
    return lambda: client.do("LRANGE", "k", 0, -1)


def delete_many(client: Client, sizes: dict):
    hset_many(client, sizes)()
    return lambda: client.do("DEL", "k")


def expire_of_many(client: Client, sizes: dict):
    sadd_many(client, sizes)()
    client.do("PEXPIRE", "k", 300)
    return lambda: time.sleep(0.8)


def delete_many_keys(client: Client, sizes: dict):
    mset_many(client, sizes)()
    request = encode(["DEL", *words("key", sizes)])
    return lambda: (client.send(request), client.skip())


CASES = [
    set_large,
    set_large_again,
    get_large,
    set_large_in_transaction,
    get_large_in_transaction,
    overwrite_large,
    delete_large,
    append_to_large,
    append_large,
    setrange_in_large,
    setrange_far,
    getrange_of_large,
    copy_large,
    bitcount_of_large,
    push_large,
    hset_large,
    hget_large,
    publish_large,
    slow_reader,
    transaction_of_many,
    keys_of_all,
    flushall,
    many_expire_at_once,
    hset_many,
    rpush_many,
    sadd_many,
    mset_many,
    mget_many,
    hgetall_of_many,
    lrange_of_many,
    delete_many,
    expire_of_many,
    delete_many_keys,
]

if __name__ == "__main__":
    sys.exit(main())
