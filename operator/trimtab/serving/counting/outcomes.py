"""Truths that come back with a label token, counted for the version that predicted.

Each item is counted at most once per replica, within the memory of the last half million tokens
at least; another replica does not know it. All of it belongs to the counting thread.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from trimtab.contract import metrics
from trimtab.contract.cardinality import (
    GRACE_HOURS,
    MAX_CLASSES_CROSSED,
    MAX_HOURS,
    MOST_SERIES,
    tells_pairs_by_hour,
)
from trimtab.contract.metrics import OTHER_CLASS
from trimtab.contract.pairing import Sealer
from trimtab.contract.token import Token, TokenRefused, read_token
from trimtab.serving.counting.exposition import Family, labelled
from trimtab.serving.counting.outcome_counts import VersionOutcomes, families_of
from trimtab.serving.counting.pairs import PairedOutcomes
from trimtab.serving.counting.repeats import RepeatMemory

MAX_VERSIONS: Final = 16
REFUSALS: Final = ("forged", "late", "repeated", "malformed", "tooManyVersions")
STATUS_OF: Final = {
    "forged": 400,
    "malformed": 400,
    "late": 422,
    "repeated": 409,
    "tooManyVersions": 503,
}


@dataclass(frozen=True, slots=True)
class Identity:
    """The version that this pod serves."""

    model: str
    version: str
    digest: str
    baseline: str

    @property
    def labels(self) -> tuple[tuple[str, str], ...]:
        """Return the labels of its series, which `trimtab_model_info` explains."""
        return self.whole[:2]

    @property
    def whole(self) -> tuple[tuple[str, str], ...]:
        """Return all that tells this version from every other."""
        told = self.model, self.version, self.digest, self.baseline
        return tuple(zip(metrics.IDENTITY_LABELS, told, strict=True))


class Outcomes:
    """Counts outcomes; `hour_now` returns the Unix hour.

    With `sealer` also for the version that was compared with, where a token tells its answers.
    """

    def __init__(
        self,
        key: bytes,
        own: Identity,
        classes: Sequence[str],
        *,
        delay_hours: int,
        hour_now: Callable[[], int],
        sealer: Sealer | None = None,
        room: int = MOST_SERIES,
    ) -> None:
        """room: how many series labels may have."""
        self._key = key
        self._room = room
        self._sealer = sealer
        self._paired = PairedOutcomes()
        self._own = own
        self._classes = list(classes)
        self._known = set(classes)
        self._by_number = _by_number(classes)
        self._are_numbers = list(self._by_number.values()) == self._classes and all(
            str(number) == name for number, name in self._by_number.items()
        )
        self._delay_hours = delay_hours + GRACE_HOURS
        self._hours_told = min(self._delay_hours, MAX_HOURS)
        self._has_pairs_by_hour = tells_pairs_by_hour(len(classes), self._hours_told)
        self._hour_now = hour_now
        self._repeats = RepeatMemory()
        self._refused: Counter[str] = Counter()
        self._versions: dict[Identity, VersionOutcomes] = {}
        mine = self._version(own, is_regression=not classes)
        if 0 < len(classes) <= MAX_CLASSES_CROSSED:
            # Seen from the first scrape on, so that no outcome is told from no series.
            mine.pairs.update({(name, name): 0 for name in classes})

    def add(self, items: Sequence[Any]) -> list[dict[str, Any]]:
        """Count what can be counted; return one result an item, in order."""
        return list(self.each(items))

    def each(self, items: Sequence[Any]) -> Iterator[dict[str, Any]]:
        """Count as `add` does, one item whenever the next result is asked for."""
        return map(self._result, items)

    def _result(self, item: Any) -> dict[str, Any]:
        try:
            rows = self._count(item)
        except TokenRefused as refused:
            self._refused[refused.reason] += 1
            return {"status": "refused", "reason": refused.reason, "message": str(refused)}
        return {"status": "counted", "rows": rows}

    def _count(self, item: Any) -> int:
        if type(item) is not dict:
            raise TokenRefused("malformed", "an object with token and actual is wanted")
        text = item.get("token")
        if type(text) is not str:
            raise TokenRefused("malformed", "token: a string is wanted")
        if "actual" not in item:
            raise TokenRefused("malformed", "actual: is missing")
        token = read_token(text, self._key, self._sealer)
        age = self._hour_now() - token.hour
        if age > self._delay_hours:
            raise TokenRefused("late", f"predicted {age} h ago, {self._delay_hours} h are allowed")
        if age < -1:
            raise TokenRefused("malformed", "predicted in the future: clocks differ")
        actuals = self._actuals(token, item["actual"])
        version = self._version(_identity_of(token), is_regression=token.is_regression)
        known = [row for row in zip(token.predicted, actuals, strict=True) if row[1] is not None]
        is_by_hour = age <= self._hours_told
        self._check_room(version, token, known, is_by_hour=is_by_hour)
        if not self._repeats.add(token.id):
            raise TokenRefused("repeated", "this token was counted already")
        for predicted, actual in known:
            _add(version, token.hour, predicted, actual, is_by_hour=is_by_hour)
        if token.pair is not None and self._used() < self._room:
            self._add_pair(version, token, item["actual"])
        return len(known)

    def _check_room(
        self, version: VersionOutcomes, token: Token, rows: list[Any], *, is_by_hour: bool
    ) -> None:
        """Refuse what would make more series than the page has room for."""
        left = self._room - self._used()
        if left >= 2 * len(rows) + 4:
            return
        if version.adds(token.hour, rows, is_by_hour=is_by_hour) > max(0, left):
            raise TokenRefused("tooManyVersions", "this pod has no room for more series of labels")

    def _used(self) -> int:
        return sum(version.size for version in self._versions.values()) + self._paired.size

    def _actuals(self, token: Token, actual: Any) -> list[Any]:
        """Return one truth a row; None where it is not known."""
        values = actual if type(actual) is list else [actual]
        if len(values) != len(token.predicted):
            raise TokenRefused(
                "malformed", f"actual: {len(values)} values, the token has {len(token.predicted)}"
            )
        read = self._number if token.is_regression else self._name
        names = set() if token.is_regression else set(token.predicted)
        return [None if value is None else read(value, names, i) for i, value in enumerate(values)]

    def _add_pair(self, version: VersionOutcomes, token: Token, actual: Any) -> None:
        """Count for both versions; what only one of them knows is not `OTHER_CLASS` here."""
        assert token.pair is not None
        values = actual if type(actual) is list else [actual]
        truths = [None if value is None else self._spelled(value, 0) for value in values]
        served = [str(name) for name in token.predicted]
        self._paired.add(version.labels, served, token.pair, truths)

    def _number(self, value: Any, _names: set[Any], index: int) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise TokenRefused("malformed", f"actual[{index}]: a number is wanted")
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if not math.isfinite(number):
            raise TokenRefused("malformed", f"actual[{index}]: is not finite")
        return number

    def _name(self, value: Any, names: set[Any], index: int) -> str:
        """Return the class that `value` names, `OTHER_CLASS` unless it is known."""
        name = self._spelled(value, index)
        return name if name in self._known or name in names else OTHER_CLASS

    def _spelled(self, value: Any, index: int) -> str:
        """Return what `value` names, be it known or not: its name, or its number."""
        if type(value) is str:
            return value
        if type(value) is bool:
            name = next((n for n in (str(value), str(value).lower()) if n in self._known), "")
            return name or self._by_number.get(int(value), OTHER_CLASS)
        if type(value) is int or (type(value) is float and value.is_integer()):
            # Where classes are numbers, one that only the other version knows is one, too.
            unknown = str(int(value)) if self._are_numbers else OTHER_CLASS
            return self._by_number.get(int(value), unknown)
        raise TokenRefused("malformed", f"actual[{index}]: a class name or number is wanted")

    def _version(self, identity: Identity, *, is_regression: bool) -> VersionOutcomes:
        version = self._versions.get(identity)
        if version is None:
            if len(self._versions) >= MAX_VERSIONS:
                raise TokenRefused("tooManyVersions", f"this pod counts {MAX_VERSIONS} versions")
            # Of two of one name only the first is explained; the other's series say it themselves.
            is_named = any(known.labels == identity.labels for known in self._versions)
            labels = identity.whole if is_named else identity.labels
            version = self._versions[identity] = VersionOutcomes(
                labels, is_regression, self._has_pairs_by_hour and self._has_room_by_hour()
            )
        if version.is_regression != is_regression:
            raise TokenRefused("malformed", "the version's other tokens are of another task")
        return version

    def _has_room_by_hour(self) -> bool:
        """Whether the pairs of one more version may be told by hour."""
        return self._room - self._used() >= (self._hours_told + 1) * len(self._classes) ** 2

    def explained(self) -> list[Identity]:
        """Return the versions beside the own one whose series carry no digest."""
        return [
            identity
            for identity, version in self._versions.items()
            if version.labels == identity.labels and identity != self._own
        ]

    def families(self) -> list[Family]:
        """Return the samples of now; hours that are too old for labels are forgotten."""
        oldest = self._hour_now() - self._hours_told
        for version in self._versions.values():
            version.forget_before(oldest)
        refused = [
            (
                labelled(metrics.TOKENS_REFUSED, [*self._own.labels, ("reason", reason)]),
                self._refused[reason],
            )
            for reason in REFUSALS
        ]
        return [
            *families_of(self._versions.values()),
            *self._paired.families(),
            Family(metrics.TOKENS_REFUSED, "counter", "Outcomes not counted.", refused),
        ]


def _identity_of(token: Token) -> Identity:
    return Identity(token.model, token.version, token.digest, token.baseline)


def _add(
    version: VersionOutcomes, hour: int, predicted: Any, actual: Any, *, is_by_hour: bool
) -> None:
    if version.is_regression:
        version.add_error(hour, float(predicted) - actual, is_by_hour=is_by_hour)
    else:
        version.add_class(hour, predicted, actual, is_by_hour=is_by_hour)


def _by_number(classes: Sequence[str]) -> dict[int, str]:
    """Return what a number means: a class that is spelled so, else the place in the list."""
    try:
        return {int(name): name for name in classes}
    except ValueError:
        return dict(enumerate(classes))
