"""What the watchman says, each by what breaks it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.bench.statistics.wired.world import VirtualLoop
from tests.faults.api import Request
from tests.faults.stories import serve_first
from tests.faults.watchman import MOST_WRITES
from tests.faults.world import Stage
from tests.unit.loop_objects import retrain_job

from trimtab.cluster.port import DEPLOYMENTS, SERVICES, WORKLOADS, Json, Key


def write(stage: Stage, key: Key, spec: Json, method: str = "PATCH", **only: str) -> None:
    """Let the watchman look at a write; `only` is what its metadata demand."""
    body = {"metadata": {"name": key.name} | only, "spec": spec}
    stage.watchman.before_write(
        Request("apply", method, key.resource, key.namespace, key.name, "", {}, body, "", 1)
    )


def workload(stage: Stage) -> Key:
    """Return the workload of stable."""
    return Key(WORKLOADS, "shop", stage.status["stable"]["workload"])


def misroute(stage: Stage) -> None:
    service = Key(SERVICES, "shop", "digits")
    stage.cluster.user_change(service, lambda obj: obj["spec"]["selector"].update(app="other"))


def begin_quarantined(stage: Stage) -> None:
    tried = stage.status["stable"]

    def change(obj: Json) -> None:
        obj["status"] |= {
            "candidate": tried,
            "rejected": [{"revision": tried["revision"]}],
            "rollout": {"phase": "Starting"},
        }

    stage.cluster.user_change(stage.key, change)


def retrain_twice(stage: Stage) -> None:
    for name in ("digits-1", "digits-2"):
        stage.cluster.user_apply(retrain_job(name))


def write_often(stage: Stage) -> None:
    for _ in range(MOST_WRITES):
        write(stage, workload(stage), {"replicas": 3})


@pytest.mark.parametrize(
    ("breaks", "said"),
    [
        (misroute, "users are routed to no Ready pod"),
        (begin_quarantined, "the quarantined v1 begins"),
        (retrain_twice, "a second RetrainJob"),
        (write_often, "writes of deployments/shop/digits"),
        (
            lambda stage: write(stage, workload(stage), {"replicas": 1}),
            "stable v1 is made smaller: 3 to 1 pods",
        ),
        (
            lambda stage: write(stage, workload(stage), {}, "DELETE"),
            "stable v1 is made smaller: 3 to 0 pods",
        ),
        (
            lambda stage: write(stage, Key(DEPLOYMENTS, "shop", "digits"), {}),
            "the spec of digits is written",
        ),
    ],
    ids=["route", "quarantine", "cause", "rate", "smaller", "deleted", "spec"],
)
def test_what_breaks_an_invariant_is_said(breaks: Callable[[Stage], None], said: str) -> None:
    (seen,) = seen_after(breaks)
    assert said in seen


def test_a_write_that_the_server_will_refuse_breaks_nothing() -> None:
    def break_late(stage: Stage) -> None:
        write(stage, workload(stage), {"replicas": 0}, resourceVersion="1")

    assert seen_after(break_late) == []


def seen_after(breaks: Callable[[Stage], None]) -> list[str]:
    """Return what the watchman says of a first version that serves, and of what breaks it."""

    async def run() -> list[str]:
        stage = Stage()
        stage.begin()
        await serve_first(stage)
        assert not stage.watchman.seen
        breaks(stage)
        await stage.end()
        return list(stage.watchman.seen)

    loop = VirtualLoop()
    try:
        return loop.run_until_complete(run())
    finally:
        loop.close()
