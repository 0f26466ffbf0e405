"""What one client's keys must look like after the commands it has sent.

A client alone writes to its two databases, so after any prefix of its commands there is exactly one right state. What
it appends to lists that it shares with others is kept apart, by list. Commands that the model does not know are a bug
of the test.

An entry is [type, value, expiry in ms or None]. Entries that are due are left in: `without_due` takes them out when the
time of looking is known. Nothing but SET and DEL may touch keys with a near expiry, so that no reply depends on time.
"""

from dataclasses import dataclass, field

SHARED_DB = 0
OK = ("+", b"OK")
ANY = None
NO_KEY = "no such key"


@dataclass
class State:
    """Two databases, by the place in the client's pair, and the own elements of shared lists."""

    dbs: list = field(default_factory=lambda: [{}, {}])
    shared: dict = field(default_factory=dict)

    def copy(self) -> "State":
        dbs = [{key: [kind, copy_value(value), due] for key, (kind, value, due) in db.items()} for db in self.dbs]
        return State(dbs, {name: list(items) for name, items in self.shared.items()})

    def without_due(self, now_ms: int) -> "State":
        dbs = [{key: entry for key, entry in db.items() if entry[2] is None or entry[2] > now_ms} for db in self.dbs]
        return State(dbs, {name: items for name, items in self.shared.items() if items})


def copy_value(value):
    return value if isinstance(value, bytes) else type(value)(value)


class Model:
    """Applies commands to a state and says what the server must answer (ANY: not predicted)."""

    def __init__(self, databases: tuple, state: State):
        self.databases = databases
        self.state = state
        self.place = 0

    def step(self, commands: list) -> list:
        """The replies to a step: one command, or several from MULTI to EXEC."""
        if len(commands) == 1:
            return [self.apply(commands[0])]
        replies = [self.apply(words) for words in commands[1:-1]]
        return [OK, *[("+", b"QUEUED")] * len(replies), ("*", replies)]

    def apply(self, words: list):
        return getattr(self, "do_" + words[0].lower())(*words[1:])

    @property
    def db(self) -> dict:
        return self.state.dbs[self.place]

    def value(self, key, kind, default):
        """The value to change in place; made if it is not there."""
        return self.db.setdefault(key, [kind, default, None])[1]

    def peek(self, key, default):
        return self.db[key][1] if key in self.db else default

    def replace(self, key, value) -> None:
        """A string that keeps its expiry."""
        self.db[key] = ["string", value, self.db[key][2] if key in self.db else None]

    def drop_empty(self, key) -> None:
        if key in self.db and not self.db[key][1]:
            del self.db[key]

    # ---- sessions and databases

    def do_select(self, number):
        # Database 0 has the shared lists, which are known by their names.
        if int(number) != SHARED_DB:
            self.place = self.databases.index(int(number))
        return OK

    def do_flushdb(self, *_how):
        self.db.clear()
        return OK

    def do_swapdb(self, _first, _second):
        self.state.dbs.reverse()
        return OK

    # ---- keys

    def do_del(self, *keys):
        # Keys with a near expiry are deleted too, and whether they are still there is not known.
        volatile = any(key in self.db and self.db[key][2] is not None for key in keys)
        count = sum(self.db.pop(key, None) is not None for key in keys)
        return ANY if volatile else (":", count)

    do_unlink = do_del

    def do_rename(self, source, target):
        if source not in self.db:
            return ("-", NO_KEY)
        self.db[target] = self.db.pop(source)
        return OK

    def do_copy(self, source, target, _replace):
        if source not in self.db:
            return (":", 0)
        kind, value, due = self.db[source]
        self.db[target] = [kind, copy_value(value), due]
        return (":", 1)

    def do_move(self, key, number):
        other = self.state.dbs[self.databases.index(int(number))]
        if key not in self.db or key in other:
            return (":", 0)
        other[key] = self.db.pop(key)
        return (":", 1)

    def do_pexpireat(self, key, due):
        if key in self.db:
            self.db[key][2] = int(due)
        return (":", int(key in self.db))

    def do_persist(self, key):
        was_set = key in self.db and self.db[key][2] is not None
        if was_set:
            self.db[key][2] = None
        return (":", int(was_set))

    # ---- strings

    def do_set(self, key, value, *options):
        self.db[key] = ["string", value, int(options[1]) if options else None]
        return OK

    def do_mset(self, *words):
        for key, value in zip(words[::2], words[1::2]):
            self.do_set(key, value)
        return OK

    def do_get(self, key):
        return ("$", self.peek(key, None))

    def do_getdel(self, key):
        reply = self.do_get(key)
        self.db.pop(key, None)
        return reply

    def do_append(self, key, value):
        self.replace(key, self.peek(key, b"") + value)
        return (":", len(self.peek(key, b"")))

    def do_setrange(self, key, offset, value):
        offset, old = int(offset), self.peek(key, b"")
        old = old.ljust(offset, b"\0")
        self.replace(key, old[:offset] + value + old[offset + len(value) :])
        return (":", len(self.peek(key, b"")))

    def do_incrby(self, key, amount):
        number = int(self.peek(key, b"0")) + int(amount)
        self.replace(key, b"%d" % number)
        return (":", number)

    # ---- lists

    def do_rpush(self, key, *items):
        if key.startswith(b"shared:"):
            self.state.shared.setdefault(key, []).extend(items)
            return ANY
        items_now = self.value(key, "list", [])
        items_now.extend(items)
        return (":", len(items_now))

    def do_lpush(self, key, *items):
        items_now = self.value(key, "list", [])
        items_now[:0] = reversed(items)
        return (":", len(items_now))

    def do_lpop(self, key):
        return self.pop(key, 0)

    def do_rpop(self, key):
        return self.pop(key, -1)

    def pop(self, key, index):
        if key not in self.db:
            return ("$", None)
        item = self.db[key][1].pop(index)
        self.drop_empty(key)
        return ("$", item)

    def do_lset(self, key, index, item):
        items = self.peek(key, None)
        if items is None:
            return ("-", NO_KEY)
        if int(index) >= len(items):
            return ("-", "index out of range")
        items[int(index)] = item
        return OK

    def do_linsert(self, key, _before, pivot, item):
        items = self.peek(key, None)
        if items is None or pivot not in items:
            return (":", 0 if items is None else -1)
        items.insert(items.index(pivot), item)
        return (":", len(items))

    def do_lrem(self, key, _count, item):
        items = self.peek(key, [])
        count = items.count(item)
        items[:] = [other for other in items if other != item]
        self.drop_empty(key)
        return (":", count)

    def do_ltrim(self, key, start, stop):
        items = self.peek(key, [])
        items[:] = items[int(start) : int(stop) + 1]
        self.drop_empty(key)
        return OK

    def do_lrange(self, key, _start, _stop):
        return ("*", [("$", item) for item in self.peek(key, [])])

    def do_lindex(self, _key, _index):
        return ANY

    # ---- sets

    def do_sadd(self, key, *members):
        members_now = self.value(key, "set", set())
        before = len(members_now)
        members_now.update(members)
        return (":", len(members_now) - before)

    def do_srem(self, key, *members):
        members_now = self.peek(key, set())
        before = len(members_now)
        members_now.difference_update(members)
        self.drop_empty(key)
        return (":", before - len(members_now))

    def do_smove(self, source, target, member):
        if member not in self.peek(source, set()):
            return (":", 0)
        if source != target:
            self.do_srem(source, member)
            self.do_sadd(target, member)
        return (":", 1)

    # ---- hashes

    def do_hset(self, key, *words):
        fields = self.value(key, "hash", {})
        before = len(fields)
        fields.update(zip(words[::2], words[1::2]))
        return (":", len(fields) - before)

    def do_hdel(self, key, *names):
        fields = self.peek(key, {})
        count = sum(fields.pop(name, None) is not None for name in names)
        self.drop_empty(key)
        return (":", count)

    def do_hincrby(self, key, name, amount):
        fields = self.value(key, "hash", {})
        number = int(fields.get(name, b"0")) + int(amount)
        fields[name] = b"%d" % number
        return (":", number)

    # ---- sorted sets; all scores are whole numbers

    def do_zadd(self, key, *words):
        scores = self.value(key, "zset", {})
        before = len(scores)
        scores.update((member, int(score)) for score, member in zip(words[::2], words[1::2]))
        return (":", len(scores) - before)

    def do_zincrby(self, key, amount, member):
        scores = self.value(key, "zset", {})
        scores[member] = scores.get(member, 0) + int(amount)
        return ("$", b"%d" % scores[member])

    def do_zrem(self, key, *members):
        return self.do_hdel(key, *members)

    def do_zpopmin(self, key):
        scores = self.peek(key, {})
        if not scores:
            return ("*", [])
        member = min(scores, key=lambda member: (scores[member], member))
        score = scores.pop(member)
        self.drop_empty(key)
        return ("*", [("$", member), ("$", b"%d" % score)])


def matches(expected, reply) -> bool:
    """Whether a reply is the one that was predicted. Of errors a part of the text is predicted."""
    if expected is ANY:
        return reply[0] != "-"
    if expected[0] == "-":
        return reply[0] == "-" and expected[1].encode() in reply[1]
    if expected[0] == "*":
        return (
            reply[0] == "*"
            and reply[1] is not None
            and len(reply[1]) == len(expected[1])
            and all(map(matches, expected[1], reply[1]))
        )
    return expected == reply


def difference(expected: State, actual: State) -> str:
    """The first few differences, for a person to read."""
    lines = []
    for place in range(2):
        want, have = expected.dbs[place], actual.dbs[place]
        for key in sorted(want.keys() | have.keys()):
            if want.get(key) != have.get(key):
                lines.append(f"database {place} of the pair, {key!r}:\n  {brief(want.get(key), have.get(key))}")
    for name in sorted(expected.shared.keys() | actual.shared.keys()):
        want, have = expected.shared.get(name, []), actual.shared.get(name, [])
        if want != have:
            lines.append(f"{name!r}:\n  {brief(['list', want, None], ['list', have, None])}")
    return "\n".join(lines[:8]) + (f"\n... and {len(lines) - 8} more" if len(lines) > 8 else "")


def brief(want, have) -> str:
    if want is None or have is None or want[0] != have[0] or want[2] != have[2]:
        return f"expected {clip(want)}\n  found    {clip(have)}"
    want, have = want[1], have[1]
    if isinstance(want, bytes):
        at = next((i for i, (a, b) in enumerate(zip(want, have)) if a != b), min(len(want), len(have)))
        return f"strings of {len(want)} and {len(have)} bytes differ from byte {at} on: " + clip(
            [want[at : at + 20], have[at : at + 20]]
        )
    if isinstance(want, list):
        at = next((i for i, (a, b) in enumerate(zip(want, have)) if a != b), min(len(want), len(have)))
        ends = clip([want[at : at + 3], have[at : at + 3]])
        return f"lists of {len(want)} and {len(have)} differ from element {at} on: {ends}"
    want, have = (set(side.items()) if isinstance(side, dict) else side for side in (want, have))
    return f"missing {clip(sorted(want - have))}, unexpected {clip(sorted(have - want))}"


def clip(value) -> str:
    text = repr(value)
    return text if len(text) <= 300 else f"{text[:300]}... ({len(text)} characters)"
