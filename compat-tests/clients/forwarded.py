"""redis-py's client for one server, connected to one node of three with any-node service.

Run it with a Python that has what requirements.txt names; BASALT_BIN is the server.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "cluster"))

import redis
from forward import FORWARD, form
from nodes import HOST, Nodes, is_settled, run_with_binary, until

NAMES = [f"name{number}" for number in range(50)]


def pipelines_keep_their_order(client) -> None:
    pipeline = client.pipeline(transaction=False)
    for number, name in enumerate(NAMES):
        pipeline.set(name, number).incr(name).get(name).ping()
    expected = [reply for number in range(len(NAMES)) for reply in (True, number + 1, str(number + 1), True)]
    assert pipeline.execute() == expected


def transactions_run_as_one(client) -> None:
    for name in NAMES:
        pipeline = client.pipeline(transaction=True)
        pipeline.rpush(f"{{{name}}}list", "a", "b").lrange(f"{{{name}}}list", 0, -1)
        assert pipeline.execute() == [2, ["a", "b"]]


def errors_are_those_of_the_command(client) -> None:
    for name in NAMES:
        client.set(name, "text")
        try:
            client.lpush(name, "x")
            raise AssertionError("it is no list")
        except redis.ResponseError as error:
            assert "WRONGTYPE" in str(error)
    try:
        client.mset(dict.fromkeys(NAMES, "1"))
        raise AssertionError("these are several slots")
    except redis.ResponseError as error:
        assert "CROSSSLOT" in str(error) or "don't hash to the same slot" in str(error)


def types_of_the_protocol_pass(client) -> None:
    for name in NAMES:
        client.delete(name)
        client.hset(name, mapping={"field": "value"})
        assert client.hgetall(name) == {"field": "value"}
        client.delete(name)
        client.zadd(name, {"member": 1.5})
        assert client.zscore(name, "member") == 1.5
        assert client.get(name + "none") is None
        client.delete(name)


def who_pops_waits(client) -> None:
    for name in NAMES[:10]:
        assert client.blpop(name + "queue", timeout=0.05) is None
        client.rpush(name + "queue", "item")
        assert [str(part) for part in client.blpop([name + "queue"], timeout=1)] == [name + "queue", "item"]


TESTS = [
    pipelines_keep_their_order,
    transactions_run_as_one,
    errors_are_those_of_the_command,
    types_of_the_protocol_pass,
    who_pops_waits,
]


def redis_py_needs_no_cluster_class(binary: str) -> str:
    with Nodes(binary) as nodes:
        ports = form(nodes, *FORWARD)
        # Before that leads change hands, and this client repeats nothing.
        until("there are copies", lambda: is_settled(nodes))
        for port in ports[:2]:
            for protocol in (2, 3):
                client = redis.Redis(host=HOST, port=port, protocol=protocol, decode_responses=True)
                for test in TESTS:
                    test(client)
                for node in nodes.all:
                    assert node.call("FLUSHALL") == ("+", b"OK")
    return f"{len(TESTS)} tests, both protocols"


if __name__ == "__main__":
    sys.exit(run_with_binary("forwarded", [redis_py_needs_no_cluster_class]))
