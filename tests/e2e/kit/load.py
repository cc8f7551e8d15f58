"""A steady stream of requests to one address, in a thread: who answered what, and when."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from dataclasses import dataclass, field

import httpx
from tests.patience import MOST, stretched

MOST_SECONDS = 600.0 * MOST


@dataclass(frozen=True)
class Answer:
    """One answer: Unix seconds of its end, HTTP status (0: none came), and the version."""

    at: float
    status: int
    version: str


@dataclass
class Load:
    """`with Load(url, rate) as load:` sends until the block ends, at most `MOST_SECONDS`.

    A machine that is busy with something else may answer late: that is not yet a lost request.
    """

    url: str
    rate: float = 50.0
    connections: int = 50
    keep_alive: bool = False
    """False: a connection for each request, so that shares follow the Service at once."""
    body: bytes = b"{}"
    answers: list[Answer] = field(default_factory=list)
    unsent: int = 0
    """Requests that were due while all connections were busy, and that never left this process: a
    backlog would hold up those to come. Nobody lost them, but nobody knows what would have become
    of them either: none on a free machine."""

    def __enter__(self) -> Load:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._send()), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join(timeout=40 * MOST)

    async def _send(self) -> None:
        limits = httpx.Limits(
            max_connections=self.connections,
            max_keepalive_connections=self.connections if self.keep_alive else 0,
        )
        begin = time.monotonic()
        async with httpx.AsyncClient(limits=limits, timeout=stretched(30.0)) as client:
            sent = 0
            tasks: set[asyncio.Task[None]] = set()
            while not self._stop.is_set() and time.monotonic() - begin < MOST_SECONDS:
                due = int((time.monotonic() - begin) * self.rate)
                for _ in range(sent, due):
                    if len(tasks) >= self.connections:
                        self.unsent += 1
                        continue
                    task = asyncio.create_task(self._one(client))
                    tasks.add(task)
                    task.add_done_callback(tasks.discard)
                sent = due
                await asyncio.sleep(0.005)
            await asyncio.gather(*tasks)

    async def _one(self, client: httpx.AsyncClient) -> None:
        try:
            answer = await client.post(self.url, content=self.body)
            version = answer.headers.get("X-Version", "")
            self.answers.append(Answer(time.time(), answer.status_code, version))
        except httpx.PoolTimeout:
            self.unsent += 1
        except httpx.HTTPError as error:
            self.answers.append(Answer(time.time(), 0, type(error).__name__))

    def lost(self) -> list[Answer]:
        """Return the requests that nobody answered."""
        return [a for a in self.answers if a.status == 0]

    def bad(self, version: str) -> list[Answer]:
        """Return the bad answers of a version that users saw."""
        return [a for a in self.answers if a.version == version and a.status != 200]

    def by_version(self) -> Counter[str]:
        return Counter(a.version for a in self.answers)

    def last(self, version: str) -> float:
        """Return when a version answered for the last time, Unix seconds."""
        return max((a.at for a in self.answers if a.version == version), default=0.0)
