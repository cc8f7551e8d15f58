"""From the series that a serving process exports to the cumulative counts that gates compare.

A measure is a name such as `errors` or `slow@0.25`; its value only grows while the process lives.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from trimtab.api.deployment import Gate
from trimtab.contract import metrics as names
from trimtab.contract.metrics import Labels, Series
from trimtab.stats.counts import BadTotal

REQUESTS = "requests"
ERRORS = "errors"
REJECTED = "rejected"
TIMED = "timed"


def slow_bucket(slower_than_seconds: float) -> float:
    """Return the histogram bound in seconds that a gate's `slowerThan` snaps to (upwards)."""
    bounds = names.REQUEST_SECONDS_BUCKETS
    return next((bound for bound in bounds if bound >= slower_than_seconds), bounds[-1])


def slow_measure(slower_than_seconds: float) -> str:
    """Return the measure that counts requests slower than the bucket."""
    return f"slow@{slow_bucket(slower_than_seconds):g}"


def labelled_measure(digest: str) -> str:
    """Return the measure of labelled rows that this version predicted."""
    return f"labelled:{digest[7:19]}"


def wrong_measure(digest: str) -> str:
    """Return the measure of wrong rows that this version predicted."""
    return f"wrong:{digest[7:19]}"


def measures_of(series: Series, digests: Iterable[str]) -> dict[str, float]:
    """Return the measures of one process; empty if it exports no requests at all.

    Outcomes are counted per digest *of the token*, on whichever process received the label.
    """
    wanted = set(digests)
    result: dict[str, float] = {}
    for (name, labels), value in series.items():
        if name == names.REQUESTS:
            _add(result, REQUESTS, value)
            code = dict(labels).get("code", "")
            _add(result, ERRORS, value if code.startswith("5") else 0.0)
            _add(result, REJECTED, value if code in names.REJECTED_CODES else 0.0)
        elif name == names.REQUEST_SECONDS + "_count":
            _add(result, TIMED, value)
        elif name == names.REQUESTS_STARTED:
            _add(result, REQUESTS, 0.0)
        elif name == names.OUTCOMES:
            _count_outcome(result, dict(labels), value, wanted)
    _count_slow(result, series)
    return result


def _count_outcome(
    result: dict[str, float], labels: dict[str, str], value: float, wanted: set[str]
) -> None:
    digest = labels.get("digest", "")
    if digest in wanted:
        _add(result, labelled_measure(digest), value)
        wrong = labels.get("predicted") != labels.get("actual")
        _add(result, wrong_measure(digest), value if wrong else 0.0)


def _count_slow(result: dict[str, float], series: Series) -> None:
    timed = result.get(TIMED)
    if timed is None:
        return
    within: dict[float, float] = {}
    for (name, labels), value in series.items():
        if name == names.REQUEST_SECONDS + "_bucket":
            bound = _bound_of(labels)
            within[bound] = within.get(bound, 0.0) + value
    for bound in names.REQUEST_SECONDS_BUCKETS:
        if bound in within:
            result[f"slow@{bound:g}"] = max(0.0, timed - within[bound])


@lru_cache(maxsize=4096)
def _bound_of(labels: Labels) -> float:
    return float(dict(labels).get("le", "inf"))


def _add(result: dict[str, float], measure: str, value: float) -> None:
    result[measure] = result.get(measure, 0.0) + value


def gate_measures(gate: Gate, digest: str) -> tuple[str, str]:
    """Return the names of the bad and the total measure of a gate for the version `digest`."""
    if gate.bad == "errors":
        return ERRORS, REQUESTS
    if gate.bad == "rejected":
        return REJECTED, REQUESTS
    if gate.slower_than is not None:  # by validation: of bad: slow, and of nothing else
        return slow_measure(gate.slower_than.total_seconds()), TIMED
    return wrong_measure(digest), labelled_measure(digest)


def bad_total(bad: float, total: float) -> BadTotal:
    """Return the pair; a bad count ahead of its total by a scrape is cut to it."""
    return BadTotal(min(bad, max(total, 0.0)), max(total, 0.0))
