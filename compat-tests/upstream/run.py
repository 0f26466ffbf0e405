#!/usr/bin/env python3
"""Runs the upstream Redis 7.0 test suite against a server binary, file by file.

Two ways, as upstream has them:
  binary    our binary in the place of src/redis-server: the suite starts servers with its own configurations
  external  a server that already runs, reached through --host/--port; upstream leaves out what cannot run so

Each file is one process of the suite in a working copy of its own, so that files run in parallel, one hanging file
does not take the others along, and the counts per file are exact. What is left out, and why, is in skips.txt.

With BASALT_MODE=durable in the environment our binary is in durable mode, and what skips.txt has for it is left out.
"""

import argparse
import concurrent.futures
import os
import queue
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from fetch import FetchError, default_cache, upstream_tree

HERE = Path(__file__).resolve().parent

TYPES = "string incr hash list list-2 list-3 set zset".split()
UNITS = """expire scan keyspace multi sort bitops bitfield hyperloglog geo dump other protocol querybuf pubsub
    pubsubshard info info-command introspection introspection-2 slowlog latency-monitor lazyfree maxmemory memefficiency
    limits auth quit networking obuf-limits pendingquerybuf replybufsize client-eviction pause shutdown""".split()
# Clusters of several nodes, which only durable mode has; the suite starts all of them by itself. What else upstream has
# about clusters is about scripts (unit/cluster-scripting) or the links of its cluster bus (unit/cluster/links).
CLUSTERS = ["unit/cluster", "unit/cluster/announced-endpoints", "unit/cluster/misc"]
FILES = [f"unit/type/{name}" for name in TYPES] + [f"unit/{name}" for name in UNITS] + CLUSTERS

# The longest files first, so that no worker is left alone with one of them at the end.
LONGEST_FIRST = """unit/memefficiency unit/hyperloglog unit/type/list-3 unit/maxmemory unit/geo unit/type/zset
    unit/obuf-limits unit/type/list unit/type/set unit/scan unit/type/list-2 unit/type/string unit/expire""".split()

# Left out of external mode when binary mode runs before it. They are half of its time, and spend it on comparing random
# data with a model, on one server with default settings: who has started that server makes no difference to them.
# `--mode external` runs them all the same.
SAME_IN_BOTH = ["unit/hyperloglog", "unit/geo", "unit/type/list-2", "unit/type/list-3"]

# Left out of durable mode if no files were named. The first four spend their time on comparing random data with a
# model, and their keys stay resident: what is read back from disk is compared by the cold runs of golden and
# differential. The last one measures the memory that a key takes, of which durable mode has a part in its database.
SAME_IN_DURABLE = [*SAME_IN_BOTH, "unit/memefficiency"]

# 7.2 has a third encoding for sets; without it, sets encode as the 7.0 suite expects.
SETTINGS_FOR_7_0 = [("set-max-listpack-entries", "0")]

# In Redis there are no copies but those that a test makes: when a node stops, its slots have nobody.
SETTINGS_FOR_CLUSTERS = [("cluster-replicas", "0")]

PORTS_PER_WORKER = 400


# The suite is about a cache, unless the environment says otherwise; all servers inherit it.
os.environ.setdefault("BASALT_MODE", "cache")


def is_durable() -> bool:
    return os.environ["BASALT_MODE"] == "durable"


@dataclass
class Skip:
    """One line of skips.txt."""

    mode: str  # "both", "binary" or "external"; "durable" in either, when the server is in durable mode
    file: str  # "unit/other", or "*" for tags
    name: str  # test name, /regular expression, `tag NAME`, or `*` for the whole file
    reason: str

    def holds_in(self, mode: str) -> bool:
        return self.mode in ("both", mode) or self.mode == "durable" and is_durable()


@dataclass
class Outcome:
    """What one file of the suite did."""

    file: str
    passed: int = 0
    skipped: int = 0
    failures: list = field(default_factory=list)
    seconds: float = 0.0
    names: list = field(default_factory=list)

    def line(self) -> str:
        counts = f"{self.passed:5} ok {len(self.failures):4} failed {self.skipped:4} skipped"
        return f"{self.file:28}{counts} {self.seconds:8.1f} s"


def main() -> int:
    arguments = parse_arguments()
    try:
        tree = upstream_tree(default_cache())
    except FetchError as error:
        print(f"upstream: {error}", file=sys.stderr)
        return 1
    skips = read_skips(HERE / "skips.txt")
    baseline = read_baseline(HERE / "baseline.txt")
    modes = ["binary", "external"] if arguments.mode == "both" else [arguments.mode]
    jobs = [(mode, file) for mode in modes for file in arguments.files or files_of(mode, modes)]
    jobs.sort(key=lambda job: LONGEST_FIRST.index(job[1]) if job[1] in LONGEST_FIRST else len(LONGEST_FIRST))
    passed = failed = skipped = 0
    print(f"upstream suite, {' and '.join(modes)} mode, {len(jobs)} files, {arguments.parallel} at a time", flush=True)
    for mode, outcome in run_all(modes, jobs, tree, skips, arguments):
        ran = outcome.passed + len(outcome.failures)
        expected = baseline[mode, outcome.file]
        if is_durable():
            expected = min(expected, baseline.get(("durable", outcome.file), expected))
        if ran < expected and not arguments.test:
            outcome.failures.append(f"only {ran} tests ran of {expected} (baseline.txt)")
        for failure in outcome.failures:
            print(f"\n[{mode}] {outcome.file}: {failure}")
        passed += outcome.passed
        failed += len(outcome.failures)
        skipped += outcome.skipped
    print(f"\nupstream: {passed} passed, {failed} failed, {skipped} skipped")
    return 0 if failed == 0 else 1


def files_of(mode: str, modes: list) -> list:
    """What is run in a mode if no files were named."""
    if is_durable():
        return [file for file in FILES if file not in SAME_IN_DURABLE]
    again = [] if mode == modes[0] else SAME_IN_BOTH
    return [file for file in FILES if file not in again + CLUSTERS]


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", metavar="FILE", help="such as unit/type/list or just list; all if none")
    parser.add_argument("--binary", default=os.environ.get("BASALT_BIN"), help="the server (default: $BASALT_BIN)")
    parser.add_argument("--mode", choices=["binary", "external", "both"], default="both")
    parser.add_argument("--host", default="127.0.0.1", help="external mode: host of a server that already runs")
    parser.add_argument("--port", type=int, help="external mode: its port; without it servers are started here")
    parser.add_argument("--only", action="append", default=[], metavar="FILE", help="same as FILE; may be repeated")
    parser.add_argument("--test", action="append", default=[], help="run only tests of this name or /regex")
    parser.add_argument("--parallel", type=int, default=3, help="files at a time")
    parser.add_argument("--timeout", type=int, default=300, help="seconds that one file may take")
    parser.add_argument("--no-skips", action="store_true", help="ignore skips.txt: shows which entries are needed")
    parser.add_argument("--verbose", action="store_true", help="print what the suite prints")
    parser.add_argument("--baseport", type=int, default=22800)
    parser.add_argument("--names", metavar="PATH", help="write `mode file: test` lines of the tests that passed")
    arguments = parser.parse_args()
    arguments.files = [full_name(name, parser) for name in arguments.files + arguments.only]
    if not arguments.binary:
        parser.error("no server: give --binary or set BASALT_BIN (./dev suite does)")
    # Not resolved: redis-server is a link whose name decides what it is.
    arguments.binary = Path(shutil.which(arguments.binary) or arguments.binary).absolute()
    if not arguments.binary.exists():
        parser.error(f"{arguments.binary} does not exist")
    if arguments.port:
        arguments.parallel = 1
    return arguments


def full_name(name: str, parser: argparse.ArgumentParser) -> str:
    name = name.removeprefix("tests/").removesuffix(".tcl")
    for candidate in (name, f"unit/{name}", f"unit/type/{name}"):
        if candidate in FILES:
            return candidate
    parser.error(f"no such file in the list of this suite: {name}")


def read_skips(path: Path) -> list:
    skips = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        parts = [part.strip() for part in line.split(" :: ")]
        if len(parts) != 4 or not all(parts) or parts[0] not in ("both", "binary", "external", "durable"):
            sys.exit(f"{path}:{number}: expected `mode :: file :: test :: reason`")
        skips.append(Skip(*parts))
    return skips


def read_baseline(path: Path) -> dict:
    """Number of tests by mode and file."""
    rows = [line.split() for line in path.read_text().splitlines() if line and not line.startswith("#")]
    baseline = {(mode, file): int(tests) for mode, file, tests, _seconds in rows}
    missing = [(mode, file) for mode in ("binary", "external") for file in FILES if (mode, file) not in baseline]
    if missing:
        sys.exit(f"{path}: no line for {missing}")
    return baseline


def run_all(modes: list, jobs: list, tree: Path, skips: list, arguments: argparse.Namespace) -> list:
    """Runs files, and returns them with their modes, in the order of the jobs."""
    base = Path(tempfile.mkdtemp(prefix="basalt-upstream-"))
    idle = {mode: queue.SimpleQueue() for mode in modes}
    for number, mode in enumerate(mode for mode in modes for _ in range(arguments.parallel)):
        held = [] if arguments.no_skips else [skip for skip in skips if skip.holds_in(mode)]
        idle[mode].put(Worker(number, mode, base, tree, held, arguments))

    def run(job: tuple) -> tuple:
        mode, file = job
        worker = idle[mode].get()
        try:
            outcome = worker.run(file)
        finally:
            idle[mode].put(worker)
        print(f"{mode:9}{outcome.line()}", flush=True)
        return mode, outcome

    try:
        with concurrent.futures.ThreadPoolExecutor(arguments.parallel) as pool:
            outcomes = list(pool.map(run, jobs))
    finally:
        for workers in idle.values():
            while not workers.empty():
                workers.get().close()
        shutil.rmtree(base, ignore_errors=True)
    if arguments.names:
        with open(arguments.names, "a") as out:
            out.writelines(f"{mode} {done.file}: {name}\n" for mode, done in outcomes for name in done.names)
    return outcomes


class Worker:
    """A working copy of the suite, a range of ports, and in external mode a server."""

    def __init__(self, number, mode, base, tree, skips, arguments):
        self.mode = mode
        self.skips = skips
        self.arguments = arguments
        self.home = base / f"worker-{number}"
        self.baseport = arguments.baseport + number * PORTS_PER_WORKER
        self.server = None
        shutil.copytree(tree / "tests", self.home / "tests")
        (self.home / "tests" / "tmp").mkdir(exist_ok=True)
        source = self.home / "src"
        source.mkdir()
        (source / "redis-server").symlink_to(arguments.binary)
        for tool in ("redis-cli", "redis-benchmark"):
            found = shutil.which(tool)
            if found is None:
                sys.exit(f"{tool} is not installed; ./dev test installs it")
            (source / tool).symlink_to(found)

    def run(self, file: str) -> Outcome:
        outcome = Outcome(file)
        mine = [skip for skip in self.skips if skip.file in (file, "*")]
        if any(skip.name == "*" for skip in mine):
            outcome.skipped = 1
            return outcome
        skipfile = self.home / "skip.txt"
        skipfile.write_text("".join(skip.name + "\n" for skip in mine if not skip.name.startswith("tag ")))
        command = ["tclsh", "tests/test_helper.tcl", "--single", file, "--clients", "1", "--durable"]
        command += ["--skipfile", str(skipfile)]
        command += ["--baseport", str(self.baseport), "--portcount", str(PORTS_PER_WORKER - 50)]
        tags = [f"-{skip.name[4:]}" for skip in mine if skip.name.startswith("tag ")]
        if tags:
            command += ["--tags", " ".join(tags)]
        for name in self.arguments.test:
            command += ["--only", name]
        if self.mode == "external":
            try:
                host, port = self.external_server(file)
            except RuntimeError as error:
                outcome.failures.append(str(error))
                return outcome
            command += ["--host", host, "--port", str(port)]
        else:
            for setting in self.settings(file):
                command += ["--config", *setting]
        started = time.monotonic()
        self.run_suite(command, "durable" if file in CLUSTERS else os.environ["BASALT_MODE"], outcome)
        outcome.seconds = time.monotonic() - started
        if self.server is not None and self.server.poll() is not None:
            outcome.failures.append(f"the server ended with status {self.server.returncode}")
        # A fresh server for the next file: a test that fails half-way leaves its settings behind.
        self.close()
        return outcome

    def run_suite(self, command: list, server_mode: str, outcome: Outcome) -> None:
        environment = dict(os.environ, TERM="dumb", LC_ALL="C.UTF-8", BASALT_MODE=server_mode)
        suite = subprocess.Popen(
            command, cwd=self.home, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL, text=True, errors="replace", start_new_session=True,
        )
        try:
            output, _ = suite.communicate(timeout=self.arguments.timeout)
            if not read_output(output, outcome):
                outcome.failures.append("the suite did not come to its end:\n" + output[-2000:])
        except subprocess.TimeoutExpired:
            end_group(suite)
            output, _ = suite.communicate()
            read_output(output, outcome)
            outcome.failures.append(f"not done after {self.arguments.timeout} s; it last printed:\n{output[-1000:]}")
        # Servers of a test that failed half-way belong to the suite's process group as well.
        end_group(suite)
        if self.arguments.verbose:
            print(output)

    def external_server(self, file: str) -> tuple:
        """Host and port of a fresh server, or of the one that was named."""
        if self.arguments.port:
            return self.arguments.host, self.arguments.port
        port = self.baseport + PORTS_PER_WORKER - 45
        if self.server is None:
            # A directory of its own: a dump that an earlier file left behind would be loaded, and LOADING be answered.
            directory = Path(tempfile.mkdtemp(prefix="external-", dir=self.home))
            options = [("port", str(port)), ("dir", str(directory)), ("save", ""), ("enable-debug-command", "yes")]
            options += [("enable-protected-configs", "yes"), *self.settings(file)]
            command = [str(self.arguments.binary), *(word for name, value in options for word in ("--" + name, value))]
            log = open(directory / "log", "ab")
            self.server = subprocess.Popen(command, cwd=directory, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
            if not wait_until_serving(port, self.server):
                self.close()
                said = (directory / "log").read_text(errors="replace")
                raise RuntimeError("the server does not start:\n" + said[-2000:])
        return "127.0.0.1", port

    def settings(self, file: str) -> list:
        if is_redis_7_0(self.arguments.binary):
            return []
        return SETTINGS_FOR_7_0 + (SETTINGS_FOR_CLUSTERS if file in CLUSTERS else [])

    def close(self) -> None:
        if self.server is not None:
            self.server.terminate()
            try:
                self.server.wait(10)
            except subprocess.TimeoutExpired:
                self.server.kill()
                self.server.wait()
            self.server = None


def is_redis_7_0(binary: Path) -> bool:
    """True for the server that the suite was written for; it knows none of the later settings."""
    command = [binary, "--version"]
    said = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=30)
    return said.stdout.startswith("Redis server v=7.0.")


def read_output(output: str, outcome: Outcome) -> bool:
    """Counts the suite's lines `[status]: name`; says whether it ran to its end."""
    ended = False
    pieces = re.split(r"(?m)^\[(ok|err|skip|ignore|exception|TIMEOUT)\]: ", output)
    for status, text in zip(pieces[1::2], pieces[2::2]):
        if status == "ok":
            outcome.passed += 1
            outcome.names.append(re.sub(r" \(\d+ ms\)\s*$", "", text.split("\n")[0]))
        elif status in ("skip", "ignore"):
            outcome.skipped += 1
        else:
            report = re.split(r"(?m)^\[\w+\]: |^\s+The End|^\[\d+/\d+ done\]", text)[0].strip()
            outcome.failures.append(f"[{status}] {report}")
    if re.search(r"(?m)^\s+The End$", output):
        ended = True
    return ended


def end_group(process: subprocess.Popen) -> None:
    """Ends what is left of a process group that this script started."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, sign)
        except (ProcessLookupError, PermissionError):
            return
        for _ in range(20):
            try:
                os.killpg(process.pid, 0)
            except (ProcessLookupError, PermissionError):
                return
            process.poll()
            time.sleep(0.05)


def wait_until_serving(port: int, server: subprocess.Popen) -> bool:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and server.poll() is None:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
                # Also redis-server says LOADING to this while it does.
                connection.sendall(b"PING\r\n")
                if connection.recv(100).startswith((b"+PONG", b"-NOAUTH")):
                    return True
        except OSError:
            pass
        time.sleep(0.05)
    return False


if __name__ == "__main__":
    sys.exit(main())
