"""HTTP/1.1 connections: parsing, order of answers, bounds, and when a connection ends.

Written on httptools instead of uvicorn, since three things are wanted that a server behind ASGI
does not give: connections that end by age with `Connection: close`, a drain that still answers
new connections, and no task per request.

    new ── bytes ──> receiving ── whole request ──> answering ──> idle ──> receiving ...
     \\                                                  │           │
      └── never spoke ──> closed          age or drain: answered    idle at drain, or old:
                                          with close, closed        closed

Requests that arrive while one is answered wait in order; reading stops when there are too many.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import random
import socket
import struct
import termios
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic, perf_counter
from typing import Final, cast

import httptools

from trimtab.serving.messages import (
    CLIENT_LEFT,
    Application,
    Request,
    Response,
    error_response,
)

log = logging.getLogger(__name__)

MAX_HEAD_BYTES: Final = 65536
MAX_PIPELINED: Final = 16
BACKLOG: Final = 2048
DISCARD_SECONDS: Final = 2.0
"""How long unread input is thrown away after a refusal, so that the peer can read the answer."""
NEW_IN_DRAIN_SECONDS: Final = 1.0
RECENT_SECONDS: Final = 1.0
_FREE: Final = float("inf")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What one port allows. Durations in seconds."""

    max_body_bytes: int
    max_connections: int
    receive_seconds: float
    connection_seconds: float
    idle_seconds: float
    drain_linger_seconds: float


class Connection(asyncio.Protocol):
    """One TCP connection."""

    def __init__(self, port: Port) -> None:
        self._port = port
        self._application = port.application
        self._parser = httptools.HttpRequestParser(self)
        self._receiving: Request | None = None
        self._chunks: list[bytes] = []
        self._body_bytes = 0
        self._head_bytes = 0
        self._in_head = False
        self._answering: Request | None = None
        self._waiting: deque[Request] = deque()
        self._pumping = False
        self._deaf = False  # further input is thrown away
        self._idle_since = monotonic()
        self._stalled_since = _FREE
        self._retire_at = 0.0

    # Transport.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._retire_at = self._idle_since + self._port.lifetime()
        if not self._port.add(self):
            full = error_response(503, "too many connections", b"retry-after: 1\r\n")
            self._transport.write(full.encoded(close=True, without_body=False))
            self._deaf = True
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._port.remove(self)
        self._deaf = True
        for request in (self._answering, *self._waiting, self._receiving):
            if request is not None and not request.abandoned:
                request.abandoned = True
                self._application.finished(request, CLIENT_LEFT, 0)
        self._answering = self._receiving = None
        self._waiting.clear()

    def eof_received(self) -> bool:
        """Keep the way back open while answers are owed."""
        self._deaf = True
        return self._answering is not None

    def pause_writing(self) -> None:
        self._stalled_since = monotonic()
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        self._stalled_since = _FREE
        self._resume_reading()

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            # Answered as plain HTTP/1.1; what follows is not for us.
            self._deaf = True
            self._last_request_closes()
        except httptools.HttpParserCallbackError:
            log.exception("a request could not be read")
            self._transport.abort()
        except httptools.HttpParserError as error:
            self._refuse_rest(error_response(400, f"malformed HTTP: {error}"))
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self._refuse_rest(error_response(431, "the request's head is too long"))

    # Parser.

    def on_message_begin(self) -> None:
        if self._deaf:
            return
        self._receiving = Request(perf_counter(), self._deliver)
        self._receiving.abandoned = True  # until admitted, nobody has to hear of its end
        self._in_head = True
        self._head_bytes = self._body_bytes = 0

    def on_url(self, url: bytes) -> None:
        request = self._receiving
        if request is not None:
            request.path += url.decode("latin-1")

    def on_header(self, name: bytes, value: bytes) -> None:
        request = self._receiving
        if request is not None:
            request.headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        request = self._receiving
        if request is None:
            return
        self._in_head = False
        request.method = self._parser.get_method().decode("latin-1")
        request.keep_alive = self._parser.should_keep_alive()
        request.path = request.path.partition("?")[0]
        request.abandoned = False
        request.refusal = self._application.admit(request)
        length = request.headers.get(b"content-length", b"0")
        if int(length) > self._port.bounds.max_body_bytes:
            self._refuse_rest(self._too_long())
        elif request.headers.get(b"expect", b"").lower() == b"100-continue":
            if request.refusal is not None:
                self._refuse_rest(request.refusal)
            elif self._answering is None:
                self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, chunk: bytes) -> None:
        if self._receiving is None:
            return
        self._body_bytes += len(chunk)
        if self._body_bytes > self._port.bounds.max_body_bytes:
            self._refuse_rest(self._too_long())
        elif self._receiving.refusal is None:
            self._chunks.append(chunk)

    def on_message_complete(self) -> None:
        request = self._receiving
        if request is None:
            return
        chunks = self._chunks
        if chunks:
            request.body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
            self._chunks = []
        self._receiving = None
        self._enqueue(request)

    # Order of answers.

    def _enqueue(self, request: Request) -> None:
        self._waiting.append(request)
        if len(self._waiting) >= MAX_PIPELINED:
            self._transport.pause_reading()
        self._pump()

    def _pump(self) -> None:
        """Begin requests in order while none is being answered."""
        if self._pumping:
            return
        self._pumping = True
        while self._waiting and self._answering is None:
            request = self._waiting.popleft()
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
            log.exception("%s could not be answered", request.path)
            request.answer(error_response(500, "the request could not be answered"))

    def _deliver(self, request: Request, response: Response) -> None:
        leave = self._port.draining or monotonic() >= self._retire_at
        close = not request.keep_alive or (leave and not self._waiting)
        encoded = response.encoded(close=close, without_body=request.method == "HEAD")
        self._transport.write(encoded)
        request.abandoned = True  # answered once
        self._answering = None
        self._application.finished(request, response.status, len(encoded))
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
        self._chunks = []
        self._in_head = False
        self._deaf = True
        request.refusal = response
        request.abandoned = False
        request.keep_alive = False
        request.unread = True
        self._enqueue(request)

    def _last_request_closes(self) -> None:
        last = self._waiting[-1] if self._waiting else self._answering
        if last is not None:
            last.keep_alive = False
        else:
            self._transport.close()

    def _too_long(self) -> Response:
        limit = self._port.bounds.max_body_bytes
        return error_response(413, f"the body is longer than {limit} bytes")

    # Time.

    @property
    def is_idle(self) -> bool:
        """Whether nothing is owed to the peer and nothing is being received."""
        return self._answering is None and self._receiving is None and not self._waiting

    def sweep(self, now: float) -> None:
        """Close or refuse what has taken too long."""
        bounds = self._port.bounds
        if now - self._stalled_since > bounds.receive_seconds:
            self._transport.abort()
        elif self.is_idle:
            idle = now - self._idle_since
            if self._port.draining:
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

    def drain(self, now: float) -> None:
        """Close the connection soon, unless it is answered with close before."""
        half = self._port.bounds.drain_linger_seconds / 2
        soon = random.uniform(0.0, half)
        if now - self._idle_since < RECENT_SECONDS:
            soon += half
        asyncio.get_running_loop().call_later(soon, self._close_if_idle)

    def _close_if_idle(self) -> None:
        if self.is_idle:
            self.close_if_quiet()

    def close_if_quiet(self) -> None:
        """Close unless a request already lies in the socket: that one is answered first."""
        if self._transport.is_closing() or not _say_goodbye(self._transport):
            return
        self._deaf = True
        self._transport.close()

    def abort(self) -> None:
        """Drop the connection at once."""
        self._transport.abort()


def _say_goodbye(transport: asyncio.Transport) -> bool:
    """Tell the peer at once that nothing more comes; False when it has sent something.

    A transport closes its socket only after what else the loop has to do, and each request that
    comes in between would be lost.
    """
    descriptor = transport.get_extra_info("socket").fileno()
    unread = fcntl.ioctl(descriptor, termios.FIONREAD, b"\0\0\0\0")
    if struct.unpack("i", unread)[0] > 0:
        return False
    with socket.socket(fileno=os.dup(descriptor)) as peer, suppress(OSError):
        peer.shutdown(socket.SHUT_WR)
    return True


class Port:
    """A listening port with its connections."""

    def __init__(self, application: Application, bounds: Bounds) -> None:
        self.application = application
        self.bounds = bounds
        self.draining = False
        self.last_accepted = monotonic()
        self._connections: set[Connection] = set()
        self._server: asyncio.Server | None = None

    async def listen(self, host: str | None, port: int) -> int:
        """Start listening; return the port number (useful when 0 was asked for)."""
        listener = _listener(host, port)
        self._server = await asyncio.get_running_loop().create_server(
            lambda: Connection(self), sock=listener
        )
        number: int = listener.getsockname()[1]
        return number

    def lifetime(self) -> float:
        """Return the seconds after which a new connection is not kept alive any more.

        Widely spread, so that connections opened together do not all move together: a candidate
        gets its share little by little, and the first of it soon.
        """
        return self.bounds.connection_seconds * random.uniform(0.4, 1.0)

    def add(self, connection: Connection) -> bool:
        """Count a connection; False when there are too many."""
        self._connections.add(connection)
        self.last_accepted = monotonic()
        return len(self._connections) <= self.bounds.max_connections

    def remove(self, connection: Connection) -> None:
        """Forget a connection."""
        self._connections.discard(connection)

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return len(self._connections)

    @property
    def has_work(self) -> bool:
        """Whether an answer is owed on any connection."""
        return any(not connection.is_idle for connection in self._connections)

    def sweep(self) -> None:
        """Close what has taken too long; called a few times a second."""
        now = monotonic()
        for connection in tuple(self._connections):
            connection.sweep(now)

    def drain(self) -> None:
        """Close idle connections; every later answer carries `Connection: close`.

        Closing loses a request that is on its way already. So idle connections are closed one
        after another, those last that were used within the last second: most of these are
        answered with close before, and the peers of the others notice before they send. Nobody
        is served on an old connection for longer than `drain_linger_seconds`.
        """
        self.draining = True
        now = monotonic()
        for connection in tuple(self._connections):
            connection.drain(now)

    def stop_listening(self) -> None:
        """Accept no further connection."""
        if self._server is not None:
            self._server.close()
            self._server = None

    def close(self) -> None:
        """Stop listening and drop all connections."""
        self.stop_listening()
        for connection in tuple(self._connections):
            connection.abort()


def _listener(host: str | None, port: int) -> socket.socket:
    """Return a listening socket, for both families where the pod has IPv6."""
    if host is None and socket.has_dualstack_ipv6():
        try:
            return socket.create_server(
                ("", port), family=socket.AF_INET6, backlog=BACKLOG, dualstack_ipv6=True
            )
        except OSError as error:
            log.info("IPv6 is not to be had: %s", error)
    return socket.create_server((host or "", port), backlog=BACKLOG)
