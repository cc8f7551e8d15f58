"""A serving container that keeps the contract of ports and metrics, and misbehaves on purpose.

It runs in the serving image with the standard library alone. What it does is said by the version's
name (`fail100`, `fail20`, `slow50`, `nan`, `hang`, `garbage`, `empty`, `big`, `refuse`, `crash`,
`never`, `late5`: Ready after 5 s; anything else is healthy), so that two versions of one
Deployment differ in nothing else. While it runs, `POST /control/<word>` on the metrics port changes
it: the same words, `fail0` and `slow0` to end a fault, `ok` to give good metrics, `ready`.
"""

import asyncio
import os
import random
import re
import signal
import sys
import time
from pathlib import Path

VERSION = os.environ.get("TRIMTAB_VERSION", "good")
LABELS = (
    f'model="{os.environ.get("TRIMTAB_MODEL", "m")}",version="{VERSION}",'
    f'digest="{os.environ.get("TRIMTAB_ARTIFACT_DIGEST", "")}",baseline=""'
)
BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
MODES = ("ok", "nan", "hang", "garbage", "empty", "big", "refuse")
METRICS_PORT = 9090
SECONDS_TO_LEAVE = float(os.environ.get("SECONDS_TO_LEAVE", "3"))
CONNECTION_SECONDS = 2.0
"""Connections end by age, as those of the real runtime do, so that clients with keep-alive move."""


class Faulty:
    """The two ports of one process, and how they behave now."""

    def __init__(self) -> None:
        self.fail = self.slow = self.late = 0.0
        self.mode = "ok"
        self.is_ready = True
        self.draining = False
        self.counts = {"200": 0, "500": 0}
        self.slow_answers = 0
        self.started = time.time()
        self.idle: set[asyncio.StreamWriter] = set()
        self.obey(VERSION.split("-", 1)[0])

    def obey(self, word: str) -> None:
        """Behave as the word says from now on; words of no meaning are the names of good ones."""
        number = re.fullmatch(r"(fail|slow|late)([0-9]+)", word)
        if word in MODES:
            self.mode = word
        elif word in ("ready", "never"):
            self.is_ready = word == "ready"
        elif number and number[1] == "late":
            self.late = float(number[2])
        elif number:
            setattr(self, number[1], int(number[2]) / 100)

    def exposition(self) -> bytes:
        total = sum(self.counts.values())
        lines = [f"process_start_time_seconds {self.started}"]
        lines.append(f"trimtab_requests_started_total{{{LABELS}}} {total}")
        lines += [
            f'trimtab_requests_total{{{LABELS},code="{c}"}} {n}' for c, n in self.counts.items()
        ]
        for bound in BOUNDS:
            within = total if bound >= 1 else total - self.slow_answers
            lines.append(f'trimtab_request_seconds_bucket{{{LABELS},le="{bound:g}"}} {within}')
        lines.append(f'trimtab_request_seconds_bucket{{{LABELS},le="+Inf"}} {total}')
        lines.append(f"trimtab_request_seconds_count{{{LABELS}}} {total}")
        return ("\n".join(lines) + "\n").encode()

    async def metrics(self) -> bytes | None:
        """Return what /metrics answers; None to cut the connection."""
        match self.mode:
            case "nan":
                return re.sub(rb'(code="200"}) [0-9]+', rb"\1 NaN", self.exposition())
            case "hang":
                await asyncio.sleep(3600)
            case "garbage":
                return b"<html>\x00 this is not metrics {{{ 12\n" * 50
            case "empty":
                return b""
            case "big":
                return b"# filler\n" * 1_200_000
            case "refuse":
                return None
        return self.exposition()

    async def answer(self, path: str, port: int) -> tuple[int, bytes] | None:
        if port == METRICS_PORT and path == "/metrics":
            body = await self.metrics()
            return None if body is None else (200, body)
        if port == METRICS_PORT and path.startswith("/control/"):
            self.obey(path.removeprefix("/control/"))
            return 200, b"{}"
        if port == METRICS_PORT:
            is_up = self.is_ready and not self.draining and time.time() > self.started + self.late
            return (200, b"ok") if is_up or path != "/readyz" else (503, b"not ready")
        if random.random() < self.slow:
            self.slow_answers += 1
            await asyncio.sleep(1.0)
        status = 500 if random.random() < self.fail else 200
        self.counts[str(status)] += 1
        return status, VERSION.encode()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        port = writer.get_extra_info("sockname")[1]
        opened = time.monotonic()
        try:
            is_last = False
            while not is_last:
                path = await self._next_path(reader, writer)
                found = await self.answer(path, port)
                if found is None:
                    return
                is_last = self.draining or time.monotonic() - opened > CONNECTION_SECONDS
                writer.write(_message(*found, is_last=is_last))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.idle.discard(writer)
            writer.close()

    async def _next_path(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
        self.idle.add(writer)
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        self.idle.discard(writer)
        length = re.search(r"content-length: *([0-9]+)", head, re.IGNORECASE)
        if length:
            await reader.readexactly(int(length[1]))
        return head.split(" ", 2)[1]

    async def run(self) -> None:
        """Serve until SIGTERM, then some seconds more, as an endpoint leaves a Service late."""
        stop = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
        servers = [await asyncio.start_server(self.serve, "", p) for p in (8080, METRICS_PORT)]
        await stop.wait()
        self.draining = True
        await asyncio.sleep(SECONDS_TO_LEAVE)
        for server in servers:
            server.close()
        for writer in list(self.idle):
            writer.close()


def _message(status: int, body: bytes, *, is_last: bool) -> bytes:
    return (
        f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\nContent-Type: text/plain\r\n"
        f"Connection: {'close' if is_last else 'keep-alive'}\r\nX-Version: {VERSION}\r\n\r\n"
    ).encode() + body


if VERSION.startswith("crash"):
    Path("/dev/termination-log").write_text("the model does not load: made to crash")
    sys.exit(3)
asyncio.run(Faulty().run())
