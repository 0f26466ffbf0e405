#!/usr/bin/env python3
"""Takes the power away at random moments under load: what was not synced is lost, torn, or there in part.

With `fsync always` every acknowledged write must be there afterwards. With `fsync everysec` those of the last moments
may be lost, but from the end only: what is there is what a prefix of each client's steps makes. With `fsync no` only
that.
"""

import random
import sys
import time
from pathlib import Path

import rounds
from disk import Disk
from load import Load
from node import Node
from server import binary_under_test

# A sync per second, and the time it takes on a machine that has much to do.
EVERYSEC_SECONDS = 2.5


def main() -> int:
    parser = rounds.options_of(__doc__, "cut", 12)
    parser.add_argument("--verbose", action="store_true", help="tells what each cut has destroyed")
    options = parser.parse_args()
    return rounds.run("power", "cut", options, lambda home, seed: PowerTest(home, seed, options))


class PowerTest:
    """One directory on a disk that forgets, and the load that runs against it."""

    def __init__(self, home: Path, seed: int, options):
        self.random = random.Random(seed)
        self.seconds = options.seconds
        self.verbose = options.verbose
        self.load = Load(seed, clients=4)
        self.disk = Disk(home, home / "data")
        self.node = Node(binary_under_test(), self.disk.root, env=self.disk.env())
        self.fsync = "always"
        self.destroyed = "nothing yet"
        self.sent = self.acked = 0
        self.start()

    def round(self, number: int) -> None:
        self.load.start(self.node)
        # Long enough that `everysec` has something to lose and something to keep.
        at_least = EVERYSEC_SECONDS * 0.8 if self.fsync == "everysec" else 0
        time.sleep(at_least + self.seconds * self.random.random())
        cut_at = time.monotonic()
        self.node.kill()
        self.load.finish()
        sent, acked = self.load.figures()
        self.sent += sent
        self.acked += acked
        promised = {"always": None, "everysec": cut_at - EVERYSEC_SECONDS, "no": 0.0}[self.fsync]
        self.destroyed = self.disk.lose_power(self.random)
        self.start()
        connection = self.node.connect()
        self.load.check(connection, promised)
        self.sync(connection)
        connection.close()
        if self.verbose:
            print(f"{number}: {self.story()}", flush=True)

    def sync(self, connection) -> None:
        """What the check has deleted, since it had grown long, must not come back with the next cut."""
        for words in (["CONFIG", "SET", "fsync", "always"], ["SET", "synced", "1"], ["DEL", "synced"],
                      ["CONFIG", "SET", "fsync", self.fsync]):
            reply = connection.call(*words)
            assert reply[0] != "-", (words, reply)

    def story(self) -> str:
        return f"fsync {self.fsync}; what the cut has done: {self.destroyed}"

    def figures(self) -> str:
        return f"{self.sent} steps sent, {self.acked} acknowledged"

    def start(self) -> None:
        """With another setting each time; the power may also go while the server starts."""
        rng = self.random
        self.fsync = rng.choice(("always", "always", "always", "everysec", "no"))
        self.node.options = ("--fsync", self.fsync, "--engine-memory", "16mb", "--maxmemory", rng.choice(("0", "16mb")))
        while rng.random() < 0.2:
            self.node.spawn()
            time.sleep(rng.random() / 3)
            self.node.kill()
            self.destroyed += "; while starting: " + self.disk.lose_power(rng)
        self.node.start()


if __name__ == "__main__":
    sys.exit(main())
