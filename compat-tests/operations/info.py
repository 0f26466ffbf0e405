#!/usr/bin/env python3
"""INFO beside redis-server's: the same sections and fields in the same order and of the same form, and true values
where they can be known from outside."""

import os
import re
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "harness"), str(HERE.parent / "cluster")]

from cases import run_cases  # noqa: E402
from nodes import Nodes, until  # noqa: E402
from server import REFERENCE, Server, binary_under_test  # noqa: E402

# What 7.2 has, and 7.0, which is what is installed, has not.
SINCE_7_2 = {
    "server": {"listener0"},
    "clients": {"total_blocking_keys", "total_blocking_keys_on_nokey"},
    "memory": set(),
    "persistence": {"rdb_saves", "aof_rewrites", "aof_rewrites_consecutive_failures", "async_loading"},
    "stats": {
        "evicted_clients", "instantaneous_input_repl_kbps", "instantaneous_output_repl_kbps",
        "total_net_repl_input_bytes", "total_net_repl_output_bytes", "eventloop_cycles", "eventloop_duration_sum",
        "eventloop_duration_cmd_sum",
        "instantaneous_eventloop_cycles_per_sec", "instantaneous_eventloop_duration_usec", "acl_access_denied_auth",
        "acl_access_denied_cmd", "acl_access_denied_key", "acl_access_denied_channel", "reply_buffer_shrinks",
        "reply_buffer_expands",
    },
    "replication": set(),
    "cpu": set(),
    "cluster": set(),
}
FORMS = [
    ("integer", r"-?\d+"),
    ("decimal", r"-?\d+\.\d+"),
    ("percent", r"\d+\.\d+%"),
    ("bytes", r"\d+(\.\d+)?[BKMGTP]"),
]
# A field of ours may have another form if its value is of another kind.
OTHER_FORM = {"redis_git_sha1", "redis_build_id", "gcc_version", "master_replid", "config_file"}


def sections(server, *names: str) -> dict:
    """Fields of each section by its lower-case title."""
    connection = server.connect()
    text = connection.call("INFO", *names)[1].decode()
    connection.close()
    found, title = {}, None
    for line in text.split("\r\n"):
        if line.startswith("# "):
            title = line[2:].lower()
            found[title] = {}
        elif line:
            name, value = line.split(":", 1)
            assert name not in found[title], f"{name} is there twice"
            found[title][name] = value
    return found


def form(value: str) -> str:
    return next((name for name, pattern in FORMS if re.fullmatch(pattern, value)), "text")


def fields_are_those_of_redis() -> None:
    with Server(REFERENCE) as reference, Server(binary_under_test(), "--mode", "cache") as server:
        for one in [reference, server]:
            client = one.connect()
            client.call("SET", "a", "b", "EX", "1000")
            client.call("LPUSH", "a", "b")
            client.close()
        expected, found = sections(reference, "everything"), sections(server, "everything")
        order = [title for title in found if title in expected]
        assert order == list(expected), f"sections: {list(expected)}, here {order}"
        wrong = []
        for title, theirs in expected.items():
            ours = found[title]
            if title in ["commandstats", "latencystats"]:
                # The clients of this test say different things to the two.
                theirs = {name: value for name, value in theirs.items() if re.search(r"_(set|lpush)$", name)}
            missing = [name for name in theirs if name not in ours]
            missing += sorted(SINCE_7_2.get(title, set()) - set(ours))
            wrong += [f"{title}: {name} is missing" for name in missing]
            common = [name for name in ours if name in theirs]
            # Redis shows commands in the order of a hash table.
            is_ordered = title not in ["commandstats", "latencystats"]
            if is_ordered and common != [name for name in theirs if name in ours]:
                wrong.append(f"{title}: the order is {common}")
            wrong += [
                f"{title}: {name} is {ours[name]!r}, there {theirs[name]!r}"
                for name in common
                if name not in OTHER_FORM and form(ours[name]) != form(theirs[name])
            ]
        assert not wrong, "\n".join(wrong)
        for name, value in expected["keyspace"].items():
            assert re.sub(r"avg_ttl=\d+", "", found["keyspace"][name]) == re.sub(r"avg_ttl=\d+", "", value)
        assert found["errorstats"] == expected["errorstats"]


def sections_are_chosen_as_in_redis() -> None:
    own = {"durability", "storage", "groups", "forwarding", "keysizes"}
    with Server(REFERENCE) as reference, Server(binary_under_test(), "--mode", "cache") as server:
        for names in [[], ["default"], ["all"], ["everything"], ["cpu"], ["CPU", "server"], ["server", "server"], ["x"],
                      ["default", "commandstats"], ["modules"], ["all", "modules"]]:
            expected = [title for title in sections(reference, *names)]
            found = [title for title in sections(server, *names) if title not in own]
            # Which errors and commands there were differs, but not whether the section is there.
            assert found == expected, (names, expected, found)


def sizes_are_counted() -> None:
    """The section that Redis 8 has: the lines are those that Redis's documentation shows for the same values."""
    for mode in ["cache", "durable"]:
        with Server(binary_under_test(), "--mode", mode) as server:
            client = server.connect()
            for size in [0, 1, 2, 3, 4, 1023, 1024, 3000, 1 << 20]:
                client.call("SET", f"string:{size}", "x" * size)
            client.call("SET", "number", "12345678")
            client.call("SELECT", "3")
            client.call("RPUSH", "list", *["x"] * 1000)
            client.call("SADD", "set", "1", "2", "3")
            client.call("HSET", "hash", "a", "1", "b", "2")
            client.call("ZADD", "zset", "1", "a")
            assert sections(server, "keysizes")["keysizes"] == {
                "db0_distrib_strings_sizes": "0=1,1=1,2=2,4=1,8=1,512=1,1K=1,2K=1,1M=1",
                "db3_distrib_lists_items": "512=1",
                "db3_distrib_sets_items": "2=1",
                "db3_distrib_zsets_items": "1=1",
                "db3_distrib_hashes_items": "2=1",
            }, mode
            client.call("SREM", "set", "1", "2")
            client.call("LTRIM", "list", "0", "0")
            client.call("DEL", "hash")
            client.call("SWAPDB", "0", "3")
            client.call("FLUSHDB")
            assert "db3_distrib_strings_sizes" not in sections(server, "keysizes")["keysizes"]
            assert sections(server, "keysizes")["keysizes"] == {
                "db0_distrib_lists_items": "1=1",
                "db0_distrib_sets_items": "1=1",
                "db0_distrib_zsets_items": "1=1",
            }, mode
            client.call("FLUSHALL")
            assert sections(server, "keysizes")["keysizes"] == {}
            assert "keysizes" not in sections(server)


def values_are_true() -> None:
    with Server(binary_under_test(), "--mode", "cache", "--io-threads", "2") as server:
        client, other = server.connect(), server.connect()
        for number in range(200):
            client.call("SET", f"key:{number}", "x" * 1000)
        other.call("SUBSCRIBE", "news")
        found = sections(server)
        stats, clients = found["stats"], found["clients"]
        assert int(clients["connected_clients"]) == 3 and clients["pubsub_clients"] == "1", clients
        assert int(stats["total_net_input_bytes"]) > 200_000 and stats["pubsub_channels"] == "1", stats
        # Each of these calls has come alone.
        assert int(stats["eventloop_cycles"]) >= 200, stats
        busy, commands = int(stats["eventloop_duration_sum"]), int(stats["eventloop_duration_cmd_sum"])
        most = (int(found["server"]["uptime_in_seconds"]) + 1) * 2_000_000
        assert 0 < commands <= busy < most, (busy, commands)
        assert int(found["server"]["process_id"]) == server.process.pid
        # So short a life may be all of one kind.
        assert sum(float(found["cpu"][f"used_cpu_{kind}"]) for kind in ("user", "sys")) > 0, found["cpu"]
        assert client.call("CONFIG", "RESETSTAT") == ("+", b"OK")
        after = sections(server)["stats"]
        assert int(after["eventloop_cycles"]) < 50 and int(after["total_net_input_bytes"]) < 1000, after


def replication_is_true() -> None:
    with Nodes(binary_under_test()) as nodes:
        first = nodes.add()
        for _ in range(2):
            nodes.add()
        # One master and two replicas, as redis-cli makes them.
        names = [f"127.0.0.1:{node.port}" for node in nodes.all]
        for node in nodes.all[1:]:
            node.call("CLUSTER", "MEET", "127.0.0.1", first.port)
        until("all know each other", lambda: all(len(node.nodes()) == 3 for node in nodes.all))
        assert first.call("CLUSTER", "ADDSLOTSRANGE", "0", "16383") == ("+", b"OK"), names
        until("the cluster is up", nodes.agree)
        for node in nodes.all[1:]:
            assert node.call("CLUSTER", "REPLICATE", first.name()) == ("+", b"OK")
        until("both follow", lambda: replication(first)["connected_slaves"] == "2")
        for number in range(50):
            assert first.call("SET", f"key:{number}", "x") == ("+", b"OK")
        until("both have everything", lambda: offsets(first) == {replication(first)["master_repl_offset"]})
        shown = replication(first)
        assert shown["role"] == "master" and int(shown["master_repl_offset"]) > 50, shown
        for node in nodes.all[1:]:
            until("what is committed is applied", lambda node=node: is_up_to_date(node, first))
            # By the map and by the links, which the node hears of later than of the log.
            until("it follows", lambda node=node: follows(node, first))
        stats = dict(line.split(":") for line in first.text("INFO", "stats").split("\r\n") if ":" in line)
        assert int(stats["total_net_repl_output_bytes"]) > 50 * 10, stats
        clients = dict(line.split(":") for line in first.text("INFO", "clients").split("\r\n") if ":" in line)
        assert int(clients["cluster_connections"]) >= 2, clients
        first.kill()
        others = nodes.all[1:]
        until("somebody else leads", lambda: "master" in [replication(node)["role"] for node in others])


def replication(node) -> dict:
    lines = node.text("INFO", "replication").split("\r\n")
    return dict(line.split(":", 1) for line in lines if ":" in line)


def offsets(node) -> set:
    shown = replication(node)
    lines = [value for name, value in shown.items() if re.fullmatch(r"slave\d+", name)]
    assert len(lines) == int(shown["connected_slaves"]), shown
    # One that still gets its first copy has another state.
    found = [re.search(r"state=online,offset=(\d+),lag=\d+", line) for line in lines]
    return {match and match.group(1) for match in found}


def is_up_to_date(node, master) -> bool:
    return replication(node).get("slave_repl_offset") == replication(master)["master_repl_offset"]


def follows(node, master) -> bool:
    own = replication(node)
    names = ("role", "master_port", "master_sync_in_progress", "master_link_status", "replica_announced")
    shown = [own.get(name) for name in names]
    return shown == ["slave", str(master.port), "0", "up", "1"] and 0 <= int(own["master_last_io_seconds_ago"]) < 60


CASES = [
    fields_are_those_of_redis, sections_are_chosen_as_in_redis, sizes_are_counted, values_are_true, replication_is_true,
]

if __name__ == "__main__":
    os.environ["BASALT_METRICS_PORT"] = "0"
    sys.exit(run_cases("info", CASES, sys.argv[1:]))
