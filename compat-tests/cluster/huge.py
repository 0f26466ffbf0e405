#!/usr/bin/env python3
"""A slot with a huge key moves to another node, and nobody is held up by that: neither who uses other keys of the two
nodes, nor who uses the huge key itself. `huge.py MEMBERS [case]` does it with so many members.
"""

import os
import sys
import threading
import time

from balancing import slot_of
from load import surely
from moving import form
from nodes import HOST, Client, Nodes, is_settled, run_with_binary, until
from resp import Closed, Connection

MEMBERS = next((int(word) for word in sys.argv[1:] if word.isdigit()), 400_000)
# In seconds, for a call that has nothing to do with what moves. Far more than one takes, far less than to copy all.
# What is written in durable mode shares the disk with what moves, three times on this machine.
CALM_MAX = 0.5 if os.environ.get("BASALT_MODE") == "cache" else 2.0
# For one at the huge key, whose slot is served by nobody for a moment.
SEAL_MAX = 5.0
# How long each call is watched before anything moves.
QUIET_SECONDS = 2.0
PATIENCE = 900.0
# Members that are added by one command.
STEP = 1000


class Watch:
    """Calls again and again, and knows how long that took at worst."""

    def __init__(self, ports: list, name: str, *words):
        self.name, self.words = name, words
        self.client = Client(ports)
        self.times: list = []
        self.failure = None
        self.is_over = threading.Event()
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self) -> None:
        number = 0
        try:
            while not self.is_over.is_set():
                number += 1
                began = time.monotonic()
                try:
                    reply = self.client.call(*(word.replace("#", str(number)) for word in self.words))
                    assert reply[0] in "+:$", (self.words, reply)
                except Closed:
                    # Its fate is unknown; how long it took counts all the same.
                    pass
                self.times.append(time.monotonic() - began)
                time.sleep(0.002)
        except Exception as error:  # noqa: BLE001: shown by the main thread
            self.failure = error

    def take(self) -> tuple:
        """Worst and 99th percentile since it was asked last, in seconds."""
        times, self.times = sorted(self.times), []
        assert self.failure is None, self.failure
        assert times, f"{self.name}: no call has ended"
        return times[-1], times[int(len(times) * 0.99)]

    def end(self) -> None:
        self.is_over.set()
        self.thread.join()


def fill(port: int, command: str, key: str, words_of) -> None:
    connection = Connection(HOST, port, timeout=60)
    for first in range(0, MEMBERS, STEP):
        words = [word for number in range(first, min(first + STEP, MEMBERS)) for word in words_of(number)]
        assert connection.call(command, key, *words)[0] == ":"
    connection.close()


def beside(key: str, slots: set) -> str:
    """A key of another slot in the same stripe, which is locked with it, and of the same node."""
    slot, number = slot_of(key), 0
    while True:
        name = f"beside:{number}"
        if slot_of(name) // 256 == slot // 256 and slot_of(name) != slot and slot_of(name) in slots:
            return name
        number += 1


def owned(node) -> set:
    numbers: set = set()
    for word in node.nodes()[node.port][1]:
        if not word.startswith("["):
            first, last = (int(number) for number in (word.split("-") if "-" in word else (word, word)))
            numbers.update(range(first, last + 1))
    return numbers


def name_on(slots: set, prefix: str) -> str:
    return next(name for name in (f"{prefix}:{number}" for number in range(100_000)) if slot_of(name) in slots)


def shown(times: tuple) -> str:
    return "/".join(f"{seconds * 1000:.1f}" for seconds in times) + " ms"


def move_one(binary: str, command: str, words_of, touch: tuple) -> str:
    """`touch` is a command on the huge key, in which # stands for a number; it adds or changes one element."""
    with Nodes(binary) as nodes:
        ports = form(nodes)
        until("there are copies", lambda: is_settled(nodes))
        source, target = nodes.all[0], nodes.all[1]
        here = owned(source)
        # In the middle of a stripe that is all of this node.
        huge = next(
            name
            for name in (f"huge:{number}" for number in range(100_000))
            if all(slot in here for slot in range(slot_of(name) // 256 * 256, slot_of(name) // 256 * 256 + 256))
        )
        fill(source.port, command, huge, words_of)
        client = Client(ports)
        assert surely(client, "EXPIRE", huge, "100000") == (":", 1)
        near, far, theirs = beside(huge, here), name_on(here, "far"), name_on(owned(target), "theirs")
        bystander = name_on(owned(nodes.all[2]), "bystander")
        watches = [
            Watch(ports, "bystander", "SET", bystander, "#"),
            Watch(ports, "same stripe", "SET", near, "#"),
            Watch(ports, "same node", "SET", far, "#"),
            Watch(ports, "target", "SET", theirs, "#"),
            Watch(ports, "huge key", touch[0], huge, *touch[1:]),
        ]
        try:
            time.sleep(QUIET_SECONDS)
            quiet = {watch.name: watch.take() for watch in watches}
            slot, name = str(slot_of(huge)), target.name()
            began = time.monotonic()
            assert source.call("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", slot, slot, "NODE", name) == ("+", b"OK")
            until("the slot has moved", lambda: int(slot) in owned(target), PATIENCE)
            took = time.monotonic() - began
            # What is left at the source goes away behind everybody's back.
            time.sleep(1.0)
            moving = {watch.name: watch.take() for watch in watches}
        finally:
            for watch in watches:
                watch.end()
        length = {"SADD": "SCARD", "HSET": "HLEN", "ZADD": "ZCARD", "RPUSH": "LLEN"}[command]
        assert surely(client, length, huge)[1] >= MEMBERS
        assert 90_000 < surely(client, "TTL", huge)[1] <= 100_000
        figures = "; ".join(f"{name} {shown(moving[name])} (quiet {shown(quiet[name])})" for name in moving)
        for name, (worst, _) in moving.items():
            limit = SEAL_MAX if name == "huge key" else CALM_MAX
            # Whoever has nothing to do with it shows how busy the machine is.
            noise = 3 * max(quiet[name][0], moving["bystander"][0])
            assert worst < max(limit, noise), f"{name} had to wait for {worst:.2f} s: {figures}"
    return f"{MEMBERS} members in {took:.1f} s; max/p99: {figures}"


def a_set_moves(binary: str) -> str:
    return move_one(binary, "SADD", lambda number: [f"member:{number}"], ("SADD", "new:#"))


def a_hash_moves(binary: str) -> str:
    pair = ("HSET", "field:#", "new")
    return move_one(binary, "HSET", lambda number: [f"field:{number}", f"value:{number}"], pair)


def a_sorted_set_moves(binary: str) -> str:
    return move_one(binary, "ZADD", lambda number: [str(number), f"member:{number}"], ("ZADD", "#", "member:#"))


def a_list_moves(binary: str) -> str:
    return move_one(binary, "RPUSH", lambda number: [f"element:{number}"], ("RPUSH", "new:#"))


CASES = [a_set_moves, a_hash_moves, a_sorted_set_moves, a_list_moves]

if __name__ == "__main__":
    sys.argv = [word for word in sys.argv if not word.isdigit()]
    sys.exit(run_with_binary("huge", CASES))
