"""The cluster tool itself, on a cluster of its own beside the one that other tests use."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cluster import node, processes
from tests.cluster.archive import Image, write_image
from tests.cluster.settings import REPOSITORY, Settings, read_settings
from tests.cluster.shell import wait_until
from tests.patience import stretched

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(900),
    pytest.mark.skipif("KUBE_CONTEXT" in os.environ, reason="a context is neither made nor ended"),
]
BUSYBOX = "localhost/busybox:test"

WEB = f"""
apiVersion: v1
kind: Pod
metadata: {{name: web, labels: {{app: web}}}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: web
    image: {BUSYBOX}
    args: [sh, -c, "echo started; exec httpd -f -v -p 8080 -h /etc"]
    readinessProbe: {{tcpSocket: {{port: 8080}}, periodSeconds: 1}}
---
apiVersion: v1
kind: Service
metadata: {{name: web}}
spec:
  selector: {{app: web}}
  ports: [{{port: 80, targetPort: 8080}}]
"""

KIND_WITH_RULE = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: things.test.trimtab.dev}
spec:
  group: test.trimtab.dev
  scope: Namespaced
  names: {kind: Thing, plural: things}
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            properties: {low: {type: integer}, high: {type: integer}}
            x-kubernetes-validations:
            - {rule: self.low < self.high, message: low must be below high}
"""


class Cluster:
    """The tool as a person calls it, for the cluster of this test."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def tool(self, *words: str, text: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "tests.cluster", *words],
            cwd=REPOSITORY,
            input=text,
            capture_output=True,
            text=True,
            check=False,
            timeout=stretched(800),
        )

    def must(self, *words: str) -> str:
        done = self.tool(*words)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def kubectl(self, *words: str, text: str = "") -> subprocess.CompletedProcess[str]:
        return self.tool("run", "--", "kubectl", *words, text=text)

    def apply(self, document: str, *words: str) -> subprocess.CompletedProcess[str]:
        return self.kubectl("apply", "--server-side", *words, "-f", "-", text=document)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    patch = pytest.MonkeyPatch()
    patch.setenv("TRIMTAB_CLUSTER_NAME", "tool-test")
    cluster = Cluster(read_settings())
    cluster.must("down")
    yield cluster
    cluster.must("down")
    patch.undo()


def traces_of(settings: Settings) -> list[str]:
    """Whatever of a cluster is still on the machine."""
    found = [str(path) for path in (settings.state, settings.namespace) if path.exists()]
    found += [str(path) for path in Path("/sys/fs/cgroup").glob(f"*/{settings.cgroup}")]
    mounts = Path("/proc/self/mountinfo").read_text()
    found += [line for line in mounts.splitlines() if settings.name in line]
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if f"/{settings.cgroup}" in (process / "cgroup").read_text():
                found.append((process / "cmdline").read_text())
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def shim_sockets() -> set[Path]:
    return set(Path("/run/containerd").glob("s/*"))


def import_busybox(cluster: Cluster, archive: Path) -> None:
    links = ("sh", "httpd", "nc", "nslookup")
    binary = Path("/usr/bin/busybox")
    files = {f"/bin/{name}": binary for name in links}
    files["/etc/page"] = Path("/etc/debian_version")
    write_image(Image(BUSYBOX, files, [], ["/bin/sh"]), archive)
    subprocess.run(
        [*node.ctr(cluster.settings), "images", "import", str(archive)],
        check=True,
        capture_output=True,
    )


def test_runs_pods_with_services_names_logs_and_exec(cluster: Cluster, tmp_path: Path) -> None:
    cluster.must("up")
    parts = processes.noted_parts(cluster.settings)
    began = time.monotonic()
    cluster.must("up")
    assert time.monotonic() - began < 15
    assert processes.noted_parts(cluster.settings) == parts

    import_busybox(cluster, tmp_path / "busybox.tar")
    applied = cluster.apply(WEB)
    assert applied.returncode == 0, applied.stderr
    ready = cluster.kubectl(
        "wait", "pod/web", "--for=condition=Ready", f"--timeout={stretched(60):.0f}s"
    )
    assert ready.returncode == 0, ready.stderr
    looked_up = cluster.kubectl("exec", "web", "--", "nslookup", "web.default.svc.cluster.local")
    address = cluster.kubectl("get", "service", "web", "-o", "jsonpath={.spec.clusterIP}").stdout
    assert f"Address: {address}" in looked_up.stdout, looked_up.stderr
    content = Path("/etc/debian_version").read_text().strip()
    request = f"printf 'GET /page HTTP/1.0\\r\\n\\r\\n' | nc {address} 80"
    fetch = ["exec", "web", "--", "sh", "-c", request]
    # the rules for a Service follow its endpoints within about a second
    wait_until(lambda: content in cluster.kubectl(*fetch).stdout, "page from the Service", 10)
    assert "started" in cluster.kubectl("logs", "web").stdout
    from_node = f"import urllib.request as r; print(r.urlopen('http://{address}/page').read())"
    assert content in cluster.tool("run", "--", sys.executable, "-c", from_node).stdout


def test_checks_rules_and_field_owners(cluster: Cluster) -> None:
    cluster.must("up")
    assert cluster.apply(KIND_WITH_RULE).returncode == 0
    waited = cluster.kubectl(
        "wait",
        "crd/things.test.trimtab.dev",
        "--for=condition=Established",
        f"--timeout={stretched(30):.0f}s",
    )
    assert waited.returncode == 0, waited.stderr

    def thing(low: int) -> str:
        return json.dumps(
            {
                "apiVersion": "test.trimtab.dev/v1",
                "kind": "Thing",
                "metadata": {"name": "one"},
                "spec": {"low": low, "high": 3},
            }
        )

    assert "low must be below high" in cluster.apply(thing(5)).stderr
    assert cluster.apply(thing(1), "--field-manager=first").returncode == 0
    assert "conflict" in cluster.apply(thing(2), "--field-manager=second").stderr


def test_down_leaves_nothing_behind_after_half_the_parts_were_killed(cluster: Cluster) -> None:
    sockets = shim_sockets()
    cluster.must("up")
    parts = processes.noted_parts(cluster.settings)
    for part in ("containerd", "kubelet", "etcd", "proxy", processes.HOLDER):
        pid = parts[part]
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
    assert cluster.tool("status").returncode == 1

    cluster.must("down")

    # ended processes are listed until init has collected them
    wait_until(lambda: traces_of(cluster.settings) == [], "no trace of the cluster", 5)
    assert shim_sockets() <= sockets


def test_starts_again_what_died(cluster: Cluster) -> None:
    cluster.must("up")
    killed = processes.noted_parts(cluster.settings)["scheduler"]
    assert killed is not None
    os.kill(killed, signal.SIGKILL)

    cluster.must("up")

    assert cluster.tool("status").returncode == 0
    assert processes.noted_parts(cluster.settings)["scheduler"] != killed


def test_a_reused_pid_is_not_taken_for_a_part(cluster: Cluster) -> None:
    cluster.must("up")
    note = cluster.settings.state / "pids" / "scheduler"
    kept = note.read_text()
    note.write_text(f"{os.getpid()} 1\n")
    assert processes.noted_parts(cluster.settings)["scheduler"] is None
    note.write_text(kept)
