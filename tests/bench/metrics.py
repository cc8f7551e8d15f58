"""What a scrape of the metrics of state costs, beside prometheus_client with the same series.

`make bench-metrics`; takes some minutes and prints one table. Each Deployment is in a rollout
with three gates, and a policy with four signals and 20 features watches it. One size is done again
with every name as long as it can be. The peer is what
operators usually do: a registry of ordinary Gauges, written out by `generate_latest` at each
scrape. It is not asked for 10,000 Deployments, since its objects alone would need a gigabyte.
"""

from __future__ import annotations

import gc
import json
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import Any

from prometheus_client import CollectorRegistry, Gauge, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from tests.bench.statistics.rows import Row, judged, render

from trimtab.api.conditions import Condition
from trimtab.api.deployment import DeploymentStatus
from trimtab.api.drift_policy import MOST_FEATURES, DriftPolicyStatus
from trimtab.api.meta import API_VERSION
from trimtab.api.record import Decision, Record
from trimtab.cluster.port import DEPLOYMENTS, DRIFT_POLICIES, MODEL_VERSIONS, Json
from trimtab.reconcile.machine.cache import Cache
from trimtab.reconcile.machine.state_page import StatePage
from trimtab.reconcile.machine.tallies import AT_ZERO_FOR

SIZES = (10, 1_000, 10_000)
PEER_UP_TO = 1_000
RUNS = 7
GOAL_MS = {10: 1.0, 1_000: 20.0, 10_000: 200.0}
NOW = datetime(2026, 1, 1, tzinfo=UTC)
DIGEST = f"sha256:{'0' * 64}"
CONDITIONS = ("Ready", "Progressing", "Degraded", "Paused", "Quarantined", "DataAvailable")
DECIDED = ("RolloutStarted", "Promoted", "GuardPassed", "StepReached")


@dataclass(frozen=True)
class Names:
    """How long names are: those of objects, those of namespaces, and those of features."""

    object: int = 0
    namespace: int = 0
    feature: int = 0


USUAL = Names()
LONGEST = Names(object=40, namespace=63, feature=256)
"""As the schemas of the kinds and the API server have it; 256 is what a status keeps."""


def main() -> None:
    """Measure every size and print the table."""
    hostile()
    rows: list[Row] = []
    for size in SIZES:
        rows += measured(size, f"{size} Deployments")
    rows += measured(SIZES[-1], f"{SIZES[-1]} with the longest names", LONGEST)
    print(render(rows))


def measured(size: int, where: str, names: Names = USUAL) -> list[Row]:
    """Return the lines of one size."""
    clock = [NOW]
    cache = Cache()
    page = StatePage(cache, now=lambda: clock[0], leads=lambda: True)
    fill(cache, size, names)
    began = time.perf_counter()
    assert page.refresh()
    rendered = time.perf_counter() - began
    later = [deployment(n, "2", names) for n in range(size)]
    began = time.perf_counter()
    decide_all(cache, later)
    decided = time.perf_counter() - began
    assert page.refresh()
    clock[0] += AT_ZERO_FOR
    assert page.refresh()
    scrape_ms = timed(page.joined)
    body = page.joined()
    peer = ""
    if size <= PEER_UP_TO:
        registry = as_gauges(body.decode())
        peer = f"prometheus_client {shown(timed(lambda: generate_latest(registry)))}"
    goal = GOAL_MS[size]
    is_met = max(scrape_ms) <= goal
    scrape = judged(where, "scrape, ms", shown(scrape_ms), f"<= {goal:g}", is_met, peer)
    return [
        scrape if names is USUAL else Row(where, "scrape, ms", shown(scrape_ms)),
        Row(where, "rendering of an object, ms", f"{1000 * rendered / (3 * size):.3f}"),
        Row(where, "taking a decision in, ms", f"{1000 * decided / size:.3f}"),
        Row(where, "page, MB", f"{len(body) / 1e6:.2f}"),
        *sizes_of(where, body, size),
    ]


def shown(values: list[float]) -> str:
    """Return min/median/max."""
    return "/".join(f"{one:.2f}" for one in (min(values), median(values), max(values)))


def timed(scrape: Callable[[], bytes]) -> list[float]:
    """Return the milliseconds of some scrapes."""
    gc.collect()
    found = []
    for _ in range(RUNS):
        began = time.perf_counter()
        scrape()
        found.append(1000 * (time.perf_counter() - began))
    return found


def sizes_of(where: str, body: bytes, size: int) -> list[Row]:
    """Return series and bytes by whom they are of."""
    count: Counter[str] = Counter()
    length: Counter[str] = Counter()
    for line in body.splitlines():
        if line.startswith(b"#"):
            continue
        name = line.partition(b"{")[0].decode()
        kind = re.search(rb'kind="(\w+)"', line)
        if kind is not None:
            whose = kind[1].decode()
        elif re.match(r"trimtab_(drift|feature|quality|false)", name):
            whose = "DriftPolicy"
        else:
            whose = "Deployment"
        count[whose] += 1
        length[whose] += len(line) + 1
    return [
        Row(
            where,
            f"series, bytes of a {whose}",
            f"{count[whose] / size:.0f}, {length[whose] / size:.0f}",
        )
        for whose in ("Deployment", "DriftPolicy")
    ]


def as_gauges(text: str) -> CollectorRegistry:
    """Return the same series as Gauges."""
    registry = CollectorRegistry()
    for family in text_string_to_metric_families(text):
        for name in {sample.name for sample in family.samples}:
            samples = [sample for sample in family.samples if sample.name == name]
            labels = list(samples[0].labels)
            gauge = Gauge(name, family.documentation, labels, registry=registry)
            for sample in samples:
                gauge.labels(**sample.labels).set(sample.value)
    return registry


# --- objects ------------------------------------------------------------------------------------


def fill(cache: Cache, size: int, names: Names) -> None:
    """Take in Deployments, policies and versions as a list at the start does."""
    for n in range(size):
        cache.take_in(DEPLOYMENTS, deployment(n, "1", names))
        cache.take_in(DRIFT_POLICIES, policy(n, names))
        version = obj_of("ModelVersion", f"model-{n}-v1", n, "1", {}, {}, names)
        cache.take_in(MODEL_VERSIONS, version)


def decide_all(cache: Cache, objects: Iterable[Json]) -> None:
    """Let each Deployment make a decision, so that there are counters."""
    for obj in objects:
        cache.take_in(DEPLOYMENTS, obj)


def deployment(n: int, version: str, names: Names = USUAL) -> Json:
    """Return one in the second step of a rollout; version 2 has one more decision."""
    candidate = tried(n, "v2") | {"weight": "50% wanted, 3 of 6 pods", "share": "48%"}
    gates = [
        {
            "name": name,
            "verdict": "Pass",
            "candidate": {"bad": 3.0, "total": 1234.0 + n},
            "stable": {"bad": 5.0, "total": 4321.0 + n},
            "evidence": 1.7,
            "threshold": 300.0,
        }
        for name in ("errors", "rejected", "slow")
    ]
    step = {"index": 1, "of": 2, "weight": 0.5, "started": NOW}
    status = {
        "conditions": [condition(one) for one in CONDITIONS],
        "record": record(*DECIDED[: 2 + int(version)]),
        "stable": tried(n, "v1"),
        "candidate": candidate,
        "rollout": {"phase": "Stepping", "started": NOW, "step": step},
        "gates": gates,
    }
    written = DeploymentStatus.model_validate(status).to_json()
    name = padded(f"model-{n}", names.object)
    return obj_of("Deployment", name, n, version, {"model": name}, written, names)


def policy(n: int, names: Names = USUAL) -> Json:
    """Return one with four signals, all judged."""
    top = [
        {"name": padded(f"feature_number_{place}", names.feature), "value": 0.01 * place}
        for place in range(MOST_FEATURES)
    ]
    name = padded(f"model-{n}", names.object)
    signals = [
        {
            "kind": kind,
            "deployment": name,
            "verdict": "Stable",
            "value": 0.9123,
            "threshold": 0.85,
            "n": 1000,
            "top": top if kind == "inputs" else [],
        }
        for kind in ("inputs", "predictions", "quality", "outcomes")
    ]
    alarms = [NOW - timedelta(days=days) for days in (3, 30)]
    status = {
        "observed_generation": 1,
        "conditions": [
            condition(one) for one in ("Watching", "DriftDetected", "Harm", "DataBroken")
        ],
        "record": record("DriftDetected", "DriftCleared"),
        "signals": signals,
        "budget": {"per_quarter": 4.0, "level_per_look": 0.01, "alarms": alarms},
    }
    written = DriftPolicyStatus.model_validate(status).to_json()
    spec = {"signals": [{"kind": one["kind"]} for one in signals]}
    return obj_of("DriftPolicy", name, n, "1", spec, written, names)


def padded(name: str, length: int) -> str:
    """Return the name, at least so long."""
    return name.ljust(length, "x")


def obj_of(
    kind: str,
    name: str,
    n: int,
    version: str,
    spec: Json,
    status: Json,
    names: Names = USUAL,
) -> Json:
    metadata = {
        "name": name,
        "namespace": padded(f"team-{n % 20}", names.namespace),
        "uid": f"{kind}-{n}",
        "generation": 1,
        "resourceVersion": version,
        "creationTimestamp": "2025-12-01T00:00:00Z",
    }
    obj = {"apiVersion": API_VERSION, "kind": kind, "metadata": metadata}
    # As it comes from the API server: no text or list is shared with another object.
    return dict(json.loads(json.dumps(obj | {"spec": spec, "status": status})))


def tried(n: int, version: str) -> dict[str, Any]:
    return {
        "version": version,
        "version_object": f"model-{n}-{version}",
        "digest": DIGEST,
        "revision": f"{n:05d}{version}",
        "workload": f"model-{n}-{version}",
        "artifact": {"uri": "s3://models/", "digest": DIGEST},
        "since": NOW,
    }


def condition(type: str) -> Condition:
    return Condition(type=type, status="False", reason="AsWanted", last_transition_time=NOW)


def record(*reasons: str) -> Record:
    made = [Decision(seq=n, at=NOW, reason=reason) for n, reason in enumerate(reasons, 1)]
    return Record(seq=len(reasons), decisions=made)


def hostile() -> None:
    """Read a page with names of every kind back; AssertionError if one is not what it was."""
    names = ['a"b', "a\nb", "a\\b", "a\\nb", "}", "ä#,=", "x" * 253, "y" * 63, "\\", ""]
    cache = Cache()
    page = StatePage(cache, now=lambda: NOW, leads=lambda: True)
    for n, name in enumerate(names):
        obj = policy(n)
        obj["metadata"]["name"] = name
        inputs = obj["status"]["signals"][0]
        obj["status"]["signals"] = [
            inputs | {"deployment": whose, "top": [{"name": one, "value": 1.0} for one in part]}
            for whose, part in (("a", names[:5]), ("b", names[5:]))
        ]
        cache.take_in(DRIFT_POLICIES, obj)
    assert page.refresh()
    found = {
        (sample.labels["name"], sample.labels["feature"])
        for family in text_string_to_metric_families(page.joined().decode())
        for sample in family.samples
        if sample.name == "trimtab_feature_psi"
    }
    assert found == {(one, other) for one in names for other in names}


if __name__ == "__main__":
    main()
