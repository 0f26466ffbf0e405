"""Proxies in front of the ports on which nodes listen for each other: they see every byte that passes between nodes."""

import socket
import threading

HOST = "127.0.0.1"

# Types of TLS records: change of cipher, alert, handshake, data.
RECORD_TYPES = (20, 21, 22, 23)
HEADER = 5


class Way:
    """One direction of a connection: whether a marker was seen in it, and whether it is made of TLS records."""

    def __init__(self, marker: bytes):
        self.marker = marker
        self.has_seen = False
        self.tail = b""
        self.header = b""
        self.left = 0
        self.is_tls = True
        self.count = 0

    def look(self, part: bytes) -> None:
        self.count += len(part)
        whole = self.tail + part
        self.has_seen = self.has_seen or self.marker in whole
        self.tail = whole[1 - len(self.marker):]
        while part and self.is_tls:
            if self.left:
                skipped = min(self.left, len(part))
                self.left -= skipped
                part = part[skipped:]
                continue
            taken = HEADER - len(self.header)
            self.header += part[:taken]
            part = part[taken:]
            if len(self.header) == HEADER:
                self.is_tls = self.header[0] in RECORD_TYPES and self.header[1] == 3
                self.left = int.from_bytes(self.header[3:], "big")
                self.header = b""


class Wire:
    """Listens on one port and passes on to another, with all that comes back."""

    def __init__(self, port: int, behind: int, marker: bytes):
        self.behind, self.marker = behind, marker
        self.ways: list = []
        self.listener = socket.create_server((HOST, port), backlog=64)
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self) -> None:
        while True:
            try:
                here, _ = self.listener.accept()
            except OSError:
                # It is closed.
                return
            try:
                there = socket.create_connection((HOST, self.behind), timeout=5)
                there.settimeout(None)
            except OSError:
                here.close()
                continue
            for source, target in ((here, there), (there, here)):
                way = Way(self.marker)
                self.ways.append(way)
                threading.Thread(target=self.pass_on, args=(source, target, way), daemon=True).start()

    @staticmethod
    def pass_on(source: socket.socket, target: socket.socket, way: Way) -> None:
        try:
            while part := source.recv(1 << 16):
                way.look(part)
                target.sendall(part)
        except OSError:
            # One side has been killed: so does the other see it.
            pass
        for end in (source, target):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self) -> None:
        self.listener.close()
