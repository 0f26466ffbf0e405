"""Writers that know what was acknowledged, for the tests with several nodes."""

import threading
import time

from nodes import PATIENCE, Client
from resp import Closed

# Names that have nothing in common with each other's slots.
COUNTERS = [f"counter:{number}" for number in range(24)]


class Load:
    """Counts up on several connections, and knows what was acknowledged."""

    def __init__(self, ports: list, names: list = COUNTERS, writers: int = 4):
        self.ports = ports
        self.acknowledged = dict.fromkeys(names, 0)
        self.uncertain = dict.fromkeys(names, 0)
        # The longest time without an acknowledgement.
        self.gap = 0.0
        self.is_over = threading.Event()
        self.failures: list = []
        self.threads = [threading.Thread(target=self.run, args=(names[start::writers],)) for start in range(writers)]

    def run(self, names: list) -> None:
        client = Client(self.ports)
        try:
            while not self.is_over.is_set():
                for name in names:
                    began = time.monotonic()
                    self.count(client, name)
                    self.gap = max(self.gap, time.monotonic() - began)
        except Exception as error:  # noqa: BLE001: shown by the main thread
            self.failures.append(error)

    def count(self, client: Client, name: str) -> None:
        while True:
            try:
                kind, value = client.call("INCR", name)
            except Closed:
                # It may have happened or not.
                self.uncertain[name] += 1
                continue
            assert kind == ":", (name, kind, value)
            self.note(name, value)
            return

    def note(self, name: str, value: int) -> None:
        """So far has this name been counted, as is acknowledged."""
        low = self.acknowledged[name] + 1
        assert low <= value <= low + self.uncertain[name], f"{name}: {value} after {self.acknowledged[name]}"
        self.uncertain[name] -= value - low
        self.acknowledged[name] = value

    def __enter__(self) -> "Load":
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_) -> None:
        self.is_over.set()
        for thread in self.threads:
            thread.join()
        if self.failures:
            raise self.failures[0]

    def check(self, client: Client) -> int:
        """All that was acknowledged is there; returns how much that is."""
        for name, least in self.acknowledged.items():
            number = int(surely(client, "GET", name)[1] or 0)
            assert least <= number <= least + self.uncertain[name], f"{name} is {number}, acknowledged were {least}"
        return sum(self.acknowledged.values())


def surely(client: Client, *words):
    """For what may be done twice."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return client.call(*words)
        except Closed:
            if time.monotonic() > deadline:
                raise
