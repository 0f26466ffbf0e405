#!/usr/bin/env python3
"""Takes the power away at random moments under load: what was not synced is lost, torn, or there in part.

With `fsync always` every acknowledged write must be there afterwards. With `fsync everysec` those of the last moments
may be lost, but from the end only: what is there is what a prefix of each client's steps makes. With `fsync no` only
that.
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

from disk import Disk
from load import Load, Wrong
from node import Node, NotStarted
from server import binary_under_test

# A sync per second, and the time it takes on a machine that has much to do.
EVERYSEC_SECONDS = 2.5


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cuts", type=int, default=12)
    parser.add_argument("--seed", type=int, default=None, help="repeats the choices of a run, but not its timing")
    parser.add_argument("--seconds", type=float, default=1.5, help="the longest time between a start and the cut")
    parser.add_argument("--verbose", action="store_true", help="tells what each cut has destroyed")
    options = parser.parse_args()
    seed = options.seed if options.seed is not None else int.from_bytes(os.urandom(4), "big")
    print(f"power: seed {seed}, {options.cuts} cuts", flush=True)
    home = Path(tempfile.mkdtemp(prefix="basalt-power-"))
    test = PowerTest(home, seed, options.seconds)
    try:
        for number in range(1, options.cuts + 1):
            test.round()
            if options.verbose:
                print(f"{number}: fsync {test.fsync}; {test.story}", flush=True)
        test.node.stop()
    except (Wrong, NotStarted) as failure:
        print(f"power: FAILED at cut {number} with seed {seed}, fsync {test.fsync}: {failure}")
        print(f"the directory is kept: {home}\nwhat the cut has done: {test.story}")
        print("what the server said last:\n" + test.node.tail())
    except Exception:
        traceback.print_exc()
        print(f"power: the test failed at cut {number} with seed {seed}; the directory is kept: {home}")
    else:
        shutil.rmtree(home)
        print(f"{test.sent} steps sent, {test.acked} acknowledged")
        print(f"power: {options.cuts} passed, 0 failed, 0 skipped")
        return 0
    finally:
        test.node.kill()
    print(f"power: {number - 1} passed, 1 failed, 0 skipped")
    return 1


class PowerTest:
    """One directory on a disk that forgets, and the load that runs against it."""

    def __init__(self, home: Path, seed: int, seconds: float):
        self.random = random.Random(seed)
        self.seconds = seconds
        self.load = Load(seed, clients=4)
        self.disk = Disk(home, home / "data")
        self.node = Node(binary_under_test(), self.disk.root, env=self.disk.env())
        self.fsync = "always"
        self.story = "nothing yet"
        self.sent = self.acked = 0
        self.start()

    def round(self) -> None:
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
        self.story = self.disk.lose_power(self.random)
        self.start()
        connection = self.node.connect()
        self.load.check(connection, promised)
        connection.close()

    def start(self) -> None:
        """With another setting each time; the power may also go while the server starts."""
        rng = self.random
        self.fsync = rng.choice(("always", "always", "always", "everysec", "no"))
        self.node.options = ("--fsync", self.fsync, "--engine-memory", "16mb", "--maxmemory", rng.choice(("0", "16mb")))
        while rng.random() < 0.2:
            self.node.spawn()
            time.sleep(rng.random() / 3)
            self.node.kill()
            self.story += "; while starting: " + self.disk.lose_power(rng)
        self.node.start()


if __name__ == "__main__":
    sys.exit(main())
