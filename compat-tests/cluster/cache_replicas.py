#!/usr/bin/env python3
"""Clusters in cache mode with replicas: what was acknowledged is in the memory of a majority, and survives with it."""

import os
import signal
import sys
import time
import urllib.request

# Of all nodes that are started here.
os.environ["BASALT_MODE"] = "cache"
os.environ["BASALT_CLUSTER_REPLICAS"] = "2"

import moving
import three_nodes
from load import Load, surely
from moving import begin_move, check_filled, fill, form, is_over, key_count, slots_of
from nodes import HOST, Client, Nodes, form_by_joining, is_settled, run_with_binary, until
from resp import Connection
from server import free_port


def settled(nodes: Nodes) -> None:
    until("there are copies", lambda: nodes.agree() and is_settled(nodes))


def leader_of(nodes: Nodes, key: str):
    """The node that serves a key."""
    return next(node for node in nodes.all if node.call("EXISTS", key)[0] == ":")


def whoever_is_killed_comes_back_as_another_replica(binary: str) -> str:
    with Nodes(binary) as nodes:
        ports = form(nodes)
        settled(nodes)
        there = fill(ports, 600)
        for victim in nodes.all:
            name = victim.name()
            with Load(ports) as load:
                victim.kill()
                time.sleep(1)
                victim.start()
                until("they agree", nodes.agree)
            load.check(Client(ports))
            assert victim.name() == name, "it is who it was"
            settled(nodes)
            assert "another takes its place" in victim.log.read_text()
            check_filled(ports, there)
            for counter in load.acknowledged:
                surely(Client(ports), "DEL", counter)
        count = len(there)
        assert key_count(nodes) == count, key_count(nodes)
    return "three kills"


def values_of_all_types_survive(binary: str) -> str:
    large = 3000
    with Nodes(binary) as nodes:
        ports = form(nodes)
        settled(nodes)
        first = leader_of(nodes, "{a}list")
        here = Connection(HOST, first.port)
        for words in (
            ["SET", "{a}volatile", "v", "EX", "1000"],
            ["SET", "{a}short", "v", "PX", "1500"],
            ["RPUSH", "{a}list", *map(str, range(large))],
            ["LPOP", "{a}list", "10"],
            ["SADD", "{a}set", *map(str, range(large))],
            ["SPOP", "{a}set", "100"],
            ["HSET", "{a}hash", *(word for number in range(large) for word in (f"f{number}", str(number)))],
            ["HINCRBYFLOAT", "{a}hash", "f1", "1.5"],
            ["ZADD", "{a}zset", *(word for number in range(large) for word in (str(number), f"m{number}"))],
            ["SET", "{a}big", "x" * 2_000_000],
            ["SET", "{a}old", "v"],
            ["RENAME", "{a}old", "{a}new"],
            ["SET", "{a}gone", "v"],
            ["DEL", "{a}gone"],
        ):
            assert here.call(*words)[0] in "+:*$", words[:2]
        names = ["volatile", "list", "zset", "big", "new"]
        before = {name: here.call("DUMP", "{a}" + name) for name in names}
        members = sorted(here.call("SMEMBERS", "{a}set")[1])
        fields = sorted(here.call("HGETALL", "{a}hash")[1])
        first.kill()
        nodes.all.remove(first)
        client = Client([node.port for node in nodes.all])
        for name, dump in before.items():
            assert surely(client, "DUMP", "{a}" + name) == dump, name
        assert sorted(client.call("SMEMBERS", "{a}set")[1]) == members
        assert sorted(client.call("HGETALL", "{a}hash")[1]) == fields
        assert 900 < client.call("TTL", "{a}volatile")[1] <= 1000
        assert client.call("EXISTS", "{a}gone", "{a}old") == (":", 0)
        # What is due goes, though it was not this node that was told when.
        until("it expires", lambda: client.call("EXISTS", "{a}short") == (":", 0))
        until("it is not counted", lambda: key_count(nodes) == len(names) + 2)
        assert client.call("RPUSH", "{a}list", "end") == (":", large - 9)
    return f"{len(names) + 2} values"


def a_replica_that_is_added_gets_what_was_there(binary: str) -> str:
    """Replicas are asked for while the cluster runs, and it is written to while they are filled."""
    with Nodes(binary) as nodes:
        ports = []
        for _ in range(3):
            join = ("--cluster-join", f"{HOST}:{ports[0]}") if ports else ()
            ports.append(nodes.add("--cluster-replicas", "0", *join).port)
        until("slots are given out, and all agree", nodes.agree)
        there = fill(ports, 3000)
        assert nodes.all[0].call("WAIT", "1", "100") == (":", 0)
        with Load(ports) as load:
            assert nodes.all[0].call("CONFIG", "SET", "cluster-replicas", "2") == ("+", b"OK")
            settled(nodes)
            until("it is counted", lambda: nodes.all[0].call("WAIT", "2", "1000") == (":", 2))
            nodes.all[1].kill()
            time.sleep(3)
        left = [node.port for node in (nodes.all[0], nodes.all[2])]
        load.check(Client(left))
        check_filled(left, there)
        nodes.all[1].start()
        settled(nodes)
        # And back to one copy of each.
        assert nodes.all[0].call("CONFIG", "SET", "cluster-replicas", "0") == ("+", b"OK")
        lone = lambda node: node.text("INFO", "groups").count("role=") == 1  # noqa: E731
        until("there is one copy", lambda: sum(not lone(node) for node in nodes.all) <= 3 and nodes.agree())
        check_filled(ports, there)
    return "none, two, none"


def a_majority_that_is_lost_takes_the_keys_along(binary: str) -> str:
    metrics = free_port()
    with Nodes(binary) as nodes:
        first = nodes.add("--metrics-port", str(metrics))
        for _ in range(2):
            nodes.add("--cluster-join", f"{HOST}:{first.port}")
        ports = [node.port for node in nodes.all]
        until("slots are given out, and all agree", nodes.agree)
        settled(nodes)
        fill(ports, 300)
        for node in nodes.all[1:]:
            node.kill()
        for node in nodes.all[1:]:
            node.start()
        until("they are served, and empty", lambda: nodes.agree() and key_count(nodes) == 0)
        check_filled(ports, fill(ports, 300))
        settled(nodes)
        assert any("its slots are empty" in node.log.read_text() for node in nodes.all)
        for node in nodes.all:
            node.kill()
        for node in nodes.all:
            node.start()
        until("they are served again", lambda: nodes.agree() and key_count(nodes) == 0)
        check_filled(ports, fill(ports, 300))
        text = urllib.request.urlopen(f"http://{HOST}:{metrics}/metrics", timeout=10).read().decode()
        lines = [line for line in text.splitlines() if line.startswith("basalt_cluster_emptied_slots_total{")]
        assert any(not line.endswith(" 0") for line in lines), lines
    return "two of three, and three of three"


def nodes_that_are_lost_for_good_take_the_keys_along(binary: str) -> str:
    with Nodes(binary) as nodes:
        ports = form(nodes)
        for _ in range(2):
            nodes.add("--cluster-join", f"{HOST}:{ports[0]}", "--cluster-auto-balance", "no")
        until("all are in", lambda: len(nodes.all[0].nodes()) == 5)
        settled(nodes)
        fill(ports, 300)
        assert all(node.call("CONFIG", "SET", "cluster-repair-delay", "1") == ("+", b"OK") for node in nodes.all)
        lost = nodes.all[1:3]
        for node in lost:
            node.kill()
            nodes.all.remove(node)
        left = [node.port for node in nodes.all]
        until("all slots are served", lambda: nodes.agree() and not any(
            nodes.all[0].nodes()[node.port][1] for node in lost))
        check_filled(left, fill(left, 300))
    return "two of five"


def who_stood_still_while_another_led_has_what_that_one_has(binary: str) -> str:
    """A leader that is stopped with writes on their way has evaluated what nobody else knows."""
    rounds = 4
    with Nodes(binary) as nodes:
        ports = form(nodes)
        settled(nodes)
        for turn in range(rounds):
            victim = nodes.all[turn % 3]
            with Load(ports, writers=8) as load:
                time.sleep(0.5)
                victim.process.send_signal(signal.SIGSTOP)
                time.sleep(4)
                victim.process.send_signal(signal.SIGCONT)
                time.sleep(2)
                until("they agree", nodes.agree)
            load.check(Client(ports))
            settled(nodes)
            for counter in load.acknowledged:
                surely(Client(ports), "DEL", counter)
        assert key_count(nodes) == 0
    return f"{rounds} pauses"


def the_lead_is_handed_over_by_order(binary: str) -> str:
    with Nodes(binary) as nodes:
        for _ in range(6):
            nodes.add("--cluster-auto-balance", "no")
        places = [f"{HOST}:{node.port}" for node in nodes.all]
        three_nodes.cli("create", *places, "--cluster-replicas", "1", "--cluster-yes")
        settled(nodes)
        ports = [node.port for node in nodes.all]
        there = fill(ports, 300)
        replica = next(node for node in nodes.all if "slave" in node.nodes()[node.port][0])
        master = replica.call("ROLE")[1][2][1]
        assert replica.call("READONLY") == ("+", b"OK")
        owner = next(node for node in nodes.all if node.port == master)
        key = next(name for name in there if owner.call("EXISTS", name) == (":", 1))
        reader = Connection(HOST, replica.port)
        assert reader.call("READONLY") == ("+", b"OK")
        kind, text = reader.call("GET", key)
        assert kind == "-" and text.startswith(b"MOVED") and str(master).encode() in text, text
        served = lambda: [row[1][2:] for row in replica.call("CLUSTER", "SLOTS")[1]]  # noqa: E731
        until("clients are told of two nodes", lambda: all(len(row) == 2 for row in served()))
        with Load(ports) as load:
            time.sleep(0.5)
            load.gap = 0.0
            for _ in range(3):
                assert replica.call("CLUSTER", "FAILOVER") == ("+", b"OK")
                until("it leads", lambda: replica.call("ROLE")[1][0] == ("$", b"master"))
                assert replica.call("GET", key) == ("$", there[key])
                assert owner.call("CLUSTER", "FAILOVER") == ("+", b"OK")
                until("it leads again", lambda: owner.call("ROLE")[1][0] == ("$", b"master"))
            gap = load.gap
        load.check(Client(ports))
        check_filled(ports, there)
        assert not any("the fate of writes is unknown" in node.log.read_text() for node in nodes.all)
    return f"six times, longest wait {gap:.2f} s"


def wait_counts_copies(binary: str) -> str:
    with Nodes(binary) as nodes:
        form_by_joining(nodes)
        settled(nodes)
        owner = leader_of(nodes, "a")
        connection = Connection(HOST, owner.port)
        for number in range(20):
            assert connection.call("SET", "a", str(number)) == ("+", b"OK")
            assert connection.call("WAIT", "2", "5000") == (":", 2)
        assert connection.call("WAITAOF", "0", "0", "0") == ("*", [(":", 0), (":", 0)])
        next(node for node in nodes.all if node is not owner).kill()
        assert connection.call("SET", "a", "x") == ("+", b"OK")
        assert connection.call("WAIT", "2", "300") == (":", 1)
    return "two copies, then one"


def what_is_evicted_is_evicted_everywhere(binary: str) -> str:
    limit, count, size = 150 << 20, 4000, 60_000
    options = ("--maxmemory", str(limit), "--maxmemory-policy", "allkeys-lru")
    with Nodes(binary) as nodes:
        first = nodes.add(*options)
        for _ in range(2):
            nodes.add(*options, "--cluster-join", f"{HOST}:{first.port}")
        until("slots are given out, and all agree", nodes.agree)
        ports = [node.port for node in nodes.all]
        settled(nodes)
        client = Client(ports)
        for number in range(count):
            assert client.call("SET", f"key:{number}", "x" * size) == ("+", b"OK"), number
        # Each node has a copy of everything, and all of that counts.
        left = key_count(nodes)
        assert limit // 4 < left * size < limit, left
        first.kill()
        nodes.all = nodes.all[1:]
        until("others lead", lambda: nodes.agree() and not nodes.all[0].nodes()[first.port][1])
        after = key_count(nodes)
        # Nothing that was evicted is back, and hardly anything else is gone.
        assert left // 2 < after <= left, (left, after)
    return f"{left} of {count} keys"


def a_flush_and_slots_that_are_given_up_are_so_everywhere(binary: str) -> str:
    with Nodes(binary) as nodes:
        ports = form(nodes)
        settled(nodes)
        there = fill(ports, 300)
        first = nodes.all[0]
        before = key_count(nodes)
        gone = first.call("DBSIZE")[1]
        assert first.call("FLUSHALL") == ("+", b"OK")
        assert key_count(nodes) == before - gone
        taken = slots_of(nodes.all[1])[:2]
        assert nodes.all[1].call("CLUSTER", "DELSLOTSRANGE", *taken) == ("+", b"OK")
        assert nodes.all[1].call("CLUSTER", "ADDSLOTSRANGE", *taken) == ("+", b"OK")
        until("they are served", lambda: nodes.agree() and nodes.all[1].call("DBSIZE") == (":", 0))
        # A group without slots does without copies, and gets them anew.
        settled(nodes)
        fresh = Client(ports)
        for name in list(there)[:100]:
            assert fresh.call("SET", name, "new") == ("+", b"OK")
        count = key_count(nodes)
        for victim in nodes.all[:2]:
            victim.kill()
            until("others lead", lambda: key_count_of(nodes, victim) == count)  # noqa: B023
            victim.start()
            settled(nodes)
            assert key_count(nodes) == count
    return f"{count} keys after two kills"


def key_count_of(nodes: Nodes, without) -> int:
    others = [node for node in nodes.all if node is not without]
    return sum(node.call("DBSIZE")[1] for node in others)


CASES = [
    whoever_is_killed_comes_back_as_another_replica,
    values_of_all_types_survive,
    a_replica_that_is_added_gets_what_was_there,
    a_majority_that_is_lost_takes_the_keys_along,
    nodes_that_are_lost_for_good_take_the_keys_along,
    who_stood_still_while_another_led_has_what_that_one_has,
    the_lead_is_handed_over_by_order,
    wait_counts_copies,
    what_is_evicted_is_evicted_everywhere,
    a_flush_and_slots_that_are_given_up_are_so_everywhere,
    three_nodes.a_planned_stop_hands_over,
    moving.slots_move_under_load,
    moving.slots_arrive_whoever_is_killed,
    moving.a_node_is_emptied_and_slots_are_spread_again,
]


if __name__ == "__main__":
    sys.exit(run_with_binary("cache-replicas", CASES))
