"""Labelled rows of one version: pairs or errors, in all and by the hour of their prediction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from operator import attrgetter

from trimtab.contract import metrics
from trimtab.contract.cardinality import MAX_PAIRS
from trimtab.contract.metrics import OTHER_CLASS
from trimtab.serving.counting.exposition import Family, Kind, Labels, labelled


@dataclass(slots=True)
class _Errors:
    """Predicted minus actual: how many, and sums of it, of its square and of its amount."""

    count: int = 0
    total: float = 0.0
    squares: float = 0.0
    absolute: float = 0.0

    def add(self, error: float) -> None:
        self.count += 1
        self.total += error
        self.squares += error * error
        self.absolute += abs(error)


@dataclass(slots=True)
class VersionOutcomes:
    """What was counted for one version; has_pairs_by_hour as `tells_pairs_by_hour` says."""

    labels: tuple[tuple[str, str], ...]
    is_regression: bool
    has_pairs_by_hour: bool
    pairs: Counter[tuple[str, str]] = field(default_factory=Counter)
    hours: Counter[tuple[int, str, str]] = field(default_factory=Counter)
    errors: _Errors = field(default_factory=_Errors)
    errors_by_hour: dict[int, _Errors] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """How many series it has."""
        errors = 4 + 4 * len(self.errors_by_hour) if self.is_regression else 0
        return errors + len(self.pairs) + len(self.hours)

    def adds(self, hour: int, rows: Iterable[tuple[str, str]], *, is_by_hour: bool) -> int:
        """Return how many series more these rows would make; of a regression `rows` tells none."""
        if self.is_regression:
            return 4 * (is_by_hour and hour not in self.errors_by_hour)
        pairs = {self._pair(predicted, actual) for predicted, actual in rows}
        hours = {self._place(hour, *row) for row in rows} if is_by_hour else set()
        return len(pairs - self.pairs.keys()) + len(hours - self.hours.keys())

    def add_class(self, hour: int, predicted: str, actual: str, *, is_by_hour: bool) -> None:
        """Count one row of a classifier."""
        self.pairs[self._pair(predicted, actual)] += 1
        if is_by_hour:
            self.hours[self._place(hour, predicted, actual)] += 1

    def _pair(self, predicted: str, actual: str) -> tuple[str, str]:
        pair = (predicted, actual)
        if predicted != actual and len(self.pairs) >= MAX_PAIRS and pair not in self.pairs:
            return predicted, OTHER_CLASS
        return pair

    def _place(self, hour: int, predicted: str, actual: str) -> tuple[int, str, str]:
        if self.has_pairs_by_hour:
            return hour, *self._pair(predicted, actual)
        return hour, "true" if predicted == actual else "false", ""

    def add_error(self, hour: int, error: float, *, is_by_hour: bool) -> None:
        """Count one row of a regression."""
        self.errors.add(error)
        if is_by_hour:
            self.errors_by_hour.setdefault(hour, _Errors()).add(error)

    def forget_before(self, hour: int) -> None:
        """Drop the hours that are too old for labels."""
        for place in [place for place in self.hours if place[0] < hour]:
            del self.hours[place]
        for old in [old for old in self.errors_by_hour if old < hour]:
            del self.errors_by_hour[old]

    def hour_labels(self, hour: int, first: str, second: str) -> Labels:
        """Return the labels of one place of `hours`."""
        own = [*self.labels, ("hour", str(hour))]
        if not self.has_pairs_by_hour:
            return [*own, ("correct", first)]
        correct = str(first == second).lower()
        return [*own, ("correct", correct), ("predicted", first), ("actual", second)]


def families_of(versions: Iterable[VersionOutcomes]) -> list[Family]:
    """Return the samples of now."""
    every = list(versions)
    classified = [version for version in every if not version.is_regression]
    regressed = [version for version in every if version.is_regression]
    pairs: list[tuple[str, float]] = [
        (labelled(metrics.OUTCOMES, [*one.labels, ("predicted", p), ("actual", a)]), count)
        for one in classified
        for (p, a), count in one.pairs.items()
    ]
    hours: list[tuple[str, float]] = [
        (labelled(metrics.OUTCOMES_BY_HOUR, one.hour_labels(*place)), count)
        for one in classified
        for place, count in one.hours.items()
    ]
    return [
        Family(metrics.OUTCOMES, "counter", "Labelled rows.", pairs),
        Family(metrics.OUTCOMES_BY_HOUR, "counter", "Labelled rows by hour.", hours),
        *_error_families(
            "Predicted minus actual",
            (
                metrics.OUTCOME_ERRORS_COUNT,
                metrics.OUTCOME_ERRORS_SUM,
                metrics.OUTCOME_ERRORS_SQUARES,
                metrics.OUTCOME_ERRORS_ABSOLUTE,
            ),
            [(one.labels, one.errors) for one in regressed],
        ),
        *_error_families(
            "Predicted minus actual by hour",
            (
                metrics.OUTCOME_ERRORS_BY_HOUR_COUNT,
                metrics.OUTCOME_ERRORS_BY_HOUR_SUM,
                metrics.OUTCOME_ERRORS_BY_HOUR_SQUARES,
                metrics.OUTCOME_ERRORS_BY_HOUR_ABSOLUTE,
            ),
            [
                ([*one.labels, ("hour", str(hour))], errors)
                for one in regressed
                for hour, errors in one.errors_by_hour.items()
            ],
        ),
    ]


def _error_families(
    text: str, names: tuple[str, str, str, str], places: list[tuple[Labels, _Errors]]
) -> list[Family]:
    count, total, squares, absolute = names
    # No summary: OpenMetrics wants sums of these not to be negative.
    told: tuple[tuple[str, Kind, str, Callable[[_Errors], float]], ...] = (
        (count, "gauge", ", how many", attrgetter("count")),
        (total, "gauge", "", attrgetter("total")),
        (squares, "counter", ", squared", attrgetter("squares")),
        (absolute, "counter", ", without its sign", attrgetter("absolute")),
    )
    return [
        Family(
            name,
            kind,
            f"{text}{what}.",
            [(labelled(name, labels), value(errors)) for labels, errors in places],
        )
        for name, kind, what, value in told
    ]
