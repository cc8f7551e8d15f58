"""Requests and responses, and what an application does with them."""

from __future__ import annotations

from collections.abc import Callable
from email.utils import formatdate
from http import HTTPStatus
from time import time
from typing import Final, Protocol

import orjson

JSON: Final = b"application/json"
BYTES: Final = b"application/octet-stream"
TEXT: Final = b"text/plain; charset=utf-8"
CLIENT_LEFT: Final = 499
"""Not sent: the peer closed before it was answered."""

_STATUS_LINES: Final = {
    status.value: b"HTTP/1.1 %d %s\r\n" % (status.value, status.phrase.encode())
    for status in HTTPStatus
}


class _Date:
    """The line of the header `Date`, made once a second."""

    __slots__ = ("_from", "_line", "_until")

    def __init__(self) -> None:
        self._from = self._until = 0.0
        self._line = b""

    def line(self) -> bytes:
        now = time()
        if not self._from <= now < self._until:  # clocks are set back, too
            self._from = now // 1
            self._until = self._from + 1
            self._line = b"date: %b\r\n" % formatdate(self._from, usegmt=True).encode()
        return self._line


_DATE: Final = _Date()


class Response:
    """An answer whose body is whole, so that its head says the length.

    `headers` are further raw lines, each with its line end.
    """

    __slots__ = ("body", "content_type", "headers", "status")

    def __init__(
        self, status: int, body: bytes = b"", content_type: bytes = JSON, headers: bytes = b""
    ) -> None:
        self.status = status
        self.body = body
        self.content_type = content_type
        self.headers = headers

    def head(self, *, close: bool, more: bytes = b"") -> bytes:
        """Return what goes on the wire before the body; `more` are further raw lines."""
        return b"".join(
            (
                _STATUS_LINES[self.status],
                b"content-type: %b\r\ncontent-length: %d\r\n" % (self.content_type, len(self.body)),
                _DATE.line(),
                self.headers,
                more,
                b"connection: close\r\n\r\n" if close else b"\r\n",
            )
        )


def json_response(content: object, status: int = 200) -> Response:
    """Return `content` as JSON; numpy arrays are written as lists."""
    return Response(status, orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY))


def binary_response(content: object, tail: list[bytes]) -> Response:
    """Return `content` as JSON, followed by the bytes of tensors that it describes."""
    head = orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY)
    length = b"inference-header-content-length: %d\r\n" % len(head)
    return Response(200, b"".join((head, *tail)), BYTES, length)


def error_response(status: int, message: str, headers: bytes = b"") -> Response:
    """Return the error object of the Open Inference Protocol."""
    return Response(status, orjson.dumps({"error": message}), headers=headers)


class Request:
    """One request; it is answered once, now or later, by `answer`."""

    __slots__ = (
        "abandoned",
        "aside",
        "began",
        "body",
        "deliver",
        "headers",
        "id",
        "keep_alive",
        "method",
        "path",
        "refusal",
        "route",
        "rows",
        "size",
        "span",
        "trace",
        "unread",
    )

    def __init__(self, began: float, deliver: Callable[[Request, Response], None]) -> None:
        self.began = began
        self.deliver = deliver
        self.method = ""
        self.path = ""
        self.headers: dict[bytes, bytes] = {}
        self.body = b""
        self.size = 0  # of the body, which is let go once it was read
        self.keep_alive = True
        self.unread = False  # part of the body was not read and never will be
        self.refusal: Response | None = None
        self.abandoned = False
        self.aside = False
        self.route: object = None  # set by the application in `admit`
        self.id = b""  # X-Request-Id, if it is one
        self.trace = b""  # traceparent, if it is one; of the span, where there is one
        self.span: object = None  # set by the application in `admit`
        self.rows = 0

    def names(self) -> bytes:
        """Return the header lines by which the answer can be found again; most have none."""
        lines = b""
        if self.trace:
            lines = b"traceparent: %b\r\n" % self.trace
        if self.id:
            lines += b"x-request-id: %b\r\n" % self.id
        return lines

    def answer(self, response: Response) -> None:
        """Send the answer, unless the peer has left."""
        if not self.abandoned:
            self.deliver(self, response)


class Application(Protocol):
    """What stands behind a port."""

    @property
    def is_pressed(self) -> bool:
        """Whether it is worth asking `refuse_unread`."""

    def refuse_unread(self, data: bytes) -> bytes:
        """Return the answer to what a connection that owes nothing has read, or nothing.

        It is one whole request then, which is refused without being parsed and which keeps its
        connection alive.
        """

    def admit(self, request: Request) -> Response | None:
        """Look at the head of a request; a response refuses it before its body is read."""

    def handle(self, request: Request) -> None:
        """Answer a whole request, now or later."""

    def finished(self, request: Request, status: int, size: int) -> None:
        """Take note that an admitted request was answered, or `CLIENT_LEFT`."""
