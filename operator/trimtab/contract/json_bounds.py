"""JSON that others wrote is counted before it is parsed.

A parser makes objects of every value: 3 MiB of `[],[],[],` become 1.6 GiB. A limit on bytes alone
is therefore none on memory, and what is counted here is an upper bound of what will be made.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any


class TooMuchJson(ValueError):
    """A document of more values than its kind ever has; the message says of what."""


@dataclass(frozen=True, slots=True)
class JsonBounds:
    """What one document may hold at most. Brackets, commas and quotes in a text count as well."""

    containers: int
    """Lists and objects."""
    values: int
    """Of any kind, names of fields left out."""
    texts: int
    """Names and values in quotes."""

    def check(self, raw: bytes) -> None:
        """Raise TooMuchJson where `raw` may hold more. Costs about 1 ms a MiB."""
        containers = raw.count(b"[") + raw.count(b"{")
        if containers > self.containers:
            raise TooMuchJson(f"more than {self.containers} lists and objects")
        if containers + raw.count(b",") > self.values:
            raise TooMuchJson(f"more than {self.values} values")
        if raw.count(b'"') > 2 * self.texts:
            raise TooMuchJson(f"more than {self.texts} texts")


LARGEST_NUMBER = 1e100
_LONGEST_NUMBER = 120


def read_json(raw: bytes, bounds: JsonBounds) -> Any:
    """Return what `raw` holds; ValueError for whatever is not a JSON of finite numbers.

    Numbers beyond `LARGEST_NUMBER` are refused too: sums of them would be infinite.
    """
    bounds.check(raw)
    try:
        return json.loads(
            raw, parse_float=_number, parse_int=_whole_number, parse_constant=_refuse_constant
        )
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error


def _number(text: str) -> float:
    number = float(text)
    if not abs(number) <= LARGEST_NUMBER:
        raise ValueError(f"{text[:20]} is too large a number")
    return number


def _whole_number(text: str) -> int:
    if len(text) > _LONGEST_NUMBER or abs(number := int(text)) > LARGEST_NUMBER:
        raise ValueError(f"{text[:20]} is too large a number")
    return number


def _refuse_constant(text: str) -> float:
    raise ValueError(f"{text} is no number")
