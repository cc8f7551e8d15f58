"""HTTP/1.1 connections: parsing, order of answers, bounds, and when a connection ends.

Written on httptools instead of uvicorn, since three things are wanted that a server behind ASGI
does not give: connections that end by age with `Connection: close`, a drain that still answers
new connections, and no task per request.

    new ── bytes ──> receiving ── whole request ──> answering ──> idle ──> receiving ...
     \\                                                  │           │
      └── never spoke ──> closed          age or drain: answered    idle at drain, or old:
                                          with close, closed        closed

Requests that arrive while one is answered, or while the peer does not read answers, wait in order;
reading stops when there are too many.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from dataclasses import dataclass
from time import monotonic, perf_counter
from typing import Final, Protocol, cast

import httptools

from trimtab.serving.http.heads import (
    VERSIONS,
    framing_of,
    is_host,
    path_of,
    request_id_of,
    traceparent_of,
)
from trimtab.serving.http.messages import (
    CLIENT_LEFT,
    Application,
    Request,
    Response,
    error_response,
)
from trimtab.serving.http.sockets import say_goodbye

log = logging.getLogger(__name__)

MAX_HEAD_BYTES: Final = 65536
MAX_PIPELINED: Final = 16
MOST_WAITING: Final = 1024
"""Of one connection; what was read in one piece holds more than `MAX_PIPELINED`."""
DISCARD_SECONDS: Final = 2.0
"""How long unread input is thrown away after a refusal, so that the peer can read the answer."""
NEW_IN_DRAIN_SECONDS: Final = 1.0
RECENT_SECONDS: Final = 1.0
_FREE: Final = float("inf")
_LATER: Final = b"retry-after: 1\r\n"
_OTHER_VERSIONS: Final = frozenset(("Invalid HTTP version", "Pause on PRI/Upgrade"))
"""What the parser says of versions that it does not know, and of HTTP/2 from the start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What one port allows. Durations in seconds."""

    max_body_bytes: int
    max_held_bytes: int
    """Of requests that are not being answered yet, all connections together."""
    max_connections: int
    receive_seconds: float
    connection_seconds: float
    idle_seconds: float
    drain_linger_seconds: float


class Owner(Protocol):
    """Who accepted a connection, keeps count of it and says when to end it."""

    application: Application
    bounds: Bounds
    draining: bool
    held_bytes: int
    """What all connections together hold of requests that are not being answered yet."""

    def relieve(self) -> None:
        """Refuse what the connection that holds most has sent: all together hold too much."""

    def lifetime(self) -> float:
        """Return the seconds after which a new connection is not kept alive any more."""

    def add(self, connection: Connection) -> bool:
        """Count a connection; False when there are too many."""

    def may_linger(self, connection: Connection) -> bool:
        """Whether one too many may stay until it has read why; there is room for some."""

    def remove(self, connection: Connection) -> None:
        """Forget a connection."""


class Connection(asyncio.Protocol):
    """One TCP connection."""

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._application = owner.application
        self._parser = httptools.HttpRequestParser(self)
        self._receiving: Request | None = None
        self._first = b""  # of the body; most bodies come in one piece
        self._further = bytearray()
        self._body_bytes = 0
        self._booked = 0  # what the owner was told to be held here
        self._told_bytes = 0  # of targets, names and values, of all requests
        self._head_start = 0  # what was told before the request being received
        self._silent_bytes = 0  # read since the parser last had something to tell
        self._last_told = (0, 0)
        self._in_head = False
        self._upgrading = False
        self._host: bytes | None = b"\0"  # the last one found good
        self._answering: Request | None = None
        self._waiting: deque[Request] = deque()
        self._pumping = False
        self._deaf = False  # further input is thrown away
        self._is_surplus = False  # one connection too many
        self._idle_since = monotonic()
        self._stalled_since = _FREE
        self._retire_at = 0.0

    # Transport.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._retire_at = self._idle_since + self._owner.lifetime()
        if not self._owner.add(self):
            self._is_surplus = True
            if self._owner.may_linger(self):
                # An answer to nothing is read by few clients: its first request is answered.
                asyncio.get_running_loop().call_later(DISCARD_SECONDS, self._end_surplus)
            else:
                self._transport.abort()

    def _end_surplus(self) -> None:
        """Say why to a client that has not asked anything."""
        if not self._deaf:
            self._refuse_rest(_too_many())

    def connection_lost(self, exc: Exception | None) -> None:
        self._owner.remove(self)
        self._deaf = True
        for request in (self._answering, *self._waiting, self._receiving):
            if request is not None and not request.abandoned:
                request.abandoned = True
                self._application.finished(request, CLIENT_LEFT, 0)
        self._answering = self._receiving = None
        self._waiting.clear()
        self._forget_body()
        if self._booked:
            self._book()
        # It knows us, and we knew it: memory would wait for a full collection of garbage.
        del self._parser

    def eof_received(self) -> bool:
        """Keep the way back open while answers are owed."""
        self._deaf = True
        return self._answering is not None or bool(self._waiting)

    def pause_writing(self) -> None:
        self._stalled_since = monotonic()
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        self._stalled_since = _FREE
        self._pump()
        self._resume_reading()

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            return
        if self._application.is_pressed and self._is_refused(data):
            return
        try:
            try:
                self._parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                self._ignore_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserCallbackError:
            log.exception("a request could not be read")
            self._transport.abort()
        except httptools.HttpParserError as error:
            self._refuse_rest(_malformed(str(error)))
        if self._receiving is not None or self._waiting or self._booked:
            self._check_bounds(len(data))

    def _is_refused(self, data: bytes) -> bool:
        """Answer one whole request without parsing it, where it cannot be answered in time."""
        if (
            self._receiving is not None
            or self._answering is not None
            or self._waiting
            or self._upgrading
            or self._is_surplus
            or self._owner.draining
            or self._stalled_since != _FREE
        ):
            return False
        now = monotonic()
        if now >= self._retire_at:
            return False
        answer = self._application.refuse_unread(data)
        if not answer:
            return False
        self._idle_since = now
        self._transport.write(answer)
        return True

    def _check_bounds(self, read: int) -> None:
        if self._receiving is not None:
            self._check_head(read)
        self._book()
        if self._owner.held_bytes > self._owner.bounds.max_held_bytes:
            self._owner.relieve()

    def _book(self) -> None:
        """Tell the owner what is held here."""
        held = sum([len(request.body) for request in self._waiting])
        if self._receiving is not None:
            held += len(self._first) + len(self._further)
            held += self._told_bytes - self._head_start + self._silent_bytes
        self._owner.held_bytes += held - self._booked
        self._booked = held

    @property
    def held_bytes(self) -> int:
        """What is held here of requests that are not being answered yet."""
        return self._booked

    def refuse_for_room(self) -> None:
        """Refuse all requests that are not being answered yet: together they are too large."""
        refusal = error_response(503, "too much is being received", _LATER)
        if self._receiving is not None:
            self._refuse_rest(refusal)
        for request in self._waiting:
            request.body = b""
            request.refusal = request.refusal or refusal
        self._book()

    def _check_head(self, read: int) -> None:
        """Bound what a request has beside its body: lines told, and a line that never ends."""
        told = (self._told_bytes, self._body_bytes)
        self._silent_bytes = self._silent_bytes + read if told == self._last_told else 0
        self._last_told = told
        if max(self._silent_bytes, self._told_bytes - self._head_start) > MAX_HEAD_BYTES:
            self._refuse_rest(_head_too_long())

    def _ignore_upgrade(self, rest: bytes) -> None:
        """Answer a request that asks to upgrade as plain HTTP/1.1; go on with `rest`.

        The parser takes it for one without a body and stops; the Java client, which asks each
        time, sends bodies. So another parser goes on behind a head that says the same of the body.
        """
        while (request := self._receiving) is not None and not self._deaf:
            self._parser = httptools.HttpRequestParser(self)
            framing = framing_of(request.headers)
            if framing:
                self._receiving = None  # the head is not told a second time
                self._parser.feed_data(b"POST / HTTP/1.1\r\n" + framing)
                self._receiving = request
            self._upgrading = False
            if not framing:
                self.on_message_complete()
            try:
                self._parser.feed_data(rest)
            except httptools.HttpParserUpgrade as upgrade:
                rest = rest[upgrade.args[0] :]
            else:
                return

    # Parser.

    def on_message_begin(self) -> None:
        if self._deaf or self._upgrading:
            return
        self._receiving = Request(perf_counter(), self._deliver)
        self._receiving.abandoned = True  # until admitted, nobody has to hear of its end
        self._in_head = True
        self._body_bytes = 0
        self._head_start = self._told_bytes

    def on_url(self, url: bytes) -> None:
        request = self._receiving
        if request is not None:
            self._told_bytes += len(url)
            request.path += url.decode("latin-1")

    def on_header(self, name: bytes, value: bytes) -> None:
        request = self._receiving
        if request is None:
            return
        self._told_bytes += len(name) + len(value)
        if self._in_head:  # trailers are counted and thrown away
            key = name.lower()
            before = request.headers.get(key)
            request.headers[key] = value if before is None else before + b", " + value

    def on_headers_complete(self) -> None:
        request = self._receiving
        if request is None:
            return
        self._in_head = False
        headers = request.headers
        request.keep_alive = self._parser.should_keep_alive()
        # Versions are dear to ask for. Others than 1.1 are kept alive only where they say so.
        if (
            not request.keep_alive or b"connection" in headers
        ) and self._parser.get_http_version() not in VERSIONS:
            self._refuse_rest(_other_version())
            return
        if b"transfer-encoding" in headers and self._is_framed_otherwise(headers):
            return
        request.method = self._parser.get_method().decode("latin-1")
        if "?" in request.path or request.path[:1] != "/":
            request.path = path_of(request.path)
        if b"x-request-id" in headers:
            request.id = request_id_of(headers[b"x-request-id"])
        if b"traceparent" in headers:
            request.trace = traceparent_of(headers[b"traceparent"])
        if self._is_surplus:
            self._refuse_rest(_too_many())
            return
        request.abandoned = False
        request.refusal = self._application.admit(request)
        if headers.get(b"host") != self._host:
            request.refusal = request.refusal or self._ill_hosted(headers)
        self._upgrading = b"upgrade" in headers and self._parser.should_upgrade()
        length = headers.get(b"content-length", b"0")
        if int(length) > self._owner.bounds.max_body_bytes:
            self._refuse_rest(self._too_long())
        elif self._told_bytes - self._head_start > MAX_HEAD_BYTES:
            self._refuse_rest(_head_too_long())
        elif request.method == "CONNECT":
            self._refuse_rest(request.refusal or error_response(405, "this is no proxy"))
        elif b"expect" in headers:
            self._expected(request, headers[b"expect"].lower())

    def _is_framed_otherwise(self, headers: dict[bytes, bytes]) -> bool:
        """Refuse a body that others may see end elsewhere. Source: RFC 9112, 6.1 and 6.3.

        What the parser refuses itself: lengths that are no plain number or given twice, a length
        beside a coding, and a coding behind `chunked`.
        """
        if headers[b"transfer-encoding"].lower() != b"chunked":
            self._refuse_rest(error_response(501, "transfer-encoding: only chunked is understood"))
        elif self._parser.get_http_version() == "1.0":
            self._refuse_rest(error_response(400, "transfer-encoding: HTTP/1.0 has none"))
        return self._deaf

    def _ill_hosted(self, headers: dict[bytes, bytes]) -> Response | None:
        host = headers.get(b"host")
        if host is None:
            if self._parser.get_http_version() != "1.1":
                return None
            return error_response(400, "host: is missing")
        if not is_host(host):
            return error_response(400, "host: is not one host")
        self._host = host
        return None

    def _expected(self, request: Request, expectation: bytes) -> None:
        if expectation != b"100-continue":
            self._refuse_rest(error_response(417, "expect: only 100-continue is understood"))
        elif request.refusal is not None:
            self._refuse_rest(request.refusal)
        elif self._answering is None:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, chunk: bytes) -> None:
        if self._receiving is None:
            return
        self._body_bytes += len(chunk)
        if self._body_bytes > self._owner.bounds.max_body_bytes:
            self._refuse_rest(self._too_long())
        elif self._receiving.refusal is None:
            if self._first:
                self._further += chunk
            else:
                self._first = chunk

    def on_message_complete(self) -> None:
        request = self._receiving
        if request is None or self._upgrading:
            return
        request.body = self._first + self._further if self._further else self._first
        request.size = self._body_bytes
        self._receiving = None
        self._forget_body()
        self._enqueue(request)

    def _forget_body(self) -> None:
        self._first = b""
        if self._further:
            self._further = bytearray()

    # Order of answers.

    def _enqueue(self, request: Request) -> None:
        self._waiting.append(request)
        if len(self._waiting) >= MAX_PIPELINED:
            self._transport.pause_reading()
            if len(self._waiting) > MOST_WAITING:
                self._deaf = request.unread = True
                request.keep_alive = False
                request.refusal = error_response(503, "too many requests at once", _LATER)
        self._pump()

    def _pump(self) -> None:
        """Begin requests in order while none is being answered and the peer reads answers."""
        if self._pumping:
            return
        self._pumping = True
        while self._waiting and self._answering is None and self._stalled_since == _FREE:
            request = self._waiting.popleft()
            if self._booked:
                self._booked -= len(request.body)
                self._owner.held_bytes -= len(request.body)
            if len(self._waiting) == MAX_PIPELINED - 1:
                self._resume_reading()
            self._answering = request
            if request.refusal is not None:
                self._deliver(request, request.refusal)
            else:
                self._handle(request)
        self._pumping = False

    def _handle(self, request: Request) -> None:
        try:
            self._application.handle(request)
        except Exception:
            # A bug costs this request, not the connections of others.
            log.exception("%s could not be answered", request.path)
            request.answer(error_response(500, "the request could not be answered"))

    def _deliver(self, request: Request, response: Response) -> None:
        leave = self._owner.draining or monotonic() >= self._retire_at
        close = not request.keep_alive or (leave and not self._waiting)
        body = b"" if request.method == "HEAD" else response.body
        names = request.names() if request.id or request.trace else b""
        size = self._write(response.head(close=close, more=names), body)
        self._answered(request, response.status, size, close=close)

    def _write(self, head: bytes, body: bytes) -> int:
        """Put an answer on the wire; return its bytes."""
        answer = head + body
        self._transport.write(answer)
        return len(answer)

    def _answered(self, request: Request, status: int, size: int, *, close: bool) -> None:
        """Go on behind an answer of which the last byte was written."""
        request.abandoned = True  # answered once
        self._answering = None
        self._application.finished(request, status, size)
        if close:
            self._end(request)
        elif self._waiting:
            self._pump()
        else:
            self._idle_since = monotonic()
            if self._deaf:
                self._transport.close()

    def _resume_reading(self) -> None:
        if self._stalled_since == _FREE and len(self._waiting) < MAX_PIPELINED:
            self._transport.resume_reading()

    def _end(self, request: Request) -> None:
        self._deaf = True
        if request.unread and not self._transport.is_closing():
            # Closing with unread input would reset the connection under the answer.
            self._transport.write_eof()
            self._transport.resume_reading()
            asyncio.get_running_loop().call_later(DISCARD_SECONDS, self._transport.close)
        else:
            self._transport.close()

    def _refuse_rest(self, response: Response) -> None:
        """Answer what is being received with `response` and read no further request."""
        request = self._receiving
        if request is None:
            if self._deaf:
                return
            request = Request(perf_counter(), self._deliver)
        self._receiving = None
        self._forget_body()
        self._in_head = self._upgrading = False
        self._deaf = True
        request.refusal = response
        request.abandoned = False
        request.keep_alive = False
        request.unread = True
        self._enqueue(request)

    def _too_long(self) -> Response:
        limit = self._owner.bounds.max_body_bytes
        return error_response(413, f"the body is longer than {limit} bytes")

    # Time.

    def idle_seconds(self, now: float) -> float:
        """Return how long nothing has been owed and nothing was received; 0 if something is."""
        return now - self._idle_since if self.is_idle and not self._deaf else 0.0

    @property
    def is_idle(self) -> bool:
        """Whether nothing is owed to the peer and nothing is being received."""
        return self._answering is None and self._receiving is None and not self._waiting

    def sweep(self, now: float) -> None:
        """Close or refuse what has taken too long."""
        bounds = self._owner.bounds
        if now - self._stalled_since > bounds.receive_seconds:
            self._transport.abort()
        elif self.is_idle:
            idle = now - self._idle_since
            if self._owner.draining:
                allowed = NEW_IN_DRAIN_SECONDS
            else:
                allowed = bounds.idle_seconds if now >= self._retire_at else _FREE
            if idle >= allowed:
                self.close_if_quiet()
        elif (
            self._receiving is not None
            and perf_counter() - self._receiving.began > bounds.receive_seconds
        ):
            self._refuse_rest(error_response(408, "the request did not arrive in time"))
            self._book()

    def drain(self, now: float) -> None:
        """Close the connection soon, unless it is answered with close before."""
        half = self._owner.bounds.drain_linger_seconds / 2
        soon = random.uniform(0.0, half)
        if now - self._idle_since < RECENT_SECONDS:
            soon += half
        asyncio.get_running_loop().call_later(soon, self._close_if_idle)

    def _close_if_idle(self) -> None:
        if self.is_idle:
            self.close_if_quiet()

    def close_if_quiet(self) -> bool:
        """Close unless a request already lies in the socket: that one is answered first."""
        if self._transport.is_closing() or not say_goodbye(self._transport):
            return False
        self._deaf = True
        self._transport.close()
        return True

    def abort(self) -> None:
        """Drop the connection at once."""
        self._transport.abort()


def _malformed(what: str) -> Response:
    if what in _OTHER_VERSIONS:
        return _other_version()
    return error_response(400, f"malformed HTTP: {what}")


def _other_version() -> Response:
    return error_response(505, "HTTP/1.1 and HTTP/1.0 are understood")


def _too_many() -> Response:
    return error_response(503, "too many connections", _LATER)


def _head_too_long() -> Response:
    return error_response(431, "the request's head is too long")
