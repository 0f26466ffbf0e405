"""The server under test through Redis's own tools: redis-cli, with the hints it takes from COMMAND DOCS, and
redis-benchmark with all its default tests."""

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "harness"))

from server import Server, binary_under_test

PATIENCE_SECONDS = 30

# Each of these is one test of redis-benchmark's default run, by the words in its report.
BENCHMARKS = """PING_INLINE PING_MBULK SET GET INCR LPUSH RPUSH LPOP RPOP SADD HSET SPOP ZADD ZPOPMIN LRANGE_100
    LRANGE_300 LRANGE_500 LRANGE_600 MSET""".split()


class Terminal:
    """redis-cli in a pseudo terminal, as a person has it."""

    def __init__(self, port: int):
        self.process, self.terminal = pty.fork()
        if self.process == 0:
            os.environ.update(TERM="xterm", COLUMNS="200", HOME="/nonexistent")
            os.execvp("redis-cli", ["redis-cli", "-p", str(port)])
        # Without a size, redis-cli asks the terminal for one and waits for the answer.
        fcntl.ioctl(self.terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 200, 0, 0))
        self.seen = ""

    def type(self, text: str) -> None:
        self.seen = ""
        os.write(self.terminal, text.encode())

    def expect(self, pattern: str) -> str:
        """Waits until the screen shows the pattern."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not re.search(pattern, self.seen):
            left = deadline - time.monotonic()
            ready, _, _ = select.select([self.terminal], [], [], max(left, 0))
            assert ready, f"redis-cli does not show {pattern!r}, but {self.seen!r}"
            text = os.read(self.terminal, 65536).decode(errors="replace")
            self.seen += re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", text)
        return self.seen

    def close(self) -> None:
        os.close(self.terminal)
        os.waitpid(self.process, 0)


def hints_come_from_command_docs(server):
    terminal = Terminal(server.port)
    terminal.expect(r"> ")
    for typed, hint in [
        ("set ", r"key value .*NX.*XX.*GET.*EX"),
        ("zadd ", r"key .*NX.*XX.*GT.*LT.*CH.*INCR.*score member"),
        ("blmpop ", r"timeout numkeys key .*LEFT.*RIGHT.*COUNT"),
        ("config set ", r"parameter value"),
    ]:
        terminal.type(typed)
        terminal.expect(hint)
        # Control-U empties the line again.
        terminal.type("\x15")
        terminal.expect("> ")
    terminal.type("set key value\r")
    # What is typed before the prompt is there, redis-cli throws away.
    terminal.expect(r"OK\s+\S+> ")
    terminal.type("help set\r")
    shown = terminal.expect(r"group: \S+")
    assert re.search(r"summary: \S+", shown) and re.search(r"since: 1\.0\.0", shown), shown
    assert re.search(r"group: string", shown), shown
    terminal.type("quit\r")
    terminal.close()


def replies_are_shown(server):
    assert cli(server, "ping") == "PONG"
    assert cli(server, "-3", "hello").startswith("server") or "server" in cli(server, "-3", "hello")
    assert cli(server, "rpush", "list", "a", "b") == "2"
    assert cli(server, "--no-raw", "lrange", "list", "0", "-1") == '1) "a"\n2) "b"'
    assert "ERR unknown command" in cli(server, "nosuch")


def modes_of_the_tool(server):
    commands = b"".join(b"SET key:%d value\r\n" % number for number in range(10_000))
    done = subprocess.run(
        ["redis-cli", "-p", str(server.port), "--pipe"],
        input=commands, stdout=subprocess.PIPE, timeout=PATIENCE_SECONDS * 2,
    )
    assert b"errors: 0, replies: 10000" in done.stdout, done.stdout
    cli(server, "config", "set", "maxmemory-policy", "allkeys-lfu")
    assert cli(server, "--scan", "--pattern", "key:77").split() == ["key:77"]
    for mode in ("--bigkeys", "--memkeys", "--hotkeys"):
        shown = cli(server, mode, "-i", "0")
        assert "summary" in shown, shown
    assert re.search(r"\d", cli(server, "--latency", "-i", "0.05")), "no latency"
    # It fills a buffer before it shows anything, and loses it when it is ended.
    shown = (cli(server, "--stat", "-i", "0.001", limit=limit).lower() for limit in (1, 5, 20))
    assert any("keys" in text for text in shown)


def the_default_benchmarks_run(server):
    done = benchmark(server, "-n", "1000")
    for name in BENCHMARKS:
        is_there = re.search(rf"(?m)(^|\r){name}\b.*requests per second", done.stdout)
        assert is_there, f"{name} is missing in:\n{done.stdout}"
    benchmark(server, "-n", "20000", "-P", "16", "-r", "1000", "--threads", "2", "-t", "set,get")


def benchmark(server, *options):
    done = subprocess.run(
        ["redis-benchmark", "-p", str(server.port), "-q", *options],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300,
    )
    assert done.returncode == 0 and "ERR" not in done.stdout and "rror" not in done.stdout, done.stdout
    return done


def cli(server, *words, limit=None) -> str:
    """Output of redis-cli without a terminal; with a limit it is ended after that many seconds, as Control-C would."""
    process = subprocess.Popen(
        ["redis-cli", "-p", str(server.port), *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        return process.communicate(timeout=limit or PATIENCE_SECONDS)[0].strip()
    except subprocess.TimeoutExpired:
        process.terminate()
        shown = process.communicate()[0]
        assert limit, f"redis-cli {' '.join(words)} does not end: {shown}"
        return shown


TESTS = [hints_come_from_command_docs, replies_are_shown, modes_of_the_tool, the_default_benchmarks_run]


def main() -> int:
    passed = failed = 0
    with Server(binary_under_test()) as server:
        for test in TESTS:
            try:
                test(server)
                passed += 1
            except Exception:
                failed += 1
                print(f"redis-tools: {test.__name__} failed")
                traceback.print_exc(file=sys.stdout)
    print(f"redis-tools: {passed} passed, {failed} failed, 0 skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
