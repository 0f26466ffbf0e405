#!/usr/bin/env python3
"""Stands before crun, and leaves out of a container what this machine forbids: limits above those of this process, and
the rules for devices, which want a control group."""

import json
import os
import resource
import sys
from pathlib import Path


def without_what_is_forbidden(config: dict) -> dict:
    for limit in config["process"].get("rlimits", []):
        _, most = resource.getrlimit(getattr(resource, limit["type"]))
        if most != resource.RLIM_INFINITY:
            limit["hard"] = min(limit["hard"], most)
            limit["soft"] = min(limit["soft"], most)
    config["process"].pop("oomScoreAdj", None)
    config["linux"].get("resources", {}).pop("devices", None)
    return config


words = sys.argv[1:]
if "--bundle" in words and "create" in words:
    path = Path(words[words.index("--bundle") + 1]) / "config.json"
    path.write_text(json.dumps(without_what_is_forbidden(json.loads(path.read_text()))))
os.execvp("crun", ["crun", *words])
