#!/usr/bin/env python3
"""Connections between nodes by TLS: nothing passes that can be read, nobody is let in without a certificate, and all
else is as it is without."""

import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from load import COUNTERS, Load, surely
from moving import begin_move, check_filled, fill, has_moved, slots_of
from nodes import HOST, Client, ClusterNode, Nodes, is_settled, run_with_binary, until
from wires import Wire

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "harness"))

from server import free_port, memory_kb

EC_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
RSA_KEY = ("-newkey", "rsa:2048", "-nodes")
SECRET = "sesame-open-yourself"


def openssl(*words: str) -> None:
    subprocess.run(["openssl", *words], check=True, capture_output=True, text=True, timeout=60)


class Authority:
    """Signs certificates, in a directory of its own."""

    def __init__(self, directory: Path, name: str):
        self.directory = directory / name
        self.directory.mkdir()
        self.certificate = self.directory / "ca.crt"
        words = ("-keyout", f"{self.directory}/ca.key", "-out", str(self.certificate), "-subj", f"/CN={name}")
        openssl("req", "-x509", *EC_KEY, *words, "-days", "30")

    def pair(self, name: str, key: tuple = EC_KEY, days: int = 30, extensions: str = "basicConstraints=CA:FALSE"):
        """The files of a certificate and its key."""
        here = self.directory / name
        openssl("req", *key, "-keyout", f"{here}.key", "-out", f"{here}.csr", "-subj", f"/CN={name}")
        words = ["-CA", str(self.certificate), "-CAkey", f"{self.directory}/ca.key", "-CAcreateserial"]
        if extensions:
            Path(f"{here}.ext").write_text(extensions)
            words += ["-extfile", f"{here}.ext"]
        openssl("x509", "-req", "-in", f"{here}.csr", "-out", f"{here}.crt", "-days", str(days), *words)
        return f"{here}.crt", f"{here}.key"

    def options(self, name: str, key: tuple = EC_KEY) -> list:
        """Of a node that has a certificate of this authority."""
        return options(*self.pair(name, key), str(self.certificate))


def options(certificate: str, key: str, authority: str) -> list:
    files = ["--tls-cert-file", certificate, "--tls-key-file", key, "--tls-ca-cert-file", authority]
    return ["--tls-cluster", "yes", *files]


class Certified(Nodes):
    """Nodes and authorities."""

    def __init__(self, binary: str):
        super().__init__(binary)
        self.papers = Path(tempfile.mkdtemp(prefix="papers-", dir=self.directory))

    def authority(self, name: str) -> Authority:
        return Authority(self.papers, name)

    def form(self, *each: list) -> list:
        """Three nodes with these options, which find each other."""
        first = self.add(*each[0])
        for options_of_node in each[1:]:
            self.add("--cluster-join", f"{HOST}:{first.port}", *options_of_node)
        until("slots are given out, and all agree", self.have_shares)
        return [node.port for node in self.all]


def nothing_that_passes_can_be_read(binary: str) -> str:
    """The same is done without TLS, where it must be seen: otherwise this looks in the wrong place."""
    counts = []
    for has_tls in (True, False):
        with Certified(binary) as nodes:
            authority = nodes.authority("a") if has_tls else None
            counts.append(all_that_nodes_say(nodes, authority))
    return f"{counts[0]} bytes by TLS, {counts[1]} without"


def all_that_nodes_say(nodes: Certified, authority: Authority | None) -> int:
    marker = f"marker-{os.urandom(12).hex()}".encode()
    wires = [add_behind_wire(nodes, marker, authority) for _ in range(3)]
    try:
        until("slots are given out, and all agree", nodes.have_shares)
        assert nodes.all[0].call("CONFIG", "SET", "cluster-auto-balance", "no") == ("+", b"OK")
        until("there are copies", lambda: is_settled(nodes))
        # What is written passes to the copies, one of which hears of it later; what moves passes as bulk data.
        source, target, away = nodes.all
        away.kill()
        client = Client([node.port for node in nodes.all])
        values = {f"key:{number}": marker + os.urandom(500) for number in range(200)}
        for name, value in values.items():
            assert surely(client, "SET", name, value) == ("+", b"OK")
        away.start()
        until("all agree", nodes.agree)
        until("copies are complete", lambda: is_settled(nodes))
        look_at(wires, authority)
        until_each_leads_its_own(nodes)
        begin_move(source, target)
        until("the slots have moved", lambda: has_moved(nodes, source, target))
        look_at(wires, authority)
        for name, value in values.items():
            assert surely(client, "GET", name) == ("$", value), name
    finally:
        for wire in wires:
            wire.close()
    return sum(way.count for wire in wires for way in wire.ways)


def until_each_leads_its_own(nodes: Certified) -> None:
    """While a node is away, and for a moment after it, others lead its slots too."""
    until("each leads its own", lambda: all(slots_of(node) for node in nodes.all) and nodes.agree())


def look_at(wires: list, authority: Authority | None) -> None:
    """At all that has passed since the last time."""
    for wire in wires:
        ways = [way for way in wire.ways if way.count]
        if authority is None:
            assert not any(way.is_tls for way in ways)
        else:
            assert ways and all(way.is_tls for way in ways), "something has passed that is no TLS"
    seen = [way for wire in wires for way in wire.ways if way.has_seen]
    if authority is None:
        assert seen, "what is said must be seen on its way, or nothing is proved"
    else:
        assert not seen, "what was written has passed as it is"
    for way in seen:
        way.has_seen = False


def add_behind_wire(nodes: Certified, marker: bytes, authority: Authority | None) -> Wire:
    """A node that is reached by others through a proxy alone, also when they join."""
    node = ClusterNode(nodes.binary, nodes.directory / str(len(nodes.all)))
    behind = free_port()
    wire = Wire(node.port + 10000, behind, marker)
    node.options = ("--cluster-port", str(behind), "--cluster-announce-bus-port", str(node.port + 10000))
    if authority is not None:
        node.options += tuple(authority.options(f"node-{len(nodes.all)}"))
    if nodes.all:
        node.options += ("--cluster-join", f"{HOST}:{nodes.all[0].port}")
    nodes.all.append(node)
    node.start()
    return wire


def all_goes_on_as_without(binary: str) -> str:
    """With a secret as well, and keys of two kinds: nodes fall, slots move, nodes come."""
    with Certified(binary) as nodes:
        authority = nodes.authority("a")
        secret = ["--cluster-secret", SECRET]
        keys = (EC_KEY, RSA_KEY, EC_KEY)
        ports = nodes.form(*(authority.options(f"n{at}", key) + secret for at, key in enumerate(keys)))
        assert nodes.all[0].call("CONFIG", "SET", "cluster-auto-balance", "no") == ("+", b"OK")
        until("there are copies", lambda: is_settled(nodes))
        there = fill(ports, 1000)
        gaps = []
        for victim in nodes.all[:2]:
            with Load(ports) as load:
                time.sleep(0.5)
                load.gap = 0.0
                victim.kill()
                time.sleep(4)
                gaps.append(load.gap)
                victim.start()
            until("all agree again", nodes.agree)
            load.check(Client(ports))
            for name in COUNTERS:
                surely(Client(ports), "DEL", name)
            until("copies are complete", lambda: is_settled(nodes))
        until_each_leads_its_own(nodes)
        source, target = nodes.all[0], nodes.all[1]
        with Load(ports) as load:
            begin_move(source, target)
            until("the slots have moved", lambda: has_moved(nodes, source, target))
        load.check(Client(ports))
        nodes.add("--cluster-join", f"{HOST}:{ports[0]}", *authority.options("n3"), *secret)
        until("all know the fourth", lambda: all(len(node.nodes()) == 4 for node in nodes.all))
        check_filled(ports, there)
        assert max(gaps) < 10, gaps
    return f"gaps {', '.join(f'{gap:.2f}' for gap in gaps)} s"


def who_has_no_such_certificate_is_kept_out(binary: str) -> str:
    with Certified(binary) as nodes:
        ours, others = nodes.authority("ours"), nodes.authority("others")
        nodes.form(*(ours.options(f"n{at}") for at in range(3)))
        first = nodes.all[0]
        join = ["--cluster-join", f"{HOST}:{first.port}"]
        # It knows our authority, and we do not know that of its certificate.
        both = nodes.papers / "both.crt"
        both.write_text(ours.certificate.read_text() + others.certificate.read_text())
        trusting = options(*others.pair("trusting"), str(both))
        not_accepted = "its certificate is not accepted: no authority"
        accepts_not = "it does not accept this node's certificate: no authority"
        cases = (
            ([], "it has `tls-cluster yes`, and this node has `tls-cluster no`", "it has `tls-cluster no`, and this"),
            (others.options("other"), not_accepted, accepts_not),
            (trusting, accepts_not, not_accepted),
        )
        for its_options, told, noted in cases:
            before = len(first.log.read_text())
            stranger = nodes.add(*join, *its_options)
            until("it is told why", lambda: told in stranger.log.read_text())  # noqa: B023
            until("and here it is noted", lambda: noted in first.log.read_text()[before:])  # noqa: B023
            assert len(stranger.nodes()) == 1, "it has been let in"
        assert len(first.nodes()) == 3
        # It takes part like the others when it has a certificate.
        stranger.stop()
        stranger.options = (*join, *ours.options("n3"))
        stranger.start()
        until("it is let in", lambda: len(first.nodes()) == 4)
        # Nor does one with TLS get into a cluster without.
        plain = nodes.add()
        stranger = nodes.add("--cluster-join", f"{HOST}:{plain.port}", *ours.options("n5"))
        until("it is told why", lambda: "has it `tls-cluster yes`?" in stranger.log.read_text())
        until("and there it is noted", lambda: "this node has `tls-cluster no`" in plain.log.read_text())
        assert len(plain.nodes()) == 1
    return "four kept out"


def wrong_files_are_told_at_the_start(binary: str) -> str:
    with Certified(binary) as nodes:
        ours, others = nodes.authority("ours"), nodes.authority("others")
        certificate, key = ours.pair("good")
        expired, its_key = ours.pair("expired", days=-1)
        first_version = ours.pair("first-version", extensions="")
        ca = str(ours.certificate)
        missing = str(nodes.papers / "missing")
        cases = [
            (["--tls-cluster", "yes"], ["tls-ca-cert-file is not set"]),
            (options(missing, key, ca), ["tls-cert-file: cannot read", missing]),
            (options(certificate, missing, ca), ["tls-key-file: cannot read", missing]),
            (options(certificate, key, missing), ["tls-ca-cert-file: cannot read", missing]),
            (options(certificate, its_key, ca), ["tls-key-file: ", its_key, "it is not the key of", certificate]),
            (options(certificate, certificate, ca), ["tls-key-file: ", "there is no private key in it"]),
            (options(expired, its_key, ca), ["tls-cert-file: ", expired, "it has expired"]),
            (options(certificate, key, str(others.certificate)), ["tls-cert-file: ", "no authority of"]),
            (options(*first_version, ca), ["tls-cert-file: ", "version 3"]),
            (options(ca, f"{ours.directory}/ca.key", ca), ["tls-cert-file: ", "CA:TRUE"]),
        ]
        for number, (words, expected) in enumerate(cases):
            directory = nodes.directory / f"wrong-{number}"
            directory.mkdir()
            place = ["--port", str(free_port()), "--cluster-port", str(free_port()), "--dir", str(directory)]
            run = subprocess.run(
                [binary, *place, "--cluster-enabled", "yes", *words], capture_output=True, text=True, timeout=60
            )
            said = run.stdout + run.stderr
            assert run.returncode != 0, f"it runs with {words}"
            assert all(part in said for part in expected), (expected, said)
            assert "panicked" not in said, said
    return f"{len(cases)} cases"


def certificates_change_while_nodes_run(binary: str) -> str:
    """From one authority to another, without an interruption."""
    with Certified(binary) as nodes:
        old, new = nodes.authority("old"), nodes.authority("new")
        ports = nodes.form(*(old.options(f"n{at}") for at in range(3)))
        until("there are copies", lambda: is_settled(nodes))
        both = nodes.papers / "both.crt"
        both.write_text(old.certificate.read_text() + new.certificate.read_text())
        certificate, key = new.pair("good")
        first = nodes.all[0]
        refused = (
            (["tls-cert-file", certificate], "tls-key-file: "),
            (["tls-cert-file", certificate, "tls-key-file", key], "no authority of"),
            (["tls-ca-cert-file", str(new.certificate)], "no authority of"),
            (["tls-key-file", "/nowhere"], "tls-key-file: cannot read /nowhere"),
            (["tls-cluster", "no"], "immutable"),
        )
        for words, expected in refused:
            before = {name: first.call("CONFIG", "GET", name) for name in words[::2]}
            kind, text = first.call("CONFIG", "SET", *words)
            assert kind == "-" and expected.encode() in text, (words, text)
            assert {name: first.call("CONFIG", "GET", name) for name in words[::2]} == before, "it is as it was"
        with Load(ports) as load:
            for node in nodes.all:
                assert node.call("CONFIG", "SET", "tls-ca-cert-file", str(both)) == ("+", b"OK")
            for at, node in enumerate(nodes.all):
                certificate, key = new.pair(f"n{at}")
                assert node.call("CONFIG", "SET", "tls-cert-file", certificate, "tls-key-file", key) == ("+", b"OK")
            for node in nodes.all:
                assert node.call("CONFIG", "SET", "tls-ca-cert-file", str(new.certificate)) == ("+", b"OK")
            join = ["--cluster-join", f"{HOST}:{first.port}"]
            joins = nodes.add(*join, *new.options("n3"))
            until("it is let in", lambda: len(first.nodes()) == 4)
            late = nodes.add(*join, *old.options("late"))
            until("it is told why", lambda: "certificate" in late.log.read_text())
            assert len(late.nodes()) == 1
            until("it knows all", lambda: len(joins.nodes()) == 4)
        load.check(Client(ports))
        # It starts again with what it was told while it ran, if that was written down.
        second = nodes.all[1]
        second.kill()
        second.options = (*join, *options(*new.pair("n1"), str(new.certificate)))
        second.start()
        until("all agree again", lambda: first.nodes().keys() == second.nodes().keys())
        until("it is in touch", lambda: "cluster_state:ok" in second.text("CLUSTER", "INFO"))
    return "every certificate and the authority"


def garbage_costs_little(binary: str) -> str:
    with Certified(binary) as nodes:
        authority = nodes.authority("a")
        ports = nodes.form(*(authority.options(f"n{at}") for at in range(3)))
        victim = nodes.all[0]
        before = memory_kb(victim.process)
        # Records of a handshake message that never ends.
        record = b"\x16\x03\x01\x40\x00" + (b"\x01\x00\xff\xff").ljust(0x4000, b"\0")
        flood = [socket.create_connection((HOST, victim.port + 10000), timeout=20) for _ in range(300)]
        most = before
        for at, connection in enumerate(flood):
            send_if_taken(connection, (record * 4)[: -1 - at])
            most = max(most, memory_kb(victim.process))
        for connection in flood:
            assert is_closed(connection), "it must be closed when it has taken too long"
        assert (most - before) < 100 << 10, f"{most - before} KB"
        client = Client(ports)
        for number in range(100):
            assert surely(client, "SET", f"key:{number}", "value") == ("+", b"OK")
        until("nothing has changed", nodes.agree)
    return f"{most - before} KB for {len(flood)} connections"


def send_if_taken(connection: socket.socket, part: bytes) -> None:
    try:
        connection.sendall(part)
    except OSError:
        # It has been closed already.
        pass


def is_closed(connection: socket.socket) -> bool:
    """Waits until the other side closes, as long as the connection's timeout allows."""
    try:
        while connection.recv(4096):
            pass
    except TimeoutError:
        return False
    except OSError:
        pass
    connection.close()
    return True


CASES = [
    nothing_that_passes_can_be_read,
    all_goes_on_as_without,
    who_has_no_such_certificate_is_kept_out,
    wrong_files_are_told_at_the_start,
    certificates_change_while_nodes_run,
    garbage_costs_little,
]

if __name__ == "__main__":
    sys.exit(run_with_binary("tls", CASES))
