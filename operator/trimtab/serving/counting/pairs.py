"""Rows that two versions answered: how often each pair of answers, and who was wrong.

    answer given with both ──> PairedAnswers (event loop): cells of what was predicted
    truth comes with the token ──> PairedOutcomes (counting thread): cells and differences

The difference of a row is [served wrong] - [other wrong]. What traffic does to both cancels in it.
"""

from __future__ import annotations

import logging
import math
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from trimtab.contract import metrics
from trimtab.contract.metrics import ANY_CLASS, DIFFERENT_CLASS, OTHER_CLASS, SAME_CLASS
from trimtab.contract.pairing import Pair
from trimtab.serving.counting.exposition import Family, Labels, labelled

log = logging.getLogger(__name__)

MAX_PAIRS_OF_VERSIONS: Final = 16
GRID_STEPS: Final = 4
"""Steps of the grid of a request's mean difference from 0 to 1."""

Cell = tuple[str, str]


class PairedAnswers:
    """What this pod answered with both versions; belongs to the event loop.

    `own` and `other` are the class names of both; `is_named` as the tokens tell cells.
    """

    def __init__(
        self, labels: Labels, against: str, own: Sequence[str], other: Sequence[str], is_named: bool
    ) -> None:
        self._labels = [*labels, ("against", against)]
        self._own = own
        self._other = other
        self._is_named = is_named
        self._cells: dict[Cell, float] = {}

    def add(self, served: Sequence[int], others: Sequence[int]) -> None:
        """Count one request by the indices of both classes of its rows."""
        for mine, theirs in zip(served, others, strict=True):
            cell = self._cell(self._own[mine], self._other[theirs])
            self._cells[cell] = self._cells.get(cell, 0.0) + 1 / len(served)

    def _cell(self, served: str, other: str) -> Cell:
        return (served, other) if self._is_named else _same_or_not(served == other)

    def snapshot(self) -> Callable[[], list[Family]]:
        """Return a function that renders the values of now later, in another thread."""
        cells = dict(self._cells)
        return lambda: [
            Family(
                metrics.PAIRED_PREDICTED,
                "counter",
                "Requests answered with both versions, a row as its part.",
                [
                    (labelled(metrics.PAIRED_PREDICTED, self._labels + _of_cell(cell)), count)
                    for cell, count in cells.items()
                ],
            )
        ]


@dataclass(slots=True)
class _Counted:
    """Of one pair of versions."""

    labels: Labels
    rows: dict[tuple[str, str, int], float] = field(default_factory=dict)
    """A row as its part of a request."""
    requests: Counter[int] = field(default_factory=Counter)
    """By place on the grid: -4 to 4 quarters."""


class PairedOutcomes:
    """Truths of rows that two versions answered; belongs to the counting thread.

    `draw` returns a number in [0, 1).
    """

    def __init__(self, draw: Callable[[], float] = random.random) -> None:
        self._draw = draw
        self._counted: dict[tuple[Labels, str], _Counted] = {}
        self._is_full_told = False

    def add(
        self,
        labels: tuple[tuple[str, str], ...],
        served: Sequence[str],
        pair: Pair,
        truths: Sequence[str | None],
    ) -> None:
        """Count one token: the classes `served`, the pair, and a truth or None a row.

        `labels` are those of the token's version. A truth that is `OTHER_CLASS` is wrong for both.
        """
        counted = self._of(labels, pair.against)
        if counted is None:
            return
        found: list[tuple[str, str, int]] = []
        for row, (name, truth) in enumerate(zip(served[: pair.rows], truths, strict=False)):
            if truth is None:
                continue
            is_known = truth != OTHER_CLASS
            wrong = not (is_known and name == truth)
            other_wrong = not (is_known and pair.is_named(row, truth))
            difference = int(wrong) - int(other_wrong)
            cell = (
                _same_or_not(pair.is_named(row, name))
                if pair.names is None
                else (name, pair.names[row])
            )
            found.append((*cell, difference))
        for place in found:
            counted.rows[place] = counted.rows.get(place, 0.0) + 1 / len(found)
        if found:
            mean = sum(difference for *_, difference in found) / len(found)
            counted.requests[on_grid(mean, self._draw)] += 1

    @property
    def size(self) -> int:
        """How many series there are."""
        return sum(len(one.rows) + len(one.requests) for one in self._counted.values())

    def _of(self, labels: tuple[tuple[str, str], ...], against: str) -> _Counted | None:
        key = labels, against
        counted = self._counted.get(key)
        if counted is None:
            if len(self._counted) >= MAX_PAIRS_OF_VERSIONS:
                if not self._is_full_told:
                    log.warning("more than %d pairs of versions", MAX_PAIRS_OF_VERSIONS)
                self._is_full_told = True
                return None
            counted = self._counted[key] = _Counted([*labels, ("against", against)])
        return counted

    def families(self) -> list[Family]:
        """Return the samples of now; none before the first pair."""
        if not self._counted:
            return []
        every = self._counted.values()
        return [
            Family(
                metrics.PAIRED_OUTCOMES,
                "counter",
                "Labelled requests answered by both versions, a row as its part.",
                [
                    (
                        labelled(
                            metrics.PAIRED_OUTCOMES,
                            [*one.labels, *_of_cell(cell), ("difference", str(difference))],
                        ),
                        count,
                    )
                    for one in every
                    for (*cell, difference), count in one.rows.items()
                ],
            ),
            Family(
                metrics.PAIRED_REQUESTS,
                "counter",
                "Labelled requests answered by both versions, by mean difference.",
                [
                    (
                        labelled(
                            metrics.PAIRED_REQUESTS,
                            [*one.labels, ("difference", f"{place / GRID_STEPS:g}")],
                        ),
                        count,
                    )
                    for one in every
                    for place, count in one.requests.items()
                ],
            ),
        ]


def on_grid(mean: float, draw: Callable[[], float]) -> int:
    """Return the place of `mean` (-1 to 1) in quarters, -4 to 4.

    Between two places the upper one is drawn with the chance that keeps the expectation.
    """
    quarters = mean * GRID_STEPS
    below = math.floor(quarters)
    return below + int(draw() < quarters - below)


def _same_or_not(is_same: bool) -> Cell:
    return ANY_CLASS, SAME_CLASS if is_same else DIFFERENT_CLASS


def _of_cell(cell: Sequence[str]) -> list[tuple[str, str]]:
    return [("served", cell[0]), ("other", cell[1])]
