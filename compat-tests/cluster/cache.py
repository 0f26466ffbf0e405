#!/usr/bin/env python3
"""Clusters in cache mode: one copy of each key, in memory. What moves is not lost; what dies comes back empty."""

import os
import subprocess
import sys
import time
import urllib.request

# Of all nodes that are started here.
os.environ["BASALT_MODE"] = "cache"

import keywise
import moving
import three_nodes
from load import Load
from moving import begin_move, check_filled, fill, form, is_over, key_count, slots_of
from nodes import HOST, Client, Nodes, form_by_joining, run_with_binary, until
from server import free_port


def emptied(port: int) -> dict:
    """What a node has counted of slots that came back empty."""
    text = urllib.request.urlopen(f"http://{HOST}:{port}/metrics", timeout=10).read().decode()
    lines = [line for line in text.splitlines() if line.startswith("basalt_cluster_emptied_slots_total{")]
    return {line.split('"')[1]: int(float(line.split()[1])) for line in lines}


def whoever_is_killed_comes_back_empty(binary: str) -> str:
    with Nodes(binary) as nodes:
        ports = form(nodes)
        there = fill(ports, 600)
        for victim in nodes.all:
            name, slots, keys = victim.name(), slots_of(victim), victim.call("DBSIZE")[1]
            assert 0 < keys < 600
            victim.kill()
            victim.start()
            until("it serves again", lambda: victim.call("DBSIZE") == (":", 0) and nodes.agree())  # noqa: B023
            assert (victim.name(), slots_of(victim)) == (name, slots), "it is who it was"
            until("it says so", lambda: "its slots are empty" in victim.log.read_text())  # noqa: B023
        client = Client(ports)
        assert all(client.call("GET", key) == ("$", None) for key in there)
        check_filled(ports, fill(ports, 100))
    return "three kills"


def a_restart_is_counted(binary: str) -> str:
    metrics = free_port()
    with Nodes(binary) as nodes:
        node = nodes.add("--metrics-port", str(metrics))
        assert node.call("CLUSTER", "ADDSLOTSRANGE", "0", "16383") == ("+", b"OK")
        until("it is up", nodes.agree)
        assert node.call("SET", "key", "value") == ("+", b"OK")
        node.stop()
        node.start()
        # It is told to wait until the node knows that it may serve.
        assert node.call("GET", "key") == ("$", None)
        assert node.call("SET", "key", "other") == ("+", b"OK")
        until("it is counted", lambda: emptied(metrics) == {"restart": 16384, "loss": 0})
    return "one node"


def slots_of_a_lost_node_are_served_empty_by_others(binary: str) -> str:
    with Nodes(binary) as nodes:
        ports = form(nodes)
        there = fill(ports, 600)
        lost, others = nodes.all[2], nodes.all[:2]
        name = lost.name()
        assert all(node.call("CONFIG", "SET", "cluster-repair-delay", "1") == ("+", b"OK") for node in others)
        gone = lost.call("DBSIZE")[1]
        lost.kill()
        nodes.all = others
        until("others have its slots", lambda: nodes.agree() and not others[0].nodes()[lost.port][1])
        assert key_count(nodes) == 600 - gone
        client = Client(ports[:2])
        kept = sum(client.call("GET", key) == ("$", value) for key, value in there.items())
        assert kept == 600 - gone
        check_filled(ports[:2], fill(ports[:2], 600))
        assert any("a node is lost" in node.log.read_text() for node in others)
        # It comes back to a cluster that goes on without it.
        lost.start()
        nodes.all = [*others, lost]
        until("all agree", nodes.agree)
        assert lost.name() == name and lost.call("DBSIZE") == (":", 0)
        assert lost.call("GET", "filler:1")[1].startswith(b"MOVED")
        cli_check = three_nodes.cli("check", f"{HOST}:{ports[0]}")
        assert "[OK] All 16384 slots covered." in cli_check
    return f"{gone} keys were lost"


def a_lost_node_ends_its_migrations(binary: str) -> str:
    """Source or target is killed while slots are on their way: the cluster serves all slots, each in one place."""
    with Nodes(binary) as nodes:
        ports = form(nodes)
        source, target = nodes.all[0], nodes.all[1]
        rounds = 0
        for victim in (source, target, source, target):
            assert source.call("CONFIG", "SET", "cluster-migration-max-bytes-per-second", "100000") == ("+", b"OK")
            fill(ports, 600)
            if not slots_of(source):
                source, target = target, source
            begin_move(source, target)
            time.sleep(0.3 + rounds * 0.3)
            victim.kill()
            victim.start()
            assert source.call("CONFIG", "SET", "cluster-migration-max-bytes-per-second", "0") == ("+", b"OK")
            until("all agree", nodes.agree)
            until("the migration is over", lambda: all(is_over(node) for node in nodes.all))
            there = fill(ports, 600)
            check_filled(ports, there)
            until("no key is in two places", lambda: key_count(nodes) == 600)
            rounds += 1
        # The source does not come back before it is given up.
        if not slots_of(source):
            source, target = target, source
        assert all(node.call("CONFIG", "SET", "cluster-repair-delay", "1") == ("+", b"OK") for node in nodes.all)
        assert source.call("CONFIG", "SET", "cluster-migration-max-bytes-per-second", "100000") == ("+", b"OK")
        begin_move(source, target)
        time.sleep(0.5)
        source.kill()
        nodes.all.remove(source)
        until("others have its slots", lambda: nodes.agree() and not nodes.all[0].nodes()[source.port][1])
        ports = [node.port for node in nodes.all]
        check_filled(ports, fill(ports, 500))
    return f"{rounds + 1} kills"


def nodes_of_another_mode_are_kept_out(binary: str) -> str:
    with Nodes(binary) as nodes:
        first = nodes.add()
        other = nodes.add("--mode", "durable", "--cluster-join", f"{HOST}:{first.port}")
        until("it is told why", lambda: "all nodes of a cluster must be in one" in other.log.read_text())
        assert len(first.nodes()) == 1 and len(other.nodes()) == 1
        other.stop()
        other.options = ("--mode", "durable")
        other.start()
        reply = first.call("CLUSTER", "MEET", HOST, str(other.port))
        until("nor does MEET", lambda: len(first.nodes()) == 1 and len(other.nodes()) == 1)
        # Nor does a directory change its mode.
        other.stop()
        words = [binary, "--mode", "cache", "--cluster-enabled", "yes", "--port", str(other.port)]
        words += ["--dir", str(other.directory)]
        done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode != 0 and "cluster in durable mode" in done.stdout + done.stderr, done
    return f"MEET answers {reply[1].decode()}"


def there_are_no_replicas_unless_they_are_asked_for(binary: str) -> str:
    with Nodes(binary) as nodes:
        form_by_joining(nodes)
        empty = nodes.add("--cluster-join", f"{HOST}:{nodes.all[0].port}", "--cluster-auto-balance", "no")
        until("it is in", lambda: len(empty.nodes()) == 4)
        kind, why = empty.call("CLUSTER", "REPLICATE", nodes.all[0].name())
        assert kind == "-" and b"there are no replicas" in why, why
        kind, why = empty.call("CLUSTER", "FAILOVER")
        assert kind == "-", why
        for node in nodes.all:
            assert node.call("WAIT", "1", "100") == (":", 0)
        # An empty node can be forgotten, one with slots cannot, and a reset one founds its own cluster.
        assert nodes.all[0].call("CLUSTER", "FORGET", nodes.all[1].name())[0] == "-"
        assert empty.call("CLUSTER", "RESET", "HARD") == ("+", b"OK")
        until("it is gone", lambda: all(len(node.nodes()) == 3 for node in nodes.all[:3]))
        until("it is alone", lambda: len(empty.nodes()) == 1)
    return "refused"


def redis_cli_creates_a_cluster(binary: str) -> str:
    with Nodes(binary) as nodes:
        for _ in range(3):
            nodes.add("--cluster-auto-balance", "no")
        places = [f"{HOST}:{node.port}" for node in nodes.all]
        created = three_nodes.cli("create", *places, "--cluster-yes")
        assert "[OK] All 16384 slots covered." in created, created
        until("all agree", nodes.agree)
        ports = [node.port for node in nodes.all]
        there = fill(ports, 500)
        source, target = nodes.all[0], nodes.all[2]
        with Load(ports) as load:
            three_nodes.cli(
                "reshard", places[0], "--cluster-from", source.name(), "--cluster-to", target.name(),
                "--cluster-slots", "60", "--cluster-yes",
            )
        load.check(Client(ports))
        check_filled(ports, there)
        three_nodes.cli("check", places[1])
    return "three nodes, 60 slots moved"


def a_dump_may_be_made_while_slots_move(binary: str) -> str:
    with Nodes(binary) as nodes:
        ports = form(nodes)
        there = fill(ports, 3000)
        source, target = nodes.all[0], nodes.all[1]
        for node in nodes.all:
            assert node.call("CONFIG", "SET", "rdb-key-save-delay", "300")[0] in "+-"
        begin_move(source, target)
        saves = 0
        while not moving.has_moved(nodes, source, target):
            for node in (source, target):
                saves += node.call("BGSAVE")[0] == "+"
            time.sleep(0.02)
        check_filled(ports, there)
        assert source.call("DBSIZE") == (":", 0)
    return f"{saves} dumps begun"


def a_flush_while_slots_leave_is_not_undone(binary: str) -> str:
    with Nodes(binary) as nodes:
        ports = form(nodes)
        source, target = nodes.all[0], nodes.all[1]
        assert source.call("CONFIG", "SET", "cluster-migration-max-bytes-per-second", "100000") == ("+", b"OK")
        fill(ports, 600)
        begin_move(source, target)
        time.sleep(0.3)
        elsewhere = key_count(nodes) - source.call("DBSIZE")[1]
        reply = source.call("FLUSHALL")
        assert source.call("CONFIG", "SET", "cluster-migration-max-bytes-per-second", "0") == ("+", b"OK")
        until("the slots have moved", lambda: moving.has_moved(nodes, source, target))
        # Unless it came when the slots had been sealed.
        expected = elsewhere if reply == ("+", b"OK") else 600
        assert key_count(nodes) == expected, (reply, key_count(nodes), expected)
    return reply[1].decode()


CASES = [
    three_nodes.nodes_that_join_share_the_slots,
    nodes_of_another_mode_are_kept_out,
    there_are_no_replicas_unless_they_are_asked_for,
    redis_cli_creates_a_cluster,
    whoever_is_killed_comes_back_empty,
    a_restart_is_counted,
    slots_of_a_lost_node_are_served_empty_by_others,
    moving.slots_move_under_load,
    moving.all_that_a_key_has_goes_along,
    moving.a_move_can_be_taken_back,
    moving.a_node_is_emptied_and_slots_are_spread_again,
    a_lost_node_ends_its_migrations,
    a_dump_may_be_made_while_slots_move,
    a_flush_while_slots_leave_is_not_undone,
    keywise.clients_are_told_where_keys_are,
    keywise.resharding_under_load_loses_nothing,
]

if __name__ == "__main__":
    sys.exit(run_with_binary("cache", CASES))
