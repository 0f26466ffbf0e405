#!/usr/bin/env python3
"""A cluster of one node: the same commands to redis-server and to the server under test, with equal replies.

Both run with `cluster-enabled yes`. Names of nodes and shards and ports are theirs, so they are replaced by words
before replies are compared. `BASALT_BIN=$(command -v redis-server)` compares redis-server with itself.
"""

import re
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "harness"))

from resp import Closed, Connection, encode, show
from server import REFERENCE, Server, binary_under_test, node_port

# Of the server under test.
MODE = sys.argv[1] if len(sys.argv) > 1 else "durable"

OTHER = "0123456789abcdef0123456789abcdef01234567"
PATIENCE = 15.0

# Each line is a command. `state ok` waits until the cluster is up, `b>` and `c>` are other connections, `b!` sends
# without waiting for the reply, which `b<` reads, `3>` is a connection that speaks RESP3.
STEPS = """
CLUSTER MYID
CLUSTER NODES
CLUSTER SLOTS
CLUSTER SHARDS
CLUSTER LINKS
CLUSTER
CLUSTER FOO
CLUSTER KEYSLOT
CLUSTER KEYSLOT a b
CLUSTER KEYSLOT {user1000}.following
CLUSTER KEYSLOT foo{}{bar}
CLUSTER COUNTKEYSINSLOT x
CLUSTER COUNTKEYSINSLOT 16384
CLUSTER COUNTKEYSINSLOT -1
CLUSTER GETKEYSINSLOT 1 -1
CLUSTER GETKEYSINSLOT 16384 1
CLUSTER GETKEYSINSLOT x 1
CLUSTER GETKEYSINSLOT 1 x
INFO cluster
SELECT 0
SELECT 1
SELECT 99
SELECT x
SWAPDB 0 1
SWAPDB x y
MOVE a 1
COPY {a}a {a}b DB 1
GET a
SET a 1
MGET a b
EVAL
PING
DBSIZE
FLUSHALL
KEYS *
SPUBLISH a b
SSUBSCRIBE a
WATCH a b
READONLY
READWRITE
ASKING
READONLY x
CLUSTER ADDSLOTS 0 0
CLUSTER ADDSLOTS 16384
CLUSTER ADDSLOTS x
CLUSTER ADDSLOTS 1 -1
CLUSTER ADDSLOTSRANGE 5 1
CLUSTER ADDSLOTSRANGE 5
CLUSTER ADDSLOTSRANGE 1 2 3
CLUSTER ADDSLOTSRANGE 1 5 5 6
CLUSTER ADDSLOTSRANGE 1 16384
CLUSTER DELSLOTS 0
CLUSTER DELSLOTSRANGE 0 5
CLUSTER SETSLOT 1 STABLE
CLUSTER SETSLOT 1 MIGRATING abc
CLUSTER SETSLOT 1 IMPORTING abc
CLUSTER SETSLOT 1 NODE abc
CLUSTER SETSLOT 1 NODE $OTHER
CLUSTER SETSLOT 1 IMPORTING $OTHER
CLUSTER ADDSLOTSRANGE 0 100 200 16383
CLUSTER ADDSLOTS 1
CLUSTER ADDSLOTSRANGE 101 300
CLUSTER NODES
CLUSTER SLOTS
CLUSTER SHARDS
GET a
MGET a b
CLUSTER SETSLOT 1 MIGRATING abc
CLUSTER SETSLOT 1 MIGRATING $OTHER
CLUSTER SETSLOT 1 IMPORTING abc
CLUSTER SETSLOT 150 MIGRATING abc
CLUSTER SETSLOT 150 IMPORTING abc
CLUSTER SETSLOT 1 FOO abc
CLUSTER SETSLOT 1 STABLE
CLUSTER SETSLOT 1 STABLE x
CLUSTER SETSLOT x STABLE
CLUSTER SETSLOT 16384 STABLE
CLUSTER SETSLOT 1
CLUSTER SETSLOT 1 NODE $ME
CLUSTER SET-CONFIG-EPOCH -5
CLUSTER SET-CONFIG-EPOCH x
CLUSTER BUMPEPOCH
CLUSTER BUMPEPOCH
CLUSTER SET-CONFIG-EPOCH 5
CLUSTER REPLICATE abc
CLUSTER REPLICATE $OTHER
CLUSTER REPLICATE $ME
CLUSTER REPLICAS abc
CLUSTER REPLICAS $ME
CLUSTER SLAVES $OTHER
CLUSTER SLAVES $ME
CLUSTER FORGET abc
CLUSTER FORGET $OTHER
CLUSTER FORGET $ME
CLUSTER FAILOVER
CLUSTER FAILOVER FORCE
CLUSTER FAILOVER FOO
CLUSTER RESET FOO
CLUSTER MEET a b
CLUSTER MEET localhost 1
CLUSTER MEET 127.0.0.1 0
CLUSTER MEET 127.0.0.1 70000
CLUSTER MEET 127.0.0.1 60000
CLUSTER MEET 127.0.0.1 4294967295
CLUSTER MEET 127.0.0.1 1 x
CLUSTER MEET 127.0.0.1 1 70000
CLUSTER MEET 127.0.0.1
CLUSTER COUNT-FAILURE-REPORTS abc
CLUSTER COUNT-FAILURE-REPORTS $ME
CLUSTER SAVECONFIG
CLUSTER SAVECONFIG x
CLUSTER DELSLOTS 1 1
CLUSTER DELSLOTS 101
CLUSTER DELSLOTSRANGE 0 9 5 6
CLUSTER ADDSLOTSRANGE 101 199
state ok
CLUSTER INFO
3> CLUSTER INFO
3> CLUSTER NODES
3> CLUSTER SLOTS
3> CLUSTER SHARDS
3> HELLO
SET a 1
GET a
MGET a b
MGET {x}a {x}b
MSET a 1 b 2
DEL a b
EXISTS {a}1 {a}2
SET {a}1 x
COPY {a}1 {a}2
COPY {a}1 {a}2 DB 0
COPY {a}1 {a}2 DB 1
COPY {a}1 {a}2 DB 99
COPY {a}1 b
MOVE a 1
MOVE a 0
RENAME a b
CLUSTER COUNTKEYSINSLOT 15495
CLUSTER GETKEYSINSLOT 15495 0
CLUSTER GETKEYSINSLOT 15496 10
WATCH a b
WATCH {a}1 {a}2
UNWATCH
MULTI
SET a 1
SET b 1
EXEC
MULTI
MGET a b
EXEC
MULTI
SET a 1
GET a
EXEC
MULTI
SELECT 1
SELECT 0
EXEC
MULTI
SWAPDB 0 1
EXEC
MULTI
CLUSTER SETSLOT 1 MIGRATING abc
CLUSTER COUNTKEYSINSLOT 15495
CLUSTER SAVECONFIG
CLUSTER SETSLOT 1
SET a 2
EXEC
MULTI
CLUSTER MYID
CLUSTER SETSLOT 1 STABLE
CLUSTER KEYSLOT a
EXEC
CLUSTER FLUSHSLOTS
CLUSTER RESET
CLUSTER RESET HARD
SSUBSCRIBE a b
SPUBLISH a b
b> SSUBSCRIBE a
SPUBLISH a hello
b<
INFO keyspace
ASKING
GET a
READONLY
GET a
READWRITE
RESET
GETRANGE a
BLPOP
b> SUNSUBSCRIBE a
b! BLPOP list list2 0
b<
b! BLPOP list 0
c! BLPOP {list}x 0
d> SSUBSCRIBE list{list}
CLUSTER KEYSLOT list
CLUSTER DELSLOTS 12291
b<
c<
d<
state fail
GET list
GET a
b> BLPOP list 0
b> BLPOP other 0
CONFIG SET cluster-allow-reads-when-down yes
GET a
SET a 1
GET list
MULTI
GET a
EXEC
MULTI
SET a 1
EXEC
CONFIG SET cluster-allow-reads-when-down no
SPUBLISH a b
CONFIG SET cluster-allow-pubsubshard-when-down no
SPUBLISH a b
CONFIG SET cluster-allow-pubsubshard-when-down yes
CONFIG SET cluster-require-full-coverage no
state ok
GET a
GET list
MULTI
GET list
EXEC
CONFIG SET cluster-require-full-coverage yes
CLUSTER ADDSLOTS 12291
state ok
FLUSHALL
CONFIG SET cluster-announce-ip 10.0.0.1
CLUSTER SLOTS
CLUSTER NODES
CONFIG SET cluster-preferred-endpoint-type hostname
CLUSTER SLOTS
CONFIG SET cluster-announce-hostname a_b
CONFIG SET cluster-announce-hostname foo.bar
CLUSTER SLOTS
3> CLUSTER SLOTS
CLUSTER NODES
CLUSTER SHARDS
CONFIG SET cluster-preferred-endpoint-type unknown-endpoint
CLUSTER SLOTS
3> CLUSTER SLOTS
CLUSTER SHARDS
3> CLUSTER SHARDS
CONFIG SET cluster-preferred-endpoint-type foo
CONFIG SET cluster-enabled no
CONFIG SET cluster-announce-port 77
CONFIG SET cluster-announce-bus-port 78
CLUSTER NODES
CLUSTER SLOTS
CONFIG SET cluster-announce-port 0
CONFIG SET cluster-announce-bus-port 0
CONFIG SET cluster-announce-hostname ""
CONFIG SET cluster-preferred-endpoint-type ip
CLUSTER NODES
CLUSTER FLUSHSLOTS
CLUSTER NODES
CLUSTER ADDSLOTSRANGE 0 16383
CLUSTER RESET
CLUSTER NODES
CLUSTER RESET HARD
CLUSTER NODES
CLUSTER SET-CONFIG-EPOCH 5
CLUSTER NODES
CLUSTER ADDSLOTSRANGE 0 16383
f> MULTI
f> CLUSTER DELSLOTS 5
f> CLUSTER ADDSLOTS 5
f> CLUSTER SETSLOT 5 STABLE
f> CLUSTER BUMPEPOCH
f> EXEC
CLUSTER SLOTS
"""

# Where the replies differ, and why.
MEANT = {
    "CLUSTER INFO": "messages between nodes are counted otherwise",
    "3> CLUSTER INFO": "messages between nodes are counted otherwise",
    "3> HELLO": "Basalt tells its own version besides",
    "f> EXEC": "the slot gets a new epoch, whoever had it",
    "EVAL": "scripts are not supported yet",
}


class Side:
    """One of the two servers, with its connections."""

    def __init__(self, server: Server):
        self.server = server
        self.connections: dict[str, Connection] = {}
        self.me = self.connection("").call("CLUSTER", "MYID")[1].decode()

    def connection(self, name: str) -> Connection:
        if name not in self.connections:
            self.connections[name] = self.server.connect(3 if name == "3" else 2)
        return self.connections[name]

    def step(self, name: str, action: str, words: list[str]) -> str:
        words = [{"$ME": self.me, "$OTHER": OTHER, '""': ""}.get(word, word) for word in words]
        connection = self.connection(name)
        try:
            if action == "<":
                return self.plain(show(connection.read()))
            if action == "!":
                connection.send(encode(words))
                self.wait_until_blocked()
                return ""
            reply = self.plain(show(connection.call(*words)))
        except Closed:
            del self.connections[name]
            return "(closed)"
        if words[:2] == ["CLUSTER", "RESET"]:
            self.me = self.connection("").call("CLUSTER", "MYID")[1].decode()
        return reply

    def wait_until_blocked(self) -> None:
        """Until everything that was sent is being waited for or answered: a later command must not overtake it."""
        control = self.connection("control")
        deadline = time.monotonic() + 0.2
        while time.monotonic() < deadline and b"blocked_clients:0\r" in control.call("INFO", "clients")[1]:
            time.sleep(0.01)

    def wait_for_state(self, state: str) -> None:
        wanted = f"cluster_state:{state}\r\n".encode()
        deadline = time.monotonic() + PATIENCE
        while not self.connection("control").call("CLUSTER", "INFO")[1].startswith(wanted):
            if time.monotonic() > deadline:
                sys.exit(f"{self.server.process.args[0]}: the state does not become {state}")
            time.sleep(0.02)

    def plain(self, text: str) -> str:
        """The reply without what is this server's own."""
        port = self.server.port
        text = text.replace(self.me, "ME").replace(f"{port}@{port + 10000}", "PORT@BUS").replace(str(port), "PORT")
        # redis-server does not know its own address before another node has told it.
        text = text.replace("127.0.0.1", "")
        return re.sub(r"\b[0-9a-f]{40}\b", lambda match: "OTHER" if match[0] == OTHER else "ID", text)


def parse(line: str) -> tuple[str, str, list[str]]:
    match = re.match(r"^([a-z0-9])([>!<])\s*(.*)$", line)
    return (match[1], match[2], match[3].split()) if match else ("", ">", line.split())


def start(binary: str) -> Server:
    options = ["--cluster-enabled", "yes"]
    if "redis-server" not in binary:
        options += ["--mode", MODE]
    return Server(binary, *options, port=node_port())


def main() -> None:
    passed, failed = 0, []
    with start(REFERENCE) as reference, start(binary_under_test()) as tested:
        sides = [Side(reference), Side(tested)]
        for line in STEPS.strip().splitlines():
            if line.startswith("state "):
                for side in sides:
                    side.wait_for_state(line.split()[1])
                continue
            expected, got = (side.step(*parse(line)) for side in sides)
            if expected == got or line in MEANT:
                passed += 1
                continue
            failed.append(line)
            print(f"> {line}\nredis-server: {expected}\nserver under test: {got}\n")
    print(f"one-node: {passed} passed, {len(failed)} failed, 0 skipped")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
