"""toxiproxy: a proxy of somebody else that spoils connections as it is told, over its HTTP API."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
from tests.alerts.loopback import free_port
from tests.cluster.packages import TOXIPROXY, built_program
from tests.cluster.settings import read_settings
from tests.patience import Limit

STARTS_WITHIN = 30.0


def find_toxiproxy() -> str | None:
    """Return the program; None before the cluster tool built it."""
    built = built_program(read_settings(), TOXIPROXY)
    return os.environ.get("TOXIPROXY") or (str(built) if built.exists() else None)


@dataclass(frozen=True)
class Toxiproxy:
    """A running one, and its HTTP API."""

    api: httpx.Client

    def proxy(self, name: str, upstream: str) -> str:
        """Listen in front of `HOST:PORT`; return where."""
        made = self._post("/proxies", name=name, listen="127.0.0.1:0", upstream=upstream)
        return str(made["listen"])

    def spoil(self, name: str, kind: str, stream: str = "downstream", **attributes: Any) -> None:
        """Add a toxic. downstream: to us; upstream: to the receiver."""
        self._post(f"/proxies/{name}/toxics", type=kind, stream=stream, attributes=attributes)

    def set_up(self, name: str, *, enabled: bool) -> None:
        """Let nobody in, or everybody again."""
        self._post(f"/proxies/{name}", enabled=enabled)

    def mend(self) -> None:
        """Take all toxics away and enable all proxies."""
        self.api.post("/reset").raise_for_status()

    def _post(self, path: str, **body: Any) -> Any:
        answer = self.api.post(path, json=body)
        assert answer.is_success, answer.text
        return answer.json()


@contextmanager
def toxiproxy(program: str) -> Iterator[Toxiproxy]:
    """Run one on loopback until the block ends."""
    port = free_port()
    process = subprocess.Popen(
        [program, "-host", "127.0.0.1", "-port", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as api:
            limit = Limit(STARTS_WITHIN)
            while not _answers(api):
                assert process.poll() is None, "toxiproxy has ended"
                assert not limit.is_over(), "toxiproxy does not answer"
            yield Toxiproxy(api)
    finally:
        process.terminate()
        process.wait()


def _answers(api: httpx.Client) -> bool:
    try:
        return api.get("/version").is_success
    except httpx.TransportError:
        return False
