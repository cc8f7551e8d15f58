"""The counter store: what every process of every Deployment has counted so far.

Per process: the last believed sample, and what lives before a reset had counted. Processes that
vanished stay, with what they counted. Memory is bounded, since only the last sample is kept, and
only so many vanished processes.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from trimtab.contract.metrics import JUDGED, REQUEST_SECONDS, Series, SeriesKey
from trimtab.stats.counts import Reading, increments, merged, restarted
from trimtab.telemetry.checkpoint import SavedProcess
from trimtab.telemetry.exposition import Exposition
from trimtab.telemetry.hours import by_hour
from trimtab.telemetry.port import Losses, NoData, NoDataReason, ProcessCounters, Target
from trimtab.telemetry.rounds import Rounds

MAX_GONE_PROCESSES = 50
"""Vanished processes kept in each Deployment."""
MAX_GONE_SERIES = 60_000
"""Of those together. Above, the oldest keep what gates and guard judge, and no more."""

WARM_UP_REQUESTS = 20
WARM_UP_SECONDS = 10.0
"""Both must be over before the speed of a process is evidence."""

_TIMED = REQUEST_SECONDS + "_count"
_SUM_OF_SCORES = "trimtab_score_bin_sum_total"
"""May fall: a regression predicts negative values too."""


def is_monotone(key: SeriesKey) -> bool:
    """Whether a series can only grow while its process lives."""
    name = key[0]
    return name.endswith(("_total", "_bucket", "_count")) and name != _SUM_OF_SCORES


def is_cumulative(key: SeriesKey) -> bool:
    """Whether a series counts or sums, in place of showing a level as a gauge does."""
    return key[0].endswith(("_total", "_bucket", "_count", "_sum"))


@dataclass
class _Process:
    target: Target
    reading: Reading[SeriesKey] | None = None
    carried: dict[SeriesKey, float] = field(default_factory=dict)
    first: Series = field(default_factory=dict)
    alive_at: float | None = None
    """When we saw this life of it first, by our clock."""
    sampled_at: float | None = None
    came_at: float = 0.0
    """When the last good sample came, by the clock that does not jump."""
    answered_at: float | None = None
    problem: NoData | None = None
    failures: int = 0
    missed: int = 0
    gone_at: float | None = None
    saved: SavedProcess | None = None
    """From before a restart of the operator, until there is a sample of our own."""
    since: float | None = None
    """From when on the last increments were counted, if a restart of the operator lay between."""

    def cumulated(self) -> Series:
        """What it counted over all its lives. Series that it no longer exports are left out."""
        if self.reading is None:
            return self.carried
        if not self.carried:
            return self.reading.values
        return merged(self.carried, self.reading.values)

    def size(self) -> int:
        """How many series it holds."""
        reading = 0 if self.reading is None else len(self.reading.values)
        return reading + len(self.first) + len(self.carried)

    def shed(self) -> int:
        """Drop all series that neither a gate nor the guard judges; return how many it were."""
        before = self.size()
        self.carried = _judged(self.carried)
        self.first = _judged(self.first)
        if self.reading is not None:
            self.reading = replace(self.reading, values=_judged(self.reading.values))
        return before - self.size()

    def counted(self) -> Series:
        """The same, or what a checkpoint says until there is a sample of our own."""
        if self.reading is None and self.saved is not None:
            return merged(self.saved.carried, self.saved.values)
        return self.cumulated()

    @property
    def is_only_saved(self) -> bool:
        """Whether it ended before this operator saw it."""
        return self.gone_at is not None and self.saved is not None

    def believe(self, new: Reading[SeriesKey], now: float, came_at: float) -> None:
        """Take a sample for the last good one."""
        is_known = self.reading is not None and not restarted(self.reading, new)
        if self.alive_at is None or not is_known:
            self.alive_at = now
        self.alive_at = min(self.alive_at, now)  # our clock may be set back
        self.reading, self.sampled_at, self.problem, self.failures = new, now, None, 0
        self.answered_at, self.came_at = now, came_at
        self.saved = None

    def to_save(self, name: str) -> SavedProcess | None:
        """What a checkpoint needs of it; None before its first sample."""
        if self.reading is None or self.sampled_at is None:
            return None if self.saved is None else replace(self.saved, gone_at=self.gone_at)
        return SavedProcess(
            process=name,
            pod=self.target.pod,
            revision=self.target.revision,
            process_start=self.reading.process_start,
            sampled_at=self.sampled_at,
            gone_at=self.gone_at,
            values={k: v for k, v in self.reading.values.items() if is_cumulative(k)},
            carried=self.carried,
        )

    def answered(self) -> float | None:
        """When its port last answered, as far as a checkpoint knows."""
        if self.answered_at is None and self.saved is not None:
            return self.saved.sampled_at
        return self.answered_at

    def counters(
        self, answered_at: float | None, rounds: Rounds, name: str, clock: float
    ) -> ProcessCounters:
        return ProcessCounters(
            process=self.target.process,
            pod=self.target.pod,
            revision=self.target.revision,
            stale_after_seconds=self.target.stale_after_seconds,
            series=self.cumulated(),
            settled=rounds.shown(name),
            ahead=rounds.ahead(name),
            settled_at=rounds.read_at(name),
            warm=rounds.warm(name),
            lags=rounds.lags(name),
            is_short=rounds.is_short(name),
            left_out=rounds.left_out(name),
            first=self.first,
            process_start=None if self.reading is None else self.reading.process_start,
            sampled_at=self.sampled_at,
            answered_at=answered_at,
            problem=self.problem,
            failures=self.failures,
            missed=self.missed,
            is_gone=self.gone_at is not None,
            quiet_seconds=max(0.0, clock - self.came_at),
        )


@dataclass
class _Deployment:
    watched_since: float
    processes: dict[str, _Process] = field(default_factory=dict)
    terminations: int = 0
    missed: int = 0
    changes: int = 0
    is_restored: bool = False
    rounds: Rounds = field(default_factory=Rounds)
    is_told: bool = True
    """Whether its targets are known; not between a restore and the first of them."""


class CounterStore:
    """Counters by Deployment key and process. All times are Unix seconds, given by the caller.

    clock: seconds that never jump, for how long nothing has come.
    """

    def __init__(
        self,
        max_gone: int = MAX_GONE_PROCESSES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._max_gone = max_gone
        self._clock = clock
        self._deployments: dict[str, _Deployment] = {}

    def set_targets(self, key: str, targets: Iterable[Target], now: float) -> None:
        """Processes that are no longer targets keep their last sample and count as terminated."""
        deployment = self._deployments.setdefault(key, _Deployment(watched_since=now))
        wanted = {target.process: target for target in targets}
        deployment.is_told = True
        # Ahead where the clock was set back: processes born until then would be taken for old.
        deployment.watched_since = min(deployment.watched_since, now)
        if not wanted.keys() <= deployment.processes.keys():
            deployment.changes += 1
        for name, target in wanted.items():
            known = deployment.processes.setdefault(name, _Process(target))
            known.target, known.gone_at = target, None
        for name, process in deployment.processes.items():
            if name not in wanted and process.gone_at is None:
                process.gone_at = now
                deployment.rounds.gone(name)
                deployment.terminations += 1
                deployment.changes += 1
        self._shed_gone(deployment)

    def __contains__(self, key: object) -> bool:
        return key in self._deployments

    def forget(self, key: str) -> None:
        self._deployments.pop(key, None)

    def record(
        self, key: str, process: str, sample: Exposition, now: float, *, is_late: bool = False
    ) -> Mapping[SeriesKey, float]:
        """Take a sample; returns what was counted since the last one, for the windows.

        A sample without any series of ours, or with a counter that fell although the process did
        not restart, is not believed: the last one stays and the process has a problem. A process
        that is older than our watch counts from this sample on, but for counters by hour.
        is_late: a backend has read it some time ago, and the process may have ended since.
        """
        found = self._find(key, process, with_gone=is_late)
        if found is None:
            return {}
        deployment, own = found
        if not sample.values:
            problem = NoData(NoDataReason.NO_SERIES, "no trimtab_ series")
            self.record_failure(key, process, problem, now)
            return {}
        new = Reading(sample.values, sample.process_start)
        if own.reading is None and own.saved is None:
            _take_over_life(deployment, own, new)
        if own.saved is not None:
            grown = _go_on(own, own.saved, new, now, self._clock())
        else:
            old = own.reading
            found_grown = increments(old, new, may_fall=_may_fall)
            if found_grown.fell:
                detail = f"{found_grown.fell[0][0]} fell without a restart"
                problem = NoData(NoDataReason.NOT_A_NUMBER, detail)
                self.record_failure(key, process, problem, now)
                return {}
            own.believe(new, now, self._clock())
            own.since = None
            grown = found_grown.by_counter
            if old is not None:
                _carry_over(own, old, new)
            else:
                own.first = sample.values
                if not _is_young(deployment, own, new):
                    # Counters by hour say themselves when they were counted.
                    grown = by_hour(sample.values)
        deployment.changes += bool(grown)
        counted = own.cumulated()
        is_warm = _is_warm(counted, own, now)
        rounds, revision = deployment.rounds, own.target.revision
        if is_late:
            rounds.read(process, revision, counted, now, is_warm=is_warm)
        else:
            rounds.answered(process, revision, counted, now, is_warm=is_warm)
        return grown

    def since(self, key: str, process: str) -> float | None:
        """From when on the increments of the last sample were counted, in Unix seconds.

        None unless a restart of the operator lay between.
        """
        found = self._find(key, process, with_gone=True)
        return found[1].since if found is not None else None

    def save(self, key: str) -> tuple[float, tuple[SavedProcess, ...], int]:
        """Return watched_since, the processes that can still grow, and the number of changes.

        One that is gone is saved while the name that its container has now was not scraped, since
        its life may show there again. KeyError for an unknown key.
        """
        deployment = self._deployments[key]
        awaited = {
            own.target.pod
            for own in deployment.processes.values()
            if own.gone_at is None and own.reading is None
        }
        saved = tuple(
            process
            for name, own in deployment.processes.items()
            if own.gone_at is None or own.target.pod in awaited or not deployment.is_told
            if (process := own.to_save(name)) is not None
        )
        return deployment.watched_since, saved, deployment.changes

    def restore(self, key: str, watched_since: float, saved: Iterable[SavedProcess]) -> None:
        """Go on from saved readings, in place of what `key` has; before its first targets."""
        self._deployments[key] = _Deployment(
            watched_since,
            {
                one.process: _Process(
                    Target(one.process, one.pod, one.revision, ""), saved=one, gone_at=one.gone_at
                )
                for one in saved
            },
            is_restored=True,
            is_told=False,
        )

    def record_failure(self, key: str, process: str, problem: NoData, now: float) -> None:
        """A scrape that gave nothing to believe."""
        found = self._find(key, process)
        if found is not None:
            deployment, own = found
            own.problem = problem
            if not problem.is_silent:
                own.answered_at = now
            own.failures += 1
            deployment.missed += 1
            deployment.rounds.failed(process)

    def record_missed(self, key: str, process: str) -> None:
        """A scrape that was left out, because the one before it was still under way."""
        found = self._find(key, process)
        if found is not None:
            deployment, own = found
            own.missed += 1
            deployment.missed += 1

    def processes(self, key: str) -> tuple[ProcessCounters, ...]:
        """Every process by name, vanished ones included; nothing for an unknown key."""
        deployment = self._deployments.get(key)
        if deployment is None:
            return ()
        answered: dict[str, float] = {}
        for own in deployment.processes.values():
            at = own.answered()
            if at is not None:
                answered[own.target.pod] = max(at, answered.get(own.target.pod, at))
        known = sorted(deployment.processes.items())
        rounds, clock = deployment.rounds, self._clock()
        return tuple(
            own.counters(answered.get(own.target.pod), rounds, name, clock)
            for name, own in known
            if not own.is_only_saved
        )

    def begin_round(self, key: str, processes: Iterable[str], *, is_look: bool = False) -> None:
        """Ask these processes together: gates see what they show as of one moment.

        is_look: ask a backend, which has read each at a moment of its own.
        """
        deployment = self._deployments.get(key)
        if deployment is not None:
            known = deployment.processes
            asked = list(processes)
            intervals = [known[p].target.interval_seconds for p in asked if p in known]
            interval = max(intervals, default=0.0)
            deployment.rounds.begin(asked, interval, is_look=is_look)

    def end_round(self, key: str, process: str | None = None) -> None:
        """Wait no more for an answer of this process, or of any."""
        deployment = self._deployments.get(key)
        if deployment is None:
            return
        if process is None:
            deployment.rounds.end()
        else:
            deployment.rounds.failed(process)

    def rounds_ended(self, key: str) -> int:
        """Return how many rounds ended, whether they hold for gates or not."""
        deployment = self._deployments.get(key)
        return 0 if deployment is None else deployment.rounds.ended

    def counted(self, key: str) -> tuple[Series, ...]:
        """What each process has counted as far as it is known, by the last checkpoint if at all."""
        deployment = self._deployments.get(key)
        if deployment is None:
            return ()
        return tuple(own.counted() for own in deployment.processes.values())

    def losses(self, key: str) -> Losses:
        deployment = self._deployments.get(key)
        if deployment is None:
            return Losses()
        return Losses(deployment.terminations, deployment.missed)

    def last(self, key: str, process: str) -> tuple[float, Reading[SeriesKey]] | None:
        """When a process was sampled last, and its counters; from a checkpoint if not since."""
        found = self._find(key, process, with_gone=True)
        if found is None:
            return None
        own = found[1]
        if own.reading is not None and own.sampled_at is not None:
            return own.sampled_at, own.reading
        if own.saved is not None:
            return own.saved.sampled_at, Reading(own.saved.values, own.saved.process_start)
        return None

    def only_saved(self, key: str) -> tuple[Target, ...]:
        """Processes that ended before this operator saw them, known from a checkpoint."""
        deployment = self._deployments.get(key)
        if deployment is None:
            return ()
        return tuple(own.target for own in deployment.processes.values() if own.is_only_saved)

    def _find(
        self, key: str, process: str, *, with_gone: bool = False
    ) -> tuple[_Deployment, _Process] | None:
        deployment = self._deployments.get(key)
        own = deployment.processes.get(process) if deployment is not None else None
        if deployment is None or own is None or (own.gone_at is not None and not with_gone):
            return None
        return deployment, own

    def _shed_gone(self, deployment: _Deployment) -> None:
        """Keep the memory for vanished processes bounded; the oldest give first."""
        gone = sorted((p.gone_at, name) for name, p in deployment.processes.items() if p.gone_at)
        number = len(gone)
        series = sum(deployment.processes[name].size() for _, name in gone)
        for _, name in gone:
            if series <= MAX_GONE_SERIES:
                break
            series -= deployment.processes[name].shed()
        for _, name in gone:
            if number <= self._max_gone and series <= MAX_GONE_SERIES:
                break
            series -= deployment.processes.pop(name).size()
            number -= 1
            deployment.rounds.forget(name)


def _judged(series: Series) -> dict[SeriesKey, float]:
    return {key: value for key, value in series.items() if key[0] in JUDGED}


def _take_over_life(deployment: _Deployment, own: _Process, new: Reading[SeriesKey]) -> None:
    """Avoid counting one life twice.

    After a container restart its first scrape may come before the news of it, and is then counted
    under the old name. When the new name shows the same start time in the same pod, that life is
    moved to it.
    """
    for other in deployment.processes.values():
        if other is own or other.target.pod != own.target.pod or new.process_start is None:
            continue
        reading, saved = other.reading, other.saved
        if reading is None and saved is not None:
            reading = Reading(saved.values, saved.process_start)
        if reading is None or reading.process_start is None or restarted(reading, new):
            continue
        if saved is not None:
            own.saved, other.saved = replace(saved, carried={}), None
            continue
        own.reading, own.sampled_at, own.came_at = reading, other.sampled_at, other.came_at
        own.first = {} if other.carried else other.first
        other.reading = None
        deployment.rounds.restate(other.target.process, other.cumulated())


def _go_on(
    own: _Process, saved: SavedProcess, new: Reading[SeriesKey], now: float, came_at: float
) -> dict[SeriesKey, float]:
    """Return what was counted since the checkpoint, at the first sample after it.

    A saved reading that the process contradicts is worth nothing: it counts from this sample on.
    For gates too: what is first seen is this sample.
    """
    old = Reading(saved.values, saved.process_start)
    grown = increments(old, new, may_fall=_may_fall)
    own.believe(new, now, came_at)
    own.since = saved.sampled_at
    if grown.fell:
        own.first = own.cumulated()
        return {}
    own.carried = dict(saved.carried)
    _carry_over(own, old, new)
    own.first = own.cumulated()
    return grown.by_counter


def _is_young(deployment: _Deployment, own: _Process, new: Reading[SeriesKey]) -> bool:
    """Whether all that a process counted is ours to count; notes since when, over a restart."""
    if new.process_start is None or new.process_start < deployment.watched_since:
        return False
    own.since = new.process_start if deployment.is_restored else None
    return True


def _is_warm(counted: Series, own: _Process, now: float) -> bool:
    """Whether the first requests of a process are over: they are slow for reasons of their own.

    It is as old as it says, or as we know it: its clock may be ahead of ours.
    """
    start = None if own.reading is None else own.reading.process_start
    if start is not None and own.alive_at is not None:
        start = min(start, own.alive_at)
    if start is not None and now - start < WARM_UP_SECONDS:
        return False
    return sum(v for (name, _), v in counted.items() if name == _TIMED) >= WARM_UP_REQUESTS


def _may_fall(series: SeriesKey) -> bool:
    return not is_monotone(series)


def _carry_over(own: _Process, old: Reading[SeriesKey], new: Reading[SeriesKey]) -> None:
    """Keep what ended lives counted: all of it after a restart, else the counters that fell."""
    if restarted(old, new):
        ended = {key: value for key, value in old.values.items() if is_cumulative(key)}
    else:
        ended = {
            key: value
            for key, value in old.values.items()
            if is_monotone(key) and new.values.get(key, value) < value
        }
    if ended:
        own.carried = merged(own.carried, ended)
