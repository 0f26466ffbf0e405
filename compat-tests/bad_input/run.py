#!/usr/bin/env python3
"""Bad input: what broken, hostile and unlucky clients send.

Each case is sent to redis-server and to the server under test, on a connection whose sending side is then closed; the
answers must be the same to the byte, up to the end of the connection. Afterwards the server must be alive, must answer
others, and must not have taken more memory than a case is allowed.
"""

import argparse
import random
import socket
import sys
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "harness"))

from resp import encode
from server import REFERENCE, Server, binary_under_test

PATIENCE_SECONDS = 30
MEGABYTE = 1024 * 1024


@dataclass
class Case:
    """Bytes to send, under some settings, and how much memory they may cost."""

    name: str
    data: bytes
    settings: dict = field(default_factory=dict)
    memory_kb: int = 32 * 1024


PING = encode(["PING"])
PASSWORD = {"requirepass": "secret"}
SMALL_BUFFER = {"client-query-buffer-limit": "1mb"}

CASES = [
    Case("nothing", b""),
    Case("empty lines", b"\r\n\n\r\n\r\n" + PING),
    Case("inline commands", b"PING\r\nping\nSET a  b \r\nGET a\r\n"),
    Case("inline with quotes", b"SET \"a b\" 'c d'\r\nGET \"a b\"\r\nECHO \"\\x41\\n\"\r\nECHO 'it\\'s'\r\n"),
    Case("unbalanced quotes", b'ECHO "abc\r\n' + PING),
    Case("quotes and more", b'ECHO "abc"def\r\n' + PING),
    Case("zero bytes inline", b"\x00\x01\x02\r\n" + PING),
    Case("binary line", bytes(b for b in range(1, 256) if b not in b"\n\"'") + b"\r\n" + PING),
    Case("HTTP request", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" + PING),
    Case("HTTP post", b"POST / HTTP/1.1\r\nHost: localhost\r\n\r\n" + PING),
    Case("TLS hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100) + b"\r\n" + PING),
    Case("empty array", b"*0\r\n" + PING),
    Case("null array", b"*-1\r\n" + PING),
    Case("negative array", b"*-10\r\n" + PING),
    Case("array without length", b"*\r\n" + PING),
    Case("array of text length", b"*abc\r\n" + PING),
    Case("array length with a sign", b"*+1\r\n$4\r\nPING\r\n"),
    Case("array length with zeros", b"*01\r\n$4\r\nPING\r\n"),
    Case("array length with a space", b"* 1\r\n$4\r\nPING\r\n"),
    Case("array of INT_MAX", b"*2147483647\r\n$4\r\nPING\r\n"),
    Case("array of 2^31", b"*2147483648\r\n"),
    Case("array of 2^63", b"*9223372036854775808\r\n"),
    Case("endless array length", b"*" + b"1" * 70_000),
    Case("element is no string", b"*1\r\n+PING\r\n"),
    Case("element is a number", b"*2\r\n$4\r\nECHO\r\n:1\r\n"),
    Case("element is missing", b"*2\r\n$4\r\nECHO\r\n\r\n"),
    Case("null string", b"*1\r\n$-1\r\n"),
    Case("negative string", b"*2\r\n$4\r\nECHO\r\n$-10\r\nabc\r\n"),
    Case("string without length", b"*1\r\n$\r\n\r\n"),
    Case("string of text length", b"*1\r\n$abc\r\n\r\n"),
    Case("string length with a sign", b"*1\r\n$+4\r\nPING\r\n"),
    Case("string of 10 GB", b"*2\r\n$4\r\nECHO\r\n$10737418240\r\nabc\r\n"),
    Case("string of 512 MB and one", b"*2\r\n$4\r\nECHO\r\n$536870913\r\nabc\r\n"),
    Case("string of 512 MB that does not come", b"*2\r\n$4\r\nECHO\r\n$536870912\r\nabc"),
    Case("string of 2^63", b"*2\r\n$4\r\nECHO\r\n$9223372036854775808\r\nabc\r\n"),
    Case("endless string length", b"*1\r\n$" + b"1" * 70_000),
    Case("string without its end", b"*1\r\n$4\r\nPINGxx" + PING),
    Case("string longer than said", b"*1\r\n$2\r\nPING\r\n" + PING),
    Case("empty command name", b"*1\r\n$0\r\n\r\n" + PING),
    Case("command name of bytes", b"*1\r\n$4\r\n\x00\r\n\xff\r\n" + PING),
    Case("half a command", b"*2\r\n$4\r\nECHO\r\n$5\r\nab"),
    Case("half a header", b"*2\r\n$4\r\nECHO\r\n$"),
    Case("a string alone", b"$4\r\nPING\r\n" + PING),
    Case("a reply instead of a command", b"+OK\r\n:1\r\n-ERR no\r\n" + PING),
    Case("a million nested arrays", b"*1\r\n" * 1_000_000),
    Case("nested arrays inside a command", b"*2\r\n$4\r\nECHO\r\n" + b"*1\r\n" * 100_000),
    Case("huge inline", b"ECHO " + b"x" * 70_000, memory_kb=16 * 1024),
    Case("huge inline with its end", b"ECHO " + b"x" * 200_000 + b"\r\n" + PING),
    Case("inline just short enough", b"ECHO " + b"x" * 65_000 + b"\r\n" + PING),
    Case("ten thousand arguments", encode(["ECHO"] + ["x"] * 10_000) + PING),
    Case("a million arguments", encode(["DEL"] + ["key"] * 1_000_000) + PING, memory_kb=256 * 1024),
    Case("error after good commands", PING * 100 + b"*1\r\n$x\r\n" + PING * 100),
    Case("error in a transaction", encode(["MULTI"]) + encode(["SET", "k", "v"]) + b"*1\r\n!\r\n"),
    Case("unauthenticated: many arguments", encode(["PING"] * 11), PASSWORD),
    Case("unauthenticated: long argument", encode(["ECHO", "x" * 16_385]), PASSWORD),
    Case("unauthenticated: announced only", b"*2\r\n$4\r\nECHO\r\n$500000000\r\n", PASSWORD),
    Case("unauthenticated: commands", PING + encode(["AUTH", "wrong"]) + encode(["GET", "k"]), PASSWORD),
    Case("longer than the limit", encode(["ECHO", "x" * 2_000_001]) + PING, {"proto-max-bulk-len": "2000000"}),
    Case("query buffer limit", b"*2\r\n$4\r\nECHO\r\n$9000000\r\n" + b"x" * 5_000_000, SMALL_BUFFER),
    Case("command split in pieces of one byte", encode(["SET", "k", "v" * 100]) + encode(["GET", "k"])),
]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1, help="first seed of the random cases")
    parser.add_argument("--random", type=int, default=500, help="how many random cases")
    arguments = parser.parse_args()
    seeds = range(arguments.seed, arguments.seed + arguments.random)
    cases = CASES + [Case(f"random, seed {seed}", random_bytes(seed)) for seed in seeds]
    passed = failed = 0
    with Server(REFERENCE) as reference:
        ours = Server(binary_under_test())
        for action in [*(lambda case=case: compare(case, reference, ours) for case in cases), *SITUATIONS]:
            try:
                action() if action not in SITUATIONS else action(ours)
                passed += 1
            except AssertionError as problem:
                failed += 1
                print(f"bad input: {problem}")
            except Exception:
                failed += 1
                traceback.print_exc(file=sys.stdout)
            if not ours.alive():
                print(f"the server died:\n{ours.log.read_text(errors='replace')[-2000:]}")
                ours.close()
                ours = Server(binary_under_test())
        ours.close()
    print(f"bad-input: {passed} passed, {failed} failed, 0 skipped")
    return 1 if failed else 0


def compare(case: Case, reference: Server, ours: Server) -> None:
    answers = []
    pieces = 1 if case.name.endswith("pieces of one byte") else len(case.data) or 1
    for server in (reference, ours):
        server.forget_peak()
        before = server.memory_kb()
        with settings(server, case.settings):
            answers.append(exchange(server, case.data, pieces))
        grown = server.memory_kb("VmHWM") - before
        if server is ours:
            assert grown < case.memory_kb, f"{case.name}: {grown} kB more memory, {case.memory_kb} kB allowed"
            assert server.alive(), f"{case.name}: the server died"
            assert exchange(server, PING) == b"+PONG\r\n", f"{case.name}: others are not answered"
    if answers[0] != answers[1]:
        at = next((i for i, (a, b) in enumerate(zip(*answers)) if a != b), min(map(len, answers)))
        start = max(0, at - 40)
        expected, got = (answer[start : at + 200] for answer in answers)
        raise AssertionError(f"{case.name}: from byte {start}\n  redis-server: {expected!r}\n  ours:         {got!r}")


class settings:
    """Sets configuration for a while, by a connection that a password set meanwhile does not shut out."""

    def __init__(self, server: Server, values: dict):
        self.values = values
        self.connection = server.connect() if values else None

    def __enter__(self):
        self.old = {}
        for name, value in self.values.items():
            self.old[name] = self.connection.call("CONFIG", "GET", name)[1][1][1]
            assert self.connection.call("CONFIG", "SET", name, value) == ("+", b"OK"), name

    def __exit__(self, *_):
        for name, value in self.old.items():
            self.connection.call("CONFIG", "SET", name, value)
        if self.connection:
            self.connection.close()


def exchange(server: Server, data: bytes, piece: int = 1 << 30) -> bytes:
    """Sends bytes, closes the sending side, and returns all that comes until the server closes the connection."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_SECONDS) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            for start in range(0, len(data), piece):
                connection.sendall(data[start : start + piece])
            connection.shutdown(socket.SHUT_WR)
        except OSError:
            # The server has closed already; its answer is still to be read.
            pass
        answer = b""
        while True:
            try:
                received = connection.recv(1 << 16)
            except ConnectionResetError:
                return answer
            except TimeoutError as error:
                raise AssertionError(f"the connection stays open after {data[:100]!r}, {answer[-100:]!r}") from error
            if not received:
                return answer
            answer += received


def random_bytes(seed: int) -> bytes:
    """A pipeline of valid commands with a few bytes changed, removed, repeated or inserted."""
    rng = random.Random(seed)
    value = "v" * rng.randrange(50)
    commands = [["PING"], ["SET", "k", value], ["GET", "k"], ["ECHO", "text"], ["DEL", "k"], ["INCR", "n"]]
    data = bytearray(b"".join(encode(rng.choice(commands)) for _ in range(rng.randint(1, 12))))
    for _ in range(rng.randint(1, 6)):
        at = rng.randrange(len(data))
        way = rng.randrange(4)
        if way == 0:
            data[at] = rng.randrange(256)
        elif way == 1:
            del data[at : at + rng.randint(1, 8)]
        elif way == 2:
            data[at:at] = data[at : at + rng.randint(1, 30)]
        else:
            data[at:at] = rng.choice([b"\r\n", b"*", b"$", b"-", b"\x00", b"9" * 5, b"*2\r\n", b"$3\r\n", b'"', b"\n"])
        if not data:
            break
    return bytes(data)


# ---- situations that take more than one exchange --------------------------------------------------------------------


def many_announcements(server: Server) -> None:
    """A hundred clients announce 500 MB each and send next to nothing of it."""
    server.forget_peak()
    before = server.memory_kb()
    crowd = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(100)]
    for connection in crowd:
        connection.sendall(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$500000000\r\n" + b"x" * 1000)
    assert exchange(server, PING) == b"+PONG\r\n"
    grown = server.memory_kb("VmHWM") - before
    for connection in crowd:
        connection.close()
    assert grown < 128 * 1024, f"announced strings take {grown} kB"


def blocked_client_goes_away(server: Server) -> None:
    """A client that waits for an element closes its connection: it must not get the next one."""
    control = server.connect()
    waiting = server.connect()
    waiting.send(encode(["BLPOP", "queue", "0"]))
    wait_until(lambda: b"blocked_clients:1" in control.call("INFO", "clients")[1])
    waiting.close()
    wait_until(lambda: b"blocked_clients:0" in control.call("INFO", "clients")[1])
    assert control.call("RPUSH", "queue", "x") == (":", 1)
    assert control.call("LRANGE", "queue", "0", "-1") == ("*", [("$", b"x")])
    control.call("DEL", "queue")
    control.close()


def who_waits_is_answered_in_order(server: Server) -> None:
    """What comes later, and by itself, behind a command that waits is answered behind it."""
    connection, other = server.connect(), server.connect()
    connection.send(encode(["BLPOP", "queue", "0"]))
    wait_until(lambda: b"blocked_clients:1" in other.call("INFO", "clients")[1])
    connection.send(encode(["PING"]))
    wait_until(lambda: b"qbuf=14" in other.call("CLIENT", "LIST")[1])
    assert other.call("RPUSH", "queue", "x") == (":", 1)
    assert connection.read() == ("*", [("$", b"queue"), ("$", b"x")])
    assert connection.read() == ("+", b"PONG")
    connection.close()
    other.close()


def reader_that_does_not_read(server: Server) -> None:
    """Replies pile up for a client that does not read them: at the limit it is cut off, and its memory comes back."""
    control = server.connect()
    control.call("CONFIG", "SET", "client-output-buffer-limit", "normal 4mb 0 0")
    control.call("SET", "big", "x" * MEGABYTE)
    server.forget_peak()
    before = server.memory_kb()
    lazy = socket.create_connection(("127.0.0.1", server.port))
    lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    lazy.sendall(encode(["CLIENT", "SETNAME", "lazy"]) + encode(["GET", "big"]) * 200)
    wait_until(lambda: b"name=lazy" not in control.call("CLIENT", "LIST")[1])
    grown = server.memory_kb("VmHWM") - before
    lazy.close()
    control.call("CONFIG", "SET", "client-output-buffer-limit", "normal 0 0 0")
    control.call("DEL", "big")
    control.close()
    assert grown < 64 * 1024, f"a reader that does not read takes {grown} kB"


def more_clients_than_allowed(server: Server) -> None:
    """Beyond maxclients one is told so and closed; when others leave there is room again."""
    control = server.connect()
    control.call("CONFIG", "SET", "maxclients", "20")
    crowd = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(30)]
    refused = []
    for connection in crowd:
        connection.settimeout(PATIENCE_SECONDS)
        try:
            connection.sendall(PING)
            refused.append(connection.recv(100))
        except ConnectionResetError:
            refused.append(b"")
    assert refused.count(b"+PONG\r\n") == 19, refused
    told = b"-ERR max number of clients reached\r\n"
    assert all(answer in (told, b"") for answer in refused if answer != b"+PONG\r\n"), refused
    assert told in refused, refused
    for connection in crowd:
        connection.close()
    wait_until(lambda: b"connected_clients:1\r" in control.call("INFO", "clients")[1])
    assert exchange(server, PING) == b"+PONG\r\n"
    control.call("CONFIG", "SET", "maxclients", "10000")
    control.close()


def idle_clients_are_closed(server: Server) -> None:
    """With `timeout`, a connection that says nothing is closed, even one in the middle of a command."""
    control = server.connect()
    control.call("CONFIG", "SET", "timeout", "1")
    idle = socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_SECONDS)
    idle.sendall(b"*2\r\n$4\r\nECHO\r\n$5\r\nab")
    assert idle.recv(100) == b"", "an idle connection is closed"
    idle.close()
    # The control connection may have been closed for the same reason.
    control.close()
    server.connect().call("CONFIG", "SET", "timeout", "0")


def connections_come_and_go(server: Server) -> None:
    """Two thousand connections that leave in the middle of a command leave nothing behind."""
    control = server.connect()
    server.forget_peak()
    before = server.memory_kb()
    for number in range(2_000):
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            connection.sendall((PING + b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$100000\r\nxxx")[: number % 45])
    wait_until(lambda: b"connected_clients:1\r" in control.call("INFO", "clients")[1])
    grown = server.memory_kb() - before
    control.close()
    assert grown < 32 * 1024, f"connections left {grown} kB behind"


def wait_until(condition) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"


SITUATIONS = [
    many_announcements, blocked_client_goes_away, who_waits_is_answered_in_order, reader_that_does_not_read,
    more_clients_than_allowed, idle_clients_are_closed, connections_come_and_go,
]


if __name__ == "__main__":
    sys.exit(main())
