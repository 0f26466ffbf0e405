#!/usr/bin/env python3
"""Cold data in durable mode: what is read of large values, and what is not.

Each case starts a durable server, makes everything cold (DEBUG RELOAD, or a restart), and then looks not only at
replies but at INFO: which keys became resident, and how much memory they take.
"""

import os
import select
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "harness"))

from cases import run_cases
from server import Server, binary_under_test

# Above the number from which on a cold value is read by parts.
ELEMENTS = 20_000
STRING_BYTES = 1 << 20


class Wrong(Exception):
    """The server did what it should not."""


def main() -> int:
    return run_durable("cold", CASES, sys.argv[1:])


def run_durable(title: str, cases: list, only: list, options: tuple = (), arguments: tuple = ()) -> int:
    """Each case with a durable server of its own; `only` names those that are wanted, if not all."""

    def call(case) -> None:
        with Server(binary_under_test(), *options) as server:
            case(server, *arguments)

    os.environ["BASALT_MODE"] = "durable"
    return run_cases(title, cases, only, call)


def info(client) -> dict:
    text = client.call("INFO", "everything")[1].decode()
    return dict(line.split(":", 1) for line in text.split("\r\n") if ":" in line)


def number(client, field: str) -> int:
    return int(info(client)[field])


def expect(got, wanted, what="") -> None:
    if got != wanted:
        raise Wrong(f"{what}: {str(got)[:200]} instead of {str(wanted)[:200]}")


def ok(client, *words) -> None:
    expect(client.call(*words)[0] != "-", True, words[:2])


def fill(client) -> None:
    """One large value of each type."""
    for start in range(0, ELEMENTS, 1000):
        names = range(start, start + 1000)
        ok(client, "HSET", "hash", *[word for n in names for word in (f"f{n}", f"value {n}")])
        ok(client, "SADD", "set", *[f"m{n}" for n in names])
        ok(client, "ZADD", "zset", *[word for n in names for word in (f"{n / 2}", f"m{n}")])
        ok(client, "RPUSH", "list", *[f"element {n}" for n in names])
    ok(client, "SET", "string", pattern())


def pattern() -> bytes:
    return b"".join(b"%07d " % n for n in range(STRING_BYTES // 8))


def cool(client) -> None:
    # What was written just now may have to be applied first.
    for _ in range(100):
        ok(client, "DEBUG", "RELOAD")
        if number(client, "keys_resident") == 0:
            return
        time.sleep(0.01)
    raise Wrong(f"{number(client, 'keys_resident')} keys stay in memory")


def filled_and_cold(server):
    """A client of a server that has what `fill` writes, and nothing of it in memory."""
    client = server.connect()
    fill(client)
    cool(client)
    return client


def expect_grown(client, before: int, most: int, what: str) -> None:
    grown = number(client, "used_memory") - before
    expect(grown < most, True, f"{what}: {grown} bytes of memory")


def bulk(text):
    return ("$", text.encode() if isinstance(text, str) else text)


READS = [
    (("HGET", "hash", "f77"), bulk("value 77")),
    (("HGET", "hash", "absent"), ("$", None)),
    (("HMGET", "hash", "f1", "absent", "f19999"), ("*", [bulk("value 1"), ("$", None), bulk("value 19999")])),
    (("HEXISTS", "hash", "f5"), (":", 1)),
    (("HEXISTS", "hash", "absent"), (":", 0)),
    (("HSTRLEN", "hash", "f10000"), (":", 11)),
    (("HLEN", "hash"), (":", ELEMENTS)),
    (("SISMEMBER", "set", "m3"), (":", 1)),
    (("SMISMEMBER", "set", "m4", "absent"), ("*", [(":", 1), (":", 0)])),
    (("SCARD", "set"), (":", ELEMENTS)),
    (("ZSCORE", "zset", "m3"), bulk("1.5")),
    (("ZMSCORE", "zset", "m4", "absent"), ("*", [bulk("2"), ("$", None)])),
    (("ZCARD", "zset"), (":", ELEMENTS)),
    (("LLEN", "list"), (":", ELEMENTS)),
    (("LINDEX", "list", "-1"), bulk("element 19999")),
    (("LINDEX", "list", "20000"), ("$", None)),
    (("LRANGE", "list", "10000", "10001"), ("*", [bulk("element 10000"), bulk("element 10001")])),
    (("STRLEN", "string"), (":", STRING_BYTES)),
    (("GETRANGE", "string", "80000", "80006"), bulk("0010000")),
    (("GETRANGE", "string", "-8", "-2"), bulk("0131071")),
    (("GETBIT", "string", "2"), (":", 1)),
    (("EXISTS", "hash", "set", "zset", "list", "string", "absent"), (":", 5)),
    (("TYPE", "zset"), ("+", b"zset")),
    (("TTL", "list"), (":", -1)),
    (("TOUCH", "hash", "set"), (":", 2)),
    (("OBJECT", "REFCOUNT", "list"), (":", 1)),
]

WRONG_TYPES = [("HGET", "set", "f"), ("SISMEMBER", "zset", "m"), ("ZSCORE", "list", "m"), ("LINDEX", "hash", "0"),
               ("STRLEN", "list"), ("GETRANGE", "set", "0", "1"), ("LLEN", "string"), ("GET", "hash")]


def parts_are_read_without_the_rest(server) -> None:
    client = filled_and_cold(server)
    for words, wanted in READS:
        cool(client)
        before = number(client, "used_memory")
        expect(client.call(*words), wanted, words)
        grown = number(client, "used_memory") - before
        expect(grown < 100_000, True, f"{words} has taken {grown} bytes")
    for words, wanted in READS:
        expect(client.call(*words), wanted, words)
    for words in WRONG_TYPES:
        expect(client.call(*words)[1][:9], b"WRONGTYPE", words)
    # Whoever has read the last of them may hold an outline of its own a moment longer.
    deadline = time.monotonic() + 10
    while number(client, "keys_outlined") != 4 and time.monotonic() < deadline:
        time.sleep(0.01)
    expect(number(client, "keys_outlined"), 4, "values of which only the outline is in memory")
    expect(number(client, "keys_loaded_in_place"), 0, "reads from disk on a network thread")


def a_transaction_reads_parts(server) -> None:
    client = filled_and_cold(server)
    before = number(client, "used_memory")
    ok(client, "MULTI")
    for words, _ in READS:
        expect(client.call(*words), ("+", b"QUEUED"), words)
    expect(client.call("EXEC"), ("*", [wanted for _, wanted in READS]), "EXEC")
    expect_grown(client, before, 200_000, "the transaction")
    expect(number(client, "keys_loaded_in_place"), 0, "reads from disk on a network thread")


def outlines_expire_move_and_go(server) -> None:
    client = filled_and_cold(server)
    before = number(client, "used_memory")
    expect(client.call("PEXPIRE", "hash", "100000000"), (":", 1))
    expect(client.call("PERSIST", "hash"), (":", 1))
    expect(client.call("EXPIRE", "hash", "1000"), (":", 1))
    expect(client.call("RENAME", "hash", "other"), ("+", b"OK"))
    expect(client.call("HGET", "other", "f3"), bulk("value 3"))
    expect(client.call("MOVE", "set", "1"), (":", 1))
    ok(client, "SELECT", "1")
    expect(client.call("SISMEMBER", "set", "m19999"), (":", 1))
    ok(client, "SELECT", "0")
    expect(client.call("DEL", "zset"), (":", 1))
    expect(client.call("ZSCORE", "zset", "m3"), ("$", None))
    expect(client.call("SET", "list", "small"), ("+", b"OK"))
    expect(client.call("GET", "list"), bulk("small"))
    expect(client.call("PEXPIRE", "string", "1"), (":", 1))
    while client.call("EXISTS", "string") != (":", 0):
        time.sleep(0.01)
    expect_grown(client, before, 300_000, "this")
    cool(client)
    expect(client.call("HLEN", "other"), (":", ELEMENTS))
    expect(900 < client.call("TTL", "other")[1] <= 1000, True, "TTL")
    expect(client.call("EXISTS", "hash", "set", "zset", "string"), (":", 0))
    expect(client.call("GET", "list"), bulk("small"))
    # What changes the value has all of it in memory, and what was read by parts before is the same.
    expect(client.call("HSET", "other", "f3", "new", "f20000", "more"), (":", 1))
    expect(client.call("HGETALL", "other")[0], "*")
    expect(client.call("HLEN", "other"), (":", ELEMENTS + 1))
    cool(client)
    expect(client.call("HMGET", "other", "f3", "f4", "f20000"), ("*", [bulk("new"), bulk("value 4"), bulk("more")]))


def asking_for_the_use_of_a_cold_key_loads_nothing(server) -> None:
    client = server.connect()
    fill(client)
    ok(client, "SET", "small", "value")
    ok(client, "SET", "brief", "value", "PX", "1")
    cool(client)
    for key in ("hash", "small"):
        expect(client.call("OBJECT", "IDLETIME", key)[0], ":", key)
        expect(client.call("OBJECT", "FREQ", key)[1][:35], b"ERR An LFU maxmemory policy is not ", key)
    expect(client.call("OBJECT", "IDLETIME", "absent"), ("$", None))
    expect(client.call("OBJECT", "IDLETIME", "brief"), ("$", None))
    ok(client, "CONFIG", "SET", "maxmemory-policy", "allkeys-lfu")
    expect(client.call("OBJECT", "FREQ", "hash"), (":", 0))
    expect(client.call("OBJECT", "FREQ", "absent"), ("$", None))
    expect(client.call("OBJECT", "IDLETIME", "hash")[0], "-")
    expect(number(client, "keys_resident"), 0, "keys in memory")
    expect(client.call("OBJECT", "ENCODING", "string"), bulk("raw"))
    expect(client.call("OBJECT", "ENCODING", "zset"), bulk("skiplist"))
    expect(client.call("MEMORY", "USAGE", "string")[1] < 1000, True, "what is in memory of the string")


def walk(client, *words, count="100") -> tuple:
    """All that a walk shows, and the number of its steps; `words` have the cursor as None."""
    cursor, shown, steps = b"0", [], 0
    while steps == 0 or cursor != b"0":
        reply = client.call(*[cursor if word is None else word for word in words], "COUNT", count)
        expect(reply[0], "*", words)
        cursor, page = reply[1][0][1], reply[1][1][1]
        shown += [element[1] for element in page]
        steps += 1
    return shown, steps


def pairs(shown: list) -> dict:
    return dict(zip(shown[::2], shown[1::2]))


def walks_over_cold_collections_load_nothing(server) -> None:
    client = filled_and_cold(server)
    before = number(client, "used_memory")
    fields, steps = walk(client, "HSCAN", "hash", None)
    expect(pairs(fields), {b"f%d" % n: b"value %d" % n for n in range(ELEMENTS)}, "HSCAN")
    expect(steps >= ELEMENTS / 200, True, f"HSCAN took {steps} steps")
    members, _ = walk(client, "SSCAN", "set", None)
    expect(sorted(members), sorted(b"m%d" % n for n in range(ELEMENTS)), "SSCAN")
    scores, _ = walk(client, "ZSCAN", "zset", None, count="1000000")
    expect(pairs(scores)[b"m3"], b"1.5", "ZSCAN")
    expect(len(scores), 2 * ELEMENTS, "ZSCAN")
    found, _ = walk(client, "HSCAN", "hash", None, "MATCH", "f1234?")
    expect(len(found), 20, "HSCAN MATCH")
    expect_grown(client, before, 500_000, "the walks")
    expect(number(client, "keys_loaded_in_place"), 0, "reads from disk on a network thread")


def a_walk_goes_on_when_the_collection_comes_and_goes(server) -> None:
    client = filled_and_cold(server)
    wanted = {b"f%d" % n for n in range(ELEMENTS)}
    for starts_cold in (True, False):
        if starts_cold:
            cool(client)
        cursor, seen, steps = b"0", set(), 0
        while steps == 0 or cursor != b"0":
            reply = client.call("HSCAN", "hash", cursor, "COUNT", "500")
            cursor, seen = reply[1][0][1], seen | {element[1] for element in reply[1][1][1][::2]}
            steps += 1
            if steps == 10:
                ok(client, "HSET", "hash", "passing", "by")
            if steps == 20:
                cool(client)
        expect(wanted - seen, set(), "fields that the walk has missed")


def keys_are_walked_over_without_becoming_resident(server) -> None:
    client = server.connect()
    names = {b"key:%d" % n for n in range(30_000)}
    write_keys(client, 30_000)
    ok(client, "SET", "due", "v", "PX", "1")
    time.sleep(0.01)
    cool(client)
    found, _ = walk(client, "SCAN", None)
    expect(set(found), names, "SCAN")
    found, _ = walk(client, "SCAN", None, "TYPE", "hash")
    expect(found, [], "SCAN TYPE")
    found = client.call("KEYS", "*")
    expect({key[1] for key in found[1]}, names, "KEYS")
    expect(len(found[1]), len(names), "KEYS")
    expect(len(client.call("KEYS", "key:1234*")[1]), 11, "KEYS with a pattern")
    expect(client.call("DBSIZE"), (":", 30_000))
    drawn = {client.call("RANDOMKEY")[1] for _ in range(100)}
    expect(drawn <= names and len(drawn) > 80, True, "RANDOMKEY")
    expect(number(client, "keys_resident") < 20, True, "keys in memory")
    # A pipeline keeps its order, and a transaction has it all at one moment.
    replies = client.pipeline([("SET", "new", "1"), ("KEYS", "new"), ("GET", "new"), ("SCAN", "0"), ("PING",)])
    expect(replies[:3] + replies[4:], [("+", b"OK"), ("*", [bulk("new")]), bulk("1"), ("+", b"PONG")], "a pipeline")
    replies = client.pipeline([("MULTI",), ("DEL", "new"), ("KEYS", "new*"), ("EXEC",)])
    expect(replies[-1], ("*", [(":", 1), ("*", [])]), "a transaction")
    expect(client.call("KEYS", "new"), ("*", []), "KEYS after DEL")
    client.call("DEL", "key:1", "key:2")
    expect(len(client.call("KEYS", "key:*")[1]), 29_998, "KEYS after DEL")


def a_long_walk_does_not_hold_up_others(server) -> None:
    client, other = server.connect(), server.connect()
    write_keys(client, 200_000)
    cool(client)
    client.send(b"".join([b"KEYS *\r\n"] * 3))
    slowest, pings = 0.0, 0
    deadline = time.monotonic() + 60
    while number(other, "keys_total") and not readable(client) and time.monotonic() < deadline:
        started = time.monotonic()
        expect(other.call("GET", f"key:{pings * 37 % 200_000}"), bulk("v" * 50), "GET")
        slowest, pings = max(slowest, time.monotonic() - started), pings + 1
    for _ in range(3):
        expect(len(client.read()[1]), 200_000, "KEYS")
    expect(pings > 3 and slowest < 0.25, True, f"{pings} reads meanwhile, the slowest in {slowest:.3f} s")


def misses_do_not_read_the_disk(server) -> None:
    client = server.connect()
    write_keys(client, 50_000)
    server.restart()
    client = server.connect()
    expect(client.call("GET", "key:77"), bulk("v" * 50))
    before = info(client)
    for n in range(0, 20_000, 100):
        expect(client.call("MGET", *[f"absent:{name}" for name in range(n, n + 100)]), ("*", [("$", None)] * 100))
    after = info(client)
    grown = {field: int(after[field]) - int(before[field]) for field in ("block_cache_misses", "keyspace_misses")}
    expect(grown["keyspace_misses"], 20_000, "misses")
    # The filters themselves are read, and one in a hundred times they do not know.
    expect(grown["block_cache_misses"] < 600, True, f"{grown} for 20,000 absent keys")


def figures_of_residency_are_true(server) -> None:
    client = server.connect()
    write_keys(client, 10_000, 1000)
    server.restart()
    client = server.connect()
    figures = info(client)
    expect([int(figures[name]) for name in ("keys_total", "keys_resident", "keys_cold")], [10_000, 0, 10_000])
    for _ in range(2):
        for n in range(1000):
            expect(client.call("GET", f"key:{n}"), bulk("v" * 1000))
    figures = info(client)
    expect([int(figures[name]) for name in ("keys_total", "keys_resident", "keys_cold")], [10_000, 1000, 9000])
    expect(int(figures["keys_loaded"]), 1000, "keys loaded")
    expect(1_000_000 < int(figures["bytes_resident"]) < 3_000_000, True, figures["bytes_resident"])
    # Each key was asked for twice, and at least the first read of its block waited.
    awaited = int(figures["keys_awaited_by_reads"])
    expect(0 < awaited <= 1000, True, f"{awaited} reads waited")
    expect(abs(float(figures["residency_hit_ratio"]) - (1 - awaited / 2000)) < 0.001, True, "hit ratio")
    disk = sum(file.stat().st_size for file in (server.directory / "basalt-data").iterdir())
    expect(abs(int(figures["disk_bytes"]) - disk) < 2_000_000, True, f"{disk} bytes on disk")


def copies_are_bounded_without_maxmemory(server) -> None:
    client = server.connect()
    figures = info(client)
    expect(figures["maxmemory"], "0")
    limit = int(figures["resident_limit"])
    expect(64 << 20 <= limit < int(figures["total_system_memory"]) // 2, True, f"a limit of {limit} bytes")
    ok(client, "CONFIG", "SET", "maxmemory", "100mb")
    expect(number(client, "resident_limit"), 100 << 20, "with maxmemory set")
    for n in range(200):
        ok(client, "SET", f"key:{n}", b"x" * (1 << 20))
    deadline = time.monotonic() + 60
    while number(client, "used_memory") >= 110 << 20 and time.monotonic() < deadline:
        time.sleep(0.01)
    expect(number(client, "used_memory") < 110 << 20, True, "copies are dropped beyond the limit")
    expect(client.call("STRLEN", "key:0"), (":", 1 << 20))


def what_commands_wait_for_is_logged(server) -> None:
    client = server.connect()
    write_keys(client, 10_000)
    server.restart()
    client = server.connect()
    ok(client, "CONFIG", "SET", "slowlog-log-slower-than", "0")
    ok(client, "CLIENT", "SETNAME", "somebody")
    ok(client, "SLOWLOG", "RESET")
    expect(client.call("GET", "key:77"), bulk("v" * 50))
    ok(client, "SET", "new", "value")
    waits = client.call("SLOWLOG", "WAITS", "-1")[1]
    shown = [([text for _, text in wait[1][3][1]], wait[1][5], wait[1][6]) for wait in waits]
    expect(shown, [([b"set"], bulk("somebody"), bulk("commit")),
                   ([b"GET", b"key:77"], bulk("somebody"), bulk("admission"))])
    # Evaluation alone is what the other log shows, in Redis's form.
    for entry in client.call("SLOWLOG", "GET")[1]:
        expect(len(entry[1]), 6)
    # Nothing has waited for so long.
    ok(client, "CONFIG", "SET", "slowlog-log-slower-than", "60000000")
    ok(client, "SLOWLOG", "RESET")
    ok(client, "SET", "new", "another")
    expect(client.call("SLOWLOG", "WAITS"), ("*", []))
    expect(client.call("SLOWLOG", "WAITS", "x")[0], "-")


def write_keys(client, count: int, length: int = 50) -> None:
    """`count` strings of `length` bytes, key:0 and so on."""
    for n in range(0, count, 1000):
        ok(client, "MSET", *[word for name in range(n, n + 1000) for word in (f"key:{name}", "v" * length)])


def readable(client) -> bool:
    return bool(select.select([client.socket], [], [], 0)[0])


CASES = [
    parts_are_read_without_the_rest,
    a_transaction_reads_parts,
    outlines_expire_move_and_go,
    asking_for_the_use_of_a_cold_key_loads_nothing,
    walks_over_cold_collections_load_nothing,
    a_walk_goes_on_when_the_collection_comes_and_goes,
    keys_are_walked_over_without_becoming_resident,
    a_long_walk_does_not_hold_up_others,
    misses_do_not_read_the_disk,
    figures_of_residency_are_true,
    what_commands_wait_for_is_logged,
    copies_are_bounded_without_maxmemory,
]

if __name__ == "__main__":
    sys.exit(main())
