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
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from scipy.special import chdtrc

GRID = tuple(quarter / 4 for quarter in range(-4, 5))
"""Values that the mean of D over a request is told in."""
_BETS = tuple((2 * k + 1) / 80 for k in range(40))
"""Shares of the largest bet: an even grid, so that small and large differences are both found."""
_LARGEST_LOG = 690.0

Cell = tuple[str, str]
"""Answers to a row: of the version that served, and of the other."""


@dataclass(frozen=True)
class CellCounts:
    """One cell, in requests: a row counts as its part of one. labelled: by D in -1, 0, 1."""

    predicted: float = 0.0
    labelled: Mapping[int, float] = field(default_factory=dict)

    def __add__(self, other: CellCounts) -> CellCounts:
        """Return what both have."""
        labelled = dict(self.labelled)
        for d, rows in other.labelled.items():
            labelled[d] = labelled.get(d, 0.0) + rows
        return CellCounts(self.predicted + other.predicted, labelled)

    def since(self, before: CellCounts) -> CellCounts:
        """Return what came after `before`."""
        labelled = {
            d: max(0.0, rows - before.labelled.get(d, 0.0)) for d, rows in self.labelled.items()
        }
        return CellCounts(max(0.0, self.predicted - before.predicted), labelled)

    @property
    def labels(self) -> float:
        """Labelled ones."""
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
    def mean(self) -> float:
        """Mean of D over the labelled requests; 0 where there are none."""
        return mean_of(self.requests)

    def with_awaited(self, times: float) -> dict[float, float]:
        """Return the requests by D with so many times the labels, times >= 1.

        Of those that are still to come, rows on which the two differ may be all that the other has
        wrong: as many as such rows lack by the share of all. D is 0 in the others.
        """
        counts = dict(self.requests)
        differ = [one for cell, one in self.cells.items() if not _is_equal(cell)]
        rows, labels = _sums(self.cells.values())
        rows_that_differ, their_labels = _sums(differ)
        worse = missing = (times - 1) * self.total
        if rows > 0:
            share = min(1.0, times * labels / rows)
            worse = min(missing, max(0.0, share * rows_that_differ - their_labels))
        counts[-1.0] = counts.get(-1.0, 0.0) + worse
        counts[0.0] = counts.get(0.0, 0.0) + missing - worse
        return counts


def _sums(cells: Iterable[CellCounts]) -> tuple[float, float]:
    """Return all of them, and the labelled ones."""
    cells = list(cells)
    return sum(one.predicted for one in cells), sum(one.labels for one in cells)


def mean_of(requests: Mapping[float, float]) -> float:
    """Return the mean of D over requests by D; 0 where there are none."""
    total = sum(requests.values())
    return sum(d * count for d, count in requests.items()) / total if total else 0.0


def paired_evidence(requests: Mapping[float, float], margin: float) -> float:
    """Evidence that the mean of D is above `margin` in [0, 1).

    requests: how many by value of D in [-1, 1]. Returns a finite float >= 0; 1 without requests.
    """
    if not 0 <= margin < 1:
        raise ValueError(f"margin must lie in [0, 1), not {margin}")
    return _mixture([(d - margin, count) for d, count in requests.items() if count > 0], 1 + margin)


def evidence_below(requests: Mapping[float, float], rise: float) -> float:
    """Evidence that the mean of D is below `rise` in (0, 1).

    requests: how many by value of D in [-1, 1]. Returns a finite float >= 0; 1 without requests.
    """
    if not 0 < rise < 1:
        raise ValueError(f"rise must lie in (0, 1), not {rise}")
    return _mixture([(rise - d, count) for d, count in requests.items() if count > 0], 1 - rise)


def smallest_detectable_difference(
    requests: Mapping[float, float], margin: float, threshold: float
) -> float | None:
    """The smallest mean of D that would have reached `threshold` by now; None if even 1 had not.

    So many requests of these as are needed, of which the other was better or as good, would have
    been worse in ours.
    """
    total, mean = sum(requests.values()), mean_of(requests)

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


# --- a difference that begins some time ---


@dataclass(frozen=True)
class PairedChange:
    """Evidence that the mean of D rose above the margin at some time, whenever that was.

    logs: by bet, the log of the sum, over the times at which it may have begun, of their prior and
    of what requests since then showed. It is a test martingale as long as all priors together are
    at most 1.

    Source: the Shiryaev-Roberts mixture of e-processes (Shin, Ramdas and Rinaldo, "E-detectors: a
    nonparametric framework for sequential change detection", 2022).
    """

    logs: tuple[float, ...] = ()

    def after(self, grown: Mapping[float, float], margin: float, prior: float) -> PairedChange:
        """Return what it is after more requests by D; prior: that it began just before them."""
        gains = [(d - margin, count) for d, count in grown.items() if count > 0]
        before = self.logs or (-math.inf,) * len(_BETS)
        begun = math.log(prior) if prior > 0 else -math.inf
        return PairedChange(
            tuple(
                _log_sum(log, begun)
                + sum(count * math.log1p(bet / (1 + margin) * gain) for gain, count in gains)
                for log, bet in zip(before, _BETS, strict=True)
            )
        )

    @property
    def evidence(self) -> float:
        """A finite float >= 0."""
        return _averaged(self.logs)


def _log_sum(one: float, other: float) -> float:
    top = max(one, other)
    if top == -math.inf:
        return top
    return top + math.log(math.exp(one - top) + math.exp(other - top))


# --- labels that depend on the answer -------------------------------------------------------------

SAME = "(same)"
"""In place of the other's answer, where classes are many: the same as served."""
DIFFERENT = "(different)"
ANY = "(any)"
"""In place of what was served, where classes are very many: nothing can be evened out by it."""
SLIGHT = 1.1
"""So many times more labels for one answer than for another matter little."""
SIGNIFICANT = 0.001
"""A difference of labelled shares that chance shows more often is none."""
TELLING = 1.5
"""So many times more labels for one answer than for another may be about the answer itself.

A smaller difference that is none of chance is evened out, and else no matter.
"""
LEAST_EXPECTED = 7.0
"""Labels that an answer would have by the share of all: with so many, none at all is no chance."""

Answers = Mapping[str, tuple[float, float]]
"""By class that was served: rows answered, and labelled ones."""


@dataclass(frozen=True)
class Labelling:
    """Which rows get labels.

    differs: answers get labels at different shares. is_even: it was shown that they do not, or by
    less than `TELLING`. missing: cells of different answers that have no label at all. is_hidden:
    it was not shown, and cells do not tell it, since classes are too many. scarce: answers that get
    fewer than others.
    """

    differs: bool = False
    is_even: bool = False
    missing: tuple[Cell, ...] = ()
    is_hidden: bool = False
    scarce: tuple[str, ...] = ()


def labelling_of(pairs: Pairs, answers: Sequence[Answers], alike: float = 1.0) -> Labelling:
    """Say whether the labelled share depends on what was served (Pearson's X2), and on the cell.

    answers: of each version. alike: rows of a request, which get their labels together. Where both
    answered the same D is 0 whatever the truth, so that no label is needed there.
    """
    shown = [_unevenness(list(one.values()), alike) for one in answers]
    cells = {cell: one for cell, one in pairs.cells.items() if one.predicted > 0}
    by_cell = _unevenness([(one.predicted, one.labels) for one in cells.values()], 1.0)
    missing = tuple(sorted(cell for cell in _told(cells) if cells[cell].labels <= 0))
    found = [one for one in (*shown, by_cell) if one is not None]
    differs = bool(missing) or any(one > 1 for one in found)
    is_even = not missing and all(one < TELLING for one in found) and shown != [None] * len(shown)
    return Labelling(
        differs=differs,
        is_even=is_even,
        missing=tuple(cell for cell in missing if cell[1] != DIFFERENT),
        is_hidden=any(
            other == DIFFERENT and (not is_even or (served == ANY and max(found) > SLIGHT))
            for served, other in cells
        ),
        scarce=_scarce(answers) if differs else (),
    )


def _scarce(answers: Sequence[Answers]) -> tuple[str, ...]:
    """Return the answers that get labels clearly less often than others of the same version do."""
    found: set[str] = set()
    for one in answers:
        shares = {name: labelled / n for name, (n, labelled) in one.items() if n > 0}
        most = max(shares.values(), default=0.0)
        found |= {name for name, share in shares.items() if TELLING * share < most}
    return tuple(sorted(found))


def _unevenness(shares: Sequence[tuple[float, float]], alike: float) -> float | None:
    """How many times more of one are labelled than of another; (all, labelled).

    1 where chance may show it; None: too few to tell.
    """
    total = sum(n for n, _ in shares)
    labels = sum(min(n, found) for n, found in shares)
    if total <= 0 or labels <= 0:
        return None
    share = labels / total
    told = [(n, min(n, found)) for n, found in shares if share * n / alike >= LEAST_EXPECTED]
    if len(told) < 2:
        return None
    found = [labelled / n for n, labelled in told]
    if share >= 1 or max(found) <= min(found):
        return 1.0
    x2 = sum(
        (labelled - share * n) ** 2 / (share * (1 - share) * n * alike) for n, labelled in told
    )
    if float(chdtrc(len(told) - 1, x2)) >= SIGNIFICANT:
        return 1.0
    return max(found) / min(found) if min(found) > 0 else math.inf


def _told(cells: Mapping[Cell, CellCounts]) -> list[Cell]:
    """Return the cells of different answers that are large enough to be judged one by one."""
    total = sum(one.predicted for one in cells.values())
    labels = sum(min(one.labels, one.predicted) for one in cells.values())
    share = labels / total if total else 0.0
    return [
        cell
        for cell, one in cells.items()
        if not _is_equal(cell) and share * one.predicted >= LEAST_EXPECTED
    ]


def _is_equal(cell: Cell) -> bool:
    served, other = cell
    return other in (served, SAME)


def evened(cells: Mapping[Cell, CellCounts]) -> dict[float, float]:
    """Return requests by D as if each cell had got labels at the same share: the smallest.

    So no row counts for more than one. What is unlabelled beside that is taken as if ours were
    right and the other wrong: all of a cell without labels, and what small cells lack. Where
    classes are many, small cells are taken together: they lack some labels by chance.
    """
    cells = _pooled(cells)
    told = set(_told(cells))
    shares = [cells[cell].labels / cells[cell].predicted for cell in told if cells[cell].labels > 0]
    share = min(1.0, *shares) if shares else 0.0
    counts = dict.fromkeys((-1.0, 0.0, 1.0), 0.0)
    for cell, one in cells.items():
        wanted = share * one.predicted
        if _is_equal(cell):
            counts[0.0] += wanted
            continue
        kept = min(1.0, wanted / one.labels) if one.labels > 0 else 0.0
        for d, requests in one.labelled.items():
            counts[float(d)] += kept * requests
        counts[-1.0] += max(0.0, wanted - one.labels)
    return counts


def _pooled(cells: Mapping[Cell, CellCounts]) -> dict[Cell, CellCounts]:
    told = set(_told(cells))
    found: dict[Cell, CellCounts] = {}
    for cell, one in cells.items():
        kept = cell if cell[1] != DIFFERENT or cell in told else ("", DIFFERENT)
        found[kept] = found.get(kept, CellCounts()) + one
    return found


def _mixture(gains: list[tuple[float, float]], largest_loss: float) -> float:
    """Return the mean over bets of the product of 1 + bet * gain; (gain, how often)."""
    logs = [
        sum(count * math.log1p(share / largest_loss * gain) for gain, count in gains)
        for share in _BETS
    ]
    return _averaged(logs)


def _averaged(logs: Sequence[float]) -> float:
    """Return the mean of what these are the logs of, bounded; 0 where there is none."""
    top = max(logs, default=-math.inf)
    if top == -math.inf:
        return 0.0
    mean = sum(math.exp(log - top) for log in logs) / len(logs)
    return math.exp(min(max(top + math.log(mean), -_LARGEST_LOG), _LARGEST_LOG))
