"""Real servers on loopback in a thread of their own, with what they hold open counted."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Coroutine, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from time import sleep
from typing import Any, NamedTuple, TypeVar

import uvloop
from tests.patience import Limit, stretched

from trimtab.serving.lifecycle import Server
from trimtab.serving.settings import ServingSettings

_Result = TypeVar("_Result")
WAIT_SECONDS = 10.0


class Held(NamedTuple):
    """What could leak."""

    connections: int
    tasks: int
    waiting: int
    threads: int


class Answer(NamedTuple):
    """A whole response."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def error(self) -> str:
        """The message; the object has nothing else."""
        content = json.loads(self.body)
        assert list(content) == ["error"]
        text: str = content["error"]
        return text


class Ground:
    """An event loop in a thread, and the servers on it."""

    def __init__(self) -> None:
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._servers: list[Server] = []

    def start(self, settings: ServingSettings) -> Server:
        """Start a server and wait until it is ready."""

        async def started() -> Server:
            server = Server(settings)
            await server.start()
            return server

        server = self._do(started())
        self._servers.append(server)
        return server

    def held(self) -> Held:
        """Count what the servers hold open."""

        async def counted() -> Held:
            ports = [port for server in self._servers for port in (server.front, server.back)]
            served = [server.inference.served for server in self._servers]
            return Held(
                sum(port.connections for port in ports),
                len(asyncio.all_tasks()),
                sum(one.joiner.depth for one in served if one is not None),
                threading.active_count(),
            )

        return self._do(counted())

    def close(self) -> None:
        """End the servers and the loop."""
        for server in self._servers:
            self._do(server.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _do(self, work: Coroutine[Any, Any, _Result]) -> _Result:
        future: Future[_Result] = asyncio.run_coroutine_threadsafe(work, self._loop)
        return future.result(stretched(WAIT_SECONDS))


class Peer:
    """A connection that sends bytes as they are."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), stretched(WAIT_SECONDS))
        self._read = self._socket.makefile("rb")

    def send(self, wire: bytes) -> None:
        """Send all; a server that has refused may have stopped reading."""
        with suppress(BrokenPipeError, ConnectionResetError):
            self._socket.sendall(wire)

    def answer(self) -> Answer:
        """Read one response."""
        first = self._read.readline().decode()
        headers = dict[str, str]()
        while (line := self._read.readline().decode().strip()) != "":
            name, _, value = line.partition(": ")
            headers[name.lower()] = value
        body = self._read.read(int(headers.get("content-length", "0")))
        return Answer(int(first.split()[1]), headers, body)

    def ended(self) -> bool:
        """Whether the server has closed; wait for it."""
        return self._read.read(1) == b""

    def close(self) -> None:
        """Hang up."""
        self._read.close()
        self._socket.close()


@contextmanager
def peer(port: int) -> Iterator[Peer]:
    """Connect, and hang up at the end."""
    one = Peer(port)
    try:
        yield one
    finally:
        one.close()


def at_rest(ground: Ground) -> Held:
    """Return what is held when nobody is connected: the peer of the last test may be leaving."""
    end = Limit(WAIT_SECONDS)
    while (now := ground.held()).connections and not end.is_over():
        sleep(0.002)
    return now


def settled(ground: Ground, before: Held) -> Held:
    """Return what is held once it is no more than before, or what is left over in the end."""
    end = Limit(WAIT_SECONDS)
    while (now := ground.held()) != before and not end.is_over():
        sleep(0.002)
    return now
