"""Server processes on one core, and what they cost."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.bench.serving.models import Model

import trimtab as trimtab_package

SERVER_CORE: Final = 0
SOURCE: Final = str(Path(trimtab_package.__file__).parents[1])
READY_WITHIN_SECONDS: Final = 60.0
_TICKS: Final = os.sysconf("SC_CLK_TCK")
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")


@dataclass
class Running:
    """A server that is ready. Times in seconds, memory in bytes."""

    process: subprocess.Popen[bytes]
    port: int
    ready_after: float
    metrics_port: int = 0
    """Of ours."""
    grpc_port: int = 0
    """Of ours, where it was asked for."""

    def tree(self) -> list[int]:
        """Return the process and all its descendants."""
        found = [self.process.pid]
        for pid in found:
            for task in Path(f"/proc/{pid}/task").glob("*/children"):
                found += [int(child) for child in task.read_text().split()]
        return found

    def cpu_seconds(self) -> float:
        """CPU that the tree has used, in user and system mode."""
        return sum(_cpu_seconds(pid) for pid in self.tree())

    def loop_seconds(self) -> float:
        """CPU of the first thread, which is that of the event loop in ours."""
        return _cpu_seconds(self.process.pid, f"task/{self.process.pid}/")

    def resident_bytes(self) -> int:
        """Resident memory of the tree; pages that processes share are counted once a process."""
        sizes = (Path(f"/proc/{pid}/statm").read_text().split()[1] for pid in self.tree())
        return sum(int(pages) for pages in sizes) * _PAGE


@contextlib.contextmanager
def trimtab(
    python: Path,
    model: Model,
    folder: Path,
    compared: Model | None = None,
    queue_seconds: float = 1.0,
    *,
    grpc: bool = False,
    flag: str = "-OO",
    cores: str = str(SERVER_CORE),
    shared_port: int = 0,
) -> Iterator[Running]:
    """Our runtime with everything on: validation, counters, tokens.

    With `compared` it predicts with that model, too, within the default budget. grpc: with that
    port as well, which needs a `python` with its libraries. flag: of the image's interpreter.
    cores: numbers with commas. shared_port: one that other processes listen on as well.
    """
    folder.mkdir(parents=True, exist_ok=True)
    key = folder / "token.key"
    key.write_bytes(b"0123456789abcdef0123456789abcdef")
    port, metrics, calls = free_ports(3)
    port = shared_port or port
    environment = {
        "PYTHONPATH": os.pathsep.join((SOURCE, str(Path.cwd()))),
        "PYTHONPYCACHEPREFIX": str(python.parents[1] / "compiled"),
        "PYTHONDONTWRITEBYTECODE": "",
        "TRIMTAB_MODEL": model.name,
        "TRIMTAB_VERSION": "v1",
        "TRIMTAB_ARTIFACT_URI": model.uri,
        "TRIMTAB_ARTIFACT_DIGEST": model.digest,
        "TRIMTAB_TOKEN_KEY_FILE": str(key),
        "TRIMTAB_HOST": "127.0.0.1",
        "TRIMTAB_INFERENCE_PORT": str(port),
        "TRIMTAB_METRICS_PORT": str(metrics),
        "TRIMTAB_SCRATCH": str(folder),
        "TRIMTAB_TERMINATION_LOG": str(folder / "termination"),
        "TRIMTAB_QUEUE_SECONDS": str(queue_seconds),
    }
    if grpc:
        environment["TRIMTAB_GRPC_PORT"] = str(calls)
    if compared is not None:
        seal = folder / "seal.key"
        seal.write_bytes(b"fedcba9876543210fedcba9876543210")
        environment |= {
            "TRIMTAB_TOKEN_SEAL_KEY_FILE": str(seal),
            "TRIMTAB_COMPARE_ARTIFACT_URI": compared.uri,
            "TRIMTAB_COMPARE_ARTIFACT_DIGEST": compared.digest,
            "TRIMTAB_COMPARE_FOR": "outcomes",
        }
    # As the image starts it, everything compiled before.
    program = "tests.bench.serving.shared_port" if shared_port else "trimtab.serving"
    command = [str(python), flag, "-m", program]
    ready = f"http://127.0.0.1:{metrics}/readyz"
    log = folder / "trimtab.log"
    with _started(command, environment, port, ready, log, cores=cores) as running:
        running.metrics_port = metrics
        running.grpc_port = calls if grpc else 0
        if compared is not None:
            _wait_for_comparing(running)
        yield running


def counters(running: Running) -> dict[str, float]:
    """Return the samples of ours by name, summed over labels."""
    url = f"http://127.0.0.1:{running.metrics_port}/metrics"
    with urllib.request.urlopen(url, timeout=5) as answer:
        page = answer.read().decode()
    found: dict[str, float] = {}
    for line in page.splitlines():
        if not line.startswith("#"):
            name, _, value = line.rpartition(" ")
            bare = name.partition("{")[0]
            found[bare] = found.get(bare, 0.0) + float(value)
            if bare == "trimtab_compare_state":
                found[name.rpartition('state="')[2].partition('"')[0]] = 1.0
    return found


def _wait_for_comparing(running: Running) -> None:
    begin = time.monotonic()
    while "comparing" not in (found := counters(running)):
        if time.monotonic() - begin > READY_WITHIN_SECONDS:
            raise RuntimeError(f"nothing is compared: {found}")
        time.sleep(0.05)


@contextlib.contextmanager
def mlserver(python: Path, model: Model, folder: Path, *, workers: int) -> Iterator[Running]:
    """MLServer with one model. workers 1 is its default; 0 predicts in the server's process."""
    port, grpc, metrics = free_ports(3)
    settings = {
        "host": "127.0.0.1",
        "http_port": port,
        "grpc_port": grpc,
        "metrics_port": metrics,
        "parallel_workers": workers,
        "debug": False,
    }
    repository = folder / "mlserver" / model.name
    (repository / "settings.json").write_text(json.dumps(settings))
    command = [str(python.parent / "mlserver"), "start", str(repository)]
    ready = f"http://127.0.0.1:{port}/v2/models/{model.name}/ready"
    with _started(command, {}, port, ready, folder / "mlserver.log") as running:
        yield running


def free_ports(count: int) -> list[int]:
    """Return ports of loopback that were free just now."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


@contextlib.contextmanager
def _started(
    command: Sequence[str],
    environment: Mapping[str, str],
    port: int,
    ready_url: str,
    log: Path,
    *,
    cores: str = str(SERVER_CORE),
) -> Iterator[Running]:
    """Run it on `cores` alone; in the end stop it and wait."""
    # One thread for numeric libraries: one core is the unit.
    threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    others = {name: value for name, value in os.environ.items() if name[:8] != "TRIMTAB_"}
    begin = time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["taskset", "-c", cores, *command],
            env={**others, **threads, **environment},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        while not _is_ready(ready_url):
            if process.poll() is not None or time.monotonic() - begin > READY_WITHIN_SECONDS:
                raise RuntimeError(f"{command[0]} is not ready:\n{log.read_text()[-2000:]}")
            time.sleep(0.02)
        yield Running(process, port, time.monotonic() - begin)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=35)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _is_ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=1) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False


def _cpu_seconds(pid: int, of: str = "") -> float:
    # The name in parentheses may hold spaces; what follows it does not.
    fields = Path(f"/proc/{pid}/{of}stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS
