"""Evidence from pairs: two models on the same row, so that what traffic does to both cancels.

D = [ours wrong] - [other wrong] of a row, its mean over the labelled rows of a request. A bet on
the mean of D being above the margin is a test martingale where it is not, so its value may be
looked at after every label and under any stopping rule. It is a product over requests, so their
order does not matter and counts by value are enough: they add up over pods.

Source: Waudby-Smith and Ramdas, "Estimating means of bounded random variables by betting" (2023),
the mixture over fixed bets.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from scipy.special import chdtrc

GRID = tuple(quarter / 4 for quarter in range(-4, 5))
"""Values that the mean of D over a request is told in."""
_BETS = tuple((2 * k + 1) / 80 for k in range(40))
"""Shares of the largest bet: an even grid, so that small and large differences are both found."""
_LARGEST_LOG = 690.0
SIGNIFICANT = 0.01
"""Labelled shares that chance shows in more than this share of cases are taken for equal."""
LEAST_EXPECTED = 7.0
"""Labels that a cell would have by the share of all: with so many, none at all is no chance."""

Cell = tuple[str, str]
"""Answers to a row: of the version that served, and of the other."""


@dataclass(frozen=True)
class CellCounts:
    """Rows of one cell. labelled: by D in -1, 0, 1."""

    predicted: float = 0.0
    labelled: Mapping[int, float] = field(default_factory=dict)

    def __add__(self, other: CellCounts) -> CellCounts:
        """Return the rows of both."""
        labelled = dict(self.labelled)
        for d, rows in other.labelled.items():
            labelled[d] = labelled.get(d, 0.0) + rows
        return CellCounts(self.predicted + other.predicted, labelled)

    @property
    def labels(self) -> float:
        """Labelled rows."""
        return sum(self.labelled.values())


@dataclass(frozen=True)
class Pairs:
    """What two versions showed on the same rows.

    requests: labelled requests by the mean of D over their rows (-1..1); cells: rows by answers.
    """

    requests: Mapping[float, float] = field(default_factory=dict)
    cells: Mapping[Cell, CellCounts] = field(default_factory=dict)

    @property
    def total(self) -> float:
        """Labelled requests."""
        return sum(self.requests.values())

    @property
    def rows_per_request(self) -> float:
        """Labelled rows of a request, at least 1."""
        labels = sum(one.labels for one in self.cells.values())
        return max(1.0, labels / self.total) if self.total > 0 else 1.0

    def divided(self, by: float) -> dict[float, float]:
        """Return the requests as so many times fewer independent ones."""
        return {d: count / by for d, count in self.requests.items()}

    @property
    def mean(self) -> float:
        """Mean of D over the labelled requests; 0 where there are none."""
        total = self.total
        return sum(d * count for d, count in self.requests.items()) / total if total else 0.0


def paired_evidence(requests: Mapping[float, float], margin: float) -> float:
    """Evidence that the mean of D is above `margin` in [0, 1).

    requests: how many by value of D in [-1, 1]. Returns a finite float >= 0; 1 without requests.
    """
    if not 0 <= margin < 1:
        raise ValueError(f"margin must lie in [0, 1), not {margin}")
    return _mixture([(d - margin, count) for d, count in requests.items() if count > 0], 1 + margin)


def smallest_detectable_difference(
    requests: Mapping[float, float], margin: float, threshold: float
) -> float | None:
    """The smallest mean of D that would have reached `threshold` by now; None if even 1 had not.

    So many requests of these as are needed, of which the other was better or as good, would have
    been worse in ours.
    """
    total = sum(requests.values())
    mean = sum(d * count for d, count in requests.items()) / total if total else 0.0

    def shifted(by: float) -> dict[float, float]:
        # Requests without a difference turn worse first; then those in which ours was better.
        left, found = by * total, dict(requests)
        for d in (0.0, -1.0):
            gain = 1.0 - d
            moved = min(found.get(d, 0.0), left / gain)
            found[d] = found.get(d, 0.0) - moved
            found[1.0] = found.get(1.0, 0.0) + moved
            left -= moved * gain
        return found

    low, high = max(0.0, margin - mean), 1.0 - mean
    if total <= 0 or paired_evidence(shifted(high), margin) < threshold:
        return None
    for _ in range(30):
        middle = (low + high) / 2
        if paired_evidence(shifted(middle), margin) >= threshold:
            high = middle
        else:
            low = middle
    return min(1.0, mean + high)


# --- labels that depend on the answer -------------------------------------------------------------


@dataclass(frozen=True)
class Labelling:
    """Which rows got labels. differs: their share is not the same in all cells.

    missing: cells in which both answered differently, and that have no label at all.
    """

    differs: bool = False
    missing: tuple[Cell, ...] = ()


def labelling_of(pairs: Pairs) -> Labelling:
    """Say whether the labelled share depends on the answers (Pearson's X2 at 1 %).

    Of a cell with equal answers D is 0 whatever the truth, so that it needs no labels. Rows of one
    request get their labels together: so many requests are counted, not rows.
    """
    known = {cell: one for cell, one in pairs.cells.items() if one.predicted > 0}
    predicted = sum(one.predicted for one in known.values())
    labels = sum(min(one.labels, one.predicted) for one in known.values())
    if not 0 < labels < predicted or len(known) < 2:
        return Labelling()
    share, alike = labels / predicted, pairs.rows_per_request
    told = {
        cell: one for cell, one in known.items() if share * one.predicted / alike >= LEAST_EXPECTED
    }
    missing = tuple(
        sorted(cell for cell, one in told.items() if one.labels <= 0 and not _is_equal(cell))
    )
    if len(told) < 2:
        return Labelling(bool(missing), missing)
    x2 = sum(
        (min(one.labels, one.predicted) - share * one.predicted) ** 2
        / (share * (1 - share) * one.predicted * alike)
        for one in told.values()
    )
    differs = float(chdtrc(len(told) - 1, x2)) < SIGNIFICANT
    return Labelling(differs or bool(missing), missing)


def _is_equal(cell: Cell) -> bool:
    served, other = cell
    return other in (served, SAME)


SAME = "(same)"
"""In place of the other's answer, where classes are many: the same as served."""


def reweighted_evidence(pairs: Pairs, margin: float, by: float = 1.0) -> float:
    """Evidence where the labelled share differs between cells: each row by what it stands for.

    A row of a cell counts (share of the cell in all rows) / (its share in the labelled ones). Rows
    of one request are taken for alike: the evidence is that of as many requests, divided by `by`.
    """
    cells = {cell: one for cell, one in pairs.cells.items() if one.predicted > 0 and one.labels > 0}
    predicted = sum(one.predicted for one in cells.values())
    labels = sum(one.labels for one in cells.values())
    if labels <= 0:
        return 1.0
    bets: list[tuple[float, float]] = []
    largest = 1.0
    for one in cells.values():
        weight = (one.predicted / predicted) / (one.labels / labels)
        for d, rows in one.labelled.items():
            if rows > 0:
                bets.append((weight * d - margin, rows))
                largest = max(largest, -weight * d)
    alike = pairs.rows_per_request * by
    return _mixture([(gain, rows / alike) for gain, rows in bets], largest + margin)


def _mixture(gains: list[tuple[float, float]], largest_loss: float) -> float:
    """Return the mean over bets of the product of 1 + bet * gain; (gain, how often)."""
    logs = [
        sum(count * math.log1p(share / largest_loss * gain) for gain, count in gains)
        for share in _BETS
    ]
    top = max(logs)
    if top >= _LARGEST_LOG:
        return math.exp(_LARGEST_LOG)
    mean = sum(math.exp(log - top) for log in logs) / len(logs)
    return math.exp(min(max(top + math.log(mean), -_LARGEST_LOG), _LARGEST_LOG))
