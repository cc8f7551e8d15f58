"""From the series that a serving process exports to the cumulative counts that gates compare.

A measure is a name such as `errors` or `slow@0.25`; its value only grows while the process lives.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import lru_cache

from trimtab.api.deployment import Gate
from trimtab.contract import metrics as names
from trimtab.contract.metrics import Labels, Series
from trimtab.stats.counts import BadTotal
from trimtab.stats.paired import GRID, Answers, Cell, CellCounts

WRITTEN_IN_FULL = 1e9
"""Numbers below, that is; of larger ones two digits."""
LEAST_PART = 0.001
"""Of a request: a row of one that is larger than any is no more than noise."""
MOST_CELLS = 121
"""Pairs of answers of a process: the runtime tells eleven names of each version apart."""

REQUESTS = "requests"
ERRORS = "errors"
REJECTED = "rejected"
TIMED = "timed"
"""Requests whose time is evidence: without those that the process itself has set aside."""
ASIDE = "aside"


_SIGNS = {names.REQUEST_SECONDS + "_bucket": 1.0, names.ASIDE_SECONDS + "_bucket": -1.0}
"""What was set aside is in the histogram of all requests, too."""


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


def pair_measure(digest: str, other: str, difference: float) -> str:
    """Return the measure of labelled requests that two versions answered with this difference."""
    return f"pair:{digest[7:19]}:{other[7:19]}:{difference:g}"


def measures_of(
    series: Series, digests: Iterable[str], pairs: Iterable[tuple[str, str]] = ()
) -> dict[str, float]:
    """Return the measures of one process; empty if it exports no requests at all.

    Outcomes are counted per digest *of the token*, on whichever process received the label.
    pairs: (digest of the version that answered, digest of the other) of which pairs are counted.
    """
    wanted, wanted_pairs = set(digests), set(pairs)
    result: dict[str, float] = {}
    for (name, labels), value in series.items():
        if name == names.REQUESTS:
            _add(result, REQUESTS, value)
            code = dict(labels).get("code", "")
            _add(result, ERRORS, value if code.startswith("5") else 0.0)
            _add(result, REJECTED, value if code in names.REJECTED_CODES else 0.0)
        elif name == names.REQUEST_SECONDS + "_count":
            _add(result, TIMED, value)
        elif name == names.ASIDE_SECONDS + "_count":
            _add(result, TIMED, -value)
            _add(result, ASIDE, value)
        elif name == names.REQUESTS_STARTED:
            _add(result, REQUESTS, 0.0)
        elif name == names.OUTCOMES:
            _count_outcome(result, dict(labels), value, wanted)
        elif name == names.PAIRED_REQUESTS and wanted_pairs:
            _count_pair(result, dict(labels), value, wanted_pairs)
    _count_slow(result, series)
    if TIMED in result:
        result[TIMED] = max(0.0, result[TIMED])  # more aside than there were: a page that lies
    return result


def _count_pair(
    result: dict[str, float], labels: dict[str, str], value: float, wanted: set[tuple[str, str]]
) -> None:
    digest, other = labels.get("digest", ""), labels.get("against", "")
    difference = _GRID_BY_NAME.get(labels.get("difference", ""))
    if (digest, other) in wanted and difference is not None:
        _add(result, pair_measure(digest, other, difference), _whole(value))


def _whole(value: float) -> float:
    """Return how many there are: parts of one make evidence of nothing."""
    return float(math.floor(max(0.0, value)))


_GRID_BY_NAME = {f"{d:g}": d for d in GRID}


def cells_of(series: Series, digest: str, other: str) -> dict[Cell, CellCounts]:
    """Return the rows that both versions answered, by their answers, of one process."""
    predicted: dict[Cell, float] = {}
    labelled: dict[Cell, dict[int, float]] = {}
    met: set[Cell] = set()
    for (name, labels), value in series.items():
        if name not in (names.PAIRED_PREDICTED, names.PAIRED_OUTCOMES):
            continue
        by_name = dict(labels)
        if (by_name.get("digest"), by_name.get("against")) != (digest, other):
            continue
        cell = (by_name.get("served", ""), by_name.get("other", ""))
        rows = value if value >= LEAST_PART else 0.0
        if len(met) >= MOST_CELLS and cell not in predicted:
            continue
        if name == names.PAIRED_PREDICTED:
            met.add(cell)
            predicted[cell] = predicted.get(cell, 0.0) + rows
        elif (difference := by_name.get("difference")) in ("-1", "0", "1"):
            met.add(cell)
            known = labelled.setdefault(cell, {})
            known[int(difference)] = known.get(int(difference), 0.0) + rows
    return {cell: CellCounts(predicted.get(cell, 0.0), labelled.get(cell, {})) for cell in met}


def answers_of(series: Series, digests: Iterable[str]) -> dict[str, Answers]:
    """Return by version what it answered in one process, and what got a label there, by class."""
    found: dict[str, dict[str, tuple[float, float]]] = {digest: {} for digest in digests}
    for (name, labels), value in series.items():
        if name not in (names.PREDICTED, names.OUTCOMES):
            continue
        by_name = dict(labels)
        of_version = found.get(by_name.get("digest", ""))
        if of_version is None:
            continue
        answer = by_name.get("class" if name == names.PREDICTED else "predicted", "")
        rows, labelled = of_version.get(answer, (0.0, 0.0))
        if name == names.PREDICTED:
            of_version[answer] = (rows + value, labelled)
        else:
            of_version[answer] = (rows, labelled + value)
    return {digest: answers for digest, answers in found.items() if answers}


def comparing_of(series: Series) -> tuple[int, str]:
    """Return the newest format of tokens that a process reads, and how its comparison stands.

    The second is its own word, empty if it has none.
    """
    tokens, state = 1, ""
    for (name, labels), value in series.items():
        if name == names.MODEL_INFO:
            # Those of versions that the process does not serve have none.
            if said := dict(labels).get("tokens", ""):
                tokens = int(said) if said.isascii() and said.isdigit() and len(said) < 4 else 1
        elif name == names.COMPARE_STATE and value == 1:
            state = dict(labels).get("state", "")[:40]
    return tokens, state


def _count_outcome(
    result: dict[str, float], labels: dict[str, str], value: float, wanted: set[str]
) -> None:
    digest = labels.get("digest", "")
    if digest in wanted:
        _add(result, labelled_measure(digest), value)
        wrong = labels.get("predicted") != labels.get("actual")
        _add(result, wrong_measure(digest), value if wrong else 0.0)


def _count_slow(result: dict[str, float], series: Series) -> None:
    """Count what is evidence about speed: without what the process itself has set aside."""
    timed = result.get(TIMED)
    if timed is None:
        return
    within: dict[float, float] = {}
    for (name, labels), value in series.items():
        sign = _SIGNS.get(name)
        if sign is not None:
            bound = _bound_of(labels)
            within[bound] = within.get(bound, 0.0) + sign * value
    for bound in names.REQUEST_SECONDS_BUCKETS:
        if bound in within:
            result[f"slow@{bound:g}"] = max(0.0, timed - within[bound])


@lru_cache(maxsize=4096)
def _bound_of(labels: Labels) -> float:
    """Return the upper bound of a bucket, NaN for what is no number: such a bucket is none."""
    try:
        return float(dict(labels).get("le", "inf"))
    except ValueError:
        return math.nan


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


def written(number: float) -> str:
    """Return a count, or evidence, as a person reads it: `4528`, or `2.2e+40` for a large one."""
    return f"{number:.0f}" if abs(number) < WRITTEN_IN_FULL else f"{number:.1e}"
