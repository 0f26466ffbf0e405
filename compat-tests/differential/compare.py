"""When two replies to the same command count as equal.

Replies are compared to the byte, except for what Redis itself leaves open: the order of sets and hashes, the clock in
remaining lifetimes, and the few differences between 7.0 (the reference) and 7.2 (what we follow) in `SINCE_7_0`.
"""

# Commands whose elements come in no particular order.
UNORDERED = {b"SMEMBERS", b"SUNION", b"SINTER", b"SDIFF", b"HKEYS", b"HVALS", b"KEYS"}
UNORDERED_PAIRS = {b"HGETALL"}
GEO = {b"GEOSEARCH", b"GEORADIUS", b"GEORADIUS_RO", b"GEORADIUSBYMEMBER", b"GEORADIUSBYMEMBER_RO"}

# Replies that contain the clock, and by how much two servers may differ.
CLOCK = {b"TTL": 1, b"EXPIRETIME": 1, b"PTTL": 5000, b"PEXPIRETIME": 5000}


def since_7_0_encoding(words, reference, ours) -> bool:
    """7.2 keeps small lists and small sets as one listpack, and OBJECT ENCODING says so."""
    is_encoding = len(words) == 3 and words[0].upper() == b"OBJECT" and words[1].upper() == b"ENCODING"
    return is_encoding and ours == ("$", b"listpack") and reference[1] in (b"quicklist", b"hashtable")


def since_7_0_missing_key_syntax(words, reference, ours) -> bool:
    """7.2 checks the arguments of BITCOUNT, BITPOS and LCS before it looks whether the key is there."""
    early = words[0].upper() in (b"BITCOUNT", b"BITPOS", b"LCS")
    return early and ours[0] == "-" and reference in ((":", 0), (":", -1), ("$", b""))


def since_7_0_withscore(words, reference, ours) -> bool:
    """7.2 adds WITHSCORE to ZRANK and ZREVRANK, which 7.0 takes for too many arguments."""
    return words[0].upper() in (b"ZRANK", b"ZREVRANK") and len(words) == 4 and reference[0] == "-"


def since_7_0_lpos_rank(words, reference, ours) -> bool:
    """7.2 refuses the one rank of LPOS that has no opposite."""
    is_ours = ours[0] == "-" and ours[1].startswith(b"ERR value is out of range, value must")
    return is_ours and words[0].upper() == b"LPOS"


def since_7_0_timeout(words, reference, ours) -> bool:
    """7.2 refuses timeouts beyond its clock, which wrap around to negative ones in 7.0."""
    return reference == ("-", b"ERR timeout is negative") and ours == ("-", b"ERR timeout is out of range")


def since_7_0_command_table(words, reference, ours) -> bool:
    """The number of commands differs, as do the flags that 7.2 added to the key specifications."""
    return words[0].upper() == b"COMMAND" and len(words) == 2 and words[1].upper() == b"COUNT"


def encoding_of_cold_value(words, reference, ours) -> bool:
    """A value that was cold is encoded as its size and the settings say, not as it once had to be (--cold)."""
    is_encoding = len(words) == 3 and words[0].upper() == b"OBJECT" and words[1].upper() == b"ENCODING"
    return is_encoding and ours[0] == reference[0] == "$" and ours[1] is not None and reference[1] is not None


def zero_of_cold_score(words, reference, ours) -> bool:
    """A small sorted set keeps no sign of zero, and one that was cold is small again while Redis keeps it large."""
    return without_sign_of_zero(ours) == without_sign_of_zero(reference)


def without_sign_of_zero(reply):
    if isinstance(reply, (tuple, list)):
        return [without_sign_of_zero(part) for part in reply]
    return b"0" if reply == b"-0" else reply


# Filled by hand, each with a test in the runs that shows it; nothing is here for convenience.
SINCE_7_0 = [
    since_7_0_encoding,
    since_7_0_missing_key_syntax,
    since_7_0_withscore,
    since_7_0_timeout,
    since_7_0_command_table,
    since_7_0_lpos_rank,
]


class Comparer:
    """Compares the replies of one connection to each server; follows transactions, whose replies come with EXEC."""

    def __init__(self):
        self.queued = []
        self.in_transaction = False

    def equal(self, words: list, reference, ours) -> bool:
        name = words[0].upper()
        if reference == ("+", b"QUEUED"):
            self.queued.append(words)
            return reference == ours
        if name == b"MULTI" and reference == ("+", b"OK"):
            self.queued = []
            self.in_transaction = True
        elif name == b"EXEC" and self.in_transaction and reference[0] == "*" and reference[1] is not None:
            queued, self.queued, self.in_transaction = self.queued, [], False
            if ours[0] != "*" or ours[1] is None or len(ours[1]) != len(reference[1]):
                return False
            return all(same(w, r, o) for w, r, o in zip(queued, reference[1], ours[1]))
        elif name in (b"EXEC", b"DISCARD", b"RESET"):
            self.queued = []
            self.in_transaction = False
        return same(words, reference, ours)


def same(words: list, reference, ours) -> bool:
    """True if the two replies to `words` count as equal."""
    if reference == ours:
        return True
    name = words[0].upper()
    if name in CLOCK and reference[0] == ours[0] == ":" and reference[1] > 0 and ours[1] > 0:
        return abs(reference[1] - ours[1]) <= CLOCK[name]
    if reference[0] == ours[0] and reference[1] and ours[1] and reference[0] in "*~%":
        if name in UNORDERED or (name in GEO and not geo_is_ordered(words)):
            return sorted(map(repr, reference[1])) == sorted(map(repr, ours[1]))
        if name in UNORDERED_PAIRS or (name == b"CONFIG" and words[1].upper() == b"GET"):
            return sorted(pairs(reference[1])) == sorted(pairs(ours[1]))
    if name == b"CLIENT" and len(words) > 1 and words[1].upper() == b"ID":
        return reference[0] == ours[0] == ":"
    return any(rule(words, reference, ours) for rule in SINCE_7_0)


def geo_is_ordered(words: list) -> bool:
    """A search gives an order when asked for one, or when only the nearest are wanted."""
    given = {word.upper() for word in words[2:]}
    return bool(given & {b"ASC", b"DESC", b"COUNT"})


def pairs(items: list) -> list:
    return [repr(items[i : i + 2]) for i in range(0, len(items), 2)]
