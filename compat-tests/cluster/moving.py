#!/usr/bin/env python3
"""Slots that move while clients use them: nothing is lost, whoever dies, and clients are told where to go."""

import random
import sys
import time

from load import COUNTERS, Load, surely
from nodes import HOST, Client, Nodes, form_by_joining, is_settled, run_with_binary, until
from resp import Connection

VALUE = "x" * 1000


def form(nodes: Nodes) -> list:
    """Three nodes whose slots stay where they are put."""
    ports = form_by_joining(nodes)
    for node in nodes.all:
        assert node.call("CONFIG", "SET", "cluster-auto-balance", "no") == ("+", b"OK")
    return ports


def fill(ports: list, count: int) -> dict:
    """Keys all over the slots, so that a move takes a while."""
    client = Client(ports)
    there = {}
    for number in range(count):
        name, value = f"filler:{number}", f"{number}:{VALUE}"
        assert client.call("SET", name, value) == ("+", b"OK")
        there[name] = value.encode()
    return there


def check_filled(ports: list, there: dict) -> None:
    client = Client(ports)
    for name, value in there.items():
        assert surely(client, "GET", name) == ("$", value), name


def slots_of(node) -> list:
    """First and last slot of each range of a node, as arguments."""
    ranges = [word for word in node.nodes()[node.port][1] if not word.startswith("[")]
    return [number for word in ranges for number in (word.split("-") if "-" in word else (word, word))]


def begin_move(source, target) -> None:
    """All slots of a node to another one, in Valkey's words."""
    words = ["SLOTSRANGE", *slots_of(source), "NODE", target.name()]
    # One that was taken back has to be cleared away first.
    until("it has begun", lambda: source.call("CLUSTER", "MIGRATESLOTS", *words) == ("+", b"OK"))


def has_moved(nodes: Nodes, source, target) -> bool:
    """Whether all nodes see that the source has no slots, and nothing is left to be done."""
    lines = [node.nodes() for node in nodes.all]
    return all(not line[source.port][1] and line[target.port][1] for line in lines) and is_over(nodes.all[0])


def key_count(nodes: Nodes) -> int:
    """Of those who lead: a replica also counts what it has a copy of."""
    leaders = [node for node in nodes.all if node.call("ROLE")[1][0] == ("$", b"master")]
    return sum(node.call("DBSIZE")[1] for node in leaders)


def slots_move_under_load(binary: str) -> str:
    with Nodes(binary) as nodes:
        ports = form(nodes)
        until("there are copies", lambda: is_settled(nodes))
        there = fill(ports, 3000)
        source, target = nodes.all[0], nodes.all[1]
        with Load(ports) as load:
            time.sleep(0.5)
            load.gap = 0.0
            began = time.monotonic()
            begin_move(source, target)
            until("the slots have moved", lambda: has_moved(nodes, source, target))
            took = time.monotonic() - began
            # And back again, in Redis's words, asked of where they shall go.
            taken = slots_of(target)[:2]
            until("it has begun", lambda: source.call("CLUSTER", "MIGRATION", "IMPORT", *taken)[0] == "$")
            until("some are back", lambda: slots_of(source)[:2] == taken)
            time.sleep(0.5)
            gap = load.gap
        load.check(Client(ports))
        check_filled(ports, there)
        count = len(there) + sum(1 for number in load.acknowledged.values() if number)
        until("every key is in one place", lambda: key_count(nodes) == count)
        assert gap < 5, f"a write was held up for {gap:.2f} s"
    return f"{took:.1f} s, longest wait {gap:.2f} s"


def all_that_a_key_has_goes_along(binary: str) -> str:
    with Nodes(binary) as nodes:
        form(nodes)
        # Before that leaders change, and who leads no more sends waiting clients away.
        until("there are copies", lambda: is_settled(nodes))
        source = next(node for node in nodes.all if node.call("SET", "{a}string", "1") == ("+", b"OK"))
        target = next(node for node in nodes.all if node is not source)
        here = Connection(HOST, source.port)
        large = 5000
        for words in (
            ["SET", "{a}volatile", "v", "EX", "1000"],
            ["RPUSH", "{a}list", *map(str, range(large))],
            ["SADD", "{a}set", *map(str, range(large))],
            ["HSET", "{a}hash", *(word for number in range(large) for word in (f"f{number}", str(number)))],
            ["ZADD", "{a}zset", *(word for number in range(large) for word in (str(number), f"m{number}"))],
            ["SETRANGE", "{a}sparse", "200000", "end"],
            ["HSET", "{a}small", "f", "1"],
            ["EXPIRE", "{a}small", "1000"],
        ):
            assert here.call(*words)[0] in "+:", words[:2]
        names = ["string", "volatile", "list", "set", "hash", "zset", "sparse", "small"]
        before = {name: here.call("DUMP", "{a}" + name) for name in names}
        waiting = Connection(HOST, source.port)
        waiting.send(b"*3\r\n$5\r\nBLPOP\r\n$9\r\n{a}nolist\r\n$1\r\n0\r\n")
        listening = Connection(HOST, source.port)
        assert listening.call("SSUBSCRIBE", "{a}channel")[1][0] == ("$", b"ssubscribe")
        until("the client waits", lambda: b"blocked_clients:1" in source.call("INFO", "clients")[1])
        begin_move(source, target)
        told = waiting.read()
        assert told[1].startswith(b"MOVED"), f"who waits is sent after the keys, and not told {told}"
        assert listening.read()[1][0] == ("$", b"sunsubscribe")
        until("the slots have moved", lambda: has_moved(nodes, source, target))
        there = Connection(HOST, target.port)
        for name in names:
            if name not in ("set", "hash"):
                assert there.call("DUMP", "{a}" + name) == before[name], name
        assert there.call("SCARD", "{a}set") == (":", large) and there.call("HLEN", "{a}hash") == (":", large)
        assert there.call("HGET", "{a}hash", "f77") == ("$", b"77")
        for name in ("volatile", "small"):
            assert 900 < there.call("TTL", "{a}" + name)[1] <= 1000, name
        assert here.call("GET", "{a}string")[1].startswith(b"MOVED")
        until("nothing is left", lambda: source.call("DBSIZE") == (":", 0))
    return "eight values, a client that waits, one that listens"


def slots_arrive_whoever_is_killed(binary: str) -> str:
    rng = random.Random(7)
    with Nodes(binary) as nodes:
        ports = form(nodes)
        until("there are copies", lambda: is_settled(nodes))
        there = fill(ports, 3000)
        moves = 0
        for victim in range(3):
            source = next(node for node in nodes.all if slots_of(node))
            target = nodes.all[(nodes.all.index(source) + 1) % 3]
            with Load(ports) as load:
                begin_move(source, target)
                time.sleep(rng.random() * 0.6)
                nodes.all[victim].kill()
                time.sleep(rng.random() * 2)
                nodes.all[victim].start()
                until("all agree again", nodes.agree)
                until("the migration is over", lambda: all(is_over(node) for node in nodes.all))
            load.check(Client(ports))
            check_filled(ports, there)
            for name in COUNTERS:
                surely(Client(ports), "DEL", name)
            until("copies are complete", lambda: is_settled(nodes))
            until("every key is in one place", lambda: key_count(nodes) == len(there))
            moves += 1
    return f"{moves} kills"


def is_over(node) -> bool:
    states = [str(entry) for entry in node.call("CLUSTER", "GETSLOTMIGRATIONS")[1]]
    return all("success" in state or "failed" in state or "cancel" in state for state in states)


def a_move_can_be_taken_back(binary: str) -> str:
    with Nodes(binary) as nodes:
        ports = form(nodes)
        source, target = nodes.all[0], nodes.all[1]
        # Slow enough to be met on its way.
        assert source.call("CONFIG", "SET", "cluster-migration-max-bytes-per-second", "100000") == ("+", b"OK")
        there = fill(ports, 1000)
        mine = slots_of(source)
        begin_move(source, target)
        reply = target.call("FLUSHALL")
        assert source.call("CLUSTER", "CANCELSLOTMIGRATIONS") == ("+", b"OK")
        until("it is over", lambda: is_over(source))
        assert slots_of(source) == mine
        assert reply == ("+", b"OK") or reply[1].startswith(b"TRYAGAIN"), reply
        if reply[0] == "-":
            check_filled(ports, there)
            until("every key is in one place", lambda: key_count(nodes) == len(there))
        assert source.call("CONFIG", "SET", "cluster-migration-max-bytes-per-second", "0") == ("+", b"OK")
        begin_move(source, target)
        until("the slots have moved", lambda: has_moved(nodes, source, target))
    return "and begun again"


def a_node_is_emptied_and_slots_are_spread_again(binary: str) -> str:
    with Nodes(binary) as nodes:
        ports = form(nodes)
        until("there are copies", lambda: is_settled(nodes))
        there = fill(ports, 500)
        leaving = nodes.all[2]
        assert nodes.all[0].call("CLUSTER", "DRAIN", leaving.name()) == ("+", b"OK")
        until("it has no slots", lambda: all(not node.nodes()[leaving.port][1] for node in nodes.all))
        check_filled(ports, there)
        assert nodes.all[0].call("CLUSTER", "DRAIN", leaving.name(), "STOP") == ("+", b"OK")
        plan = nodes.all[0].call("CLUSTER", "BALANCE", "DRYRUN")
        assert plan[0] == "*" and plan[1], plan
        assert nodes.all[1].call("CLUSTER", "BALANCE")[0] == "*"
        until("it has its share", lambda: all(len(slots_of(node)) >= 2 for node in nodes.all))
        until("all is over", lambda: all(is_over(node) for node in nodes.all))
        check_filled(ports, there)
        until("every key is in one place", lambda: key_count(nodes) == len(there))
    return "drained, and filled again"


CASES = [
    slots_move_under_load,
    all_that_a_key_has_goes_along,
    slots_arrive_whoever_is_killed,
    a_move_can_be_taken_back,
    a_node_is_emptied_and_slots_are_spread_again,
]

if __name__ == "__main__":
    sys.exit(run_with_binary("moving", CASES))
