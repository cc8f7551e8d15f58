"""Plays many plans of one story at the cost of their ends.

Up to its fault a plan goes as the undisturbed run. That run is made once, and at each moment with
plans a process branches off for each of them, which goes on with the fault.
"""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import traceback
from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection as Pipe
from multiprocessing.connection import Pipe as pipe
from multiprocessing.connection import wait
from typing import Any, NoReturn

from tests.faults.api import Connection, Request, Serve, undisturbed
from tests.faults.plans import AT_EVENTS, Plan, arrange
from tests.faults.world import Stage

from trimtab.api.resource import Resource
from trimtab.cluster.port import Json
from trimtab.simulation.cluster import EventType


@dataclass
class Branches:
    """The plans of one story, and the processes that play them; `most` at a time."""

    plans: Iterable[Plan]
    most: int
    results: list[Any] = field(default_factory=list)
    """What the processes have sent."""
    plan: Plan | None = None
    """The one that this process plays; None in the one that nothing disturbs."""
    _pipe: Pipe | None = None
    _running: dict[Pipe, int] = field(default_factory=dict)
    """Process ids."""

    def arrange(self, stage: Stage) -> None:
        """Let a process branch off when the moment of a plan comes."""
        at_requests: defaultdict[int, list[Plan]] = defaultdict(list)
        at_events: defaultdict[int, list[Plan]] = defaultdict(list)
        for plan in self.plans:
            (at_events if plan.kind in AT_EVENTS else at_requests)[plan.number].append(plan)
        gc.collect()
        gc.freeze()

        async def disturb(connection: Connection, request: Request, serve: Serve) -> Json:
            plan = self._branch(at_requests.pop(request.number, ()))
            if plan is None:
                return await serve()
            stage.on_event = lambda *event: False
            arrange(stage, plan)
            return await stage.server.disturb(connection, request, serve)

        def hear(process: Any, event: EventType, resource: Resource, obj: Json) -> bool:
            plan = self._branch(at_events.pop(len(stage.events), ()))
            if plan is None:
                return False
            stage.server.disturb = undisturbed
            arrange(stage, plan)
            return stage.on_event(process, event, resource, obj)

        stage.server.disturb, stage.on_event = disturb, hear

    def _branch(self, plans: Iterable[Plan]) -> Plan | None:
        """Return the plan that this process plays from here on; None where it was not branched."""
        for plan in plans:
            while len(self._running) >= self.most:
                self._take(wait(list(self._running)))
            ours, theirs = pipe(duplex=False)
            sys.stdout.flush()
            loop = asyncio.get_running_loop()
            pid = os.fork()
            if pid == 0:
                asyncio._set_running_loop(loop)  # asyncio takes a loop for that of one process
                self.plan, self._pipe, self._running = plan, theirs, {}
                return plan
            theirs.close()
            self._running[ours] = pid
        return None

    def send(self, result: Any) -> NoReturn:
        """Send how a branch ended, and end its process.

        The loop is left as it is: what it waits with is shared with the process before.
        """
        assert self._pipe is not None
        self._pipe.send(result)
        os._exit(0)

    def end_if_branched(self) -> None:
        """End the process of a branch that came to grief, with its traceback."""
        if self.plan is not None:
            traceback.print_exc()
            os._exit(1)

    def finish(self) -> list[Any]:
        """Wait until all processes have ended; return what they have sent."""
        while self._running:
            self._take(wait(list(self._running)))
        return self.results

    def _take(self, ready: Iterable[Any]) -> None:
        for ours in ready:
            pid = self._running.pop(ours)
            with suppress(EOFError):  # it came to grief, and its plan has no result
                self.results.append(ours.recv())
            ours.close()
            os.waitpid(pid, 0)
