"""The operator's own HTTP server: /healthz, /readyz and /metrics."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, generate_latest

from trimtab.reconcile.machine import observability
from trimtab.reconcile.machine.health import Health
from trimtab.reconcile.machine.queue import WorkQueue
from trimtab.reconcile.machine.state_page import StatePage


def application(health: Health, queue: WorkQueue, state: StatePage) -> web.Application:
    """Return the three pages; that of the metrics has those of the process and those of state."""

    async def metrics(_: web.Request) -> web.Response:
        observability.QUEUE_DEPTH.set(queue.depth)
        observability.QUEUE_OLDEST_SECONDS.set(queue.oldest_seconds)
        body = generate_latest(REGISTRY) + await state.page()
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application()
    app.router.add_get("/healthz", _probe(health.why_not_live))
    app.router.add_get("/readyz", _probe(health.why_not_ready))
    app.router.add_get("/metrics", metrics)
    return app


def _probe(
    why_not: Callable[[], list[str]],
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def answer(_: web.Request) -> web.StreamResponse:
        problems = why_not()
        return web.Response(text="\n".join(problems or ["ok"]), status=503 if problems else 200)

    return answer


async def serve(app: web.Application, port: int, host: str | None = None) -> web.AppRunner:
    """Listen on the port; returns what `cleanup` is called on in the end."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, host, port).start()
    return runner
