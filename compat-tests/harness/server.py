"""Starts servers for the tests: redis-server as the reference, and the binary under test from BASALT_BIN."""

import fcntl
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from resp import Closed, Connection

REFERENCE = "redis-server"


class Server:
    """A server process on a free port, in a directory of its own. Use it as a context manager."""

    def __init__(self, binary: str, *options: str, port: int = 0):
        self.port = port or free_port()
        self.directory = Path(tempfile.mkdtemp(prefix="basalt-test-"))
        self.log = self.directory / "log"
        words = ["--port", str(self.port), "--save", "", "--enable-debug-command", "yes", "--dir", str(self.directory)]
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [binary, *words, *options], stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.directory
            )
        self.wait_until_ready()

    def restart(self, kill: bool = False) -> None:
        """Ends the process, in an orderly way or not, and starts it again with the same options and directory."""
        (self.process.kill if kill else self.process.terminate)()
        self.process.wait(300)
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                self.process.args, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.directory
            )
        self.wait_until_ready()

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                connection = Connection("127.0.0.1", self.port, timeout=5)
                connection.call("PING")
                connection.close()
                return
            except (OSError, Closed):
                time.sleep(0.02)
        text = self.log.read_text(errors="replace")[-2000:]
        self.close()
        sys.exit(f"the server does not start: {text}")

    def connect(self, protocol: int = 2, timeout: float = 30.0) -> Connection:
        return Connection("127.0.0.1", self.port, protocol, timeout)

    def alive(self) -> bool:
        return self.process.poll() is None

    def forget_peak(self) -> None:
        """Makes the process's peak of resident memory start anew."""
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")

    def memory_kb(self, field: str = "VmRSS") -> int:
        """Resident memory of the process now, or its peak with field VmHWM."""
        return memory_kb(self.process, field)

    def close(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_) -> None:
        self.close()


def binary_under_test() -> str:
    binary = os.environ.get("BASALT_BIN")
    if not binary:
        sys.exit("BASALT_BIN is not set: ./dev test sets it, or set it to a server's path")
    return binary


# Below what the system gives to connections: a server that is started again would find its port taken by one of them.
# What else is tested at the same time stays clear of these: linear from 20000 (and 30000) on, and the upstream suite
# from 21150 to 26000, where the other nodes of a cluster would dial the lower ones.
PORTS = range(11000, 20000)
NODE_PORTS = range(16000, 20000)

# Whoever picks a port keeps it until its process ends, also while no server listens there, as between a kill and the
# next start: claims are locked files.
CLAIMS = Path(tempfile.gettempdir()) / f"basalt-test-ports-{os.getuid()}"
claimed = []


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True


def claim(port: int) -> bool:
    CLAIMS.mkdir(exist_ok=True)
    file = open(CLAIMS / str(port), "w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return False
    claimed.append(file)
    return True


def free_port(ports: range = PORTS) -> int:
    while not (claim(port := random.choice(ports)) and is_free(port)):
        pass
    return port


def node_port() -> int:
    """For a node of a cluster: the other nodes dial the port plus 10000."""
    while not is_free((port := free_port(NODE_PORTS)) + 10000):
        pass
    return port


def memory_kb(process: subprocess.Popen, field: str = "VmRSS") -> int:
    for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1])
    raise KeyError(field)
