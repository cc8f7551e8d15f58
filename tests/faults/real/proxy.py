"""Stands between the operator and the API server: kills at a request, and breaks watches.

What is asked for is passed on with the credentials of the operator's service account, so that its
rights and the admission are those of the release.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp import web
from tests.patience import stretched

READS = ("GET", "HEAD")
HOP_BY_HOP = ("transfer-encoding", "connection", "content-length", "content-encoding", "host")


@dataclass(frozen=True)
class Kill:
    """When the process is killed: at its n-th write about an object, from 1."""

    name: str
    """Of the Deployment: its children and events have it in their names or bodies."""
    number: int
    is_after: bool
    """Whether the write has its effect; the reply is lost in either case."""


@dataclass
class Proxy:
    """`with Proxy(...) as proxy:` listens on a free port of loopback, in a thread of its own."""

    server: str
    """URL of the API server."""
    tls: ssl.SSLContext
    token: str
    kill: Callable[[], None] = lambda: None
    """Kills the operator's process, and returns when it is gone."""
    kills: list[Kill] = field(default_factory=list)
    """Those that are still to come."""
    done: list[str] = field(default_factory=list)
    """Kills that happened, in words."""
    writes: dict[str, int] = field(default_factory=dict)
    """By name of a Deployment: its writes so far."""
    url: str = ""
    _is_cut: bool = False
    _expired: set[str] = field(default_factory=set)
    _watches: set[asyncio.Task[Any]] = field(default_factory=set)

    def __enter__(self) -> Proxy:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.url = self._call(self._open())
        return self

    def __exit__(self, *error: object) -> None:
        self._call(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(stretched(10))
        self._loop.close()

    def _call(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(stretched(20))

    async def _open(self) -> str:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=self.tls, limit=0), auto_decompress=True
        )
        app = web.Application(client_max_size=16 * 2**20)
        app.router.add_route("*", "/{path:.*}", self._answer)
        # That a killed process does not read its answers is no news.
        silent = logging.Logger("proxy", logging.CRITICAL)
        self._runner = web.AppRunner(app, access_log=None, logger=silent, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def _close(self) -> None:
        for task in self._watches:
            task.cancel()
        await self._runner.cleanup()
        await self._session.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for one in others:
            one.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await asyncio.sleep(0.1)  # for connections to end

    # --- watches ----------------------------------------------------------------------------

    def cut_watches(self) -> None:
        """End all watches; none begins until `give_back_watches`."""

        async def cut() -> None:
            self._is_cut = True
            for task in self._watches:
                task.cancel()

        self._call(cut())

    def give_back_watches(self) -> None:
        """Let watches begin: each is told once that what it asks for is too old (410)."""

        async def give_back() -> None:
            self._expired = {"all"}
            self._is_cut = False

        self._call(give_back())

    def _is_expired(self, path: str) -> bool:
        """Return whether a watch of this path is told so now; once for each path."""
        if not self._expired or path in self._expired:
            return False
        self._expired.add(path)
        return True

    # --- requests ---------------------------------------------------------------------------

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        is_watch = request.query.get("watch") == "true"
        if is_watch and self._is_cut:
            return web.Response(status=503)
        if is_watch and self._is_expired(request.path):
            gone = {"kind": "Status", "apiVersion": "v1", "code": 410, "reason": "Expired"}
            return web.json_response({"type": "ERROR", "object": gone})
        kill = self._kill_at(request, body)
        if kill is not None and not kill.is_after:
            return await self._killed(kill, request)
        headers = {k: v for k, v in request.headers.items() if k.lower() not in HOP_BY_HOP}
        headers["Authorization"] = f"Bearer {self.token}"
        async with self._session.request(
            request.method,
            self.server + request.path_qs,
            headers=headers,
            data=body or None,
            skip_auto_headers=("Content-Type", "User-Agent"),
        ) as answer:
            if is_watch:
                return await self._stream(request, answer)
            content = await answer.read()
            if kill is not None:
                return await self._killed(kill, request)
            kept = {k: v for k, v in answer.headers.items() if k.lower() not in HOP_BY_HOP}
            return web.Response(status=answer.status, body=content, headers=kept)

    async def _stream(
        self, request: web.Request, answer: aiohttp.ClientResponse
    ) -> web.StreamResponse:
        response = web.StreamResponse(status=answer.status)
        response.content_type = answer.content_type
        await response.prepare(request)
        task = asyncio.ensure_future(_pass_on(answer, response))
        self._watches.add(task)
        with contextlib.suppress(asyncio.CancelledError, aiohttp.ClientError, ConnectionError):
            await task
        self._watches.discard(task)
        return response

    def _kill_at(self, request: web.Request, body: bytes) -> Kill | None:
        """Count a write; return the kill that it is the moment of."""
        if request.method in READS or "/leases" in request.path:
            return None
        about = request.path + body.decode(errors="replace")
        found = None
        for name in {kill.name for kill in self.kills} | self.writes.keys():
            if name not in about:
                continue
            self.writes[name] = self.writes.get(name, 0) + 1
            for kill in self.kills:
                if (kill.name, kill.number) == (name, self.writes[name]):
                    found = kill
        if found is not None:
            self.kills.remove(found)
        return found

    async def _killed(self, kill: Kill, request: web.Request) -> web.Response:
        when = "after" if kill.is_after else "before"
        what = f"{request.method} {request.path}"
        self.done.append(f"{kill.name}: {when} write {kill.number}, {what}")
        await asyncio.get_running_loop().run_in_executor(None, self.kill)
        return web.Response(status=500)


async def _pass_on(answer: aiohttp.ClientResponse, response: web.StreamResponse) -> None:
    async for chunk in answer.content.iter_any():
        await response.write(chunk)


def kubeconfig(url: str) -> str:
    """Return a kubeconfig that leads to the proxy."""
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "proxy",
            "clusters": [{"name": "proxy", "cluster": {"server": url}}],
            "users": [{"name": "operator", "user": {"token": "by-the-proxy"}}],
            "contexts": [{"name": "proxy", "context": {"cluster": "proxy", "user": "operator"}}],
        }
    )
