"""Steps of a stream that are more than one command: scans, random replies, dumps, and the comparison at the end."""

from compare import same
from resp import show

RESTORED = b"restored:"


class Difference(Exception):
    """The servers answered differently."""

    def __init__(self, words, reference: str, ours: str):
        super().__init__(words)
        self.words = words
        self.reference = reference
        self.ours = ours

    def __str__(self) -> str:
        return f"redis-server: {self.reference}\nours:         {self.ours}"


def both(reference, ours, *words):
    """Sends one command to both servers, which must answer alike; returns the reference's reply."""
    words = [word if isinstance(word, bytes) else str(word).encode() for word in words]
    replies = reference.call(*words), ours.call(*words)
    if not same(words, *replies):
        raise Difference(words, f"{words}: {show(replies[0])}", show(replies[1]))
    return replies[0]



def step_scan(reference, ours, words: list) -> None:
    """Iterates to the end on either side; the same elements must come, in any order and number of calls."""
    position = 1 if words[0].upper() == b"SCAN" else 2
    gathered = []
    for connection in (reference, ours):
        cursor, found, calls = b"0", set(), 0
        while True:
            reply = connection.call(*words[:position], cursor, *words[position:])
            if reply[0] == "-":
                found = reply
                break
            cursor, items = reply[1][0][1], reply[1][1][1]
            paired = words[0].upper() in (b"HSCAN", b"ZSCAN")
            found |= {repr(items[i : i + 2]) for i in range(0, len(items), 2)} if paired else set(map(repr, items))
            calls += 1
            if cursor == b"0":
                break
            if calls > 10_000:
                raise Difference(words, "ends", "SCAN does not come to its end")
        gathered.append(found)
    if gathered[0] != gathered[1]:
        if isinstance(gathered[0], set) and isinstance(gathered[1], set):
            only = [gathered[0] - gathered[1], gathered[1] - gathered[0]]
            raise Difference(words, f"only here: {only[0]}", f"only here: {only[1]}")
        raise Difference(words, str(gathered[0]), str(gathered[1]))


def step_random(reference, ours, words: list) -> None:
    """A command with a random reply: same shape, elements from the collection, right number, distinct if promised."""
    name = words[0].upper()
    if name == b"RANDOMKEY":
        members = set(map(repr, both(reference, ours, "KEYS", "*")[1]))
    elif len(words) > 1:
        members = members_of(reference, ours, name, words[1])
    else:
        members = set()
    replies = [connection.call(*words) for connection in (reference, ours)]
    if replies[0] != replies[1]:
        shapes = [shape(reply) for reply in replies]
        if shapes[0] != shapes[1]:
            raise Difference(words, show(replies[0]), show(replies[1]))
        items = elements(replies[1], [word.upper() for word in words])
        known = all(repr(item) in members for item in items)
        distinct = len(set(map(repr, items))) == len(items)
        repeats = len(words) > 2 and words[2].startswith(b"-")
        if not known or not (distinct or repeats):
            raise Difference(words, f"members {sorted(members)}", show(replies[1]))
    if name == b"SPOP" and replies[0] not in (("$", None), ("_", None)) and replies[0][0] != "-":
        level_set(reference, ours, words[1])


def members_of(reference, ours, name: bytes, key: bytes) -> set:
    read = {b"SPOP": ["SMEMBERS", key], b"SRANDMEMBER": ["SMEMBERS", key], b"HRANDFIELD": ["HGETALL", key]}
    reply = both(reference, ours, *read.get(name, ["ZRANGE", key, 0, -1, "WITHSCORES"]))
    if reply[0] == "-" or not reply[1]:
        return set()
    flat = [item for item in reply[1] for item in (item[1] if item[0] == "*" else [item])]
    return set(map(repr, flat))


def elements(reply, words: list) -> list:
    """The members, fields or keys of a random reply, without the values or scores between them."""
    if reply[0] not in "*~":
        return [reply]
    items = reply[1]
    if items and items[0][0] == "*":
        return [item[1][0] for item in items]
    return items[::2] if words[-1] in (b"WITHVALUES", b"WITHSCORES") else items


def shape(reply):
    kind, value = reply
    if kind in "*~%":
        return kind, None if value is None else [shape(item) for item in value]
    return (kind, value) if kind in "-+" else (kind, value is None)


def level_set(reference, ours, key: bytes) -> None:
    """After different random pops, makes both sets what the reference has."""
    left = [item[1] for item in reference.call("SMEMBERS", key)[1]]
    for connection in (reference, ours):
        connection.call("DEL", key)
        if left:
            connection.call("SADD", key, *left)


def step_restore(reference, ours, words: list) -> None:
    """Dumps a value on each side, restores it on the other, and compares what came of it."""
    key = words[0]
    dumps = [connection.call("DUMP", key) for connection in (reference, ours)]
    if dumps[0][1] is None or dumps[1][1] is None:
        if dumps[0] != dumps[1]:
            raise Difference([b"DUMP", key], show(dumps[0]), show(dumps[1]))
        return
    target = RESTORED + key
    for connection, payload in ((reference, dumps[1][1]), (ours, dumps[0][1])):
        reply = connection.call("RESTORE", target, "0", payload, "REPLACE")
        if reply != ("+", b"OK"):
            side = "redis-server refuses our payload" if connection is reference else "we refuse redis-server's payload"
            raise Difference([b"RESTORE", key], side, f"{show(reply)} for {payload!r}")
    compare_key(reference, ours, target)
    for connection in (reference, ours):
        connection.call("DEL", target)


def compare_key(reference, ours, key: bytes) -> None:
    """Type, encoding, expiry and value of a key."""
    kind = both(reference, ours, "TYPE", key)[1]
    both(reference, ours, "OBJECT", "ENCODING", key)
    both(reference, ours, "EXPIRETIME", key)
    read = {
        b"string": ["GET", key],
        b"list": ["LRANGE", key, 0, -1],
        b"set": ["SMEMBERS", key],
        b"hash": ["HGETALL", key],
        b"zset": ["ZRANGE", key, 0, -1, "WITHSCORES"],
    }
    if kind in read:
        both(reference, ours, *read[kind])


def final_state(reference, ours) -> None:
    """All keys of all databases, read and compared; then each of them by dump and restore."""
    for connection in (reference, ours):
        connection.call("RESET")
    for database in range(16):
        both(reference, ours, "SELECT", database)
        both(reference, ours, "DBSIZE")
        for _, key in sorted(both(reference, ours, "KEYS", "*")[1]):
            compare_key(reference, ours, key)
            step_restore(reference, ours, [key])


STEPS = {b"@scan": step_scan, b"@random": step_random, b"@restore": step_restore}
