"""One run: the cluster and its controllers, users, a person, and processes of the operator.

Time is the event loop's own and jumps from one due thing to the next; nothing is left to chance,
so that a run is the same each time.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from tests.faults.api import Server
from tests.faults.process import Process
from tests.faults.watchman import Watchman
from tests.unit.reconcile.machine.memory_objects import MemoryObjects

from trimtab.api.meta import MANAGED_BY_LABEL, MANAGER
from trimtab.api.resource import Resource
from trimtab.cluster.port import DEPLOYMENTS, OWN_KINDS, WORKLOADS, Json, Key
from trimtab.errors import Refused
from trimtab.reconcile.machine.watched import watched
from trimtab.simulation.cluster import START, EventType, SimulatedCluster
from trimtab.simulation.jobs import JobController
from trimtab.simulation.kubelet import Behave, Kubelet
from trimtab.simulation.traffic import Behaviour, Traffic
from trimtab.store.sealed import SealedCheckpoints

SEED = b"s" * 32
TICK_SECONDS = 5.0
USERS_PER_SECOND = 20.0
EVENT_SECONDS = 0.006
CONTROLLER_SECONDS = 0.02
POLL_SECONDS = 1.0
RESTART_SECONDS = 2.0
PATIENCE_SECONDS = 2000.0


class Stuck(Exception):
    """What a person waits for does not come."""


class TimedCluster(SimulatedCluster):
    """Its time is the loop's."""

    @property
    def time(self) -> datetime:
        """Return the time since the loop began."""
        return START + timedelta(seconds=asyncio.get_running_loop().time())

    @time.setter
    def time(self, value: datetime) -> None:
        """Time goes by itself."""


class Bugs(logging.Handler):
    """Hears of every exception that the engine took for a bug."""

    def __init__(self, say: Callable[[str], None]) -> None:
        super().__init__(logging.ERROR)
        self._say = say

    def emit(self, record: logging.LogRecord) -> None:
        """Say it in one line."""
        error = record.exc_info[1] if record.exc_info else None
        self._say(f"bug: {record.getMessage()}: {error!r}"[:300])


class Stage:
    """The world of one run, and what a person does in it."""

    key = Key(DEPLOYMENTS, "shop", "digits")

    def __init__(self) -> None:
        self.cluster = TimedCluster()
        self.kubelet = Kubelet(self.cluster)
        self.jobs = JobController(self.cluster)
        self.watchman = Watchman(self)
        self.server = Server(
            self.cluster, before_write=self.watchman.before_write, past=self.listed_at
        )
        self.objects = MemoryObjects()
        self.checkpoints = SealedCheckpoints(self.objects, SEED)
        self.quota_is_full = False
        """New workloads are refused."""
        self.store_is_away = False
        """Neither artifacts nor checkpoints can be read or written."""
        self.clock_is_off = 0.0
        """Seconds that the clocks of all operators are ahead."""
        self.behaviour: dict[str, Behaviour] = {}
        self.good = Behaviour(errors=0.001)
        self.traffic: dict[Key, Traffic] = {}
        self.processes: list[Process] = []
        self.events: list[str] = []
        """Watch events so far, in words."""
        self.on_event: Callable[[Process, EventType, Resource, Json], bool] = lambda *event: False
        """Returns whether the event was dealt with otherwise."""
        self._seen: set[tuple[Resource, str, str]] = set()
        """What watches by label tell of."""
        self._history: list[tuple[float, EventType, Resource, Json]] = []
        self._changed = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self.cluster.listen(self._on_change)
        self.cluster.fault = self._over_quota

    @property
    def seconds(self) -> float:
        """Seconds since the beginning."""
        return asyncio.get_running_loop().time()

    # --- processes --------------------------------------------------------------------------

    def begin(self) -> None:
        """Start the controllers, the users and one operator."""
        self._tasks = [
            asyncio.create_task(self._control()),
            asyncio.create_task(self._ask()),
        ]
        self.start_operator()

    def start_operator(self, identity: str = "operator-a") -> Process:
        """Start one more process of the operator."""
        process = Process(self, identity)
        self.processes.append(process)
        process.start()
        return process

    def start_later(self, seconds: float, identity: str = "operator-a") -> None:
        """Start a process after a while."""
        asyncio.get_running_loop().call_later(seconds, self.start_operator, identity)

    def died(self, process: Process, error: BaseException) -> None:
        """A process ended by itself: its container is started again."""
        self.start_later(RESTART_SECONDS, process.identity)

    def lose_store(self, is_away: bool) -> None:
        """Take the store of artifacts and checkpoints away, or give it back."""
        self.store_is_away = self.objects.is_away = is_away

    async def end(self) -> None:
        """End everything."""
        for process in self.processes:
            process.kill()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    # --- the cluster ------------------------------------------------------------------------

    def _over_quota(self, verb: str, key: Key) -> Exception | None:
        if self.quota_is_full and verb == "apply_new" and key.resource == WORKLOADS:
            return Refused(f"{verb} {key}: 403 exceeded quota: pods")
        return None

    def _on_change(self, event: EventType, resource: Resource, obj: Json) -> None:
        self._changed.set()
        self.watchman.on_change(event, resource, obj)
        if resource not in watched() or (told := self._as_told(event, resource, obj)) is None:
            return
        event = told
        self._history.append((self.seconds, event, resource, obj))
        for process in self.processes:
            if process.is_watching:
                name = obj["metadata"]["name"]
                self.events.append(f"{event} {resource.plural} {name} at {self.seconds:.0f} s")
                if not self.on_event(process, event, resource, obj):
                    self.tell_later(EVENT_SECONDS, process, event, resource, obj)

    def _as_told(self, event: EventType, resource: Resource, obj: Json) -> EventType | None:
        """Return what a watch by label makes of a change; None: it tells nothing.

        Whoever loses the label is deleted for it, whoever gets it is new.
        """
        name = (resource, obj["metadata"].get("namespace", ""), obj["metadata"]["name"])
        was_seen, is_seen = name in self._seen, _is_seen(resource, obj) and event != "DELETED"
        if is_seen:
            self._seen.add(name)
            return "MODIFIED" if was_seen else "ADDED"
        self._seen.discard(name)
        return "DELETED" if was_seen else None

    def tell_later(
        self, seconds: float, process: Process, event: EventType, resource: Resource, obj: Json
    ) -> None:
        """Tell a process of an event after a while."""
        loop = asyncio.get_running_loop()
        loop.call_later(seconds, process.hear, event, resource, obj)

    def listed(self, resource: Resource) -> list[Json]:
        """Return what an operator may see now."""
        return [obj for obj in self.cluster.views(resource) if _is_seen(resource, obj)]

    def children(self, resource: Resource) -> list[Key]:
        """Return the children of the Deployment, also those that were taken away from it."""
        return [
            Key(resource, obj["metadata"]["namespace"], obj["metadata"]["name"])
            for obj in self.cluster.views(resource)
            if obj["metadata"]["name"].startswith(self.key.name)
        ]

    def listed_at(self, resource: Resource, seconds_ago: float) -> list[Json]:
        """Return what an operator might have seen a while ago."""
        objects: dict[str, Json] = {}
        for at, event, kind, obj in self._history:
            if kind == resource and at <= self.seconds - seconds_ago:
                objects[obj["metadata"]["namespace"] + "/" + obj["metadata"]["name"]] = obj
                if event == "DELETED":
                    del objects[obj["metadata"]["namespace"] + "/" + obj["metadata"]["name"]]
        return list(objects.values())

    async def _control(self) -> None:
        """Do what the workload controller, the nodes and the Job controller do."""
        while True:
            await asyncio.sleep(CONTROLLER_SECONDS)
            self._changed.clear()
            self.kubelet.step()
            self.jobs.step()
            times = [at for at in (self.kubelet.next_at(), self.jobs.next_at()) if at is not None]
            wait = (min(times) - self.cluster.time).total_seconds() if times else None
            try:
                async with asyncio.timeout(wait):
                    await self._changed.wait()
            except TimeoutError:
                continue

    async def _ask(self) -> None:
        """Send requests, and let each operator read what the pods have counted."""
        while True:
            await asyncio.sleep(TICK_SECONDS)
            for key, traffic in self.traffic.items():
                if (self._live(key).get("status") or {}).get("stable"):
                    traffic.send(TICK_SECONDS)
            for process in self.processes:
                if process.is_alive:
                    process.sampled()

    @property
    def lost(self) -> int:
        """Requests that no pod was there for."""
        return round(self.watchman.unserved_seconds * USERS_PER_SECOND)

    @property
    def bad(self) -> int:
        """Requests that were answered badly."""
        answered = [t.answered for t in self.traffic.values()]
        return int(sum(n for of in answered for name, n in of.items() if name.endswith("!")))

    # --- what a person does -----------------------------------------------------------------

    def apply(self, manifest: Json) -> None:
        """Apply an object; users come to a Deployment."""
        self.cluster.user_apply(manifest)
        if manifest["kind"] == "Deployment" and self.key not in self.traffic:
            self.traffic[self.key] = Traffic(
                self.cluster,
                self.key,
                lambda version: self.behaviour.get(version, self.good),
                rate=USERS_PER_SECOND,
            )

    def behave(self, how: Behave) -> None:
        """Let pods behave otherwise, at once: nodes are added, for example."""
        self.kubelet.behave = how
        self._changed.set()

    def change(self, **spec: Any) -> None:
        """Change the spec of the Deployment."""
        self.cluster.user_change(self.key, lambda obj: obj["spec"].update(spec))

    def command(self, verb: str, id: str, argument: str = "-") -> None:
        """Give a command."""
        if verb == "retry":
            self.watchman.may_lift()
        annotations = {
            "trimtab.dev/command": f"{verb}/{argument}/{id}",
            "trimtab.dev/command-by": "ann",
        }
        self.cluster.user_annotate(self.key, **annotations)

    async def rest(self, seconds: float) -> None:
        """Let time go by."""
        await asyncio.sleep(seconds)

    async def until(self, reached: Callable[[], bool], what: str) -> None:
        """Wait for something; raises Stuck."""
        end = self.seconds + PATIENCE_SECONDS
        while not reached():
            if self.seconds > end:
                raise Stuck(f"waited in vain for {what}")
            await asyncio.sleep(POLL_SECONDS)

    # --- what a person sees -----------------------------------------------------------------

    def _live(self, key: Key) -> Json:
        found = self.cluster.views(key.resource, key.namespace)
        return next((obj for obj in found if obj["metadata"]["name"] == key.name), {})

    @property
    def status(self) -> Json:
        """Of the Deployment."""
        status: Json = self._live(self.key).get("status") or {}
        return status

    @property
    def serving(self) -> str:
        """Version that serves."""
        return str((self.status.get("stable") or {}).get("version", ""))

    @property
    def phase(self) -> str:
        """Of the rollout; empty at rest."""
        return str((self.status.get("rollout") or {}).get("phase", ""))

    @property
    def outcomes(self) -> list[str]:
        """How rollouts ended."""
        return [f"{e['version']} {e['outcome']}" for e in self.status.get("history") or []]

    def condition(self, kind: str) -> str:
        """Return the status of a condition of the Deployment."""
        found = self.status.get("conditions") or []
        return next((str(c["status"]) for c in found if c["type"] == kind), "")


def _is_seen(resource: Resource, obj: Json) -> bool:
    """Return whether an operator is told of it: children only where labelled as ours."""
    labels = obj["metadata"].get("labels") or {}
    return resource in OWN_KINDS or labels.get(MANAGED_BY_LABEL) == MANAGER
