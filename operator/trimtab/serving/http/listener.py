"""A listening port and the connections that it accepted."""

from __future__ import annotations

import asyncio
import random
from heapq import nlargest
from math import inf
from time import monotonic
from typing import Final

from trimtab.serving.http.connection import Bounds, Connection
from trimtab.serving.http.messages import Application
from trimtab.serving.http.sockets import listening_socket

MOST_SURPLUS: Final = 256
"""Connections too many that may wait for their answer; further ones are dropped at once."""
MOST_SPARE: Final = 256
"""Idle connections that are known at a time."""
IDLE_SECONDS: Final = 1.0
"""After which a connection gives way to a new one."""
LOOK_SECONDS: Final = 0.25


class Listener:
    """A listening port with its connections; each of them is bounded by `bounds`."""

    def __init__(self, application: Application, bounds: Bounds) -> None:
        self.application = application
        self.bounds = bounds
        self.draining = False
        self.held_bytes = 0
        self.last_accepted = monotonic()
        self._connections: set[Connection] = set()
        self._surplus: set[Connection] = set()
        self._spare: list[Connection] = []
        self._looked_at = -inf
        self._server: asyncio.Server | None = None

    async def listen(self, host: str | None, port: int) -> int:
        """Start listening; return the port number (useful when 0 was asked for)."""
        listening = listening_socket(host, port)
        self._server = await asyncio.get_running_loop().create_server(
            lambda: Connection(self), sock=listening
        )
        number: int = listening.getsockname()[1]
        return number

    def lifetime(self) -> float:
        """Return the seconds after which a new connection is not kept alive any more.

        Widely spread, so that connections opened together do not all move together: a candidate
        gets its share little by little, and the first of it soon.
        """
        return self.bounds.connection_seconds * random.uniform(0.4, 1.0)

    def add(self, connection: Connection) -> bool:
        """Count a connection; False when there are too many and none of them is idle."""
        self.last_accepted = now = monotonic()
        is_full = len(self._connections) - len(self._surplus) >= self.bounds.max_connections
        if is_full and not self._give_way(now):
            self._surplus.add(connection)
        self._connections.add(connection)
        return connection not in self._surplus

    def may_linger(self, connection: Connection) -> bool:
        """Whether one too many may stay until it has read why; there is room for some."""
        return connection in self._surplus and len(self._surplus) <= MOST_SURPLUS

    def remove(self, connection: Connection) -> None:
        """Forget a connection."""
        self._connections.discard(connection)
        self._surplus.discard(connection)

    def _give_way(self, now: float) -> bool:
        """Close the connection that has been idle longest, if it has been so for a moment.

        All are looked at once in a while, and those that are idle then go one by one.
        """
        if not self._spare and now - self._looked_at > LOOK_SECONDS:
            self._looked_at = now
            self._spare = nlargest(
                MOST_SPARE,
                [one for one in self._connections if one.idle_seconds(now) >= IDLE_SECONDS],
                key=lambda one: one.idle_seconds(now),
            )[::-1]
        while self._spare:
            one = self._spare.pop()
            if one.idle_seconds(now) >= IDLE_SECONDS and one.close_if_quiet():
                self._connections.discard(one)
                return True
        return False

    def relieve(self) -> None:
        """Refuse what the connection that holds most has sent: all together hold too much.

        So whoever sends large requests slowly is in the way of others that do, and of nobody else.
        """
        max(self._connections, key=lambda one: one.held_bytes).refuse_for_room()

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
