"""The second port: probes, `/metrics` and `POST /outcomes`. It never enters a route."""

from __future__ import annotations

import asyncio
import hmac
import logging
from collections.abc import Callable, Coroutine
from typing import Any, Final

from trimtab.contract import metrics
from trimtab.contract.token import MAX_ROWS
from trimtab.serving.counting.exposition import (
    OPENMETRICS_TYPE,
    TEXT_TYPE,
    Family,
    labelled,
    render,
)
from trimtab.serving.counting.outcomes import STATUS_OF, Outcomes
from trimtab.serving.errors import RequestInvalid
from trimtab.serving.http.messages import Request, Response, error_response, json_response
from trimtab.serving.inference.body_bounds import BodyBounds
from trimtab.serving.inference.coding import CODING, not_understood, unpacked
from trimtab.serving.inference.routes import Inference
from trimtab.serving.inference.served import Served
from trimtab.serving.inference.validation import parse_json
from trimtab.serving.settings import ServingSettings

log = logging.getLogger(__name__)

MAX_OUTCOMES: Final = 10_000
OUTCOMES: Final = BodyBounds(
    containers=4 * MAX_OUTCOMES, commas=(MAX_ROWS + 16) * MAX_OUTCOMES, names=16 * MAX_OUTCOMES
)
"""What a post of so many tokens may hold, each with a truth a row and a few fields more."""
SMALL_POST_BYTES: Final = 64 << 10
WAITING_BODIES: Final = 2
"""Of the largest size, that posts of outcomes which wait may have together."""


class Backstage:
    """Routes of the second port."""

    def __init__(
        self, inference: Inference, settings: ServingSettings, started: float, bearer: bytes | None
    ) -> None:
        self._inference = inference
        self._settings = settings
        self._started = started
        self._bearer = bearer
        self._posts = _Room(settings.queue_requests, WAITING_BODIES * settings.max_body_bytes)
        self._large_posts = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._gets: dict[str, Callable[[Request], Coroutine[Any, Any, Response]]] = {
            "/metrics": self._metrics,
            "/healthz": self._healthz,
            "/readyz": self._readyz,
        }

    is_pressed = False

    def refuse_unread(self, _data: bytes) -> bytes:
        """Refuse nothing: probes and scrapes are answered."""
        return b""

    def admit(self, request: Request) -> Response | None:
        """Refuse what can be refused by its head."""
        if request.path == "/outcomes":
            if request.method != "POST":
                return error_response(405, "POST is wanted", b"allow: POST\r\n")
            return self._unauthorised(request) or not_understood(request.headers.get(CODING, b""))
        if request.path not in self._gets:
            return error_response(404, f"no such path: {request.path[:200]}")
        if request.method not in ("GET", "HEAD"):
            return error_response(405, "GET is wanted", b"allow: GET, HEAD\r\n")
        return None

    def handle(self, request: Request) -> None:
        """Answer when the counting or prediction thread has."""
        page = self._gets.get(request.path, self._outcomes)
        task = asyncio.get_running_loop().create_task(self._answer(request, page))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def finished(self, request: Request, status: int, size: int) -> None:
        """Nothing is counted here."""

    async def _answer(
        self, request: Request, page: Callable[[Request], Coroutine[Any, Any, Response]]
    ) -> None:
        try:
            response = await page(request)
        except RequestInvalid as error:
            response = error_response(error.status, str(error))
        except Exception:
            # A bug costs this request, not the port that probes and scrapes need.
            log.exception("%s could not be answered", request.path)
            response = error_response(500, "the request could not be answered")
        request.answer(response)

    def _unauthorised(self, request: Request) -> Response | None:
        if self._bearer is None:
            return None
        given = request.headers.get(b"authorization", b"")
        if hmac.compare_digest(given, b"Bearer " + self._bearer):
            return None
        return error_response(
            401, "authorization: a bearer token is wanted", b"www-authenticate: Bearer\r\n"
        )

    async def _healthz(self, _request: Request) -> Response:
        served = self._inference.served
        limit = self._settings.hung_restart_seconds
        if served is not None and served.is_hung(limit):
            return error_response(503, f"the model has not answered for {limit:.0f} s")
        return json_response({"live": True})

    async def _readyz(self, _request: Request) -> Response:
        served = self._inference.served
        if served is None:
            return error_response(503, "the model is being loaded")
        if self._inference.draining:
            return error_response(503, "the container is being stopped")
        wrong = await served.exercise()
        if wrong:
            return error_response(503, wrong)
        served.begin_comparing(self._inference.counters)
        return json_response({"ready": True})

    async def _metrics(self, request: Request) -> Response:
        served = self._inference.served
        openmetrics = b"application/openmetrics-text" in request.headers.get(b"accept", b"")
        process = Family(
            metrics.PROCESS_START,
            "gauge",
            "Unix seconds at which the process started.",
            [(metrics.PROCESS_START, self._started)],
        )
        if served is None:
            page = render([process], openmetrics=openmetrics)
        else:
            page = await self._page(served, process, openmetrics)
        return Response(200, page, OPENMETRICS_TYPE if openmetrics else TEXT_TYPE)

    async def _page(self, served: Served, process: Family, openmetrics: bool) -> bytes:
        labels = served.identity.labels
        requests = self._inference.counters.snapshot(labels, served.joiner.depth)
        tokens, second = served.tokens, served.second
        pairs = tokens.snapshot() if tokens is not None else list

        def rendered() -> bytes:
            families = [
                process,
                self._info(served),
                *requests(),
                *pairs(),
                *(second.families(labels) if second is not None else []),
                *served.counting.families(),
                *(served.outcomes.families() if served.outcomes is not None else []),
            ]
            return render(families, openmetrics=openmetrics)

        return await served.counting.run(rendered)

    def _info(self, served: Served) -> Family:
        own = [
            *served.identity.whole,
            ("deployment", self._settings.deployment),
            ("revision", self._settings.revision),
            ("task", served.signature.task),
            ("tokens", str(served.token_format)),
        ]
        others = served.outcomes.explained() if served.outcomes is not None else []
        return Family(
            metrics.MODEL_INFO,
            "info",
            "What is served, and the artifact of each version that is told of.",
            [
                (labelled(metrics.MODEL_INFO, labels), 1)
                for labels in (own, *(other.whole for other in others))
            ],
        )

    async def _outcomes(self, request: Request) -> Response:
        served = self._inference.served
        if served is None:
            return error_response(503, "the model is being loaded", b"retry-after: 1\r\n")
        outcomes = served.outcomes
        if outcomes is None:
            return error_response(404, "no token key is set, so labels are not taken")
        size = len(request.body)
        if not self._posts.take(size):
            return error_response(503, "too many outcomes are waiting", b"retry-after: 1\r\n")
        try:
            coding = request.headers.get(CODING, b"")
            if size <= SMALL_POST_BYTES and not coding:
                return await self._count(served, outcomes, request.body)
            # What is read is larger than the body: large and packed ones are read one by one.
            async with self._large_posts:
                body = unpacked(request.body, coding, self._settings.max_body_bytes)
                return await self._count(served, outcomes, body)
        finally:
            self._posts.give_back(size)

    async def _count(self, served: Served, outcomes: Outcomes, body: bytes) -> Response:
        items = parse_json(body, OUTCOMES)
        if type(items) is not list or not items:
            raise RequestInvalid("a list of {token, actual} is wanted")
        if len(items) > MAX_OUTCOMES:
            raise RequestInvalid(f"{len(items)} items, at most {MAX_OUTCOMES} are taken", 413)
        return _summary(await served.counting.run_slowly(outcomes.each(items)))


class _Room:
    """Posts that wait, bounded by their number and bytes; a single one always has room."""

    def __init__(self, posts: int, size: int) -> None:
        self._posts = posts
        self._size = size
        self._taken = 0
        self._bytes = 0

    def take(self, size: int) -> bool:
        """Let a post in; False when there are too many."""
        if self._taken and (self._taken >= self._posts or self._bytes + size > self._size):
            return False
        self._taken += 1
        self._bytes += size
        return True

    def give_back(self, size: int) -> None:
        """Forget a post that was let in."""
        self._taken -= 1
        self._bytes -= size


def _summary(results: list[dict[str, Any]]) -> Response:
    """200 when anything was counted; else the one reason's code, or 422 for several reasons."""
    refused = [result for result in results if result["status"] == "refused"]
    content: dict[str, Any] = {
        "counted": len(results) - len(refused),
        "refused": len(refused),
        "results": results,
    }
    if len(refused) < len(results):
        return json_response(content)
    codes = {STATUS_OF[result["reason"]] for result in refused}
    content["error"] = f"nothing was counted: {refused[0]['message']}"
    return json_response(content, codes.pop() if len(codes) == 1 else 422)
