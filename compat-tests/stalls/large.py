#!/usr/bin/env python3
"""Large arguments and replies: the same streams of requests, cut at random, to redis-server and the server under test.

Arguments have lengths around those at which servers begin to treat them in another way. All replies together must be
the same to the byte, and so must the data be afterwards.
"""

import argparse
import random
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "harness"))

from resp import encode
from server import REFERENCE, Server, binary_under_test

LENGTHS = [1, 100, 32_767, 65_535, 65_536, 65_537, 100_000, 262_144, 300_000, 1_048_576, 3_000_000]
KEYS = 6
REQUESTS = 60


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000)
    arguments = parser.parse_args()
    passed = failed = 0
    with Server(REFERENCE) as reference, Server(binary_under_test()) as tested:
        for seed in range(arguments.seed, arguments.seed + arguments.rounds):
            replies = [play(server, seed) for server in (reference, tested)]
            if replies[0] == replies[1]:
                passed += 1
            else:
                failed += 1
                at = next(at for at, (a, b) in enumerate(zip(*replies)) if a != b) if all(replies) else 0
                print(f"--seed {seed} --rounds 1: reply {at} differs: {replies[0][at]} and {replies[1][at]}")
    print(f"large: {passed} passed, {failed} failed, 0 skipped")
    return 1 if failed else 0


def play(server: Server, seed: int) -> list:
    """Sends requests in pieces of any size, and returns short forms of all replies."""
    rng = random.Random(seed)
    requests = [request for _ in range(REQUESTS) for request in step(rng)]
    requests += [["EXISTS", f"k{number}"] for number in range(KEYS)] + [["DEBUG", "DIGEST"], ["FLUSHALL"]]
    stream = b"".join(encode(words) for words in requests)
    connection = server.connect(timeout=60)
    sender = threading.Thread(target=send, args=(connection, stream, rng))
    sender.start()
    try:
        return [short(connection.read()) for _ in requests]
    finally:
        sender.join()
        connection.close()


def send(connection, stream: bytes, rng: random.Random) -> None:
    at = 0
    while at < len(stream):
        size = rng.choice([1, 3, 1000, 65_536, 65_600, 500_000, 5_000_000])
        connection.send(stream[at : at + size])
        at += size
        if rng.random() < 0.1:
            # The rest comes with another read, at least now and then. Nothing depends on it.
            time.sleep(0.002)


def step(rng: random.Random) -> list:
    """One request, or a transaction."""
    if rng.random() < 0.15:
        return [["MULTI"], *[request(rng) for _ in range(rng.randrange(5))], [rng.choice(["EXEC", "EXEC", "DISCARD"])]]
    return [request(rng)]


def request(rng: random.Random) -> list:
    def key():
        return f"k{rng.randrange(KEYS)}"

    def text():
        length = rng.choice(LENGTHS) if rng.random() < 0.7 else rng.randrange(200_000)
        return bytes([rng.randrange(65, 90)]) * length

    def number():
        return rng.randrange(-200_000, 200_000)

    return rng.choice(
        [
            lambda: ["SET", key(), text()],
            lambda: ["SET", key(), text(), rng.choice(["NX", "XX", "GET", "KEEPTTL"])],
            lambda: ["SET", text(), text()],
            lambda: ["MSET", key(), text(), key(), text(), key(), text()],
            lambda: ["SETNX", key(), text()],
            lambda: ["SETEX", key(), 1000, text()],
            lambda: ["GETSET", key(), text()],
            lambda: ["GET", key()],
            lambda: ["GET", key()],
            lambda: ["MGET", key(), key(), key()],
            lambda: ["GETDEL", key()],
            lambda: ["GETRANGE", key(), number(), number()],
            lambda: ["APPEND", key(), text()],
            lambda: ["SETRANGE", key(), rng.randrange(200_000), text()],
            lambda: ["SETBIT", key(), rng.randrange(2_000_000), 1],
            lambda: ["INCR", key()],
            lambda: ["STRLEN", key()],
            lambda: ["BITCOUNT", key()],
            lambda: ["COPY", key(), key(), "REPLACE"],
            lambda: ["RENAME", key(), key()],
            lambda: ["DEL", key()],
            lambda: ["OBJECT", "ENCODING", key()],
            lambda: ["RPUSH", key(), text(), text()],
            lambda: ["LRANGE", key(), 0, -1],
            lambda: ["HSET", key(), "f", text(), text(), text()],
            lambda: ["HGET", key(), "f"],
            lambda: ["PFADD", key(), text()],
            lambda: ["PFCOUNT", key()],
            lambda: ["ECHO", text()],
            lambda: ["EXPIRE", key(), 1000],
            lambda: ["PERSIST", key()],
            lambda: [text()[:100], text()],
        ]
    )()


def short(reply):
    """A reply in a form that can be printed."""
    kind, value = reply
    if isinstance(value, bytes) and len(value) > 100:
        return kind, value[:50] + b"..." + value[-50:], len(value), hash(value)
    return kind, [short(element) for element in value] if isinstance(value, list) else value


if __name__ == "__main__":
    sys.exit(main())
