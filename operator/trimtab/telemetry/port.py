"""What the operator knows of metrics, whatever their source.

No data is not bad data: a reading is samples or a typed `NoData`, never an exception and never a
zero. Counters of a process that vanished stay; those of another process are never its own.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Protocol, TypeAlias

from trimtab.contract.metrics import Labels, Series
from trimtab.telemetry.checkpoint import Checkpoint

OnSample: TypeAlias = Callable[[str], None]
"""Called on the event loop with the Deployment's key after each completed scrape of its pods."""


class NoDataReason(StrEnum):
    """Why there is nothing to judge; the same words as in conditions."""

    BACKEND_DOWN = "BackendDown"
    NO_SERIES = "NoSeries"
    STALE = "Stale"
    NOT_A_NUMBER = "NotANumber"
    NO_TRAFFIC = "NoTraffic"
    WAITING = "Waiting"


@dataclass(frozen=True, slots=True)
class NoData:
    """Why the last attempt gave nothing, and what was seen in its place.

    is_silent: not even the beginning of an answer came from the pod's port. is_of_all: it is the
    backend that gave nothing, of whichever pod.
    """

    reason: NoDataReason
    detail: str = ""
    is_silent: bool = False
    is_of_all: bool = False

    def told_of(self, pod: str) -> str:
        """Return the detail, and which pod it is about if it is about one."""
        return self.detail if self.is_of_all else f"{pod}: {self.detail}"


def stale_after(interval_seconds: float, timeout_seconds: float) -> float:
    """Age in seconds beyond which a sample is too old to judge by.

    Two answers that each came just within the time-out may lie that time-out and an interval apart.
    """
    return max(3 * interval_seconds, timeout_seconds + interval_seconds)


@dataclass(frozen=True, slots=True)
class Target:
    """One process to scrape.

    process: pod uid + container start, so that a restarted container is another process. pod: its
    name. revision: what it serves. url: http://host:port/metrics. timeout_seconds: of one scrape,
    which may be longer than the interval.
    """

    process: str
    pod: str
    revision: str
    url: str
    interval_seconds: float = 5.0
    timeout_seconds: float = 5.0

    @property
    def stale_after_seconds(self) -> float:
        """See `stale_after`."""
        return stale_after(self.interval_seconds, self.timeout_seconds)


@dataclass(frozen=True, slots=True)
class Backend:
    """A metrics backend that has scraped the pods, in place of our own scrapes.

    url: without `/api/v1`. secret: name of its mounted credentials, "" for none. labels: what its
    series must have, so that one of several scrapes is chosen. interval_seconds: between two looks.
    timeout_seconds: of one query.
    """

    url: str
    secret: str = ""
    labels: tuple[tuple[str, str], ...] = ()
    interval_seconds: float = 15.0
    timeout_seconds: float = 10.0

    @property
    def stale_after_seconds(self) -> float:
        """See `stale_after`."""
        return stale_after(self.interval_seconds, self.timeout_seconds)


@dataclass(frozen=True)
class ProcessCounters:
    """The counters of one process, as far as they were seen.

    series: cumulated since the process was born, resets included; empty before the first sample.
    first: the same at the first sample that we saw. process_start, sampled_at: Unix seconds.
    answered_at: when its pod's port last answered at all, of whichever container. problem: why the
    last attempt failed, None if it did not; failures: failed attempts since the last good sample.
    settled: what gates see of it: series as of the last round that holds. ahead: the same of the
    next reading, where a backend has read it before and after that round's moment. settled_at: when
    a backend had read what is settled. is_short: they leave out what it counted while it was set
    aside, which is `left_out`. lags: it was not seen in that round, and what it counts meanwhile
    will show later. warm: series when it was warm first.
    missed: scrapes left out because the one before was still under way. is_gone: no longer a
    target; what it counted after sampled_at is lost. quiet_seconds: how long ago, by a clock that
    does not jump, the last good sample came.
    """

    process: str
    pod: str
    revision: str
    stale_after_seconds: float
    series: Series = field(default_factory=dict)
    settled: Series = field(default_factory=dict)
    warm: Series | None = None
    lags: bool = False
    is_short: bool = False
    left_out: Series = field(default_factory=dict)
    first: Series = field(default_factory=dict)
    process_start: float | None = None
    sampled_at: float | None = None
    answered_at: float | None = None
    problem: NoData | None = None
    failures: int = 0
    missed: int = 0
    is_gone: bool = False
    ahead: Series | None = None
    settled_at: float | None = None
    quiet_seconds: float = 0.0

    def age_seconds(self, now: float) -> float | None:
        """Age of the last good sample; None before the first.

        It is at least as old as it has been here: its time may be ahead, by a clock that was wrong
        when it was taken, or by one that was put right since.
        """
        return None if self.sampled_at is None else max(self.quiet_seconds, now - self.sampled_at)

    def no_data(self, now: float) -> NoData | None:
        """Why this process cannot be judged at `now` (Unix seconds); None if it can.

        A failed scrape is told at once only if it says that numbers cannot be believed; otherwise
        the last good sample holds for `stale_after_seconds`.
        """
        if self.problem is not None and self.problem.reason is NoDataReason.NOT_A_NUMBER:
            return self.problem
        age = self.age_seconds(now)
        if age is not None and age <= self.stale_after_seconds:
            return None
        if self.problem is not None:
            return self._told_since_when(self.problem)
        if age is None:
            return NoData(NoDataReason.WAITING, "not scraped yet")
        limit = self.stale_after_seconds
        return NoData(NoDataReason.STALE, f"last sample is {age:.0f} s old, at most {limit:g} s")

    def fell_silent(self, found: NoData | None) -> bool:
        """Whether its pod's port had answered, and is silent by what `no_data` found."""
        return found is not None and found.is_silent and self.answered_at is not None

    def _told_since_when(self, problem: NoData) -> NoData:
        """Add what silence means: a port that answered before is not closed by a policy."""
        if not problem.is_silent:
            return problem
        if self.answered_at is None:
            since = "the port never answered: a NetworkPolicy or mTLS may be in the way"
        else:
            since = (
                f"the port answered until {datetime.fromtimestamp(self.answered_at, UTC):%H:%M:%S}Z"
            )
        return replace(problem, detail=f"{problem.detail}; {since}")


@dataclass(frozen=True, slots=True)
class Losses:
    """What sums over processes cannot include; reported beside every result.

    terminations: processes that ended, each with an unseen tail after its last scrape. missed:
    scrapes left out or failed.
    """

    terminations: int = 0
    missed: int = 0


@dataclass(frozen=True)
class Window:
    """Increments of all processes with one baseline in [start, start + seconds), Unix seconds.

    counts: (metric name, labels without model, version, digest, baseline) -> increment.
    """

    baseline: str
    start: float
    seconds: float
    counts: Series

    @property
    def end(self) -> float:
        return self.start + self.seconds

    def family(self, name: str) -> dict[Labels, float]:
        """The counts of one metric by its labels."""
        return {labels: value for (own, labels), value in self.counts.items() if own == name}


class Telemetry(Protocol):
    """The metrics of all Deployments. `key` names a Deployment, for example `namespace/name`."""

    def set_targets(
        self, key: str, targets: Iterable[Target], backend: Backend | None = None
    ) -> None:
        """Read these and no others for `key` from now on; the same set again changes nothing.

        backend: who has scraped them; None: they are scraped here.
        """

    def forget(self, key: str) -> None:
        """The Deployment is gone: drop its targets, counters and windows."""

    def processes(self, key: str) -> tuple[ProcessCounters, ...]:
        """All processes of `key`, the vanished ones included, ordered by name."""

    def losses(self, key: str) -> Losses:
        """What the sums of `key` cannot include."""

    def watch_windows(self, key: str, seconds: float | None) -> None:
        """Gather increments in windows of this length; None stops and drops them."""

    def windows(self, key: str) -> tuple[Window, ...]:
        """Windows of `key` that are still kept, oldest first; the last ones may be open."""

    def watch_labels(self, key: str, hours: int | None) -> None:
        """Book labels by hour of the prediction for so many past hours; None stops and drops."""

    def labels_by_hour(self, key: str, digest: str) -> Mapping[int, Series]:
        """Labels and predicted rows of one version by Unix hour, named as if without an hour."""

    def checkpoint(self, key: str) -> Checkpoint | None:
        """What a successor needs to go on counting for `key`; None where no windows are watched."""

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on from a checkpoint; to be called before the first targets of its Deployment."""
