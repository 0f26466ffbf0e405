"""Podman on a machine that reaches no registry: the images' base is made by debootstrap, and all that runs does so in
namespaces of this process, which end with it, so that no container, bridge, mount or rule of a firewall outlives a
test that fails.

What a machine forbids (limits that cannot be raised, control groups) is left out by runtime.py, which stands before
crun. Nothing else is changed: network, names, volumes, users, capabilities and the filter of system calls are podman's.
"""

import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "basalt" / "containers"
DOCKERFILE = ROOT / "docker/Dockerfile"

# In the environment: the namespaces that this process has entered.
WITHIN = "BASALT_TEST_NAMESPACES"
# What an image of a registry is, made of Debian's packages.
STAND_INS = {
    "docker.io/library/redis:7.2": "FROM tools",
    "docker.io/prom/prometheus:v2.53.0": """
        FROM tools
        WORKDIR /prometheus
        ENTRYPOINT ["/usr/bin/prometheus"]
        CMD ["--config.file=/etc/prometheus/prometheus.yml", "--storage.tsdb.path=/prometheus"]
        """,
}
TOOLS = """
    FROM debian:bookworm-slim
    RUN apt-get update && apt-get install -y --no-install-recommends redis-tools prometheus
    """


def run(*words, check: bool = True, timeout: float = 600, **options) -> str:
    """What a program prints; raises with all that it has said if it fails."""
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=timeout, **options)
    if check and done.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, words))}: {done.returncode}: {(done.stdout + done.stderr)[-3000:]}")
    return done.stdout


def podman(*words, **options) -> str:
    return run("podman", *words, **options)


def succeeds(*words) -> bool:
    return subprocess.run(["podman", *words], capture_output=True, timeout=60).returncode == 0


def state(container: str) -> dict:
    return json.loads(podman("inspect", container))[0]["State"]


def logs(container: str) -> str:
    done = subprocess.run(["podman", "logs", container], capture_output=True, text=True)
    return done.stdout + done.stderr


# ---- the places of podman ---------------------------------------------------------------------------------------


def use_own_places() -> None:
    """Podman finds its settings in the environment."""
    CACHE.mkdir(parents=True, exist_ok=True)
    (CACHE / "storage.conf").write_text(
        f'[storage]\ndriver = "overlay"\ngraphroot = "{CACHE}/images"\nrunroot = "{CACHE}/running"\n'
    )
    (CACHE / "containers.conf").write_text(
        f'[network]\nnetwork_backend = "netavark"\nnetwork_config_dir = "{CACHE}/networks"\n'
        f'[engine]\nruntime = "crun"\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n'
        f'[engine.runtimes]\ncrun = ["{HERE}/runtime.py"]\n'
        '[containers]\ncgroups = "disabled"\nlog_driver = "k8s-file"\n'
    )
    os.environ["CONTAINERS_STORAGE_CONF"] = str(CACHE / "storage.conf")
    os.environ["CONTAINERS_CONF"] = str(CACHE / "containers.conf")
    # podman-compose of the environment in which this runs.
    os.environ["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"


def is_within(kinds: list) -> bool:
    return os.environ.get(WITHIN) == " ".join(kinds)


def enter(kinds: list) -> None:
    """Begins this program anew in namespaces of its own; returns when it is there. When it ends the kernel ends all
    processes in them, and takes away the mounts and the network."""
    if not is_within(kinds):
        if WITHIN not in os.environ:
            wait_for_turn()
        os.environ[WITHIN] = " ".join(kinds)
        os.execvp("unshare", ["unshare", *kinds, "--", sys.executable, *sys.argv])
    # crun knows one kind of control groups, or the other, but no mixture.
    subprocess.run(["umount", "-R", "/sys/fs/cgroup"], capture_output=True)
    run("mount", "-t", "cgroup2", "none", "/sys/fs/cgroup")
    # What podman notes of what runs, which nobody else's podman shall see.
    for place in ("/run/netns", "/run/containers", "/run/libpod"):
        Path(place).mkdir(exist_ok=True)
        run("mount", "-t", "tmpfs", "none", place)
    run("mount", "--make-shared", "/run/netns")
    run("ip", "link", "set", "lo", "up")


def wait_for_turn() -> None:
    """Two at once would take away each other's containers. Held until the last of the programs that this one becomes
    has ended."""
    lock = os.open(CACHE / "lock", os.O_CREAT | os.O_RDWR)
    os.set_inheritable(lock, True)
    fcntl.flock(lock, fcntl.LOCK_EX)


def forget_containers() -> None:
    """Also those of a run that was ended."""
    podman("rm", "--all", "--force", "--time", "0", check=False)
    podman("volume", "prune", "--force", check=False)
    podman("network", "prune", "--force", check=False)


# ---- images -----------------------------------------------------------------------------------------------------


def final_stage() -> str:
    """What comes after the last FROM. The stage before compiles, which needs an image that has Rust."""
    stages = re.split(r"^(?=FROM )", DOCKERFILE.read_text(), flags=re.M)
    compiling, final = stages[-2:]
    assert compiling.startswith("FROM rust:") and "strip /basalt" in compiling, compiling
    return final


def build_images(binary: str) -> None:
    """The image, by its own Dockerfile, and what stands in for those of a registry."""
    if not succeeds("image", "exists", "docker.io/library/debian:bookworm-slim"):
        import_base()
    given = CACHE / "build"
    shutil.rmtree(given, ignore_errors=True)
    given.mkdir()
    shutil.copy(binary, given / "basalt")
    run("strip", given / "basalt")
    build(final_stage(), "basalt", ROOT, "--build-context", f"build={given}")
    build(TOOLS, "tools", given)
    for name, text in STAND_INS.items():
        build(text, name, given)
    podman("image", "prune", "--force")


def build(text: str, name: str, context: Path, *options: str) -> None:
    # Docker's format, because the other has no health checks.
    words = ["--isolation", "chroot", "--network", "host", "--format", "docker", "--layers", "--tag", name]
    text = "\n".join(line.strip() for line in text.splitlines()) if text.startswith("\n") else text
    podman("build", *words, *options, "--file", "-", context, input=text)


def import_base() -> None:
    made = CACHE / "bookworm"
    shutil.rmtree(made, ignore_errors=True)
    run("debootstrap", "--variant=minbase", "bookworm", made, "http://deb.debian.org/debian", timeout=1800)
    run("tar", "-C", made, "--exclude=./var/cache/apt/archives/*.deb", "-cf", CACHE / "base.tar", ".")
    podman("import", CACHE / "base.tar", "docker.io/library/debian:bookworm-slim")
    shutil.rmtree(made)
    (CACHE / "base.tar").unlink()
