"""The compose files, as podman-compose runs them: the same services, networks, addresses, ports and volumes as with
`docker compose`, of images that are there already. Grafana's cannot be had; what it would be given is looked at."""

import json
import os
import signal
from contextlib import contextmanager
from pathlib import Path

import engine
from engine import ROOT, podman, run, state
from exposition import fetch
from nodes import until

ONE = ROOT / "docker/compose.yaml"
THREE = ROOT / "docker/compose-cluster.yaml"
NODES = {f"node-{number}": f"10.91.0.1{number}" for number in (1, 2, 3)}
SLOTS = 16384


def compose(file: Path, *words: str, **options) -> str:
    environment = os.environ | {"BASALT_PASSWORD": "of-the-test"}
    return run("podman-compose", "--file", file, *words, env=environment, **options)


@contextmanager
def up(file: Path, *services: str):
    compose(file, "up", "--detach", "--no-build", *services)
    try:
        yield
    except BaseException:
        for service in services:
            print(f"--- {service}:", engine.logs(name_of(service))[-3000:], sep="\n")
        raise
    finally:
        engine.forget_containers()


def name_of(service: str) -> str:
    """The container of a service, whatever the project is called."""
    return podman("ps", "--all", "--quiet", "--filter", f"label=com.docker.compose.service={service}").strip()


def cli(*words: str, host: str = "127.0.0.1") -> str:
    return run("redis-cli", "-h", host, *words, check=False).strip()


def with_password(*words: str) -> str:
    return cli("-a", "of-the-test", "--no-auth-warning", *words)


def owners(host: str) -> dict:
    """Addresses of those that are not failed, and how many slots each has, as one node sees it."""
    found = {}
    for line in cli("cluster", "nodes", host=host).splitlines():
        name, place, flags, *_ = words = line.split()
        ranges = [word.split("-") for word in words[8:] if word[0].isdigit()]
        if "fail" not in flags:
            found[place.split(":")[0]] = sum(int(each[-1]) - int(each[0]) + 1 for each in ranges)
    return found


def agree(*services: str) -> bool:
    """Whether these have all slots among them, and know it."""
    seen = [owners(NODES[service]) for service in services]
    is_up = all("cluster_state:ok" in cli("cluster", "info", host=NODES[service]) for service in services)
    return is_up and all(one == seen[0] and sum(one.values()) == SLOTS for one in seen)


def has_its_share(service: str) -> bool:
    return all(owners(host).get(NODES[service], 0) > SLOTS // 4 for host in NODES.values())


def one_node() -> str:
    with up(ONE, "basalt"):
        # Through the ports that are published.
        until("it serves", lambda: with_password("ping") == "PONG")
        refused = cli("ping")
        assert "NOAUTH" in refused, refused
        assert with_password("set", "greeting", "hello") == "OK"
        assert with_password("config", "get", "maxmemory").splitlines()[1] == str(1 << 30)
        assert fetch(26379, "/health")[0] == 200 and "basalt_build_info" in fetch(26379, "/metrics")[2]
        crash(name_of("basalt"))
        until("it serves again", lambda: with_password("get", "greeting") == "hello")
        compose(ONE, "down")
        compose(ONE, "up", "--detach", "--no-build")
        until("its volume is there again", lambda: with_password("get", "greeting") == "hello")
        limits = Path(f"/proc/{state(name_of('basalt'))['Pid']}/limits").read_text()
    return next(line for line in limits.splitlines() if "open files" in line)


def without_a_password_it_is_not_started() -> None:
    without = {name: value for name, value in os.environ.items() if name != "BASALT_PASSWORD"}
    try:
        run("podman-compose", "--file", ONE, "up", "--detach", "--no-build", env=without)
    except AssertionError as problem:
        assert "set BASALT_PASSWORD" in str(problem), problem
    else:
        raise AssertionError("it was started")
    finally:
        engine.forget_containers()


def crash(container: str) -> None:
    """Its restart policy is to bring it back."""
    before = state(container)["Pid"]
    os.kill(before, signal.SIGKILL)
    until("it has been restarted", lambda: state(container)["Pid"] not in (0, before))


def a_cluster() -> str:
    with up(THREE, *NODES):
        until("all slots have owners", lambda: agree(*NODES) and all(has_its_share(service) for service in NODES))
        # As the head of the file says.
        assert client("set", "greeting", "hello") == "OK" and client("get", "greeting") == "hello"
        crash(name_of("node-2"))
        until("it has its share again", lambda: agree(*NODES) and has_its_share("node-2"))
        podman("kill", "--signal", "KILL", name_of("node-1"))
        until("the others have its slots", lambda: agree("node-2", "node-3") and left_by("node-1"))
        assert client("get", "greeting", host=NODES["node-3"]) == "hello"
        podman("start", name_of("node-1"))
        until("it has its share again", lambda: agree(*NODES) and has_its_share("node-1"))
        compose(THREE, "stop", *NODES)
        codes = [state(name_of(service))["ExitCode"] for service in NODES]
        assert codes == [0, 0, 0], codes
        for service in NODES:
            podman("start", name_of(service))
        until("all is as it was", lambda: agree(*NODES) and client("get", "greeting") == "hello")
        compose(THREE, "stop", *NODES)
    return "a crash, a node that is away for long, and a stop of all"


def left_by(service: str) -> bool:
    others = [host for name, host in NODES.items() if name != service]
    return all(not owners(host).get(NODES[service]) for host in others)


def client(*words: str, host: str = NODES["node-1"]) -> str:
    return compose(THREE, "--profile", "tools", "run", "--rm", "-T", "client", "-c", "-h", host, *words).strip()


def prometheus_scrapes_all() -> str:
    with up(THREE, *NODES, "prometheus"):
        until("all slots have owners", lambda: agree(*NODES))
        # Through the port that is published.
        until("all three are up", lambda: len(asked("query?query=up%20==%201")["result"]) == len(NODES))
        groups = asked("rules")["groups"]
        rules = [rule for group in groups for rule in group["rules"]]
        assert rules, groups
        until("all rules were evaluated", lambda: all(rule["health"] == "ok" for group in asked("rules")["groups"]
                                                      for rule in group["rules"]))
        # Where Grafana's data source says that it is.
        assert "ready" in asked_from_within("prometheus", 9090, "/-/ready").lower()
    return f"{len(rules)} rules"


def asked(path: str) -> dict:
    status, _, text = fetch(9090, f"/api/v1/{path}")
    assert status == 200, text
    return json.loads(text)["data"]


def asked_from_within(name: str, port: int, path: str) -> str:
    """By a container of the network that Grafana is in, by name."""
    networks = podman("network", "ls", "--format", "{{.Name}}").split()
    network = next(one for one in networks if one.endswith("outside"))
    script = f"exec 3<>/dev/tcp/{name}/{port}; printf 'GET {path} HTTP/1.0\\r\\n\\r\\n' >&3; cat <&3"
    return podman("run", "--rm", "--network", network, "tools", "bash", "-c", script)


CASES = [one_node, without_a_password_it_is_not_started, a_cluster, prometheus_scrapes_all]
