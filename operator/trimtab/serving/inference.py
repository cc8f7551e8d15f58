"""The inference port: Open Inference Protocol v2 and the KServe v1 predict call.

Sources: github.com/kserve/open-inference-protocol, `protocol/inference_rest.md`; KServe "V1".
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from time import monotonic
from typing import Any, Final, NamedTuple
from urllib.parse import unquote

import orjson

from trimtab import __version__
from trimtab.contract.artifact import Tensor
from trimtab.contract.token import MAX_ROWS
from trimtab.serving.access_log import AccessLogger
from trimtab.serving.errors import ModelFailed, RequestInvalid
from trimtab.serving.joining import Outcome, Work
from trimtab.serving.messages import Request, Response, error_response, json_response
from trimtab.serving.model import Prediction
from trimtab.serving.request_counters import RequestCounters
from trimtab.serving.served import Served
from trimtab.serving.validation import parse_json

log = logging.getLogger(__name__)

_BUSY: Final = b"retry-after: 1\r\n"
_MAX_ID_CHARACTERS: Final = 1024
_LOG_EVERY_SECONDS: Final = 10.0


class _Asked(NamedTuple):
    """What a call gives back beside the prediction."""

    id: str | None
    parameters: dict[str, Any]
    outputs: Sequence[str]
    rows: int


class Inference:
    """Routes of the inference port."""

    def __init__(self, model: str, version: str, access_log: AccessLogger) -> None:
        self._model = model
        self._version = version
        self._access_log = access_log
        self.counters = RequestCounters()
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
        self._pages = {
            "/v2": self._server,
            "/v2/health/live": self._live,
            "/v2/health/ready": self._ready,
            one: self._metadata,
            exact: self._metadata,
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
            return error_response(405, f"{request.method} is not allowed here", b"allow: POST\r\n")
        request.route = call
        self.counters.start()
        return _unreadable(request.headers)

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
            return error_response(
                405, f"{request.method} is not allowed here", b"allow: GET, HEAD\r\n"
            )
        return None

    def _unknown(self, path: str) -> str:
        parts = path.split("/")
        if len(parts) > 3 and parts[2] == "models":
            name = parts[3].removesuffix(":predict")
            if name != self._model:
                return f"model {name[:200]!r} is not served here; {self._model!r} is"
            if len(parts) > 5 and parts[4] == "versions" and parts[5] != self._version:
                return f"version {parts[5][:200]!r} is not served here; {self._version!r} is"
        return f"no such path: {path[:200]}"

    # Calls.

    def _infer(self, request: Request, served: Served) -> None:
        content = _object(parse_json(request.body))
        given_id = content.get("id")
        if given_id is not None and (
            type(given_id) is not str or len(given_id) > _MAX_ID_CHARACTERS
        ):
            raise RequestInvalid(f"id: a string of at most {_MAX_ID_CHARACTERS} is wanted")
        parameters = content.get("parameters")
        if parameters is None:
            parameters = {}
        elif type(parameters) is not dict:
            raise RequestInvalid("parameters: an object is wanted")
        elif parameters:
            _check_parameters(parameters)
        names = served.outputs.chosen(content.get("outputs"))
        if "inputs" not in content:
            raise RequestInvalid("inputs: is missing")
        rows = served.inputs.read(content["inputs"])
        asked = _Asked(given_id, parameters, names, len(rows))
        request.rows = asked.rows
        answer = partial(self._answer_infer, request, served, asked)
        self._submit(request, served, Work(rows, answer))

    def _predict(self, request: Request, served: Served) -> None:
        content = _object(parse_json(request.body))
        if "instances" not in content:
            raise RequestInvalid("instances: is missing")
        rows = served.inputs.read_instances(content["instances"])
        count = request.rows = len(rows)
        self._submit(
            request, served, Work(rows, partial(self._answer_predict, request, served, count))
        )

    def _submit(self, request: Request, served: Served, work: Work) -> None:
        if not served.joiner.submit(work):
            request.answer(error_response(503, "too many requests are waiting", _BUSY))

    def _answer_infer(
        self,
        request: Request,
        served: Served,
        asked: _Asked,
        outcome: Outcome,
        first: int,
    ) -> None:
        if request.abandoned:
            return
        if not isinstance(outcome, Prediction):
            request.answer(self._failure(outcome))
            return
        rows = slice(first, first + asked.rows)
        content: dict[str, Any] = {"model_name": self._model, "model_version": self._version}
        if asked.id is not None:
            content["id"] = asked.id
        content["parameters"] = asked.parameters | _token(served, outcome, rows)
        content["outputs"] = served.outputs.tensors(asked.outputs, outcome, rows)
        request.answer(json_response(content))

    def _answer_predict(
        self,
        request: Request,
        served: Served,
        count: int,
        outcome: Outcome,
        first: int,
    ) -> None:
        if request.abandoned:
            return
        if not isinstance(outcome, Prediction):
            request.answer(self._failure(outcome))
            return
        rows = slice(first, first + count)
        request.answer(
            json_response(
                {
                    "predictions": served.outputs.plain(outcome, rows),
                    "parameters": _token(served, outcome, rows),
                }
            )
        )

    def _failure(self, error: ModelFailed | TimeoutError) -> Response:
        if isinstance(error, TimeoutError):
            return error_response(504, str(error))
        if monotonic() - self._logged_at > _LOG_EVERY_SECONDS:
            self._logged_at = monotonic()
            log.error("the model failed", exc_info=error)
        return error_response(500, f"the model failed: {str(error)[:300]}")

    # Pages.

    def _server(self) -> Response:
        return json_response({"name": "trimtab", "version": __version__, "extensions": []})

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

    def _metadata(self) -> Response:
        served = self.served
        if served is None:
            return error_response(503, "the model is being loaded", _BUSY)
        return json_response(
            {
                "name": self._model,
                "versions": [self._version],
                "platform": f"{served.manifest.format}_trimtab",
                "inputs": [_described(tensor) for tensor in served.signature.inputs],
                "outputs": [_described(tensor) for tensor in served.signature.outputs],
                "parameters": {
                    "digest": served.identity.digest,
                    "baseline": served.identity.baseline,
                },
            }
        )


def _unreadable(headers: dict[bytes, bytes]) -> Response | None:
    """Return the refusal of a body that is not plain JSON."""
    kind = headers.get(b"content-type")
    if kind is not None and kind.partition(b";")[0].strip().lower() != b"application/json":
        shown = kind[:80].decode("latin-1")
        return error_response(415, f"content-type: {shown!r} is not application/json")
    coding = headers.get(b"content-encoding", b"identity").lower()
    if coding != b"identity":
        shown = coding[:80].decode("latin-1")
        return error_response(415, f"content-encoding: {shown!r} is not understood")
    if b"inference-header-content-length" in headers:
        return error_response(415, "inference-header-content-length: only JSON is understood")
    return None


def _object(content: Any) -> dict[str, Any]:
    if type(content) is not dict:
        raise RequestInvalid("the body is not a JSON object")
    return content


def _check_parameters(parameters: dict[str, Any]) -> None:
    """Parameters are echoed, so they have to be writable: JSON is read deeper than written."""
    if parameters.get("binary_data_output"):
        raise RequestInvalid("parameters.binary_data_output: only JSON is answered")
    try:
        orjson.dumps(parameters)
    except orjson.JSONEncodeError as error:
        raise RequestInvalid(f"parameters: {error}") from error


def _token(served: Served, prediction: Prediction, rows: slice) -> dict[str, Any]:
    if served.tokens is None:
        return {}
    token = served.tokens.of(prediction, rows)
    count = rows.stop - rows.start
    if count > MAX_ROWS:
        return {"trimtab_token": token, "trimtab_token_rows": MAX_ROWS}
    return {"trimtab_token": token}


def _described(tensor: Tensor) -> dict[str, Any]:
    return {"name": tensor.name, "datatype": tensor.datatype, "shape": [-1, *tensor.shape]}
