"""Fetches the upstream Redis test suite from Debian's source package and adapts the copy.

Nothing of it is ever committed: the archive and the unpacked tree live in the cache directory. The package lists are
fetched into that directory too, with `deb-src` entries derived from the system's own, so that the system's apt
configuration stays as it is.
"""

import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

# Bump when PATCHES changes, so that an already unpacked copy is made anew.
PATCH_LEVEL = 7

# (file, old text, new text, why). Each old text must occur exactly once: a new upstream version cannot pass unnoticed.
PATCHES = [
    (
        "tests/support/test.tcl",
        "    set val [r object encoding $key]\n    assert_match $enc $val\n",
        "    set val [r object encoding $key]\n"
        "    if {$enc eq {quicklist} && $val eq {listpack}} return\n"
        "    assert_match $enc $val\n",
        "since 7.2 a small list is one listpack and says so, while the 7.0 suite expects quicklist",
    ),
    (
        "tests/support/server.tcl",
        "    r function flush\n",
        "    catch {r function flush}\n",
        "a server without functions has none to flush",
    ),
    (
        "tests/support/server.tcl",
        "            set port_busy 1\n            break\n        }\n",
        "            set port_busy 1\n            break\n        }\n"
        "        if {[catch {exec kill -0 $pid}] && ![regexp {Failed listening on port} [exec cat $stdout]]} {\n"
        "            set maxiter 1\n"
        "        }\n",
        "a server that exits at start is an error at once, not after two minutes",
    ),
    (
        "tests/unit/keyspace.tcl",
        "    test {MOVE basic usage} {\n",
        "    test {MOVE basic usage} {\n        r flushdb\n",
        "it counts keys; the flush at the end of the test before it is not there when that test is left out",
    ),
    (
        "tests/unit/cluster.tcl",
        """            [string match "*slave*" [$owner_r CLUSTER REPLICAS $owner_id]]\n""",
        """            [string match "*slave*" [$owner_r CLUSTER REPLICAS $owner_id]] ||\n"""
        """            [string match "* myself,master *" [$newnode_r CLUSTER NODES]]\n""",
        "a node without slots stays a master: where copies lie does not follow from who gives slots to whom",
    ),
    (
        "tests/unit/client-eviction.tcl",
        "                assert {[client_field $cname tot-mem] > $maxmemory_clients}\n            }            \n"
        "            $rr close\n",
        "                assert {[client_field $cname tot-mem] > $maxmemory_clients}\n            }\n"
        "            $rr close\n"
        "            wait_for_condition 200 10 {![client_exists $cname]} else {fail {still there}}\n",
        "the end of a connection arrives late behind a window that was full: until then the client counts",
    ),
    (
        "tests/unit/client-eviction.tcl",
        "            set client_mem [client_field client-$i tot-mem]\n    \n",
        "            wait_for_condition 200 10 {\n"
        "                [llength [lsearch -all [split [r client list] \"\\n\"] "
        "\"*name=client-$i *qbuf=$size *\"]] ==\n"
        "                    $clients_per_size\n"
        "            } else {\n"
        "                fail {the requests do not arrive}\n"
        "            }\n"
        "            set client_mem [client_field client-$i tot-mem]\n    \n",
        "what a client uses is known when its request has arrived",
    ),
]


class FetchError(Exception):
    """The suite cannot be had on this machine; the message says what to do."""


def upstream_tree(cache: Path) -> Path:
    """Path of an unpacked and patched copy below `cache`, fetched if need be."""
    home = cache / "upstream"
    home.mkdir(parents=True, exist_ok=True)
    ready = home / f"ready-{PATCH_LEVEL}"
    if ready.exists():
        tree = home / ready.read_text().strip()
        if (tree / "tests" / "test_helper.tcl").exists():
            return tree
    archive = next(iter(sorted(home.glob("redis_*.orig.tar.*"))), None)
    if archive is None:
        archive = download(home)
    tree = unpack(archive, home)
    for name, old, new, _why in PATCHES:
        patch(tree / name, old, new)
    ready.write_text(tree.name)
    return tree


def download(home: Path) -> Path:
    """Downloads the source package with an apt configuration of its own."""
    if not shutil.which("apt-get"):
        raise FetchError("apt-get is not here; put redis_7.0.*.orig.tar.gz into " + str(home))
    parts = home / "apt" / "sources.list.d"
    lists = home / "apt" / "lists"
    archives = home / "apt" / "archives"
    for directory in (parts, lists / "partial", archives / "partial"):
        directory.mkdir(parents=True, exist_ok=True)
    write_source_lists(parts)
    options = {
        "Dir::Etc::sourcelist": "/dev/null",
        "Dir::Etc::sourceparts": parts,
        "Dir::State::lists": lists,
        "Dir::Cache::archives": archives,
        "Dir::Cache::pkgcache": "",
        "Dir::Cache::srcpkgcache": "",
        "APT::Sandbox::User": "",
    }
    arguments = [argument for key, value in options.items() for argument in ("-o", f"{key}={value}")]
    for command in (["update"], ["source", "--download-only", "redis"]):
        done = subprocess.run(
            ["apt-get", "-q", *arguments, *command],
            cwd=home, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        if done.returncode != 0:
            raise FetchError(f"apt-get {' '.join(command)} failed:\n{done.stdout}")
    shutil.rmtree(home / "apt")
    archive = next(iter(sorted(home.glob("redis_*.orig.tar.*"))), None)
    if archive is None:
        raise FetchError("apt-get source left no redis_*.orig.tar.* in " + str(home))
    return archive


def write_source_lists(parts: Path) -> None:
    """Turns the system's binary package sources into source package sources."""
    system = Path("/etc/apt")
    written = 0
    for path in sorted(system.glob("sources.list.d/*.sources")):
        stanzas = [stanza for stanza in path.read_text().split("\n\n") if is_distribution(stanza)]
        if stanzas:
            text = "\n\n".join(re.sub(r"(?m)^Types:.*$", "Types: deb-src", stanza).strip() for stanza in stanzas)
            (parts / path.name).write_text(text + "\n")
            written += 1
    for path in [system / "sources.list", *sorted(system.glob("sources.list.d/*.list"))]:
        if not path.exists():
            continue
        lines = [line for line in path.read_text().splitlines() if line.startswith("deb ") and is_distribution(line)]
        if lines:
            (parts / path.name).write_text("".join("deb-src " + line[4:] + "\n" for line in lines))
            written += 1
    if written == 0:
        raise FetchError("no Debian or Ubuntu package source found under /etc/apt")


def is_distribution(entry: str) -> bool:
    """True for the distribution's own archive; third-party archives have no source package `redis`."""
    return re.search(r"/(debian|debian-security|ubuntu)/?(\s|$)", entry) is not None


def unpack(archive: Path, home: Path) -> Path:
    """Unpacks only what the suite needs: tests/, and nothing else of the source tree."""
    with tarfile.open(archive) as tar:
        top = tar.next().name.split("/")[0]
        tree = home / top
        shutil.rmtree(tree, ignore_errors=True)
        wanted = [m for m in tar.getmembers() if m.name.startswith(top + "/tests/") and (m.isfile() or m.isdir())]
        tar.extractall(home, members=wanted)
    return tree


def patch(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    if text.count(old) != 1:
        raise FetchError(f"{path}: the text to adapt occurs {text.count(old)} times; upstream changed, adapt PATCHES")
    path.write_text(text.replace(old, new))


def default_cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "basalt"


if __name__ == "__main__":
    try:
        print(upstream_tree(default_cache()))
    except FetchError as error:
        sys.exit(str(error))
