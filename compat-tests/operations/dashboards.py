#!/usr/bin/env python3
"""Dashboards and alerts name only metrics that a running server tells, with labels that they have; each dashboard is
what grafana/make.py writes. Where there is a Prometheus (`PROMETHEUS` and `PROMTOOL`, or on the path), it scrapes a
cluster under load, loads the rules, and is asked every expression."""

import json
import os
import re
import subprocess
import sys
import threading
from pathlib import Path

HERE = Path(__file__).resolve().parent
GRAFANA = HERE.parent.parent / "grafana"
sys.path[:0] = [str(HERE.parent / "harness"), str(HERE.parent / "cluster")]

from cases import run_cases  # noqa: E402
from exposition import SUFFIXES, fetch, scrape  # noqa: E402
from nodes import Client, Nodes, until  # noqa: E402
from prometheus import ALERTS, Prometheus, alerts, program, promtool  # noqa: E402
from resp import Closed  # noqa: E402
from server import Server, binary_under_test, free_port  # noqa: E402

# What the selectors of our expressions may name besides a metric's own labels: a scraper adds them.
ADDED = {"job", "instance", "le"}
# Expressions that have nothing to show in a healthy cluster: what they divide by, or filter, is not there.
MAY_BE_EMPTY = [
    r"> 0\)|> 0$|> 1048576$",  # Only what has a limit, or waits.
    r"basalt_errors_total|basalt_command_(rejections|failures)",
    r"background_sync|log_write_duration",  # With `fsync always` there are none.
    r"basalt_pubsub|key_ttl_average",
]


def expressions() -> list:
    """Every expression of every dashboard, with its variables filled in, and where it is from."""
    found = []
    for path in sorted((GRAFANA / "dashboards").glob("*.json")):
        board = json.loads(path.read_text())
        for panel in board["panels"]:
            for target in panel.get("targets", []):
                found.append((f"{path.stem}: {panel['title']}", filled(target["expr"])))
        for variable in board["templating"]["list"]:
            match = re.fullmatch(r"label_values\((.*), \w+\)", variable.get("definition", ""))
            if match:
                found.append((f"{path.stem}: variable {variable['name']}", filled(match.group(1))))
    return found


def filled(expression: str) -> str:
    for name, value in [("$cluster", "basalt"), ("$node", ".*"), ("$group", ".*"), ("$__rate_interval", "15s")]:
        expression = expression.replace(name, value)
    assert "$" not in expression, expression
    return expression


def check(where: str, expression: str, metrics: dict) -> None:
    names = set(re.findall(r"\bbasalt_\w+", expression))
    for name in names:
        own = next((name.removesuffix(end) for end in SUFFIXES if name.removesuffix(end) in metrics), name)
        assert own in metrics, f"{where}: there is no {name}"
        assert own == name or metrics[own].kind == "histogram", f"{where}: {name} of a {metrics[own].kind}"
        for labels in re.findall(rf"\b{name}\{{([^}}]*)\}}", expression):
            used = set(re.findall(r"(\w+)(?:=~|!~|!=|=)", labels))
            assert used <= metrics[own].label_names() | ADDED, f"{where}: {name} has no {used}"
        is_rate = re.search(rf"(rate|increase)\({name}\b", expression)
        is_gauge = metrics[own].kind == "gauge" and not name.endswith("_index")
        assert not (is_rate and is_gauge), f"{where}: a rate of a gauge, {name}"
    for name in re.findall(r"by \(([^)]*)\)", expression):
        known = set().union(*[metric.label_names() for metric in metrics.values()]) | ADDED
        assert set(re.findall(r"\w+", name)) <= known, f"{where}: by {name}"


class Cluster:
    """Three nodes, and clients that write, read, make mistakes, and subscribe."""

    def __init__(self) -> None:
        self.nodes = Nodes(binary_under_test())
        self.metrics_ports: list = []
        self.is_over = threading.Event()
        self.load = threading.Thread(target=self.work)

    def __enter__(self) -> "Cluster":
        self.nodes.__enter__()
        for _ in range(3):
            port = free_port()
            join = ["--cluster-join", f"127.0.0.1:{self.nodes.all[0].port}"] if self.nodes.all else []
            self.nodes.add("--metrics-port", str(port), *join)
            self.metrics_ports.append(port)
        until("slots are given out, and all agree", self.nodes.have_shares)
        until("all are ready", lambda: all(fetch(port, "/ready")[0] == 200 for port in self.metrics_ports))
        until("copies are there, and were compared", self.compare)
        self.load.start()
        return self

    def compare(self) -> bool:
        """Whether CLUSTER VERIFY says that all copies are equal: `status` is the second of a group's pairs."""
        kind, reports = self.nodes.all[0].call("CLUSTER", "VERIFY")
        return kind == "*" and all(report[1][3] == ("$", b"equal") for report in reports)

    def work(self) -> None:
        client, number = Client([node.port for node in self.nodes.all]), 0
        while not self.is_over.is_set():
            number += 1
            expiry = ["EX", "500"] if number % 3 == 0 else []
            try:
                client.call("SET", f"key:{number % 1000}", "x" * 500, *expiry, patience=1)
                client.call("GET", f"key:{number % 2000}", patience=1)
                client.call("LPUSH", f"key:{number % 1000}", "1", patience=1)
            except (Closed, AssertionError):
                # Nodes may be gone by now.
                pass

    def __exit__(self, *how) -> None:
        self.is_over.set()
        self.load.join()
        self.nodes.__exit__(*how)


def merged(ports: list) -> dict:
    """All metrics that any of these servers tells."""
    metrics = {}
    for port in ports:
        for name, metric in scrape(port).items():
            metrics.setdefault(name, metric).samples.update(metric.samples)
    return metrics


def dashboards_are_made() -> None:
    done = subprocess.run([sys.executable, GRAFANA / "make.py", "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    for path in (GRAFANA / "dashboards").glob("*.json"):
        panels = [panel["gridPos"] for panel in json.loads(path.read_text())["panels"]]
        cells = [(x, y) for at in panels for x in range(at["x"], at["x"] + at["w"])
                 for y in range(at["y"], at["y"] + at["h"])]
        assert len(cells) == len(set(cells)) and max(x for x, _ in cells) < 24, f"{path.name}: panels overlap"


def all_names_exist() -> None:
    port = free_port()
    with Cluster() as cluster, Server(binary_under_test(), "--mode", "cache", "--metrics-port", str(port)) as cache:
        client = cache.connect()
        client.call("SET", "a", "b", "EX", "100")
        client.call("GET")
        # An error of each kind that is counted: the load may not have come to its first.
        client.call("LPUSH", "a", "b")
        # Those with labels are there when somebody has followed.
        until("there are followers", lambda: "basalt_group_replica_up" in merged(cluster.metrics_ports))
        metrics = merged([*cluster.metrics_ports, port])
        unused = set(metrics)
        for where, expression in expressions() + alerts():
            check(where, expression, metrics)
            unused -= {own for own in metrics if re.search(rf"\b{own}(_bucket|_sum|_count)?\b", expression)}
        shown = set(metrics) - unused
        print(f"    {len(shown)} of {len(metrics)} metrics are shown or watched; not: {', '.join(sorted(unused))}")
        assert len(shown) > 0.8 * len(metrics)


def prometheus_understands_all() -> None:
    promtool("rules", str(ALERTS))
    with Cluster() as cluster, Prometheus({"basalt": cluster.metrics_ports}) as prometheus:
        promtool("metrics", text=fetch(cluster.metrics_ports[0], "/metrics")[2])
        until("all nodes are scraped", lambda: len(prometheus.query("up == 1")) == 3)
        until("there are rates", lambda: len(prometheus.query("rate(basalt_commands_processed_total[15s])")) == 3)
        wanted = [one for one in expressions() if not any(re.search(pattern, one[1]) for pattern in MAY_BE_EMPTY)]
        empty = lambda: [one for one in wanted if not prometheus.query(one[1])]  # noqa: E731
        try:
            until("each expression has something to show", lambda: not empty())
        except AssertionError as problem:
            raise AssertionError(f"{problem}: {empty()}") from problem
        for _, expression in expressions():
            prometheus.query(expression)
        for name, expression in alerts():
            prometheus.query(expression)
            assert name in str(prometheus.ask("rules")), name
        raised = lambda: prometheus.raised("pending", "firing").get("basalt", set())  # noqa: E731
        # The load makes errors on purpose, and a disk that others keep busy is slow. Replicas may just have come.
        until("nothing else is raised", lambda: raised() <= {"BasaltErrorsClimb", "BasaltFsyncSlow"})
        # Two of three nodes are gone: nobody leads, and the one that is left says so.
        for node in cluster.nodes.all[1:]:
            node.kill()
        expected = {"BasaltDown", "BasaltNotUp", "BasaltNoLeader", "BasaltRootOutOfReach"}
        until(f"{expected} are raised", lambda: expected <= raised())


CASES = [dashboards_are_made, all_names_exist]
if program("prometheus") and program("promtool"):
    CASES.append(prometheus_understands_all)

if __name__ == "__main__":
    os.environ.pop("BASALT_METRICS_PORT", None)
    sys.exit(run_cases("dashboards", CASES, sys.argv[1:]))
