#!/usr/bin/env python3
"""Three nodes and more: forming a cluster, losing nodes, getting them back, and nothing lost that was acknowledged."""

import subprocess
import sys
import time

from load import COUNTERS, Load, surely
from nodes import HOST, Client, Nodes, form_by_joining, is_settled, run_with_binary, until
from resp import Connection

def nodes_that_join_share_the_slots(binary: str) -> str:
    with Nodes(binary) as nodes:
        form_by_joining(nodes)
        # At once, or later if one of them has taken long to come.
        until("each has its share", lambda: nodes.all[0].shares() == [5461, 5461, 5462])
    return "three nodes"


def only_who_knows_the_secret_is_let_in(binary: str) -> str:
    secret, other = ("--cluster-secret", "sesame-open-yourself"), ("--cluster-secret", "barley-open-yourself")
    with Nodes(binary) as nodes:
        first = nodes.add(*secret)
        join = ("--cluster-join", f"{HOST}:{first.port}")
        for _ in range(2):
            nodes.add(*join, *secret)
        until("slots are given out, and all agree", nodes.agree)
        for options, why in ((other, "its `cluster-secret` is another"), ((), "it has a `cluster-secret`, and this")):
            stranger = nodes.add(*join, *options)
            until("it is told why", lambda: why in stranger.log.read_text())  # noqa: B023
            assert len(stranger.nodes()) == 1, "it has been let in"
        assert len(first.nodes()) == 3
        # It takes part like the others when it has been told the secret.
        stranger.stop()
        stranger.options = (*join, *secret)
        stranger.start()
        until("it is let in", lambda: len(first.nodes()) == 4)
    return "two kept out"


def any_node_may_be_killed(binary: str) -> str:
    with Nodes(binary) as nodes:
        ports = form_by_joining(nodes)
        until("there are copies", lambda: is_settled(nodes))
        gaps = []
        for victim in nodes.all:
            with Load(ports) as load:
                time.sleep(0.5)
                load.gap = 0.0
                victim.kill()
                time.sleep(5)
                gaps.append(load.gap)
                victim.start()
                time.sleep(1)
            until("all agree again", nodes.agree)
            load.check(Client(ports))
            # The counters begin anew, so that each round knows what it should find.
            for name in COUNTERS:
                surely(Client(ports), "DEL", name)
            until("copies are complete", lambda: is_settled(nodes))
    shown = ", ".join(f"{gap:.2f}" for gap in gaps)
    assert max(gaps) < 10, f"writes were held up for {shown} s"
    return f"gaps {shown} s"


def all_nodes_killed_at_once_come_back_with_everything(binary: str) -> str:
    with Nodes(binary) as nodes:
        ports = form_by_joining(nodes)
        with Load(ports) as load:
            time.sleep(1)
            for node in nodes.all:
                node.kill()
            for node in nodes.all:
                node.start()
            until("all agree again", nodes.agree)
            time.sleep(1)
        count = load.check(Client(ports))
    return f"{count} writes"


def a_planned_stop_hands_over(binary: str) -> str:
    with Nodes(binary) as nodes:
        ports = form_by_joining(nodes)
        until("there are copies", lambda: is_settled(nodes))
        with Load(ports) as load:
            time.sleep(0.5)
            load.gap = 0.0
            nodes.all[1].stop()
            time.sleep(2)
            gap = load.gap
            nodes.all[1].start()
            time.sleep(1)
        until("all agree again", nodes.agree)
        load.check(Client(ports))
    return f"gap {gap:.2f} s"


def wait_counts_copies(binary: str) -> str:
    with Nodes(binary) as nodes:
        form_by_joining(nodes)
        until("there are copies", lambda: is_settled(nodes))
        owner = next(node for node in nodes.all if node.call("SET", "a", "1") == ("+", b"OK"))
        connection = Connection(HOST, owner.port)
        for number in range(20):
            assert connection.call("SET", "a", str(number)) == ("+", b"OK")
            assert connection.call("WAIT", "2", "5000") == (":", 2)
        assert connection.call("WAITAOF", "1", "2", "5000") == ("*", [(":", 1), (":", 2)])
        assert connection.call("WAIT", "0", "0") == (":", 2)
        next(node for node in nodes.all if node is not owner).kill()
        assert connection.call("SET", "a", "x") == ("+", b"OK")
        began = time.monotonic()
        assert connection.call("WAIT", "2", "300") == (":", 1)
        assert time.monotonic() - began >= 0.3
        assert connection.call("WAIT", "1", "0") == (":", 1)
    return "two copies, then one"


def slots_taken_back_have_what_they_had(binary: str) -> str:
    """What was just deleted in a slot that is let go must not come back with it."""
    rounds = 30
    with Nodes(binary) as nodes:
        node = nodes.add()
        connection = Connection(HOST, node.port)
        assert connection.call("CLUSTER", "ADDSLOTSRANGE", "0", "16383") == ("+", b"OK")
        until("it serves", lambda: connection.call("SET", "a", "1") == ("+", b"OK"))
        for _ in range(rounds):
            for number in range(50):
                assert connection.call("SET", f"key{number}", "value") == ("+", b"OK")
            assert connection.call("FLUSHALL") == ("+", b"OK")
            assert connection.call("CLUSTER", "FLUSHSLOTS") == ("+", b"OK")
            assert connection.call("CLUSTER", "ADDSLOTSRANGE", "0", "16383") == ("+", b"OK")
            assert connection.call("DBSIZE") == (":", 0)
            assert connection.call("EXISTS", "key1") == (":", 0)
    return f"{rounds} times"


def nodes_come_and_go_by_redis_cli(binary: str) -> str:
    with Nodes(binary) as nodes:
        for _ in range(4):
            nodes.add()
        places = [f"{HOST}:{node.port}" for node in nodes.all]
        cli("create", *places[:3], "--cluster-yes")
        cli("add-node", places[3], places[0], "--cluster-slave")
        until("it is a replica", lambda: "slave" in nodes.all[0].nodes()[nodes.all[3].port][0])
        until("it knows its master", lambda: nodes.all[3].call("ROLE")[1][0] == ("$", b"slave"))
        for refused in (["WAIT", "0", "0"], ["WAITAOF", "0", "0", "0"]):
            kind, text = nodes.all[3].call(*refused)
            assert kind == "-" and f"ERR {refused[0]} cannot be used with replica instances.".encode() in text, text
        cli("del-node", places[0], nodes.all[3].name())
        until("it is alone again", lambda: len(nodes.all[3].nodes()) == 1 and len(nodes.all[1].nodes()) == 3)
        cli("add-node", places[3], places[1])
        until("it is back", lambda: all(len(node.nodes()) == 4 for node in nodes.all))
        cli("check", places[2])
    return "a fourth node, twice"


def cli(command: str, *words: str) -> str:
    done = subprocess.run(["redis-cli", "--cluster", command, *words], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def redis_cli_creates_a_cluster(binary: str) -> str:
    with Nodes(binary) as nodes:
        for _ in range(6):
            nodes.add()
        places = [f"{HOST}:{node.port}" for node in nodes.all]
        created = cli("create", *places, "--cluster-replicas", "1", "--cluster-yes")
        assert "[OK] All 16384 slots covered." in created, created
        until("all agree", nodes.agree)
        until("the roles are known", lambda: roles(nodes.all[0]) == ["master"] * 3 + ["slave"] * 3)
        cli("check", places[3])
        client = Client([node.port for node in nodes.all])
        for number in range(200):
            assert client.call("SET", f"key:{number}", str(number)) == ("+", b"OK")
        until("there are copies", lambda: is_settled(nodes))
        nodes.all[0].kill()
        for number in range(200):
            assert surely(client, "GET", f"key:{number}") == ("$", str(number).encode())
    return "six nodes"


def roles(node) -> list:
    """Of all nodes, in the order of the alphabet, as this one shows them."""
    return sorted(flags.removeprefix("myself,") for flags, _ in node.nodes().values())


CASES = [
    nodes_that_join_share_the_slots,
    only_who_knows_the_secret_is_let_in,
    any_node_may_be_killed,
    all_nodes_killed_at_once_come_back_with_everything,
    a_planned_stop_hands_over,
    wait_counts_copies,
    slots_taken_back_have_what_they_had,
    nodes_come_and_go_by_redis_cli,
    redis_cli_creates_a_cluster,
]


if __name__ == "__main__":
    sys.exit(run_with_binary("three-nodes", CASES))
