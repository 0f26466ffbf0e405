"""Reads Prometheus's text format strictly: what a real Prometheus would put up with is refused as well."""

import http.client
import re
from dataclasses import dataclass, field

NAME = r"[a-z_][a-z0-9_]*"
SAMPLE = re.compile(rf"({NAME})(?:\{{(.*)\}})? ([0-9.e+-]+)")
LABEL = re.compile(rf'({NAME})="((?:[^"\\\n]|\\["\\n])*)"(?:,|$)')
SUFFIXES = ("_bucket", "_sum", "_count")


@dataclass
class Metric:
    kind: str
    # By name and labels: a histogram's samples have several names.
    samples: dict = field(default_factory=dict)

    def value(self, **labels: str) -> float:
        """The sum of the samples that have these labels."""
        wanted = set(labels.items())
        return sum(value for (_, pairs), value in self.samples.items() if wanted <= set(pairs))

    def label_names(self) -> set:
        return {name for _, pairs in self.samples for name, _ in pairs if name != "le"}


def read(text: str) -> dict:
    """All metrics by name."""
    metrics, name = {}, None
    assert text.endswith("\n"), "the last line is not whole"
    lines = iter(text.splitlines())
    for line in lines:
        if line.startswith("# HELP "):
            name, what = line.split(" ", 3)[2:]
            assert what and name not in metrics, line
            kind = next(lines)
            assert kind.startswith(f"# TYPE {name} "), kind
            metrics[name] = Metric(kind.rsplit(" ", 1)[1])
            continue
        match = SAMPLE.fullmatch(line)
        assert match and name, f"no sample: {line}"
        own, labels, value = match.groups()
        pairs = tuple(label for label in read_labels(labels or ""))
        is_histogram = metrics[name].kind == "histogram"
        assert own == name or is_histogram and own in [name + suffix for suffix in SUFFIXES], f"{own} below {name}"
        assert (own, pairs) not in metrics[name].samples, f"twice: {line}"
        metrics[name].samples[own, pairs] = float(value)
    for name, metric in metrics.items():
        assert metric.samples, f"{name} has a head and no samples"
        if metric.kind == "histogram":
            check_histogram(name, metric)
        elif metric.kind == "counter":
            assert all(value >= 0 for value in metric.samples.values()), name
    return metrics


def read_labels(text: str) -> list:
    pairs, at = [], 0
    while at < len(text):
        match = LABEL.match(text, at)
        assert match, f"no labels: {text}"
        pairs.append(match.groups())
        at = match.end()
    return pairs


def check_histogram(name: str, metric: Metric) -> None:
    series = {}
    for (own, pairs), value in metric.samples.items():
        rest = tuple(pair for pair in pairs if pair[0] != "le")
        series.setdefault(rest, {}).setdefault(own, []).append((dict(pairs).get("le"), value))
    for rest, parts in series.items():
        ends = [float(end) for end, _ in parts[name + "_bucket"]]
        counts = [value for _, value in parts[name + "_bucket"]]
        assert ends == sorted(set(ends)) and ends[-1] == float("inf"), (name, rest, ends)
        assert counts == sorted(counts), (name, rest, counts)
        assert [(None, counts[-1])] == parts[name + "_count"], (name, rest)


def fetch(port: int, path: str, method: str = "GET", host: str = "127.0.0.1") -> tuple:
    """Status, headers and body."""
    connection = http.client.HTTPConnection(host, port, timeout=30)
    try:
        connection.request(method, path)
        response = connection.getresponse()
        return response.status, response.headers, response.read().decode()
    finally:
        connection.close()


def scrape(port: int) -> dict:
    status, headers, text = fetch(port, "/metrics")
    assert status == 200 and headers["Content-Type"].startswith("text/plain; version=0.0.4"), (status, headers)
    return read(text)
