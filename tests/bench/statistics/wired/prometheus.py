"""A Prometheus that scrapes the simulated pods, each at a phase of its own, and answers queries.

The operator asks it over its real path: an answer of HTTP is where this comes in.
"""

from __future__ import annotations

import asyncio
import json
import re
import zlib
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import httpx
import numpy as np

from trimtab.cluster.port import PODS, Json
from trimtab.contract.metrics import PROCESS_START, SeriesKey
from trimtab.telemetry.exposition import Exposition

if TYPE_CHECKING:
    from tests.bench.statistics.wired.world import World

URL = "http://prometheus.monitoring:9090"
DISCOVERY_SECONDS = 5.0
KEPT_SAMPLES = 64
_RANGE = re.compile(r"\[(\d+)ms\]$")
_PODS = re.compile(r'pod=~"((?:[^"\\]|\\.)*)"')


@dataclass(frozen=True)
class Source:
    """A Prometheus in place of own scrapes. interval: seconds between two scrapes of one pod.

    look: `spec.metrics.prometheus.interval`. lost: share of scrapes that give nothing.
    """

    interval: float = 15.0
    look: str = "15s"
    lost: float = 0.005


class VirtualPrometheus(httpx.AsyncBaseTransport):
    """The server; it scrapes while `run` runs."""

    def __init__(self, world: World, source: Source) -> None:
        self._world = world
        self._source = source
        self._draws = np.random.default_rng(world.seed + 2)
        self._samples: dict[str, deque[tuple[float, Exposition]]] = {}
        self._loops: dict[str, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Find pods as they come, and scrape each."""
        async with asyncio.TaskGroup() as group:
            while True:
                pods = {pod["metadata"]["name"] for pod in self._world.cluster.views(PODS)}
                for name in sorted(pods - self._loops.keys()):
                    self._loops[name] = group.create_task(self._scrape_always(name))
                for name in self._loops.keys() - pods:
                    self._loops.pop(name).cancel()
                await asyncio.sleep(DISCOVERY_SECONDS)

    async def _scrape_always(self, name: str) -> None:
        loop, interval = asyncio.get_running_loop(), self._source.interval
        phase = zlib.crc32(f"{self._world.seed} {name}".encode()) / 2**32 * interval
        while True:
            await asyncio.sleep(interval - (loop.time() - phase) % interval)
            if self._draws.random() < self._source.lost:
                continue
            at = self._world.unix()  # Prometheus writes when a scrape began
            await asyncio.sleep(self._draws.uniform(0.002, 0.02))
            found = self._world.exposition_of(name)
            if found is not None:
                kept = self._samples.setdefault(name, deque(maxlen=KEPT_SAMPLES))
                kept.append((round(at, 3), found))

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Answer an instant query with a range selector: raw samples, which never go stale."""
        query = parse_qs((await request.aread()).decode())["query"][0]
        reach, pods = _RANGE.search(query), _PODS.search(query)
        assert reach is not None
        assert pods is not None
        await asyncio.sleep(self._draws.uniform(0.005, 0.05))
        now = self._world.unix()
        since = now - float(reach[1]) / 1000
        result: list[Json] = []
        for name in re.sub(r"\\+", "", pods[1]).split("|"):
            result += self._series_of(name, since, now)
        data = {"resultType": "matrix", "result": result}
        body = json.dumps({"status": "success", "data": data}).encode()
        return httpx.Response(200, stream=_Body(body))

    def _series_of(self, name: str, since: float, until: float) -> list[Json]:
        target = {"namespace": "shop", "pod": name, "instance": name, "job": "models"}
        found: dict[SeriesKey, list[Any]] = {}
        starts: list[Any] = []
        for at, sample in self._samples.get(name, ()):
            if not since < at <= until:
                continue
            starts.append((at, repr(sample.process_start)))
            for key, value in sample.values.items():
                found.setdefault(key, []).append((at, repr(value)))
        if not starts:
            return []
        series = [
            {"metric": {"__name__": key[0], **dict(key[1]), **target}, "values": values}
            for key, values in found.items()
        ]
        start = {"__name__": PROCESS_START, **target}
        return [*series, {"metric": start, "values": starts}]


class _Body(httpx.AsyncByteStream):
    def __init__(self, body: bytes) -> None:
        self._body = body

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._body
