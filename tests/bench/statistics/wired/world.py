"""One rollout as wired: the real schedule, counters, passes and decisions on a virtual clock.

Simulated are the cluster, its pods and their users. Counters enter at the scraper, each scrape at
its place in the real schedule; some are late, some fail. Or a Prometheus has scraped the pods, and
is asked. Time is the event loop's own and jumps.
"""

from __future__ import annotations

import asyncio
import hashlib
import selectors
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeVar, TypeVarTuple

import numpy as np
from tests.bench.statistics.wired.prometheus import URL, Source, VirtualPrometheus
from tests.bench.statistics.wired.users import Users

from trimtab.api.meta import API_VERSION
from trimtab.cluster.port import DEPLOYMENTS, PODS, SERVICES, Json, Key
from trimtab.reconcile.machine.world import Settings
from trimtab.reconcile.reconcilers import RECONCILERS
from trimtab.simulation.cluster import START, SimulatedCluster, is_pod_ready, ready_pods
from trimtab.simulation.harness import Harness
from trimtab.simulation.store import MemoryStore
from trimtab.telemetry.credentials import Readers
from trimtab.telemetry.exposition import Exposition
from trimtab.telemetry.port import NoData, NoDataReason, Target
from trimtab.telemetry.prometheus_answer import Sampled
from trimtab.telemetry.scrape import Scraper
from trimtab.telemetry.scraped import ScrapedTelemetry

TICK_SECONDS = 0.5
SETTLE_SECONDS = 1.0
REST_TICK_SECONDS = 5.0
REST_SETTLE_SECONDS = 5.0
"""While nothing changes in the cluster."""
KEY = Key(DEPLOYMENTS, "shop", "churn")
SETTINGS = Settings(serving_image="trimtab/serving", training_image="trimtab/training")
STEPS = ({"weight": "25%", "for": "1m"}, {"weight": "50%", "for": "2m"})
LONGEST_SECONDS = 3600.0
T = TypeVar("T")
Arguments = TypeVarTuple("Arguments")


class _JumpingSelector(selectors.DefaultSelector):
    """In place of waiting it lets the clock jump."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        found = super().select(0)
        if not found and timeout:
            self.now += timeout
        return found


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose time is that of what is due next."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        """Return the virtual time in seconds."""
        return self._jumping.now

    def run_in_executor(
        self,
        executor: Executor | None,
        func: Callable[[*Arguments], T],
        *args: *Arguments,
    ) -> asyncio.Future[T]:
        """Return a future that is done: time would jump while a thread works."""
        future: asyncio.Future[T] = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 - whoever waits for it is told
            future.set_exception(error)
        return future


@dataclass(frozen=True)
class Trouble:
    """What happens to scrapes: shares of them, and seconds that a late one takes at most."""

    lost: float = 0.005
    late: float = 0.01
    late_seconds: float = 2.0


@dataclass(frozen=True)
class Trial:
    """What one rollout is like; `spec` is merged into the Deployment's."""

    users: Callable[[np.random.Generator], Users]
    replicas: int = 3
    rest_seconds: float = 600.0
    interval: str = "5s"
    prometheus: Source | None = None
    """Who scrapes the pods in place of the operator."""
    trouble: Trouble = field(default_factory=Trouble)
    rollout: Mapping[str, Any] = field(default_factory=dict)
    events: tuple[tuple[float, Callable[[World], None]], ...] = ()
    """What happens so many seconds after the rollout began, in order."""


@dataclass(frozen=True)
class End:
    """How a rollout ended: outcome, seconds since it began, candidate requests until then."""

    outcome: str
    seconds: float
    requests: int
    message: str


class VirtualScraper(Scraper):
    """Answers as the simulated pods would, on the loop's time."""

    def __init__(self, world: World) -> None:
        super().__init__(now=world.unix)
        self._world = world
        self._draws = np.random.default_rng(world.seed + 1)

    async def scrape(self, target: Target) -> Sampled | NoData:
        """One scrape; it shows what the pod had counted at some time while it was under way."""
        trouble, draws = self._world.trial.trouble, self._draws
        if self._world.is_silent(target) or draws.random() < trouble.lost:
            await asyncio.sleep(target.timeout_seconds)
            return NoData(NoDataReason.BACKEND_DOWN, "no answer", is_silent=True)
        takes = draws.uniform(0.005, 0.05)
        if draws.random() < trouble.late:
            takes = draws.uniform(0.0, trouble.late_seconds)
        shown = takes * draws.random()
        await asyncio.sleep(shown)
        values = self._world.exposition_of(target.pod)
        await asyncio.sleep(takes - shown)
        if values is None:
            return NoData(NoDataReason.BACKEND_DOWN, "connection refused", is_silent=True)
        return Sampled(self._world.unix(), values)


class World:
    """One Deployment with its users and one operator."""

    _running: asyncio.Task[None]
    _scraping: asyncio.Task[None] | None = None

    def __init__(self, trial: Trial, seed: int) -> None:
        self.trial, self.seed = trial, seed
        self.cluster = SimulatedCluster()
        self.draws = np.random.default_rng(seed)
        self.users = trial.users(self.draws)
        self.silent: Callable[[str], bool] = lambda _version: False
        source = trial.prometheus
        self._prometheus = VirtualPrometheus(self, source) if source is not None else None
        self._wake = asyncio.Event()
        self._has_news = False
        self._events: list[tuple[float, Callable[[World], None]]] = []
        self._ready: list[Json] = []
        self._pods: dict[str, Json] = {}
        self._ready_at = self._pods_at = self._settle_at = -1.0
        self._loop = asyncio.get_running_loop()
        # The phase of the schedule is a hash: another start is another place in it.
        self._offset = float(self.draws.uniform(0, 60))
        self.harness = Harness(
            self.cluster,
            RECONCILERS,
            make_telemetry=self._new_telemetry,
            make_store=MemoryStore,
            settings=SETTINGS,
        )

    def unix(self) -> float:
        """Return the time as Unix seconds."""
        return START.timestamp() + self._loop.time()

    def _new_telemetry(self) -> ScrapedTelemetry:
        self.telemetry = ScrapedTelemetry(
            self._on_sample,
            scraper=VirtualScraper(self),
            now=self.unix,
            readers=Readers(transport=self._prometheus),
        )
        return self.telemetry

    def _on_sample(self, _key: str) -> None:
        self.harness.queue.add(KEY)
        self._has_news = True
        self._wake.set()

    # --- what pods show

    def is_silent(self, target: Target) -> bool:
        """Whether the metrics port of a pod does not answer."""
        pod = self._pod(target.pod)
        return pod is not None and self.silent(pod["metadata"]["labels"]["trimtab.dev/version"])

    def _pod(self, name: str) -> Json | None:
        if self._pods_at != self.cluster.version:
            self._pods_at = self.cluster.version
            self._pods = {pod["metadata"]["name"]: pod for pod in self.cluster.views(PODS)}
        return self._pods.get(name)

    def exposition_of(self, name: str) -> Exposition | None:
        """Return what a pod's metrics port shows now; None while it starts or is gone."""
        pod = self._pod(name)
        if pod is None or not (is_pod_ready(pod) or self.users.knows(pod)):
            return None
        self._send()
        return self.users.exposition(pod)

    # --- what happens to them

    def lose_pod(self, version: str) -> None:
        """One Ready pod of a version is deleted, and replaced."""
        for pod in self.ready_pods():
            if pod["metadata"]["labels"]["trimtab.dev/version"] == version:
                self.cluster.user_delete(Key(PODS, KEY.namespace, pod["metadata"]["name"]))
                return

    def restart_operator(self) -> None:
        """A new operator process begins with nothing but what the cluster keeps."""
        self._running.cancel()
        self.harness.restart()
        self._running = asyncio.create_task(self.telemetry.run())

    # --- time

    async def live(
        self,
        seconds: float,
        until: Callable[[], bool] = lambda: False,
        settle_seconds: float = SETTLE_SECONDS,
        tick_seconds: float = TICK_SECONDS,
    ) -> bool:
        """Let time go by; return whether `until` came true."""
        end = self._loop.time() + seconds
        while not until():
            left = end - self._loop.time()
            if left <= 0:
                return False
            tick = self._loop.call_later(min(left, tick_seconds), self._wake.set)
            await self._wake.wait()
            tick.cancel()
            self._wake.clear()
            self._send()
            while self._events and self._events[0][0] <= self._loop.time():
                self._events.pop(0)[1](self)
            if self._has_news or self._loop.time() >= self._settle_at:
                self._has_news = False
                self._settle_at = self._loop.time() + settle_seconds
                await self.harness.settle()
        return True

    def _send(self) -> None:
        """Send the requests since the last time, and bring the cluster to now."""
        now = self._loop.time()
        self.users.send(self, now)
        self.cluster.time = START + timedelta(seconds=now)

    def ready_pods(self) -> list[Json]:
        """Return the pods that the Service selects."""
        if self._ready_at != self.cluster.version:
            self._ready_at = self.cluster.version
            service = self.cluster.get(KEY._replace(resource=SERVICES))
            self._ready = ready_pods(self.cluster, service) if service is not None else []
        return self._ready

    # --- the rollout

    @property
    def status(self) -> Json:
        """The Deployment's status."""
        found = next(iter(self.cluster.views(DEPLOYMENTS)), {})
        status: Json = found.get("status") or {}
        return status

    def want(self, version: str) -> None:
        """Publish a version and ask for it."""
        uri = f"s3://simulated/churn/{version}/"
        digest = "sha256:" + hashlib.sha256(version.encode()).hexdigest()
        self.cluster.user_apply(
            {
                "apiVersion": API_VERSION,
                "kind": "ModelVersion",
                "metadata": {"name": f"churn-{version}", "namespace": KEY.namespace},
                "spec": {
                    "model": "churn",
                    "version": version,
                    "artifact": {"uri": uri, "digest": digest},
                },
            }
        )
        metrics: Json = {"scrape": {"interval": self.trial.interval}}
        if self.trial.prometheus is not None:
            metrics = {"prometheus": {"url": URL, "interval": self.trial.prometheus.look}}
        self.cluster.user_apply(
            {
                "apiVersion": API_VERSION,
                "kind": "Deployment",
                "metadata": {"name": KEY.name, "namespace": KEY.namespace},
                "spec": {
                    "model": "churn",
                    "version": version,
                    "replicas": self.trial.replicas,
                    "metrics": metrics,
                    "rollout": {"steps": list(STEPS), **self.trial.rollout},
                },
            }
        )
        self.harness.queue.add(KEY)

    async def run(self) -> End:
        """Serve `v1`, rest, try `v2`; return how that ended."""
        self._running = asyncio.create_task(self.telemetry.run())
        if self._prometheus is not None:
            self._scraping = asyncio.create_task(self._prometheus.run())
        try:
            await asyncio.sleep(self._offset)
            self._send()
            self.want("v1")
            assert await self.live(300, lambda: "stable" in self.status), self.status
            await self.live(
                self.trial.rest_seconds,
                settle_seconds=REST_SETTLE_SECONDS,
                tick_seconds=REST_TICK_SECONDS,
            )
            began = self._loop.time()
            self.want("v2")
            self.users.begin(self, began)
            self._events = [(began + after, happens) for after, happens in self.trial.events]
            ended = await self.live(LONGEST_SECONDS, self._is_over)
            history = self.status.get("history") or [{}]
            outcome = history[-1].get("outcome", "") if ended else "unfinished"
            message = history[-1].get("message", "")
            return End(outcome, self._loop.time() - began, self.users.answered["v2"], message)
        finally:
            running = [one for one in (self._running, self._scraping) if one is not None]
            for one in running:
                one.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    def _is_over(self) -> bool:
        return any(h["version"] == "v2" for h in self.status.get("history") or [])


def play(trial: Trial, seed: int) -> End:
    """Run one rollout on a clock of its own."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:

        async def main() -> End:
            return await World(trial, seed).run()

        return runner.run(main())
