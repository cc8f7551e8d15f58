"""The inference port: Open Inference Protocol v2 and the KServe v1 predict call.

Sources: github.com/kserve/open-inference-protocol, `protocol/inference_rest.md`; KServe "V1".
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from time import monotonic, perf_counter
from typing import Any, Final
from urllib.parse import unquote

from trimtab import __version__
from trimtab.serving.counting.requests import RequestCounters
from trimtab.serving.errors import ModelFailed, RequestInvalid, ValueUnknown
from trimtab.serving.http.access_log import AccessLogger
from trimtab.serving.http.heads import PlainHeads
from trimtab.serving.http.messages import (
    Request,
    Response,
    binary_response,
    error_response,
    json_response,
)
from trimtab.serving.inference.binary import HEADER
from trimtab.serving.inference.coding import CODING, unpacked
from trimtab.serving.inference.describing import EXTENSIONS, configuration, metadata
from trimtab.serving.inference.joining import Result, Work
from trimtab.serving.inference.openapi import document
from trimtab.serving.inference.reading import Asked, json_object, read_infer, unreadable
from trimtab.serving.inference.repository import State, index
from trimtab.serving.inference.served import Served
from trimtab.serving.inference.statistics import statistics
from trimtab.serving.model.base import Prediction
from trimtab.serving.tracing import Tracing

log = logging.getLogger(__name__)

_BUSY: Final = b"retry-after: 1\r\n"
_POST: Final = b"allow: POST, OPTIONS\r\n"
_GET: Final = b"allow: GET, HEAD, OPTIONS\r\n"
_LOG_EVERY_SECONDS: Final = 10.0
AGED_SECONDS: Final = 0.01
"""Since its head was read, after which it is asked once more whether a request is in time."""


class Inference:
    """Routes of the inference port."""

    def __init__(
        self,
        model: str,
        version: str,
        access_log: AccessLogger,
        counters: RequestCounters,
        *,
        max_body_bytes: int,
        tracing: Tracing | None = None,
    ) -> None:
        self._tracing = tracing
        self._max_body_bytes = max_body_bytes
        self._access_log = access_log
        self.counters = counters
        self.served: Served | None = None
        self.draining = False
        self._logged_at = 0.0
        self._openapi = b""
        self._tasks: set[asyncio.Task[None]] = set()
        self._late = _late()
        self._name(model, version)

    @property
    def name(self) -> str:
        """The model that is served."""
        return self._model

    def become(self, served: Served) -> None:
        """Answer with this model from now on; what was asked of another one goes on there."""
        self._name(served.identity.model, served.identity.version)
        self._openapi = b""
        self.served = served

    def _name(self, model: str, version: str) -> None:
        self._model = model
        self._version = version
        one = f"/v2/models/{model}"
        exact = f"{one}/versions/{version}"
        self._calls = {
            f"{one}/infer": self._infer,
            f"{exact}/infer": self._infer,
            f"/v1/models/{model}:predict": self._predict,
        }
        self._routes = {
            f"{one}/infer": "/v2/models/{model}/infer",
            f"{exact}/infer": "/v2/models/{model}/versions/{version}/infer",
            f"/v1/models/{model}:predict": "/v1/models/{model}:predict",
        }
        self._traced = {"trimtab.model": model, "trimtab.version": version}
        self._pages: dict[str, Callable[[], Response]] = {
            "/v2": self._server,
            "/v2/health/live": self._live,
            "/v2/health/ready": self._ready,
            one: partial(self._described, metadata),
            exact: partial(self._described, metadata),
            f"{one}/config": partial(self._described, configuration),
            f"{exact}/config": partial(self._described, configuration),
            f"{one}/ready": self._model_ready,
            f"{exact}/ready": self._model_ready,
            "/v1/models": self._models,
            "/v2/models": self._models,
            f"/v1/models/{model}": self._model_ready,
            "/openapi.json": self._document,
        }
        self._posts: dict[str, Callable[[Request], Response]] = {
            "/v2/repository/index": self._index,
            f"/v2/repository/models/{model}/load": self._not_by_request,
            f"/v2/repository/models/{model}/unload": self._not_by_request,
        }
        self._statistics = frozenset(
            ("/v2/models/stats", f"{one}/stats", f"{exact}/stats"),
        )
        self._plain = PlainHeads(tuple(self._calls))

    # The application of a port.

    @property
    def is_pressed(self) -> bool:
        """Whether requests have to wait so long that some may be refused."""
        return self.served is not None and self.served.admission.is_pressed

    def refuse_unread(self, data: bytes) -> bytes:
        """Refuse what cannot be begun in time, without parsing more than its length."""
        served = self.served
        if (
            served is None
            or not served.admission.is_late(len(data), is_binary=False)
            or not self._access_log.is_off
            or self._plain.size(data) < 0
        ):
            return b""
        self.counters.refuse(503)
        return self._late.head(close=False) + self._late.body

    def admit(self, request: Request) -> Response | None:
        """Refuse what can be refused by its head."""
        path = request.path
        if "%" in path or (path.endswith("/") and len(path) > 1):
            path = request.path = unquote(path).rstrip("/")
        call = self._calls.get(path)
        if call is None:
            return self._admit_page(request)
        if request.method != "POST":
            return _other_method(request, _POST)
        request.route = call
        if self._tracing is not None:
            self._tracing.begin(request, self._routes[path], self._traced)
        self.counters.start(request, is_loaded=self.served is not None)
        if self._is_late(request, int(request.headers.get(b"content-length", b"0"))):
            return _late()
        return unreadable(request.headers, may_be_binary=call == self._infer)

    def handle(self, request: Request) -> None:
        """Answer, at once or when the model has."""
        call = self._calls.get(request.path)
        if call is None:
            self._show(request)
            return
        served = self.served
        if served is None:
            request.answer(error_response(503, "the model is being loaded", _BUSY))
            return
        if perf_counter() - request.began > AGED_SECONDS and self._is_late(
            request, len(request.body)
        ):
            request.answer(_late())
            return
        try:
            if CODING in request.headers:
                request.body = self._body(request)
            call(request, served)
        except RequestInvalid as error:
            request.answer(error_response(error.status, str(error)))

    def finished(self, request: Request, status: int, size: int) -> None:
        """Count the request and log it."""
        if request.route is not None:
            self.counters.finish(request, status)
            if self._tracing is not None:
                self._tracing.finish(request, status)
        self._access_log.note(request, status, size)

    def _body(self, request: Request) -> bytes:
        return unpacked(request.body, request.headers.get(CODING, b""), self._max_body_bytes)

    def _is_late(self, request: Request, size: int) -> bool:
        served = self.served
        return served is not None and served.admission.is_late(
            size, is_binary=HEADER in request.headers
        )

    def _admit_page(self, request: Request) -> Response | None:
        if request.path in self._posts:
            if request.method != "POST":
                return _other_method(request, _POST)
            return unreadable(request.headers, may_be_binary=True)
        if request.path not in self._pages and request.path not in self._statistics:
            return error_response(404, self._unknown(request.path))
        if request.method not in ("GET", "HEAD"):
            return _other_method(request, _GET)
        return None

    def _unknown(self, path: str) -> str:
        parts = path.removeprefix("/v2/repository").split("/")
        if len(parts) > 3 and parts[1] == "models":
            parts.insert(1, "v2")
        if len(parts) > 3 and parts[2] == "models":
            version = parts[5] if len(parts) > 5 and parts[4] == "versions" else ""
            other = self.not_served(parts[3].removesuffix(":predict"), version)
            if other:
                return other
        return f"no such path: {path[:200]}"

    def not_served(self, name: str, version: str) -> str:
        """Return why a model, or its version where one is named, is not that of here; or ""."""
        if name != self._model:
            return f"model {name[:200]!r} is not served here; {self._model!r} is"
        if version and version != self._version:
            return f"version {version[:200]!r} is not served here; {self._version!r} is"
        return ""

    # Calls.

    def _infer(self, request: Request, served: Served) -> None:
        asked = read_infer(request, served.inputs, served.outputs)
        request.rows = len(asked.rows)
        answer = partial(self._answer_infer, request, served, asked)
        self._submit(request, served, Work(asked.rows, answer, asker=request, is_admitted=True))

    def _predict(self, request: Request, served: Served) -> None:
        content = json_object(request.body, served.inputs.bounds)
        if "instances" not in content:
            raise RequestInvalid("instances: is missing")
        rows = served.inputs.read_instances(content["instances"])
        count = request.rows = len(rows)
        answer = partial(self._answer_predict, request, served, count)
        self._submit(request, served, Work(rows, answer, asker=request, is_admitted=True))

    def _submit(self, request: Request, served: Served, work: Work) -> None:
        served.admission.learn(len(request.body), request.rows, is_binary=HEADER in request.headers)
        request.body = b""  # many may wait
        if self._tracing is not None:
            self._tracing.wait(request)
        if not served.joiner.submit(work):
            request.answer(error_response(503, "too many requests are waiting", _BUSY))

    def _answer_infer(
        self,
        request: Request,
        served: Served,
        asked: Asked,
        result: Result,
        first: int,
    ) -> None:
        if self._tracing is not None:
            self._tracing.predicted(request, None if isinstance(result, Prediction) else result)
        if request.abandoned:
            return
        if not isinstance(result, Prediction):
            request.answer(error_response(*self.failure(result)))
            return
        rows = slice(first, first + len(asked.rows))
        identity = served.identity
        content: dict[str, Any] = {
            "model_name": identity.model,
            "model_version": identity.version,
        }
        if asked.id is not None:
            content["id"] = asked.id
        content["parameters"] = asked.parameters | token_parameters(served, result, rows)
        content["outputs"], tail = served.outputs.tensors(asked.outputs, result, rows)
        request.answer(binary_response(content, tail) if tail else json_response(content))

    def _answer_predict(
        self,
        request: Request,
        served: Served,
        count: int,
        result: Result,
        first: int,
    ) -> None:
        if self._tracing is not None:
            self._tracing.predicted(request, None if isinstance(result, Prediction) else result)
        if request.abandoned:
            return
        if not isinstance(result, Prediction):
            request.answer(error_response(*self.failure(result)))
            return
        rows = slice(first, first + count)
        request.answer(
            json_response(
                {
                    "predictions": served.outputs.plain(result, rows),
                    "parameters": token_parameters(served, result, rows),
                }
            )
        )

    def failure(self, error: ModelFailed | TimeoutError) -> tuple[int, str]:
        """Return status and message of what became of a request; log it now and then."""
        if isinstance(error, TimeoutError):
            return 504, str(error)
        if isinstance(error, ValueUnknown):
            return 400, f"inputs: the model was not fitted on such a value: {str(error)[:300]}"
        if monotonic() - self._logged_at > _LOG_EVERY_SECONDS:
            self._logged_at = monotonic()
            log.error("the model failed", exc_info=error)
        return 500, f"the model failed: {str(error)[:300]}"

    # Pages.

    def _show(self, request: Request) -> None:
        if request.path in self._statistics:
            self._count(request)
        elif request.path in self._pages:
            request.answer(self._pages[request.path]())
        elif (posted := self._posts.get(request.path)) is None:
            # Another model is served since the head was read.
            request.answer(error_response(404, self._unknown(request.path)))
        else:
            try:
                request.answer(posted(request))
            except RequestInvalid as error:
                request.answer(error_response(error.status, str(error)))

    def _index(self, request: Request) -> Response:
        state, reason = self._state()
        return json_response(index(self._body(request), self._model, self._version, state, reason))

    def _state(self) -> tuple[State, str]:
        if self.served is None:
            return "LOADING", "the model is being loaded"
        if self.draining:
            return "UNLOADING", "the container is being stopped"
        if self.served.is_hung():
            return "UNAVAILABLE", "the model has not answered for long"
        return "READY", ""

    def _not_by_request(self, _request: Request) -> Response:
        return error_response(
            400, "one model is served, from start to end; another version is another pod"
        )

    def _count(self, request: Request) -> None:
        served = self.served
        if served is None:
            request.answer(error_response(503, "the model is being loaded", _BUSY))
            return

        async def counted() -> None:
            request.answer(json_response(await self.counted(served)))

        task = asyncio.get_running_loop().create_task(counted())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def counted(self, served: Served) -> dict[str, Any]:
        """Return the statistics of now, as soon as what was predicted before is counted."""
        requests = self.counters.totals()
        return statistics(served, requests, await served.counting.call_totals())

    def _server(self) -> Response:
        return json_response({"name": "trimtab", "version": __version__, "extensions": EXTENSIONS})

    def _live(self) -> Response:
        return json_response({"live": True})

    @property
    def is_ready(self) -> bool:
        """Whether requests are wanted: loaded, warm, not draining, not hung."""
        return self.served is not None and not self.draining and not self.served.is_hung()

    def _ready(self) -> Response:
        return json_response({"ready": self.is_ready}, 200 if self.is_ready else 503)

    def _model_ready(self) -> Response:
        content = {"name": self._model, "ready": self.is_ready}
        return json_response(content, 200 if self.is_ready else 503)

    def _models(self) -> Response:
        return json_response({"models": [self._model]})

    def _document(self) -> Response:
        if self.served is None:
            return error_response(503, "the model is being loaded", _BUSY)
        if not self._openapi:
            self._openapi = document(self.served)
        return Response(200, self._openapi)

    def _described(self, describe: Callable[[Served], dict[str, Any]]) -> Response:
        if self.served is None:
            return error_response(503, "the model is being loaded", _BUSY)
        return json_response(describe(self.served))


def _late() -> Response:
    return error_response(503, "too many requests are waiting to be answered in time", _BUSY)


def _other_method(request: Request, allowed: bytes) -> Response:
    if request.method == "OPTIONS":
        return Response(200, headers=allowed)
    return error_response(405, f"{request.method} is not allowed here", allowed)


def token_parameters(served: Served, prediction: Prediction, rows: slice) -> dict[str, Any]:
    """Return the label token of the rows of an answer, if tokens are made."""
    tokens = served.tokens
    if tokens is None or not tokens.most_rows:
        return {}
    token = tokens.of(prediction, rows)
    if rows.stop - rows.start > tokens.most_rows:
        return {"trimtab_token": token, "trimtab_token_rows": tokens.most_rows}
    return {"trimtab_token": token}
