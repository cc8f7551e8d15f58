"""Values of arguments, read by argparse; what is none is one line to the person."""

from __future__ import annotations

from argparse import ArgumentTypeError
from collections.abc import Callable


def number_of(what: str, most: float, *, zero: bool = False) -> Callable[[str], float]:
    """Return what reads a number of `what`, above 0 and at most `most`; zero: 0 is one, too."""
    allowed = f"{'0 to' if zero else 'above 0 and at most'} {most:g} {what}"

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError as error:
            raise ArgumentTypeError(f"{text!r} is not a number of {what}") from error
        if not (0 < value <= most or (zero and value == 0)):
            raise ArgumentTypeError(allowed)
        return value

    return read
