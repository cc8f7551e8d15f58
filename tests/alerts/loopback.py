"""A Prometheus and an Alertmanager on loopback, with a page of our series and a webhook."""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.alerts.promtool import ROOT, RULES
from tests.patience import Limit, stretched

EXAMPLE = ROOT / "manifests/watch/alertmanager.yaml"
_HOOKS = "http://hooks.example.com"
_QUICK = {"group_wait: 30s": "group_wait: 0s", "group_interval: 5m": "group_interval: 1s"}
_BRIDGED = {"[2m]": "[3s]"}
"""Alerts last on for that long, which `promtool test rules` has shown."""
_PROMETHEUS = """\
global: {{scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}}
rule_files: [{rules}]
alerting:
  alertmanagers:
  - static_configs:
    - targets: ['127.0.0.1:{alertmanager}']
scrape_configs:
- job_name: trimtab
  honor_labels: true
  static_configs:
  - targets: ['127.0.0.1:{page}']
"""


class Page(BaseHTTPRequestHandler):
    """`GET /metrics`, and a webhook at every path."""

    def do_GET(self) -> None:
        """Answer what the operator would show."""
        body = self._stage.text.encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        """Take a message of Alertmanager."""
        message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self._stage.take(self.path.strip("/"), message)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    @property
    def _stage(self) -> Stage:
        assert isinstance(self.server, _Server)
        return self.server.stage


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    stage: Stage


class Stage:
    """What is shown, and what was told to whom."""

    def __init__(self) -> None:
        self.text = ""
        self.told: list[tuple[str, str, str, dict[str, str]]] = []
        """Receiver, alert, firing or resolved, and the annotations."""
        self._changed = threading.Condition()

    def take(self, receiver: str, message: dict[str, Any]) -> None:
        """Note each alert of a message."""
        with self._changed:
            for alert in message["alerts"]:
                name = alert["labels"]["alertname"]
                self.told.append((receiver, name, alert["status"], alert["annotations"]))
            self._changed.notify_all()

    def wait_for(self, receiver: str, alert: str, status: str, limit: Limit) -> dict[str, str]:
        """Return the annotations with which it was told; AssertionError if it is not in time."""
        with self._changed:
            while True:
                for one in self.told:
                    if one[:3] == (receiver, alert, status):
                        return one[3]
                if limit.is_over():
                    said = [one[:3] for one in self.told]
                    raise AssertionError(f"not told: {(receiver, alert, status)}; told: {said}")
                self._changed.wait(0.5)


@contextlib.contextmanager
def running(stage: Stage, folder: Path) -> Iterator[None]:
    """Run all of it; what was started is ended, and nothing listens beyond this machine."""
    server = _Server(("127.0.0.1", 0), Page)
    server.stage = stage
    serving = threading.Thread(target=server.serve_forever, daemon=True)
    serving.start()
    own, prometheus, alertmanager = server.server_address[1], free_port(), free_port()
    hooks = {_HOOKS: f"http://127.0.0.1:{own}"}
    (folder / "alertmanager.yml").write_text(_changed(EXAMPLE, hooks | _QUICK))
    (folder / "rules.yml").write_text(_changed(RULES, _BRIDGED))
    (folder / "prometheus.yml").write_text(
        _PROMETHEUS.format(rules="rules.yml", alertmanager=alertmanager, page=own)
    )
    try:
        with (
            process(
                folder,
                "prometheus-alertmanager",
                f"--config.file={folder / 'alertmanager.yml'}",
                f"--storage.path={folder / 'alertmanager'}",
                f"--web.listen-address=127.0.0.1:{alertmanager}",
                "--cluster.listen-address=",
            ),
            process(
                folder,
                "prometheus",
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'prometheus'}",
                f"--web.listen-address=127.0.0.1:{prometheus}",
            ),
        ):
            yield
    finally:
        server.shutdown()
        server.server_close()
        serving.join()


def check_example() -> str:
    """Return what amtool has against the example; empty if nothing."""
    command = ["amtool", "check-config", str(EXAMPLE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def _changed(file: Path, changes: dict[str, str]) -> str:
    """Return the text of a file with each of these parts replaced."""
    text = file.read_text()
    for old, new in changes.items():
        assert old in text, old
        text = text.replace(old, new)
    return text


@contextlib.contextmanager
def process(folder: Path, name: str, *arguments: str) -> Iterator[None]:
    """Run a program, with its log in the folder, and end it; AssertionError if it ended before."""
    program = shutil.which(name)
    assert program is not None, name
    log_file = folder / f"{name}.log"
    with log_file.open("wb") as log:
        started = subprocess.Popen([program, *arguments], stdout=log, stderr=subprocess.STDOUT)
    try:
        yield
        assert started.poll() is None, log_file.read_text()[-2000:]
    except AssertionError as error:
        error.add_note(f"{name}: {log_file.read_text()[-2000:]}")
        raise
    finally:
        started.send_signal(signal.SIGTERM)
        try:
            started.wait(timeout=stretched(10))
        except subprocess.TimeoutExpired:
            started.kill()
            started.wait()


def free_port() -> int:
    """Return a port of loopback that nobody listens on now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
