"""What the tests in rounds share: the seed, the directory that is kept after a failure, the closing line.

A test is made from a directory and a seed. It has `round(number)`, a `node`, `figures()` for the end of a good run, and
`story()`, what is to be known about the round that failed.
"""

import argparse
import os
import shutil
import tempfile
import traceback
from pathlib import Path

from load import Wrong
from node import NotStarted


def options_of(doc: str, fault: str, count: int) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(f"--{fault}s", type=int, default=count, dest="rounds")
    parser.add_argument("--seed", type=int, default=None, help="repeats the choices of a run, but not its timing")
    parser.add_argument("--seconds", type=float, default=1.5, help=f"the longest time between a start and the {fault}")
    return parser


def run(name: str, fault: str, options: argparse.Namespace, make) -> int:
    seed = options.seed if options.seed is not None else int.from_bytes(os.urandom(4), "big")
    print(f"{name}: seed {seed}, {options.rounds} {fault}s", flush=True)
    home = Path(tempfile.mkdtemp(prefix=f"basalt-{name}-"))
    test = make(home, seed)
    try:
        for number in range(1, options.rounds + 1):
            test.round(number)
        test.node.stop()
    except (Wrong, NotStarted) as failure:
        print(f"{name}: FAILED at {fault} {number} with seed {seed}: {failure}\n{test.story()}")
        print(f"the directory is kept: {home}\nwhat the server said last:\n{test.node.tail()}")
    except Exception:
        traceback.print_exc()
        print(f"{name}: the test failed at {fault} {number} with seed {seed}; the directory is kept: {home}")
    else:
        shutil.rmtree(home)
        print(test.figures())
        print(f"{name}: {options.rounds} passed, 0 failed, 0 skipped")
        return 0
    finally:
        test.node.kill()
    print(f"{name}: {number - 1} passed, 1 failed, 0 skipped")
    return 1
