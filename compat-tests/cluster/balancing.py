#!/usr/bin/env python3
"""Slots that are spread by what they have: a node joins a cluster whose data lies mostly in few slots."""

import binascii
import random
import sys

from nodes import HOST, Client, Nodes, run_with_binary, until

SLOTS = 16384
# All but a tenth of the bytes are in these slots.
HEAVY = 2000
# Copies are others' affair, and would have to be moved as well.
ALONE = ["--cluster-replicas", "0"]
# How long slots may take to move where other work keeps the machine busy.
PATIENCE = 240.0
# What is tolerated, with what rounding and the little data of a test add to it.
TOLERANCE = 0.2


def slot_of(key: str) -> int:
    return binascii.crc_hqx(key.encode(), 0) % SLOTS


def fill(ports: list) -> dict:
    """Keys all over the slots: in the first ones large ones, half of them collections. Returns bytes by slot."""
    rng = random.Random(5)
    client = Client(ports)
    bytes_of: dict = {}
    for number in range(4000):
        key = f"key:{number}"
        slot = slot_of(key)
        size = rng.randrange(20_000, 120_000) if slot < HEAVY else 1000
        if slot < HEAVY and number % 2 == 0:
            # In parts on disk.
            fields = [word for at in range(size // 1000) for word in (f"field:{at}", "x" * 1000)]
            assert client.call("HSET", key, *fields)[0] == ":"
        else:
            assert client.call("SET", key, "x" * size) == ("+", b"OK")
        bytes_of[slot] = bytes_of.get(slot, 0) + size
    return bytes_of


def shares(nodes: Nodes, bytes_of: dict) -> list:
    """Which part of the bytes each node has."""
    total = sum(bytes_of.values())
    found = []
    lines = nodes.all[0].nodes()
    for node in nodes.all:
        has = 0
        for word in lines[node.port][1]:
            if not word.startswith("["):
                first, last = (int(number) for number in (word.split("-") if "-" in word else (word, word)))
                has += sum(bytes_of.get(slot, 0) for slot in range(first, last + 1))
        found.append(has / total)
    return found


def is_even(nodes: Nodes, bytes_of: dict) -> bool:
    fair = 1 / len(nodes.all)
    return all(abs(share - fair) <= TOLERANCE * fair for share in shares(nodes, bytes_of))


def is_quiet(nodes: Nodes) -> bool:
    migrations = [entry for node in nodes.all for entry in map(str, node.call("CLUSTER", "GETSLOTMIGRATIONS")[1])]
    return all(any(word in entry for word in ("success", "failed", "cancel")) for entry in migrations)


def plan_of(node) -> list:
    kind, lines = node.call("CLUSTER", "BALANCE", "DRYRUN")
    assert kind == "*", lines
    return [text.decode() for _, text in lines]


def two_with_skewed_data(nodes: Nodes) -> tuple:
    first = nodes.add(*ALONE)
    nodes.add(*ALONE, "--cluster-join", f"{HOST}:{first.port}")
    until("slots are given out, and all agree", nodes.agree)
    assert first.call("CONFIG", "SET", "cluster-auto-balance", "no") == ("+", b"OK")
    bytes_of = fill([node.port for node in nodes.all])
    assert max(shares(nodes, bytes_of)) > 0.85
    return first, bytes_of


def slots_go_to_a_new_node_by_their_bytes_when_told(binary: str) -> str:
    with Nodes(binary) as nodes:
        first, bytes_of = two_with_skewed_data(nodes)
        third = nodes.add(*ALONE, "--cluster-join", f"{HOST}:{first.port}")
        until("all know all", lambda: all(len(node.nodes()) == 3 for node in nodes.all))
        # Every node can say it, also the one that has just come.
        for node in (first, third):
            until("the plan knows of bytes", lambda: any(" bytes and should" in line for line in plan_of(node)))
        until("every slot has been weighed", lambda: plan_covers(plan_of(first), sum(bytes_of.values())))
        heaviest = max(nodes.all, key=lambda node: shares(nodes, bytes_of)[nodes.all.index(node)]).name()
        # What was not weighed yet counts as much as the others do on average.
        unburdens = f"from {heaviest} to {third.name()}: {heaviest} has 9"
        until("the heaviest gives to the newest", lambda: any(unburdens in line for line in plan_of(first)))
        plan = plan_of(first)
        assert first.call("CLUSTER", "BALANCE")[0] == "*"

        def has_balanced() -> bool:
            if is_quiet(nodes) and not is_even(nodes, bytes_of):
                # Some slots were weighed only after the plan was made.
                assert first.call("CLUSTER", "BALANCE")[0] == "*"
            return is_quiet(nodes) and is_even(nodes, bytes_of)

        until("bytes are even", has_balanced, PATIENCE)
        until("nothing is left to do", lambda: plan_of(first) == [])
        until("all agree", nodes.agree)
        found = shares(nodes, bytes_of)
    return f"{len(plan)} moves, shares {', '.join(f'{share:.3f}' for share in found)}; {plan[0]}"


def plan_covers(plan: list, total: int) -> bool:
    """Whether the total that the plan speaks of is what there is."""
    words = " ".join(plan).split()
    said = [int(words[at - 1]) for at in range(1, len(words)) if words[at] == "bytes" and words[at - 1].isdigit()]
    return any(abs(number - total) < 0.1 * total for number in said)


def slots_go_to_a_new_node_by_themselves(binary: str) -> str:
    with Nodes(binary) as nodes:
        first, bytes_of = two_with_skewed_data(nodes)
        assert first.call("CONFIG", "SET", "cluster-auto-balance", "yes") == ("+", b"OK")
        third = nodes.add(*ALONE, "--cluster-join", f"{HOST}:{first.port}")
        until("it has slots", lambda: third.nodes()[third.port][1] != [], PATIENCE)
        until("bytes are even", lambda: is_even(nodes, bytes_of) and is_quiet(nodes), PATIENCE)
        found = shares(nodes, bytes_of)
    return f"shares {', '.join(f'{share:.3f}' for share in found)}"


CASES = [slots_go_to_a_new_node_by_their_bytes_when_told, slots_go_to_a_new_node_by_themselves]

if __name__ == "__main__":
    sys.exit(run_with_binary("balancing", CASES))
