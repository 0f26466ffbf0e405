#!/usr/bin/env python3
"""Kills the server with SIGKILL at random moments under load, or tells it to stop, and looks after each restart at what
is there.

Every acknowledged write must be there, every other one whole or not at all, and in the order in which each client has
sent them. A kill takes nothing that was written, so this holds whatever `fsync` says.
"""

import random
import sys
import time
from pathlib import Path

import rounds
from load import Load, Wrong
from node import Node
from server import binary_under_test


def main() -> int:
    options = rounds.options_of(__doc__, "kill", 20).parse_args()
    return rounds.run("kill", "kill", options, lambda home, seed: KillTest(home, seed, options.seconds))


class KillTest:
    """One directory, and the load that runs against it from start to start."""

    def __init__(self, home: Path, seed: int, seconds: float):
        self.random = random.Random(seed)
        self.seconds = seconds
        self.load = Load(seed)
        self.node = Node(binary_under_test(), home / "data")
        self.sent = self.acked = 0
        self.slowest = 0.0
        self.start()

    def round(self, number: int) -> None:
        if number % 10 == 0:
            self.kill_in_flush()
        elif number % 10 == 5:
            self.end_under_load(self.stop)
        else:
            self.end_under_load(self.node.kill)

    def end_under_load(self, end) -> None:
        self.load.start(self.node)
        time.sleep(self.seconds * self.random.random())
        end()
        self.load.finish()
        self.note_figures()
        self.start()
        connection = self.node.connect()
        self.load.check(connection)
        connection.close()

    def stop(self) -> None:
        status = self.node.stop()
        if status != 0:
            raise Wrong(f"told to stop, the server ended with status {status}: {self.node.tail()}")

    def kill_in_flush(self) -> None:
        self.load.start(self.node)
        time.sleep(self.seconds * self.random.random() / 2)
        self.load.finish()
        self.note_figures()
        connection = self.node.connect()
        self.load.check(connection)
        for part in (*self.load.clients, *self.load.queues):
            part.begin()
        connection.send(b"FLUSHALL\r\n")
        was_acknowledged = self.random.random() < 0.5 and connection.read() == ("+", b"OK")
        time.sleep(self.random.random() / 200)
        self.node.kill()
        self.start()
        connection = self.node.connect()
        self.load.check_after_flush(connection, was_acknowledged)
        connection.close()

    def start(self) -> None:
        """With other settings each time: little memory makes keys cold and flushes frequent. Some starts are killed."""
        rng = self.random
        self.node.options = (
            *("--fsync", rng.choice(("always", "always", "everysec", "no"))),
            *("--maxmemory", rng.choice(("0", "16mb"))),
            *("--engine-memory", rng.choice(("16mb", "64mb"))),
            *("--io-threads", rng.choice(("1", "1", "3"))),
        )
        while rng.random() < 0.15:
            self.node.spawn()
            time.sleep(rng.random() / 5)
            self.node.kill()
        self.slowest = max(self.slowest, self.node.start())

    def story(self) -> str:
        return f"with {' '.join(self.node.options)}"

    def figures(self) -> str:
        return f"{self.sent} steps sent, {self.acked} acknowledged, longest start {self.slowest:.2f} s"

    def note_figures(self) -> None:
        sent, acked = self.load.figures()
        self.sent += sent
        self.acked += acked


if __name__ == "__main__":
    sys.exit(main())
