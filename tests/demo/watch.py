"""`make demo WATCH=1`: a Prometheus beside the cluster, with the example that the docs give.

It is a process of the cluster (`tests.cluster.processes`): it lives in the cluster's network, is
found again by its note, and goes with the cluster. Debian's Prometheus is built without discovery
by Kubernetes, so a companion writes what that discovery would find into a file; the example's
relabelling is used as it is.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from tests.cluster import processes
from tests.cluster.packages import RULE_PACKAGES, install_packages
from tests.cluster.settings import ClusterError, Settings
from tests.cluster.shell import wait_until
from tests.dashboards.boards import read_boards
from tests.dashboards.browser import DASHBOARDS
from tests.dashboards.built import find as find_built
from tests.dashboards.check import draw
from tests.dashboards.server import SCRAPE_SECONDS, Server
from tests.e2e.kit.api import Api, ApiError
from tests.e2e.kit.release import ROOT

Json = dict[str, Any]

PART = "demo-prometheus"
"""Name under which the cluster notes it."""
PORT = 19091
URL = f"http://127.0.0.1:{PORT}"
"""Inside the cluster's network."""
EXAMPLE = ROOT / "manifests/watch/prometheus.yaml"
RULES = ROOT / "charts/trimtab/files/rules.yaml"
PICTURES = ROOT / ".watch"
REACHED = f"""\
Prometheus goes on watching, at {URL} in the cluster's network. To look into it in a browser, at
http://127.0.0.1:{PORT}, for as long as this runs:
  socat TCP-LISTEN:{PORT},bind=127.0.0.1,reuseaddr,fork \\
    EXEC:'python3 -m tests.cluster run -- socat STDIO TCP\\:127.0.0.1\\:{PORT}'
To stop it: make demo-clean, which removes the rest of the demo too."""
_FOUND = "pods.json"
_LOOK_SECONDS = 1.0
_LONGEST_SECONDS = 3600
_NAME = "__meta_kubernetes_"


def start(settings: Settings) -> None:
    """Start it anew with nothing recorded; ClusterError where that is not possible."""
    if os.environ.get("KUBE_CONTEXT"):
        raise ClusterError("WATCH=1 needs the project's own cluster: unset KUBE_CONTEXT")
    install_packages({"prometheus": "/usr/bin/prometheus", **RULE_PACKAGES})
    stop(settings)
    folder = folder_of(settings)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "rules.yaml").write_text(RULES.read_text())
    (folder / "prometheus.yml").write_text(yaml.safe_dump(configuration(EXAMPLE.read_text())))
    (folder / _FOUND).write_text("[]")
    module = [sys.executable, "-m", "tests.demo.watch", str(folder)]
    here = ["env", f"--chdir={ROOT}", f"PYTHONPATH={ROOT}:{ROOT / 'operator'}"]
    processes.start(settings, PART, [*here, *module])
    wait_until(Server(URL).is_ready, f"{PART} ({settings.logs / PART}.log says why)", 60)


def stop(settings: Settings) -> bool:
    """End it, if it runs; return whether it did. What it recorded goes with the cluster."""
    did_run = processes.is_running(settings, PART)
    processes.end(settings, PART, seconds=30)
    return did_run


def pictures(settings: Settings) -> str:
    """Write a picture of each dashboard as it is now; return what was done or why not."""
    built = find_built(settings)
    if built is None:
        return "no pictures of the dashboards: `python -m tests.dashboards prepare` says why"
    server = Server(URL)
    end = int(time.time())
    seen = server.query(f"up[{_LONGEST_SECONDS}s]", end)
    begin = int(min((series.points[0][0] for series in seen), default=end - 60))
    PICTURES.mkdir(exist_ok=True)
    try:
        wrong = draw(built, server, begin, end, read_boards(DASHBOARDS), PICTURES)
    except RuntimeError as error:
        return f"no pictures of the dashboards: {error}"
    return "\n".join([f"pictures of the dashboards: {PICTURES.name}/", *wrong])


def folder_of(settings: Settings) -> Path:
    """Return where it has its configuration and its data."""
    return settings.state / "watch"


def configuration(example: str) -> Json:
    """Return the example's configuration with the pods from a file, and a shorter interval."""
    found: Json = yaml.safe_load(example)
    # A demo is over in minutes: the usual 15 or 30 s would make steps of its curves.
    found["global"] = {
        "scrape_interval": f"{SCRAPE_SECONDS}s",
        "scrape_timeout": f"{SCRAPE_SECONDS}s",
        "evaluation_interval": f"{SCRAPE_SECONDS}s",
    }
    found.pop("alerting", None)  # there is no Alertmanager beside a demo
    for job in found["scrape_configs"]:
        (discovery,) = job.pop("kubernetes_sd_configs")
        job.pop("scrape_interval", None)
        job["file_sd_configs"] = [{"files": [_FOUND], "refresh_interval": "1s"}]
        job["relabel_configs"] = [*_narrowed(discovery), *job["relabel_configs"]]
    return found


def _narrowed(discovery: Json) -> list[Json]:
    """Return the discovery's own selection as relabelling: the file has all pods."""
    named = (discovery.get("namespaces") or {}).get("names")
    kept = [(f"{_NAME}namespace", "|".join(named))] if named else []
    for selector in discovery.get("selectors", []):
        label, value = selector["label"].split("=")
        kept.append((_meta_label(label), value))
    return [{"source_labels": [name], "regex": regex, "action": "keep"} for name, regex in kept]


def found_as(pods: list[Json]) -> list[Json]:
    """Return the targets that role `pod` of the discovery finds, one for each port of a pod."""
    return [
        {"targets": [f"{pod['status']['podIP']}:{port['containerPort']}"], "labels": labels}
        for pod in pods
        if pod.get("status", {}).get("podIP") and pod["status"].get("phase") == "Running"
        for container in pod["spec"]["containers"]
        for port in container.get("ports", [])
        for labels in [_meta(pod, container, port)]
    ]


def _meta_label(name: str) -> str:
    return f"{_NAME}pod_label_{''.join(c if c.isalnum() else '_' for c in name)}"


def _meta(pod: Json, container: Json, port: Json) -> dict[str, str]:
    metadata = pod["metadata"]
    labels = {_meta_label(name): value for name, value in (metadata.get("labels") or {}).items()}
    return {
        **labels,
        f"{_NAME}namespace": metadata["namespace"],
        f"{_NAME}pod_name": metadata["name"],
        f"{_NAME}pod_container_name": container["name"],
        f"{_NAME}pod_container_port_name": port.get("name", ""),
        f"{_NAME}pod_phase": pod["status"]["phase"],
    }


def main(folder: Path) -> int:
    """Run Prometheus in a folder until a signal ends this process; return its exit status."""
    is_over = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: is_over.set())
    with _prometheus(folder) as process:
        api = Api("")
        while not is_over.wait(_LOOK_SECONDS) and process.poll() is None:
            with contextlib.suppress(ApiError, OSError, ValueError):
                pods = api.call("GET", "/api/v1/pods?resourceVersion=0")["items"]
                written = folder / f"{_FOUND}.new"
                written.write_text(json.dumps(found_as(pods)))
                written.replace(folder / _FOUND)
        return 0 if is_over.is_set() else 1


@contextlib.contextmanager
def _prometheus(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [
            "/usr/bin/prometheus",
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{PORT}",
        ],
        cwd=folder,
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
