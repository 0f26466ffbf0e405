"""The pods of kubernetes/basalt.yaml, as podman runs them: what the StatefulSet says of its container (environment,
user, file system, capabilities, preStop, readiness, how long it may take to end) is taken from it; the rest is what
Kubernetes would do: names that stay while addresses change, a volume for each pod, updates from the last pod to the
first, each when the one before has been ready for long enough. Policies and placement are not tried."""

import sys
import threading
import time
import traceback
from contextlib import contextmanager

import yaml

import engine
from engine import ROOT, podman, run, state
from exposition import fetch
from nodes import until
from redis.cluster import RedisCluster

SECRETS = {"password": "of-the-test", "cluster-secret": "0123456789abcdef0123456789abcdef"}
NETWORK = "pods"
PREFIX = "10.92.0."
SLOTS = 16384
DOCUMENTS = list(yaml.safe_load_all((ROOT / "kubernetes/basalt.yaml").read_text()))


def document(kind: str, name: str) -> dict:
    found = [one for one in DOCUMENTS if (one["kind"], one["metadata"]["name"]) == (kind, name)]
    assert len(found) == 1, f"{kind} {name}: {found}"
    return found[0]


SET = document("StatefulSet", "basalt")["spec"]
POD = SET["template"]["spec"]
CONTAINER = POD["containers"][0]


class Pod:
    """Its name and its volume stay; it gets another address with each start."""

    addresses = 10

    def __init__(self, number: int):
        self.name, self.address = f"basalt-{number}", ""
        assert CONTAINER["volumeMounts"] == [{"name": "data", "mountPath": "/data"}]
        podman("volume", "create", self.name)
        # As a volume with an fsGroup is given to a pod.
        place = podman("volume", "inspect", "--format", "{{.Mountpoint}}", self.name).strip()
        run("chown", f"0:{POD['securityContext']['fsGroup']}", place)
        run("chmod", "2775", place)

    def start(self) -> None:
        Pod.addresses += 1
        self.address = f"{PREFIX}{Pod.addresses}"
        podman("run", "--detach", "--name", self.name, "--hostname", self.name, "--network", NETWORK,
               "--ip", self.address, "--network-alias", f"{self.name}.{SET['serviceName']}",
               "--volume", f"{self.name}:/data:nocopy", *self.environment(), *confinement(), CONTAINER["image"])

    def environment(self) -> list:
        words = []
        for variable in CONTAINER["env"]:
            words += ["--env", f"{variable['name']}={self.value(variable)}"]
        return words

    def value(self, variable: dict) -> str:
        if "value" in variable:
            return variable["value"]
        source = variable["valueFrom"]
        if "fieldRef" in source:
            return {"status.podIP": self.address}[source["fieldRef"]["fieldPath"]]
        return SECRETS[source["secretKeyRef"]["key"]]

    def is_ready(self) -> bool:
        """As the kubelet asks: from outside the pod."""
        return self.asked(CONTAINER["readinessProbe"]) == 200

    def is_alive(self) -> bool:
        return self.asked(CONTAINER["livenessProbe"]) == 200

    def asked(self, probe: dict) -> int:
        ports = {port["name"]: port["containerPort"] for port in CONTAINER["ports"]}
        return fetch(ports[probe["httpGet"]["port"]], probe["httpGet"]["path"], host=self.address)[0]

    def end(self) -> float:
        """preStop, then the signal; both within the time that it has. The seconds that it took."""
        started = time.monotonic()
        podman("exec", self.name, *CONTAINER["lifecycle"]["preStop"]["exec"]["command"])
        left = POD["terminationGracePeriodSeconds"] - (time.monotonic() - started)
        podman("stop", "--time", str(int(left)), self.name)
        ended = state(self.name)
        assert ended["ExitCode"] == 0, f"{self.name}: {ended}"
        podman("rm", self.name)
        return time.monotonic() - started

    def cli(self, *words: str) -> str:
        return run("redis-cli", "-h", self.address, "-a", SECRETS["password"], "--no-auth-warning", *words,
                   check=False).strip()

    def owners(self) -> dict:
        """Addresses, and how many slots each has."""
        found = {}
        for line in self.cli("cluster", "nodes").splitlines():
            words = line.split()
            ranges = [word.split("-") for word in words[8:] if word[0].isdigit()]
            found[words[1].split(":")[0]] = sum(int(each[-1]) - int(each[0]) + 1 for each in ranges)
        return found


def confinement() -> list:
    """Podman's options for what the manifest says of users and rights."""
    of_pod, own = POD["securityContext"], CONTAINER["securityContext"]
    assert of_pod["runAsNonRoot"] and of_pod["seccompProfile"] == {"type": "RuntimeDefault"}
    assert own == {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
    return ["--user", f"{of_pod['runAsUser']}:{of_pod['runAsGroup']}", "--read-only", "--read-only-tmpfs=false",
            "--security-opt", "no-new-privileges", "--cap-drop", "ALL"]


@contextmanager
def stateful_set():
    podman("network", "create", "--subnet", f"{PREFIX}0/24", NETWORK)
    pods = [Pod(number) for number in range(SET["replicas"])]
    try:
        # They come together, and the first finds no name of the others.
        for pod in pods:
            pod.start()
        until("all are ready", lambda: all(pod.is_ready() for pod in pods))
        until("all slots have owners", lambda: agree(pods))
        yield pods
    except BaseException:
        for pod in pods:
            print(f"--- {pod.name}:", engine.logs(pod.name)[-3000:], sep="\n")
        raise
    finally:
        engine.forget_containers()


def agree(pods: list) -> bool:
    """Whether all show the present addresses, and no others, with a share of the slots each."""
    shares = [pod.owners() for pod in pods]
    is_fair = set(shares[0]) == {pod.address for pod in pods} and min(shares[0].values()) > SLOTS // 4
    return is_fair and sum(shares[0].values()) == SLOTS and all(one == shares[0] for one in shares)


class Writer:
    """A cluster client with its own settings, but for one, which begins at one pod and learns of the others."""

    def __init__(self, pod: Pod):
        # Others write as well, and what they write is not what this one expects to read.
        self.name = pod.name
        # By itself it waits for minutes for an address at which nobody is any more.
        self.client = RedisCluster(host=pod.address, password=SECRETS["password"], socket_connect_timeout=2)
        self.calls, self.errors, self.is_over = 0, [], threading.Event()
        self.thread = threading.Thread(target=self.work, daemon=True)
        self.thread.start()

    def work(self) -> None:
        while not self.is_over.is_set():
            key = f"{self.name}:key:{self.calls % 1000}"
            try:
                assert self.client.set(key, self.calls) is True
                assert self.client.get(key) == str(self.calls).encode(), "another value than it has written"
            except Exception as error:  # noqa: BLE001: whatever it is, it is the result
                self.errors.append(f"call {self.calls}: {error!r}")
            self.calls += 1

    def goes_on(self) -> None:
        before = self.calls
        try:
            until("the client goes on", lambda: self.calls > before + 100 or self.errors)
        except AssertionError as problem:
            stack = traceback.format_stack(sys._current_frames()[self.thread.ident])
            raise AssertionError(f"{problem}; it is in {''.join(stack)}") from problem

    def end(self) -> int:
        self.goes_on()
        self.is_over.set()
        self.thread.join()
        assert not self.errors, f"{len(self.errors)} errors in {self.calls} calls: {self.errors[:3]}"
        return self.calls


def an_update_is_not_noticed() -> str:
    with stateful_set() as pods:
        names = {pod.name: pod.cli("cluster", "myid") for pod in pods}
        writers = [Writer(pod) for pod in pods]
        took = []
        for pod in reversed(pods):
            took.append(pod.end())
            pod.start()
            until(f"{pod.name} has been ready for long enough", stays_ready(pod, SET["minReadySeconds"]))
        for writer in writers:
            writer.goes_on()
        until("all know the new addresses", lambda: agree(pods))
        assert {pod.name: pod.cli("cluster", "myid") for pod in pods} == names, "one has got another name"
        calls = sum(writer.end() for writer in writers)
    return f"{calls} calls, no error; a pod took {max(took):.1f} s to end"


def stays_ready(pod: Pod, seconds: int):
    since = None

    def is_so() -> bool:
        nonlocal since
        try:
            is_ready = pod.is_ready()
        except OSError:
            is_ready = False
        since = (since or time.monotonic()) if is_ready else None
        return is_ready and time.monotonic() - since >= seconds

    return is_so


def all_come_back_at_other_addresses() -> None:
    """After all nodes of a Kubernetes were lost: nobody knows anybody's address."""
    with stateful_set() as pods:
        assert pods[0].cli("-c", "set", "greeting", "hello") == "OK"
        for pod in pods:
            podman("rm", "--force", "--time", "0", pod.name)
        for pod in pods:
            pod.start()
        until("they have found each other", lambda: all(pod.is_ready() for pod in pods) and agree(pods))
        assert pods[0].cli("-c", "get", "greeting") == "hello"


def probes_tell_what_is() -> None:
    with stateful_set() as pods:
        for pod in pods[1:]:
            podman("kill", "--signal", "KILL", pod.name)
        # It is alone, which is no reason to restart it, but to send nobody to it.
        until("it is not ready", lambda: not pods[0].is_ready())
        assert pods[0].is_alive()


CASES = [an_update_is_not_noticed, all_come_back_at_other_addresses, probes_tell_what_is]
