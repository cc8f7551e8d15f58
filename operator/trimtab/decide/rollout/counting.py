"""Bad among total of each version since counting began: by process, and in sum."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from trimtab.api.deployment import Gate, Origin, Tried
from trimtab.decide.rollout.measures import (
    ERRORS,
    REJECTED,
    REQUESTS,
    TIMED,
    bad_total,
    gate_measures,
)
from trimtab.decide.rollout.snapshot import Pair, ProcessView
from trimtab.stats.counts import BadTotal, sum_of

EARLIEST = datetime.min.replace(tzinfo=UTC)
"""Before every process: what it counted in all its life."""


@dataclass(frozen=True)
class Side:
    """One version under judgement: which processes are its own, and which digest."""

    revision: str
    digest: str
    asks: str | None = None
    """Digest of the version that its pods ask, too."""

    def pair_with(self, other: Side | None) -> Pair | None:
        """Return the pair of both versions; None if its pods do not ask the other."""
        if other is None or self.asks is None or self.asks != other.digest:
            return None
        return self.digest, other.digest


def side_of(tried: Tried) -> Side:
    """Return the side that a version is on."""
    return Side(tried.revision, tried.digest, tried.asks)


def origins_of(processes: Iterable[ProcessView]) -> list[Origin]:
    """Return the counter values of every process now, to count from here."""
    return [
        Origin(process=p.process, values=dict(p.counts))
        for p in sorted(processes, key=lambda p: p.process)
        if p.counts
    ]


def count_since(
    processes: Sequence[ProcessView],
    origins: Sequence[Origin],
    bad: str,
    total: str,
    revision: str | None,
    began: datetime,
) -> BadTotal:
    """Return bad among total since the origins, summed over the processes of a revision.

    A process without an origin counts from zero if it was born after `began`; an older one, which
    was not seen when the origins were taken, counts from its first scrape, since what it did before
    is not evidence. `revision` None sums over all processes (labels arrive on whichever replica
    received them).
    """
    return sum_of(counts_since(processes, origins, bad, total, revision, began).values())


def counts_since(
    processes: Sequence[ProcessView],
    origins: Sequence[Origin],
    bad: str,
    total: str,
    revision: str | None,
    began: datetime,
) -> dict[str, BadTotal]:
    """Return the same by process, of those that were seen."""
    at_origin: Mapping[str, Mapping[str, float]] = {o.process: o.values for o in origins}
    found = {}
    for process in processes:
        if not process.counts or (revision is not None and process.revision != revision):
            continue  # one that is not seen has not counted nothing
        origin = at_origin.get(process.process)
        if origin is None:
            is_older = process.born is not None and process.born < began
            origin = process.first if is_older else {}
        if total == TIMED:
            # The first requests of a process are slow for reasons of their own.
            cold = process.counts if process.warm is None else process.warm
            origin = {
                name: max(origin.get(name, 0.0), cold.get(name, 0.0)) for name in (bad, total)
            }
        found[process.process] = bad_total(
            max(0.0, process.counts.get(bad, 0.0) - origin.get(bad, 0.0)),
            max(0.0, process.counts.get(total, 0.0) - origin.get(total, 0.0)),
        )
    return found


def gate_count(
    gate: Gate,
    side: Side,
    processes: Sequence[ProcessView],
    origins: Sequence[Origin],
    began: datetime,
) -> BadTotal:
    """Return the counts of one side of a gate since the origins; see `count_since`."""
    return sum_of(gate_counts(gate, side, processes, origins, began).values())


def gate_counts(
    gate: Gate,
    side: Side,
    processes: Sequence[ProcessView],
    origins: Sequence[Origin],
    began: datetime,
) -> dict[str, BadTotal]:
    """Return the same by process."""
    bad, total = gate_measures(gate, side.digest)
    revision = None if gate.bad == "outcomes" else side.revision
    return counts_since(processes, origins, bad, total, revision, began)


def answer_counts(
    side: Side, processes: Sequence[ProcessView], origins: Sequence[Origin], began: datetime
) -> dict[str, BadTotal]:
    """Return the requests since the origins that may get a label, by process of the side.

    A request that failed has no token.
    """
    requests, errors, rejected = (
        counts_since(processes, origins, bad, REQUESTS, side.revision, began)
        for bad in (REQUESTS, ERRORS, REJECTED)
    )
    return {
        process: BadTotal(0.0, max(0.0, one.total - errors[process].bad - rejected[process].bad))
        for process, one in requests.items()
    }


def left_out_of(
    gate: Gate,
    side: Side,
    processes: Sequence[ProcessView],
    before: Mapping[str, Mapping[str, float]],
) -> BadTotal:
    """Return what the counts of one side leave out, beyond what they left out `before`."""
    measures = gate_measures(gate, side.digest)
    revision = None if gate.bad == "outcomes" else side.revision
    bad, total = (
        sum(
            max(0.0, one.left_out.get(measure, 0.0) - before.get(one.process, {}).get(measure, 0.0))
            for one in processes
            if revision is None or one.revision == revision
        )
        for measure in measures
    )
    return bad_total(bad, total)


def request_count(
    revision: str,
    processes: Sequence[ProcessView],
    origins: Sequence[Origin],
    began: datetime,
) -> float:
    """Return the answered requests of a revision since the origins."""
    return count_since(processes, origins, REQUESTS, REQUESTS, revision, began).total
