#!/usr/bin/env python3
"""Kills the server with SIGKILL at random moments under load, and looks after each restart at what is there.

Every acknowledged write must be there, every other one whole or not at all, and in the order in which each client has
sent them. A kill takes nothing that was written, so this holds whatever `fsync` says.
"""

import argparse
import os
import random
import shutil
import sys
import tempfile
import time
import traceback
from pathlib import Path

from load import Load, Wrong
from node import Node, NotStarted
from server import binary_under_test


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=None, help="repeats the choices of a run, but not its timing")
    parser.add_argument("--seconds", type=float, default=1.5, help="the longest time between a start and the kill")
    options = parser.parse_args()
    seed = options.seed if options.seed is not None else int.from_bytes(os.urandom(4), "big")
    print(f"kill: seed {seed}, {options.kills} kills", flush=True)
    home = Path(tempfile.mkdtemp(prefix="basalt-kill-"))
    test = KillTest(home, seed, options.seconds)
    try:
        for number in range(1, options.kills + 1):
            test.round(number)
        test.node.stop()
    except (Wrong, NotStarted) as failure:
        print(f"kill: FAILED at kill {number} with seed {seed}: {failure}\nthe directory is kept: {home}")
        print("what the server said last:\n" + test.node.tail())
    except Exception:
        traceback.print_exc()
        print(f"kill: the test failed at kill {number} with seed {seed}; the directory is kept: {home}")
    else:
        shutil.rmtree(home)
        print(f"{test.sent} steps sent, {test.acked} acknowledged, longest start {test.slowest:.2f} s")
        print(f"kill: {options.kills} passed, 0 failed, 0 skipped")
        return 0
    finally:
        test.node.kill()
    print(f"kill: {number - 1} passed, 1 failed, 0 skipped")
    return 1


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
        else:
            self.kill_under_load()

    def kill_under_load(self) -> None:
        self.load.start(self.node)
        time.sleep(self.seconds * self.random.random())
        self.node.kill()
        self.load.finish()
        self.note_figures()
        self.start()
        connection = self.node.connect()
        self.load.check(connection)
        connection.close()

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
        )
        while rng.random() < 0.15:
            self.node.spawn()
            time.sleep(rng.random() / 5)
            self.node.kill()
        self.slowest = max(self.slowest, self.node.start())

    def note_figures(self) -> None:
        sent, acked = self.load.figures()
        self.sent += sent
        self.acked += acked


if __name__ == "__main__":
    sys.exit(main())
