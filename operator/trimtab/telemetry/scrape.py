"""One scrape of one process, and the schedule of all of them.

The schedule is one heap. A target's scrapes lie on a grid of its own interval, shifted by a phase
that is a hash of its Deployment, so that Deployments spread evenly and the pods of one are read
together: in rounds. A scrape has a time-out of its own, which may be longer than the interval: what
comes late is evidence all the same. While one is under way the next is left out and counted, so
that a slow pod never has two at once.
"""

import asyncio
import heapq
import logging
import math
import ssl
import time
import zlib
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field

import httpx
from prometheus_client import Counter

from trimtab.telemetry.bodies import PLAIN, UNREADABLE, no_cookies, read_body
from trimtab.telemetry.exposition import (
    Exposition,
    MalformedExpositionError,
    NotFiniteError,
    Parser,
    UnidentifiedError,
)
from trimtab.telemetry.port import NoData, NoDataReason, Target
from trimtab.telemetry.prometheus_answer import Sampled

logger = logging.getLogger(__name__)

DEFAULT_CONCURRENCY = 32
DEFAULT_SIZE_LIMIT = 4 * 1024 * 1024
PARSE_OFF_LOOP_BYTES = 256 * 1024
_HEADERS = {"accept": "text/plain; version=0.0.4", **PLAIN}
HELD_UP_SECONDS = 0.1
"""A time-out that fires later than this says that the process was held up."""
MOST_TRIES = 3
LEFT_OUT = Counter(
    "trimtab_operator_scrapes_left_out",
    "Scrapes, or looks at a metrics backend, left out while the one before was under way.",
)


@dataclass
class _Attempt:
    """Whether the beginning of an answer has come."""

    is_silent: bool = True


class Scraper:
    """Fetches and parses; every failure becomes a `NoData` that says what was seen."""

    def __init__(
        self,
        size_limit: int = DEFAULT_SIZE_LIMIT,
        concurrency: int = DEFAULT_CONCURRENCY,
        now: Callable[[], float] = time.time,
    ) -> None:
        """size_limit in bytes; now: Unix seconds, for samples. Opens no connection yet."""
        self._size_limit = size_limit
        self._now = now
        self._parser = Parser()
        # No proxies, credentials or authorities of the machine: targets are pods, over http.
        self._client = httpx.AsyncClient(
            verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
            headers=_HEADERS,
            cookies=no_cookies(),
            trust_env=False,
            follow_redirects=False,
            timeout=None,  # one limit over the whole scrape, below
            limits=httpx.Limits(
                max_connections=4 * concurrency,
                max_keepalive_connections=None,
                keepalive_expiry=60.0,
            ),
        )

    async def close(self) -> None:
        await self._client.aclose()

    async def scrape(self, target: Target) -> Sampled | NoData:
        """One scrape within the target's time-out, over all of connecting, reading and parsing.

        The sample has the time at which the answer was there, however long reading it takes. A
        time-out that fires late says that this process was held up, and nothing of the pod, whose
        answer may have come meanwhile: it is asked again.
        """
        for _ in range(MOST_TRIES):
            began = _monotonic()
            found = await self._scrape_once(target)
            late = _monotonic() - began - target.timeout_seconds
            if not isinstance(found, NoData) or late <= HELD_UP_SECONDS:
                return found
        return NoData(NoDataReason.STALE, "the operator was held up and could not read the answer")

    async def _scrape_once(self, target: Target) -> Sampled | NoData:
        attempt = _Attempt()
        try:
            async with asyncio.timeout(target.timeout_seconds):
                body = await self._fetch_again_if_closed(target.url, attempt)
                if isinstance(body, NoData):
                    return body
                at = self._now()
                sample = await self._parse(body)
                return sample if isinstance(sample, NoData) else Sampled(at, sample)
        except TimeoutError:
            detail = f"no answer within {target.timeout_seconds:g} s"
        except UNREADABLE as error:
            detail = f"{type(error).__name__}: {error}"[:200]
        return NoData(NoDataReason.BACKEND_DOWN, detail, is_silent=attempt.is_silent)

    async def _fetch_again_if_closed(self, url: str, attempt: _Attempt) -> bytes | NoData:
        """A kept connection may be closed by the pod as we write: that is no failure, try anew."""
        try:
            return await self._fetch(url, attempt)
        except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError):
            return await self._fetch(url, attempt)

    async def _fetch(self, url: str, attempt: _Attempt) -> bytes | NoData:
        async with self._client.stream("GET", url) as response:
            attempt.is_silent = False
            if response.status_code != httpx.codes.OK:
                return NoData(NoDataReason.BACKEND_DOWN, f"HTTP {response.status_code}")
            return await read_body(response, self._size_limit)

    async def _parse(self, body: bytes) -> Exposition | NoData:
        try:
            if len(body) > PARSE_OFF_LOOP_BYTES:
                return await asyncio.to_thread(self._parser.parse_bytes, body)
            return self._parser.parse_bytes(body)
        except MalformedExpositionError as error:
            return NoData(NoDataReason.BACKEND_DOWN, str(error))
        except UnidentifiedError as error:
            return NoData(NoDataReason.NO_SERIES, str(error))
        except NotFiniteError as error:
            return NoData(NoDataReason.NOT_A_NUMBER, str(error))


@dataclass
class _Entry:
    key: str
    target: Target
    is_current: bool = True


@dataclass(order=True)
class _Due:
    at: float
    order: int
    entry: _Entry = field(compare=False)


class Schedule:
    """When to scrape what. `scrape` and `missed` are called with (key, target).

    `begin` is called with a key and all of its targets that are scraped at one moment.
    """

    def __init__(
        self,
        scrape: Callable[[str, Target], Awaitable[None]],
        missed: Callable[[str, Target], None],
        concurrency: int = DEFAULT_CONCURRENCY,
        begin: Callable[[str, Sequence[Target]], None] = lambda _key, _targets: None,
    ) -> None:
        self._scrape = scrape
        self._missed = missed
        self._begin = begin
        self._slots = asyncio.Semaphore(concurrency)
        self._entries: dict[str, dict[str, _Entry]] = {}
        self._under_way: set[tuple[str, str]] = set()
        """Keys and processes; a target that was changed meanwhile waits for its old scrape."""
        self._heap: list[_Due] = []
        self._order = 0
        self._changed = asyncio.Event()

    def set_targets(self, key: str, targets: Iterable[Target]) -> None:
        """These targets for `key` from now on; unchanged ones keep their place in the schedule."""
        wanted = {target.process: target for target in targets}
        known = self._entries.get(key, {})
        kept: dict[str, _Entry] = {}
        for process, entry in known.items():
            if wanted.get(process) == entry.target:
                kept[process] = entry
            else:
                entry.is_current = False
        for process, target in wanted.items():
            if process not in kept:
                kept[process] = _Entry(key, target)
                self._push(kept[process], _monotonic())
        self._entries[key] = kept
        if not kept:
            del self._entries[key]

    def is_current(self, key: str, target: Target) -> bool:
        """Whether a scrape that was under way is still wanted: an address may be another's now."""
        entry = self._entries.get(key, {}).get(target.process)
        return entry is not None and entry.target == target

    async def run(self) -> None:
        """Scrape until cancelled; scrapes under way are cancelled with it."""
        loop = asyncio.get_running_loop()
        self._under_way.clear()
        async with asyncio.TaskGroup() as scrapes:
            while True:
                self._changed.clear()
                now = loop.time()
                self._start_all(self._take_due(now), scrapes)
                wait = self._heap[0].at - loop.time() if self._heap else None
                await self._changed_within(wait)

    async def _changed_within(self, seconds: float | None) -> None:
        try:
            async with asyncio.timeout(None if seconds is None else max(0.0, seconds)):
                await self._changed.wait()
        except TimeoutError:
            return

    def _take_due(self, now: float) -> list[_Entry]:
        """Return what is due, and put it to its next place."""
        entries = []
        while self._heap and self._heap[0].at <= now:
            due = heapq.heappop(self._heap)
            if due.entry.is_current:
                entries.append(due.entry)
                # Half an interval on: rounding must not give the same point again.
                half = due.entry.target.interval_seconds / 2
                self._push(due.entry, max(now, due.at + half))
        return entries

    def _start_all(self, entries: Iterable[_Entry], scrapes: asyncio.TaskGroup) -> None:
        rounds: dict[str, list[_Entry]] = {}
        for entry in entries:
            if (entry.key, entry.target.process) in self._under_way:
                LEFT_OUT.inc()
                self._missed(entry.key, entry.target)
            else:
                rounds.setdefault(entry.key, []).append(entry)
        for key, of_round in rounds.items():
            self._begin(key, [entry.target for entry in of_round])
            for entry in of_round:
                self._under_way.add((key, entry.target.process))
                scrapes.create_task(self._run_one(entry))

    async def _run_one(self, entry: _Entry) -> None:
        try:
            async with self._slots:
                if entry.is_current:
                    await self._scrape(entry.key, entry.target)
        except Exception:  # whatever one target does, the others are looked at
            logger.exception("%s: a bug in the operator", entry.target.pod)
        finally:
            self._under_way.discard((entry.key, entry.target.process))

    def _push(self, entry: _Entry, after: float) -> None:
        self._order += 1
        heapq.heappush(
            self._heap, _Due(next_due(after, entry.key, entry.target), self._order, entry)
        )
        self._changed.set()


def next_due(now: float, key: str, target: Target) -> float:
    """The next point of the grid of a Deployment after `now`, seconds of the same clock.

    The same to the last bit for all targets with that interval: they are one round.
    """
    interval = target.interval_seconds
    phase = zlib.crc32(key.encode()) / 2**32 * interval
    return phase + (math.floor((now - phase) / interval) + 1) * interval


def _monotonic() -> float:
    return asyncio.get_running_loop().time()
