"""Load on one core: requests on kept connections, closed loop or at a fixed rate.

python -m tests.bench.serving.client PORT PATH BODY --connections N --seconds S [--rate R]
prints one line of JSON. Closed loop: one request at a time per connection. With a rate, latencies
count from when a request was due, so that a slow server cannot hide its queue. With `--requests`
it ends after that many answers; at a rate, `--skipped` seconds of it go before what is told.
`--head` bytes of the body are JSON, binary tensors follow. `cpu` is what it used itself in seconds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import time
from collections import deque
from pathlib import Path
from typing import Final, cast

import uvloop

CLIENT_CORE: Final = 1
_END_OF_HEAD: Final = b"\r\n\r\n"


class Load:
    """What all connections share. Latencies in seconds."""

    def __init__(self, port: int, request: bytes, rate: float | None) -> None:
        self.port = port
        self.request = request
        self.rate = rate
        self.latencies: list[float] = []
        self.enough = asyncio.Event()
        self.most = 0
        self.good: list[float] = []
        """Of those, from when they were sent, of what was answered with 200."""
        self.bad = 0
        self.is_over = False
        self.idle: deque[Connection] = deque()
        self.waiting: deque[float] = deque()
        self.open = 0

    async def connect(self) -> None:
        loop = asyncio.get_running_loop()
        await loop.create_connection(lambda: Connection(self), "127.0.0.1", self.port)

    def next(self, connection: Connection) -> None:
        """Give a free connection its next request, or let it wait for one."""
        if self.is_over:
            return
        if self.rate is None:
            connection.send(time.perf_counter())
        elif self.waiting:
            connection.send(self.waiting.popleft())
        else:
            self.idle.append(connection)

    async def arrive(self, seconds: float) -> int:
        """Requests fall due evenly at the rate; return how many did."""
        assert self.rate is not None
        begin = time.perf_counter()
        due = 0
        while (now := time.perf_counter()) - begin < seconds:
            while begin + due / self.rate <= now:
                at = begin + due / self.rate
                due += 1
                if self.idle:
                    self.idle.popleft().send(at)
                else:
                    self.waiting.append(at)
            await asyncio.sleep(0.0005)
        return due


class Connection(asyncio.Protocol):
    """One kept connection; it is opened anew when the server closes it."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._buffer = b""
        self._sent = self._written = 0.0
        self._is_waiting = False
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass
        self._load.open += 1
        self._load.next(self)

    def send(self, at: float) -> None:
        assert self._transport is not None
        if self._transport.is_closing():
            self._load.waiting.append(at)
            return
        self._sent, self._is_waiting = at, True
        self._written = time.perf_counter()
        self._transport.write(self._load.request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, separator, rest = self._buffer.partition(_END_OF_HEAD)
        if not separator:
            return
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0])
        if len(rest) < length:
            return
        self._buffer = b""
        self._is_waiting = False
        self._load.latencies.append(time.perf_counter() - self._sent)
        if len(self._load.latencies) == self._load.most:
            self._load.is_over = True
            self._load.enough.set()
        if head[9:12] == b"200":
            self._load.good.append(time.perf_counter() - self._written)
        else:
            self._load.bad += 1
        if b"connection: close" in head.lower():
            return
        self._load.next(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._load.open -= 1
        if self in self._load.idle:
            self._load.idle.remove(self)
        if self._is_waiting and not self._load.is_over:
            self._load.bad += 1
        if not self._load.is_over:
            task = asyncio.get_running_loop().create_task(self._load.connect())
            _reopening.add(task)
            task.add_done_callback(_reopening.discard)


_reopening: set[asyncio.Task[None]] = set()


async def play(
    load: Load, connections: int, seconds: float, skipped: float = 0.0
) -> dict[str, float]:
    """Run the load; return figures, without those of the first `skipped` seconds."""
    for _ in range(connections):
        await load.connect()
    if skipped and load.rate is not None:
        await load.arrive(skipped)
        load.latencies.clear()
        load.good.clear()
        load.bad = 0
    begin, used = time.perf_counter(), time.process_time()
    if load.most:
        await asyncio.wait_for(load.enough.wait(), seconds)
    elif load.rate is None:
        await asyncio.sleep(seconds)
    else:
        await load.arrive(seconds)
    load.is_over = True
    taken, used = time.perf_counter() - begin, time.process_time() - used
    ordered, good = sorted(load.latencies), sorted(load.good)
    if not ordered:
        raise SystemExit("no request was answered")
    return {
        "requests": len(ordered),
        "bad": load.bad,
        "good": len(good),
        "good_p99": good[int(len(good) * 0.99)] if good else 0.0,
        "unsent": len(load.waiting),
        "seconds": taken,
        "cpu": used,
        "p50": ordered[len(ordered) // 2],
        "p99": ordered[int(len(ordered) * 0.99)],
    }


def main() -> None:
    """Read the command line, run, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("path")
    parser.add_argument("body", type=Path)
    parser.add_argument("--connections", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--rate", type=float)
    parser.add_argument("--skipped", type=float, default=0.0)
    parser.add_argument("--requests", type=int, default=0)
    parser.add_argument("--head", type=int, default=0)
    parser.add_argument("--cores", default=str(CLIENT_CORE), help="numbers with commas")
    arguments = parser.parse_args()
    os.sched_setaffinity(0, {int(core) for core in arguments.cores.split(",")})
    body = arguments.body.read_bytes()
    head = (
        f"POST {arguments.path} HTTP/1.1\r\nHost: 127.0.0.1:{arguments.port}\r\n"
        f"Content-Type: {'application/octet-stream' if arguments.head else 'application/json'}\r\n"
        f"Content-Length: {len(body)}\r\n"
    )
    if arguments.head:
        head += f"Inference-Header-Content-Length: {arguments.head}\r\n"
    load = Load(arguments.port, f"{head}\r\n".encode() + body, arguments.rate)
    load.most = arguments.requests
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        found = runner.run(play(load, arguments.connections, arguments.seconds, arguments.skipped))
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
