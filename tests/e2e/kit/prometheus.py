"""A real Prometheus beside the cluster, which scrapes the pods of one namespace each second.

Debian builds it without discovery by Kubernetes: a thread writes the pods into a file for it.
"""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import httpx
from tests.cluster.settings import NODE_ADDRESS
from tests.e2e.kit.api import Api, ApiError, until
from tests.patience import stretched

PROGRAM = Path("/usr/bin/prometheus")
PORT = 19090
METRICS_PORT = 9090
URL = f"http://{NODE_ADDRESS}:{PORT}"

_CONFIGURATION = """\
global: {scrape_interval: 1s, scrape_timeout: 1s}
scrape_configs:
- job_name: models
  file_sd_configs:
  - {files: [pods.json], refresh_interval: 1s}
"""


class Prometheus:
    """One server with its data in a folder; it can be stopped and started again."""

    def __init__(self, folder: Path, api: Api) -> None:
        self._folder = folder
        self._api = api
        self._process: subprocess.Popen[bytes] | None = None
        self._is_over = threading.Event()
        self._finding = threading.Thread(target=self._find_pods, daemon=True)

    def start(self) -> None:
        """Start, and wait until it answers."""
        configuration = self._folder / "prometheus.yml"
        configuration.write_text(_CONFIGURATION)
        if not self._finding.is_alive():
            self._write_pods()
            self._finding.start()
        with (self._folder / "prometheus.log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    str(PROGRAM),
                    f"--config.file={configuration}",
                    f"--storage.tsdb.path={self._folder / 'data'}",
                    f"--web.listen-address={NODE_ADDRESS}:{PORT}",
                ],
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        until("Prometheus answers", self.is_ready, 60)

    def close(self) -> None:
        """End everything."""
        self._is_over.set()
        self.stop()
        self._finding.join(timeout=10)

    def _find_pods(self) -> None:
        while not self._is_over.wait(0.3):
            with contextlib.suppress(ApiError, OSError):
                self._write_pods()

    def _write_pods(self) -> None:
        found = [
            {
                "targets": [f"{pod['status']['podIP']}:{METRICS_PORT}"],
                "labels": {"namespace": self._api.namespace, "pod": pod["metadata"]["name"]},
            }
            for pod in self._api.list("Pod", "app.kubernetes.io/managed-by=trimtab")
            if pod.get("status", {}).get("podIP")
        ]
        written = self._folder / "pods.json.new"
        written.write_text(json.dumps(found))
        written.replace(self._folder / "pods.json")

    def is_ready(self) -> bool:
        """Return whether it answers queries."""
        try:
            return httpx.get(f"{URL}/-/ready", timeout=stretched(2.0)).status_code == 200
        except httpx.HTTPError:
            return False

    def stop(self) -> None:
        """End it and wait; its data stay."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(timeout=stretched(60))
            self._process = None

    def wait_for(self, pods: Callable[[], list[str]]) -> None:
        """Wait until it has scraped all of these pods."""
        until("Prometheus sees the pods", lambda: set(pods()) <= self.seen(), 60)

    def seen(self) -> set[str]:
        """Return the pods that it scrapes now."""
        query = {"query": "up{job='models'} == 1"}
        answer = httpx.get(f"{URL}/api/v1/query", params=query, timeout=stretched(5.0)).json()
        return {one["metric"]["pod"] for one in answer["data"]["result"]}
