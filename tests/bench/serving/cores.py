"""`make bench-cores`: what one pod would gain from a second core.

One process on one core, one on two, and two processes behind one port on two take turns under the
same closed loop. The load and whatever else runs need cores, too: their CPU is told beside, and a
gain is judged only where two cores were free for the servers. With four cores or more the load has
its own; with two it takes from the servers, and the gain is what two cores would do at the cost of
a request that was measured, if both were free and used as one is.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

from tests.bench.serving import servers
from tests.bench.serving.models import NAMES, Model, body, build
from tests.bench.statistics.rows import Row, judged, render

TURNS: Final = 5
SECONDS: Final = 3.0
WARM_SECONDS: Final = 1.0
CLIENTS: Final = 2
CONNECTIONS: Final = 32
"""Of each client."""
SIZES: Final = (1, 64)
GOAL: Final = 1.8
FREE: Final = 0.1
"""Of a core: what others may take where two are called free."""
LAYOUTS: Final = {"one on one": ("0", 1), "one on two": ("0,1", 1), "two on two": ("0,1", 2)}
"""Cores and processes."""
_TICKS: Final = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Turn:
    """Requests a second, and cores used by servers, by the load, and by all else."""

    rate: float
    servers: float
    load: float
    others: float
    bad: int

    @property
    def per_cpu(self) -> float:
        return self.rate / self.servers


def main() -> None:
    """Measure; print the table."""
    parser = argparse.ArgumentParser(prog="bench-cores", description=__doc__)
    parser.add_argument("--own", type=Path, required=True, help="Python with our extra `serving`")
    own = parser.parse_args().own.absolute()
    if (os.cpu_count() or 1) < 2:
        parser.error("two cores are needed")
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for kind in NAMES:
            model = build(kind, folder)
            for size in SIZES:
                rows += lines(f"{kind} [{size},30]", measured(model, size, own, folder))
            rows += thread_lines(model, own)
    print(render(rows))


def measured(model: Model, size: int, own: Path, folder: Path) -> dict[str, list[Turn]]:
    """Return the turns of each layout."""
    payload = folder / f"body-{size}.json"
    payload.write_bytes(body(size))
    found: dict[str, list[Turn]] = {layout: [] for layout in LAYOUTS}
    with contextlib.ExitStack() as stack:
        running: dict[str, list[servers.Running]] = {}
        for layout, (cores, count) in LAYOUTS.items():
            (port,) = servers.free_ports(1)
            running[layout] = [
                stack.enter_context(
                    servers.trimtab(
                        own,
                        model,
                        folder / f"{layout} {number}".replace(" ", "-"),
                        cores=cores,
                        shared_port=port,
                    )
                )
                for number in range(count)
            ]
            turn(running[layout], model, payload, WARM_SECONDS)
        for _ in range(TURNS):
            for layout, group in running.items():
                found[layout].append(turn(group, model, payload, SECONDS))
    print(f"{model.name} [{size},30]", file=sys.stderr, flush=True)
    return found


def turn(group: Sequence[servers.Running], model: Model, payload: Path, seconds: float) -> Turn:
    """Drive the processes of one layout by all clients."""
    count = os.cpu_count() or 1
    free = range(2, count) if count >= 2 + CLIENTS else range(count)
    command = [sys.executable, "-m", "tests.bench.serving.client", str(group[0].port)]
    command += [f"/v2/models/{model.name}/infer", str(payload), "--seconds", str(seconds)]
    command += ["--connections", str(CONNECTIONS), "--cores", ",".join(map(str, free))]
    began, busy, ended = time.monotonic(), _busy_seconds(), _ended_seconds()
    used = sum(one.cpu_seconds() for one in group)
    clients = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(CLIENTS)]
    told = [json.loads(one.communicate(timeout=seconds + 60)[0]) for one in clients]
    taken = max(one["seconds"] for one in told)
    used = sum(one.cpu_seconds() for one in group) - used
    load = sum(one["cpu"] for one in told)
    # Of the load's CPU the start of its interpreters is no load, but nobody else's either.
    others = _busy_seconds() - busy - used - (_ended_seconds() - ended)
    return Turn(
        rate=sum(one["requests"] / one["seconds"] for one in told),
        servers=used / taken,
        load=load / taken,
        others=max(others, 0.0) / (time.monotonic() - began),
        bad=sum(int(one["bad"]) for one in told),
    )


def lines(what: str, found: dict[str, list[Turn]]) -> list[Row]:
    """Return a line for each layout; gains are those of one process on one core."""
    alone = found["one on one"]
    rows = []
    for layout, turns in found.items():
        rate, used, load, others = (
            median(getattr(one, name) for one in turns)
            for name in ("rate", "servers", "load", "others")
        )
        direct = median(one.rate / base.rate for one, base in zip(turns, alone, strict=True))
        cost = median(one.per_cpu / base.per_cpu for one, base in zip(turns, alone, strict=True))
        figure = f"{what}, {layout}: requests a second, of one on one, cores used"
        told = f"{rate:.0f}, {direct:.2f} times, {used:.2f}"
        beside = f"load {load:.2f}, others {others:.2f} cores"
        if bad := sum(one.bad for one in turns):
            told += f", {bad} failed"
        if layout != "two on two":
            rows.append(Row("cores", figure, told, beside))
        elif not _is_free(turns):
            told += f"; {2 * cost:.2f} times if both were free"
            rows.append(Row("cores", figure, told, beside))
        else:
            is_met = direct >= GOAL and not bad
            rows.append(judged("cores", figure, told, f">= {GOAL} times", is_met, beside))
    return rows


def thread_lines(model: Model, own: Path) -> list[Row]:
    """Return what predictions alone gain from a second thread."""
    path = os.pathsep.join((servers.SOURCE, str(Path.cwd())))
    command = [str(own), "-OO", "-m", "tests.bench.serving.threads"]
    done = subprocess.run(
        [*command, model.uri.removeprefix("file://"), "0,1"],
        check=True,
        stdout=subprocess.PIPE,
        timeout=300,
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
    )
    gains = ", ".join(f"{size} {gain:.2f}" for size, gain in json.loads(done.stdout).items())
    return [Row("cores", f"{model.name}: calls of two threads, of those of one, by rows", gains)]


def _is_free(turns: Sequence[Turn]) -> bool:
    """Whether servers had two cores for themselves."""
    has_own = (os.cpu_count() or 1) >= 2 + CLIENTS
    return has_own and median(one.others for one in turns) <= FREE


def _ended_seconds() -> float:
    """Return the CPU of all processes that were started here and have ended."""
    told = resource.getrusage(resource.RUSAGE_CHILDREN)
    return told.ru_utime + told.ru_stime


def _busy_seconds() -> float:
    """Return the CPU of all cores that was not idle, since the machine started."""
    user, nice, system, _, _, *more = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    return sum(map(int, (user, nice, system, *more[:3]))) / _TICKS


if __name__ == "__main__":
    main()
