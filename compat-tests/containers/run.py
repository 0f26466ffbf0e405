#!/usr/bin/env python3
"""Runs the image, the compose files and the pods of docker/ and kubernetes/ with podman, where no registry is reached
(engine.py). Needs root, debootstrap, podman, crun, netavark, iptables; `./dev containers` installs them."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / name) for name in ("harness", "cluster", "operations")]

import compose  # noqa: E402
import engine  # noqa: E402
import image  # noqa: E402
import pods  # noqa: E402
from cases import run_cases  # noqa: E402
from server import binary_under_test  # noqa: E402

CASES = [*image.CASES, *compose.CASES, *pods.CASES]


# Images are built with the network of the machine, because their packages come from there.
BUILDING = ["--mount"]
RUNNING = ["--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]


def main() -> int:
    engine.use_own_places()
    if not engine.is_within(RUNNING):
        engine.enter(BUILDING)
        engine.forget_containers()
        engine.build_images(binary_under_test())
    engine.enter(RUNNING)
    try:
        return run_cases("containers", CASES, sys.argv[1:])
    finally:
        engine.forget_containers()


if __name__ == "__main__":
    sys.exit(main())
