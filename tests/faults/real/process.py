"""The operator as a process of this machine, started again whenever it ends."""

from __future__ import annotations

import os
import signal
import ssl
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path

import kubernetes
from tests.e2e.kit.api import Api, Json
from tests.e2e.kit.artifacts import credentials
from tests.e2e.kit.operator_process import COMPONENT
from tests.e2e.kit.release import SYSTEM
from tests.faults.real.proxy import Proxy, kubeconfig
from tests.patience import stretched

ROOT = Path(__file__).parents[3]
TOKEN_SECONDS = 7200
AGAIN_SECONDS = 0.2
COPIED = (
    "TRIMTAB_SERVING_IMAGE",
    "TRIMTAB_SERVING_ONNX_IMAGE",
    "TRIMTAB_SERVING_TABLES_IMAGE",
    "TRIMTAB_TRAINING_IMAGE",
)


class Operator:
    """`with Operator() as operator:` runs it beside the release, whose own is away."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self.log = Path(self._folder.name) / "operator.log"
        self.starts = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._is_over = False
        self._ended = threading.Event()
        self.proxy = _proxy()
        self.proxy.kill = self.kill

    def __enter__(self) -> Operator:
        self.proxy.__enter__()
        self._environment = self._prepared()
        self._thread = threading.Thread(target=self._keep_running, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._is_over = True
        self._ended.set()
        self._signal(signal.SIGTERM)
        self._thread.join(stretched(20))
        self.proxy.__exit__()
        self._folder.cleanup()

    def kill(self) -> None:
        """End the process by SIGKILL; returns when it is gone. The next one starts at once."""
        process = self._process
        if process is not None:
            process.kill()
            process.wait(stretched(10))

    def _signal(self, number: int) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)

    def _keep_running(self) -> None:
        command = [sys.executable, "-m", "trimtab.handlers.main"]
        with self.log.open("ab") as log:
            while not self._is_over:
                self.starts += 1
                self._process = subprocess.Popen(
                    command, env=self._environment, stdout=log, stderr=log, cwd=self._folder.name
                )
                self._process.wait()
                # One that ends by itself each time would end again at once.
                self._ended.wait(AGAIN_SECONDS)

    def _prepared(self) -> dict[str, str]:
        folder = Path(self._folder.name)
        (folder / "kubeconfig").write_text(kubeconfig(self.proxy.url))
        (folder / "seed").write_bytes(b"s" * 32)
        (folder / "keys").mkdir()
        credentials(folder / "keys")
        own = {
            "KUBECONFIG": str(folder / "kubeconfig"),
            "TRIMTAB_NAMESPACE": SYSTEM,
            "TRIMTAB_POD_NAME": "level-2",
            "TRIMTAB_LEASE_NAME": "trimtab",
            "TRIMTAB_HTTP_PORT": "0",
            "TRIMTAB_STORE_CREDENTIALS": str(folder / "keys"),
            "TRIMTAB_SIGNING_KEY_FILE": str(folder / "seed"),
            "TRIMTAB_CHECKPOINT_URI": f"{folder.as_uri()}/kept",
            "PYTHONPATH": str(ROOT / "operator"),
        }
        return {**os.environ, **_of_release(), **own}


def _of_release() -> Mapping[str, str]:
    workload = _workload()
    (container,) = workload["spec"]["template"]["spec"]["containers"]
    return {e["name"]: e["value"] for e in container["env"] if e["name"] in COPIED}


def _workload() -> Json:
    (workload,) = Api(SYSTEM).list("Workload", COMPONENT)
    return workload


def _proxy() -> Proxy:
    """Return a proxy with the rights of the release's operator."""
    api = Api(SYSTEM)
    configuration = kubernetes.client.Configuration.get_default_copy()
    account = _workload()["spec"]["template"]["spec"]["serviceAccountName"]
    made = api.call(
        "POST",
        f"/api/v1/namespaces/{SYSTEM}/serviceaccounts/{account}/token",
        {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": TOKEN_SECONDS},
        },
    )
    tls = ssl.create_default_context(cafile=configuration.ssl_ca_cert)
    return Proxy(configuration.host, tls, made["status"]["token"])
