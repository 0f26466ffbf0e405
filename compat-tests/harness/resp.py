"""A small RESP2/RESP3 client that shows replies exactly as they came.

A reply is a tuple (kind, value), where kind is the type byte of the protocol: ("+", b"OK"), ("-", b"ERR ..."),
(":", 1), ("$", b"..."), ("*", [replies]), ("%", [key, value, key, value ...]), ("_", None). The null string and the
null array of RESP2 are ("$", None) and ("*", None). Nothing is converted, so that two servers can be compared to the
byte.
"""

import socket


class Closed(Exception):
    """The server closed the connection."""


class Connection:
    """One connection; commands may be pipelined."""

    def __init__(self, host: str, port: int, protocol: int = 2, timeout: float = 30.0):
        self.socket = socket.create_connection((host, port), timeout=timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.reader = self.socket.makefile("rb", buffering=1 << 16)
        if protocol == 3:
            self.call("HELLO", "3")

    def call(self, *words):
        """Sends one command and returns its reply."""
        self.send(encode(words))
        return self.read()

    def pipeline(self, commands: list) -> list:
        """Sends all commands at once and returns their replies. A batch must fit the socket buffers of both sides."""
        self.send(b"".join(encode(words) for words in commands))
        return [self.read() for _ in commands]

    def send(self, data: bytes) -> None:
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError) as error:
            raise Closed(str(error)) from error

    def read(self):
        """Reads the next reply or push message."""
        try:
            line = self.reader.readline()
        except ConnectionResetError as error:
            raise Closed(str(error)) from error
        if not line.endswith(b"\r\n"):
            raise Closed("connection closed" if not line else f"half a line: {line[:80]!r}")
        kind, rest = chr(line[0]), line[1:-2]
        if kind in "+-,(":
            return kind, rest
        if kind == ":":
            return kind, int(rest)
        if kind == "#":
            return kind, rest == b"t"
        if kind == "_":
            return kind, None
        if kind in "$=!":
            length = int(rest)
            if length < 0:
                return kind, None
            data = self.reader.read(length + 2)
            if len(data) != length + 2:
                raise Closed("connection closed inside a string")
            return kind, data[:-2]
        if kind in "*~>":
            return kind, None if int(rest) < 0 else [self.read() for _ in range(int(rest))]
        if kind == "%":
            return kind, [self.read() for _ in range(2 * int(rest))]
        if kind == "|":
            # Attributes come before the reply that they describe; they are kept as its wrapper.
            attributes = [self.read() for _ in range(2 * int(rest))]
            return kind, [("*", attributes), self.read()]
        raise ValueError(f"unknown reply type: {line[:80]!r}")

    def close(self) -> None:
        self.reader.close()
        self.socket.close()


def encode(words) -> bytes:
    """A command as an array of bulk strings."""
    parts = [b"*%d\r\n" % len(words)]
    for word in words:
        data = word if isinstance(word, bytes) else str(word).encode()
        parts.append(b"$%d\r\n%s\r\n" % (len(data), data))
    return b"".join(parts)


def quote(word) -> str:
    """A word as one would type it into redis-cli."""
    data = word if isinstance(word, bytes) else str(word).encode()
    plain = data and all(33 <= byte < 127 and byte not in b"\"'\\" for byte in data)
    return data.decode() if plain else '"' + escape(data) + '"'


def escape(data: bytes) -> str:
    """Bytes as redis-cli prints them between double quotes."""
    named = {0x5C: "\\\\", 0x22: '\\"', 0x0A: "\\n", 0x0D: "\\r", 0x09: "\\t", 0x07: "\\a", 0x08: "\\b"}
    return "".join(named.get(byte) or (chr(byte) if 32 <= byte < 127 else f"\\x{byte:02x}") for byte in data)


def show(reply, indent: str = "") -> str:
    """A reply as text in the manner of redis-cli, which names the RESP3 types that redis-cli hides."""
    kind, value = reply
    if value is None:
        return "(nil)" if kind in "_$" else "(nil array)"
    if kind == "+":
        return value.decode(errors="replace")
    if kind == "-":
        return "(error) " + value.decode(errors="replace")
    if kind == ":":
        return f"(integer) {value}"
    if kind == ",":
        return f"(double) {value.decode()}"
    if kind == "#":
        return "(true)" if value else "(false)"
    if kind == "(":
        return f"(big) {value.decode()}"
    if kind in "$=!":
        return {"=": "(verbatim) ", "!": "(blob error) "}.get(kind, "") + '"' + escape(value) + '"'
    if not value:
        return {"*": "(empty array)", "~": "(empty set)", "%": "(empty map)", ">": "(empty push)"}.get(kind, "(empty)")
    if kind == "%":
        return ("\n" + indent).join(
            f"{i // 2 + 1}# " + show(value[i], indent + "   ") + " => " + show(value[i + 1], indent + "   ")
            for i in range(0, len(value), 2)
        )
    mark = {"*": ")", "~": "~", ">": ">", "|": "|"}[kind]
    lines = []
    for number, item in enumerate(value, 1):
        head = f"{number}{mark} "
        lines.append(head + show(item, indent + " " * len(head)))
    return ("\n" + indent).join(lines)
