"""The calls of gRPC: the same protocol, validation, queue and counters as by HTTP.

A call is counted by the HTTP status that stands for what became of it, so that the operator sees
one page whatever clients speak. Which model is meant is in the message; so a call for another one
is counted, too, as 404.

Sources: github.com/kserve/open-inference-protocol, `protocol/inference_grpc.md`; Triton Inference
Server, `extension_model_repository.md`; github.com/grpc/grpc, `statuscodes.md` and
`health-checking.md`; proposal A6 (`grpc-retry-pushback-ms`, the Retry-After of gRPC).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from inspect import isawaitable
from time import monotonic, perf_counter
from typing import Any, Final, NoReturn

import grpc

from trimtab import __version__
from trimtab.serving.errors import RequestInvalid
from trimtab.serving.grpc.protocol import HEALTH, HEALTH_SERVICE, INFERENCE_SERVICE, Messages
from trimtab.serving.grpc.reading import parsed, parsed_infer, read_call
from trimtab.serving.grpc.writing import Writer
from trimtab.serving.http.messages import CLIENT_LEFT, Request, Response
from trimtab.serving.inference.describing import EXTENSIONS, configuration, metadata
from trimtab.serving.inference.joining import Result, Work
from trimtab.serving.inference.routes import Inference, token_parameters
from trimtab.serving.inference.served import Served
from trimtab.serving.model.base import Matrix, Prediction

log = logging.getLogger(__name__)

SLOW_SECONDS: Final = 0.25
"""Calls whose message is whole by then are not bounded in their number."""
_INFER: Final = f"/{INFERENCE_SERVICE}/ModelInfer"
_LONGEST_DETAILS: Final = 1000
"""Characters; a client takes 8 KiB of trailers, in which others than ASCII have up to 12 bytes."""
_LONGEST_OTHER_DETAILS: Final = 300
_PUSHBACK: Final = (("grpc-retry-pushback-ms", "1000"),)
_CODES: Final = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    404: grpc.StatusCode.NOT_FOUND,
    408: grpc.StatusCode.DEADLINE_EXCEEDED,
    413: grpc.StatusCode.INVALID_ARGUMENT,
    500: grpc.StatusCode.INTERNAL,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}
Page = Callable[[Any], dict[str, Any] | Awaitable[dict[str, Any]]]
"""From a message to the fields of the one that answers."""


class Refused(Exception):
    """A call is answered with an error; `status` is the one of HTTP that it is counted by."""

    def __init__(self, status: int, message: str, code: grpc.StatusCode | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code or _CODES[status]


class Receiving:
    """A call whose message is on its way; made in the task that waits for it."""

    def __init__(self) -> None:
        self.since = monotonic()
        self.refusal: Refused | None = None
        self._task = asyncio.current_task()

    def refuse(self, refusal: Refused) -> None:
        """Let it wait no longer."""
        if self.refusal is None and self._task is not None:
            self.refusal = refusal
            self._task.cancel()


class Service(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpcio has no types
    """All methods of the port. Belongs to the event loop.

    slow_calls: how many messages may be on their way for longer than `SLOW_SECONDS`.
    """

    def __init__(
        self, inference: Inference, *, most_calls: int, slow_calls: int, receive_seconds: float
    ) -> None:
        self._inference = inference
        self._most_calls = most_calls
        self._slow_calls = slow_calls
        self._receive_seconds = receive_seconds
        self._receiving: dict[Receiving, None] = {}
        self._messages = messages = Messages()
        self._infer_request = messages.of("ModelInferRequest")
        self._writer = Writer(messages)
        self._handlers = {
            _INFER: grpc.stream_unary_rpc_method_handler(self._infer),
            f"/{HEALTH_SERVICE}/Check": self._page("HealthCheck", self._check, package=HEALTH),
        }
        pages: dict[str, Page] = {
            "ServerLive": self._server_live,
            "ServerReady": self._server_ready,
            "ModelReady": self._model_ready,
            "ServerMetadata": self._server_metadata,
            "ModelMetadata": self._model_metadata,
            "ModelConfig": self._model_config,
            "ModelStatistics": self._model_statistics,
            "RepositoryIndex": self._repository_index,
        }
        for name, page in pages.items():
            self._handlers[f"/{INFERENCE_SERVICE}/{name}"] = self._page(name, page)

    def service(self, details: Any) -> Any:
        """Return the handler of a call, or nothing: UNIMPLEMENTED."""
        return self._handlers.get(details.method)

    def sweep(self) -> None:
        """Refuse what is received too slowly; called a few times a second.

        How large a message will be is not told before it is whole. So few of them may be on their
        way for long, and those that have been for longest are refused first.
        """
        now = monotonic()
        slow = [one for one in self._receiving if now - one.since > SLOW_SECONDS]
        for index, one in enumerate(slow):
            if now - one.since > self._receive_seconds:
                one.refuse(Refused(408, "the request did not arrive in time"))
            elif index < len(slow) - self._slow_calls:
                one.refuse(_exhausted("too much is being received"))

    # Inference.

    async def _infer(self, _requests: Any, context: Any) -> bytes:
        request = Request(perf_counter(), _not_delivered)
        request.method, request.path, request.route = "POST", _INFER, self._infer
        is_loaded = self._inference.served is not None
        self._inference.counters.start(request, is_loaded=is_loaded)
        status, size = CLIENT_LEFT, 0
        refusal: Refused
        try:
            answer = await self._answered(request, context)
            status, size = 200, len(answer)
            return answer
        except Refused as refused:
            status, refusal = refused.status, refused
        except RequestInvalid as invalid:
            status = invalid.status
            refusal = Refused(status, str(invalid), grpc.StatusCode.INVALID_ARGUMENT)
        except Exception:
            # A bug costs this call, and says nothing of itself to the client.
            log.exception("a call could not be answered")
            status, refusal = 500, Refused(500, "the request could not be answered")
        finally:
            request.abandoned = True  # from here on nobody waits
            self._inference.finished(request, status, size)
        # It is counted by now: who reads the counters after an answer finds it there.
        return await _abort(context, refusal)

    async def _answered(self, request: Request, context: Any) -> bytes:
        body = await self._received(context)
        request.size = len(body)
        served = self._inference.served  # not before: it may have become another one meanwhile
        if served is None:
            raise Refused(503, "the model is being loaded")
        message = parsed_infer(self._infer_request, body, served.inputs)
        other = self._inference.not_served(message.model_name, message.model_version)
        if other:
            raise Refused(404, other)
        asked, _ = read_call(message, served.inputs, served.outputs)
        del body, message  # many may wait
        count = request.rows = len(asked.rows)
        result, first = await _predicted(served, asked.rows, request)
        if not isinstance(result, Prediction):
            raise Refused(*self._inference.failure(result))
        rows = slice(first, first + count)
        parameters = asked.parameters | token_parameters(served, result, rows)
        return self._writer.infer(served, asked, parameters, result, rows)

    async def _received(self, context: Any) -> bytes:
        if len(self._receiving) >= self._most_calls:
            raise _exhausted("too many requests are being received")
        receiving = Receiving()
        self._receiving[receiving] = None
        try:
            body = await context.read()
        except asyncio.CancelledError:
            if receiving.refusal is None:
                raise
            raise receiving.refusal from None
        finally:
            del self._receiving[receiving]
        if body is grpc.aio.EOF:
            # The library tells no more of one that is too large, and has answered it.
            raise RequestInvalid("the call has no message, or one that is too large", 413)
        content: bytes = body
        return content

    # Pages.

    def _page(
        self,
        name: str,
        answer: Page,
        package: str = "inference",
    ) -> Any:
        request = self._messages.of(f"{name}Request", package)
        response = self._messages.of(f"{name}Response", package)

        async def page(body: bytes, context: Any) -> bytes:
            try:
                fields = answer(parsed(request, body))
                told = await fields if isawaitable(fields) else fields
                content: bytes = response(**told).SerializeToString()
            except Refused as refused:
                await _abort(context, refused)
            except RequestInvalid as invalid:
                await _abort(context, Refused(invalid.status, str(invalid)))
            return content

        return grpc.unary_unary_rpc_method_handler(page)

    def _server_live(self, _: Any) -> dict[str, Any]:
        return {"live": True}

    def _server_ready(self, _: Any) -> dict[str, Any]:
        return {"ready": self._inference.is_ready}

    def _model_ready(self, message: Any) -> dict[str, Any]:
        self._check_named(message)
        return {"ready": self._inference.is_ready}

    def _server_metadata(self, _: Any) -> dict[str, Any]:
        return {"name": "trimtab", "version": __version__, "extensions": EXTENSIONS}

    def _model_metadata(self, message: Any) -> dict[str, Any]:
        described = metadata(self._named(message))
        del described["parameters"]  # for which the message has no field
        return described

    def _model_config(self, message: Any) -> dict[str, Any]:
        return {"config": configuration(self._named(message))}

    async def _model_statistics(self, message: Any) -> dict[str, Any]:
        if not message.name:
            message.name = self._inference.name  # all models are meant
        counted = await self._inference.counted(self._named(message))
        for one in counted["model_stats"]:
            del one["batch_stats"]  # none are kept, and the message is told without
        return counted

    def _repository_index(self, message: Any) -> dict[str, Any]:
        served, is_ready = self._inference.served, self._inference.is_ready
        if served is None or (message.ready and not is_ready):
            return {}
        identity = served.identity
        state = "READY" if is_ready else "UNAVAILABLE"
        return {"models": [{"name": identity.model, "version": identity.version, "state": state}]}

    def _check(self, message: Any) -> dict[str, Any]:
        if message.service not in ("", INFERENCE_SERVICE, HEALTH_SERVICE):
            raise Refused(404, f"service {message.service[:200]!r} is not known here")
        return {"status": "SERVING" if self._inference.is_ready else "NOT_SERVING"}

    def _check_named(self, message: Any) -> None:
        other = self._inference.not_served(message.name, message.version)
        if other:
            raise Refused(404, other)

    def _named(self, message: Any) -> Served:
        self._check_named(message)
        if self._inference.served is None:
            raise Refused(503, "the model is being loaded")
        return self._inference.served


async def _predicted(served: Served, rows: Matrix, request: Request) -> tuple[Result, int]:
    future: asyncio.Future[tuple[Result, int]] = asyncio.get_running_loop().create_future()

    def deliver(result: Result, first: int) -> None:
        if not future.done():
            future.set_result((result, first))

    if not served.joiner.submit(Work(rows, deliver, asker=request)):
        raise Refused(503, "too many requests are waiting")
    return await future


def _exhausted(message: str) -> Refused:
    return Refused(503, message, grpc.StatusCode.RESOURCE_EXHAUSTED)


async def _abort(context: Any, refused: Refused) -> NoReturn:
    message = str(refused)
    details = message[: _LONGEST_DETAILS if message.isascii() else _LONGEST_OTHER_DETAILS]
    await context.abort(refused.code, details, _PUSHBACK if refused.status == 503 else ())
    raise AssertionError("abort raises")


def _not_delivered(_request: Request, _response: Response) -> None:
    """A call is answered by what its handler returns."""
