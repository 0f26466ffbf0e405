#!/usr/bin/env python3
"""Differential test: the same random commands to redis-server and to the server under test.

Every reply must be equal (see `compare`), in RESP2 and in RESP3; at the end all keys are read and compared, and each
value is dumped on either side and restored on the other. A difference is shrunk to a short list of commands that shows
it. The same family, seed and number of commands give the same stream.

With --cold, the server under test drops all copies in memory every few commands (DEBUG RELOAD in durable mode), so that
nearly every command meets cold keys, in half of the streams as outlines whose parts are on disk. A value that was cold
has the encoding that fits it and the settings, as after a restart of Redis, so encodings are not compared then.
"""

import argparse
import concurrent.futures
import itertools
import random
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "harness"))

import compare
from compare import Comparer
from families import FAMILIES, RANDOM, templates
from grammar import Generator
from resp import Closed, Connection, quote, show
from server import REFERENCE, Server, binary_under_test
from steps import STEPS, Difference, final_state

BATCH = 100
BATCH_COLD = 5
SHRINK_TRIES = 400

# So that no process is left alone with one of them at the end.
LONGEST_FIRST = ["list", "hash"]

# Every stream starts from these; commands of the stream change them.
SETTINGS = """hash-max-listpack-entries 8 hash-max-listpack-value 64 zset-max-listpack-entries 8
    zset-max-listpack-value 64 set-max-intset-entries 8 list-max-listpack-size 16 hll-sparse-max-bytes 3000""".split()

# The share of commands that are made wrong on purpose.
SPOILT = 0.07


class Pair:
    """The two servers, and how to begin a stream on them."""

    def __init__(self, reference: tuple, ours: tuple, protocol: int, connection_class):
        self.addresses = (reference, ours)
        self.protocol = protocol
        self.connection_class = connection_class
        self.connections = ()

    def start(self) -> None:
        self.stop()
        reference, ours = self.addresses
        self.connections = Connection(*reference, self.protocol), self.connection_class(*ours, self.protocol)
        for connection in self.connections:
            connection.call("FLUSHALL")
            reply = connection.call("CONFIG", "SET", *SETTINGS)
            if reply != ("+", b"OK"):
                raise Difference([b"CONFIG", b"SET"], "(settings at the start)", show(reply))

    def stop(self) -> None:
        for connection in self.connections:
            connection.close()
        self.connections = ()

    def batch(self) -> int:
        """How many commands are sent at once."""
        return BATCH_COLD if self.connection_class is ColdConnection else BATCH


class ColdConnection(Connection):
    """A connection that has the server drop all copies in memory before whatever it sends."""

    def __init__(self, host: str, port: int, protocol: int):
        self.chiller = Connection(host, port)
        # With RESP2 every collection is in parts and read by parts, as large ones are; with RESP3 as usual.
        reply = self.chiller.call("DEBUG", "OUTLINE-ABOVE", "0" if protocol == 2 else "1024")
        if reply != ("+", b"OK"):
            raise Difference([b"DEBUG", b"OUTLINE-ABOVE"], "(not asked)", show(reply))
        super().__init__(host, port, protocol)

    def send(self, data: bytes) -> None:
        reply = self.chiller.call("DEBUG", "RELOAD")
        if reply != ("+", b"OK"):
            raise Difference([b"DEBUG", b"RELOAD"], "(not asked)", show(reply))
        super().send(data)

    def close(self) -> None:
        self.chiller.close()
        super().close()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--family", action="append", choices=sorted(FAMILIES), help="only these; may be repeated")
    parser.add_argument("--seed", type=int, default=1, help="first seed")
    parser.add_argument("--rounds", type=int, default=2, help="how many seeds per family and protocol")
    parser.add_argument("--commands", type=int, default=3000, help="length of a stream")
    parser.add_argument("--cold", action="store_true", help="let all keys be cold every few commands")
    parser.add_argument("--parallel", type=int, default=2, help="families at a time")
    parser.add_argument("--target", metavar="HOST:PORT", help="server under test, if it already runs; it is flushed")
    arguments = parser.parse_args()
    families = sorted(arguments.family or FAMILIES, key=lambda family: family not in LONGEST_FIRST)
    passed = failed = 0
    with concurrent.futures.ProcessPoolExecutor(1 if arguments.target else arguments.parallel) as pool:
        for family_passed, family_failed in pool.map(run_family, families, itertools.repeat(arguments)):
            passed += family_passed
            failed += family_failed
    print(f"differential: {passed} passed, {failed} failed, 0 skipped")
    return 1 if failed else 0


def run_family(family: str, arguments: argparse.Namespace) -> tuple:
    """All streams of a family, on servers of its own; returns how many passed and failed."""
    connect = Connection
    if arguments.cold:
        connect = ColdConnection
        for rule in (compare.encoding_of_cold_value, compare.zero_of_cold_score):
            if rule not in compare.SINCE_7_0:
                compare.SINCE_7_0.append(rule)
    started = time.monotonic()
    passed = failed = 0
    with Server(REFERENCE) as reference:
        ours = None if arguments.target else Server(binary_under_test())
        address = ("127.0.0.1", ours.port) if ours else split_address(arguments.target)
        try:
            for seed in range(arguments.seed, arguments.seed + arguments.rounds):
                for protocol in (2, 3):
                    report = run_stream(family, seed, arguments.commands, protocol, reference, address, connect)
                    failed += report is not None
                    passed += report is None
                    if report:
                        print(report, flush=True)
                    if ours and not ours.alive():
                        print(f"the server under test died:\n{ours.log.read_text(errors='replace')[-3000:]}")
                        ours.close()
                        ours = Server(binary_under_test())
                        address = ("127.0.0.1", ours.port)
        finally:
            if ours:
                ours.close()
    seconds = time.monotonic() - started
    size = f"{arguments.rounds * 2} streams of {arguments.commands}"
    print(f"{family:14}{size} {'DIFFERENT' if failed else 'ok'} {seconds:6.1f} s", flush=True)
    return passed, failed


def split_address(text: str) -> tuple:
    host, _, port = text.rpartition(":")
    return host or "127.0.0.1", int(port)


def run_stream(family, seed, length: int, protocol: int, reference: Server, address: tuple, connection_class):
    """Runs one stream; returns a report of the first difference, shrunk, or None."""
    pair = Pair(("127.0.0.1", reference.port), address, protocol, connection_class)
    commands = make_stream(family, seed, length)
    difference, at = play(pair, commands)
    if difference is None:
        return None
    few, difference = shrink(pair, commands[: at + 1], difference)
    pair.stop()
    lines = [f"\nDIFFERENCE in family {family}, seed {seed}, RESP{protocol}, command {at}; shrunk to:"]
    lines += ["  " + " ".join(quote(word) for word in words) for words in few[-30:]]
    lines.append(str(difference))
    cold = " --cold" if connection_class is ColdConnection else ""
    lines.append(f"again: --family {family} --seed {seed} --rounds 1 --commands {length}{cold}\n")
    return "\n".join(lines)


def make_stream(family: str, seed: int, length: int) -> list:
    rng = random.Random(f"{family}/{seed}")
    generator = Generator(rng)
    choices = templates(family)
    stream = []
    while len(stream) < length:
        words = generator.expand(rng.choice(choices))
        if words[0].upper().decode() in RANDOM:
            words = [b"@random", *words]
        if words[0][:1] != b"@":
            if rng.random() < SPOILT:
                words = generator.spoil(words)
            if rng.random() < 0.1:
                words = [words[0].lower(), *words[1:]]
            if words[0].upper() == b"SUBSCRIBE" and len(words) > 1:
                continue
        stream.append(words)
    return stream


def play(pair: Pair, commands: list) -> tuple:
    """Plays commands from a clean start: the first difference and its position, or (None, None)."""
    comparer = Comparer()
    position = 0
    try:
        pair.start()
        while position < len(commands):
            if commands[position][0][:1] == b"@":
                step = STEPS[commands[position][0]]
                step(*pair.connections, commands[position][1:])
                position += 1
                continue
            end = position
            while end < len(commands) and end - position < pair.batch() and commands[end][0][:1] != b"@":
                end += 1
            batch = commands[position:end]
            for connection in pair.connections:
                connection.send(b"".join(map(encode_command, batch)))
            for words in batch:
                replies = [connection.read() for connection in pair.connections]
                if not comparer.equal(words, *replies):
                    return Difference(words, show(replies[0]), show(replies[1])), position
                position += 1
        final_state(*pair.connections)
    except Difference as difference:
        return difference, min(position, len(commands) - 1)
    except (Closed, TimeoutError, ValueError) as error:
        words = commands[min(position, len(commands) - 1)]
        return Difference(words, "(a reply)", f"{type(error).__name__}: {error}"), min(position, len(commands) - 1)
    finally:
        pair.stop()
    return None, None


def encode_command(words: list) -> bytes:
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)


def shrink(pair: Pair, commands: list, difference) -> tuple:
    """Leaves out ever smaller pieces of the stream as long as a difference is left."""
    size = max(1, len(commands) // 2)
    tries = 0
    while tries < SHRINK_TRIES:
        start = 0
        removed = False
        while start < len(commands) and tries < SHRINK_TRIES:
            shorter = commands[:start] + commands[start + size :]
            tries += 1
            found, at = play(pair, shorter) if shorter else (None, None)
            if found is not None:
                commands, difference, removed = shorter[: at + 1], found, True
            else:
                start += size
        if size == 1 and not removed:
            break
        size = max(1, size // 2)
    return commands, difference


if __name__ == "__main__":
    sys.exit(main())
