"""The load: clients that know what they have sent, what was acknowledged, and what must be there afterwards.

A client's steps are evaluated and logged in the order in which it sends them. So after a crash its two databases, and
what it has appended to lists shared with others, must look as after some prefix of its steps, and that prefix must
contain every step that was acknowledged. A transaction is one step.
"""

import random
import threading
import time

from model import Model, State, difference, matches
from node import Closed

SHARED_LISTS = 3
# A list that is longer than this is deleted between two rounds.
SHARED_MAX = 4000
QUEUE_MAX = 2000
FAR_MS = 10**9


class Wrong(Exception):
    """The server has broken its promise."""


def now_ms() -> int:
    return int(time.time() * 1000)


class Unreadable(Wrong):
    """A read was answered with an error."""


class Client:
    """One connection that writes to keys of its own, in two databases of its own, and to the shared lists."""

    def __init__(self, number: int, seed: int):
        self.number = number
        self.databases = (2 * number + 1, 2 * number + 2)
        self.random = random.Random(f"{seed}/{number}")
        self.base = State()
        self.pushed = 0
        self.failure = None
        self.begin()

    def begin(self) -> None:
        """A new round starts: what was checked is what is there."""
        self.steps = []
        # When each was acknowledged; the first len(acks) steps are.
        self.acks = []
        # Last elements of shared lists that a reply has shown: (when, list, element).
        self.seen = []
        self.live = Model(self.databases, self.base.copy())

    # ---- sending

    def run(self, node, stop: threading.Event) -> None:
        """Until the server is gone, or `stop` is set: then all replies are there."""
        try:
            connection = node.connect()
            self.exchange(connection, [[["SELECT", str(self.databases[0])]]])
            while not stop.is_set():
                self.exchange(connection, self.next_steps())
            connection.close()
        except (OSError, Closed):
            pass
        except Exception as failure:
            self.failure = failure

    def exchange(self, connection, steps: list) -> None:
        expected = [self.live.step(step) for step in steps]
        self.steps.extend(steps)
        connection.send(b"".join(encode_quickly(words) for step in steps for words in step))
        for step, replies in zip(steps, expected):
            for words, reply in zip(step, replies):
                got = connection.read()
                if not matches(reply, got):
                    raise Wrong(
                        f"client {self.number}: the reply to {str(words)[:200]} was {str(got)[:400]}, and not "
                        f"{str(reply)[:400]}"
                    )
            self.acks.append(time.monotonic())
            if step[0][0] == "LINDEX" and got[1] is not None:
                self.seen.append((time.monotonic(), step[0][1], got[1]))

    # ---- what is sent

    def next_steps(self) -> list:
        chance = self.random.random()
        if chance < 0.02:
            return [[self.big_command()]]
        if chance < 0.10:
            return self.shared_steps()
        if chance < 0.12:
            return [[["SELECT", str(self.random.choice(self.databases))]]]
        return [self.next_step() for _ in range(self.random.choice((1, 1, 2, 4, 16)))]

    def next_step(self) -> list:
        chance = self.random.random()
        if chance < 0.12:
            inner = [self.command() for _ in range(self.random.randint(1, 6))]
            return [["MULTI"], *inner, ["EXEC"]]
        if chance < 0.125:
            return [["FLUSHDB", *self.random.choice((["ASYNC"], ["SYNC"]))]]
        if chance < 0.14:
            return [["SWAPDB", *map(str, self.databases)]]
        return [self.command()]

    def shared_steps(self) -> list:
        """Appends to a list that others append to as well; alone, or in one transaction with own keys."""
        name = b"shared:%d" % self.random.randrange(SHARED_LISTS)
        self.pushed += 1
        push = ["RPUSH", name, b"%d:%d" % (self.number, self.pushed)]
        leave, back = ["SELECT", "0"], ["SELECT", str(self.databases[self.live.place])]
        if self.random.random() < 0.5:
            return [[leave], [push], [["LINDEX", name, "-1"]], [back]]
        return [[["MULTI"], self.command(), leave, push, back, self.command(), ["EXEC"]]]

    def key(self, kind: str, count: int = 12) -> bytes:
        return f"{kind}{self.random.randrange(count)}".encode()

    def bytes(self, most: int = 60) -> bytes:
        # Most values are small, some do not fit into a record of the engine.
        size = self.random.randint(1, most) if self.random.random() < 0.95 else self.random.randint(1000, 9000)
        return self.random.randbytes(size)

    def member(self) -> bytes:
        return b"member-%d" % self.random.randrange(60)

    def big_command(self) -> list:
        rng = self.random
        key = self.key("s", 4)
        piece = rng.randbytes(4096) * rng.randint(256, 1024)
        if rng.random() < 0.3:
            return ["RPUSH", self.key("l", 4), *(b"%d" % rng.getrandbits(100) for _ in range(rng.randint(100, 2000)))]
        return rng.choice((["SET", key, piece], ["SETRANGE", key, "1000", piece[:100_000]], ["GET", key], ["DEL", key]))

    def command(self) -> list:
        rng = self.random
        return rng.choice(COMMANDS)(self, rng)

    # ---- checking

    def bounds(self, promised_until: float | None) -> tuple:
        """How many steps must be there, and how many may be. Acknowledged later than `promised_until` is no promise."""
        promised = self.acks if promised_until is None else [ack for ack in self.acks if ack <= promised_until]
        return len(promised), len(self.steps)

    def check(self, connection, shared: dict, promised_until: float | None) -> None:
        """Compares with what is there; that becomes the base of the next round."""
        if self.failure is not None:
            raise self.failure
        began = now_ms()
        actual, due_then = dump(connection, self.databases, began)
        prefix = b"%d:" % self.number
        actual.shared = {name: own for name, items in shared.items() if (own := of_client(items, prefix))}
        ended = now_ms()
        if due_then:
            raise Wrong(f"client {self.number}: keys have come back that had expired: {due_then}")
        actual = actual.without_due(ended)
        self.check_seen(shared, promised_until)
        lo, hi = self.bounds(promised_until)
        replay = Model(self.databases, self.base.copy())
        promised = None
        for count in range(hi + 1):
            if count > 0:
                replay.step(self.steps[count - 1])
            if count < lo:
                continue
            expected = replay.state.without_due(ended)
            if expected == actual:
                self.base = replay.state.without_due(began)
                return
            promised = promised or expected.copy()
        last = self.steps[max(lo - 2, 0) : lo + 2]
        raise Wrong(
            f"client {self.number}: what is there is not what {lo} to {hi} steps make (databases {self.databases}); "
            f"against {lo} steps:\n{difference(promised, actual)}\naround step {lo}: {str(last)[:1500]}"
        )

    def check_seen(self, shared: dict, promised_until: float | None) -> None:
        for when, name, element in self.seen:
            if (promised_until is None or when <= promised_until) and element not in shared.get(name, []):
                raise Wrong(f"client {self.number} was shown {element!r} in {name!r}, and it is not there")

    def forget_shared(self, name: bytes) -> None:
        self.base.shared.pop(name, None)


def encode_quickly(words) -> bytes:
    parts = [b"*%d\r\n" % len(words)]
    for word in words:
        data = word if isinstance(word, bytes) else word.encode()
        parts += (b"$%d\r\n" % len(data), data, b"\r\n")
    return b"".join(parts)


def of_client(items: list, prefix: bytes) -> list:
    return [item for item in items if item.startswith(prefix)]


COMMANDS = [
    lambda c, r: ["SET", c.key("s"), c.bytes()],
    lambda c, r: ["SET", c.key("s"), c.bytes()],
    lambda c, r: ["SET", c.key("v", 8), c.bytes(), "PXAT", str(now_ms() + r.randint(100, 4000))],
    lambda c, r: ["SET", c.key("s"), c.bytes(), "PXAT", str(now_ms() + FAR_MS + r.randint(0, FAR_MS))],
    lambda c, r: ["MSET", c.key("s"), c.bytes(), c.key("s"), c.bytes(), c.key("s"), c.bytes()],
    lambda c, r: ["APPEND", c.key("s"), c.bytes(20)],
    lambda c, r: ["SETRANGE", c.key("s"), str(r.randint(0, 200)), c.bytes(20)],
    lambda c, r: ["INCRBY", c.key("n"), str(r.randint(-50, 99))],
    lambda c, r: ["GET", c.key("n")],
    lambda c, r: ["GETDEL", c.key("n")],
    lambda c, r: ["RPUSH", c.key("l"), c.bytes(), c.bytes()],
    lambda c, r: ["LPUSH", c.key("l"), c.member(), c.member()],
    lambda c, r: ["LPOP", c.key("l")],
    lambda c, r: ["RPOP", c.key("l")],
    lambda c, r: ["LSET", c.key("l"), str(r.randint(0, 5)), c.bytes()],
    lambda c, r: ["LINSERT", c.key("l"), "BEFORE", c.member(), c.bytes()],
    lambda c, r: ["LREM", c.key("l"), "0", c.member()],
    lambda c, r: ["LTRIM", c.key("l"), str(r.randint(0, 3)), str(r.randint(3, 400))],
    lambda c, r: ["LRANGE", c.key("l"), "0", "-1"],
    lambda c, r: ["SADD", c.key("t"), c.member(), c.member(), c.bytes(30)],
    lambda c, r: ["SREM", c.key("t"), c.member(), c.member()],
    lambda c, r: ["SMOVE", c.key("t"), c.key("t"), c.member()],
    lambda c, r: ["HSET", c.key("h"), c.member(), c.bytes(), c.member(), c.bytes()],
    lambda c, r: ["HDEL", c.key("h"), c.member(), c.member()],
    lambda c, r: ["HINCRBY", c.key("h"), b"n%d" % r.randrange(3), str(r.randint(-9, 9))],
    lambda c, r: ["ZADD", c.key("z"), str(r.randint(-99, 99)), c.member(), str(r.randint(-99, 99)), c.member()],
    lambda c, r: ["ZINCRBY", c.key("z"), str(r.randint(-9, 9)), c.member()],
    lambda c, r: ["ZREM", c.key("z"), c.member(), c.member()],
    lambda c, r: ["ZPOPMIN", c.key("z")],
    lambda c, r: ["DEL", c.key(r.choice("snlthzv"))],
    lambda c, r: ["UNLINK", c.key("l"), c.key("h")],
    lambda c, r: ["RENAME", *both(c, r)],
    lambda c, r: ["COPY", *both(c, r), "REPLACE"],
    lambda c, r: ["MOVE", c.key(r.choice("snlthz")), str(c.databases[1 - c.live.place])],
    lambda c, r: ["PEXPIREAT", c.key(r.choice("snlthz")), str(now_ms() + FAR_MS + r.randint(0, FAR_MS))],
    lambda c, r: ["PERSIST", c.key(r.choice("snlthz"))],
]


def both(client: Client, rng: random.Random) -> tuple:
    kind = rng.choice("snlthz")
    first = rng.randrange(12)
    return f"{kind}{first}".encode(), f"{kind}{(first + rng.randrange(1, 12)) % 12}".encode()


# ---- what is there ----------------------------------------------------------------------------------------------


def dump(connection, databases: tuple, began: int) -> tuple:
    """The state of two databases, and keys whose expiry was over before the dump began."""
    state, ghosts = State(), []
    for place, number in enumerate(databases):
        connection.call("SELECT", number)
        size = connection.call("DBSIZE")[1]
        keys = scan(connection)
        for at in range(0, len(keys), 50):
            some = keys[at : at + 50]
            heads = connection.pipeline([[word, key] for key in some for word in ("TYPE", "PEXPIRETIME")])
            for key, kind, due in zip(some, heads[::2], heads[1::2]):
                if kind[1] == b"none":
                    continue
                due = None if due[1] < 0 else due[1]
                value = content(connection, key, kind[1].decode())
                if due is not None and due <= began:
                    ghosts.append((number, key, due))
                if value is not None:
                    state.dbs[place][key] = [kind[1].decode(), value, due]
        # Keys that expire meanwhile are counted in one place and not in the other.
        found = len(state.dbs[place])
        if not found <= size <= found + 8:
            raise Wrong(f"database {number}: DBSIZE says {size}, and SCAN has found {found} keys")
    connection.call("SELECT", 0)
    return state, ghosts


def scan(connection) -> list:
    keys, cursor = {}, b"0"
    while True:
        reply = connection.call("SCAN", cursor, "COUNT", "200")
        if reply[0] != "*":
            raise Unreadable(f"SCAN says {reply}")
        cursor = reply[1][0][1]
        keys.update((item[1], None) for item in reply[1][1][1])
        if cursor == b"0":
            return list(keys)


READS = {
    "string": lambda key: ["GET", key],
    "list": lambda key: ["LRANGE", key, "0", "-1"],
    "set": lambda key: ["SMEMBERS", key],
    "hash": lambda key: ["HGETALL", key],
    "zset": lambda key: ["ZRANGE", key, "0", "-1", "WITHSCORES"],
}


def content(connection, key: bytes, kind: str):
    """The value, or None if the key has just expired."""
    reply = connection.call(*READS[kind](key))
    if reply[0] == "-":
        raise Unreadable(f"reading {key!r} says {reply}")
    if kind == "string":
        return reply[1]
    items = [item[1] for item in reply[1]]
    pairs = zip(items[::2], items[1::2])
    make = {
        "list": lambda: items,
        "set": lambda: set(items),
        "hash": lambda: dict(pairs),
        "zset": lambda: {member: int(score) for member, score in pairs},
    }[kind]
    return make() or None


def shared_lists(connection) -> dict:
    connection.call("SELECT", 0)
    names = [b"shared:%d" % number for number in range(SHARED_LISTS)]
    return {name: content(connection, name, "list") or [] for name in names}


# ---- a queue with a blocking consumer ---------------------------------------------------------------------------


class Queue:
    """Numbers are pushed on one connection and taken off on another, which waits for them.

    Moved (BLMOVE) they must be in the one list or in the other. Popped (BLPOP) they are gone, and what the consumer got
    must not come back.
    """

    def __init__(self, name: str, seed: int):
        self.name = name
        self.moves = name.startswith("move")
        self.random = random.Random(f"{seed}/{name}")
        self.source, self.target = f"queue:{name}", f"done:{name}"
        self.first = 0
        self.next = 0
        self.failure = None
        self.begin()

    def begin(self) -> None:
        # What comes after each push, and when it was acknowledged.
        self.ends = [self.next]
        self.acks = []
        # When each element came to the consumer.
        self.taken = []

    def push(self, node, stop: threading.Event) -> None:
        try:
            connection = node.connect()
            while not stop.is_set():
                self.push_once(connection)
            connection.close()
        except (OSError, Closed):
            pass
        except Exception as failure:
            self.failure = failure

    def push_once(self, connection) -> None:
        count = self.random.choice((1, 1, 2, 3))
        numbers = [str(self.next + i) for i in range(count)]
        self.next += count
        self.ends.append(self.next)
        if self.random.random() < 0.3:
            words = [["MULTI"], *(["RPUSH", self.source, number] for number in numbers), ["EXEC"]]
        else:
            words = [["RPUSH", self.source, *numbers]]
        reply = connection.pipeline(words)[-1]
        if reply[0] == "-":
            raise Wrong(f"a push to {self.source} says {reply}")
        self.acks.append(time.monotonic())
        if self.random.random() < 0.1:
            time.sleep(self.random.random() / 50)

    def take(self, node, stop: threading.Event) -> None:
        try:
            connection = node.connect()
            while not stop.is_set():
                if self.moves:
                    reply = connection.call("BLMOVE", self.source, self.target, "LEFT", "RIGHT", "0.1")
                else:
                    reply = connection.call("BLPOP", self.source, "0.1")
                if reply[0] == "-":
                    raise Wrong(f"a wait for {self.source} says {reply}")
                if reply[1] is None:
                    continue
                number = int(reply[1] if self.moves else reply[1][1][1])
                if number != self.first + len(self.taken):
                    raise Wrong(f"{self.source}: {number} came instead of {self.first + len(self.taken)}")
                self.taken.append(time.monotonic())
            connection.close()
        except (OSError, Closed):
            pass
        except Exception as failure:
            self.failure = failure

    def check(self, connection, promised_until: float | None) -> None:
        if self.failure is not None:
            raise self.failure
        numbers = lambda key: [int(item) for item in content(connection, key.encode(), "list") or []]
        waiting, done = numbers(self.source), numbers(self.target)
        is_promised = lambda when: promised_until is None or when <= promised_until
        pushed = sum(map(is_promised, self.acks))
        taken = sum(map(is_promised, self.taken))
        if self.moves:
            there = done + waiting
            begin, split = self.origin(done), len(done)
            begins_right = begin + split - self.first >= taken
        else:
            there = waiting
            # An empty queue: all that was pushed was taken.
            begin = waiting[0] if waiting else None
            begins_right = begin is None or self.first + taken <= begin <= self.first + len(self.taken) + 1
        end = there[-1] + 1 if there else None
        is_whole = there == list(range(there[0], there[-1] + 1)) if there else True
        ends_right = end in self.ends[pushed:] if there else self.first + len(self.taken) + 1 >= self.ends[pushed]
        if not (is_whole and begins_right and ends_right):
            raise Wrong(
                f"{self.source}: pushed {self.ends[0]} to {self.ends[pushed]} and maybe {self.ends[-1]}, taken from "
                f"{self.first} on {taken} to {len(self.taken) + 1}; waiting {clip(waiting)}, done {clip(done)}"
            )
        self.settle(connection, waiting, done, end)

    def origin(self, done: list) -> int:
        return done[0] if done else self.first

    def settle(self, connection, waiting: list, done: list, end: int | None) -> None:
        """What is there is the base of the next round; lists that have grown long are emptied."""
        if len(waiting) + len(done) > QUEUE_MAX or end is None:
            connection.call("DEL", self.source, self.target)
            self.first = self.next = max(self.next, end or 0)
        else:
            self.first = waiting[0] if waiting else end
            self.next = end

    def forget(self) -> None:
        """Everything was flushed."""
        self.first = self.next


def clip(numbers: list) -> str:
    return str(numbers) if len(numbers) < 12 else f"{numbers[:5]} ... {numbers[-5:]} ({len(numbers)})"


# ---- all of them ------------------------------------------------------------------------------------------------


class Load:
    """All clients and queues of a test."""

    def __init__(self, seed: int, clients: int = 5):
        self.clients = [Client(number, seed) for number in range(clients)]
        self.queues = [Queue("move", seed), Queue("pop", seed)]
        self.threads = []
        self.stop = threading.Event()

    def start(self, node) -> None:
        self.stop.clear()
        for part in (*self.clients, *self.queues):
            part.begin()
        bodies = [client.run for client in self.clients]
        bodies += [body for queue in self.queues for body in (queue.push, queue.take)]
        self.threads = [threading.Thread(target=body, args=(node, self.stop)) for body in bodies]
        for thread in self.threads:
            thread.start()

    def finish(self) -> None:
        """Lets all end that were started; if the server lives, they get all their replies."""
        self.stop.set()
        for thread in self.threads:
            thread.join()

    def figures(self) -> tuple:
        """Steps that were sent, and those that were acknowledged."""
        sent = sum(len(client.steps) for client in self.clients) + sum(len(queue.ends) - 1 for queue in self.queues)
        acked = sum(len(part.acks) for part in (*self.clients, *self.queues))
        return sent, acked

    def check(self, connection, promised_until: float | None = None) -> None:
        shared = shared_lists(connection)
        for client in self.clients:
            client.check(connection, shared, promised_until)
        for queue in self.queues:
            queue.check(connection, promised_until)
        for name, items in shared.items():
            if len(items) > SHARED_MAX:
                connection.call("DEL", name)
                for client in self.clients:
                    client.forget_shared(name)

    def check_only(self, connection) -> None:
        """Checks without taking over what is there."""
        shared = shared_lists(connection)
        for client in self.clients:
            base = client.base
            client.check(connection, shared, None)
            client.base = base
        for queue in self.queues:
            bounds = queue.first, queue.next
            queue.check(connection, None)
            queue.first, queue.next = bounds

    def check_after_flush(self, connection, was_acknowledged: bool) -> None:
        """After FLUSHALL all or nothing is there, in all databases."""
        sizes = []
        for number in range(2 * len(self.clients) + 1):
            connection.call("SELECT", number)
            sizes.append(connection.call("DBSIZE")[1])
        connection.call("SELECT", 0)
        if any(sizes):
            if was_acknowledged:
                raise Wrong(f"FLUSHALL was acknowledged, and these numbers of keys are there: {sizes}")
            self.check(connection)
            return
        for client in self.clients:
            client.base = State()
        for queue in self.queues:
            queue.forget()
