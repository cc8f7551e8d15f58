"""`make bench-serving`: our runtime and MLServer in one run, on the same core, the load on another.

Requests per second of the server's CPU, so that the client's speed does not count; p99 at half of
the largest rate that the same server reached. Ours runs with validation, counters and tokens on.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Final

from tests.bench.serving import servers
from tests.bench.serving.client import CLIENT_CORE
from tests.bench.serving.models import Model, binary_body, body, build
from tests.bench.statistics.rows import Row, judged, render

RUNS: Final = 3
WARM_SECONDS: Final = 1.0
SECONDS: Final = 3.0
STARTS: Final = 5
Started = contextlib.AbstractContextManager[servers.Running]
Start = Callable[[Model], Started]


@dataclass(frozen=True)
class Pythons:
    """Interpreters of two environments that hold nothing but one server each."""

    own: Path
    peer: Path
    more: Path
    """Ours with what serves ONNX graphs and gRPC."""
    tables: Path
    """Ours with what serves tables and boosted trees."""
    trees: Path
    """Ours and treelite."""


@dataclass(frozen=True)
class Case:
    """One line of the table; goal in requests per CPU-second."""

    what: str
    model: str
    rows: int
    connections: int
    goal: int
    is_binary: bool = False
    """Binary tensors, which MLServer's runtime for scikit-learn does not answer with."""
    is_graph: bool = False
    """The same model as an ONNX graph, which MLServer does not serve."""


CASES: Final = (
    Case("linear [1,30], 8 connections", "linear", 1, 8, 2800),
    Case("linear [1,30], 64 connections", "linear", 1, 64, 12000),
    Case("forest [1,30], 64 connections", "forest", 1, 64, 3000),
    Case("linear [64,30], 8 connections", "linear", 64, 8, 2000),
    Case("linear [64,30] binary, 8 connections", "linear", 64, 8, 2000, is_binary=True),
    Case("linear as ONNX [1,30], 64 connections", "graph", 1, 64, 12000, is_graph=True),
    Case("linear as ONNX [64,30], 8 connections", "graph", 64, 8, 2000, is_graph=True),
)
TREES_SHARE: Final = 0.7
"""Of treelite's speed."""
OVERLOADS: Final = (1.0, 2.0, 5.0)
"""Of the largest rate of a closed loop, at which requests fall due in an open one."""
OVERLOAD_CONNECTIONS: Final = 2048
OVERLOAD_ROWS: Final = 64
FILLING_SECONDS: Final = 2.0
"""Until the queue has the length that it keeps."""
LEAST_GOODPUT: Final = 0.9
LONGEST_SECONDS: Final = 1.2
REFUSAL_MICROSECONDS: Final = 20.0
SHORT_QUEUE_SECONDS: Final = 0.001
LARGE_CALL: Final = 64
LARGE_ROWS: Final = 4096
COMPARING_LOAD: Final = 0.25
"""Of the largest rate without a second model, at which latency is read with and without."""
COMPARING_BUDGET: Final = 0.1
SMALL_RATE: Final = 50.0
SOAK: Final = 10
"""Blocks of requests after which memory is read."""
SOAK_REQUESTS: Final = 100_000
SOAK_SETTLED: Final = 5
"""Blocks until every buffer has the size that it keeps."""
SOAK_MIB: Final = 2.0


@dataclass(frozen=True)
class Measured:
    """Of several runs. per_cpu: requests per CPU-second; rate: requests a second; p99 in ms."""

    per_cpu: list[float]
    rate: float
    p50: float
    p99: float
    bad: int

    @property
    def value(self) -> float:
        return median(self.per_cpu)


def main() -> None:
    """Measure everything; print the table."""
    parser = argparse.ArgumentParser(prog="bench-serving", description=__doc__)
    parser.add_argument("--own", type=Path, required=True, help="Python with our extra `serving`")
    parser.add_argument("--peer", type=Path, help="Python with MLServer")
    parser.add_argument("--more", type=Path, help="Python with our extras `onnx` and `grpc`")
    parser.add_argument("--tables", type=Path, help="Python with pandas, XGBoost, LightGBM, ours")
    parser.add_argument("--trees", type=Path, help="Python with our extra `serving` and treelite")
    parser.add_argument("--only-overload", action="store_true", help="only more than it can do")
    parser.add_argument(
        "--only-comparing", action="store_true", help="only with and without a second model"
    )
    arguments = parser.parse_args()
    only = arguments.only_comparing or arguments.only_overload
    others = (arguments.peer, arguments.more, arguments.tables, arguments.trees)
    if None in others and not only:
        parser.error("--peer, --more, --tables and --trees are needed")
    if (os.cpu_count() or 1) <= CLIENT_CORE:
        parser.error("two cores are needed: one for the server, one for the load")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        models = {case.model: build(case.model, folder) for case in unique_models()}
        own = arguments.own.absolute()
        plain = without_graphs(models)
        rows = [] if arguments.only_overload else comparing_lines(plain, own, folder)
        if not arguments.only_comparing:
            rows += overload_lines(plain, own, folder)
            rows.append(refusal_line(build("slow", folder), own, folder))
        if not only:
            pythons = Pythons(own, *(path.absolute() for path in others))
            beside = trees_lines(models["forest"], pythons)
            beside += grpc_lines(models["linear"], pythons, folder)
            beside += image_lines(models, pythons, folder)
            rows = measure(models, folder, pythons) + beside + rows
        print(render(rows))


def without_graphs(models: dict[str, Model]) -> dict[str, Model]:
    """Return the models that every server here can serve."""
    graphs = {case.model for case in CASES if case.is_graph}
    return {name: model for name, model in models.items() if name not in graphs}


def unique_models() -> list[Case]:
    """Return one case per model."""
    return list({case.model: case for case in CASES}.values())


def measure(models: dict[str, Model], folder: Path, pythons: Pythons) -> list[Row]:
    """Return all lines."""
    kinds: dict[str, Start] = {
        "trimtab": lambda model: servers.trimtab(
            pythons.more if model.name == "graph" else pythons.own, model, folder / "run"
        ),
        "in process": lambda model: servers.mlserver(pythons.peer, model, folder, workers=0),
        "default": lambda model: servers.mlserver(pythons.peer, model, folder, workers=1),
    }
    rows: list[Row] = []
    for case in CASES:
        found = {
            kind: run_case(case, models[case.model], start, folder)
            for kind, start in kinds.items()
            if kind == "trimtab" or not (case.is_binary or case.is_graph)
        }
        rows += lines(case, found)
    rows += start_lines(models["linear"], kinds, pythons)
    beside = {kind: kinds[kind] for kind in ("trimtab", "in process")}
    rows += beside_lines(without_graphs(models), beside, folder)
    return [*rows, soak_line(models["linear"], kinds["trimtab"], folder)]


def run_case(case: Case, model: Model, start: Start, folder: Path) -> Measured:
    """Drive one server through one case."""
    payload = folder / f"body-{case.rows}.json"
    content, head = binary_body(case.rows) if case.is_binary else (body(case.rows), 0)
    payload.write_bytes(content)
    with start(model) as server:
        send = partial(load, server.port, model.name, payload, case.connections, head=head)
        send(WARM_SECONDS)
        per_cpu, rates, bad = [], [], 0
        for _ in range(RUNS):
            before = server.cpu_seconds()
            found = send(SECONDS)
            per_cpu.append(found["requests"] / (server.cpu_seconds() - before))
            rates.append(found["requests"] / found["seconds"])
            bad += int(found["bad"])
        rate = max(rates)
        half = send(SECONDS, rate / 2)
        bad += int(half["bad"])
    print(f"{case.what}: {median(per_cpu):.0f} per CPU-second", file=sys.stderr, flush=True)
    return Measured(per_cpu, rate, half["p50"] * 1000, half["p99"] * 1000, bad)


def load(
    port: int,
    model: str,
    payload: Path,
    connections: int,
    seconds: float,
    rate: float | None = None,
    *,
    head: int = 0,
    requests: int = 0,
    skipped: float = 0.0,
) -> dict[str, float]:
    """Run the client in a process of its own."""
    command = client_command(port, model, payload, connections, seconds)
    command += [] if rate is None else ["--rate", str(rate)]
    command += ["--head", str(head), "--requests", str(requests), "--skipped", str(skipped)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=120)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def client_command(
    port: int, model: str, payload: Path, connections: int, seconds: float
) -> list[str]:
    """Return how the client is started for a closed loop."""
    command = [sys.executable, "-m", "tests.bench.serving.client", str(port)]
    command += [f"/v2/models/{model}/infer", str(payload)]
    return [*command, "--connections", str(connections), "--seconds", str(seconds)]


def trees_lines(forest: Model, pythons: Pythons) -> list[Row]:
    """Return the speed of a forest with all that is counted, as a share of treelite's."""
    command = [str(pythons.trees), "-m", "tests.bench.serving.trees"]
    done = subprocess.run(
        [*command, forest.uri.removeprefix("file://")],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        timeout=300,
        env={**os.environ, "PYTHONPATH": _path()},
    )
    found: dict[str, dict[str, float]] = json.loads(done.stdout)
    rows = []
    for size, ours in found["trimtab"].items():
        theirs = found["treelite"][size]
        rows.append(
            judged(
                "speed",
                f"a forest's call of [{size},30] with counters: microseconds of CPU",
                f"{ours:.0f}, {theirs / ours:.1f} times as fast",
                f">= {TREES_SHARE} times",
                theirs / ours >= TREES_SHARE,
                f"{theirs:.0f} treelite",
            )
        )
    return rows


def grpc_lines(model: Model, pythons: Pythons, folder: Path) -> list[Row]:
    """Return what a call by gRPC costs beside the same by HTTP, in JSON and as binary tensors."""
    rows = []
    with servers.trimtab(pythons.more, model, folder / "run", grpc=True) as server:
        for size, connections in ((1, 8), (LARGE_CALL, 8)):
            costs = {
                "grpc": _grpc_cost(server, model, size, connections, pythons),
                "json": _http_cost(server, model, body(size), 0, connections, folder),
                "binary": _http_cost(server, model, *binary_body(size), connections, folder),
            }
            rows.append(
                Row(
                    "speed",
                    f"gRPC [{size},30], {connections} connections: requests per CPU-second",
                    f"{1 / costs['grpc']:.0f}, {costs['json'] / costs['grpc']:.2f} of HTTP",
                    f"{1 / costs['json']:.0f} JSON, {1 / costs['binary']:.0f} binary",
                )
            )
    return rows


def _grpc_cost(
    server: servers.Running, model: Model, size: int, connections: int, pythons: Pythons
) -> float:
    """Return CPU-seconds of the server a call."""
    command = [str(pythons.more), "-m", "tests.bench.serving.grpc_client", str(server.grpc_port)]
    command += [model.name, "--rows", str(size), "--connections", str(connections)]
    environment = {**os.environ, "PYTHONPATH": _path()}
    costs = []
    for seconds in (WARM_SECONDS, SECONDS):
        before = server.cpu_seconds()
        done = subprocess.run(
            [*command, "--seconds", str(seconds)],
            check=True,
            stdout=subprocess.PIPE,
            text=True,
            timeout=120,
            env=environment,
        )
        costs.append((server.cpu_seconds() - before) / json.loads(done.stdout)["requests"])
    return float(costs[-1])


def _http_cost(
    server: servers.Running, model: Model, content: bytes, head: int, connections: int, folder: Path
) -> float:
    payload = folder / "body-beside-grpc"
    payload.write_bytes(content)
    send = partial(load, server.port, model.name, payload, connections, head=head)
    send(WARM_SECONDS)
    before = server.cpu_seconds()
    requests = send(SECONDS)["requests"]
    return (server.cpu_seconds() - before) / requests


def _path() -> str:
    return os.pathsep.join((servers.SOURCE, str(Path.cwd())))


def beside_lines(models: dict[str, Model], kinds: dict[str, Start], folder: Path) -> list[Row]:
    """Return the latency of small requests alone, and beside large ones that come back to back."""
    small, large = folder / "body-1.json", folder / f"body-{LARGE_ROWS}.json"
    small.write_bytes(body(1))
    large.write_bytes(body(LARGE_ROWS))
    found: list[Row] = []
    for name, model in models.items():
        told = {}
        for kind, start in kinds.items():
            with start(model) as server:
                send = partial(load, server.port, name, small, 8, SECONDS, SMALL_RATE)
                send()
                alone = send()
                command = client_command(server.port, name, large, 1, SECONDS + 3)
                others = subprocess.Popen(command, stdout=subprocess.DEVNULL)
                try:
                    beside = send()
                finally:
                    others.wait(timeout=60)
            told[kind] = (
                f"{alone['p50'] * 1000:.1f}/{alone['p99'] * 1000:.1f}, beside "
                f"{beside['p50'] * 1000:.1f}/{beside['p99'] * 1000:.1f}"
            )
        what = f"{name} [1,30] at {SMALL_RATE:.0f}/s beside [{LARGE_ROWS},30]: p50/p99 ms"
        found.append(Row("latency", what, told["trimtab"], f"{told['in process']} in process"))
    return found


def overload_lines(models: dict[str, Model], own: Path, folder: Path) -> list[Row]:
    """Return what is answered where more is asked for than can be."""
    payload = folder / f"body-{OVERLOAD_ROWS}.json"
    payload.write_bytes(body(OVERLOAD_ROWS))
    found: list[Row] = []
    for name, model in models.items():
        with servers.trimtab(own, model, folder / "run") as server:
            send = partial(load, server.port, name, payload)
            send(64, WARM_SECONDS)
            full = send(64, SECONDS)
            most = full["requests"] / full["seconds"]
            for times in OVERLOADS:
                told = send(OVERLOAD_CONNECTIONS, SECONDS, times * most, skipped=FILLING_SECONDS)
                rate, p99 = told["good"] / told["seconds"], told["good_p99"]
                offered = told["requests"] / told["seconds"]
                found.append(
                    judged(
                        "overload",
                        f"{name} [{OVERLOAD_ROWS},30], {times:g} times {most:.0f}/s: "
                        "share of it, p99 of them",
                        f"{rate / most:.2f}, {p99:.2f} s of {offered:.0f}/s",
                        f">= {LEAST_GOODPUT}, <= {LONGEST_SECONDS} s",
                        rate >= LEAST_GOODPUT * most and p99 <= LONGEST_SECONDS,
                    )
                )
                print(f"overload {name} {times:g}: {rate / most:.2f}", file=sys.stderr, flush=True)
    return found


def refusal_line(model: Model, own: Path, folder: Path) -> Row:
    """Return what a refusal costs the event loop, beside a model that is always busy."""
    costs: list[float] = []
    with servers.trimtab(own, model, folder / "run", queue_seconds=SHORT_QUEUE_SECONDS) as server:
        for rows in (1, OVERLOAD_ROWS):
            payload = folder / f"body-{rows}.json"
            payload.write_bytes(body(rows))
            before = server.loop_seconds()
            told = load(server.port, model.name, payload, 64, SECONDS)
            costs.append((server.loop_seconds() - before) / told["requests"] * 1e6)
    return judged(
        "overload",
        f"a refusal of [1,30] and of [{OVERLOAD_ROWS},30]: microseconds of CPU",
        " and ".join(f"{cost:.1f}" for cost in costs),
        f"<= {REFUSAL_MICROSECONDS:.0f}",
        max(costs) <= REFUSAL_MICROSECONDS,
    )


def comparing_lines(models: dict[str, Model], own: Path, folder: Path) -> list[Row]:
    """Return what a second model costs: a copy of the own one, within the default budget."""
    payload = folder / "body-1.json"
    payload.write_bytes(body(1))
    found: list[Row] = []
    for name, model in models.items():
        told: dict[str, str] = {}
        memory: dict[str, float] = {}
        rate = 0.0
        for kind, second in (("alone", None), ("comparing", model)):
            with servers.trimtab(own, model, folder / "run", second) as server:
                send = partial(load, server.port, name, payload, 64)
                send(WARM_SECONDS)
                before = server.cpu_seconds()
                full = send(SECONDS)
                per_cpu = full["requests"] / (server.cpu_seconds() - before)
                rate = rate or full["requests"] / full["seconds"] * COMPARING_LOAD
                calm = send(SECONDS, rate)
                memory[kind] = server.resident_bytes() / 2**20
                told[kind] = (
                    f"{per_cpu:.0f}, {calm['p50'] * 1000:.2f}/{calm['p99'] * 1000:.2f} ms "
                    f"at {rate:.0f}/s"
                )
                counted = servers.counters(server)
        share = counted["trimtab_compare_seconds_total"] / counted["trimtab_predict_seconds_sum"]
        paired = counted.get("trimtab_paired_predicted_total", 0.0)
        found += [
            Row(
                "comparing",
                f"{name} [1,30], 64 connections: requests per CPU-second, p50/p99",
                told["comparing"],
                f"{told['alone']} without",
            ),
            judged(
                "comparing",
                f"  {name}: time of the second model, of the prediction time",
                f"{share:.3f}, {paired:,.0f} rows paired",
                f"<= {COMPARING_BUDGET}",
                share <= COMPARING_BUDGET and paired > 0,
            ),
            Row(
                "comparing",
                f"  {name}: memory, MiB",
                f"{memory['comparing']:.0f}",
                f"{memory['alone']:.0f} without",
            ),
        ]
        print(f"comparing {name}: {share:.3f}", file=sys.stderr, flush=True)
    return found


def lines(case: Case, found: dict[str, Measured]) -> list[Row]:
    """Return the speed and the p99 of one case."""
    ours = found["trimtab"]
    spread = f"{min(ours.per_cpu):.0f}/{ours.value:.0f}/{max(ours.per_cpu):.0f}"
    peers = {kind: one for kind, one in found.items() if kind != "trimtab"}
    if peers:
        spread += f", {ours.value / max(one.value for one in peers.values()):.1f} times"
    bad = sum(one.bad for one in found.values())
    return [
        judged(
            "speed",
            f"{case.what}: requests per CPU-second",
            spread,
            f">= {case.goal}",
            ours.value >= case.goal and bad == 0,
            ", ".join(f"{one.value:.0f} {kind}" for kind, one in peers.items()),
        ),
        Row(
            "latency",
            "  p50/p99 ms at half of its largest rate",
            half_rate(ours),
            ", ".join(f"{half_rate(one)} {kind}" for kind, one in peers.items()),
        ),
    ]


def half_rate(one: Measured) -> str:
    """Return the latency at half of the largest rate, and that rate."""
    return f"{one.p50:.2f}/{one.p99:.2f} at {one.rate / 2:.0f}/s"


def start_lines(model: Model, kinds: dict[str, Start], pythons: Pythons) -> list[Row]:
    """Return start, memory and number of packages."""
    starts: dict[str, float] = {}
    memory: dict[str, float] = {}
    for kind, start in kinds.items():
        seconds = []
        for _ in range(STARTS):
            with start(model) as server:
                seconds.append(server.ready_after)
                memory[kind] = server.resident_bytes() / 2**20
        starts[kind] = median(seconds)
    ours, peers = packages(pythons.own), packages(pythons.peer)
    return [
        judged(
            "start",
            "seconds to ready",
            f"{starts['trimtab']:.2f}",
            "<= 1.5",
            starts["trimtab"] <= 1.5,
            f"{starts['in process']:.2f} in process, {starts['default']:.2f} default",
        ),
        judged(
            "start",
            "RSS of all processes, MiB",
            f"{memory['trimtab']:.0f}",
            "<= 135",
            memory["trimtab"] <= 135,
            f"{memory['in process']:.0f} in process, {memory['default']:.0f} default",
        ),
        judged("start", "packages", str(ours), "<= 20", ours <= 20, str(peers)),
    ]


def image_lines(models: dict[str, Model], pythons: Pythons, folder: Path) -> list[Row]:
    """Return start and memory of what each image runs, beside the linear model in the plain one."""
    boosted = build("boosted", folder)
    kinds = {
        "serving, linear": (pythons.own, models["linear"], "-OO"),
        "serving-onnx, linear as a graph": (pythons.more, models["graph"], "-OO"),
        "serving-tables, linear": (pythons.tables, models["linear"], "-O"),
        "serving-tables, XGBoost": (pythons.tables, boosted, "-O"),
    }
    rows: list[Row] = []
    for kind, (python, model, flag) in kinds.items():
        seconds: list[float] = []
        memory: list[float] = []
        for _ in range(STARTS):
            with servers.trimtab(python, model, folder / "run", flag=flag) as server:
                seconds.append(server.ready_after)
                memory.append(server.resident_bytes() / 2**20)
        told = f"{median(seconds):.2f} s, {median(memory):.0f} MiB"
        plain = rows[0].measured if rows else ""
        rows.append(
            Row("start", f"{kind}: seconds to ready, RSS", told, plain and f"{plain} plain")
        )
    return rows


def soak_line(model: Model, start: Start, folder: Path) -> Row:
    """Return the memory over a million requests: one row, several rows, and refused ones."""
    payloads = []
    for rows in (1, 5, 1, 9):
        payloads.append(folder / f"body-{rows}.json")
        payloads[-1].write_bytes(body(rows))
    payloads[2] = folder / "refused.json"
    payloads[2].write_bytes(body(1).replace(b"FP64", b"FP65"))
    memory: list[float] = []
    with start(model) as server:
        for block in range(SOAK):
            payload = payloads[block % len(payloads)]
            load(server.port, model.name, payload, 64, 110.0, requests=SOAK_REQUESTS)
            memory.append(server.resident_bytes() / 2**20)
    settled = memory[SOAK_SETTLED - 1 :]
    growth = max(settled) - settled[0]
    return judged(
        "memory",
        f"RSS, MiB, after each {SOAK_REQUESTS:,} requests",
        ", ".join(f"{one:.0f}" for one in memory),
        f"<= {SOAK_MIB:.0f} more from {SOAK_SETTLED * SOAK_REQUESTS:,} on",
        growth <= SOAK_MIB,
        "",
    )


def packages(python: Path) -> int:
    """Return how many packages an environment has, without installers."""
    command = [str(python), "-m", "pip", "list", "--format", "json"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    names = {one["name"] for one in json.loads(done.stdout)}
    return len(names - {"pip", "setuptools", "wheel"})


if __name__ == "__main__":
    main()
