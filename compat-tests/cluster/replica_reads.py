#!/usr/bin/env python3
"""Reads from replicas: what READONLY shows, how old it may be, and when it ends."""

import os
import signal
import threading
import time
from contextlib import contextmanager

from load import surely
from nodes import HOST, Client, Nodes, is_settled, run_with_binary, until
from resp import Closed, Connection

OK = ("+", b"OK")
NIL = ("$", None)
# A replica that is cut off goes on for those who take what there is.
CUT_OFF = ("--cluster-allow-reads-when-down", "yes")


def form(nodes: Nodes, replicas: int = 2) -> list:
    """A master of all slots, and its replicas."""
    master, *others = [nodes.add(*CUT_OFF) for _ in range(1 + replicas)]
    assert master.call("CLUSTER", "ADDSLOTSRANGE", "0", "16383") == OK
    for node in others:
        assert node.call("CLUSTER", "MEET", HOST, str(master.port)) == OK
    until("they have met", lambda: all(len(node.nodes()) == 1 + replicas for node in nodes.all))
    for node in others:
        until("it is its replica", lambda: node.call("CLUSTER", "REPLICATE", master.name()) == OK)  # noqa: B023
    until("all agree", nodes.agree)
    is_shown = lambda node: sum("slave" in flags for flags, _ in node.nodes().values()) == replicas  # noqa: E731
    until("all know the roles", lambda: all(is_shown(node) for node in nodes.all))
    until("writes are served", lambda: master.call("SET", "first", "1") == OK)
    # One that has no vote yet serves reads as well, but it cannot take over.
    until("the replicas have votes", lambda: is_settled(nodes))
    until("clients are told of them", lambda: len(master.call("CLUSTER", "SLOTS")[1][0][1]) == 3 + replicas)
    for node in others:
        until("it has a copy", lambda: Reader(node).call("GET", "first") == ("$", b"1"))  # noqa: B023
    return [master, *others]


class Reader(Connection):
    """A connection that has said READONLY."""

    def __init__(self, node, bound_ms: int = 0):
        super().__init__(HOST, node.port, timeout=20)
        assert self.call("READONLY") == OK
        if bound_ms:
            assert self.call("CLIENT", "READ-STALENESS", str(bound_ms)) == OK


@contextmanager
def stopped(*nodes):
    """These processes stand still, as if nothing came through to anybody."""
    for node in nodes:
        os.kill(node.process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for node in nodes:
            os.kill(node.process.pid, signal.SIGCONT)


def is_moved(reply, node=None) -> bool:
    kind, text = reply
    return kind == "-" and text.startswith(b"MOVED ") and (node is None or text.endswith(f":{node.port}".encode()))


def all_that_reads_is_served(binary: str) -> str:
    with Nodes(binary) as nodes:
        master, replica, _ = form(nodes)
        writer, reader = Connection(HOST, master.port), Reader(replica)
        large = [str(number) for number in range(5000)]
        writer.call("HSET", "hash", *[word for number in large for word in (f"f{number}", number)])
        writer.call("RPUSH", "list", *large)
        writer.call("SADD", "set", *[f"m{number}" for number in large])
        writer.call("ZADD", "zset", *[word for number in large for word in (number, f"m{number}")])
        writer.call("SET", "string", "0123456789" * 100_000)
        writer.call("SET", "number", "17")
        writer.call("SET", "text", "some text", "PX", "100000")
        writer.call("PFADD", "log", *large)
        until("the last of it is there", lambda: reader.call("PFCOUNT", "log")[1] > 4000)
        questions = [
            ["GET", "number"], ["GET", "text"], ["GET", "nothing"], ["MGET", "number"], ["STRLEN", "string"],
            ["GETRANGE", "string", "499995", "500004"], ["GET", "string"], ["TYPE", "zset"], ["EXISTS", "list", "list"],
            ["HGET", "hash", "f4711"], ["HMGET", "hash", "f1", "nope"], ["HLEN", "hash"],
            ["HSTRLEN", "hash", "f100"], ["LLEN", "list"], ["LINDEX", "list", "-1"], ["LRANGE", "list", "10", "20"],
            ["LRANGE", "list", "0", "-1"], ["LPOS", "list", "77"], ["SISMEMBER", "set", "m9"], ["SCARD", "set"],
            ["SMISMEMBER", "set", "m9", "x"], ["ZSCORE", "zset", "m12"], ["ZRANK", "zset", "m12"],
            ["ZRANGE", "zset", "0", "9", "WITHSCORES"], ["ZCOUNT", "zset", "5", "(10"], ["GETBIT", "string", "99"],
            ["BITCOUNT", "string"], ["OBJECT", "ENCODING", "hash"], ["OBJECT", "ENCODING", "number"],
            ["GET", "list"], ["HGET", "list", "x"], ["LINDEX", "hash", "0"], ["GET"], ["DUMP", "number"],
            ["SORT_RO", "list", "LIMIT", "0", "5"],
        ]  # fmt: skip
        for words in questions:
            assert reader.call(*words) == writer.call(*words), words
        # In any order.
        for words in (["SMEMBERS", "set"], ["HGETALL", "hash"], ["HKEYS", "hash"], ["SDIFF", "set"]):
            assert sorted(reader.call(*words)[1]) == sorted(writer.call(*words)[1]), words
        cursor, seen = b"0", set()
        while not seen or cursor != b"0":
            (_, cursor), (_, page) = reader.call("HSCAN", "hash", cursor.decode(), "COUNT", "500")[1]
            seen.update(name for _, name in page[::2])
        assert len(seen) == 5000, len(seen)
        # In one pipeline, and in the order in which they were asked.
        asked = [["GET", "number"], ["HGET", "hash", "f5"], ["PING"], ["GET", "text"]] * 50
        assert reader.pipeline(asked) == [writer.call(*words) for words in asked]
        # They count like any other.
        stats = replica.text("INFO", "commandstats")
        assert "cmdstat_hgetall:calls=1," in stats and "cmdstat_get:calls=" in stats, stats
        assert int(replica.text("INFO", "stats").split("keyspace_hits:")[1].split()[0]) > 100
        replica.call("CONFIG", "SET", "slowlog-log-slower-than", "0")
        reader.call("GET", "number")
        assert ("$", b"number") in [word for entry in replica.call("SLOWLOG", "GET")[1] for word in entry[1][3][1]]
    return f"{len(questions)} commands"


def everything_else_is_sent_to_the_leader(binary: str) -> str:
    with Nodes(binary) as nodes:
        master, replica, _ = form(nodes)
        plain, reader = Connection(HOST, replica.port), Reader(replica)
        assert is_moved(plain.call("GET", "first"), master), "it has not said READONLY"
        for words in (["SET", "first", "2"], ["GETDEL", "first"], ["GETEX", "first"], ["BLPOP", "first", "0"],
                      ["WATCH", "first"], ["SORT_RO", "first", "BY", "weight_*"]):  # fmt: skip
            assert is_moved(reader.call(*words), master), words
        assert reader.call("MGET", "a", "b")[1].startswith(b"CROSSSLOT")
        assert reader.call("READWRITE") == OK
        assert is_moved(reader.call("GET", "first"), master)
        assert reader.call("READONLY") == OK
        assert reader.call("GET", "first") == ("$", b"1")
        assert reader.call("RESET") == ("+", b"RESET")
        assert is_moved(reader.call("GET", "first"), master)
        # On the leader it changes nothing.
        assert Reader(master, 100).call("SET", "first", "3") == OK
    return "moved"


def a_bound_is_asked_for_and_told(binary: str) -> str:
    with Nodes(binary) as nodes:
        node = nodes.add()
        connection = Connection(HOST, node.port)
        ask = ["CLIENT", "READ-STALENESS"]
        assert connection.call(*ask) == (":", 0)
        assert connection.call(*ask, "250") == OK
        assert connection.call(*ask) == (":", 250)
        assert connection.call(*ask, "-1") == ("-", b"ERR read staleness is negative")
        assert connection.call(*ask, "soon") == ("-", b"ERR value is not an integer or out of range")
        assert connection.call(*ask, "1", "2") == ("-", b"ERR syntax error")
        assert connection.call(*ask) == (":", 250)
        assert connection.call("READWRITE") == OK
        assert connection.call(*ask) == (":", 250)
        connection.call("RESET")
        assert connection.call(*ask) == (":", 0)
        assert connection.call(*ask, "0") == OK
        assert connection.call("COMMAND", "DOCS", "CLIENT|READ-STALENESS")[1], "it is not documented"
    return "told"


def a_transaction_sees_one_state(binary: str) -> str:
    with Nodes(binary) as nodes:
        master, replica, _ = form(nodes)
        reader = Reader(replica)
        is_over = threading.Event()

        def write() -> None:
            writer = Connection(HOST, master.port)
            number = 0
            while not is_over.is_set():
                number += 1
                writer.call("MSET", "{t}a", str(number), "{t}b", str(number))

        thread = threading.Thread(target=write)
        thread.start()
        try:
            until("both are there", lambda: reader.call("EXISTS", "{t}a", "{t}b") == (":", 2))
            last, rounds = 0, 0
            deadline = time.monotonic() + 3
            while time.monotonic() < deadline:
                asked = [["GET", "{t}a"], ["PING"], ["STRLEN", "{t}a"], ["GET", "{t}b"]]
                replies = reader.pipeline([["MULTI"], *asked, ["EXEC"]])
                assert replies[:5] == [OK, *[("+", b"QUEUED")] * 4], replies
                (_, one), ping, _, (_, other) = replies[5][1]
                assert one == other and ping == ("+", b"PONG"), replies
                assert reader.call("MGET", "{t}a", "{t}b")[1][0] is not None
                one, other = reader.call("MGET", "{t}a", "{t}b")[1]
                assert one == other
                # One connection to one node goes forward.
                assert int(one[1]) >= last
                last, rounds = int(one[1]), rounds + 1
        finally:
            is_over.set()
            thread.join()
        assert last > 10, "nothing has changed meanwhile"
        # A write is sent away when it is queued, and the transaction is over.
        assert reader.call("MULTI") == OK
        assert reader.call("GET", "{t}a") == ("+", b"QUEUED")
        assert is_moved(reader.call("SET", "{t}a", "x"), master)
        assert reader.call("EXEC")[1].startswith(b"EXECABORT")
        # What looks at all keys is the leader's business.
        reader.pipeline([["MULTI"], ["GET", "{t}a"], ["KEYS", "*"]])
        assert is_moved(reader.call("EXEC"), master)
        assert reader.call("GET", "{t}a")[0] == "$", "the transaction is over"
    return f"{rounds} transactions"


def what_is_due_is_not_there(binary: str) -> str:
    with Nodes(binary) as nodes:
        master, replica, other = form(nodes)
        reader = Reader(replica)
        assert master.call("SET", "short", "x", "PX", "1500") == OK
        assert master.call("SET", "long", "x", "PX", "600000") == OK
        until("they are there", lambda: reader.call("EXISTS", "long") == (":", 1))
        ttl = reader.call("PTTL", "long")[1]
        assert 0 < ttl <= 600000, ttl
        # Nobody deletes it, and nobody could.
        with stopped(master, other):
            until("its time is over", lambda: reader.call("GET", "short") == NIL)
            assert reader.call("TTL", "short") == (":", -2)
            assert reader.call("MGET", "short") == ("*", [NIL])
            assert reader.call("GET", "long") == ("$", b"x")
            assert b"short" not in [name for _, name in reader.call("KEYS", "*")[1]]
    return "absent"


def a_bound_holds_behind_a_partition(binary: str) -> str:
    with Nodes(binary) as nodes:
        master, replica, other = form(nodes)
        assert master.call("SET", "key", "old") == OK
        bounded, free = Reader(replica, 500), Reader(replica)
        until("it is there", lambda: bounded.call("GET", "key") == ("$", b"old"))
        # Whatever was acknowledged longer ago than the bound is seen.
        for number in range(50):
            assert master.call("SET", "key", str(number)) == OK
            time.sleep(0.01)
            fresh = Reader(replica, 5)
            reply = fresh.call("GET", "key")
            assert reply == ("$", str(number).encode()) or is_moved(reply, master), reply
            fresh.close()
        until("the last is there", lambda: free.call("GET", "key") == ("$", b"49"))
        with stopped(master, other):
            cut = time.monotonic()
            until("it is refused", lambda: is_moved(bounded.call("GET", "key"), master))
            refused = time.monotonic() - cut
            assert 0.4 < refused < 5, refused
            # It stays so, after a wait that is bounded.
            began = time.monotonic()
            assert is_moved(bounded.call("GET", "key"))
            assert time.monotonic() - began < 2.5
            assert free.call("GET", "key") == ("$", b"49"), "who takes anything gets what there is"
            assert reader_in_transaction(bounded) and free.call("EXISTS", "key") == (":", 1)
        until("it is served again", lambda: bounded.call("GET", "key") == ("$", b"49"))
        metrics = replica.call("INFO", "commandstats")
        assert metrics
    return f"refused after {refused:.2f} s"


def reader_in_transaction(reader: Connection) -> bool:
    replies = reader.pipeline([["MULTI"], ["GET", "key"], ["EXEC"]])
    return is_moved(replies[2])


def bounds_hold_while_nodes_stand_still(binary: str) -> str:
    """A read with a bound shows nothing that was overwritten longer ago than that, whoever is stopped."""
    bound_s = 0.3
    with Nodes(binary) as nodes:
        all_nodes = form(nodes)
        acknowledged: list = []
        is_over = threading.Event()
        failures: list = []

        def write() -> None:
            client = Client([node.port for node in all_nodes])
            number = 0
            while not is_over.is_set():
                number += 1
                try:
                    if client.call("SET", "key", str(number)) == OK:
                        acknowledged.append((time.monotonic(), number))
                except (OSError, Closed):
                    pass

        counts = [0, 0]

        def read(node) -> None:
            while not is_over.is_set():
                try:
                    reader = Reader(node, int(bound_s * 1000))
                    while not is_over.is_set():
                        began = time.monotonic()
                        known = next((number for at, number in reversed(acknowledged) if at < began - bound_s), 0)
                        kind, value = reader.call("GET", "key")
                        if kind == "-":
                            counts[1] += 1
                            time.sleep(0.01)
                            continue
                        counts[0] += 1
                        if int(value or 0) < known:
                            failures.append(f"{value} is shown, {known} was acknowledged {bound_s} s before")
                            return
                except (OSError, Closed):
                    time.sleep(0.05)

        threads = [threading.Thread(target=write)]
        threads += [threading.Thread(target=read, args=(node,)) for node in all_nodes]
        for thread in threads:
            thread.start()
        try:
            for turn in range(6):
                time.sleep(1)
                with stopped(all_nodes[turn % 3]):
                    time.sleep(1.5)
        finally:
            is_over.set()
            for thread in threads:
                thread.join()
        assert not failures, failures
        assert counts[0] > 200 and len(acknowledged) > 100, (counts, len(acknowledged))
    return f"{counts[0]} reads served, {counts[1]} not, {len(acknowledged)} writes"


def what_names_no_key_shows_the_copy(binary: str) -> str:
    with Nodes(binary) as nodes:
        master, replica, _ = form(nodes)
        writer = Connection(HOST, master.port)
        assert writer.call("DEL", "first") == (":", 1)
        names = {f"key:{number}".encode() for number in range(3000)}
        assert set(writer.pipeline([["SET", name, "x"] for name in names])) == {OK}
        same_slot = {f"{{slot}}{number}".encode() for number in range(200)}
        writer.pipeline([["SADD", name, "x"] for name in same_slot])
        plain = Connection(HOST, replica.port)
        until("all are there", lambda: plain.call("DBSIZE") == (":", 3200))
        assert {name for _, name in plain.call("KEYS", "*")[1]} == names | same_slot
        assert {name for _, name in plain.call("KEYS", "{slot}*")[1]} == same_slot
        for options, expected in ((["COUNT", "100"], names | same_slot), (["TYPE", "set"], same_slot)):
            cursor, seen = b"0", set()
            while not seen or cursor != b"0":
                (_, cursor), (_, page) = plain.call("SCAN", cursor.decode(), *options)[1]
                seen.update(name for _, name in page)
                if cursor == b"0":
                    break
            assert seen == expected, (options, len(seen))
        assert plain.call("RANDOMKEY")[1] in names | same_slot
        slot = str(plain.call("CLUSTER", "KEYSLOT", "{slot}")[1])
        assert plain.call("CLUSTER", "COUNTKEYSINSLOT", slot) == writer.call("CLUSTER", "COUNTKEYSINSLOT", slot)
        listed = {name for _, name in plain.call("CLUSTER", "GETKEYSINSLOT", slot, "1000")[1]}
        assert listed >= same_slot and len(listed) == writer.call("CLUSTER", "COUNTKEYSINSLOT", slot)[1]
        assert len(plain.call("CLUSTER", "GETKEYSINSLOT", slot, "7")[1]) == 7
        assert "db0:keys=3200," in replica.text("INFO", "keyspace")
        assert replica.call("ROLE")[1][0] == ("$", b"slave")
        assert "role:slave" in replica.text("INFO", "replication")
    return "3200 keys"


def a_replica_that_comes_to_lead_serves_everything(binary: str) -> str:
    with Nodes(binary) as nodes:
        master, *replicas = form(nodes)
        assert master.call("SET", "key", "1") == OK
        readers = [Reader(node) for node in replicas]
        for reader in readers:
            until("it is there", lambda: reader.call("GET", "key") == ("$", b"1"))  # noqa: B023
        master.kill()
        client = Client([node.port for node in replicas])
        assert surely(client, "SET", "key", "2") == OK
        until("one leads", lambda: any(node.call("ROLE")[1][0] == ("$", b"master") for node in replicas))
        leader = next(node for node in replicas if node.call("ROLE")[1][0] == ("$", b"master"))
        follower = next(node for node in replicas if node is not leader)
        assert Reader(leader).call("INCR", "key") == (":", 3)
        until("the other one follows", lambda: Reader(follower, 1000).call("GET", "key") == ("$", b"3"))
        assert is_moved(Reader(follower).call("INCR", "key"), leader)
        # The one that was killed comes back as a replica, which shows nothing that is older than its return.
        master.start()
        # The substitute may have handed back by now.
        assert Client([node.port for node in nodes.all]).call("INCR", "key") == (":", 4)
        shown: list = []

        def is_served() -> bool:
            shown.append(Reader(master).call("GET", "key"))
            return shown[-1][0] == "$"

        until("it is read from, or leads", is_served)
        assert shown[-1] == ("$", b"4"), shown
    return "failed over"


def slots_that_move_away_are_not_shown(binary: str) -> str:
    with Nodes(binary) as nodes:
        master, replica, other = form(nodes)
        target = nodes.add(*CUT_OFF)
        assert target.call("CLUSTER", "MEET", HOST, str(master.port)) == OK
        until("they have met", lambda: all(len(node.nodes()) == 4 for node in nodes.all))
        for node in nodes.all:
            node.call("CONFIG", "SET", "cluster-auto-balance", "no")
        writer, reader = Connection(HOST, master.port), Reader(replica)
        slot = writer.call("CLUSTER", "KEYSLOT", "key")[1]
        is_over, wrong, counts = threading.Event(), [], [0]
        assert writer.call("SET", "key", "0") == OK
        until("it is there", lambda: reader.call("GET", "key") == ("$", b"0"))

        def read() -> None:
            while not is_over.is_set():
                reply = reader.call("GET", "key")
                counts[0] += 1
                if reply != ("$", b"0") and not is_moved(reply):
                    wrong.append(reply)

        thread = threading.Thread(target=read)
        thread.start()
        words = ["SLOTSRANGE", "0", "16383", "NODE", target.name()]
        until("it has begun", lambda: master.call("CLUSTER", "MIGRATESLOTS", *words) == OK)
        until("it has moved", lambda: is_moved(Reader(replica).call("GET", "key"), target))
        is_over.set()
        thread.join()
        assert not wrong, wrong[:5]
        until("the target serves it", lambda: target.call("GET", "key") == ("$", b"0"))
        assert replica.call("CLUSTER", "COUNTKEYSINSLOT", str(slot)) == (":", 0)
        until("its keys are cleared away", lambda: replica.call("DBSIZE") == (":", 0))
    return f"{counts[0]} reads meanwhile"


def redis_py_reads_from_replicas(binary: str) -> str:
    from redis.cluster import ClusterNode, RedisCluster

    with Nodes(binary) as nodes:
        master, *replicas = form(nodes)
        places = [ClusterNode(HOST, node.port) for node in nodes.all]
        client = RedisCluster(startup_nodes=places, read_from_replicas=True)
        known = {node.port for node in client.get_replicas()}
        assert known == {node.port for node in replicas}, (known, [node.port for node in nodes.all])
        for number in range(100):
            assert client.set(f"key:{number}", number) is True
            until("it is read", lambda: client.get(f"key:{number}") == str(number).encode())  # noqa: B023

        def read_all() -> list:
            pipeline = client.pipeline()
            for number in range(100):
                pipeline.get(f"key:{number}")
            return pipeline.execute()

        # From whichever replica it likes: one may have less than the other for a moment.
        until("all is read at once", lambda: read_all() == [str(number).encode() for number in range(100)])
        assert client.hset("hash", "field", "x") == 1
        until("it is read", lambda: client.hget("hash", "field") == b"x")
        for node in replicas:
            stats = node.text("INFO", "commandstats")
            assert "cmdstat_get:calls=" in stats, f"nobody has read from {node.port}: {stats}"
        client.close()
    return "two replicas"


CASES = [
    all_that_reads_is_served,
    everything_else_is_sent_to_the_leader,
    a_bound_is_asked_for_and_told,
    a_transaction_sees_one_state,
    what_is_due_is_not_there,
    a_bound_holds_behind_a_partition,
    bounds_hold_while_nodes_stand_still,
    what_names_no_key_shows_the_copy,
    a_replica_that_comes_to_lead_serves_everything,
    slots_that_move_away_are_not_shown,
    redis_py_reads_from_replicas,
]


if __name__ == "__main__":
    raise SystemExit(run_with_binary("replica-reads", CASES))
