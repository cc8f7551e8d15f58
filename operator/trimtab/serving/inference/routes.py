"""The inference port: Open Inference Protocol v2 and the KServe v1 predict call.

Sources: github.com/kserve/open-inference-protocol, `protocol/inference_rest.md`; KServe "V1".
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from time import monotonic
from typing import Any, Final
from urllib.parse import unquote

from trimtab import __version__
from trimtab.serving.counting.requests import RequestCounters
from trimtab.serving.errors import ModelFailed, RequestInvalid
from trimtab.serving.http.access_log import AccessLogger
from trimtab.serving.http.messages import (
    Request,
    Response,
    binary_response,
    error_response,
    json_response,
)
from trimtab.serving.inference.describing import EXTENSIONS, configuration, metadata
from trimtab.serving.inference.joining import Result, Work
from trimtab.serving.inference.reading import Asked, json_object, read_infer, unreadable
from trimtab.serving.inference.served import Served
from trimtab.serving.model.base import Prediction

log = logging.getLogger(__name__)

_BUSY: Final = b"retry-after: 1\r\n"
_POST: Final = b"allow: POST, OPTIONS\r\n"
_GET: Final = b"allow: GET, HEAD, OPTIONS\r\n"
_LOG_EVERY_SECONDS: Final = 10.0


class Inference:
    """Routes of the inference port."""

    def __init__(
        self, model: str, version: str, access_log: AccessLogger, counters: RequestCounters
    ) -> None:
        self._model = model
        self._version = version
        self._access_log = access_log
        self.counters = counters
        self.served: Served | None = None
        self.draining = False
        self._logged_at = 0.0
        one = f"/v2/models/{model}"
        exact = f"{one}/versions/{version}"
        self._calls = {
            f"{one}/infer": self._infer,
            f"{exact}/infer": self._infer,
            f"/v1/models/{model}:predict": self._predict,
        }
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
            f"/v1/models/{model}": self._model_ready,
        }

    # The application of a port.

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
        self.counters.start(request, is_loaded=self.served is not None)
        return unreadable(request.headers, may_be_binary=call == self._infer)

    def handle(self, request: Request) -> None:
        """Answer, at once or when the model has."""
        if request.route is None:
            request.answer(self._pages[request.path]())
            return
        served = self.served
        if served is None:
            request.answer(error_response(503, "the model is being loaded", _BUSY))
            return
        try:
            self._calls[request.path](request, served)
        except RequestInvalid as error:
            request.answer(error_response(error.status, str(error)))

    def finished(self, request: Request, status: int, size: int) -> None:
        """Count the request and log it."""
        if request.route is not None:
            self.counters.finish(request, status)
        self._access_log.note(request, status, size)

    def _admit_page(self, request: Request) -> Response | None:
        if request.path not in self._pages:
            return error_response(404, self._unknown(request.path))
        if request.method not in ("GET", "HEAD"):
            return _other_method(request, _GET)
        return None

    def _unknown(self, path: str) -> str:
        parts = path.split("/")
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
        self._submit(request, served, Work(asked.rows, answer, asker=request))

    def _predict(self, request: Request, served: Served) -> None:
        content = json_object(request.body, served.inputs.bounds)
        if "instances" not in content:
            raise RequestInvalid("instances: is missing")
        rows = served.inputs.read_instances(content["instances"])
        count = request.rows = len(rows)
        answer = partial(self._answer_predict, request, served, count)
        self._submit(request, served, Work(rows, answer, asker=request))

    def _submit(self, request: Request, served: Served, work: Work) -> None:
        request.body = b""  # many may wait
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
        if request.abandoned:
            return
        if not isinstance(result, Prediction):
            request.answer(error_response(*self.failure(result)))
            return
        rows = slice(first, first + len(asked.rows))
        content: dict[str, Any] = {"model_name": self._model, "model_version": self._version}
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
        if monotonic() - self._logged_at > _LOG_EVERY_SECONDS:
            self._logged_at = monotonic()
            log.error("the model failed", exc_info=error)
        return 500, f"the model failed: {str(error)[:300]}"

    # Pages.

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

    def _described(self, describe: Callable[[Served], dict[str, Any]]) -> Response:
        if self.served is None:
            return error_response(503, "the model is being loaded", _BUSY)
        return json_response(describe(self.served))


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
