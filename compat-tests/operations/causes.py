"""What befalls single servers, so that each raises an alert: one story for each cause.

A story is a generator. Its first value is the port for metrics of a server that is well; each further one is the set of
alerts that this server must raise, and no others, by what was done to it before. The server stays when the story is
over. Only root can tell some of them.
"""

import errno
import os
import resource
import subprocess
import sys
import threading
from contextlib import ExitStack, contextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "harness"), str(HERE.parent / "cluster"), str(HERE.parent / "faults")]

from disk import OPEN, SYNC, WRITE, Disk  # noqa: E402
from exposition import scrape  # noqa: E402
from node import Node  # noqa: E402
from nodes import until  # noqa: E402
from resp import Closed, Connection  # noqa: E402
from server import Server, free_port  # noqa: E402

MIB = 1 << 20
# What is filled in before a limit is drawn: so much that all else does not count.
FILL_KEYS, FILL_VALUE = 1500, "x" * 10_000


class Skipped(Exception):
    """The story cannot be told here; the text says why."""


# ---- servers ----------------------------------------------------------------------------------------------------


class Scene:
    """Where a story is told: its servers, in a directory of its own, stay until all stories have been told."""

    def __init__(self, binary: str, home: Path, stack: ExitStack):
        self.binary, self.home, self.stack = binary, home, stack

    def cache(self, *options: str, binary: str | None = None) -> tuple:
        """A server in cache mode, and its port for metrics."""
        port = free_port()
        server = Server(binary or self.binary, "--mode", "cache", "--metrics-port", str(port), *options)
        return self.stack.enter_context(server), port

    def durable(self, directory: Path, *options: str, env: dict | None = None) -> tuple:
        port = free_port()
        words = ["--engine-memory", "16mb", "--metrics-port", str(port), *options]
        node = Node(self.binary, directory, *words, env=env)
        self.stack.callback(node.kill)
        node.start()
        return node, port

    def with_shim(self) -> tuple:
        """A disk whose calls can be made slow, a durable server on it, and the port. Nobody notes what was synced."""
        disk = Disk(self.home, self.home / "data")
        env = {name: value for name, value in disk.env().items() if name != "SHIM_SHADOW"}
        return disk, *self.durable(disk.root, env=env)


@contextmanager
def again_and_again(server, act, gap: float = 0.02):
    """Meanwhile a client of the server does this, whatever comes of it."""
    is_over = threading.Event()

    def work() -> None:
        while not is_over.is_set():
            try:
                client = server.connect()
                while not is_over.wait(gap):
                    act(client)
            except (OSError, Closed):
                pass

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def value(port: int, name: str) -> float:
    return scrape(port)[name].value()


def say(server, *words: str) -> None:
    client = server.connect()
    reply = client.call(*words)
    client.close()
    assert reply[0] != "-", (words[:3], reply)


def fill(server) -> None:
    client = server.connect()
    for start in range(0, FILL_KEYS, 100):
        client.pipeline([("SET", f"fill:{start + at}", FILL_VALUE) for at in range(100)])
    client.close()


# ---- what clients get -------------------------------------------------------------------------------------------


def down(scene: Scene):
    server, port = scene.cache()
    yield port
    server.process.kill()
    yield {"BasaltDown"}
    server.restart(kill=True)
    yield set()


def errors(scene: Scene):
    server, port = scene.cache()
    yield port
    with again_and_again(server, lambda client: client.pipeline([("SET", "a", "1"), ("LPUSH", "a", "1")])):
        yield {"BasaltErrorsClimb"}
    yield set()


def crowd(scene: Scene):
    """More clients than are let in."""
    server, port = scene.cache()
    yield port
    inside = server.connect()
    assert inside.call("CONFIG", "SET", "maxclients", "1") == ("+", b"OK")
    with again_and_again(server, lambda client: client.call("PING"), gap=0.3):
        yield {"BasaltConnectionsRejected"}
    yield set()


def descriptors(scene: Scene):
    server, port = scene.cache()
    yield port
    pid, others = server.process.pid, [server.connect() for _ in range(100)]
    # Until it is answered, a connection may be one that the server has no descriptor for yet.
    for other in others:
        other.call("PING")
    soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    used = int(value(port, "basalt_process_open_fds"))
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (int(used / 0.94), hard))
    yield {"BasaltDescriptorsRunOut"}
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))
    yield set()
    for other in others:
        other.close()


def busy(scene: Scene):
    """The one network thread evaluates all the time; it stands still, since this spares the machine."""
    server, port = scene.cache()
    yield port
    with again_and_again(server, lambda client: client.call("DEBUG", "SLEEP", "0.1"), gap=0.0):
        yield {"BasaltNetworkThreadsBusy"}
    yield set()


# ---- memory -----------------------------------------------------------------------------------------------------


def memory_near_limit(scene: Scene):
    server, port = scene.cache()
    fill(server)
    yield port
    say(server, "CONFIG", "SET", "maxmemory", str(int(value(port, "basalt_memory_used_bytes") / 0.97)))
    yield {"BasaltMemoryNearLimit"}
    say(server, "CONFIG", "SET", "maxmemory", "0")
    yield set()


def memory_above_limit(scene: Scene):
    server, port = scene.cache()
    fill(server)
    yield port
    say(server, "CONFIG", "SET", "maxmemory", str(int(value(port, "basalt_memory_used_bytes") * 0.8)))
    client = server.connect()
    assert client.call("SET", "more", "1")[1].startswith(b"OOM "), "there is still room"
    yield {"BasaltMemoryAboveLimit", "BasaltMemoryNearLimit"}
    say(server, "CONFIG", "SET", "maxmemory", "0")
    say(server, "SET", "more", "1")
    yield set()


def small_machine(scene: Scene):
    """The server is told of a machine that gets smaller, because to fill a real one would end the test as well."""
    fake, wrapper = scene.home / "meminfo", scene.home / "server"
    fake.write_text(Path("/proc/meminfo").read_text())
    covered = ["unshare", "--mount", "sh", "-c", f'mount --bind "{fake}" /proc/meminfo && exec "$@"', "sh"]
    if subprocess.run([*covered, "true"], capture_output=True).returncode != 0:
        raise Skipped("another /proc/meminfo cannot be mounted here")
    words = " ".join(f"'{word}'" for word in [*covered, scene.binary])
    wrapper.write_text(f'#!/bin/sh\nexec {words} "$@"\n')
    wrapper.chmod(0o755)
    server, port = scene.cache(binary=str(wrapper))
    yield port
    # Written in place, since what is mounted is the file and not its name.
    with open(fake, "r+") as file:
        resident = int(value(port, "basalt_process_resident_memory_bytes"))
        file.truncate(file.write(f"MemTotal: {int(resident / 0.95) // 1024} kB\n"))
    yield {"BasaltMemoryOfMachine"}
    fake.write_text(Path("/proc/meminfo").read_text())
    yield set()


def evictions(scene: Scene):
    """A cache that is full and evicts: that it does so much more than before is said, and not that it is full."""
    server, port = scene.cache("--maxmemory-policy", "allkeys-lru")
    fill(server)
    yield port
    say(server, "CONFIG", "SET", "maxmemory", str(int(value(port, "basalt_memory_used_bytes"))))
    names = iter(range(1 << 40))
    more = lambda: [("SET", f"more:{next(names)}", FILL_VALUE) for _ in range(5)]  # noqa: E731
    with again_and_again(server, lambda client: client.pipeline(more())):
        yield {"BasaltEvictionsClimb"}


# ---- disks ------------------------------------------------------------------------------------------------------


def volume_fills(scene: Scene):
    """The volume is a small one in memory, and becomes smaller."""
    volume = scene.home / "volume"
    volume.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=300m", "tmpfs", volume]
    if subprocess.run(mount, capture_output=True).returncode != 0:
        raise Skipped("no small volume can be mounted here")
    scene.stack.callback(subprocess.run, ["umount", "--lazy", volume], check=True)
    node, port = scene.durable(volume / "data", "--disk-reserve", "1mb")
    client = node.connect()
    for number in range(400):
        assert client.call("SET", f"fill:{number}", os.urandom(100_000)) == ("+", b"OK")
    yield port
    # The tables once more, for a compaction, and half of what the alert wants besides.
    data = value(port, "basalt_disk_used_bytes")
    leave(volume, int(data * 1.1) + 2 * MIB)
    yield {"BasaltDiskFilling"}
    leave(volume, MIB)
    yield {"BasaltDiskFilling", "BasaltDiskFull"}
    leave(volume, 300 * MIB)
    yield set()


def leave(volume: Path, free: int) -> None:
    """Makes the volume so large that this is free on it."""
    now = os.statvfs(volume)
    size = (now.f_blocks - now.f_bfree) * now.f_frsize + free
    subprocess.run(["mount", "-o", f"remount,size={size}", volume], check=True)


def slow_syncs(scene: Scene):
    disk, node, port = scene.with_shim()
    with again_and_again(node, lambda client: client.call("SET", "a", "1")):
        yield port
        disk.slow(SYNC, 0.15, ".log")
        yield {"BasaltFsyncSlow"}
        disk.forget_faults()
        yield set()


def slow_flushes(scene: Scene):
    """Tables are written more slowly than memtables fill."""
    writes = [("SET", f"key:{number}", os.urandom(100_000)) for number in range(10)]
    disk, node, port = scene.with_shim()
    yield port
    disk.slow(WRITE | SYNC | OPEN, 2.0, ".sst")
    with again_and_again(node, lambda client: client.pipeline(writes), gap=0.0):
        yield {"BasaltWritesHeld"}
        disk.forget_faults()
    yield set()


def failed_flush(scene: Scene):
    """A table cannot be made, and nobody writes any more: the next write would end the process, on purpose."""
    disk, node, port = scene.with_shim()
    yield port
    # Slowly, so that it has not failed yet when the last write is answered.
    disk.fail(OPEN, error=errno.EIO, suffix=".sst", slow_ops=OPEN, delay_s=3.0)
    client = node.connect()
    while value(port, "basalt_rocksdb_full_memtables") == 0:
        assert client.call("SET", "a", os.urandom(500_000)) == ("+", b"OK")
    yield {"BasaltEngineErrors"}


def failed_dump(scene: Scene):
    server, port = scene.cache()
    yield port
    # A directory is where the dump should go.
    (server.directory / "dump.rdb" / "inside").mkdir(parents=True)
    say(server, "BGSAVE")
    until("the dump has failed", lambda: value(port, "basalt_dump_last_success") == 0)
    yield {"BasaltDumpFailed"}
    (server.directory / "dump.rdb" / "inside").rmdir()
    (server.directory / "dump.rdb").rmdir()
    say(server, "BGSAVE")
    yield set()


STORIES = [down, errors, crowd, descriptors, busy, memory_near_limit, memory_above_limit, small_machine, evictions,
           volume_fills, slow_syncs, slow_flushes, failed_flush, failed_dump]
