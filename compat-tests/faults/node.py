"""A server on a directory that stays, to be killed and started again."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "harness"))

from resp import Closed, Connection
from server import free_port

DATA_DIRECTORY = "basalt-data"
START_SECONDS = 120


class NotStarted(Exception):
    """The server ended instead of serving; the text is what it said last."""


class Node:
    """The process comes and goes, the directory stays."""

    def __init__(self, binary: str, directory: Path, *options: str, env: dict | None = None):
        self.binary = binary
        self.directory = directory
        self.options = options
        self.env = {**os.environ, **(env or {})}
        self.log = directory.parent / (directory.name + ".log")
        # How to start the process besides: as another user, say.
        self.popen = {}
        self.process = None
        self.port = 0
        directory.mkdir(parents=True, exist_ok=True)

    def words(self) -> list:
        words = ["--port", str(self.port), "--save", "", "--dir", str(self.directory), "--databases", "64"]
        # The reference can do this too, if it is asked to: the tests are tested with it.
        is_reference = Path(self.binary).name == "redis-server"
        mode = ["--appendonly", "yes", "--appendfsync", "always"] if is_reference else ["--mode", "durable"]
        return [self.binary, *words, *mode, *(() if is_reference else self.options)]

    def spawn(self) -> None:
        self.port = free_port()
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                self.words(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", env=self.env, **self.popen
            )

    def start(self) -> float:
        """Returns the seconds until it served."""
        began = time.monotonic()
        self.spawn()
        while time.monotonic() - began < START_SECONDS:
            if self.process.poll() is not None:
                raise NotStarted(self.tail())
            try:
                connection = Connection("127.0.0.1", self.port, timeout=START_SECONDS)
                reply = connection.call("PING")
                connection.close()
                if reply == ("+", b"PONG"):
                    return time.monotonic() - began
            except (OSError, Closed):
                pass
            time.sleep(0.01)
        self.kill()
        raise NotStarted(f"no answer in {START_SECONDS} s; {self.tail()}")

    def kill(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()

    def stop(self) -> int:
        """Ends it in good order."""
        self.process.terminate()
        try:
            return self.process.wait(60)
        finally:
            self.kill()

    def connect(self, timeout: float = 60.0) -> Connection:
        return Connection("127.0.0.1", self.port, timeout=timeout)

    def tail(self) -> str:
        return self.log.read_text(errors="replace")[-3000:] if self.log.exists() else "(it has said nothing)"
