#!/usr/bin/env python3
"""What docker/, kubernetes/ and config/ set in the server's environment are settings, with values that it takes. Where
there is PyYAML, all of their YAML is read, too; nothing here starts a container."""

import os
import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(HERE.parent / "harness"))

from cases import run_cases  # noqa: E402
from server import binary_under_test  # noqa: E402

PLACES = ["docker/Dockerfile", "docker/compose.yaml", "docker/compose-cluster.yaml", "kubernetes/basalt.yaml"]
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
        environment = dict(pairs)
        done = subprocess.run([binary_under_test(), "--check-config", "/dev/null"], capture_output=True, text=True,
                              env=os.environ | environment, timeout=60)
        assert done.returncode == 0, f"{place}: {done.stderr}"
        count += len(environment)
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


def all_yaml_can_be_read() -> str:
    try:
        import yaml
    except ImportError:
        return "not tried: there is no PyYAML here"
    files = [file for folder in ("docker", "kubernetes", "grafana") for file in sorted((ROOT / folder).rglob("*.y*ml"))]
    documents = [document for file in files for document in yaml.safe_load_all(file.read_text())]
    kinds = [document["kind"] for document in documents if "kind" in document]
    assert kinds.count("StatefulSet") == 1 and None not in documents, kinds
    return f"{len(documents)} documents"


CASES = [what_is_set_is_a_setting, pods_get_no_settings_by_accident, files_can_be_used, all_yaml_can_be_read]

if __name__ == "__main__":
    sys.exit(run_cases("manifests", CASES, sys.argv[1:]))
