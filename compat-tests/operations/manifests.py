#!/usr/bin/env python3
"""What docker/, kubernetes/ and config/ set in the server's environment are settings, with values that it takes; and
each file is what its reader takes: hadolint, Kubernetes's own schemas, promtool, systemd-analyze, and Grafana's rules
for its provisioning. Nothing here starts a container: containers/ does.

What a linter needs (PyYAML, kubernetes-validate, hadolint: clients/requirements.txt) is in the environment that `./dev
test` runs this in; without one of them its case says so.
"""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path[:0] = [str(HERE.parent / "harness"), str(HERE.parent / "cluster")]

from cases import run_cases  # noqa: E402
from prometheus import ALERTS, program, promtool  # noqa: E402
from server import binary_under_test  # noqa: E402

PLACES = ["docker/Dockerfile", "docker/compose.yaml", "docker/compose-cluster.yaml", "kubernetes/basalt.yaml"]
# Those of this Python's environment come first.
PROGRAMS = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
# NAME: value, NAME=value, and the two ways in which Kubernetes has them.
FORMS = re.compile(r"""
    (?:^|[\s{])(?P<name>BASALT_[A-Z_]+)
    (?: [ ]*[:=][ ]*(?P<plain>"[^"]*"|[^\s\#]+)
      | ,\s*value:\s*(?P<brief>"[^"]*"|[^}]+)\}
      | \n\s+value:\s*(?P<long>[^\n]+) )
""", re.X | re.M)


def said(path: Path) -> str:
    """Without comments, and without what is taken from the environment of whoever reads the file."""
    return re.sub(r"^\s*#.*$|\$\{[^}]*\}", "", path.read_text(), flags=re.M)


def variables(path: Path) -> list:
    """Names and values that are said in a file; those that come from elsewhere have none."""
    found = []
    for match in FORMS.finditer(said(path)):
        value = match["plain"] or match["brief"] or match["long"]
        found.append((match["name"], value.strip().strip('"')))
    return found


def known() -> set:
    rows = re.findall(r"^\| `([a-z-]+)` \|", (ROOT / "docs/configuration.md").read_text(), re.M)
    return {"BASALT_" + name.upper().replace("-", "_") for name in rows}


def what_is_set_is_a_setting() -> str:
    settings, count = known(), 0
    for place in PLACES:
        pairs = variables(ROOT / place)
        assert pairs, f"{place} sets nothing"
        for name in re.findall(r"\bBASALT_[A-Z_]+\b", said(ROOT / place)):
            assert name in settings, f"{place}: {name} is no setting"
        # One at a time, since a file may say something else for each of its services.
        for name, value in pairs:
            done = subprocess.run([binary_under_test(), "--check-config", "/dev/null"], capture_output=True, text=True,
                                  env=os.environ | {name: value}, timeout=60)
            assert done.returncode == 0, f"{place}: {name}={value}: {done.stderr}"
        count += len(pairs)
    return f"{count} values"


def pods_get_no_settings_by_accident() -> None:
    """Kubernetes puts BASALT_PORT and the like into pods beside a service of that name, if it is not told otherwise."""
    assert "\n      enableServiceLinks: false\n" in (ROOT / "kubernetes/basalt.yaml").read_text()


def files_can_be_used() -> str:
    files = sorted((ROOT / "config").glob("*.conf"))
    for file in files:
        done = subprocess.run([binary_under_test(), "--check-config", str(file)], capture_output=True, text=True,
                              timeout=60)
        assert done.returncode == 0, f"{file.name}: {done.stderr}"
    return f"{len(files)} files"


def no_key_is_said_twice() -> str:
    """YAML's readers keep the last one, and say nothing."""
    files = [file for folder in ("docker", "kubernetes", "grafana") for file in sorted((ROOT / folder).rglob("*.y*ml"))]
    documents = [document for file in files for document in documents_of(file)]
    kinds = [document["kind"] for document in documents if "kind" in document]
    assert kinds.count("StatefulSet") == 1 and None not in documents, kinds
    return f"{len(documents)} documents"


def documents_of(file: Path) -> list:
    import yaml

    class Strict(yaml.SafeLoader):
        """Refuses a key, or the name of a list's element, that was there already."""

        def construct_mapping(self, node, deep=False):
            refuse_doubles(file, [key.value for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"])
            return super().construct_mapping(node, deep)

        def construct_sequence(self, node, deep=False):
            elements = super().construct_sequence(node, deep=True)
            refuse_doubles(file, [element["name"] for element in elements if isinstance(element, dict)
                                  and "name" in element])
            return elements

    # By node, because what is merged into a mapping is not said twice.
    Strict.add_constructor("tag:yaml.org,2002:map", Strict.construct_mapping)
    Strict.add_constructor("tag:yaml.org,2002:seq", Strict.construct_sequence)
    return list(yaml.load_all(file.read_text(), Strict))


def refuse_doubles(file: Path, names: list) -> None:
    doubles = {name for name in names if names.count(name) > 1}
    assert not doubles, f"{file.name}: twice: {doubles}"


def kubernetes_takes_the_manifests() -> str:
    validate = shutil.which("kubernetes-validate", path=PROGRAMS)
    done = subprocess.run([validate, "--strict", ROOT / "kubernetes/basalt.yaml"], capture_output=True, text=True)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    return f"{said.count(' passed ')} resources"


def docker_takes_the_dockerfile() -> None:
    # DL3008: the packages' versions are those of the base image, and its security updates are wanted.
    words = [shutil.which("hadolint", path=PROGRAMS), "--ignore", "DL3008", "--failure-threshold", "info", "--no-color"]
    done = subprocess.run([*words, ROOT / "docker/Dockerfile"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def prometheus_takes_its_files() -> None:
    """As the compose file puts them beside each other."""
    with tempfile.TemporaryDirectory() as place:
        shutil.copy(ROOT / "docker/prometheus.yml", place)
        shutil.copy(ALERTS, place)
        promtool("config", f"{place}/prometheus.yml")


def systemd_takes_the_unit() -> None:
    """With a program in the place of the server, which is not installed here."""
    unit = (ROOT / "config/basalt.service").read_text()
    with tempfile.TemporaryDirectory() as place:
        copy = Path(place, "basalt.service")
        copy.write_text(unit.replace("/usr/local/bin/basalt", shutil.which("true")))
        done = subprocess.run(["systemd-analyze", "verify", "--man=no", copy], capture_output=True, text=True)
    ours = [line for line in done.stderr.splitlines() if "basalt.service" in line]
    assert done.returncode == 0 and not ours, done.stderr


def grafana_finds_its_files() -> str:
    """What the compose file mounts is there, what provisioning files name is mounted, and dashboards name the data
    source."""
    services = documents_of(ROOT / "docker/compose-cluster.yaml")[0]["services"]
    mounted = {}
    for service in services.values():
        for source, target, *_ in [volume.split(":") for volume in service.get("volumes", [])]:
            if source.startswith("."):
                assert (ROOT / "docker" / source).exists(), f"{source} is not there"
                mounted[target] = ROOT / "docker" / source
    provisioning = mounted["/etc/grafana/provisioning"]
    # The two folders that Grafana looks into.
    sources = documents_of(provisioning / "datasources/prometheus.yaml")[0]
    boards = documents_of(provisioning / "dashboards/basalt.yaml")[0]
    assert sources["apiVersion"] == boards["apiVersion"] == 1
    (source,), (provider,) = sources["datasources"], boards["providers"]
    assert {"name", "type", "access", "url", "uid"} <= set(source) and source["type"] == "prometheus", source
    assert re.fullmatch(r"http://(\w+):9090", source["url"])[1] in services, source
    assert provider["type"] == "file" and provider["name"], provider
    files = sorted(mounted[provider["options"]["path"]].glob("*.json"))
    assert files, provider
    uids = [json.loads(file.read_text())["uid"] for file in files]
    assert len(set(uids)) == len(uids) and all(len(uid) <= 40 for uid in uids), uids
    for file in files:
        board = json.loads(file.read_text())
        variables = [one for one in board["templating"]["list"] if one["type"] == "datasource"]
        choices = {f"${{{one['name']}}}": one["query"] for one in variables}
        for uid in re.findall(r'"datasource": \{[^{}]*"uid": "([^"]*)"', file.read_text()):
            assert choices.get(uid) == source["type"] or uid == source["uid"], f"{file.name}: data source {uid}"
    return f"{len(files)} dashboards"


CASES = [what_is_set_is_a_setting, pods_get_no_settings_by_accident, files_can_be_used]
# What each case needs besides.
WITH = [
    (no_key_is_said_twice, lambda: has_module("yaml")),
    (grafana_finds_its_files, lambda: has_module("yaml")),
    (kubernetes_takes_the_manifests, lambda: has_module("kubernetes_validate")),
    (docker_takes_the_dockerfile, lambda: shutil.which("hadolint", path=PROGRAMS)),
    (prometheus_takes_its_files, lambda: program("promtool")),
    (systemd_takes_the_unit, lambda: shutil.which("systemd-analyze")),
]


def has_module(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


if __name__ == "__main__":
    for case, is_there in WITH:
        if is_there():
            CASES.append(case)
        else:
            print(f"{case.__name__}: not tried, because what it needs is not here")
    sys.exit(run_cases("manifests", CASES, sys.argv[1:]))
