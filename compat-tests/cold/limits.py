#!/usr/bin/env python3
"""Very large values and transactions in durable mode: bounded memory, and nobody else waits.

Every case says what the process took at most (its peak of resident memory) and how long the slowest of the PINGs took
that another client sent all the while. Small by default, as in CI; --full is the size of the promises in the README.
"""

import argparse
import multiprocessing
import random
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "harness"))

from resp import Connection, encode
from run import bulk, cool, expect, number, ok, run_durable
from server import Server

MIB = 1 << 20
SMALL = {"value": 16 * MIB, "elements": 300_000, "transaction": 16 * MIB, "seconds": 1.0}
FULL = {"value": 512 * MIB, "elements": 50_000_000, "transaction": 100 * MIB, "seconds": 2.0}
ENGINE = 64 * MIB


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="the sizes that the README names")
    parser.add_argument("--elements", type=int, help="of the collection")
    parser.add_argument("case", nargs="*", help="only these")
    arguments = parser.parse_args()
    sizes = dict(FULL if arguments.full else SMALL)
    sizes["elements"] = arguments.elements or sizes["elements"]
    return run_durable("limits", CASES, arguments.case, ("--engine-memory", str(ENGINE)), (sizes,))


class Watch:
    """Another client, which asks for little all the time; and the peak of memory meanwhile."""

    def __init__(self, server: Server, sizes: dict):
        self.server, self.sizes = server, sizes
        self.end, self.slowest = multiprocessing.Event(), multiprocessing.Value("d", 0.0)
        server.forget_peak()
        self.before = server.memory_kb()
        self.process = multiprocessing.Process(target=ping, args=(server.port, self.end, self.slowest))
        self.process.start()

    def finish(self, what: str, memory_max: int) -> None:
        self.end.set()
        self.process.join()
        peak = self.server.memory_kb("VmHWM") * 1024
        slowest = self.slowest.value
        print(f"    {what}: peak of memory {peak / MIB:.0f} MB (before {self.before / 1024:.0f} MB), "
              f"slowest PING {slowest * 1000:.0f} ms", flush=True)
        expect(slowest < self.sizes["seconds"], True, f"{what}: a PING took {slowest:.3f} s")
        expected = f"{what}: {peak / MIB:.0f} MB of memory, at most {memory_max / MIB:.0f} expected"
        expect(peak < memory_max, True, expected)


def ping(port: int, end, slowest) -> None:
    client = Connection("127.0.0.1", port, timeout=120)
    while not end.is_set():
        started = time.monotonic()
        client.call("PING")
        slowest.value = max(slowest.value, time.monotonic() - started)
        time.sleep(0.001)


def base(server: Server) -> int:
    return server.memory_kb() * 1024 + ENGINE + 96 * MIB


def a_value_at_proto_max_bulk_len(server, sizes) -> None:
    client = server.connect(timeout=300)
    size = sizes["value"]
    ok(client, "CONFIG", "SET", "proto-max-bulk-len", str(size))
    value = random.Random(7).randbytes(MIB) * (size // MIB)
    watch = Watch(server, sizes)
    # The value, the batch with it on its way through the log, and what RocksDB makes of it.
    most = base(server) + 9 * size
    ok(client, "SET", "value", value)
    expect(client.call("STRLEN", "value"), (":", size))
    watch.finish(f"SET of {size // MIB} MB", most)
    watch = Watch(server, sizes)
    expect(client.call("GET", "value") == ("$", value), True, "GET")
    watch.finish("GET", most)
    cool(client)
    watch = Watch(server, sizes)
    for _ in range(200):
        at = random.randrange(size - 100)
        expect(client.call("GETRANGE", "value", str(at), str(at + 99)), ("$", value[at : at + 100]), "GETRANGE")
    # Whoever has read the last of it may hold an outline of its own a moment longer.
    deadline = time.monotonic() + 10
    while number(client, "keys_outlined") != 1 and time.monotonic() < deadline:
        time.sleep(0.01)
    expect(number(client, "keys_outlined"), 1, "keys_outlined")
    watch.finish("GETRANGE of the cold value", most)
    expect(client.call("APPEND", "value", "x")[1], b"ERR string exceeds maximum allowed size (proto-max-bulk-len)")
    watch = Watch(server, sizes)
    expect(client.call("GET", "value") == ("$", value), True, "GET of the cold value")
    watch.finish("GET of the cold value", most)
    expect(client.call("DEL", "value"), (":", 1))
    other = server.connect()
    other.send(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$%d\r\n" % (size + 1))
    expect(other.read(), ("-", b"ERR Protocol error: invalid bulk length"), "one byte more")


def a_very_large_collection(server, sizes) -> None:
    client = server.connect(timeout=600)
    elements, at_once = sizes["elements"], 1000
    watch = Watch(server, sizes)
    started = time.monotonic()
    ahead = 0
    for first in range(0, elements, at_once):
        pairs = [word for n in range(first, first + at_once) for word in (f"f{n}", f"v{n}")]
        client.send(encode(["HSET", "big", *pairs]))
        ahead += 1
        if ahead == 20:
            expect(client.read(), (":", at_once), "HSET")
            ahead -= 1
    for _ in range(ahead):
        expect(client.read(), (":", at_once), "HSET")
    print(f"    {elements} fields were written in {time.monotonic() - started:.1f} s", flush=True)
    # As long as it is changed, it is in memory.
    watch.finish("HSET", base(server) + 200 * elements)
    restart(server)
    client = server.connect(timeout=600)
    watch = Watch(server, sizes)
    started = time.monotonic()
    expect(client.call("HLEN", "big"), (":", elements))
    print(f"    the first answer after {time.monotonic() - started:.3f} s", flush=True)
    started = time.monotonic()
    for _ in range(1000):
        n = random.randrange(elements)
        expect(client.call("HGET", "big", f"f{n}"), bulk(f"v{n}"), "HGET")
    print(f"    1,000 HGETs in {time.monotonic() - started:.2f} s", flush=True)
    cursor, seen = b"0", 0
    for _ in range(50):
        reply = client.call("HSCAN", "big", cursor, "COUNT", "1000")
        cursor, seen = reply[1][0][1], seen + len(reply[1][1][1]) // 2
    expect(seen >= 50_000, True, "HSCAN")
    watch.finish("point reads and HSCAN after a restart", base(server) + 64 * MIB)
    watch = Watch(server, sizes)
    started = time.monotonic()
    expect(client.call("RENAME", "big", "other"), ("+", b"OK"))
    expect(client.call("EXPIRE", "other", "1000"), (":", 1))
    expect(client.call("HGET", "other", "f17"), bulk("v17"))
    expect(client.call("DEL", "other"), (":", 1))
    elapsed = time.monotonic() - started
    expect(client.call("EXISTS", "big", "other"), (":", 0))
    expect(elapsed < 1, True, f"RENAME, EXPIRE and DEL took {elapsed:.3f} s")
    print(f"    RENAME, EXPIRE, DEL in {elapsed * 1000:.1f} ms", flush=True)
    watch.finish("RENAME, EXPIRE, DEL", base(server) + 64 * MIB)


def a_very_large_transaction(server, sizes) -> None:
    client = server.connect(timeout=300)
    size, count = sizes["transaction"], 100
    value = random.Random(3).randbytes(size // count)
    watch = Watch(server, sizes)
    ok(client, "MULTI")
    for n in range(count):
        expect(client.call("SET", f"key:{n}", value), ("+", b"QUEUED"))
    started = time.monotonic()
    expect(client.call("EXEC"), ("*", [("+", b"OK")] * count), "EXEC")
    print(f"    EXEC in {time.monotonic() - started:.2f} s", flush=True)
    watch.finish(f"a transaction of {size // MIB} MB", base(server) + 9 * size)
    restart(server, kill=True)
    client = server.connect(timeout=300)
    for n in range(count):
        expect(client.call("GET", f"key:{n}") == ("$", value), True, f"GET key:{n}")


def a_transaction_of_many_small_writes(server, sizes) -> None:
    """As long as it is evaluated nobody else is served, and who uses its keys waits until it is on disk."""
    client = server.connect(timeout=300)
    value, at_once = random.Random(5).randbytes(500).hex(), 1000
    count = sizes["transaction"] // len(value)
    watch = Watch(server, sizes)
    ok(client, "MULTI")
    for first in range(0, count, at_once):
        numbers = range(first, min(first + at_once, count))
        client.send(b"".join(encode(["SET", f"small:{n}", value]) for n in numbers))
        for _ in numbers:
            expect(client.read(), ("+", b"QUEUED"))
    started = time.monotonic()
    expect(client.call("EXEC"), ("*", [("+", b"OK")] * count), "EXEC")
    print(f"    EXEC of {count} SETs in {time.monotonic() - started:.2f} s", flush=True)
    watch.finish(f"a transaction of {count} writes", base(server) + 9 * sizes["transaction"])
    restart(server, kill=True)
    client = server.connect(timeout=300)
    expect(client.call("DBSIZE"), (":", count), "DBSIZE")
    for n in range(0, count, max(1, count // 100)):
        expect(client.call("GET", f"small:{n}"), bulk(value), f"GET small:{n}")


def a_transaction_that_is_too_large(server, sizes) -> None:
    client = server.connect(timeout=300)
    ok(client, "SET", "value", b"x" * (16 * MIB))
    watch = Watch(server, sizes)
    ok(client, "MULTI")
    # The copies would take 4.5 GB of the log, of which one piece has at most 4 GiB.
    for n in range(290):
        expect(client.call("COPY", "value" if n == 0 else f"copy:{n - 1}", f"copy:{n}"), ("+", b"QUEUED"))
    kind, text = client.call("EXEC")
    expect((kind, text.startswith(b"EXECABORT") and b"exceed 4 GiB" in text), ("-", True), "EXEC")
    expect(client.call("EXISTS", "copy:0"), (":", 0), "nothing has changed")
    expect(client.call("COPY", "value", "copy"), (":", 1), "afterwards")
    watch.finish("a transaction that is refused", base(server) + 200 * MIB)


def restart(server: Server, kill: bool = False) -> None:
    started = time.monotonic()
    server.restart(kill)
    print(f"    ended and ready again in {time.monotonic() - started:.2f} s", flush=True)


CASES = [
    a_value_at_proto_max_bulk_len,
    a_very_large_collection,
    a_very_large_transaction,
    a_transaction_of_many_small_writes,
    a_transaction_that_is_too_large,
]

if __name__ == "__main__":
    sys.exit(main())
