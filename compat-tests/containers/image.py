"""The image of docker/Dockerfile, as podman builds and runs it."""

import json
import time
from contextlib import contextmanager

import engine
from engine import podman, run, state, succeeds
from exposition import fetch
from nodes import until

NAME = "basalt-image"
PASSWORD = "of-the-test"


@contextmanager
def container(*options: str, words: tuple = ()):
    """One that is there for a while, with a password, since clients of other machines are refused without one."""
    podman("run", "--detach", "--name", NAME, "--env", f"BASALT_REQUIREPASS={PASSWORD}", *options, "basalt", *words)
    try:
        until("it serves", lambda: cli("ping") == "PONG")
        yield
    except BaseException:
        print(engine.logs(NAME)[-3000:])
        raise
    finally:
        podman("rm", "--force", "--time", "0", "--volumes", NAME)


def address() -> str:
    return json.loads(podman("inspect", NAME))[0]["NetworkSettings"]["IPAddress"]


def cli(*words: str) -> str:
    """What redis-cli prints outside the container."""
    return run("redis-cli", "-h", address(), "-a", PASSWORD, "--no-auth-warning", *words, check=False).strip()


def is_healthy() -> bool:
    return succeeds("healthcheck", "run", NAME)


def processes() -> list:
    """All in the container, also those that have ended and were not buried, without the shell that looks."""
    return podman("exec", NAME, "sh", "-c", "echo /proc/[0-9]*").split()[:-1]


def stop() -> float:
    """By the image's own signal and in good order; the seconds that it took."""
    started = time.monotonic()
    podman("stop", "--time", "60", NAME)
    ended = state(NAME)
    assert ended["ExitCode"] == 0 and not ended["OOMKilled"], ended
    return time.monotonic() - started


def says_what_it_is() -> str:
    config = json.loads(podman("image", "inspect", "basalt"))[0]["Config"]
    assert config["StopSignal"] in ("SIGTERM", "15"), config
    assert list(config["Volumes"]) == ["/data"] and config["WorkingDir"] == "/data", config
    assert set(config["ExposedPorts"]) == {"6379/tcp", "16379/tcp", "26379/tcp"}, config
    # By its number: Kubernetes cannot tell of a name that it is not root's.
    assert config["User"].split(":")[0].isdigit(), config["User"]
    return podman("run", "--rm", "basalt", "--version").strip()


def serves_those_outside() -> None:
    with container():
        assert cli("set", "greeting", "hello") == "OK" and cli("get", "greeting") == "hello"
        status, _, text = fetch(26379, "/metrics", host=address())
        assert status == 200 and "basalt_commands_processed_total" in text
        assert fetch(26379, "/health", host=address())[0] == 200
        owner = podman("exec", NAME, "stat", "-c", "%u:%g %U", "/proc/1", "/data", "/data/basalt-data").splitlines()
        assert owner == ["999:999 basalt"] * 3, owner
        refused = run("redis-cli", "-h", address(), "ping", check=False)
        assert "NOAUTH" in refused, refused


def health_is_seen() -> str:
    with container():
        assert is_healthy()
        podman("kill", "--signal", "STOP", NAME)
        started = time.monotonic()
        assert not is_healthy(), "healthy, although it stands still"
        took = time.monotonic() - started
        assert took < 5, f"it took {took} s to see that it stands still, and podman and Docker give up after 5"
        podman("kill", "--signal", "CONT", NAME)
        until("it is healthy again", is_healthy)
        left = processes()
        assert left == ["/proc/1"], f"checks have left processes: {left}"
        podman("stop", NAME)
        assert not is_healthy(), "healthy, although it is gone"
    return f"standing still is seen after {took:.1f} s"


def health_follows_the_port() -> None:
    with container("--env", "BASALT_METRICS_PORT=9121"):
        assert is_healthy()


def data_survives() -> str:
    with container():
        for number in range(10):
            assert cli("set", f"key:{number}", str(number)) == "OK"
        took = stop()
        podman("start", NAME)
        until("it serves again", lambda: cli("ping") == "PONG")
        assert cli("get", "key:9") == "9" and cli("dbsize") == "10"
        # And a crash.
        podman("kill", "--signal", "KILL", NAME)
        podman("start", NAME)
        until("it serves again", lambda: cli("ping") == "PONG")
        assert cli("dbsize") == "10"
    return f"a stop took {took:.1f} s"


def settings_come_from_all_three() -> None:
    with container("--env", "BASALT_MAXMEMORY=123mb", words=("/etc/basalt/cache.conf", "--maxclients", "321")):
        assert cli("config", "get", "maxmemory").splitlines() == ["maxmemory", str(123 << 20)]
        assert cli("config", "get", "maxclients").splitlines() == ["maxclients", "321"]
        assert cli("config", "get", "mode").splitlines() == ["mode", "cache"]
        assert cli("config", "get", "dir").splitlines() == ["dir", "/data"]
        assert cli("save") == "OK" and succeeds("exec", NAME, "test", "-s", "/data/dump.rdb")


def needs_no_more_than_its_volume() -> None:
    strict = ["--read-only", "--read-only-tmpfs=false", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"]
    with container(*strict):
        assert cli("set", "greeting", "hello") == "OK"
        said = cli("bgsave")
        assert said.startswith("Background"), said
        assert not succeeds("exec", NAME, "touch", "/tmp/file"), "the root file system can be written"
        until("it has saved", lambda: succeeds("exec", NAME, "test", "-s", "/data/dump.rdb"))
        assert is_healthy()
        stop()


CASES = [says_what_it_is, serves_those_outside, health_is_seen, health_follows_the_port, data_survives,
         settings_come_from_all_three, needs_no_more_than_its_volume]
