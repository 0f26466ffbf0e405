"""The server under test through redis-py, in both protocols.

Values, pipelines, transactions, pub/sub, blocking, scans, administration, and the asynchronous interface.
"""

import asyncio
import sys
import threading
import time
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "harness"))

import redis
import redis.asyncio
from server import Server, binary_under_test

PATIENCE_SECONDS = 20


def strings_and_numbers(r):
    assert r.ping() is True
    assert r.set("key", "value", ex=100) is True
    assert r.get("key") == "value"
    assert 0 < r.ttl("key") <= 100
    assert r.set("key", "other", nx=True) is None
    assert r.incrbyfloat("float", 1.5) == 1.5
    assert r.mset({"a": 1, "b": 2}) is True
    assert r.mget("a", "missing", "b") == ["1", None, "2"]
    assert r.setbit("bits", 7, 1) == 0 and r.bitcount("bits") == 1
    assert r.bitfield("field").set("u8", 0, 200).incrby("u8", 0, 100, "SAT").execute() == [0, 255]
    assert r.getdel("key") == "value" and r.exists("key") == 0


def collections(r):
    assert r.hset("hash", mapping={"a": 1, "b": 2}) == 2
    assert r.hgetall("hash") == {"a": "1", "b": "2"}
    assert r.hincrby("hash", "a", 4) == 5
    assert r.rpush("list", 1, 2, 3) == 3
    assert r.lrange("list", 0, -1) == ["1", "2", "3"]
    assert r.lmpop(1, "list", direction="RIGHT", count=2) == ["list", ["3", "2"]]
    assert r.sadd("set", "x", "y") == 2
    assert set(r.smembers("set")) == {"x", "y"}
    assert r.zadd("zset", {"low": 1.5, "high": 2.5}) == 2
    ranged = [tuple(pair) for pair in r.zrange("zset", 0, -1, withscores=True)]
    assert ranged == [("low", 1.5), ("high", 2.5)], ranged
    assert r.zscore("zset", "low") == 1.5
    assert r.zadd("zset", {"low": 1}, incr=True) == 2.5
    assert r.pfadd("hll", *range(1000)) == 1 and 980 < r.pfcount("hll") < 1020
    assert r.geoadd("geo", (13.361389, 38.115556, "Palermo", 15.087269, 37.502669, "Catania")) == 2
    assert abs(r.geodist("geo", "Palermo", "Catania", "km") - 166.2742) < 0.001
    near = r.geosearch("geo", longitude=15, latitude=37, radius=200, unit="km", sort="ASC")
    assert near == ["Catania", "Palermo"]
    assert r.sort("list", desc=True) == ["1"]
    payload = raw(r).dump("hash")
    assert raw(r).restore("copy", 0, payload) and r.hgetall("copy") == r.hgetall("hash")


def errors(r):
    r.set("string", "x")
    expect(redis.ResponseError, "WRONGTYPE", lambda: r.lpush("string", 1))
    expect(redis.ResponseError, "unknown command", lambda: r.execute_command("NOSUCH"))
    expect(redis.ResponseError, "not an integer", lambda: r.incr("string"))
    assert r.get("string") == "x"


def pipelines(r):
    with r.pipeline(transaction=False) as pipeline:
        for number in range(5000):
            pipeline.set(f"key{number}", number)
            pipeline.get(f"key{number}")
        replies = pipeline.execute()
    assert replies[1::2] == [str(number) for number in range(5000)]
    with r.pipeline(transaction=False) as pipeline:
        replies = pipeline.set("s", "x").lpush("s", 1).get("s").execute(raise_on_error=False)
    assert replies[0] is True and isinstance(replies[1], redis.ResponseError) and replies[2] == "x"


def transactions(r):
    attempts = []

    def move(pipeline):
        attempts.append(1)
        value = int(pipeline.get("counter"))
        if len(attempts) == 1:
            r.set("counter", 20)
        pipeline.multi()
        pipeline.set("counter", value + 1)
        pipeline.get("counter")

    r.set("counter", 10)
    assert r.transaction(move, "counter") == [True, "21"]
    assert len(attempts) == 2


def publish_and_subscribe(r):
    listener = r.pubsub()
    listener.subscribe("news")
    listener.psubscribe("n*")
    listener.ssubscribe("shard")
    kinds = [message_of(listener)["type"] for _ in range(3)]
    assert kinds == ["subscribe", "psubscribe", "ssubscribe"], kinds
    assert r.publish("news", "hello") == 2
    assert r.spublish("shard", "sharded") == 1
    received = [message_of(listener) for _ in range(3)]
    heard = [(message["type"], message["data"]) for message in received]
    assert heard == [("message", "hello"), ("pmessage", "hello"), ("smessage", "sharded")], heard
    assert r.pubsub_channels() == ["news"] and r.pubsub_numpat() == 1
    assert [tuple(pair) for pair in r.pubsub_numsub("news")] == [("news", 1)]
    listener.close()


def keyspace_events(r):
    r.config_set("notify-keyspace-events", "KEA")
    listener = r.pubsub(ignore_subscribe_messages=True)
    listener.psubscribe("__keyevent@0__:*")
    assert listener.get_message(timeout=PATIENCE_SECONDS) is None
    r.set("key", "v", px=20)
    events = [message_of(listener)["channel"] for _ in range(3)]
    assert events == [f"__keyevent@0__:{name}" for name in ("set", "expire", "expired")], events
    listener.close()
    r.config_set("notify-keyspace-events", "")


def blocking(r):
    replies = []
    waiter = threading.Thread(target=lambda: replies.append(r.blpop(["queue", "other"], timeout=PATIENCE_SECONDS)))
    waiter.start()
    wait_until(lambda: r.info("clients")["blocked_clients"] == 1)
    r.rpush("queue", "job")
    waiter.join()
    assert [tuple(reply) for reply in replies] == [("queue", "job")]
    assert r.blpop("queue", timeout=0.01) is None
    r.zadd("scores", {"m": 1})
    assert tuple(r.bzpopmin("scores", timeout=1)) == ("scores", "m", 1.0)


def scans(r):
    with r.pipeline(transaction=False) as pipeline:
        for number in range(1000):
            pipeline.set(f"scan:{number}", number).hset("h", number, number)
            pipeline.sadd("s", number).zadd("z", {number: number})
        pipeline.execute()
    assert len(set(r.scan_iter("scan:*"))) == 1000
    assert len(dict(r.hscan_iter("h"))) == 1000
    assert len(set(r.sscan_iter("s"))) == 1000
    assert len(dict((tuple(pair) for pair in r.zscan_iter("z")))) == 1000


def administration(r):
    r.set("key", "value")
    info = r.info()
    assert info["redis_version"].startswith("7."), info["redis_version"]
    assert info["db0"]["keys"] == r.dbsize() > 0
    assert r.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
    assert r.client_setname("me") and r.client_getname() == "me"
    assert any(client["name"] == "me" for client in r.client_list())
    assert isinstance(r.slowlog_get(), list) and len(r.time()) == 2
    assert r.object("encoding", r.randomkey())
    assert r.memory_usage("key") > 0
    assert "get" in r.command() and r.command_count() > 150
    assert r.lastsave() and r.role()[0] in ("master", b"master")
    assert r.flushall() is True and r.dbsize() == 0


async def asynchronous(port, protocol):
    """A crowd of connections at once through the asynchronous interface."""
    async with redis.asyncio.Redis(port=port, protocol=protocol, decode_responses=True) as r:
        await asyncio.gather(*(r.set(f"async:{number}", number) for number in range(200)))
        values = await asyncio.gather(*(r.get(f"async:{number}") for number in range(200)))
        assert values == [str(number) for number in range(200)]
        locked = r.lock("lock", timeout=10)
        # The lock is released with a script, which comes later; taking it needs only SET NX PX.
        assert await locked.acquire(blocking=False)


def raw(r):
    """The same server without decoding: dumps are not text."""
    given = r.connection_pool.connection_kwargs
    return redis.Redis(port=given["port"], protocol=given["protocol"])


def message_of(listener):
    message = listener.get_message(timeout=PATIENCE_SECONDS)
    assert message is not None, "no message came"
    return message


def expect(kind, text, action):
    try:
        action()
    except kind as error:
        assert text in str(error), error
    else:
        raise AssertionError(f"no {kind.__name__}")


def wait_until(condition):
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"


TESTS = [
    strings_and_numbers, collections, errors, pipelines, transactions, publish_and_subscribe, keyspace_events, blocking,
    scans, administration,
]


def main() -> int:
    passed = failed = 0
    for protocol in (2, 3):
        with Server(binary_under_test()) as server:
            for test in TESTS:
                r = redis.Redis(port=server.port, protocol=protocol, decode_responses=True, socket_timeout=60)
                try:
                    r.flushall()
                    test(r)
                    passed += 1
                except Exception:
                    failed += 1
                    print(f"redis-py, RESP{protocol}: {test.__name__} failed")
                    traceback.print_exc(file=sys.stdout)
                r.close()
            try:
                asyncio.run(asynchronous(server.port, protocol))
                passed += 1
            except Exception:
                failed += 1
                print(f"redis-py, RESP{protocol}: asynchronous failed")
                traceback.print_exc(file=sys.stdout)
    print(f"redis-py: {passed} passed, {failed} failed, 0 skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
