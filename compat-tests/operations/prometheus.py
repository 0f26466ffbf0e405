"""A real Prometheus, which scrapes servers under test and evaluates the rules of grafana/alerts.yml.

Its programs are named by `PROMETHEUS` and `PROMTOOL`, or found on the path.
"""

import json
import os
import re
import shutil
import subprocess
import tempfile
import urllib.parse
from pathlib import Path

from exposition import fetch
from nodes import until
from server import free_port

ROOT = Path(__file__).resolve().parent.parent.parent
ALERTS = ROOT / "grafana/alerts.yml"


def program(name: str) -> str | None:
    return os.environ.get(name.upper()) or shutil.which(name)


def alerts() -> list:
    """Name and expression of each rule. The file is simple enough to be read without a library."""
    text = ALERTS.read_text()
    rules = re.findall(r"- alert: (\w+)\n(?: +#[^\n]*\n)* +expr: (?:>-\n)?(.*?)\n +(?:for|labels):", text, re.DOTALL)
    assert len(rules) == text.count("- alert:"), "a rule was not found"
    return [(name, " ".join(expression.split())) for name, expression in rules]


class Prometheus:
    """Scrapes the metrics' ports of each job, and evaluates rules as often."""

    def __init__(self, jobs: dict, rules: str | None = None, interval: str = "1s"):
        self.port, self.directory = free_port(), Path(tempfile.mkdtemp(prefix="basalt-prometheus-"))
        (self.directory / "rules.yml").write_text(ALERTS.read_text() if rules is None else rules)
        targets = {job: [f"127.0.0.1:{port}" for port in ports] for job, ports in jobs.items()}
        config = {
            "global": {"scrape_interval": interval, "evaluation_interval": interval},
            "rule_files": [str(self.directory / "rules.yml")],
            "scrape_configs": [
                {"job_name": job, "static_configs": [{"targets": those}]} for job, those in targets.items()
            ],
        }
        # JSON is YAML.
        (self.directory / "prometheus.yml").write_text(json.dumps(config))

    def __enter__(self) -> "Prometheus":
        words = [f"--config.file={self.directory}/prometheus.yml", f"--storage.tsdb.path={self.directory}/data",
                 f"--web.listen-address=127.0.0.1:{self.port}"]
        with open(self.directory / "log", "wb") as log:
            self.process = subprocess.Popen([program("prometheus"), *words], stdout=log, stderr=log)
        until("Prometheus is ready", lambda: fetch(self.port, "/-/ready")[0] == 200)
        return self

    def ask(self, path: str, **parameters: str):
        status, _, text = fetch(self.port, f"/api/v1/{path}?" + urllib.parse.urlencode(parameters))
        answer = json.loads(text)
        assert status == 200 and answer["status"] == "success", text
        return answer["data"]

    def query(self, expression: str) -> list:
        return self.ask("query", query=expression)["result"]

    def raised(self, *states: str) -> dict:
        """Names of the alerts in these states, by job."""
        names: dict = {}
        for alert in self.ask("alerts")["alerts"]:
            if alert["state"] in states:
                names.setdefault(alert["labels"]["job"], set()).add(alert["labels"]["alertname"])
        return names

    def __exit__(self, *_) -> None:
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)


def promtool(*words: str, text: str = "") -> None:
    done = subprocess.run([program("promtool"), "check", *words], input=text, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
