#!/usr/bin/env python3
"""Each rule of grafana/alerts.yml fires when what it is there for is done to a server, and no other rule does.

A real Prometheus evaluates the rules as they are written, but for time: a minute of the rules is half a second here,
and so are the intervals between scrapes (see `quickened`). What befalls single servers is in causes.py; all that can be
told there happens at once, to a server each. What befalls a cluster happens here, one after the other.
"""

import os
import re
import signal
import sys
import tempfile
import threading
from contextlib import ExitStack, contextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "harness"), str(HERE.parent / "cluster")]

from causes import STORIES, Scene, Skipped  # noqa: E402
from nodes import HOST, Nodes, is_settled, run_with_binary, until  # noqa: E402
from prometheus import ALERTS, Prometheus, alerts, program  # noqa: E402
from resp import Closed, Connection, encode  # noqa: E402
from server import free_port  # noqa: E402

# How much faster time passes in the rules, and how often servers are scraped for that.
SPEED, INTERVAL = 120, "500ms"
# So many scrapes are more than the longest window and the longest `for` together.
CALM_SCRAPES = 24
# So many are enough for an hour that has been calm before more is evicted.
PAST_SCRAPES = 14
# On a machine that has too much to do answers to scrapes and disks are late for no other reason. That two scrapes were
# missed is a minute in the rules, so these are not held against a server for having come and gone.
OF_THE_MACHINE = {"BasaltDown", "BasaltFsyncSlow"}
# Alerts that no test provokes, each with the reason. An alert is either here or in what a test expects.
EXCUSED: dict = {}
# What the stories of causes.py and the cluster below expect, by the case that sees to it.
PROVOKED = {
    "single_servers": {
        "BasaltDown", "BasaltErrorsClimb", "BasaltConnectionsRejected", "BasaltDescriptorsRunOut",
        "BasaltNetworkThreadsBusy", "BasaltMemoryNearLimit", "BasaltMemoryAboveLimit", "BasaltMemoryOfMachine",
        "BasaltEvictionsClimb", "BasaltDiskFilling", "BasaltDiskFull", "BasaltFsyncSlow", "BasaltWritesHeld",
        "BasaltEngineErrors", "BasaltDumpFailed",
    },
    "cluster": {
        "BasaltDown", "BasaltNotUp", "BasaltNoLeader", "BasaltRootOutOfReach", "BasaltSlotsNotServed",
        "BasaltUnknownFate", "BasaltNodeFailed", "BasaltReplicaNotHeard", "BasaltReplicaLags",
        "BasaltElectionsKeepHappening", "BasaltReplicasDiverge",
    },
}


def quickened(rules: str) -> str:
    """The rules with every span of time made shorter: `for`, the windows of rates, and offsets. Thresholds stay."""
    units = {"s": 1000, "m": 60_000, "h": 3_600_000}

    def shorter(match: re.Match) -> str:
        before, number, unit = match.groups()
        return f"{before}{int(number) * units[unit] // SPEED}ms"

    result, count = re.subn(r"(for: |\[|offset )(\d+)([smh])\b", shorter, rules)
    assert count == len(re.findall(r"\b\d+[smh]\b", re.sub("#.*", "", rules))), "a span of time is written otherwise"
    return result


class Watch:
    """What Prometheus has raised for each job, now and ever."""

    def __init__(self, jobs: dict):
        self.jobs = jobs
        self.prometheus = Prometheus(jobs, quickened(ALERTS.read_text()), INTERVAL)

    def __enter__(self) -> "Watch":
        self.prometheus.__enter__()
        return self

    def __exit__(self, *how) -> None:
        self.prometheus.__exit__(*how)

    def firing(self) -> dict:
        raised = self.prometheus.raised("firing")
        return {job: raised.get(job, set()) for job in self.jobs}

    def ever_fired(self) -> dict:
        """Also what nobody has looked at in time."""
        fired: dict = {job: set() for job in self.jobs}
        for series in self.prometheus.query('count_over_time(ALERTS{alertstate="firing"}[1h])'):
            fired[series["metric"]["job"]].add(series["metric"]["alertname"])
        return fired

    def check_ever_fired(self, expected: dict) -> None:
        fired = self.ever_fired()
        more = {job: names - expected.get(job, set()) - OF_THE_MACHINE for job, names in fired.items()}
        assert not any(more.values()), f"alerts that nothing was done for: {[one for one in more.items() if one[1]]}"

    def stay_calm(self, scrapes: int) -> None:
        """So often every server is scraped, and nothing is raised."""
        enough = f"sum_over_time(up[1h]) >= {scrapes}"
        targets = sum(len(ports) for ports in self.jobs.values())
        until("servers are scraped a while", lambda: len(self.prometheus.query(enough)) == targets)
        self.check_ever_fired({})

    def await_alerts(self, expected: dict) -> None:
        """Until each of these jobs has once had exactly these alerts firing, be it at different times."""
        waiting, firing = dict(expected), {}

        def have_come() -> bool:
            firing.update(self.firing())
            for job in [job for job, names in waiting.items() if firing[job] == names]:
                del waiting[job]
            return not waiting

        try:
            until("the alerts", have_come)
        except AssertionError as problem:
            story = [f"{job}: {sorted(firing[job])}, not {sorted(names)}" for job, names in waiting.items()]
            raise AssertionError("; ".join(story)) from problem


# ---- rules ------------------------------------------------------------------------------------------------------


def every_alert_has_a_test(_binary: str) -> None:
    provoked = set().union(*PROVOKED.values())
    odd = {name for name, _ in alerts()} ^ (provoked | EXCUSED.keys())
    assert not odd, f"without a test, or without a rule: {odd}"
    assert not provoked & EXCUSED.keys(), "what is provoked needs no excuse"


# ---- single servers ---------------------------------------------------------------------------------------------


def single_servers(binary: str) -> str | None:
    """Every story of causes.py, step by step, each with its own server as a job of its own."""
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="basalt-alerts-")))
        stories, ports, skipped = {}, {}, []
        for tell in STORIES:
            job, place = f"basalt-{tell.__name__}", home / tell.__name__
            place.mkdir()
            story = tell(Scene(binary, place, stack))
            stack.callback(story.close)
            try:
                ports[job] = [next(story)]
                stories[job] = story
            except Skipped as reason:
                skipped.append(f"{tell.__name__}: {reason}")
        watch = stack.enter_context(Watch(ports))
        watch.stay_calm(PAST_SCRAPES)
        seen: dict = {job: set() for job in stories}
        while expected := {job: names for job, story in stories.items() if (names := next(story, None)) is not None}:
            watch.await_alerts(expected)
            for job, names in expected.items():
                seen[job] |= names
        watch.check_ever_fired(seen)
        if not skipped:
            assert set().union(*seen.values()) == PROVOKED["single_servers"], "see PROVOKED"
    return f"skipped: {'; '.join(skipped)}" if skipped else None


# ---- a cluster --------------------------------------------------------------------------------------------------


class Worker:
    """Writes and reads what one node leads at first, goes with all of it where it is sent, as clients do that know
    ranges of slots, and waits a while if it is refused."""

    def __init__(self, port: int, keys: list):
        self.port, self.keys, self.connections = port, keys, {}
        self.is_over = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)

    def run(self) -> None:
        number, keys = 0, self.keys
        while not self.is_over.wait(0.005):
            number += 1
            self.call("SET", keys[number % len(keys)], "x" * 500)
            self.call("GET", keys[number % len(keys)])

    def call(self, command: str, key: str, *words: str) -> None:
        port = self.port
        try:
            if port not in self.connections:
                self.connections[port] = Connection(HOST, port, timeout=10)
            kind, text = self.connections[port].call(command, key, *words)
        except (OSError, Closed):
            self.connections.pop(port, None)
            self.is_over.wait(1.5)
            return
        if kind == "-" and text.startswith(b"MOVED "):
            self.port = int(text.rsplit(b":", 1)[1])
        elif kind == "-":
            # Less often than errors would be worth an alert.
            self.is_over.wait(1.5)


class Cluster:
    """Two nodes that share the slots, and a third that has copies of everything and leads nothing."""

    def __init__(self, binary: str):
        self.nodes, self.ports, self.workers = Nodes(binary), [], []
        self.keys: dict = {}

    def __enter__(self) -> "Cluster":
        self.nodes.__enter__()
        try:
            self.form()
        except BaseException:
            self.__exit__(*sys.exc_info())
            raise
        return self

    def form(self) -> None:
        first = self.add()
        second = self.add("--cluster-join", f"{HOST}:{first.port}")
        until("slots are given out, and all agree", lambda: self.shares() == 2 and self.nodes.agree())
        for node in (first, second):
            assert node.call("CONFIG", "SET", "cluster-auto-balance", "no") == ("+", b"OK")
        self.add("--cluster-join", f"{HOST}:{first.port}", "--cluster-auto-balance", "no")
        until("all know each other", lambda: all(len(node.nodes()) == 3 for node in self.nodes.all))
        until("there are copies", lambda: is_settled(self.nodes))
        assert self.shares() == 2, "the third node has got slots"
        self.start_work()

    def add(self, *options: str):
        self.ports.append(free_port())
        words = ["--metrics-port", str(self.ports[-1]), "--fsync", "no", "--enable-debug-command", "yes"]
        return self.nodes.add(*words, *options)

    def shares(self) -> int:
        return sum(1 for _, slots in self.nodes.all[0].nodes().values() if slots)

    def start_work(self) -> None:
        for node in self.nodes.all[:2]:
            connection = Connection(HOST, node.port)
            keys = [key for key in map("key:{}".format, range(30)) if connection.call("SET", key, "1") == ("+", b"OK")]
            connection.close()
            assert keys, f"{node.port} has none of the keys"
            self.keys[node.port] = keys
            self.workers.append(Worker(node.port, keys))
            self.workers[-1].thread.start()

    def write_entries(self, count: int) -> None:
        """So many entries in the log of the first node, each waited for: what comes meanwhile would be one entry."""
        port = self.nodes.all[0].port
        connection, key = Connection(HOST, port), self.keys[port][0]
        for _ in range(count):
            assert connection.call("SET", key, "1") == ("+", b"OK")
        connection.close()

    @contextmanager
    def begun_write(self):
        """A write to the first node whose answer nobody waits for."""
        port = self.nodes.all[0].port
        connection = Connection(HOST, port)
        connection.send(encode(["SET", self.keys[port][0], "1"]))
        try:
            yield
        finally:
            connection.close()

    def fail_over(self) -> None:
        """Whoever leads nothing takes over from the node that it is shown as a replica of."""
        for node in self.nodes.all:
            if node.call("ROLE")[1][0] == ("$", b"slave"):
                node.call("CLUSTER", "FAILOVER")

    @contextmanager
    def stopped(self, *nodes):
        for node in nodes:
            node.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            for node in nodes:
                node.process.send_signal(signal.SIGCONT)

    def key_nobody_writes(self, node) -> str:
        """Which the node leads, and all of its copies have."""
        for number in range(1000):
            if node.call("SET", f"quiet:{number}", "value") == ("+", b"OK"):
                return f"quiet:{number}"
        raise AssertionError(f"{node.port} leads nothing")

    @contextmanager
    def corrupted(self, node, key: str):
        """The node's copy of a key is another one than the leader's. To do it twice is to undo it."""
        corrupt = lambda: node.call("DEBUG", "CORRUPT-REPLICA", key) == ("+", b"OK")  # noqa: E731
        until("the copy has the key", corrupt)
        try:
            yield
        finally:
            assert corrupt(), "the key is gone"

    def __exit__(self, *how) -> None:
        for worker in self.workers:
            worker.is_over.set()
        self.nodes.__exit__(*how)
        for worker in self.workers:
            worker.thread.join()


def verdicts(node) -> set:
    """What CLUSTER VERIFY says of the groups: `status` is the second of each one's pairs."""
    kind, reports = node.call("CLUSTER", "VERIFY")
    assert kind == "*", reports
    return {report[1][3][1] for report in reports}


def cluster(binary: str) -> None:
    """Nothing is raised of a cluster that works; a follower stands still, a majority does, leaders come and go."""
    with Cluster(binary) as cluster, Watch({"basalt": cluster.ports}) as watch:
        first, second, third = cluster.nodes.all
        expect = lambda *names: watch.await_alerts({"basalt": set(names)})  # noqa: E731
        watch.stay_calm(CALM_SCRAPES)
        with cluster.stopped(third):
            expect("BasaltDown", "BasaltNodeFailed", "BasaltReplicaNotHeard")
            cluster.write_entries(10_500)
            expect("BasaltDown", "BasaltNodeFailed", "BasaltReplicaNotHeard", "BasaltReplicaLags")
        expect()
        until("the first node leads something", lambda: first.nodes()[first.port][1])
        with cluster.stopped(second, third), cluster.begun_write():
            # Of writes it is said for a while only.
            until("writes are lost sight of", lambda: "BasaltUnknownFate" in watch.ever_fired()["basalt"])
            expect("BasaltDown", "BasaltNotUp", "BasaltNoLeader", "BasaltRootOutOfReach")
        expect()
        until("the first node leads again", lambda: first.nodes()[first.port][1])
        slot = first.nodes()[first.port][1][0].split("-")[0]
        assert first.call("CLUSTER", "DELSLOTS", slot) == ("+", b"OK")
        expect("BasaltNotUp", "BasaltSlotsNotServed")
        assert first.call("CLUSTER", "ADDSLOTS", slot) == ("+", b"OK")
        expect()
        key = cluster.key_nobody_writes(first)
        with cluster.corrupted(third, key):
            until("it is found", lambda: b"different" in verdicts(first))
            expect("BasaltReplicasDiverge")
        until("all are equal again", lambda: verdicts(first) == {b"equal"})
        expect()
        assert third.call("CLUSTER", "REPLICATE", first.name()) == ("+", b"OK")

        def elect() -> bool:
            cluster.fail_over()
            return watch.firing()["basalt"] == {"BasaltElectionsKeepHappening"}

        until("there are elections", elect)
        expect()
        watch.check_ever_fired({"basalt": PROVOKED["cluster"]})
        assert PROVOKED["cluster"] <= watch.ever_fired()["basalt"], "see PROVOKED"


CASES = [every_alert_has_a_test]
if program("prometheus"):
    CASES += [single_servers, cluster]

if __name__ == "__main__":
    os.environ.pop("BASALT_METRICS_PORT", None)
    sys.exit(run_with_binary("alerts", CASES))
