"""One process of the operator: the real parts, in the order of `handlers.operator`, on the
loop's own time. In place of kopf stands a watch that lists once more and then hears of changes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

from tests.faults.api import Connection

from trimtab.api.resource import Resource
from trimtab.cluster.kubernetes_api import KubernetesCluster
from trimtab.cluster.port import PODS, Json, Key
from trimtab.handlers.environment import Environment
from trimtab.handlers.events import take
from trimtab.handlers.operator import PASSES_AT_ONCE, PASSES_PER_SECOND, Operator, finish, lead
from trimtab.handlers.parts import Parts
from trimtab.reconcile.checkpoints import Checkpoints
from trimtab.reconcile.kinds.names import telemetry_key
from trimtab.reconcile.machine.cache import Cache, Change
from trimtab.reconcile.machine.engine import Engine, Reconciler
from trimtab.reconcile.machine.health import Health
from trimtab.reconcile.machine.interest import interested, interested_in_own_write
from trimtab.reconcile.machine.lease import Leadership
from trimtab.reconcile.machine.queue import TokenBucket, WorkQueue
from trimtab.reconcile.machine.resync import Resync
from trimtab.reconcile.machine.state_page import StatePage
from trimtab.reconcile.machine.watched import watched, written
from trimtab.reconcile.machine.world import Settings, World
from trimtab.reconcile.notifying.namespaces import Namespaces
from trimtab.reconcile.notifying.notifier import Notifier
from trimtab.reconcile.reconcilers import RECONCILERS
from trimtab.simulation.store import MemoryStore
from trimtab.simulation.telemetry import SimulatedTelemetry
from trimtab.simulation.traffic import Traffic
from trimtab.store.port import Documents, StoreAway
from trimtab.telemetry.port import NoData, NoDataReason

if TYPE_CHECKING:
    from tests.faults.world import Stage

SETTINGS = Settings(serving_image="serving:1", training_image="training:1")
LEASE = "trimtab"
UNTIL_WATCHED_SECONDS = 0.3
"""Until kopf knows what there is to watch."""
MOST_PASSES_AT_A_TIME = 300


class InOrder(Engine):
    """The engine; keys of one change are added by name, as a set has no order."""

    def on_change(self, change: Change | None) -> None:
        """See the engine."""
        if change is not None:
            for key in sorted(interested(self.world.cache, change), key=str):
                self.queue.add(key)

    def _after_own_write(self, change: Change) -> None:
        for key in sorted(interested_in_own_write(self.world.cache, change), key=str):
            self.queue.add(key)


class Telemetry(SimulatedTelemetry):
    """Counts by the clock of its process."""

    def __init__(self, stage: Stage, clock: Callable[[], datetime]) -> None:
        super().__init__(stage.cluster)
        self._clock = clock

    def _now(self) -> float:
        return self._clock().timestamp()

    def scrape(self, traffic: Traffic, on_sample: Callable[[Key], None]) -> None:
        """Also a pod that is gone is asked, and does not answer."""
        key = telemetry_key(traffic.deployment)
        pods = {pod["metadata"]["name"] for pod in self.cluster.views(PODS)}
        for target in self._targets.get(key, ()):
            if target.pod not in pods:
                gone = NoData(NoDataReason.BACKEND_DOWN, "no route to host", is_silent=True)
                self.counters.record_failure(key, target.process, gone, self._now())
        super().scrape(traffic, on_sample)


class Artifacts(MemoryStore):
    """What was read once is known to its process."""

    def __init__(self, stage: Stage) -> None:
        super().__init__()
        self._stage = stage

    async def documents(self, uri: str, digest: str) -> Documents:
        """See the port."""
        if self._stage.store_is_away:
            raise StoreAway("connection refused")
        return await super().documents(uri, digest)


class Process:
    """One process. `start` runs it; it ends by `kill`, or by itself when the Lease is lost."""

    def __init__(self, stage: Stage, identity: str) -> None:
        self.stage = stage
        self.identity = identity
        self.connection = Connection(stage.server)
        self.connection.kill = self.kill
        self.is_alive = False
        self.is_watching = False
        loop = asyncio.get_running_loop()
        self.telemetry = Telemetry(stage, self.now)
        self.operator = self._built(loop.time)
        self._passes = (0.0, 0)
        self._held: list[tuple[str | None, Resource, Json]] | None = None
        self._task: asyncio.Task[None]

    def now(self) -> datetime:
        """Return the time by the clock of this process."""
        return self.stage.cluster.now() + timedelta(seconds=self.stage.clock_is_off)

    def _built(self, clock: Callable[[], float]) -> Operator:
        environment = Environment(SETTINGS, self.identity, LEASE, 0, "INFO")
        bucket = TokenBucket(rate=PASSES_PER_SECOND, burst=PASSES_AT_ONCE)
        queue = WorkQueue(clock, bucket=bucket, chance=lambda: 0.5)
        cluster = KubernetesCluster(
            self.connection, written=written(), instance=self.identity, clock=clock, now=self.now
        )
        world = World(
            cluster, Cache(), self.telemetry, Artifacts(self.stage), SETTINGS, queue.add, self.now
        )
        reconcilers = {kind: self._counted(one) for kind, one in RECONCILERS.items()}
        engine = InOrder(world, queue, reconcilers)
        resync = Resync(engine, clock=clock, chance=lambda: 0.5)
        world.list_soon = resync.list_soon
        leadership = Leadership(cluster, engine, name=LEASE, identity=self.identity, clock=clock)
        health = Health(engine, resync, leadership, clock=clock)
        state = StatePage(world.cache, now=self.now, leads=lambda: leadership.speaks)
        checkpoints = Checkpoints(world, self.stage.checkpoints, leading=engine.allowed)
        namespaces = Namespaces(cluster, clock=clock)
        notifier = Notifier(world.cache, cluster, [], namespaces, now=self.now)
        telemetry = cast(Any, self.telemetry)
        stop = asyncio.Event()
        return Operator(
            engine,
            telemetry,
            resync,
            leadership,
            health,
            state,
            checkpoints,
            notifier,
            environment,
            stop,
        )

    def _counted(self, reconcile: Reconciler) -> Reconciler:
        """Passes that take no time, one after the other, are a loop without an end."""

        async def counted(world: World, key: Key) -> datetime | None:
            at = asyncio.get_running_loop().time()
            began, passes = self._passes
            self._passes = (at, passes + 1) if at == began else (at, 1)
            if passes > MOST_PASSES_AT_A_TIME:
                self.stage.watchman.say(f"hot loop over {key}")
                await asyncio.sleep(1.0)
            return await reconcile(world, key)

        return counted

    # --- life -------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to run."""
        self.is_alive = True
        self._task = asyncio.create_task(self._run())
        self._task.add_done_callback(self._ended)

    def kill(self) -> None:
        """End at once: nothing is sent and nothing is heard any more."""
        if self.is_alive:
            self._leave()
            self._task.cancel()

    async def stop(self) -> None:
        """End as on SIGTERM: passes end, what was counted is kept, the Lease is given back."""
        if self.is_alive:
            await finish(self.operator)
            self.kill()

    def _leave(self) -> None:
        self.connection.is_dead = True
        self.is_alive = self.is_watching = False

    def _ended(self, task: asyncio.Task[None]) -> None:
        if self.is_alive:
            self._leave()
            if not task.cancelled() and (error := task.exception()) is not None:
                self.stage.died(self, error)

    async def _run(self) -> None:
        operator, parts = self.operator, Parts()
        never = asyncio.create_task(operator.stop.wait())
        try:
            parts.start("lease", operator.leadership.run())
            parts.start("watch", self._watch())
            parts.start("lists", operator.resync.run())
            caught_up = asyncio.create_task(operator.resync.caught_up.wait())
            await parts.until(never, caught_up)
            parts.start("passes", lead(operator))
            await parts.until(never)
        finally:
            never.cancel()
            await parts.end()

    async def _watch(self) -> None:
        await asyncio.sleep(UNTIL_WATCHED_SECONDS)
        self.watch_anew()
        await asyncio.Event().wait()

    # --- what it hears ----------------------------------------------------------------------

    def watch_anew(self) -> None:
        """List every kind as kopf does, and hear of changes from then on."""
        for resource in watched():
            for obj in self.stage.listed(resource):
                self.hear(None, resource, obj)
        self.is_watching = True
        for resource in watched():
            self.operator.resync.on_watch(resource)

    def hold_events(self) -> None:
        """Hear of nothing until `release_events`, and of all of it then."""
        self._held = self._held or []

    def release_events(self) -> None:
        """Hear of what was held."""
        held, self._held = self._held or [], None
        for event in held:
            self.hear(*event)

    def hear(self, event: str | None, resource: Resource, obj: Json) -> None:
        """Take an event in."""
        if self._held is not None:
            self._held.append((event, resource, obj))
        elif self.is_alive:
            engine = self.operator.engine
            engine.on_change(take(engine, resource, event, obj))

    def forget_watch(self) -> None:
        """Hear of nothing until `watch_anew`."""
        self.is_watching = False

    def sampled(self) -> None:
        """Scrape the pods of all Deployments."""
        for traffic in self.stage.traffic.values():
            self.telemetry.scrape(traffic, self.operator.engine.queue.add)
