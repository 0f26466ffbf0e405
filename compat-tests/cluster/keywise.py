#!/usr/bin/env python3
"""Slots that move key by key, as the stock redis-cli moves them, and MIGRATE between servers of all kinds.

While slots move, clients count and write, and know what was acknowledged: none of that may be lost, and nothing that
was deleted may come back.
"""

import random
import subprocess
import sys
import threading
import time

from load import Load, surely
from nodes import HOST, Client, ClusterNode, Nodes, is_settled, run_with_binary, until
from resp import Closed, Connection, show
from server import REFERENCE, Server
from three_nodes import cli

# Slots that are moved, counted from 0, and names in them.
SLOTS = 60


def slot_of(key: str) -> int:
    crc = 0
    for byte in key.encode():
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1 ^ 0x1021 if crc & 0x8000 else crc << 1) & 0xFFFF
    return crc & 16383


def tags(first: int, count: int) -> list:
    """For each of these slots a word that lies in it."""
    found: dict = {}
    number = 0
    while len(found) < count:
        word = f"t{number}"
        number += 1
        if first <= slot_of(word) < first + count:
            found.setdefault(slot_of(word), word)
    return [found[slot] for slot in sorted(found)]


class Registers(Load):
    """Writes, deletes and reads; each key has one client, who knows what it can be."""

    def __init__(self, ports: list, names: list):
        super().__init__(ports, names)
        self.random = random.Random(1)
        self.possible = {name: {None} for name in names}
        self.operations = 0

    def count(self, client: Client, name: str) -> None:
        self.operations += 1
        what = self.random.random()
        value = b"%d" % self.operations
        try:
            if what < 0.4:
                self.write(client, name, value, "SET", name, value)
            elif what < 0.6:
                self.write(client, name, None, "DEL", name)
            else:
                self.read(client, name)
        except Closed:
            pass

    def write(self, client: Client, name: str, value, *words) -> None:
        try:
            kind, answer = client.call(*words)
        except Closed:
            self.possible[name].add(value)
            raise
        assert kind in "+:", (words, answer)
        self.possible[name] = {value}

    def read(self, client: Client, name: str) -> None:
        kind, value = client.call("GET", name)
        assert kind == "$" and value in self.possible[name], (name, kind, value, self.possible[name])
        self.possible[name] = {value}

    def check(self, client: Client) -> int:
        for name in self.possible:
            kind, value = surely(client, "GET", name)
            assert kind == "$" and value in self.possible[name], (name, kind, value, self.possible[name])
        return self.operations


def fill(client: Client, words: list) -> None:
    """Keys of all types, some with a time to live."""
    for word in words:
        for number in range(6):
            surely(client, "SET", f"{{{word}}}s{number}", f"{word} {number}")
        surely(client, "PEXPIRE", f"{{{word}}}s0", "10000000")
        surely(client, "SET", f"{{{word}}}due", "1", "PX", "1500")
        for command, kind, values in (
            ("RPUSH", "list", ["a", "b", "c"]),
            ("SADD", "set", ["a", "b", "c"]),
            ("HSET", "hash", ["a", "1", "b", "2"]),
            ("ZADD", "zset", ["1", "a", "2", "b"]),
        ):
            surely(client, "DEL", f"{{{word}}}{kind}")
            surely(client, command, f"{{{word}}}{kind}", *values)


def check_filled(client: Client, words: list) -> None:
    for word in words:
        for number in range(6):
            value = surely(client, "GET", f"{{{word}}}s{number}")
            assert value == ("$", f"{word} {number}".encode()), (word, number, value)
        assert 9000000 < surely(client, "PTTL", f"{{{word}}}s0")[1] <= 10000000
        assert surely(client, "PTTL", f"{{{word}}}s1") == (":", -1)
        assert surely(client, "GET", f"{{{word}}}due") == ("$", None)
        assert surely(client, "LRANGE", f"{{{word}}}list", "0", "-1")[1] == [("$", b"a"), ("$", b"b"), ("$", b"c")]
        assert surely(client, "SCARD", f"{{{word}}}set") == (":", 3)
        assert surely(client, "HGET", f"{{{word}}}hash", "b") == ("$", b"2")
        assert surely(client, "ZSCORE", f"{{{word}}}zset", "b") == ("$", b"2")


def place(node: ClusterNode) -> str:
    return f"{HOST}:{node.port}"


def has(node: ClusterNode, slot: int) -> bool:
    """Whether a node says that a slot is its own."""
    ranges = [shown.partition("-") for shown in node.nodes()[node.port][1] if not shown.startswith("[")]
    return any(int(first) <= slot <= int(last or first) for first, _, last in ranges)


def owner_of(nodes: Nodes, slot: int) -> ClusterNode:
    """The node that serves a slot: the old owner may hear that it has gone before the new one does."""
    owners: list = []

    def is_known() -> bool:
        owners[:] = [node for node in nodes.all if has(node, slot)]
        return len(owners) == 1

    until(f"slot {slot} is somebody's", is_known)
    return owners[0]


def reshard(nodes: Nodes, source: ClusterNode, target: ClusterNode, slots: int = SLOTS) -> list:
    return [
        "redis-cli", "--cluster", "reshard", place(nodes.all[0]), "--cluster-from", source.name(), "--cluster-to",
        target.name(), "--cluster-slots", str(slots), "--cluster-yes",
    ]


def fix(nodes: Nodes, node: ClusterNode) -> None:
    """Until there is nothing to mend: leaders may still change."""

    def is_mended() -> bool:
        done = subprocess.run(
            ["redis-cli", "--cluster", "fix", place(node)], input="yes\n" * 20, capture_output=True, text=True,
            timeout=120,
        )
        checked = subprocess.run(
            ["redis-cli", "--cluster", "check", place(node)], capture_output=True, text=True, timeout=60
        )
        shown = "".join(one.text("CLUSTER", "NODES") for one in nodes.all)
        is_closed = "->-" not in shown and "-<-" not in shown
        if checked.returncode != 0 or not is_closed:
            print("     not yet:", (done.stdout + done.stderr)[-1000:])
        return checked.returncode == 0 and is_closed

    until("the cluster is mended", is_mended)


# What redis-cli has moved is to stay where it is.
CALM = ["--cluster-auto-balance", "no"]


def settled_cluster(nodes: Nodes) -> list:
    """Three nodes with a third of the slots each, and all copies."""
    for _ in range(3):
        nodes.add(*CALM)
    cli("create", *map(place, nodes.all), "--cluster-yes")
    until("all agree", nodes.agree)
    until("there are copies", lambda: is_settled(nodes))
    return [node.port for node in nodes.all]


# What is asked of a source, with the port of the target for PORT, and of the target (`t>`). redis-server sends a key
# even if it was refused before, by a password or a database; we do not.
STEPS = """
MIGRATE a b
MIGRATE 127.0.0.1 1 k 0 100
MIGRATE 127.0.0.1 PORT k 0 x
MIGRATE 127.0.0.1 PORT k x 100
SET k v
MIGRATE 127.0.0.1 1 k 0 100
MIGRATE no.such.host.invalid 1 k 0 100
MIGRATE 127.0.0.1 abc k 0 100
MIGRATE 127.0.0.1 PORT k 99 100
MIGRATE 127.0.0.1 PORT k 0 100 FOO
MIGRATE 127.0.0.1 PORT k 0 100 AUTH
MIGRATE 127.0.0.1 PORT k 0 100 AUTH2 u
MIGRATE 127.0.0.1 PORT k 0 100 AUTH2 u p
MIGRATE 127.0.0.1 PORT k 0 100 KEYS a b
MIGRATE 127.0.0.1 PORT "" 0 100 KEYS
MIGRATE 127.0.0.1 PORT "" 0 100
MIGRATE 127.0.0.1 PORT "" 0 100 KEYS a b
GET k
t> FLUSHALL
MIGRATE 127.0.0.1 PORT k 0 5000 COPY
GET k
t> GET k
MIGRATE 127.0.0.1 PORT k 0 5000 COPY
MIGRATE 127.0.0.1 PORT k 0 5000
GET k
SET k w
MIGRATE 127.0.0.1 PORT k 0 5000 COPY REPLACE
t> GET k
SET other x
MIGRATE 127.0.0.1 PORT "" 0 5000 KEYS k other nokey
GET k
GET other
t> GET other
MIGRATE 127.0.0.1 PORT k 0 0 REPLACE
GET k
SET k 1
MIGRATE 127.0.0.1 PORT k 3 5000
t> SELECT 3
t> GET k
t> SELECT 0
SET timed 1 PX 100000
MIGRATE 127.0.0.1 PORT timed 0 5000
SET gone 1 PX 1
wait
MIGRATE 127.0.0.1 PORT gone 0 5000
RPUSH list a b c
SADD set 1 2 3
SADD names a b c
HSET hash f 1 g 2
ZADD zset 1.5 a 2 b
XSETRANGE
MIGRATE 127.0.0.1 PORT "" 0 5000 KEYS list set names hash zset
DBSIZE
t> LRANGE list 0 -1
t> SCARD set
t> SCARD names
t> HGETALL hash
t> ZRANGE zset 0 -1 WITHSCORES
t> CONFIG SET requirepass secret
SET k 2
MIGRATE 127.0.0.1 PORT k 0 5000 REPLACE AUTH wrong
MIGRATE 127.0.0.1 PORT k 0 5000 REPLACE AUTH secret
GET k
SET k 3
MIGRATE 127.0.0.1 PORT k 0 5000 REPLACE AUTH2 default secret
t> GET k
COMMAND GETKEYS MIGRATE h 1 k 0 100
COMMAND GETKEYS MIGRATE h 1 "" 0 100 KEYS a b
COMMAND GETKEYS MIGRATE h 1 k 0 100 KEYS a b
COMMAND GETKEYS MIGRATE h 1 "" 0 100 AUTH keys KEYS a
COMMAND GETKEYS RESTORE-ASKING a 0 x
RESTORE-ASKING a 0 x
"""


def play(source: Server, target: Server) -> list:
    here, there = source.connect(), target.connect()
    shown = []
    for line in STEPS.strip().splitlines():
        if line == "wait":
            until("it is due", lambda: here.call("TTL", "gone")[1] == -2)
            continue
        words = [word.replace('""', "").replace("PORT", str(target.port)) for word in line.split(" ")]
        connection = here
        if words[0] == "t>":
            connection, words = there, words[1:]
        shown.append(f"{line}: {show(connection.call(*words))}")
    there.call("CONFIG", "SET", "requirepass", "")
    ttl = there.call("PTTL", "timed")[1]
    assert 90000 < ttl <= 100000, ttl
    return shown


def migrate_goes_from_and_to_servers_of_all_kinds(binary: str) -> str:
    kinds = {"redis": (REFERENCE,), "durable": (binary, "--mode", "durable"), "cache": (binary, "--mode", "cache")}
    with Server(REFERENCE) as one, Server(REFERENCE) as two:
        expected = play(one, two)
    pairs = [("cache", "cache"), ("durable", "durable"), ("durable", "redis"), ("redis", "durable"), ("cache", "redis")]
    for names in pairs:
        with Server(*kinds[names[0]]) as source, Server(*kinds[names[1]]) as target:
            for known, line in zip(expected, play(source, target)):
                assert known == line, f"from {names[0]} to {names[1]}\n  redis-server: {known}\n  here:         {line}"
    return f"{len(expected)} replies for each of {len(pairs)} pairs"


def what_changes_on_its_way_is_not_lost(binary: str) -> str:
    """A key that is written to all the time goes over and comes back: every count is somewhere, and in one place."""
    rounds = 60
    with Server(binary, "--mode", "cache") as one, Server(binary, "--mode", "durable") as two:
        servers = [one, two]
        counted, there = 0, 0
        # Held while a write is under way, so that none is late for the place to which the key goes next.
        writing, is_over = threading.Lock(), threading.Event()

        def count() -> None:
            nonlocal counted
            connections = [server.connect() for server in servers]
            while not is_over.is_set():
                # While it is on its way it is written to where it comes from, and never made anew.
                with writing:
                    if connections[there].call("LPUSHX", "key", "x")[1] > 0:
                        counted += 1

        one.connect().call("RPUSH", "key", "first")
        writer = threading.Thread(target=count)
        writer.start()
        for number in range(rounds):
            source, target = servers[number % 2], servers[(number + 1) % 2]
            reply = source.connect().call("MIGRATE", HOST, target.port, "key", "0", "5000", "REPLACE")
            assert reply == ("+", b"OK"), reply
            with writing:
                there = (number + 1) % 2
        is_over.set()
        writer.join()
        lengths = [server.connect().call("LLEN", "key")[1] for server in servers]
    assert sorted(lengths) == [0, counted + 1], (lengths, counted)
    return f"{rounds} times, {counted} writes"


def clients_are_told_where_keys_are(binary: str) -> str:
    with Nodes(binary) as nodes:
        settled_cluster(nodes)
        word = tags(5, 1)[0]
        source, target = owner_of(nodes, 5), owner_of(nodes, 16000)
        third = next(node for node in nodes.all if node not in (source, target))
        one, two, other = f"{{{word}}}1", f"{{{word}}}2", f"{{{word}}}3"
        here, there = Connection(HOST, source.port), Connection(HOST, target.port)
        assert here.call("MSET", one, "1", two, "2")[1] == b"OK"
        blocked = Connection(HOST, source.port)
        blocked.send(f"BLPOP {{{word}}}list 0\r\n".encode())
        listener = Connection(HOST, source.port)
        assert listener.call("SSUBSCRIBE", word)[0] == "*"
        until("somebody waits", lambda: b"blocked_clients:1" in here.call("INFO", "clients")[1])
        assert there.call("CLUSTER", "SETSLOT", "5", "IMPORTING", source.name())[1] == b"OK"
        assert here.call("CLUSTER", "SETSLOT", "5", "MIGRATING", target.name())[1] == b"OK"
        assert f"[5->-{target.name()}]" in source.text("CLUSTER", "NODES")
        assert f"[5-<-{source.name()}]" in target.text("CLUSTER", "NODES")

        ask = f"ASK 5 {place(target)}".encode()
        moved = f"MOVED 5 {place(source)}".encode()
        assert here.call("GET", one) == ("$", b"1")
        assert here.call("SET", other, "3") == ("-", ask)
        assert there.call("GET", one) == ("-", moved)
        assert here.call("MIGRATE", HOST, target.port, one, "0", "5000") == ("+", b"OK")
        assert here.call("MIGRATE", HOST, target.port, one, "0", "5000") == ("+", b"NOKEY")
        assert here.call("GET", one) == ("-", ask)
        assert here.call("MGET", one, two)[1].startswith(b"TRYAGAIN")
        assert there.call("GET", one) == ("-", moved)
        assert there.call("ASKING")[1] == b"OK"
        assert there.call("GET", one) == ("$", b"1")
        assert there.call("GET", one) == ("-", moved)
        there.call("ASKING")
        assert there.call("MGET", one, two)[1].startswith(b"TRYAGAIN")
        there.call("ASKING")
        assert there.call("SET", other, "3") == ("+", b"OK")
        assert here.call("CLUSTER", "COUNTKEYSINSLOT", "5") == (":", 1)
        assert here.call("CLUSTER", "GETKEYSINSLOT", "5", "10") == ("*", [("$", two.encode())])
        assert there.call("CLUSTER", "COUNTKEYSINSLOT", "5") == (":", 2)
        # What lies about over there is not what clients see as long as the key is here.
        there.call("ASKING")
        assert there.call("SET", two, "false") == ("+", b"OK")
        kind, refused = here.call("CLUSTER", "SETSLOT", "5", "NODE", target.name())
        assert kind == "-" and b"while I still hold keys for this hash slot" in refused, refused
        assert here.call("GET", two) == ("$", b"2")
        assert here.call("MIGRATE", HOST, target.port, "", "0", "5000", "KEYS", one, two) == ("+", b"OK")
        for node in (target, source, third):
            assert node.call("CLUSTER", "SETSLOT", "5", "NODE", target.name()) == ("+", b"OK")
        moved = f"MOVED 5 {place(target)}".encode()
        assert here.call("GET", two) == ("-", moved)
        assert there.call("MGET", one, two, other) == ("*", [("$", b"1"), ("$", b"2"), ("$", b"3")])
        assert blocked.read() == ("-", moved)
        assert listener.read() == ("*", [("$", b"sunsubscribe"), ("$", word.encode()), (":", 0)])
        until("nothing is open", lambda: all("[" not in node.text("CLUSTER", "NODES") for node in nodes.all))
        cli("check", place(third))
    return "ASK, TRYAGAIN, MOVED"


def resharding_under_load_loses_nothing(binary: str) -> str:
    with Nodes(binary) as nodes:
        ports = settled_cluster(nodes)
        words = tags(0, SLOTS)
        client = Client(ports)
        fill(client, words)
        source, target = owner_of(nodes, 0), owner_of(nodes, 16000)
        counters, registers = Load(ports, [f"{{{word}}}c" for word in words[::3]]), Registers(ports, words)
        began = time.monotonic()
        with counters, registers:
            for one, other in ((source, target), (target, source)):
                # The lowest slots are moved first, so they come back.
                done = subprocess.run(reshard(nodes, one, other), capture_output=True, text=True, timeout=300)
                assert done.returncode == 0, done.stdout[-2000:] + done.stderr
                moved = owner_of(nodes, 0)
                assert moved is other, (moved.port, other.port)
                until("all agree", nodes.agree)
        took = time.monotonic() - began
        counted, written = counters.check(client), registers.check(client)
        check_filled(client, words)
        cli("check", place(source))
        gap = max(counters.gap, registers.gap)
    return f"{SLOTS} slots there and back in {took:.1f} s, {counted} counts, {written} operations, gap {gap:.2f} s"


def nodes_are_filled_and_emptied_by_redis_cli(binary: str) -> str:
    with Nodes(binary) as nodes:
        for _ in range(4):
            nodes.add(*CALM)
        places = [place(node) for node in nodes.all]
        cli("create", *places[:3], "--cluster-yes")
        until("all agree", lambda: all("cluster_state:ok" in node.text("CLUSTER", "INFO") for node in nodes.all[:3]))
        client = Client([node.port for node in nodes.all[:3]])
        words = tags(0, 20)
        fill(client, words)
        fourth = nodes.all[3]
        cli("add-node", places[3], places[0])
        until("all know it", lambda: all(len(node.nodes()) == 4 for node in nodes.all))
        weight = f"{fourth.name()}=0.01"
        names = [node.name() for node in nodes.all]
        with Load(client.ports, [f"{{{word}}}c" for word in words]) as load:
            cli("rebalance", places[1], "--cluster-use-empty-masters", "--cluster-weight", weight)
            filled = sum(span(shown) for shown in fourth.nodes()[fourth.port][1])
            assert 40 <= filled <= 70, filled
            weights = [f"{name}=1" for name in names[:3]] + [f"{names[3]}=0"]
            cli("rebalance", places[2], "--cluster-use-empty-masters", "--cluster-weight", *weights)
            assert fourth.nodes()[fourth.port][1] == []
        load.check(client)
        check_filled(client, words)
        cli("del-node", places[0], fourth.name())
        until("it is alone again", lambda: len(fourth.nodes()) == 1 and len(nodes.all[1].nodes()) == 3)
        cli("check", places[1])
    return f"{filled} slots to a fourth node and back"


def span(shown: str) -> int:
    first, _, last = shown.partition("-")
    return int(last or first) - int(first) + 1


def half_moved_slots_are_mended(binary: str) -> str:
    states = 0
    with Nodes(binary) as nodes:
        settled_cluster(nodes)
        client = Client([node.port for node in nodes.all])
        word = tags(609, 1)[0]
        keys = [f"{{{word}}}{number}" for number in range(5)]
        for begins, moves, ends in (
            (["migrating"], 0, []),
            (["importing"], 0, []),
            (["migrating", "importing"], 0, []),
            (["migrating", "importing"], 2, []),
            (["migrating", "importing"], 5, []),
            (["migrating", "importing"], 5, ["source"]),
            (["migrating", "importing"], 5, ["target"]),
        ):
            states += 1
            for key in keys:
                assert surely(client, "SET", key, f"{key} {states}")[1] == b"OK"
            source = owner_of(nodes, 609)
            target = next(node for node in nodes.all if node is not source)
            for begin in begins:
                node, other = (source, target) if begin == "migrating" else (target, source)
                assert node.call("CLUSTER", "SETSLOT", "609", begin, other.name())[1] == b"OK"
            if moves:
                reply = source.call("MIGRATE", HOST, target.port, "", "0", "10000", "KEYS", *keys[:moves])
                assert reply == ("+", b"OK"), reply
            for key in keys:
                assert surely(client, "GET", key) == ("$", f"{key} {states}".encode()), key
            for end in ends:
                node = source if end == "source" else target
                assert node.call("CLUSTER", "SETSLOT", "609", "NODE", target.name())[1] == b"OK"
            fix(nodes, source)
            for key in keys:
                assert surely(client, "GET", key) == ("$", f"{key} {states}".encode()), (states, key)
    return f"{states} states"


def what_a_redis_server_has_is_imported(binary: str) -> str:
    with Nodes(binary) as nodes, Server(REFERENCE) as old:
        ports = settled_cluster(nodes)
        there = old.connect()
        count = 300
        for number in range(count):
            there.call("SET", f"key:{number}", f"value {number}")
        there.call("SET", "timed", "1", "PX", "500000")
        there.call("RPUSH", "list", *map(str, range(500)))
        there.call("HSET", "hash", *[word for number in range(300) for word in (f"f{number}", "v" * 20)])
        there.call("ZADD", "zset", *[word for number in range(300) for word in (str(number), f"m{number}")])
        client = Client(ports)
        copied = cli("import", place(nodes.all[0]), "--cluster-from", f"{HOST}:{old.port}", "--cluster-copy")
        assert there.call("DBSIZE") == (":", count + 4), copied[-500:]
        cli("import", place(nodes.all[1]), "--cluster-from", f"{HOST}:{old.port}", "--cluster-replace")
        assert there.call("DBSIZE") == (":", 0)
        for number in range(count):
            assert surely(client, "GET", f"key:{number}") == ("$", f"value {number}".encode())
        assert 400000 < surely(client, "PTTL", "timed")[1] <= 500000
        assert surely(client, "LLEN", "list") == (":", 500)
        assert surely(client, "HLEN", "hash") == (":", 300)
        assert surely(client, "ZCARD", "zset") == (":", 300)
    return f"{count + 4} keys, as copies and then for good"


def a_fall_in_the_middle_is_mended(binary: str) -> str:
    """The source and the target are killed while slots move; what was left half done is finished by `fix`."""
    moved = []
    chance = random.Random(7)
    with Nodes(binary) as nodes:
        ports = settled_cluster(nodes)
        words = tags(0, SLOTS)
        client = Client(ports)
        fill(client, words)
        for victim_is_source in (True, False):
            until("all agree", nodes.agree)
            until("copies are complete", lambda: is_settled(nodes))
            source = owner_of(nodes, 0)
            target = next(node for node in nodes.all if node is not source)
            victim = source if victim_is_source else target
            counters = Load(ports, [f"{{{word}}}c" for word in words[::2]])
            for name in counters.acknowledged:
                surely(client, "DEL", name)
            with counters:
                run = subprocess.Popen(
                    reshard(nodes, source, target), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
                )
                until("some slots have moved", lambda: run.poll() is not None or has(target, 7))
                # Somewhere within a slot.
                time.sleep(chance.random() * 0.2)
                has_ended = run.poll() is not None
                victim.kill()
                out, _ = run.communicate(timeout=120)
                assert not has_ended and run.returncode != 0, out[-1000:]
                time.sleep(4)
                victim.start()
                until("the cluster is up", lambda: "cluster_state:ok" in victim.text("CLUSTER", "INFO"))
                until("the leaders are where they were", lambda: leads_its_own(nodes))
                fix(nodes, victim)
            counters.check(client)
            check_filled(client, words)
            moved.append(sum(1 for slot in range(SLOTS) if owner_of(nodes, slot) is target))
            # All of them go on together, so that the next round begins at slot 0.
            behind = owner_of(nodes, SLOTS - 1)
            if behind is not target:
                done = subprocess.run(
                    reshard(nodes, behind, target, SLOTS - moved[-1]), capture_output=True, text=True, timeout=300
                )
                assert done.returncode == 0, done.stdout[-2000:]
                check_filled(client, words)
    return f"{moved} of {SLOTS} slots had moved"


def an_open_slot_outlives_its_nodes(binary: str) -> str:
    """While a node is down another one leads its group: also the one that the keys go to, or come from."""
    waits = []
    with Nodes(binary) as nodes:
        ports = settled_cluster(nodes)
        word = tags(5, 1)[0]
        keys = [f"{{{word}}}{number}" for number in range(8)]
        client = Client(ports)
        for victim_is_source in (True, False, True, False):
            for key in keys:
                assert surely(client, "SET", key, "0") == ("+", b"OK")
            source = owner_of(nodes, 5)
            target = next(node for node in nodes.all if node is not source)
            assert target.call("CLUSTER", "SETSLOT", "5", "IMPORTING", source.name())[1] == b"OK"
            assert source.call("CLUSTER", "SETSLOT", "5", "MIGRATING", target.name())[1] == b"OK"
            moved = source.call("MIGRATE", HOST, target.port, "", "0", "5000", "KEYS", *keys[:4])
            assert moved == ("+", b"OK"), moved
            victim = source if victim_is_source else target
            alive = Client([node.port for node in nodes.all if node is not victim])
            victim.kill()
            began = time.monotonic()
            for key in keys:
                assert surely(alive, "GET", key) == ("$", b"0"), key
                assert surely(alive, "SET", key, "1") == ("+", b"OK"), key
            waits.append(time.monotonic() - began)
            victim.start()
            until("the leaders are where they were", lambda: leads_its_own(nodes))
            for key in keys:
                assert surely(client, "GET", key) == ("$", b"1"), key
            fix(nodes, victim)
            for key in keys:
                assert surely(client, "GET", key) == ("$", b"1"), key
            until("copies are complete", lambda: is_settled(nodes))
    shown = ", ".join(f"{wait:.1f}" for wait in waits)
    return f"keys are there again after {shown} s"


def leads_its_own(nodes: Nodes) -> bool:
    """Whether every node is a master with slots again, as all of them see it."""
    lines = [line for node in nodes.all for line in node.nodes().values()]
    return all("master" in flags and "fail" not in flags and slots for flags, slots in lines)


CASES = [
    migrate_goes_from_and_to_servers_of_all_kinds,
    what_changes_on_its_way_is_not_lost,
    clients_are_told_where_keys_are,
    resharding_under_load_loses_nothing,
    nodes_are_filled_and_emptied_by_redis_cli,
    half_moved_slots_are_mended,
    what_a_redis_server_has_is_imported,
    a_fall_in_the_middle_is_mended,
    an_open_slot_outlives_its_nodes,
]


if __name__ == "__main__":
    sys.exit(run_with_binary("keywise", CASES))
