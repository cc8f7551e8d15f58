"""What becomes of a pass, by how it ended."""

import asyncio
import logging
from datetime import UTC, datetime, timedelta

import pytest
from tests.unit.reconcile.machine.engines import engine_over, nothing, reached, running

from trimtab.cluster.port import DEPLOYMENTS, PODS, Key
from trimtab.errors import Conflict, Refused, SpecError, TrimtabError, Unavailable
from trimtab.reconcile.machine import observability
from trimtab.reconcile.machine.cache import Change
from trimtab.reconcile.machine.queue import WorkQueue
from trimtab.reconcile.machine.world import World
from trimtab.simulation.cluster import SimulatedCluster

A = Key(DEPLOYMENTS, "shop", "a")
B = Key(DEPLOYMENTS, "shop", "b")


class Script:
    """A reconciler that ends its passes as told."""

    def __init__(self, *ends: BaseException | datetime | None) -> None:
        self.ends = list(ends)
        self.keys: list[Key] = []

    async def __call__(self, world: World, key: Key) -> datetime | None:
        self.keys.append(key)
        end = self.ends.pop(0) if self.ends else None
        if isinstance(end, BaseException):
            raise end
        return end


async def test_no_pass_begins_before_it_is_allowed() -> None:
    script = Script()
    engine = engine_over(SimulatedCluster(), script)
    engine.queue.add(A)
    async with running(engine, allowed=False):
        for _ in range(5):
            await asyncio.sleep(0)
        assert script.keys == []
        engine.allow()
        await reached(lambda: script.keys == [A])


async def test_no_further_pass_begins_once_held() -> None:
    script = Script()
    engine = engine_over(SimulatedCluster(), script)
    async with running(engine):
        engine.queue.add(A)
        await reached(lambda: script.keys == [A])
        engine.hold()
        engine.queue.add(B)
        for _ in range(5):
            await asyncio.sleep(0)
        assert script.keys == [A]


async def test_passes_of_different_keys_run_side_by_side_up_to_the_most() -> None:
    at_once, most, gate = 0, 0, asyncio.Event()

    async def slow(world: World, key: Key) -> None:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await gate.wait()
        at_once -= 1

    engine = engine_over(SimulatedCluster(), slow, most_at_once=3)
    for n in range(8):
        engine.queue.add(Key(DEPLOYMENTS, "shop", str(n)))
    async with running(engine):
        await reached(lambda: at_once == 3)
        gate.set()
        await reached(engine.drained.is_set)
    assert most == 3


async def test_a_time_to_look_again_in_the_past_is_now() -> None:
    script = Script(datetime(2020, 1, 1, tzinfo=UTC))
    engine = engine_over(SimulatedCluster(), script)
    engine.queue.add(A)
    async with running(engine):
        await reached(lambda: len(script.keys) == 2)


async def test_a_far_look_again_is_brought_forward_in_case_the_clock_jumps() -> None:
    script = Script(datetime.now(UTC) + timedelta(days=400))
    engine = engine_over(SimulatedCluster(), script)
    engine.queue.add(A)
    async with running(engine):
        await reached(engine.drained.is_set)
    wait = engine.queue.wait_seconds()
    assert wait is not None
    assert 590 < wait <= 600


@pytest.mark.parametrize(
    ("error", "at_least"),
    [
        pytest.param(Conflict("changed"), 0.3, id="a conflict soon"),
        pytest.param(Unavailable("away", 7.0), 6.9, id="unavailable when the server says"),
        pytest.param(Refused("no"), 1.0, id="refused a little later"),
        pytest.param(SpecError("bad"), 1.0, id="a bad spec a little later"),
    ],
)
async def test_a_failed_pass_is_tried_again(error: TrimtabError, at_least: float) -> None:
    engine = engine_over(SimulatedCluster(), Script(error))
    engine.queue.add(A)
    async with running(engine):
        await reached(lambda: engine.queue.failures(A) == 1)
    wait = engine.queue.wait_seconds()
    assert wait is not None
    assert at_least <= wait


async def test_one_refusal_delays_little_and_many_are_tried_rarely() -> None:
    engine = engine_over(SimulatedCluster(), Script(*[Refused("no")] * 10))
    now, waits = 0.0, []
    queue = engine.queue = WorkQueue(lambda: now, chance=lambda: 0.0)
    queue.add(A)
    for _ in range(10):
        key = queue.take()
        assert key is not None
        await engine._pass(key)
        waits.append(queue.wait_seconds() or 0.0)
        now += waits[-1]
    assert waits[:3] == [2, 4, 8]
    assert waits[-2:] == [300, 300]


async def test_a_bug_in_one_pass_is_logged_and_stops_nobody_else(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bugs = observability.PASSES.labels("Deployment", "bug")
    before = bugs._value.get()
    script = Script(KeyError("oops"))
    engine = engine_over(SimulatedCluster(), script)
    engine.queue.add(A)
    with caplog.at_level(logging.ERROR):
        async with running(engine):
            await reached(lambda: len(script.keys) == 1)
            engine.queue.add(B)
            await reached(lambda: script.keys == [A, B])
    assert "a bug in the operator" in caplog.text
    assert "KeyError" in caplog.text
    assert bugs._value.get() == before + 1
    assert engine.queue.failures(A) == 1


async def test_a_change_wakes_who_is_interested() -> None:
    script = Script()
    engine = engine_over(SimulatedCluster(), script)
    pod = {
        "metadata": {
            "name": "p",
            "namespace": "shop",
            "labels": {"trimtab.dev/deployment": "a"},
        }
    }
    async with running(engine):
        engine.on_change(None)
        engine.on_change(Change(PODS, None, pod))
        await reached(lambda: script.keys == [A])


async def test_idle_waits_for_the_passes_under_way() -> None:
    gate = asyncio.Event()

    async def slow(world: World, key: Key) -> None:
        await gate.wait()

    engine = engine_over(SimulatedCluster(), slow)
    engine.queue.add(A)
    async with running(engine):
        await reached(lambda: engine.queue.in_flight == 1)
        waiting = asyncio.create_task(engine.idle())
        await asyncio.sleep(0)
        assert not waiting.done()
        gate.set()
        await asyncio.wait_for(waiting, 5)


async def test_the_queue_is_drained_when_nothing_was_ever_due() -> None:
    engine = engine_over(SimulatedCluster(), nothing)
    async with running(engine):
        await reached(engine.drained.is_set)
