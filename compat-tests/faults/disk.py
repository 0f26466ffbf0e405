"""A disk that loses power, and calls that fail: the shim around the server's writes, seen from outside."""

import errno
import mmap
import os
import random
import shutil
import struct
import subprocess
from pathlib import Path

PAGE = 4096
CONTROL = "=IIqq32sQQQIIQ"
WRITE, SYNC, OPEN, RENAME, READ = 1, 2, 4, 8, 16


def build_shim(home: Path) -> Path:
    library = home / "shim.so"
    source = Path(__file__).resolve().parent / "shim.c"
    subprocess.run(
        ["cc", "-O1", "-Wall", "-Wextra", "-shared", "-fPIC", "-o", library, source, "-ldl", "-lpthread"], check=True
    )
    return library


class Disk:
    """What of a directory has reached the disk.

    The directory is the server's; the shadow beside it is kept by the shim. `lose_power` makes of the directory what
    a machine would find that comes up again.
    """

    def __init__(self, home: Path, root: Path):
        self.root = root.resolve()
        self.shadow = home.resolve() / "shadow"
        self.control = home.resolve() / "control"
        self.control.write_bytes(bytes(PAGE))
        self.library = build_shim(home)
        self.root.mkdir(parents=True, exist_ok=True)
        with open(self.control, "r+b") as file:
            self.page = mmap.mmap(file.fileno(), PAGE)
        self.forget_faults()
        self.settle()

    def env(self) -> dict:
        return {
            "LD_PRELOAD": str(self.library),
            "SHIM_ROOT": str(self.root),
            "SHIM_SHADOW": str(self.shadow),
            "SHIM_CONTROL": str(self.control),
        }

    # ---- faults

    def fail(
        self, ops: int, after: int = 0, times: int = 1 << 40, error: int = errno.EIO, suffix: str = "", torn=False,
        slow_ops: int = 0, delay_s: float = 0.0,
    ) -> None:
        """From the call `after` on, so many calls of these kinds fail. Those of the slow kinds take longer."""
        values = (ops, error, after, times, suffix.encode(), 0, 0, 0, int(torn), slow_ops, int(delay_s * 1e6))
        self.page[: struct.calcsize(CONTROL)] = struct.pack(CONTROL, *values)

    def slow(self, ops: int, delay_s: float, suffix: str = "") -> None:
        """Calls of these kinds take longer, and none fails."""
        self.fail(0, after=-1, suffix=suffix, slow_ops=ops, delay_s=delay_s)

    def forget_faults(self) -> None:
        self.fail(0, after=-1)

    def counts(self) -> tuple:
        """Writes, syncs and failed calls since the faults were set."""
        return struct.unpack(CONTROL, self.page[: struct.calcsize(CONTROL)])[5:8]

    # ---- loss of power

    def settle(self) -> None:
        """From now on all that is there counts as synced."""
        shutil.rmtree(self.shadow, ignore_errors=True)
        for part in ("data", "names", "lost"):
            (self.shadow / part).mkdir(parents=True)
        for directory, subdirectories, files in os.walk(self.root):
            lines = []
            for name in (*subdirectories, *files):
                path = Path(directory, name)
                inode = path.stat().st_ino
                lines.append(f"{inode} {'d' if path.is_dir() else 'f'} {name}\n")
                if path.is_file():
                    shutil.copyfile(path, self.shadow / "data" / str(inode))
            (self.shadow / "names" / str(os.stat(directory).st_ino)).write_text("".join(lines))

    def lose_power(self, rng: random.Random) -> str:
        """What was not synced is gone, or torn, or there in part. Returns what was done to it."""
        after = self.root.with_name(self.root.name + ".after")
        shutil.rmtree(after, ignore_errors=True)
        story = []
        self.rebuild(self.root, after, rng, story)
        shutil.rmtree(self.root)
        after.rename(self.root)
        self.settle()
        return ", ".join(story) or "nothing was lost"

    def rebuild(self, directory: Path, after: Path, rng: random.Random, story: list) -> None:
        after.mkdir()
        now = {}
        for entry in os.scandir(directory):
            now[entry.name] = (entry.inode(), "d" if entry.is_dir() else "f")
        synced = self.names(directory)
        if synced != now and rng.random() < 0.7:
            gone, back = sorted(now.keys() - synced.keys()), sorted(synced.keys() - now.keys())
            story.append(f"{directory.name}/ as synced: without {gone}, again with {back}")
            names = synced
        else:
            names = now
        for name, (inode, kind) in names.items():
            if kind == "d":
                if name in now:
                    self.rebuild(directory / name, after / name, rng, story)
                continue
            path = directory / name if now.get(name) == (inode, kind) else self.path_of(directory, now, inode)
            (after / name).write_bytes(self.content(path, inode, name, rng, story))

    def names(self, directory: Path) -> dict:
        file = self.shadow / "names" / str(directory.stat().st_ino)
        if not file.exists():
            return {}
        entries = (line.split(" ", 2) for line in file.read_text().splitlines())
        return {name: (int(inode), kind) for inode, kind, name in entries}

    def path_of(self, directory: Path, now: dict, inode: int) -> Path:
        """Where a file is whose name is another now, or that has none any more."""
        for name, (other, kind) in now.items():
            if other == inode and kind == "f":
                return directory / name
        return self.shadow / "lost" / str(inode)

    def content(self, path: Path, inode: int, name: str, rng: random.Random, story: list) -> bytes:
        file = self.shadow / "data" / str(inode)
        synced = file.read_bytes() if file.exists() else b""
        now = path.read_bytes() if path.exists() else synced
        if now == synced:
            return synced
        fate = rng.choice(("cut", "cut", "prefix", "prefix", "pages", "garbage", "kept"))
        story.append(f"{name}: {len(synced)} bytes synced, {len(now)} written, {fate}")
        if fate == "cut":
            return synced
        if fate == "kept":
            return now
        if not now.startswith(synced):
            fate = "pages"
        end = rng.randint(min(len(synced), len(now)), max(len(synced), len(now)))
        if fate == "prefix":
            return now[:end]
        if fate == "garbage":
            return now[:end] + rng.randbytes(min(len(now) - end, 3000))
        # Pages reach the disk in any order, and what lies between is zeros.
        result = bytearray(max(len(synced), end))
        result[: len(synced)] = synced
        for start in range(0, len(result), PAGE):
            if rng.random() < 0.5:
                # What is synced is the same in both, so a page at the border loses nothing.
                result[start : start + PAGE] = now[start : start + PAGE].ljust(len(result[start : start + PAGE]), b"\0")
        return bytes(result)
