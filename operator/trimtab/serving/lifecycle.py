"""The life of the process: listen, load, warm up, serve, drain.

    loading ──> ready ──SIGTERM──> draining: not ready; idle connections closed, answers close
                                      │ grace: new connections are still answered
                                      v
                                   no listener ──in-flight answered──> end

All ports listen from the start, so that a large download is not taken for a dead container.
gRPC's is opened, and its library imported, only where one is asked for.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, Final

from trimtab.serving.backstage import Backstage
from trimtab.serving.counting.requests import RequestCounters
from trimtab.serving.errors import SettingsInvalid, WarmUpFailed
from trimtab.serving.http.access_log import AccessLogger
from trimtab.serving.http.connection import MAX_HEAD_BYTES, Bounds
from trimtab.serving.http.listener import Listener
from trimtab.serving.inference.routes import Inference
from trimtab.serving.inference.served import Loaded, Served
from trimtab.serving.settings import ServingSettings
from trimtab.serving.tracing import Tracing, tracing

if TYPE_CHECKING:
    from trimtab.serving.grpc.listener import GrpcListener

log = logging.getLogger(__name__)

SWEEP_SECONDS: Final = 0.25
POLL_SECONDS: Final = 0.02
COMPARE_WITHIN_SECONDS: Final = 5.0
"""After this a second model is loaded even if nobody has asked whether the process is ready."""
QUIET_SECONDS: Final = 1.0
"""The listener stays while new connections still come, at most three times the grace."""


class Server:
    """One serving process on a running event loop."""

    def __init__(
        self,
        settings: ServingSettings,
        *,
        started: float | None = None,
        tracing: Tracing | None = None,
    ) -> None:
        self._settings = settings
        started = time.time() if started is None else started
        self._access_log = AccessLogger(settings.access_log)
        self._tracing = tracing
        counters = RequestCounters(settings.warm_up_requests, settings.warm_up_seconds)
        self.inference = Inference(
            settings.model,
            settings.version,
            self._access_log,
            counters,
            max_body_bytes=settings.max_body_bytes,
            tracing=self._tracing,
        )
        backstage = Backstage(self.inference, settings, started, _read_bearer(settings))
        bounds = Bounds(
            max_body_bytes=settings.max_body_bytes,
            max_held_bytes=max(settings.receive_bytes, settings.max_body_bytes + MAX_HEAD_BYTES),
            max_connections=settings.max_connections,
            receive_seconds=settings.receive_seconds,
            connection_seconds=settings.connection_seconds,
            idle_seconds=settings.idle_seconds,
            drain_linger_seconds=settings.drain_linger_seconds,
        )
        self.front = Listener(self.inference, bounds)
        self.back = Listener(backstage, bounds)
        self.inference_port = 0
        self.metrics_port = 0
        self.grpc_port = 0
        self._grpc: GrpcListener | None = None
        self._sweeper: asyncio.Task[None] | None = None
        self._leaving: Served | None = None
        self._began = monotonic()
        self._ready_at = inf

    async def start(self) -> None:
        """Listen, load and warm up; raise StartRefused when the model cannot be served."""
        settings = self._settings
        host = settings.host
        number = settings.metrics_port
        self.metrics_port = await _listening(
            self.back.listen(host, number), host, number, "METRICS_PORT"
        )
        number = settings.inference_port
        self.inference_port = await _listening(
            self.front.listen(host, number), host, number, "INFERENCE_PORT"
        )
        log.info("listening: %d and %d", self.metrics_port, self.inference_port)
        if settings.grpc_port is not None:
            await self._listen_by_grpc(settings.grpc_port)
        self._sweeper = asyncio.get_running_loop().create_task(self._sweep())
        self.inference.become(await _warm(settings))
        gc.collect()
        gc.freeze()
        self._ready_at = monotonic()
        log.info(
            "ready: %s %s after %.2f s", settings.model, settings.version, monotonic() - self._began
        )

    async def replace(self, settings: ServingSettings) -> None:
        """Load another artifact and serve it from then on; no request fails by that.

        Requests that wait are answered by the model that they were asked of. Raise StartRefused
        where the artifact cannot be served: what served goes on. The counters of requests go on,
        under the new names.
        """
        served = await _warm(settings)
        self._leaving = self.inference.served
        self.inference.become(served)
        await self._let_go(settings.deadline_seconds)
        # The model that left has circles, and its threads take a moment to end.
        gc.unfreeze()
        gc.collect()

    async def _let_go(self, within: float) -> None:
        """Stop the model that was replaced once its requests are answered."""
        leaving = self._leaving
        if leaving is not None:
            await _until(lambda: leaving.joiner.is_idle, monotonic() + within)
            leaving.stop()
            self._leaving = None

    async def _listen_by_grpc(self, number: int) -> None:
        try:
            from trimtab.serving.grpc.listener import GrpcListener
        except ImportError as error:
            raise SettingsInvalid(f"TRIMTAB_GRPC_PORT: is set, but {error}") from error
        self._grpc = GrpcListener(self.inference, self._settings)
        host = self._settings.host
        self.grpc_port = await _listening(self._grpc.listen(number), host, number, "GRPC_PORT")
        log.info("listening: %d for gRPC", self.grpc_port)

    async def drain(self) -> None:
        """Stop taking part without failing a request; returns when all is answered."""
        settings = self._settings
        began = monotonic()
        self.inference.draining = True
        if self.inference.served is not None:
            self.inference.served.rest()
        self.front.drain()
        self.back.drain()
        log.info("draining %d connections", self.front.connections)
        grace = settings.drain_grace_seconds
        quiet = min(QUIET_SECONDS, grace)
        await asyncio.sleep(grace)
        await _until(lambda: monotonic() - self.front.last_accepted > quiet, began + 3 * grace)
        self.front.stop_listening()
        if self._grpc is not None:
            # Its clients were served till now; each that is told to go connects to another pod.
            await self._grpc.stop(began + settings.drain_seconds - monotonic())
        # What was just accepted may not have spoken yet, so all connections are waited for.
        await _until(lambda: not self.front.connections, began + settings.drain_seconds)
        await _until(lambda: not self.back.has_work, monotonic() + QUIET_SECONDS)
        left = self.front.connections
        log.info("drained in %.2f s, %d connections left", monotonic() - began, left)

    async def close(self) -> None:
        """End everything that `start` began."""
        self.front.close()
        self.back.close()
        if self._grpc is not None:
            await self._grpc.stop(0)
        if self._sweeper is not None:
            self._sweeper.cancel()
        for served in (self.inference.served, self._leaving):
            if served is not None:
                served.stop()
        self._access_log.flush()
        if self._tracing is not None:
            await self._tracing.close()

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            self.front.sweep()
            self.back.sweep()
            if self._grpc is not None:
                self._grpc.sweep()
            served = self.inference.served
            if self._leaving is not None:
                self._leaving.sweep()
            if served is not None:
                served.sweep()
                if monotonic() > self._ready_at + COMPARE_WITHIN_SECONDS:
                    served.begin_comparing(self.inference.counters)


async def run(
    settings: ServingSettings,
    stop: asyncio.Event,
    *,
    started: float,
    environment: Mapping[str, str],
) -> None:
    """Serve until `stop` is set, then drain; raise StartRefused.

    `environment` says whether spans are made, in the standard's own variables.
    """
    spans = tracing(environment, settings.deployment or settings.model, settings.version)
    server = Server(settings, started=started, tracing=spans)
    try:
        starting = asyncio.ensure_future(server.start())
        stopping = asyncio.ensure_future(stop.wait())
        await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            starting.result()
            await stopping
            await server.drain()
        else:
            starting.cancel()
        stopping.cancel()
    finally:
        await server.close()


async def _listening(opened: Awaitable[int], host: str | None, number: int, name: str) -> int:
    try:
        return await opened
    except OSError as error:
        where = f"{host or '*'}:{number}"
        raise SettingsInvalid(f"TRIMTAB_{name}: {where} cannot be listened on: {error}") from error


async def _until(reached: Callable[[], bool], deadline: float) -> None:
    while not reached() and monotonic() < deadline:  # noqa: ASYNC110 - of many connections
        await asyncio.sleep(POLL_SECONDS)


async def _warm(settings: ServingSettings) -> Served:
    """Return the model of the settings, loaded and tried; raise StartRefused."""
    served = Served(await _in_thread(settings), settings)
    try:
        await served.warm_up()
    except WarmUpFailed:
        served.stop()
        raise
    return served


async def _in_thread(settings: ServingSettings) -> Loaded:
    """Load in a daemon thread: one that downloads must not keep the process from ending."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Loaded] = loop.create_future()

    def settle(loaded: Loaded | None, error: Exception | None) -> None:
        if future.done():
            return
        if loaded is not None:
            future.set_result(loaded)
        elif error is not None:
            future.set_exception(error)

    def load() -> None:
        loaded, raised = None, None
        try:
            loaded = Loaded(settings)
        except Exception as error:  # noqa: BLE001 - raised again where it is awaited
            raised = error
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, loaded, raised)

    threading.Thread(target=load, name="load", daemon=True).start()
    return await future


def _read_bearer(settings: ServingSettings) -> bytes | None:
    file = settings.outcomes_bearer_file
    if file is None:
        return None
    try:
        bearer = file.read_bytes().strip()
    except OSError as error:
        raise SettingsInvalid(f"TRIMTAB_OUTCOMES_BEARER_FILE: {error}") from error
    if not bearer:
        raise SettingsInvalid("TRIMTAB_OUTCOMES_BEARER_FILE: is empty")
    return bearer
