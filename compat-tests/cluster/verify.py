#!/usr/bin/env python3
"""Replicas are compared while they run: equal under load, while leaders change and while a copy is made; a copy that is
not what the others are is found, named, counted and logged."""

import sys
import time
import urllib.request

from load import Load, surely
from nodes import HOST, Client, Nodes, form_by_joining, is_settled, run_with_binary, until
from resp import Connection
from server import free_port

OPTIONS = ("--enable-debug-command", "yes", "--cluster-verify-period", "0")


def form(nodes: Nodes, *options: str) -> list:
    first = nodes.add(*OPTIONS, *options)
    for _ in range(2):
        nodes.add("--cluster-join", f"{HOST}:{first.port}", *OPTIONS, *options)
    until("slots are given out, and all agree", nodes.have_shares)
    until("there are copies", lambda: is_settled(nodes))
    return [node.port for node in nodes.all]


def plain(reply):
    """A reply without its types."""
    kind, value = reply
    if kind in "*%":
        return [plain(one) for one in value]
    return value.decode() if isinstance(value, bytes) else value


def mapped(flat: list) -> dict:
    return dict(zip(flat[::2], flat[1::2], strict=True))


def verify(node, *slots: str) -> list:
    connection = Connection(HOST, node.port, timeout=120)
    try:
        kind, value = connection.call("CLUSTER", "VERIFY", *slots)
    finally:
        connection.close()
    assert kind == "*", value
    reports = [mapped(plain(report)) for report in value]
    for report in reports:
        report["not-compared"], report["different"] = mapped(report["not-compared"]), mapped(report["different"])
    return reports


def statuses(reports: list) -> list:
    return [report["status"] for report in reports]


def metric(port: int, name: str) -> dict:
    """Values by the text of their labels."""
    with urllib.request.urlopen(f"http://{HOST}:{port}/metrics", timeout=20) as answer:
        lines = answer.read().decode().splitlines()
    found = [line.rsplit(" ", 1) for line in lines if line.startswith((f"{name}{{", f"{name} "))]
    return {labels.removeprefix(name): float(value) for labels, value in found}


def fill(client: Client) -> None:
    """Values of all types, small and large."""
    for number in range(120):
        surely(client, "SET", f"string:{number}", "v" * (number * 37 % 300))
    large = [word for number in range(3000) for word in (f"field:{number}", f"value:{number}")]
    surely(client, "HSET", "hash", *large)
    surely(client, "SADD", "set", *large)
    surely(client, "RPUSH", "list", *large)
    surely(client, "LPUSH", "list", "first", "second")
    surely(client, "LREM", "list", "3", "value:5")
    surely(client, "ZADD", "zset", *[word for number in range(3000) for word in (str(number / 7), f"m{number}")])
    surely(client, "SETRANGE", "sparse", "300000", "end")
    surely(client, "SET", "volatile", "x", "EX", "10000")
    for key in ("hash", "set"):
        surely(client, "HSET" if key == "hash" else "SADD", f"small:{key}", "one", "two")
    surely(client, "DEL", "string:3")


def replicas_are_equal_under_load_and_while_leaders_change(binary: str) -> str:
    with Nodes(binary) as nodes:
        ports = form(nodes)
        fill(Client(ports))
        checks = 0
        with Load(ports) as load:
            for node in nodes.all:
                reports = verify(node)
                assert statuses(reports) == ["equal"] * 3, reports
                assert all(len(report["compared"]) == 3 for report in reports), reports
                checks += 1
            parts = [verify(nodes.all[0], str(first), str(first + 999)) for first in (0, 5000, 15000)]
            assert all(statuses(reports) == ["equal"] * len(reports) for reports in parts), parts
            # A node that is not there is left out, and is no difference.
            nodes.all[2].kill()
            reports = verify(nodes.all[0])
            assert set(statuses(reports)) == {"incomplete"}, reports
            until("it is named", lambda: all(len(it["not-compared"]) == 1 for it in verify(nodes.all[1])))
            nodes.all[2].start()
            until("copies are complete", lambda: is_settled(nodes))
            # While leaders are killed, whatever is said is never a difference.
            for victim in nodes.all[:2]:
                other = next(node for node in nodes.all if node is not victim)
                victim.kill()
                for _ in range(2):
                    reports = verify(other)
                    assert "different" not in statuses(reports), reports
                victim.start()
                until("copies are complete", lambda: is_settled(nodes))
                until("all are equal again", lambda: statuses(verify(other)) == ["equal"] * 3)  # noqa: B023
        count = load.check(Client(ports))
    return f"{count} writes meanwhile"


def a_copy_that_differs_is_found_and_named(binary: str) -> str:
    with Nodes(binary) as nodes:
        metrics = [free_port() for _ in range(3)]
        first = nodes.add(*OPTIONS, "--metrics-port", str(metrics[0]))
        for port in metrics[1:]:
            nodes.add("--cluster-join", f"{HOST}:{first.port}", *OPTIONS, "--metrics-port", str(port))
        until("slots are given out, and all agree", nodes.have_shares)
        until("there are copies", lambda: is_settled(nodes))
        ports = [node.port for node in nodes.all]
        client = Client(ports)
        fill(client)
        assert statuses(verify(first)) == ["equal"] * 3
        at = {node.port: port for node, port in zip(nodes.all, metrics, strict=True)}

        def counted(result: str) -> float:
            label = f'{{result="{result}"}}'
            return sum(metric(port, "basalt_verify_checks_total").get(label, 0.0) for port in metrics)

        assert (counted("equal"), counted("different")) == (3.0, 0.0)
        assert all(metric(port, "basalt_verify_read_bytes_total")[""] > 0 for port in metrics)
        told = [metric(port, "basalt_group_verified_timestamp_seconds") for port in metrics]
        stamps = [stamp for one in told for stamp in one.values()]
        assert len(stamps) == 3 and all(abs(stamp - time.time()) < 60 for stamp in stamps), stamps

        key = "string:7"
        slot = str(client.call("CLUSTER", "KEYSLOT", key)[1])
        leader = next(node for node in nodes.all if node.call("GET", key)[0] == "$")
        victim = next(node for node in nodes.all if node is not leader)
        until("its copy has the key", lambda: victim.call("DEBUG", "CORRUPT-REPLICA", key) == ("+", b"OK"))
        for asked in nodes.all:
            reports = verify(asked)
            assert sorted(statuses(reports)) == ["different", "equal", "equal"], reports
            found = next(report for report in reports if report["status"] == "different")
            assert found["different"] == {victim.name(): slot}, found
            assert found["leader"] == leader.name(), found
        assert counted("different") == 3.0
        differing = metric(at[leader.port], "basalt_group_differing_slots")
        assert sorted(differing.values()) == [1.0], differing
        logged = [line for line in leader.log.read_text().splitlines() if "REPLICAS DIFFER" in line]
        assert len(logged) == 3 and all(victim.name() in line and slot in line for line in logged), logged
        # Elsewhere nothing is wrong.
        assert statuses(verify(first, slot, slot)) == ["different"]
        neighbour = str((int(slot) + 1) % 16384)
        assert statuses(verify(first, neighbour, neighbour)) == ["equal"]
        # What the operator does about it: the copy is made anew from the others'.
        name, other = victim.name(), next(node for node in nodes.all if node is not victim)
        victim.stop()
        for path in victim.directory.glob("basalt-data/*"):
            path.unlink()
        victim.options = (*OPTIONS, "--cluster-join", f"{HOST}:{other.port}")
        victim.start()
        until("it comes as another node", lambda: victim.name() in other.text("CLUSTER", "NODES"))
        until("the old one is forgotten", lambda: other.call("CLUSTER", "FORGET", name) == ("+", b"OK"))
        until("copies are complete", lambda: len(other.nodes()) == 3 and is_settled(nodes))
        until("all are equal", lambda: set(statuses(verify(other))) == {"equal"})
    return f"slot {slot}"


def it_is_done_without_being_asked_for(binary: str) -> str:
    with Nodes(binary) as nodes:
        metrics = [free_port() for _ in range(3)]
        options = ("--enable-debug-command", "yes", "--cluster-verify-period", "2")
        first = nodes.add(*options, "--metrics-port", str(metrics[0]))
        for port in metrics[1:]:
            nodes.add("--cluster-join", f"{HOST}:{first.port}", *options, "--metrics-port", str(port))
        until("slots are given out, and all agree", nodes.have_shares)
        until("there are copies", lambda: is_settled(nodes))
        client = Client([node.port for node in nodes.all])
        fill(client)

        def verified() -> int:
            return sum(len(metric(port, "basalt_group_verified_timestamp_seconds")) for port in metrics)

        until("each group was found equal", lambda: verified() == 3)
        leader = next(node for node in nodes.all if node.call("GET", "string:7")[0] == "$")
        victim = next(node for node in nodes.all if node is not leader)
        until("its copy has the key", lambda: victim.call("DEBUG", "CORRUPT-REPLICA", "string:7") == ("+", b"OK"))
        until("it is logged", lambda: "REPLICAS DIFFER" in leader.log.read_text())
        for node in nodes.all:
            assert node.call("CONFIG", "SET", "cluster-verify-period", "0") == ("+", b"OK")
    return "found"


def what_is_no_range_is_refused(binary: str) -> str:
    with Nodes(binary) as nodes:
        form_by_joining(nodes)
        node = nodes.all[0]
        for words in (["1"], ["5", "4"], ["0", "16384"], ["a", "b"], ["0", "1", "2"]):
            assert node.call("CLUSTER", "VERIFY", *words)[0] == "-", words
        kind, lines = node.call("CLUSTER", "HELP")
        assert kind == "*" and any("VERIFY" in str(line) for line in lines)
        # Debugging is for tests.
        assert node.call("DEBUG", "CORRUPT-REPLICA", "a")[0] == "-"
    return "five refusals"


CASES = [
    replicas_are_equal_under_load_and_while_leaders_change,
    a_copy_that_differs_is_found_and_named,
    it_is_done_without_being_asked_for,
    what_is_no_range_is_refused,
]


if __name__ == "__main__":
    sys.exit(run_with_binary("verify", CASES))
