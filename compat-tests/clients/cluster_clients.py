"""Cluster clients while their cluster changes: those of redis-py, ioredis and redis-rs, with their own settings,
through a rolling restart, slots that move, a node that is killed, one that comes and one that is drained.

No call may raise, since their own retries are to absorb all of it; and each reads what it has written, at once and in
the end. `CLUSTER_LOAD` names the program with redis-rs's client (cluster_load.rs); `./dev test` builds it.
"""

import json
import os
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "harness"), str(HERE.parent / "cluster")]

from cases import run_cases
from moving import begin_move, has_moved
from nodes import HOST, Nodes, form_by_joining, is_settled, until
from redis.cluster import ClusterNode, RedisCluster
from server import binary_under_test

THREADS = 3
KEYS = 100
# Calls after which clients have gone on.
MORE = 30
# How often a call is tried: by default for too short a time for a node to be missed. Only ioredis pauses between. For
# redis-rs it is the number of connections, each with retries of its own (see cluster_load.rs).
ATTEMPTS = {"redis-py": 3, "ioredis": 16, "redis-rs": 3}
ATTEMPTS_WITHOUT_LEADER = {"redis-py": 5000, "ioredis": 100, "redis-rs": 5000}

PROGRAMS = {"ioredis": ["node", str(HERE / "cluster_load.js")], "redis-rs": [os.environ["CLUSTER_LOAD"]]}


class PythonUsers:
    """Threads with a client each."""

    def __init__(self, ports: list, attempts: int):
        self.ports, self.attempts, self.calls, self.errors = ports, attempts, 0, []
        self.is_over = threading.Event()
        self.threads = [threading.Thread(target=self.work, args=(number,), daemon=True) for number in range(THREADS)]
        for thread in self.threads:
            thread.start()

    def work(self, number: int) -> None:
        try:
            places = [ClusterNode(HOST, port) for port in self.ports]
            client = RedisCluster(startup_nodes=places, cluster_error_retry_attempts=self.attempts)
        except Exception as error:  # noqa: BLE001: whatever it is, it is the result
            self.errors.append(f"no client: {error!r}")
            return
        turn = 0
        while not self.is_over.is_set():
            turn += 1
            self.attempt(self.use, client, number, turn)
        for last in range(max(1, turn - KEYS + 1), turn + 1):
            self.attempt(self.find, client, number, last)
        client.close()

    def attempt(self, call, client: RedisCluster, number: int, turn: int) -> None:
        try:
            call(client, f"python:{number}:{turn % KEYS}", str(turn).encode())
        except Exception as error:  # noqa: BLE001
            self.errors.append(f"{call.__name__}, turn {turn}: {error!r}")

    def use(self, client: RedisCluster, key: str, value: bytes) -> None:
        assert client.set(key, value) is True
        pipeline = client.pipeline()
        pipeline.hset(key + ":hash", "field", value)
        pipeline.hget(key + ":hash", "field")
        assert pipeline.execute()[1] == value, "another field than it has written"
        self.find(client, key, value)
        self.calls += 1

    def find(self, client: RedisCluster, key: str, value: bytes) -> None:
        """What `use` has written."""
        assert client.get(key) == value, "another value than it has written"
        assert client.hget(key + ":hash", "field") == value, "another field than it has written"

    def end(self) -> tuple:
        self.is_over.set()
        for thread in self.threads:
            thread.join()
        return self.calls, self.errors


class OtherUsers:
    """The same in a process of its own, which ends with its standard input."""

    def __init__(self, program: list, ports: list, attempts: int):
        words = [*program, str(attempts), *map(str, ports)]
        self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.calls = 0
        self.errors: list = []
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self) -> None:
        for line in self.process.stdout:
            told = json.loads(line)
            self.calls, self.errors = told["calls"], told["errors"]

    def end(self) -> tuple:
        self.process.stdin.close()
        self.process.wait(timeout=60)
        self.reader.join()
        return self.calls, self.errors


class Users:
    """Clients of all kinds, for as long as the context lasts; at its end there must have been no error."""

    def __init__(self, nodes: Nodes, attempts: dict = ATTEMPTS):
        self.ports, self.attempts = [node.port for node in nodes.all], attempts

    def __enter__(self) -> "Users":
        self.kinds = [PythonUsers(self.ports, self.attempts["redis-py"])]
        for name, program in PROGRAMS.items():
            self.kinds.append(OtherUsers(program, self.ports, self.attempts[name]))
        self.go_on()
        return self

    def go_on(self) -> None:
        """Until each kind has made some more calls."""
        for users in self.kinds:
            before = users.calls
            until("clients go on", lambda: users.calls >= before + MORE or users.errors)

    def __exit__(self, kind, *_) -> None:
        if kind is None:
            self.go_on()
        ends = [users.end() for users in self.kinds]
        if kind is None:
            for name, (calls, errors) in zip(["redis-py", *PROGRAMS], ends):
                assert not errors, f"{name}: {len(errors)} errors in {calls} calls, the first: {errors[:3]}"
                assert calls > 100, f"{name}: only {calls} calls"
            self.calls = sum(calls for calls, _ in ends)


@contextmanager
def formed():
    """Three nodes with all their copies."""
    with Nodes(binary_under_test()) as nodes:
        form_by_joining(nodes)
        settled(nodes)
        yield nodes


def settled(nodes: Nodes) -> None:
    until("all agree", nodes.agree)
    until("copies are complete", lambda: is_settled(nodes))


def a_rolling_restart() -> str:
    with formed() as nodes:
        with Users(nodes) as users:
            for node in nodes.all:
                node.stop()
                node.start()
                settled(nodes)
    return f"{users.calls} calls"


def slots_that_move() -> str:
    with formed() as nodes:
        with Users(nodes) as users:
            for at in range(3):
                source, target = nodes.all[at], nodes.all[(at + 1) % 3]
                begin_move(source, target)
                until("the slots have moved", lambda: has_moved(nodes, source, target))
    return f"{users.calls} calls"


def a_node_that_is_killed() -> str:
    with formed() as nodes:
        with Users(nodes, ATTEMPTS_WITHOUT_LEADER) as users:
            victim, others = nodes.all[1], [nodes.all[0], nodes.all[2]]
            victim.kill()
            until("others lead", lambda: all(not node.nodes()[victim.port][1] for node in others))
            users.go_on()
            victim.start()
            settled(nodes)
    return f"{users.calls} calls"


def a_node_that_comes_and_one_that_is_drained() -> str:
    with formed() as nodes:
        with Users(nodes) as users:
            first, leaving = nodes.all[0], nodes.all[2]
            nodes.add("--cluster-join", f"{HOST}:{first.port}")
            until("it is known", lambda: all(len(node.nodes()) == 4 for node in nodes.all))
            assert first.call("CLUSTER", "DRAIN", leaving.name()) == ("+", b"OK")
            until("it has no slots", lambda: all(not node.nodes()[leaving.port][1] for node in nodes.all))
    return f"{users.calls} calls"


CASES = [a_rolling_restart, slots_that_move, a_node_that_is_killed, a_node_that_comes_and_one_that_is_drained]

if __name__ == "__main__":
    sys.exit(run_cases("cluster-clients", CASES, sys.argv[1:]))
