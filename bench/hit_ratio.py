#!/usr/bin/env python3
"""Hit ratio of an eviction policy on a seeded Zipf stream, in basalt and in redis-server under the same maxmemory.

A cache client's loop: GET, and SET after a miss. Both servers see the same stream with the same maxmemory above what
they use when empty, and the same maxmemory-samples. Prints one line per policy and server.

    bench/hit_ratio.py --basalt PATH [--port 7310] [--redis-server redis-server]
"""

import argparse
import bisect
import random
import socket
import subprocess
import sys
import tempfile
import time

KEYS = 200_000
REQUESTS = 600_000
EXPONENT = 0.9
VALUE = b"v" * 100
MAXMEMORY = 8 * 1024 * 1024
BATCH = 200
# LRU stamps count seconds: the stream must last for several of them, or all keys are equally old.
SECONDS = 20


def request(*words: bytes) -> bytes:
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)


class Client:
    def __init__(self, port: int):
        deadline = time.time() + 10
        while True:
            try:
                self.socket = socket.create_connection(("127.0.0.1", port))
                break
            except ConnectionRefusedError:
                if time.time() > deadline:
                    raise
                time.sleep(0.05)
        self.replies = self.socket.makefile("rb")

    def pipeline(self, requests: list[bytes]) -> list[bytes | None]:
        self.socket.sendall(b"".join(requests))
        return [self.reply() for _ in requests]

    def reply(self) -> bytes | None:
        line = self.replies.readline()
        if line[:1] == b"-":
            raise RuntimeError(line.decode())
        if line[:1] != b"$":
            return line[1:-2]
        length = int(line[1:])
        return None if length < 0 else self.replies.read(length + 2)[:-2]

    def call(self, *words: str) -> bytes | None:
        return self.pipeline([request(*(word.encode() for word in words))])[0]


def stream(seed: int) -> list[bytes]:
    """Zipf-distributed keys, in the same order for everybody."""
    rng = random.Random(seed)
    total, sums = 0.0, []
    for rank in range(1, KEYS + 1):
        total += rank**-EXPONENT
        sums.append(total)
    return [b"key:%d" % bisect.bisect(sums, rng.random() * total) for _ in range(REQUESTS)]


def memory(client: Client, field: str) -> int:
    lines = client.call("INFO", "memory").decode().splitlines()
    return int(next(line.split(":")[1] for line in lines if line.startswith(field + ":")))


def hit_ratio(client: Client, policy: str, keys: list[bytes]) -> tuple[float, int]:
    client.call("FLUSHALL")
    while memory(client, "lazyfree_pending_objects") > 0:
        time.sleep(0.01)
    client.call("CONFIG", "SET", "maxmemory-policy", policy)
    client.call("CONFIG", "SET", "maxmemory", str(memory(client, "used_memory") + MAXMEMORY))
    hits, counted, started = 0, 0, time.time()
    for start in range(0, len(keys), BATCH):
        batch = keys[start : start + BATCH]
        values = client.pipeline([request(b"GET", key) for key in batch])
        missed = {key for key, value in zip(batch, values) if value is None}
        # The expiry is far away; the volatile policies need one.
        client.pipeline([request(b"SET", key, VALUE, b"EX", b"100000") for key in sorted(missed)])
        if start >= len(keys) // 3:
            counted += len(batch)
            hits += sum(value is not None for value in values)
        ahead = started + SECONDS * (start / len(keys)) - time.time()
        if ahead > 0.01:
            time.sleep(ahead)
    items = int(client.call("DBSIZE"))
    client.call("CONFIG", "SET", "maxmemory", "0")
    return hits / counted, items


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--basalt", required=True)
    parser.add_argument("--redis-server", default="redis-server")
    parser.add_argument("--port", type=int, default=7310)
    policies = ["allkeys-lru", "allkeys-lfu", "volatile-lru", "allkeys-random"]
    parser.add_argument("--policies", nargs="+", default=policies)
    arguments = parser.parse_args()
    keys = stream(seed=1)
    worse = 0
    names = ("basalt", "redis-server")
    with tempfile.TemporaryDirectory() as directory:
        servers = []
        for number, binary in enumerate([arguments.basalt, arguments.redis_server]):
            port = arguments.port + number
            command = [binary, "--port", str(port), "--save", "", "--maxmemory-samples", "5", "--dir", directory]
            command += ["--mode", "cache"] if number == 0 else []
            servers.append((subprocess.Popen(command, stdout=subprocess.DEVNULL), port))
        try:
            for policy in arguments.policies:
                ours, theirs = (hit_ratio(Client(port), policy, keys) for _, port in servers)
                shown = (f"{name} {ratio:.4f} with {held} keys" for name, (ratio, held) in zip(names, (ours, theirs)))
                print(f"{policy:16} {', '.join(shown)}")
                sys.stdout.flush()
                worse += ours[0] < theirs[0]
        finally:
            for process, _ in servers:
                process.terminate()
                process.wait()
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main())
