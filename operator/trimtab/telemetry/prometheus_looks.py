"""Deployments whose metrics come from Prometheus: one look each interval, raw samples in order.

A look asks for every sample since the last one of each pod. Samples are recorded with the time at
which Prometheus took them, as if the pods had been scraped then. Pods that are gone are asked for
a while longer, since Prometheus may have seen more of them than the last look. After an outage a
look reaches back to what was recorded last, as far as `LONGEST_REACH_SECONDS`.

A sample of a time that is to come is not taken, or nothing would be newer until then. Where samples
go on being as far ahead of our clock, the two clocks differ: then they are taken.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from trimtab.telemetry.port import Backend, NoData, NoDataReason, OnSample, Target
from trimtab.telemetry.prometheus import PrometheusReader, query_of
from trimtab.telemetry.prometheus_answer import Readings, Sampled
from trimtab.telemetry.scrape import DEFAULT_CONCURRENCY, Schedule

PODS_A_QUERY = 20
LONGEST_REACH_SECONDS = 3600.0
LEAST_LINGER_SECONDS = 30.0
STEADY_SECONDS = 60.0
"""For so long samples must move on, as far ahead of our clock, before they are believed."""
MOST_HALVINGS = 5
"""Of a query whose answer is too large: enough to come from 20 pods to one."""
ReaderOf = Callable[[str, str], Awaitable[PrometheusReader | NoData]]


class Book(Protocol):
    """Where readings go: the stores of the telemetry."""

    def begin(self, key: str, processes: Iterable[str]) -> None:
        """A look begins: what it finds is one round."""

    def end(self, key: str) -> None:
        """The look is over."""

    def take(self, key: str, process: str, sampled: Sampled) -> None:
        """Count one reading of a process, which may be gone."""

    def fail(self, key: str, process: str, problem: NoData) -> None:
        """A look that gave nothing to believe of a process."""

    def last(self, key: str, process: str) -> Sampled | None:
        """What was recorded last of a process, a checkpoint included."""

    def ended(self, key: str) -> Iterable[Target]:
        """Processes that were restored from a checkpoint and are no targets any more."""


@dataclass
class _Lead:
    """How far samples are ahead of our clock, in seconds, and the newest one since it is so far."""

    seconds: float = 0.0
    first: float | None = None

    def allowed(self, newest: float, now: float, backend: Backend) -> float:
        """Return up to when samples are taken, in Unix seconds; newest: the newest of a look."""
        lead = newest - now
        usual = now + backend.interval_seconds
        if newest <= usual:
            self.first = None
            return usual
        if self.first is None or abs(lead - self.seconds) > backend.stale_after_seconds:
            self.seconds, self.first = lead, newest
        steady = max(STEADY_SECONDS, backend.stale_after_seconds)
        return newest if newest - self.first >= steady else usual


@dataclass
class _Watched:
    backend: Backend
    namespace: str
    targets: dict[str, Target] = field(default_factory=dict)
    """By pod."""
    ended: dict[str, tuple[Target, float]] = field(default_factory=dict)
    """By pod: until when, in Unix seconds, it is asked for."""
    last: dict[str, Sampled] = field(default_factory=dict)
    lead: _Lead = field(default_factory=_Lead)


class PrometheusLooks:
    """Looks at backends on the running event loop; now: Unix seconds."""

    def __init__(
        self,
        book: Book,
        reader_of: ReaderOf,
        on_sample: OnSample,
        now: Callable[[], float],
        concurrency: int = DEFAULT_CONCURRENCY,
    ) -> None:
        self._book = book
        self._reader_of = reader_of
        self._on_sample = on_sample
        self._now = now
        self._watched: dict[str, _Watched] = {}
        self._schedule = Schedule(self._look, lambda _key, _target: None, concurrency)

    async def run(self) -> None:
        """Look until cancelled."""
        await self._schedule.run()

    def set_targets(self, key: str, backend: Backend, targets: Iterable[Target]) -> None:
        """Ask `backend` for these pods of `key` (`namespace/name`), and for ended ones a while."""
        wanted = {target.pod: target for target in targets}
        known = self._watched.get(key)
        if known is None or known.backend != backend:
            known = self._watched[key] = _Watched(backend, key.partition("/")[0])
            ended = list(self._book.ended(key))
            known.targets = {target.pod: target for target in ended}
            self._remember(key, known, ended)
        unseen = [one for pod, one in known.targets.items() if pod not in known.last]
        self._remember(key, known, unseen)
        linger = max(LEAST_LINGER_SECONDS, backend.stale_after_seconds)
        for pod, target in known.targets.items():
            if pod not in wanted:
                known.ended[pod] = target, self._now() + linger
        for pod in wanted:
            known.ended.pop(pod, None)
        known.targets = wanted
        pods = [*wanted, *known.ended]
        look = Target(key, "", "", "", backend.interval_seconds)
        self._schedule.set_targets(key, [look] if pods else [])

    def _remember(self, key: str, watched: _Watched, targets: Iterable[Target]) -> None:
        """Keep what was recorded last of each pod: its container may have another name soon.

        Otherwise all samples within reach would be counted again under the new name.
        """
        for target in targets:
            seen = self._book.last(key, target.process)
            known = watched.last.get(target.pod)
            if seen is not None and (known is None or known.at < seen.at):
                watched.last[target.pod] = seen

    def forget(self, key: str) -> None:
        """Look at this one no more."""
        self._watched.pop(key, None)
        self._schedule.set_targets(key, ())

    async def _look(self, key: str, _target: Target) -> None:
        watched = self._watched.get(key)
        if watched is None:
            return
        reader = await self._reader_of(watched.backend.url, watched.backend.secret)
        pods = sorted({*watched.targets, *watched.ended})
        self._book.begin(key, [target.process for target in watched.targets.values()])
        try:
            for start in range(0, len(pods), PODS_A_QUERY):
                await self._look_at(key, watched, pods[start : start + PODS_A_QUERY], reader)
                if self._watched.get(key) is not watched:
                    return
        finally:
            self._book.end(key)
        now = self._now()
        for pod in [pod for pod, (_, until) in watched.ended.items() if until < now]:
            del watched.ended[pod]
            watched.last.pop(pod, None)
        self._on_sample(key)

    async def _look_at(
        self, key: str, watched: _Watched, pods: list[str], reader: PrometheusReader | NoData
    ) -> None:
        last = {pod: seen for pod in pods if (seen := self._last(key, watched, pod)) is not None}
        found: Readings | NoData
        if isinstance(reader, NoData):
            found = reader
        else:
            found = await self._ask(watched, pods, last, reader)
        if self._watched.get(key) is not watched:
            return
        answers = {pod: found if isinstance(found, NoData) else found.get(pod, ()) for pod in pods}
        self._leave_ahead(watched, answers)
        for pod, answer in answers.items():
            self._record(key, watched, pod, answer)

    async def _ask(
        self,
        watched: _Watched,
        pods: list[str],
        last: Mapping[str, Sampled],
        reader: PrometheusReader,
        halvings: int = MOST_HALVINGS,
    ) -> Readings | NoData:
        """Readings of the pods. Where they are too many for one answer: less far back, fewer pods.

        What lies between two readings is in the later one: counters lose nothing.
        """
        backend = watched.backend
        least = 3 * backend.interval_seconds
        reach = self._reach(backend, pods, last) if halvings == MOST_HALVINGS else least
        try:
            query = query_of(watched.namespace, pods, reach, dict(backend.labels))
        except ValueError as error:
            detail = f"metrics.prometheus.labels: {error}"
            return NoData(NoDataReason.BACKEND_DOWN, detail)
        found = await reader.read(query, pods, last, backend.timeout_seconds)
        if not isinstance(found, NoData) or not found.detail.startswith("more than"):
            return found
        if halvings == 0 or (len(pods) == 1 and reach <= least):
            return found
        middle = len(pods) // 2 if reach <= least else 0
        answers: dict[str, tuple[Sampled, ...] | NoData] = {}
        for part in (pods[:middle], pods[middle:]):
            if part:
                of_part = await self._ask(watched, part, last, reader, halvings - 1)
                for pod in part:
                    answers[pod] = of_part if isinstance(of_part, NoData) else of_part.get(pod, ())
        return answers

    def _record(
        self, key: str, watched: _Watched, pod: str, answer: tuple[Sampled, ...] | NoData
    ) -> None:
        current = watched.targets.get(pod)
        gone = watched.ended.get(pod)
        target = current or (gone[0] if gone is not None else None)
        if target is None:
            return
        if isinstance(answer, NoData):
            if current is not None:
                self._book.fail(key, target.process, answer)
            return
        for sampled in answer:
            self._book.take(key, target.process, sampled)
            watched.last[pod] = sampled

    def _leave_ahead(
        self, watched: _Watched, answers: dict[str, tuple[Sampled, ...] | NoData]
    ) -> None:
        """Leave out what is of a time to come; a pod of which nothing else is new says so."""
        new = {pod: found for pod, found in answers.items() if not isinstance(found, NoData)}
        newest = max((found[-1].at for found in new.values() if found), default=None)
        if newest is None:
            return
        now = self._now()
        until = watched.lead.allowed(newest, now, watched.backend)
        for pod, found in new.items():
            in_time = tuple(sampled for sampled in found if sampled.at <= until)
            if found and not in_time:
                detail = (
                    f"Prometheus stamps its samples {found[-1].at - now:.0f} s ahead of the "
                    "operator's clock: set the clocks right"
                )
                answers[pod] = NoData(NoDataReason.STALE, detail)
            else:
                answers[pod] = in_time

    def _last(self, key: str, watched: _Watched, pod: str) -> Sampled | None:
        known = watched.last.get(pod)
        if known is not None:
            return known
        target = watched.targets.get(pod) or (
            watched.ended[pod][0] if pod in watched.ended else None
        )
        return self._book.last(key, target.process) if target is not None else None

    def _reach(self, backend: Backend, pods: list[str], last: Mapping[str, Sampled]) -> float:
        """Seconds back that hold all that is new of these pods."""
        now, least = self._now(), backend.stale_after_seconds
        oldest = min((last[pod].at for pod in pods if pod in last), default=now)
        return min(max(least, now - oldest + backend.interval_seconds), LONGEST_REACH_SECONDS)
