#!/usr/bin/env python3
"""The port for metrics and health: are the metrics well formed, documented and true, and do /health and /ready say what
is so? Of one node in both modes and of a cluster."""

import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path[:0] = [str(HERE.parent / "harness"), str(HERE.parent / "cluster")]

from cases import run_cases  # noqa: E402
from exposition import fetch, scrape  # noqa: E402
from nodes import Nodes, until  # noqa: E402
from server import Server, binary_under_test, free_port  # noqa: E402

ROW = re.compile(r"\| `(basalt_\w+)` \| (\w+) \| (.*?) \| .+ \|")


def documented() -> dict:
    """Kind and labels of each metric in docs/metrics.md."""
    rows = ROW.findall((ROOT / "docs/metrics.md").read_text())
    return {name: (kind, set(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows}


def check_documented(metrics: dict) -> None:
    pages = documented()
    for name, metric in metrics.items():
        assert name in pages, f"{name} is not in docs/metrics.md"
        assert pages[name] == (metric.kind, metric.label_names()), (name, pages[name], metric.label_names())


def start(mode: str, *options: str) -> tuple:
    port = free_port()
    server = Server(binary_under_test(), "--mode", mode, "--metrics-port", str(port), *options)
    return server, port


def info(server, section: str) -> dict:
    connection = server.connect()
    text = connection.call("INFO", section)[1].decode()
    connection.close()
    return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)


def work(server) -> None:
    """Something of each kind that is counted."""
    client = server.connect()
    client.pipeline([("SET", f"key:{number}", "x" * 100) for number in range(500)])
    client.pipeline([("GET", f"key:{number}") for number in range(1000)])
    client.call("SELECT", "3")
    client.call("SET", "with-expiry", "1", "EX", "1000")
    client.call("LPUSH", "with-expiry", "1")
    client.call("GET")
    client.call("CONFIG", "GET", "port")
    client.close()


def check_values(server, port: int, mode: str) -> None:
    work(server)
    metrics = scrape(port)
    check_documented(metrics)
    value = lambda name, **labels: metrics[name].value(**labels)  # noqa: E731
    calls = {key: count for (own, key), count in metrics["basalt_command_duration_seconds"].samples.items()
             if own.endswith("_count")}
    assert calls[(("command", "set"),)] == 501 and calls[(("command", "get"),)] == 1000, calls
    assert calls[(("command", "config|get"),)] == 1, calls
    assert value("basalt_command_failures_total", command="lpush") == 1
    assert value("basalt_command_rejections_total", command="get") == 1
    assert value("basalt_errors_total", code="WRONGTYPE") == 1 and value("basalt_errors_total", code="ERR") == 1
    assert value("basalt_keys", db="0") == 500 and value("basalt_keys", db="3") == 1
    assert value("basalt_keys_with_expiry", db="3") == 1
    ttl = "basalt_key_ttl_average_seconds"
    until("the time to live is estimated", lambda: 0 < scrape(port)[ttl].value(db="3") < 1001)
    assert (value("basalt_keyspace_hits_total"), value("basalt_keyspace_misses_total")) == (500, 500)
    assert value("basalt_build_info", mode=mode) == 1
    stats, memory = info(server, "stats"), info(server, "memory")
    assert value("basalt_connections_received_total") < int(stats["total_connections_received"])
    assert value("basalt_network_bytes_total", direction="input") > 500 * 100
    assert value("basalt_memory_part_bytes", part="dataset") > 500 * 100
    assert abs(value("basalt_memory_used_bytes") - int(memory["used_memory"])) < 1 << 20
    assert abs(value("basalt_process_start_time_seconds") - time.time()) < 60
    assert value("basalt_process_open_fds") >= 5 and value("basalt_process_cpu_seconds_total") > 0
    assert "basalt_cluster_up" not in metrics
    if mode == "cache":
        assert "basalt_group_term" not in metrics and "basalt_rocksdb_table_bytes" not in metrics
        return
    assert value("basalt_group_role", group="1", kind="home", role="leader") == 1
    until("all is committed", lambda: is_committed(scrape(port)))
    fsyncs = metrics["basalt_group_log_fsync_duration_seconds"].samples
    assert fsyncs["basalt_group_log_fsync_duration_seconds_count", (("group", "1"),)] > 0
    assert value("basalt_group_proposals_total", group="1") == 501
    assert value("basalt_rocksdb_written_bytes_total", what="payload") > 500 * 100
    assert len(metrics["basalt_rocksdb_level_files"].samples) >= 2 and value("basalt_disk_free_bytes") > 0


def is_committed(metrics: dict) -> bool:
    last, committed = [metrics[f"basalt_group_log_{name}_index"].value(group="1") for name in ("last", "committed")]
    return last == committed > 0


def check_http(server, port: int) -> None:
    assert fetch(port, "/health")[::2] == (200, "alive\n") and fetch(port, "/ready?x=1")[::2] == (200, "ready\n")
    assert fetch(port, "/metrics", "HEAD")[::2] == (200, "") and fetch(port, "/nothing")[0] == 404
    assert fetch(port, "/metrics", "POST")[0] == 405 and fetch(port, "/")[0] == 200
    for bad, expected in [(b"*1\r\n$4\r\nPING\r\n\r\n", b"HTTP/1.1 400 "), (b"GET /" + b"a" * 9000, b"HTTP/1.1 431 ")]:
        assert raw(port, bad).startswith(expected), bad[:20]
    # Those who say nothing take all places, but not for ever.
    silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(20)]
    assert fetch(port, "/health")[0] == 200
    for connection in silent:
        connection.close()
    assert server.alive()


def raw(port: int, data: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(data)
        try:
            return connection.recv(100)
        except ConnectionResetError:
            return b""


def settings() -> None:
    server, port = start("cache")
    with server:
        client = server.connect()
        assert client.call("CONFIG", "GET", "metrics-port")[1][1] == ("$", str(port).encode())
        assert client.call("CONFIG", "SET", "metrics-port", "1")[0] == "-", "it is chosen at the start"
        # Loopback only, if nothing else is said; this machine's other addresses are those of others.
        listening = Path(f"/proc/{server.process.pid}/net/tcp").read_text() + "\n"
        assert f" 0100007F:{port:04X} 00000000:0000 0A" in listening, "it listens on 127.0.0.1"
        assert f" 00000000:{port:04X} 00000000:0000 0A" not in listening, "it listens on all addresses"
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            words = ["--metrics-port", str(taken.getsockname()[1])]
            assert ends_with_error(*words), "a port that somebody has asked for must be had"


def ends_with_error(*options: str) -> bool:
    with tempfile.TemporaryDirectory() as directory:
        words = [binary_under_test(), "--mode", "cache", "--port", str(free_port()), "--dir", directory, *options]
        done = subprocess.run(words, capture_output=True, text=True, timeout=60)
        return done.returncode != 0 and "metrics-port" in done.stderr


def loading() -> None:
    """While a dump is loaded the server is alive, and not ready."""
    server, port = start("cache", "--key-load-delay", "0")
    with server:
        client = server.connect()
        client.pipeline([("SET", f"key:{number}", "x") for number in range(2000)])
        assert client.call("SAVE") == ("+", b"OK")
        client.close()
        server.process.args += ["--key-load-delay", "5000"]
        server.restart(kill=True)
        status, _, text = fetch(port, "/ready")
        assert status == 503 and text.startswith("not ready\na dump is being loaded: "), (status, text)
        assert fetch(port, "/health")[0] == 200
        assert scrape(port)["basalt_loading"].value() == 1
        until("the dump is loaded", lambda: fetch(port, "/ready")[0] == 200)


def stuck() -> None:
    """A server whose first network thread hangs is not alive."""
    server, port = start("cache")
    with server:
        client = server.connect()
        client.send(b"*3\r\n$5\r\nDEBUG\r\n$5\r\nSLEEP\r\n$2\r\n18\r\n")
        until("it is not alive", lambda: "has done nothing for 1" in fetch(port, "/health")[2])
        assert fetch(port, "/health")[0] == 503
        assert client.read() == ("+", b"OK")
        until("it is alive again", lambda: fetch(port, "/health")[0] == 200)


def cluster() -> None:
    with Nodes(binary_under_test()) as nodes:
        ports = {}

        def add(*options: str):
            port = free_port()
            node = nodes.add("--metrics-port", str(port), *options)
            ports[node.port] = port
            return node

        first = add()
        for _ in range(2):
            add("--cluster-join", f"127.0.0.1:{first.port}")
        until("slots are given out, and all agree", nodes.have_shares)
        until("all are ready", lambda: all(fetch(port, "/ready")[0] == 200 for port in ports.values()))
        try:
            until("all groups have their replicas", lambda: all(is_whole(scrape(port)) for port in ports.values()))
        except AssertionError as problem:
            names = ["basalt_group_role", "basalt_group_replica_lag_entries"]
            state = [[scrape(port)[name].samples for name in names] for port in ports.values()]
            raise AssertionError(f"{problem}: {state}") from problem
        for port in ports.values():
            check_documented(scrape(port))
        until("all tell the same", lambda: tell_the_same([scrape(port) for port in ports.values()]))
        # Without the other two a node knows of no leader, and is not ready.
        for node in nodes.all[1:]:
            node.kill()
        lonely = ports[first.port]
        until("the last node is not ready", lambda: fetch(lonely, "/ready")[0] == 503)
        until("it says why", lambda: "out of touch" in fetch(lonely, "/ready")[2])
        assert fetch(lonely, "/health")[0] == 200
        for name, expected in [("up", 0), ("root_in_reach", 0), ("links_down", 2)]:
            until(name, lambda: scrape(lonely)[f"basalt_cluster_{name}"].value() == expected)


def tell_the_same(seen: list) -> bool:
    """Whether three nodes, each asked at another moment, tell of one cluster that is up."""

    def told(name: str, **labels: str) -> list:
        return [metrics[name].value(**labels) for metrics in seen]

    alike = (told("basalt_cluster_nodes", health="up"), told("basalt_cluster_slots", state="ok"))
    sums = (sum(told("basalt_cluster_own_slots")), sum(told("basalt_group_role", kind="root", role="leader")))
    return alike == ([3] * 3, [16384] * 3) and told("basalt_cluster_root_in_reach") == [1] * 3 and sums == (16384, 1)


def is_whole(metrics: dict) -> bool:
    """Whether this node has replicas of the root group and of three others, and those that follow it are up to date."""
    roles, lag = metrics["basalt_group_role"], metrics.get("basalt_group_replica_lag_entries")
    return roles.value() == 4 and (lag is None or lag.value() == 0)


def values_of_cache() -> None:
    check_node("cache")


def values_of_durable() -> None:
    check_node("durable")


def check_node(mode: str) -> None:
    server, port = start(mode)
    with server:
        check_values(server, port, mode)
        check_http(server, port)


CASES = [values_of_cache, values_of_durable, settings, loading, stuck, cluster]

if __name__ == "__main__":
    # Servers that tests start have no such port, if they do not ask for one.
    os.environ.pop("BASALT_METRICS_PORT", None)
    sys.exit(run_cases("metrics", CASES, sys.argv[1:]))
