"""Templates of commands and their random expansion.

A template is a line of words. `$k` and the like are random values (see `VALUES`), `[A B]` is there half of the time,
`{A|B C}` is one of the alternatives, `<A B>` is repeated one to four times. Everything else stands for itself.
"""

import random


def parse(template: str):
    """Template text to a tree: a list of words, ("maybe", tree), ("one", [trees]) or ("many", tree)."""
    words = []
    for mark in "[]{}<>|":
        template = template.replace(mark, f" {mark} ")
    tokens = template.split()
    position = 0

    def sequence(end: str):
        nonlocal position
        items = []
        while position < len(tokens) and tokens[position] not in end:
            token = tokens[position]
            position += 1
            if token == "[":
                items.append(("maybe", sequence("]")))
                position += 1
            elif token == "<":
                items.append(("many", sequence(">")))
                position += 1
            elif token == "{":
                choices = [sequence("|}")]
                while tokens[position] == "|":
                    position += 1
                    choices.append(sequence("|}"))
                position += 1
                items.append(("one", choices))
            else:
                items.append(token)
        return items

    words = sequence("")
    assert position == len(tokens), template
    return words


class Generator:
    """Expands templates with one seeded random source."""

    def __init__(self, rng: random.Random):
        self.rng = rng

    def expand(self, tree: list) -> list:
        words = []
        for item in tree:
            if isinstance(item, str):
                words.append(self.value(item) if item[0] == "$" and len(item) > 1 else item.encode())
            elif item[0] == "maybe":
                if self.rng.random() < 0.5:
                    words += self.expand(item[1])
            elif item[0] == "one":
                words += self.expand(self.rng.choice(item[1]))
            else:
                for _ in range(self.rng.randint(1, 4)):
                    words += self.expand(item[1])
        return words

    def value(self, name: str) -> bytes:
        made = VALUES[name[1:]](self.rng)
        return made if isinstance(made, bytes) else str(made).encode()

    def spoil(self, words: list) -> list:
        """Makes a command wrong in one of the ways in which clients get them wrong."""
        if len(words) > 1 and (words[1][:1] == b"y" or words[0].upper() in (b"SORT", b"SORT_RO")):
            return words
        wrong = self.spoil_somehow(list(words))
        # A lifetime of one second would end while the stream runs, on one server before the other.
        brief = words[0].upper() in LIFETIMES and b"1" in wrong and b"1" not in words
        return words if brief else wrong

    def spoil_somehow(self, words: list) -> list:
        way = self.rng.randrange(4)
        if way == 0 and len(words) > 1:
            words.pop(self.rng.randrange(1, len(words)))
        elif way == 1:
            words.insert(self.rng.randint(1, len(words)), self.rng.choice(JUNK))
        elif way == 2 and len(words) > 1:
            words[self.rng.randrange(1, len(words))] = self.rng.choice(JUNK)
        elif len(words) > 1 and words[0].upper() != b"SADD":
            # Not for SADD: sets have no order, and SORT BY nosort of one would show it.
            words[1] = self.value("$a")
        return words


LIFETIMES = (b"EXPIRE", b"PEXPIRE", b"SET", b"SETEX", b"PSETEX", b"GETEX", b"RESTORE")

JUNK = [
    b"", b"abc", b"-1", b"0", b"1", b"9223372036854775807", b"9223372036854775808", b"-9223372036854775808", b"1e400",
    b"nan", b"-inf", b"inf", b"1.5", b" 1", b"1 ", b"+1", b"01", b"0x10", b"syntax", b"LIMIT", b"COUNT", b"WITHSCORES",
    b"GET", b"4294967296", b"\xff\x00\r\n", b"(", b"[", b"NX", b"XX",
]


def text(rng: random.Random) -> bytes:
    kind = rng.randrange(12)
    if kind < 4:
        return b"v%d" % rng.randrange(30)
    if kind < 7:
        return b"%d" % rng.randint(-20, 200)
    if kind == 7:
        return b"%d" % rng.choice([2**31, -(2**31), 2**63 - 1, -(2**63), 2**63, 10**18])
    if kind == 8:
        return bytes(rng.randrange(256) for _ in range(rng.randrange(12)))
    if kind == 9:
        return bytes([rng.randrange(97, 123)]) * rng.choice([43, 44, 45, 63, 64, 65, 100])
    if kind == 10:
        return b"%.3g" % rng.uniform(-10, 10)
    return b""


def integer(rng: random.Random) -> int:
    if rng.random() < 0.85:
        return rng.randint(-100, 100)
    return rng.choice([2**63 - 1, -(2**63), 2**62, 2**31, -(2**31), 2**32, 0])


def bound(rng: random.Random) -> bytes:
    mark = b"(" if rng.random() < 0.3 else b""
    return mark + (rng.choice([b"-inf", b"+inf", b"inf"]) if rng.random() < 0.25 else b"%d" % rng.randint(-12, 12))


def lexical(rng: random.Random) -> bytes:
    if rng.random() < 0.25:
        return rng.choice([b"-", b"+"])
    return rng.choice([b"(", b"["]) + text(rng)[:3]


def score(rng: random.Random) -> bytes:
    kind = rng.randrange(10)
    if kind < 6:
        return b"%d" % rng.randint(-10, 10)
    if kind < 8:
        return b"%.2f" % (rng.randint(-400, 400) / 4)
    return rng.choice([b"inf", b"-inf",
                       b"1e20", b"1.7976931348623157e308", b"3.0000000000000004", b"0.1", b"-0", b"1e-7"])


def keys_of(prefix: str, many: int):
    return lambda rng: b"%s%d" % (prefix.encode(), rng.randrange(many))


def any_key(rng: random.Random) -> bytes:
    return b"%s%d" % (rng.choice([b"t", b"b", b"h", b"l", b"s", b"z", b"p", b"g"]), rng.randrange(4))


def place(rng: random.Random, near: bool) -> tuple:
    if near:
        return 13 + rng.uniform(0, 3), 37 + rng.uniform(0, 2)
    return rng.uniform(-180, 180), rng.uniform(-85, 85)


VALUES = {
    # Keys: one small pool per type, so that commands meet; `a` is any of them and brings the wrong types.
    "t": keys_of("t", 5), "b": keys_of("b", 4), "h": keys_of("h", 4), "l": keys_of("l", 4), "s": keys_of("s", 4),
    "z": keys_of("z", 4), "p": keys_of("p", 4), "g": keys_of("g", 3), "a": any_key,
    # Sorted sets in which all scores are equal: elsewhere the order by name is undefined, so these are never spoilt.
    "Z": keys_of("y", 2),
    "v": text, "f": keys_of("f", 12), "m": lambda rng: text(rng) if rng.random() < 0.5 else b"m%d" % rng.randrange(12),
    "e": lambda rng: b"%d" % rng.randint(-20, 40) if rng.random() < 0.8 else text(rng),
    "i": lambda rng: rng.randint(-8, 8), "n": lambda rng: rng.choice([0, 1, 1, 2, 2, 3, 5, 10]), "I": integer,
    "X": lambda rng: rng.choice([0, -1, -(2**63), 2**63 - 1, 2**62, 2**61, 2**54, 10**13, -100]),
    "N": lambda rng: rng.choice([1, 2, 3, 5]),
    "d": lambda rng: rng.choice([b"1.5", b"-0.25", b"3", b"1e10", b"5.0e3", b"1e-5", b"100.10", b"3.0e300", b"0.1"]),
    "x": score, "r": bound, "q": lexical,
    "o": lambda rng: rng.randint(0, 200), "O": lambda rng: rng.randint(0, 40), "1": lambda rng: rng.randint(0, 1),
    "y": lambda rng: rng.choice(["u", "i"]) + str(rng.choice([1, 2, 4, 5, 8, 13, 16, 31, 32, 63])),
    "T": lambda rng: rng.randint(10_000, 1_000_000), "A": lambda rng: rng.randint(4_000_000_000, 5_000_000_000),
    "ms": lambda rng: rng.randint(4_000_000_000_000, 5_000_000_000_000),
    "w": lambda rng: rng.choice([1, 2, 0.5, -1, 3]),
    "lon": lambda rng: b"%.6f" % place(rng, True)[0], "lat": lambda rng: b"%.6f" % place(rng, True)[1],
    "Lon": lambda rng: b"%.6f" % place(rng, False)[0], "Lat": lambda rng: b"%.6f" % place(rng, False)[1],
    "c": lambda rng: b"c%d" % rng.randrange(15), "D": lambda rng: rng.choice([1, 10, 50, 100, 200, 500, 5000]),
    "db": lambda rng: rng.randrange(3),
    "pat": lambda rng: rng.choice(["*", "t*", "?1", "[hl]*", "*[^0-2]", "x", "h\\*"]),
    "by": lambda rng: rng.choice(["w_*", "nosuch*", "h0->f*", "constant"]),
    "big": lambda rng: b"x" * rng.choice([100, 1000, 9000]),
    "small": lambda rng: rng.choice([0, 1, 4, 8, 64, 128, 512]),
}
