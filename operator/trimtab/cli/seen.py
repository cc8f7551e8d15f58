"""JSON of an object as a person may see it: nothing of it is trusted.

The command line has no models: it may be older or newer than what wrote the object. What is missing
or of another type reads as empty, fields that it does not know are left alone, and no text can
move the cursor of a terminal or begin a line of its own.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

LONGEST_TEXT = 2048
"""The longest message that an object of ours may have."""


class Seen:
    """One value of a JSON document. Every look takes a path of field names."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def at(self, *path: str) -> Seen:
        """Return what lies below; an empty one if there is nothing."""
        value = self.value
        for field in path:
            value = value.get(field) if isinstance(value, Mapping) else None
        return Seen(value)

    def __bool__(self) -> bool:
        """Whether there is an object with fields."""
        return isinstance(self.value, Mapping) and bool(self.value)

    def text(self, *path: str) -> str:
        """Return a text in one line; empty if there is none."""
        value = self.at(*path).value
        return printable(value) if isinstance(value, str) else ""

    def number(self, *path: str) -> float | None:
        """Return a finite number; None if there is none."""
        value = self.at(*path).value
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        try:
            return float(value) if math.isfinite(value) else None
        except OverflowError:
            return None

    def count(self, *path: str) -> int:
        """Return a number without its fraction; 0 if there is none."""
        return int(self.number(*path) or 0)

    def is_true(self, *path: str) -> bool:
        """Whether it is there and true."""
        return self.at(*path).value is True

    def all(self, *path: str) -> list[Seen]:
        """Return the objects of a list; empty if there is none."""
        value = self.at(*path).value
        return [Seen(one) for one in value if isinstance(one, Mapping)] if _is_list(value) else []

    def texts(self, *path: str) -> list[str]:
        """Return the texts of a list."""
        value = self.at(*path).value
        return [printable(one) for one in value if isinstance(one, str)] if _is_list(value) else []

    def numbers(self, *path: str) -> list[float]:
        """Return the finite numbers of a list."""
        value = self.at(*path).value
        found = [Seen(one).number() for one in value] if _is_list(value) else []
        return [one for one in found if one is not None]

    def items(self, *path: str) -> Iterator[tuple[str, Any]]:
        """Return the fields of an object with their values as they are."""
        value = self.at(*path).value
        return iter(value.items() if isinstance(value, Mapping) else ())

    def time(self, *path: str) -> datetime | None:
        """Return a time; None if there is none, or it cannot be read."""
        return time_in(self.text(*path))

    @property
    def name(self) -> str:
        """The name of the object."""
        return self.text("metadata", "name")

    @property
    def namespace(self) -> str:
        """The namespace of the object."""
        return self.text("metadata", "namespace")


def condition(obj: Seen, kind: str) -> Seen:
    """Return the condition of a type; an empty one if there is none."""
    found = (c for c in obj.all("status", "conditions") if c.text("type") == kind)
    return next(found, Seen(None))


def printable(text: str, longest: int = LONGEST_TEXT) -> str:
    """Return a text in one line without anything that a terminal would carry out or turn around."""
    line = "".join(
        c if c.isprintable() else " " if c.isspace() else "\N{REPLACEMENT CHARACTER}"
        for c in text[:longest]
    )
    return f"{line}…" if len(text) > longest else line


def time_in(text: str) -> datetime | None:
    """Return a time of the API, which is in UTC unless it says otherwise."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    try:
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except OverflowError:
        return None


def at(moment: datetime | None) -> str:
    """Return a time in UTC to the second."""
    return "-" if moment is None else f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z"


_UNITS = ((86400, "d"), (3600, "h"), (60, "m"), (1, "s"))


def ago(seconds: float) -> str:
    """Return how long ago something was, as kubectl does: `45s`, `12m`, `3h`, `8d`."""
    whole = max(0, int(seconds))
    for size, unit in _UNITS:
        if whole >= 2 * size or size == 1:
            return f"{whole // size}{unit}"
    raise AssertionError("unreachable")


def share_text(share: float) -> str:
    """Return a share in percent, to a tenth: `12.5%`."""
    return f"{round(share * 100, 1):g}%"


def _is_list(value: Any) -> bool:
    return isinstance(value, list)
