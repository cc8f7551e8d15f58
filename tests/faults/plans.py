"""What disturbs a run: a plan is a story, a kind of fault and the n-th request or event.

Requests are numbered as in the undisturbed run, which is the same up to the fault. The Lease's own
are not counted, nor are kopf's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial

from tests.faults.api import Connection, Request, Serve, Server, never
from tests.faults.process import Process
from tests.faults.world import RESTART_SECONDS, Stage

from trimtab.api.meta import DEPLOYMENT_LABEL, MANAGED_BY_LABEL, REVISION_LABEL
from trimtab.api.resource import Resource
from trimtab.cluster.lease import LEASES
from trimtab.cluster.port import SERVICES, WORKLOADS, Json
from trimtab.cluster.transport import error_of
from trimtab.errors import TrimtabError, Unavailable
from trimtab.simulation.cluster import EventType

TIMEOUT_SECONDS = 15.0
STALE_SECONDS = 10.0
AWAY_SECONDS = 30.0
STORE_AWAY_SECONDS = 120.0
PAST_DEADLINE_SECONDS = 400.0
REMEMBERED_SECONDS = 300.0
"""So long the API server knows what happened; after that a watch begins with a list."""
CLOCK_SECONDS = 600.0
HOUR_SECONDS = 3600.0
PULSE_SECONDS = 60.0
DEAF_SECONDS = 25.0
DEAF_STANDBY_SECONDS = 30.0
FROZEN_SECONDS = 25.0
TOGETHER_SECONDS = 60.0
REORDERED_SECONDS = 3.0
LABELS = (MANAGED_BY_LABEL, DEPLOYMENT_LABEL, REVISION_LABEL)
ANSWERS: Mapping[str, tuple[int, dict[str, str], Json]] = {
    "403": (403, {}, {"reason": "Forbidden", "message": "forbidden by a policy"}),
    "404": (404, {}, {"reason": "NotFound", "message": "not found"}),
    "409": (409, {}, {"reason": "Conflict", "message": "the object has been modified"}),
    "429": (429, {"Retry-After": "1"}, {"reason": "TooManyRequests"}),
    "500": (500, {}, {"reason": "InternalError", "message": "etcdserver: leader changed"}),
}


@dataclass(frozen=True)
class Plan:
    """One disturbed run."""

    story: str
    kind: str
    number: int

    def __str__(self) -> str:
        return f"{self.story}/{self.kind}/{self.number}"


def plan_of(text: str) -> Plan:
    """Return the plan of that name."""
    story, kind, number = text.split("/")
    return Plan(story, kind, int(number))


Disturbing = Callable[[Stage, Connection, Request, Serve], Awaitable[Json]]


# --- one request ---------------------------------------------------------------------------------


async def crash_before(stage: Stage, at: Connection, request: Request, serve: Serve) -> Json:
    """The process is killed before the request is sent."""
    return await _killed(stage, at, RESTART_SECONDS)


async def crash_after(stage: Stage, at: Connection, request: Request, serve: Serve) -> Json:
    """The request has its effect, and the process is killed before the reply."""
    await stage.server.serve(request)
    return await _killed(stage, at, RESTART_SECONDS)


async def stopped(stage: Stage, at: Connection, request: Request, serve: Serve) -> Json:
    """The process is asked to end while the request is under way."""
    process = _process(stage, at)
    ending = asyncio.create_task(process.stop())
    ending.add_done_callback(lambda _: stage.start_later(RESTART_SECONDS))
    return await serve()


async def down(stage: Stage, at: Connection, request: Request, serve: Serve) -> Json:
    """The operator is killed, and away until after the rollout's deadline."""
    return await _killed(stage, at, PAST_DEADLINE_SECONDS)


async def stale(stage: Stage, at: Connection, request: Request, serve: Serve) -> Json:
    """Killed, and the first lists of the next process show what was ten seconds ago."""
    stage.server.stale_seconds = STALE_SECONDS
    asyncio.get_running_loop().call_later(RESTART_SECONDS + 0.2, _no_longer_stale, stage)
    return await _killed(stage, at, RESTART_SECONDS)


async def without_store(stage: Stage, at: Connection, request: Request, serve: Serve) -> Json:
    """The store of artifacts and checkpoints is away for two minutes."""
    _lose_store(stage)
    return await serve()


async def crash_without_store(stage: Stage, at: Connection, request: Request, serve: Serve) -> Json:
    """Killed, and the next process finds no store for two minutes."""
    _lose_store(stage)
    return await _killed(stage, at, RESTART_SECONDS)


def _lose_store(stage: Stage) -> None:
    stage.lose_store(True)
    asyncio.get_running_loop().call_later(STORE_AWAY_SECONDS, stage.lose_store, False)


def _no_longer_stale(stage: Stage) -> None:
    stage.server.stale_seconds = 0.0


async def _killed(stage: Stage, at: Connection, seconds: float) -> Json:
    identity = _process(stage, at).identity
    stage.start_later(seconds, identity)
    at.kill()
    answer: Json = await never()
    return answer


async def refused(code: str, stage: Stage, at: Connection, request: Request, serve: Serve) -> Json:
    """The server answers with an error, and nothing has happened."""
    raise _error(code, request)


def _error(code: str, request: Request) -> TrimtabError:
    status, headers, body = ANSWERS[code]
    return error_of(str(request), status, headers, body)


async def timed_out(stage: Stage, at: Connection, request: Request, serve: Serve) -> Json:
    """The request has its effect, and no reply comes."""
    await serve()
    await asyncio.sleep(TIMEOUT_SECONDS)
    raise Unavailable(f"{request}: TimeoutError")


async def lands_late(
    seconds: float, stage: Stage, at: Connection, request: Request, serve: Serve
) -> Json:
    """The connection breaks, and the write has its effect a while later."""
    loop = asyncio.get_running_loop()
    loop.call_later(seconds, lambda: asyncio.ensure_future(_land(stage, request)))
    raise Unavailable(f"{request}: ServerDisconnectedError")


async def _land(stage: Stage, request: Request) -> None:
    try:
        await stage.server.serve(request)
    except TrimtabError:
        return


# --- more than one request -----------------------------------------------------------------------


async def away(
    seconds: float, stage: Stage, at: Connection, request: Request, serve: Serve
) -> Json:
    """The API server is away from now on, for all and for a while; watches wait."""
    end = stage.seconds + seconds
    before = stage.server.disturb

    async def not_there(connection: Connection, asked: Request, then: Serve) -> Json:
        if stage.seconds < end:
            raise Unavailable(f"{asked}: ClientConnectorError")
        stage.server.disturb = before
        return await then()

    stage.server.disturb = not_there
    if seconds < REMEMBERED_SECONDS:
        for process in stage.processes:
            process.hold_events()
            asyncio.get_running_loop().call_later(seconds, process.release_events)
    else:
        _break_watches(stage, seconds)
    raise Unavailable(f"{request}: ClientConnectorError")


async def without_lease(stage: Stage, at: Connection, request: Request, serve: Serve) -> Json:
    """The Lease cannot be renewed for a while; everything else is served."""
    end = stage.seconds + AWAY_SECONDS
    before = stage.server.disturb

    async def refuse(connection: Connection, asked: Request, then: Serve) -> Json:
        if asked.resource == LEASES and stage.seconds < end:
            raise _error("500", asked)
        return await before(connection, asked, then)

    stage.server.disturb = refuse
    return await serve()


async def expired(stage: Stage, at: Connection, request: Request, serve: Serve) -> Json:
    """Watches break, and come back by a list: who was deleted meanwhile is told by nobody."""
    _break_watches(stage, AWAY_SECONDS)
    return await serve()


def _break_watches(stage: Stage, seconds: float) -> None:
    for process in stage.processes:
        if process.is_watching:
            process.forget_watch()
            asyncio.get_running_loop().call_later(seconds, _watch_anew, process)


def _watch_anew(process: Process) -> None:
    if process.is_alive:
        process.watch_anew()


async def clock(
    seconds: float, stage: Stage, at: Connection, request: Request, serve: Serve
) -> Json:
    """The operator's clock jumps."""
    stage.clock_is_off = seconds
    return await serve()


async def clock_pulse(stage: Stage, at: Connection, request: Request, serve: Serve) -> Json:
    """The operator's clock is an hour ahead for a minute, and is put right."""
    stage.clock_is_off = HOUR_SECONDS
    asyncio.get_running_loop().call_later(PULSE_SECONDS, _put_right, stage)
    return await serve()


def _put_right(stage: Stage) -> None:
    stage.clock_is_off = 0.0


async def frozen(stage: Stage, at: Connection, request: Request, serve: Serve) -> Json:
    """The process stands still with a write on its way; another one takes over meanwhile."""
    stage.start_operator("operator-b")
    end = stage.seconds + FROZEN_SECONDS
    before = stage.server.disturb

    async def still(connection: Connection, asked: Request, then: Serve) -> Json:
        if connection is at and stage.seconds < end:
            await asyncio.sleep(end - stage.seconds)
        return await (before if asked.resource != LEASES else _served)(connection, asked, then)

    stage.server.disturb = still
    await asyncio.sleep(FROZEN_SECONDS)
    return await serve()


async def _served(connection: Connection, request: Request, serve: Serve) -> Json:
    return await serve()


async def together(stage: Stage, at: Connection, request: Request, serve: Serve) -> Json:
    """A second operator works for a minute, and holds a Lease of its own."""
    other = stage.start_operator("operator-b")
    own = Server(stage.cluster)
    before = stage.server.disturb

    async def both(connection: Connection, asked: Request, then: Serve) -> Json:
        if connection is other.connection and asked.resource == LEASES:
            return await own.serve(asked)
        return await before(connection, asked, then)

    stage.server.disturb = both
    asyncio.get_running_loop().call_later(TOGETHER_SECONDS, other.kill)
    return await serve()


async def deaf(stage: Stage, at: Connection, request: Request, serve: Serve) -> Json:
    """No event of any kind reaches the operator for a while, and no watch breaks."""
    _deafen(stage, _process(stage, at), DEAF_SECONDS)
    return await serve()


async def deaf_standby(stage: Stage, at: Connection, request: Request, serve: Serve) -> Json:
    """A standby that hears nothing after its first lists takes over: the leader is killed."""
    _deafen(stage, stage.start_operator("operator-b"), DEAF_STANDBY_SECONDS)
    asyncio.get_running_loop().call_later(DEAF_STANDBY_SECONDS, at.kill)
    return await serve()


def _deafen(stage: Stage, process: Process, seconds: float) -> None:
    end = stage.seconds + seconds
    before = stage.on_event

    def hear(to: Process, event: EventType, resource: Resource, obj: Json) -> bool:
        is_lost = to is process and stage.seconds < end
        return is_lost or before(to, event, resource, obj)

    stage.on_event = hear


# --- hands in the metadata of children -----------------------------------------------------------


async def unlabelled(stage: Stage, at: Connection, request: Request, serve: Serve) -> Json:
    """Somebody takes a label away from a workload or a Service."""
    label = LABELS[request.number % len(LABELS)]

    def take_away(obj: Json) -> None:
        obj["metadata"]["labels"].pop(label, None)

    _edit_child(stage, request, take_away)
    return await serve()


async def disowned(stage: Stage, at: Connection, request: Request, serve: Serve) -> Json:
    """Somebody takes its owner away from a workload or a Service."""

    def take_away(obj: Json) -> None:
        obj["metadata"].pop("ownerReferences", None)

    _edit_child(stage, request, take_away)
    return await serve()


def _edit_child(stage: Stage, request: Request, edit: Callable[[Json], None]) -> None:
    """Edit a child, another one at each request; nothing if there is none."""
    children = [key for kind in (WORKLOADS, SERVICES) for key in stage.children(kind)]
    if children:
        stage.cluster.user_change(children[request.number // len(LABELS) % len(children)], edit)


def _process(stage: Stage, at: Connection) -> Process:
    return next(process for process in stage.processes if process.connection is at)


# --- events --------------------------------------------------------------------------------------

Hearing = Callable[[Stage, Process, EventType, Resource, Json], bool]


def dropped(
    stage: Stage, process: Process, event: EventType, resource: Resource, obj: Json
) -> bool:
    """The event never arrives."""
    return True


def doubled(
    stage: Stage, process: Process, event: EventType, resource: Resource, obj: Json
) -> bool:
    """The event arrives, and again three seconds later."""
    stage.tell_later(REORDERED_SECONDS, process, event, resource, obj)
    return False


def reordered(
    stage: Stage, process: Process, event: EventType, resource: Resource, obj: Json
) -> bool:
    """The event arrives three seconds late, after those that came after it."""
    stage.tell_later(REORDERED_SECONDS, process, event, resource, obj)
    return True


AT_ANY_REQUEST: Mapping[str, Disturbing] = {
    "crash-before": crash_before,
    **{code: partial(refused, code) for code in ANSWERS},
    "timeout": timed_out,
}
AT_WRITES: Mapping[str, Disturbing] = {
    "crash-after": crash_after,
    "late-4": partial(lands_late, 4.0),
    "late-25": partial(lands_late, 25.0),
    "stop": stopped,
    "stale": stale,
    "no-store": without_store,
    "crash-no-store": crash_without_store,
    "down": down,
    "away": partial(away, AWAY_SECONDS),
    "away-long": partial(away, PAST_DEADLINE_SECONDS),
    "no-lease": without_lease,
    "expired": expired,
    "clock+": partial(clock, CLOCK_SECONDS),
    "clock-": partial(clock, -CLOCK_SECONDS),
    "clock+1h": partial(clock, HOUR_SECONDS),
    "clock-1h": partial(clock, -HOUR_SECONDS),
    "clock+24h": partial(clock, 24 * HOUR_SECONDS),
    "clock-24h": partial(clock, -24 * HOUR_SECONDS),
    "clock-pulse": clock_pulse,
    "frozen": frozen,
    "together": together,
    "deaf": deaf,
    "deaf-standby": deaf_standby,
    "unlabelled": unlabelled,
    "disowned": disowned,
}
AT_EVENTS: Mapping[str, Hearing] = {
    "dropped": dropped,
    "doubled": doubled,
    "reordered": reordered,
}
KINDS = (*AT_ANY_REQUEST, *AT_WRITES, *AT_EVENTS)


def arrange(stage: Stage, plan: Plan) -> None:
    """Let the fault of a plan happen when its moment comes."""
    if plan.kind in AT_EVENTS:
        hearing = AT_EVENTS[plan.kind]

        def hear(process: Process, event: EventType, resource: Resource, obj: Json) -> bool:
            is_it = len(stage.events) == plan.number
            return is_it and hearing(stage, process, event, resource, obj)

        stage.on_event = hear
        return
    disturbing = {**AT_ANY_REQUEST, **AT_WRITES}[plan.kind]

    async def disturb(connection: Connection, request: Request, serve: Serve) -> Json:
        if request.number == plan.number:
            return await disturbing(stage, connection, request, serve)
        return await serve()

    stage.server.disturb = disturb


def numbers_of(kind: str, requests: list[Request], events: int) -> list[int]:
    """Return the moments of a kind in a run with these requests and so many events."""
    if kind in AT_EVENTS:
        return list(range(1, events + 1))
    return [one.number for one in requests if kind in AT_ANY_REQUEST or one.is_write]
