"""Drain: readiness goes first, every request is answered, the process ends in time.

The callers here are those of a Service: they keep connections open, go elsewhere when an answer
says `Connection: close` after readiness has gone, and lose what is not answered. A request whose
body has arrived by half is in flight when the end is asked for.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import httpx

from trimtab.conform.container import JSON_TYPE, Container, NotUsable, client_of, shown
from trimtab.conform.rows import Check, Failed, Skipped, told

CALLERS: Final = 6
BEFORE_SECONDS: Final = 0.3
POLL_SECONDS: Final = 0.02
_PAGES: Final = ("/readyz", "/v2/health/ready")
"""What the probe of the pod asks on the second port, and what the protocol has on the first."""
_HOW: Final = "give --drain PID or --drain-command CMD (such as 'kubectl delete pod NAME')"


@dataclass
class Drained:
    """What was seen. Times in seconds after the end was asked for."""

    readiness: str = ""
    """The page that told readiness; empty if none did."""
    answered: int = 0
    failures: list[str] = field(default_factory=list)
    not_ready_after: float | None = None
    new_connection: str = ""
    in_flight: str = ""
    ended_after: float | None = None
    command_fault: str = ""


async def _readiness(container: Container) -> str:
    if container.asked.drain_pid is None and not container.asked.drain_command:
        raise Skipped(_HOW)
    container.facts["drained"] = drained = await drain(container)
    if drained.command_fault:
        raise Failed(drained.command_fault, "give a command that ends the container")
    page = drained.readiness
    if not page:
        seen = f"neither {' nor '.join(_PAGES)} was 200 before the end was asked for"
        raise Failed(seen, "tell readiness")
    if drained.not_ready_after is None:
        grace = container.asked.grace_seconds
        raise Failed(f"{page} is still 200 after {grace:g} s", "answer it with 503 at SIGTERM")
    if drained.new_connection != "200":
        raise Failed(
            f"{page} went after {drained.not_ready_after:.2f} s, a new connection then got "
            f"{drained.new_connection}",
            "go on listening some seconds: callers hear of it late",
        )
    return f"{page} went after {drained.not_ready_after:.2f} s, new connections still answered"


async def _no_failure(container: Container) -> str:
    drained = _of(container)
    failures = drained.failures
    if failures:
        count = f"{len(failures)} of {drained.answered + len(failures)} requests failed"
        raise Failed(f"{count}, first: {failures[0]}", "answer what is open, then close")
    if drained.in_flight != "200":
        raise Failed(f"the request in flight got {drained.in_flight}", "finish what has begun")
    return f"0 of {drained.answered} requests failed, the one in flight was answered"


async def _end(container: Container) -> str:
    drained = _of(container)
    grace = container.asked.grace_seconds
    if drained.ended_after is None:
        raise Failed(f"runs on after {grace:g} s", "end within terminationGracePeriodSeconds")
    return f"ended after {drained.ended_after:.2f} s"


def _of(container: Container) -> Drained:
    drained = container.facts.get("drained")
    if not isinstance(drained, Drained):
        raise Skipped(_HOW if not container.asked.drain_pid else "needs `infer` to pass")
    return drained


# --- the drain itself ---------------------------------------------------------------------------


async def drain(container: Container) -> Drained:
    """Ask for the end under load and watch until the process has ended or the grace is over."""
    body = json.dumps(container.request()).encode()
    found, asked_to_end, is_away = Drained(), asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    for page in _PAGES:
        if not found.readiness and await _is_ready(container, page):
            found.readiness = page
    async with asyncio.TaskGroup() as group:
        callers = [
            group.create_task(_call(container, body, found, is_away)) for _ in range(CALLERS)
        ]
        flying = group.create_task(_in_flight(container, body, asked_to_end))
        await asyncio.sleep(BEFORE_SECONDS)
        began = loop.time()
        ending = group.create_task(_ask_to_end(container, found))
        await _watch_readiness(container, found, began)
        is_away.set()
        if found.not_ready_after is not None:
            found.new_connection = await _new_connection(container, body)
        asked_to_end.set()
        found.in_flight = await flying
        await _watch_end(container, found, began)
        for task in (*callers, ending):
            task.cancel()
    return found


async def _ask_to_end(container: Container, found: Drained) -> None:
    pid, command = container.asked.drain_pid, container.asked.drain_command
    if pid is not None:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
        return
    try:
        process = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
        )
    except OSError as error:
        found.command_fault = f"--drain-command: {error}"
        return
    try:
        code = await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if code:
        found.command_fault = f"--drain-command ended with {code}"


def check_target(pid: int | None) -> None:
    """Raise NotUsable when the process cannot be asked to end."""
    if pid is None:
        return
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, PermissionError, OverflowError) as error:
        raise NotUsable(f"--drain {pid}: {error}") from error


async def _call(container: Container, body: bytes, found: Drained, is_away: asyncio.Event) -> None:
    """Ask one after another on an open connection until it is closed after readiness has gone."""
    path = f"{container.model_path}/infer"
    async with _one_connection(container) as client:
        while True:
            try:
                response = await client.post(path, content=body, headers=JSON_TYPE)
            except httpx.ConnectError as error:
                if is_away.is_set():
                    return
                found.failures.append(f"no connection while ready: {told(error)}")
                await asyncio.sleep(POLL_SECONDS)
                continue
            except httpx.HTTPError as error:
                found.failures.append(told(error))
                if is_away.is_set():
                    return
                continue
            if response.status_code == 200:
                found.answered += 1
            else:
                found.failures.append(shown(response))
            if is_away.is_set() and response.headers.get("connection", "").lower() == "close":
                return


async def _in_flight(container: Container, body: bytes, go_on: asyncio.Event) -> str:
    """Send half of a request, the rest when told so; return its status, or what went wrong."""

    async def halves() -> AsyncIterator[bytes]:
        yield body[: len(body) // 2]
        await go_on.wait()
        yield body[len(body) // 2 :]

    headers = JSON_TYPE | {"content-length": str(len(body))}
    async with _one_connection(container) as client:
        try:
            response = await client.post(
                f"{container.model_path}/infer", content=halves(), headers=headers
            )
        except httpx.HTTPError as error:
            return told(error)
    return "200" if response.status_code == 200 else shown(response)


async def _new_connection(container: Container, body: bytes) -> str:
    async with _one_connection(container) as client:
        try:
            response = await client.post(
                f"{container.model_path}/infer", content=body, headers=JSON_TYPE
            )
        except httpx.HTTPError as error:
            return told(error)
    return "200" if response.status_code == 200 else shown(response)


async def _watch_readiness(container: Container, found: Drained, began: float) -> None:
    loop = asyncio.get_running_loop()
    while loop.time() - began < container.asked.grace_seconds and not found.command_fault:
        if not await _is_ready(container, found.readiness):
            found.not_ready_after = loop.time() - began
            return
        await asyncio.sleep(POLL_SECONDS)


async def _is_ready(container: Container, page: str) -> bool:
    client = container.back if page == _PAGES[0] else container.front
    try:
        response = await client.get(page, headers={"connection": "close"})
    except httpx.HTTPError:
        return False
    return response.status_code == 200


async def _watch_end(container: Container, found: Drained, began: float) -> None:
    loop = asyncio.get_running_loop()
    while loop.time() - began < container.asked.grace_seconds and not found.command_fault:
        if await _has_ended(container):
            found.ended_after = loop.time() - began
            return
        await asyncio.sleep(POLL_SECONDS)


async def _has_ended(container: Container) -> bool:
    pid = container.asked.drain_pid
    if pid is not None:
        return not _runs(pid)
    for client in (container.front, container.back):
        try:
            await client.get("/", headers={"connection": "close"})
        except httpx.HTTPError:
            continue
        return False
    return True


def _runs(pid: int) -> bool:
    """Whether a process runs; one that has ended and that nobody has waited for does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):  # no such folder on this system, or it has just ended
        return not Path("/proc/self").exists()
    return state != "Z"


def _one_connection(container: Container) -> httpx.AsyncClient:
    limits = httpx.Limits(max_connections=1, max_keepalive_connections=1)
    return client_of(container.asked.url, container.asked.check_seconds, limits=limits)


def checks(grace_seconds: float) -> tuple[Check[Container], ...]:
    """Return the checks; the first one drains the container, so they come last and in order."""
    limit = grace_seconds + 30.0
    return (
        Check("drain: readiness", True, _readiness, limit),
        Check("drain: requests", True, _no_failure),
        Check("drain: end", True, _end),
    )
