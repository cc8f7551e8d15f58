"""A serving container that keeps the contract of ports and metrics, and misbehaves on purpose.

It runs in the serving image with the standard library alone. What it does is said by the version's
name (`fail100`, `fail20`, `slow50`, `nan`, `hang`, `garbage`, `empty`, `big`, `refuse`, `crash`,
`never`; anything else is healthy), so that two versions of one Deployment differ in nothing else.
With a file /control/mode (a ConfigMap) the candidate's metrics can be taken away while it runs.
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
STARTED = time.time()
BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


def share(word: str) -> float:
    """Return the share in 0..1 that the version's name gives to a fault."""
    found = re.match(rf"{word}([0-9]+)", VERSION)
    return int(found.group(1)) / 100 if found else 0.0


FAIL, SLOW = share("fail"), share("slow")
counts = {"200": 0, "500": 0}
slow = 0
draining = False
writers: set[asyncio.StreamWriter] = set()


def mode() -> str:
    """Return how the metrics port behaves now."""
    try:
        words = dict(
            line.split("=", 1) for line in Path("/control/mode").read_text().split() if "=" in line
        )
    except OSError:
        words = {}
    own = re.match(r"nan|hang|garbage|empty|big|refuse", VERSION)
    return words.get(VERSION) or (own.group(0) if own else "ok")


def exposition() -> bytes:
    total = sum(counts.values())
    lines = [f"process_start_time_seconds {STARTED}"]
    lines.append(f"trimtab_requests_started_total{{{LABELS}}} {total}")
    lines += [f'trimtab_requests_total{{{LABELS},code="{c}"}} {n}' for c, n in counts.items()]
    for bound in BOUNDS:
        within = total if bound >= 1 else total - slow
        lines.append(f'trimtab_request_seconds_bucket{{{LABELS},le="{bound:g}"}} {within}')
    lines.append(f'trimtab_request_seconds_bucket{{{LABELS},le="+Inf"}} {total}')
    lines.append(f"trimtab_request_seconds_count{{{LABELS}}} {total}")
    return ("\n".join(lines) + "\n").encode()


async def metrics_body() -> bytes | None:
    """Return what /metrics answers; None to cut the connection."""
    match mode():
        case "nan":
            return re.sub(rb'(code="200"}) [0-9]+', rb"\1 NaN", exposition())
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
    return exposition()


async def answer(path: str, port: int) -> tuple[int, bytes] | None:
    global slow
    if port == 9090:
        if path == "/metrics":
            body = await metrics_body()
            return None if body is None else (200, body)
        ready = not (path == "/readyz" and (draining or VERSION.startswith("never")))
        return (200, b"ok") if ready else (503, b"not ready")
    if SLOW and random.random() < SLOW:
        slow += 1
        await asyncio.sleep(1.0)
    failed = random.random() < FAIL
    counts["500" if failed else "200"] += 1
    return (500 if failed else 200), VERSION.encode()


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    port = writer.get_extra_info("sockname")[1]
    writers.add(writer)
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            length = re.search(r"content-length: *([0-9]+)", head, re.IGNORECASE)
            if length:
                await reader.readexactly(int(length.group(1)))
            path = head.split(" ", 2)[1]
            found = await answer(path, port)
            if found is None:
                return
            status, body = found
            close = "close" if draining else "keep-alive"
            writer.write(
                f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n"
                f"Connection: {close}\r\nX-Version: {VERSION}\r\n\r\n".encode() + body
            )
            await writer.drain()
            if draining:
                return
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writers.discard(writer)
        writer.close()


async def main() -> None:
    if VERSION.startswith("crash"):
        Path("/dev/termination-log").write_text("the model does not load: made to crash")
        sys.exit(3)
    global draining
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    servers = [await asyncio.start_server(serve, "", port) for port in (8080, 9090)]
    await stop.wait()
    draining = True
    await asyncio.sleep(3)
    for server in servers:
        server.close()


asyncio.run(main())
