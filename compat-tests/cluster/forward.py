#!/usr/bin/env python3
"""Any-node service: a client that knows nothing of clusters talks to one node of three, and gets what one server would
have answered, whatever happens to the others."""

import random
import re
import subprocess
import sys
import time

from load import COUNTERS, Load, surely
from moving import begin_move, fill, has_moved, slots_of
from nodes import HOST, PATIENCE, Client, Nodes, form_by_joining, is_settled, run_with_binary, until
from resp import Closed, Connection, encode
from server import free_port, node_port

SEED = 5
# Of a large value; still so large that no node copies it.
PART = 256 << 10
FORWARD = ("--cluster-forward", "yes")
TAGS = [f"t{number}" for number in range(12)]


def form(nodes: Nodes, *options: str) -> list:
    first = nodes.add(*options)
    for _ in range(2):
        nodes.add("--cluster-join", f"{HOST}:{first.port}", *options)
    until("slots are given out, and all agree", nodes.have_shares)
    for node in nodes.all:
        assert node.call("CONFIG", "SET", "cluster-auto-balance", "no") == ("+", b"OK")
    return [node.port for node in nodes.all]


def figures(node) -> dict:
    lines = node.text("INFO", "forwarding").splitlines()
    return {name: int(value) for name, value in (line.split(":") for line in lines if ":" in line)}


def owner(nodes: Nodes, key: str):
    slot = nodes.all[0].call("CLUSTER", "KEYSLOT", key)[1]
    ranges = {node: slots_of(node) for node in nodes.all}
    return next(
        node
        for node, words in ranges.items()
        if any(int(low) <= slot <= int(high) for low, high in zip(words[::2], words[1::2]))
    )


def key_of(nodes: Nodes, node, prefix: str = "key") -> str:
    """A name that this node serves."""
    return next(name for name in (f"{prefix}{number}" for number in range(1000)) if owner(nodes, name) is node)


class Model:
    """redis-server, as one server that has everything."""

    def __enter__(self):
        self.port = free_port()
        words = ["redis-server", "--port", str(self.port), "--save", "", "--bind", HOST]
        self.process = subprocess.Popen(words, stdout=subprocess.DEVNULL)
        until("the model answers", lambda: Connection(HOST, self.port).call("PING") == ("+", b"PONG"))
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


def random_command(rng: random.Random) -> list:
    """Of any family, with all its keys in one slot, and with a reply that has one order only."""
    tag = "{" + rng.choice(TAGS) + "}"
    text, items, numbers, other, hashed, ranks, sites, sketch = (
        tag + name for name in ("s", "l", "n", "s2", "h", "z", "g", "p")
    )
    member, value = f"m{rng.randrange(5)}", "v" * rng.choice([0, 1, 20, 3000])
    number = str(rng.randrange(-3, 10))
    return rng.choice(
        [
            ["SET", text, value],
            ["GET", text],
            ["APPEND", text, member],
            ["STRLEN", text],
            ["SETEX", text, "1000", value],
            ["TTL", text],
            ["INCRBY", numbers, number],
            ["INCRBYFLOAT", numbers, "0.5"],
            ["MSET", text, member, other, value],
            ["MGET", text, other, items],
            ["DEL", text, items],
            ["EXISTS", text, other, hashed],
            ["TYPE", items],
            ["RENAME", text, other],
            ["SETBIT", text, "77", "1"],
            ["BITCOUNT", text],
            ["RPUSH", items, member, value],
            ["LPOP", items],
            ["LRANGE", items, "0", number],
            ["LLEN", items],
            ["BLPOP", items, "0.01"],
            ["LMOVE", items, tag + "l2", "LEFT", "RIGHT"],
            ["HSET", hashed, member, value],
            ["HGET", hashed, member],
            ["HDEL", hashed, member],
            ["HINCRBY", hashed, "count", number],
            ["HLEN", hashed],
            ["SADD", tag + "set", member],
            ["SREM", tag + "set", member],
            ["SISMEMBER", tag + "set", member],
            ["SCARD", tag + "set"],
            ["ZADD", ranks, number, member],
            ["ZRANGE", ranks, "0", "-1", "WITHSCORES"],
            ["ZSCORE", ranks, member],
            ["ZPOPMIN", ranks],
            ["GEOADD", sites, "13.3", "38.1", member],
            ["GEOPOS", sites, member],
            ["PFADD", sketch, member],
            ["PFCOUNT", sketch],
            ["SORT", items, "ALPHA"],
            ["OBJECT", "REFCOUNT", hashed],
            # Errors, of the node asked and of the one that answers.
            ["GET"],
            ["NOSUCH", text],
            ["INCR", items],
            ["LPUSH", numbers, "x"],
            ["SET", text, value, "NOSUCH"],
            ["GET", text, "x"],
            # What names no key is answered at once, and in its turn all the same.
            ["PING", member],
            ["ECHO", value],
        ]
    )


def replies_are_those_of_one_server(binary: str) -> str:
    rng = random.Random(SEED)
    count = 0
    with Nodes(binary) as nodes, Model() as model:
        form(nodes, *FORWARD)
        for node in nodes.all[:2]:
            for protocol in (2, 3):
                here, expected = Connection(HOST, node.port, protocol), Connection(HOST, model.port, protocol)
                for round_ in range(120):
                    commands = [random_command(rng) for _ in range(rng.choice([1, 1, 2, 10, 60]))]
                    if round_ % 10 == 0:
                        tag = rng.choice(TAGS)
                        queue = [
                            ["SET", "{" + tag + "}s", str(round_)],
                            ["RPUSH", "{" + tag + "}l", "a", "b"],
                            ["INCR", "{" + tag + "}l"],
                            ["LLEN", "{" + tag + "}l"],
                            ["BLPOP", "{" + tag + "}nothing", "0"],
                        ]
                        commands[1:1] = [["MULTI"], *queue, ["EXEC"]]
                    got, wanted = here.pipeline(commands), expected.pipeline(commands)
                    for command, one, other in zip(commands, got, wanted):
                        assert same(command, one, other), f"seed {SEED}: {command}: {one} instead of {other}"
                    count += len(commands)
                assert expected.call("FLUSHALL") == ("+", b"OK")
                for other in nodes.all:
                    assert other.call("FLUSHALL") == ("+", b"OK")
        shown = figures(nodes.all[0])
        assert shown["forwarded_requests"] > 1000 and shown["forwarded_unknown_fates"] == 0, shown
        # What is for the node itself ends a batch: how many there are depends on which of the tags it has.
        assert shown["forwarded_batches"] < shown["forwarded_requests"] * 0.8, ("pipelines go together", shown)
        calls = nodes.all[0].text("INFO", "commandstats")
        own = sum(int(number) for number in re.findall(r"cmdstat_geoadd:calls=(\d+)", calls))
        all_calls = sum(
            int(number)
            for node in nodes.all
            for number in re.findall(r"cmdstat_geoadd:calls=(\d+)", node.text("INFO", "commandstats"))
        )
        assert 0 < own < all_calls, "what is forwarded counts where it is executed"
    return f"{count} commands"


def same(command, one, other) -> bool:
    if command[0] == "TTL" and one[0] == other[0] == ":" and min(one[1], other[1]) > 0:
        # The two were told to expire it at different moments.
        return abs(one[1] - other[1]) <= 1
    if one[0] == "-" and other[0] == "-" and b"ERR unknown command" in one[1]:
        return other[1].startswith(b"ERR unknown command")
    return one == other


def without_the_setting_clients_are_redirected(binary: str) -> str:
    with Nodes(binary) as nodes:
        form_by_joining(nodes)
        first, other = nodes.all[0], nodes.all[1]
        key = key_of(nodes, other)
        slot = first.call("CLUSTER", "KEYSLOT", key)[1]
        moved = ("-", f"MOVED {slot} {HOST}:{other.port}".encode())
        assert first.call("SET", key, "1") == moved
        # A port of its own, opened while the server runs.
        forwarding = node_port()
        before = Connection(HOST, first.port)
        assert first.call("CONFIG", "SET", "cluster-forward-port", str(forwarding)) == ("+", b"OK")
        there = Connection(HOST, forwarding)
        assert there.call("SET", key, "1") == ("+", b"OK") and first.call("GET", key) == moved
        assert there.call("GET", key) == ("$", b"1") and other.call("GET", key) == ("$", b"1")
        assert first.call("CONFIG", "SET", "cluster-forward-port", str(first.port))[0] == "-"
        assert first.call("CONFIG", "SET", "cluster-forward-port", "0") == ("+", b"OK")
        # What is connected stays as it is.
        assert there.call("GET", key) == ("$", b"1")
        assert first.call("CONFIG", "SET", "cluster-forward", "yes") == ("+", b"OK")
        assert before.call("GET", key) == moved and first.call("GET", key) == ("$", b"1")
        # Who follows redirections says so.
        aware = Connection(HOST, first.port)
        assert aware.call("GET", key) == ("$", b"1")
        assert aware.call("CLIENT", "CAPA", "redirect") == ("+", b"OK") and aware.call("GET", key) == moved
    return "MOVED"


def what_cannot_be_forwarded_is_said(binary: str) -> str:
    with Nodes(binary) as nodes:
        form(nodes, *FORWARD)
        first, other = nodes.all[0], nodes.all[1]
        near, far = key_of(nodes, first), key_of(nodes, other)
        here = Connection(HOST, first.port)
        assert here.call("MSET", near, "1", far, "2")[1].startswith(b"CROSSSLOT")
        assert here.call("SSUBSCRIBE", far)[1].startswith(b"MOVED")
        assert here.call("SPUBLISH", far, "x") == (":", 0)
        assert here.call("WATCH", far)[1].startswith(b"ERR WATCH")
        assert here.call("WATCH", near) == ("+", b"OK")
        assert [here.call(*words) for words in (["MULTI"], ["SET", far, "1"])] == [("+", b"OK"), ("+", b"QUEUED")]
        assert here.call("EXEC")[1].startswith(b"EXECABORT")
        # Nothing is left of that.
        queue = [["MULTI"], ["SET", far, "1"], ["PING"], ["EXEC"]]
        assert here.pipeline(queue)[-1] == ("*", [("+", b"OK"), ("+", b"PONG")])
        assert here.pipeline([["MULTI"], ["GET", near], ["GET", far], ["EXEC"]])[-1][1].startswith(b"CROSSSLOT")
        assert here.pipeline([["MULTI"], ["GET"], ["GET", far], ["EXEC"]])[-1][1].startswith(b"EXECABORT")
        tied = here.pipeline([["MULTI"], ["CLIENT", "SETNAME", "x"], ["GET", far], ["EXEC"]])
        assert tied[-1][1].startswith(b"EXECABORT"), tied
        assert here.pipeline([["MULTI"], ["SET", far, "2"], ["DISCARD"], ["GET", far]])[-1] == ("$", b"1")
        # Replies that nobody wants.
        here.send(b"".join(encode(words) for words in (["CLIENT", "REPLY", "SKIP"], ["SET", far, "3"], ["GET", far])))
        assert here.read() == ("$", b"3")
        here.send(encode(["CLIENT", "REPLY", "OFF"]) + encode(["SET", far, "4"]) + encode(["CLIENT", "REPLY", "ON"]))
        assert here.read() == ("+", b"OK") and here.call("GET", far) == ("$", b"4")
        # A broken request behind one that is forwarded is answered behind it.
        here.send(encode(["GET", far]) + b"*1\r\n+x\r\n")
        assert here.read() == ("$", b"4") and here.read()[1].startswith(b"ERR Protocol error")
        # What is sent before the client closes its end is answered.
        ending = Connection(HOST, first.port)
        ending.send(encode(["GET", far]) + b"GET " + far.encode() + b"\r\n")
        ending.socket.shutdown(1)
        assert [ending.read(), ending.read()] == [("$", b"4")] * 2
    return "said"


def who_waits_for_keys_waits_where_they_are(binary: str) -> str:
    with Nodes(binary) as nodes:
        form(nodes, *FORWARD)
        first, other = nodes.all[0], nodes.all[1]
        names = [key_of(nodes, node, "queue") for node in nodes.all]
        connections = [Connection(HOST, first.port) for _ in names]
        for connection, name in zip(connections, names):
            # The one behind it is answered in its turn.
            connection.send(encode(["BLPOP", name, "0"]) + encode(["PING"]))
        blocked = lambda: sum(  # noqa: E731
            int(re.search(r"blocked_clients:(\d+)", node.text("INFO", "clients"))[1]) for node in nodes.all
        )
        until("all wait", lambda: blocked() == len(names))
        for name in names:
            assert other.call("RPUSH", name, "x") == (":", 1)
        for connection, name in zip(connections, names):
            assert connection.read() == ("*", [("$", name.encode()), ("$", b"x")])
            assert connection.read() == ("+", b"PONG")
        # Time runs out, and who goes away waits no more.
        assert connections[1].call("BLPOP", names[1], "0.2") == ("*", None)
        connections[1].send(encode(["BLPOP", names[1], "0"]))
        until("it waits", lambda: blocked() == 1)
        connections[1].close()
        until("nobody waits", lambda: blocked() == 0)
        assert other.call("RPUSH", names[1], "kept") == (":", 1)
        assert other.call("LRANGE", names[1], "0", "-1") == ("*", [("$", b"kept")])
        assert other.call("DEL", names[1]) == (":", 1)
        # Slots go away under those who wait, here and there.
        waiters = {}
        for name in names:
            waiters[name] = Connection(HOST, first.port)
            waiters[name].send(encode(["BLPOP", name, "60"]))
        until("all wait", lambda: blocked() == len(names))
        for source, target in ((first, nodes.all[2]), (other, nodes.all[2])):
            begin_move(source, target)
            until("the slots have moved", lambda: has_moved(nodes, source, target))  # noqa: B023
        until("all wait again", lambda: blocked() == len(names))
        for name in names:
            assert first.call("RPUSH", name, "y") == (":", 1), name
            assert waiters[name].read() == ("*", [("$", name.encode()), ("$", b"y")])
    return "six waits"


def large_values_pass(binary: str) -> str:
    size = 10 << 20
    with Nodes(binary) as nodes:
        form(nodes, *FORWARD)
        first = nodes.all[0]
        names = [key_of(nodes, node, "large") for node in nodes.all]
        value = random.Random(SEED).randbytes(size)
        for name in names:
            # In parts: as one write it may cost a leader its lead, if the machine is slow.
            for start in range(0, size, PART):
                words = ["SETRANGE", name, str(start), value[start : start + PART]]
                until("it is there", lambda: first.call(*words)[0] == ":")  # noqa: B023
        here = Connection(HOST, first.port, timeout=120)
        before = memory(first)
        commands = [["GET", name] for name in [*names[1:], names[1], names[2]] * 7 + names]
        here.send(b"".join(encode(words) for words in commands))
        # It is read by nobody for a while: what is on its way is bounded.
        time.sleep(1)
        most = memory(first)
        for _ in commands:
            assert here.read() == ("$", value)
        assert here.call("PING") == ("+", b"PONG")
    grown = (most - before) >> 20
    assert grown < size >> 20, f"{grown} MiB: not even one value is held as a whole"
    return f"{grown} MiB for {size * len(commands) >> 20} MiB on their way"


def memory(node) -> int:
    return int(re.search(r"used_memory:(\d+)", node.text("INFO", "memory"))[1])


def nodes_with_a_password_let_each_other_in(binary: str) -> str:
    with Nodes(binary) as nodes:
        form(nodes, *FORWARD)
        first, other = nodes.all[0], nodes.all[1]
        key = key_of(nodes, other)
        for node in nodes.all:
            assert node.call("CONFIG", "SET", "requirepass", "sesame") == ("+", b"OK")
        for protocol in (2, 3):
            here = Connection(HOST, first.port)
            assert here.call("GET", key)[1].startswith(b"NOAUTH")
            assert here.call("AUTH", "sesame") == ("+", b"OK")
            if protocol == 3:
                here.call("HELLO", "3")
            assert here.call("SET", key, "1") == ("+", b"OK")
        there = Connection(HOST, other.port)
        assert there.call("AUTH", "sesame") == ("+", b"OK")
        name = f"name=basalt-forward-{first_id(here)}"
        assert there.call("CLIENT", "LIST")[1].decode().count(name) == 2, "an operator sees who it is"
        # Where nodes have different ones, each is told that of the others.
        assert there.call("CONFIG", "SET", "requirepass", "barley") == ("+", b"OK")
        fresh = Connection(HOST, first.port)
        assert fresh.call("AUTH", "sesame") == ("+", b"OK")
        assert fresh.call("CONFIG", "SET", "masterauth", "barley") == ("+", b"OK")
        assert there.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")[1] >= 2
        assert fresh.call("GET", key) == ("$", b"1")
        assert fresh.call("CONFIG", "SET", "masterauth", "wrong") == ("+", b"OK")
        assert there.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")[1] >= 1
        refused = fresh.call("GET", key)
        assert refused[1].startswith(b"CLUSTERDOWN") and b"WRONGPASS" in refused[1], refused
    return "AUTH"


def first_id(connection: Connection) -> str:
    return connection.call("CLUSTER", "MYID")[1].decode()


class PlainLoad(Load):
    """Counts up through one node, in pipelines of mixed slots."""

    def __init__(self, port: int):
        super().__init__([port], writers=3)
        self.refusals: dict = {}
        self.closings = 0

    def run(self, names: list) -> None:
        connection = None
        try:
            while not self.is_over.is_set():
                # Every name twice: later ones of a slot must not come before earlier ones.
                batch = [name for name in names for _ in range(2)]
                rest: list = []
                try:
                    connection = connection or Connection(HOST, self.ports[0], timeout=PATIENCE)
                    rest = batch
                    connection.send(b"".join(encode(["INCR", name]) for name in batch))
                    for done, name in enumerate(batch):
                        rest = batch[done:]
                        self.note_reply(name, connection.read())
                except (Closed, OSError):
                    self.closings += bool(rest)
                    # They may have happened or not.
                    for name in rest:
                        self.uncertain[name] += 1
                    connection = None
                    time.sleep(0.02)
        except Exception as error:  # noqa: BLE001: shown by the main thread
            self.failures.append(error)

    def note_reply(self, name: str, reply) -> None:
        kind, value = reply
        if kind == "-":
            word = value.split()[0].decode()
            assert word in ("CLUSTERDOWN", "TRYAGAIN", "LOADING"), reply
            self.refusals[word] = self.refusals.get(word, 0) + 1
        else:
            self.note(name, value)


def slots_move_under_clients_that_know_nothing(binary: str) -> str:
    with Nodes(binary) as nodes:
        ports = form(nodes, *FORWARD)
        until("there are copies", lambda: is_settled(nodes))
        fill(ports, 1000)
        with PlainLoad(ports[0]) as load:
            # Away from the node that is asked, to it, and between two others.
            for places in ((0, 1), (1, 0), (0, 2), (2, 1)):
                source, target = (nodes.all[place] for place in places)
                begin_move(source, target)
                until("the slots have moved", lambda: has_moved(nodes, source, target))  # noqa: B023
        assert not load.refusals and not load.closings, (load.refusals, load.closings)
        assert not any(load.uncertain.values())
        count = load.check(Client(ports))
    return f"{count} writes"


def slots_move_key_by_key(binary: str) -> str:
    """By redis-cli's means: the keys of an open slot are here and there."""
    with Nodes(binary) as nodes:
        form(nodes, *FORWARD)
        source, target, asked = nodes.all
        tag = key_of(nodes, source, "tag")
        names = [f"{{{tag}}}{number}" for number in range(20)]
        slot = str(source.call("CLUSTER", "KEYSLOT", tag)[1])
        connections = [Connection(HOST, node.port) for node in (source, target, asked)]
        for name in names:
            assert connections[2].call("SET", name, "0") == ("+", b"OK")
        assert target.call("CLUSTER", "SETSLOT", slot, "IMPORTING", source.name()) == ("+", b"OK")
        assert source.call("CLUSTER", "SETSLOT", slot, "MIGRATING", target.name()) == ("+", b"OK")
        for moved, name in enumerate(names):
            migrate = ["MIGRATE", HOST, str(target.port), name, "0", "5000"]
            assert source.call(*migrate) == ("+", b"OK"), name
            for connection in connections:
                replies = connection.pipeline([["INCR", other] for other in names])
                assert all(kind == ":" for kind, _ in replies), (moved, replies)
                queue = [["MULTI"], ["GET", name], ["EXEC"]]
                assert connection.pipeline(queue)[-1][0] == "*"
        for node in (target, source):
            assert node.call("CLUSTER", "SETSLOT", slot, "NODE", target.name()) == ("+", b"OK")
        expected = str(len(names) * len(connections)).encode()
        for connection in connections:
            assert connection.call("MGET", *names) == ("*", [("$", expected)] * len(names))
    return f"{len(names)} keys"


def leaders_fall_under_clients_that_know_nothing(binary: str) -> str:
    closings = refusals = count = 0
    with Nodes(binary) as nodes:
        ports = form(nodes, *FORWARD)
        until("there are copies", lambda: is_settled(nodes))
        for victim in nodes.all[1:]:
            with PlainLoad(ports[0]) as load:
                time.sleep(0.5)
                victim.kill()
                time.sleep(5)
                victim.start()
                time.sleep(1)
            until("all agree again", nodes.agree)
            count += load.check(Client(ports))
            closings, refusals = closings + load.closings, refusals + sum(load.refusals.values())
            for name in COUNTERS:
                surely(Client(ports), "DEL", name)
            until("copies are complete", lambda: is_settled(nodes))
    return f"{count} writes, {closings} connections closed, {refusals} refusals"


def the_stock_tools_need_no_options(binary: str) -> str:
    with Nodes(binary) as nodes:
        form(nodes, *FORWARD)
        first, other = nodes.all[0], nodes.all[1]
        key = key_of(nodes, other)
        cli = lambda *words: subprocess.run(  # noqa: E731
            ["redis-cli", "-p", str(first.port), *words], capture_output=True, text=True, timeout=60, check=True
        ).stdout.strip()
        assert cli("SET", key, "1") == "OK" and cli("-3", "GET", key) == "1"
        words = ["redis-benchmark", "-p", str(first.port), "-n", "20000", "-r", "100000", "-P", "16", "-c", "20", "-q"]
        tests = "set,get,incr,lpush,rpush,lpop,sadd,hset,zadd"
        run = subprocess.run([*words, "-t", tests], capture_output=True, text=True, timeout=300)
        shown = run.stdout + run.stderr
        assert run.returncode == 0 and "rror" not in shown, shown
        assert figures(first)["forwarded_requests"] > 50000, figures(first)
        assert figures(first)["upstream_connections"] <= 128, figures(first)
    return "redis-cli, redis-benchmark"


CASES = [
    replies_are_those_of_one_server,
    without_the_setting_clients_are_redirected,
    what_cannot_be_forwarded_is_said,
    who_waits_for_keys_waits_where_they_are,
    large_values_pass,
    nodes_with_a_password_let_each_other_in,
    slots_move_under_clients_that_know_nothing,
    slots_move_key_by_key,
    leaders_fall_under_clients_that_know_nothing,
    the_stock_tools_need_no_options,
]

if __name__ == "__main__":
    sys.exit(run_with_binary("forward", CASES))
