"""Several processes that form a cluster, for the tests: they are killed and come back where they were."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "harness"))

from cases import run_cases
from resp import Closed, Connection
from server import binary_under_test, node_port

HOST = "127.0.0.1"
PATIENCE = 60.0


def until(what: str, is_so, patience: float = PATIENCE) -> None:
    """Asks again and again; what cannot be asked is not so yet."""
    deadline = time.monotonic() + patience
    while True:
        try:
            if is_so():
                return
        except (OSError, Closed):
            pass
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {patience} s")
        time.sleep(0.05)


class ClusterNode:
    """A process on a port and in a directory that stay."""

    def __init__(self, binary: str, directory: Path, *options: str):
        self.binary, self.directory, self.options = binary, directory, options
        self.port = node_port()
        self.process = None
        directory.mkdir(parents=True)
        self.log = directory.parent / f"{directory.name}.log"

    def start(self) -> None:
        words = ["--port", str(self.port), "--cluster-enabled", "yes", "--cluster-node-timeout", "3000"]
        words += ["--dir", str(self.directory), "--save", "", *self.options]
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [self.binary, *words], stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.directory
            )
        until(f"node {self.port} answers", lambda: self.call("PING") == ("+", b"PONG"))

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        """In good order."""
        self.process.terminate()
        self.process.wait(60)

    def threads(self) -> list:
        """Names of its threads, with what the kernel says that each waits in."""
        names = []
        for task in sorted(Path(f"/proc/{self.process.pid}/task").iterdir()):
            try:
                names.append(f"{(task / 'comm').read_text().strip()}({(task / 'wchan').read_text()})")
            except OSError:
                # It has just ended.
                pass
        return names

    def call(self, *words):
        connection = Connection(HOST, self.port, timeout=20)
        try:
            return connection.call(*words)
        finally:
            connection.close()

    def text(self, *words) -> str:
        """Of what changes nothing: asked again if the connection ends, as it may when leaders change."""
        replies: list = []
        until(f"node {self.port} says something", lambda: replies.append(self.call(*words)) is None)
        return replies[0][1].decode()

    def nodes(self) -> dict:
        """The lines of CLUSTER NODES by port: flags and slots."""
        lines = [line.split() for line in self.text("CLUSTER", "NODES").splitlines()]
        return {int(line[1].split("@")[0].split(":")[1]): (line[2], line[8:]) for line in lines}

    def shares(self) -> list:
        """How many slots each node has, the smallest number first."""
        ends = [[part.split("-") for part in line[1] if "[" not in part] for line in self.nodes().values()]
        return sorted(sum(int(pair[-1]) - int(pair[0]) + 1 for pair in pairs) for pairs in ends)

    def name(self) -> str:
        return self.text("CLUSTER", "MYID")


class Nodes:
    """A context of nodes that are ended with it. If it ends by an exception, their logs are shown."""

    def __init__(self, binary: str):
        self.binary = binary
        self.directory = Path(tempfile.mkdtemp(prefix="basalt-cluster-"))
        self.all: list = []

    def add(self, *options: str) -> ClusterNode:
        node = ClusterNode(self.binary, self.directory / str(len(self.all)), *options)
        self.all.append(node)
        node.start()
        return node

    def agree(self) -> bool:
        """Whether all nodes show the same owners of all slots, and call the cluster up."""
        shown = [node.text("CLUSTER", "INFO") for node in self.all]
        slots = [{port: line[1] for port, line in node.nodes().items()} for node in self.all]
        return all("cluster_state:ok" in info for info in shown) and all(line == slots[0] for line in slots)

    def have_shares(self) -> bool:
        """Whether all agree and each has about its share; one that comes late gets it half a minute later."""
        shares = self.all[0].shares()
        return self.agree() and len(shares) == len(self.all) and shares[0] > 0.85 * 16384 / len(shares)

    def __enter__(self) -> "Nodes":
        return self

    def __exit__(self, kind, *_) -> None:
        for node in self.all:
            threads: list = []
            if node.process is not None and node.process.poll() is None:
                threads = node.threads() if kind is not None else []
                node.kill()
            if kind is not None and node.log.exists():
                print(f"--- node {node.port}:", node.log.read_text(errors="replace")[-6000:], sep="\n")
                print("its threads at the end:", *threads)
        shutil.rmtree(self.directory, ignore_errors=True)


def form_by_joining(nodes: Nodes) -> list:
    first = nodes.add()
    for _ in range(2):
        nodes.add("--cluster-join", f"{HOST}:{first.port}")
    until("slots are given out, and all agree", nodes.have_shares)
    return [node.port for node in nodes.all]


def is_settled(nodes: Nodes) -> bool:
    """Whether every group that a node leads has three voters that have everything, or the one of a usual cache."""
    if os.environ.get("BASALT_MODE") == "cache" and "BASALT_CLUSTER_REPLICAS" not in os.environ:
        return True
    for node in nodes.all:
        lines = node.text("INFO", "groups").splitlines()
        led = [line for line in lines if "role=leader," in line and not line.startswith("#")]
        if not node.nodes()[node.port][1] or any("kind=guest," in line for line in led):
            # Without slots there is nothing to copy, and those of a node that was made anew are in a guest's group.
            homes = [line.split(":")[0] for line in led if "kind=home," in line]
            lone = [home for home in homes if not any(other.startswith(home + "_") for other in lines)]
            led = [line for line in led if line.split(":")[0] not in lone]
        for line in led:
            name = line.split(":")[0]
            followers = [other for other in lines if other.startswith(name + "_")]
            if len(followers) < 2 or any("votes=1" not in other or ",lag=0," not in other for other in followers):
                return False
    return True


class Client:
    """Follows redirections, and goes elsewhere when a node is not there: what any cluster client does."""

    def __init__(self, ports: list):
        self.ports = ports
        self.connections: dict = {}

    def connection(self, port: int) -> Connection:
        if port not in self.connections:
            self.connections[port] = Connection(HOST, port, timeout=20)
        return self.connections[port]

    def drop(self, port: int) -> None:
        connection = self.connections.pop(port, None)
        if connection is not None:
            connection.close()

    def call(self, *words, patience: float = PATIENCE):
        """The reply; raises `Closed` if a connection ended when the command may have been executed."""
        deadline = time.monotonic() + patience
        port = self.ports[0]
        turn = 0
        asks = False
        while time.monotonic() < deadline:
            try:
                connection = self.connection(port)
            except OSError:
                turn += 1
                port = self.ports[turn % len(self.ports)]
                time.sleep(0.02)
                continue
            try:
                if asks:
                    connection.call("ASKING")
                reply = connection.call(*words)
            except (OSError, Closed) as error:
                self.drop(port)
                raise Closed(str(error)) from error
            kind, value = reply
            asks = kind == "-" and value.startswith(b"ASK ")
            if kind == "-" and value.startswith((b"MOVED ", b"ASK ")):
                port = int(value.split()[2].rsplit(b":", 1)[1])
                continue
            if kind == "-" and value.startswith((b"CLUSTERDOWN", b"TRYAGAIN", b"LOADING")):
                time.sleep(0.05)
                continue
            return reply
        raise AssertionError(f"no answer to {words[:2]} within {patience} s")


def run_with_binary(title: str, cases: list) -> int:
    """Runs those that are named on the command line, or all; each gets the binary and returns a note."""
    binary = binary_under_test()
    return run_cases(title, cases, sys.argv[1:], lambda case: case(binary))
