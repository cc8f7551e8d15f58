"""Colours: a hint beside the words, never in place of them."""

from __future__ import annotations

import os
from enum import Enum
from typing import TextIO


class Tone(Enum):
    """How a line is meant; the value is the code of the terminal."""

    PLAIN = ""
    GOOD = "32"
    ATTENTION = "33"
    BAD = "31"
    FAINT = "2"


def painted(text: str, tone: Tone) -> str:
    """Return the text in the colour of its tone."""
    return f"\033[{tone.value}m{text}\033[0m" if tone.value else text


def has_colour(stream: TextIO) -> bool:
    """Whether to paint: on a terminal that can, unless NO_COLOR says not to."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    return stream.isatty()
