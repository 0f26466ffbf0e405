#!/usr/bin/env python3
"""Nodes that come back at other addresses: one of them tells the others; when all have moved, they find each other
again by the names in `cluster-join`, which by then mean other addresses.

Each node has an address of its own on the loopback device, and sees a file in place of /etc/hosts, for which one has to
be root. What can be done without is done with ports that change.
"""

import subprocess
import sys
from pathlib import Path

from load import surely
from nodes import ClusterNode, Nodes, run_with_binary, until
from resp import Closed, Connection

NAMES = ["node-a", "node-b", "node-c"]
KEYS = 200
# Puts a file in place of /etc/hosts for one program. It keeps its process id.
WITH_HOSTS = 'mount --bind "$0" /etc/hosts && exec "$@"'


class Wanderer(ClusterNode):
    """A node that keeps its name, its directory and its port, and starts at whatever address its name stands for."""

    def __init__(self, binary: str, directory: Path, name: str, hosts: "Hosts"):
        super().__init__(binary, directory)
        self.known_as, self.hosts, self.address = name, hosts, ""

    def start(self) -> None:
        self.address = self.hosts.addresses[self.known_as]
        words = ["--port", str(self.hosts.port), "--bind", self.address, "--dir", str(self.directory), "--save", ""]
        words += ["--cluster-enabled", "yes", "--cluster-node-timeout", "3000"]
        for name in NAMES:
            words += ["--cluster-join", f"{name}:{self.hosts.port}"]
        confined = ["unshare", "--mount", "sh", "-c", WITH_HOSTS, str(self.hosts.file), self.binary, *words]
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                confined, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.directory
            )
        until(f"{self.known_as} answers", lambda: self.call("PING") == ("+", b"PONG"))

    def call(self, *words):
        connection = Connection(self.address, self.hosts.port, timeout=20)
        try:
            return connection.call(*words)
        finally:
            connection.close()

    def slots(self) -> dict:
        """Slots by the address of who has them, as this node sees it."""
        lines = [line.split() for line in self.text("CLUSTER", "NODES").splitlines()]
        return {line[1].split(":")[0]: line[8:] for line in lines}


class Hosts:
    """What the names of the nodes stand for, in a file that all of them see."""

    def __init__(self, directory: Path, port: int):
        self.file, self.port, self.addresses, self.network = directory / "hosts", port, {}, 0
        for name in NAMES:
            self.move(name)

    def move(self, name: str) -> None:
        """Gives a name an address that nobody has had."""
        self.network += 1
        self.addresses[name] = f"127.77.{self.network}.{10 + NAMES.index(name)}"
        # In place, since it is mounted.
        self.file.write_text("".join(f"{address} {name}\n" for name, address in self.addresses.items()))


class Client:
    """Follows redirections between addresses; starts anew where the nodes are now."""

    def __init__(self, nodes: list):
        self.nodes, self.turn = nodes, 0
        self.place = (nodes[0].address, nodes[0].hosts.port)

    def call(self, *words):
        connection = None
        try:
            connection = Connection(*self.place, timeout=20)
            reply = connection.call(*words)
        except OSError as error:
            self.turn += 1
            node = self.nodes[self.turn % len(self.nodes)]
            self.place = (node.address, node.hosts.port)
            raise Closed(str(error)) from error
        finally:
            if connection is not None:
                connection.close()
        if reply[0] == "-" and reply[1].startswith(b"MOVED "):
            address, port = reply[1].split()[2].decode().rsplit(":", 1)
            self.place = (address, int(port))
            return self.call(*words)
        if reply[0] == "-" and reply[1].startswith(b"CLUSTERDOWN"):
            # Its slot had no leader for longer than requests are held.
            raise Closed(reply[1].decode())
        return reply


def agree(nodes: list) -> bool:
    """Whether all of them see the cluster up, and each node where it is."""
    places = {node.address for node in nodes}
    shown = [node.slots() for node in nodes]
    is_up = all("cluster_state:ok" in node.text("CLUSTER", "INFO") for node in nodes)
    return is_up and set(shown[0]) == places and all(one == shown[0] for one in shown)


def formed(nodes: Nodes, binary: str) -> list:
    nodes.all = []
    port = ClusterNode(binary, nodes.directory / "port").port
    hosts = Hosts(nodes.directory, port)
    for name in NAMES:
        nodes.all.append(Wanderer(binary, nodes.directory / name, name, hosts))
        nodes.all[-1].start()
    until("the cluster is up", lambda: agree(nodes.all) and all(node.slots()[node.address] for node in nodes.all))
    client = Client(nodes.all)
    for number in range(KEYS):
        until("it is written", lambda: client.call("SET", f"key:{number}", str(number)) == ("+", b"OK"))
    return nodes.all


def check(nodes: list) -> None:
    client = Client(nodes)
    for number in range(KEYS):
        reply = surely(client, "GET", f"key:{number}")
        assert reply == ("$", str(number).encode()), (number, reply)
    until("writes are taken", lambda: client.call("SET", "afterwards", "1") == ("+", b"OK"))


def may_mount() -> bool:
    return subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode == 0


def all_nodes_come_back_at_other_addresses(binary: str) -> str:
    if not may_mount():
        return "left out: it takes root"
    with Nodes(binary) as nodes:
        wanderers = formed(nodes, binary)
        former = {node.address for node in wanderers}
        for node in wanderers:
            node.kill()
        for name in NAMES:
            wanderers[0].hosts.move(name)
        for node in wanderers:
            node.start()
        assert not former & {node.address for node in wanderers}
        until("they have found each other", lambda: agree(wanderers))
        check(wanderers)
        said = "".join(node.log.read_text(errors="replace") for node in wanderers)
        assert "found a node at another address" in said
    return f"from {', '.join(sorted(former))} to {', '.join(node.address for node in wanderers)}"


def one_node_after_the_other_comes_back_elsewhere(binary: str) -> str:
    if not may_mount():
        return "left out: it takes root"
    with Nodes(binary) as nodes:
        wanderers = formed(nodes, binary)
        for node in wanderers:
            node.kill()
            node.hosts.move(node.known_as)
            node.start()
            until("the others know where it is", lambda: agree(wanderers))
            check(wanderers)
    return "three moves"


def all_nodes_come_back_at_other_ports(binary: str) -> str:
    with Nodes(binary) as nodes:
        for number in range(3):
            join = [word for node in nodes.all for word in ("--cluster-join", f"127.0.0.1:{node.port}")]
            nodes.add(*join)
        until("slots are given out, and all agree", nodes.agree)
        for node in nodes.all:
            node.kill()
        ports = [ClusterNode(binary, nodes.directory / f"port{number}").port for number in range(3)]
        # Whoever starts them anew tells them where the others are now.
        join = [word for port in ports for word in ("--cluster-join", f"127.0.0.1:{port}")]
        for node, port in zip(nodes.all, ports):
            node.port, node.options = port, join
        for node in nodes.all:
            node.start()
        until("they have found each other", lambda: nodes.agree() and set(nodes.all[0].nodes()) == set(ports))
    return f"at {', '.join(map(str, ports))}"


CASES = [
    all_nodes_come_back_at_other_addresses,
    one_node_after_the_other_comes_back_elsewhere,
    all_nodes_come_back_at_other_ports,
]

if __name__ == "__main__":
    sys.exit(run_with_binary("addresses", CASES))
