#!/usr/bin/env python3
"""The status page: what /status.json says of one node in both modes and of a cluster, and what Chromium makes of the
page, where there is one (`CHROMIUM`, or on the path). `SCREENSHOTS=DIR` keeps pictures to look at."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "harness"), str(HERE.parent / "cluster")]

from cases import run_cases  # noqa: E402
from exposition import fetch  # noqa: E402
from load import Load  # noqa: E402
from moving import begin_move  # noqa: E402
from nodes import HOST, Client, Nodes, until  # noqa: E402
from server import Server, binary_under_test, free_port  # noqa: E402

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
# Chromium has no narrower window.
SIZES = {"desk": "1280,1600", "phone": "500,1900"}


def status(port: int) -> dict:
    code, headers, text = fetch(port, "/status.json")
    assert code == 200, (code, headers, text)
    return json.loads(text)


def one_node(mode: str) -> None:
    port = free_port()
    with Server(binary_under_test(), "--mode", mode, "--metrics-port", str(port)) as server:
        client = server.connect()
        client.pipeline([("SET", f"key:{number}", "x") for number in range(100)])
        client.pipeline([("GET", "key:1"), ("GET", "nothing")])
        told = status(port)
        assert (told["mode"], told["port"], told["keys"]) == (mode, server.port, 100), told
        assert (told["counters"]["hits"], told["counters"]["misses"]) == (1, 1), told
        assert told["not_ready"] == [] and told["cluster"] is None, told
        assert (told["disk"] is not None) == (len(told["groups"]) == 1) == (mode == "durable"), told
        look(port, f"one-{mode}", ["ready", f"{mode} mode, port {server.port}", "reads that found their key"])


def cache() -> None:
    one_node("cache")


def durable() -> None:
    one_node("durable")


def cluster() -> None:
    with Nodes(binary_under_test()) as nodes:
        ports = [free_port() for _ in range(3)]
        first = nodes.add("--metrics-port", str(ports[0]))
        for port in ports[1:]:
            nodes.add("--metrics-port", str(port), "--cluster-join", f"{HOST}:{first.port}")
        until("slots are given out, and all agree", nodes.have_shares)
        until("followers are told of", lambda: any(group["followers"] for group in status(ports[0])["groups"]))
        states = lambda port: [node["state"] for node in status(port)["cluster"]["nodes"]]  # noqa: E731
        until("all are up", lambda: states(ports[0]) == ["up"] * 3)
        told = status(ports[0])["cluster"]
        assert {node["address"] for node in told["nodes"]} == {f"{HOST}:{node.port}" for node in nodes.all}, told
        assert told["nodes"][told["me"]]["address"] == f"{HOST}:{first.port}", told
        owners = [at for low, high, at in told["slots"] for _ in range(low, high + 1)]
        assert len(owners) == 16384 and set(owners) == {0, 1, 2}, told["slots"]
        assert all(node["slot_count"] > 5000 for node in told["nodes"]), told
        addresses = [f"{HOST}:{node.port}" for node in nodes.all]
        with Load([node.port for node in nodes.all]):
            expected = ["ready", "5,461 slots", "has everything|behind", *map(re.escape, addresses)]
            look(ports[0], "cluster", expected)
        source, target = nodes.all[:2]
        assert source.call("CONFIG", "SET", "cluster-migration-max-bytes-per-second", "1000") == ("+", b"OK")
        client = Client([node.port for node in nodes.all])
        for number in range(30):
            assert client.call("SET", f"large:{number}", "x" * 10_000) == ("+", b"OK")
        begin_move(source, target)
        moves = lambda: status(ports[2])["cluster"]["migrations"]  # noqa: E731
        until("slots are on their way", moves)
        assert moves()[0]["slot_count"] > 5000 and None not in (moves()[0]["from"], moves()[0]["to"]), moves()
        look(ports[2], "moving", ["begins|copies|catches up"])
        nodes.all[1].kill()
        until("a node is gone", lambda: states(ports[2]).count("up") == 2)
        look(ports[2], "failed", ["failed|out of reach"])


def look(port: int, name: str, expected: list) -> None:
    """What a browser shows, after some seconds of its own time."""
    if CHROMIUM is None:
        return
    with tempfile.TemporaryDirectory() as home:
        words = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
                 f"--user-data-dir={home}", "--virtual-time-budget=5000"]
        page = f"http://127.0.0.1:{port}/"
        done = subprocess.run([*words, "--dump-dom", page], capture_output=True, text=True, timeout=120, check=True)
        text = re.sub(r"<(script|style)>.*?</\1>", "", done.stdout, flags=re.S)
        text = re.sub(r"<[^>]*>", "", text)
        for pattern in expected:
            assert re.search(pattern, text), f"the page does not show {pattern!r}: {text}"
        assert "has not answered" not in text, text
        if folder := os.environ.get("SCREENSHOTS"):
            for size, pixels in SIZES.items():
                picture = f"--screenshot={folder}/{name}-{size}.png"
                subprocess.run([*words, picture, f"--window-size={pixels}", page], capture_output=True, timeout=120,
                               check=True)


if __name__ == "__main__":
    if CHROMIUM is None:
        print("no Chromium: what /status.json says is checked, and the page is not looked at")
    sys.exit(run_cases("status", [cache, durable, cluster], sys.argv[1:]))
