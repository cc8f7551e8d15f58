"""An engine over the cluster in memory, for tests of what surrounds the reconcilers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, cast

from tests.patience import stretched

from trimtab.cluster.port import OWN_KINDS, Key
from trimtab.reconcile.machine.cache import Cache
from trimtab.reconcile.machine.engine import Engine
from trimtab.reconcile.machine.queue import WorkQueue
from trimtab.reconcile.machine.world import Settings, World
from trimtab.simulation.cluster import SimulatedCluster

SETTINGS = Settings(serving_image="serving:1", training_image="training:1")
Pass = Callable[[World, Key], Awaitable[datetime | None]]


def engine_over(cluster: SimulatedCluster, reconcile: Pass, most_at_once: int = 4) -> Engine:
    """Return an engine whose four reconcilers are the same one."""
    queue = WorkQueue(time.monotonic)
    world = World(
        cluster=cluster,
        cache=Cache(),
        telemetry=cast(Any, None),
        store=cast(Any, None),
        settings=SETTINGS,
        enqueue=queue.add,
    )
    reconcilers = dict.fromkeys(OWN_KINDS, reconcile)
    return Engine(world, queue, reconcilers, most_at_once=most_at_once)


@asynccontextmanager
async def running(engine: Engine, *, allowed: bool = True) -> AsyncIterator[None]:
    """Run the engine within the block."""
    if allowed:
        engine.allow()
    task = asyncio.create_task(engine.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def reached(condition: Callable[[], object], limit_seconds: float = 5.0) -> None:
    """Poll until something is so; TimeoutError after the limit."""
    async with asyncio.timeout(stretched(limit_seconds)):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.005)


async def nothing(world: World, key: Key) -> None:
    """Do nothing."""
