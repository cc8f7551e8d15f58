"""A terminal that is drawn over in place, and left as it was."""

from __future__ import annotations

import os
from collections.abc import Sequence
from types import TracebackType
from typing import Self, TextIO

_ENTER = "\033[?1049h\033[?25l\033[?7l"
"""Another screen, no cursor, and what is too long is cut by the terminal."""
_LEAVE = "\033[?7h\033[?25h\033[?1049l"
_BEGIN, _END = "\033[?2026h\033[H", "\033[J\033[?2026l"
"""Drawn at once, where the terminal can; from the top left corner, over what is there."""
_USUAL_SIZE = (80, 24)


class Screen:
    """The terminal of a stream, as a context: what was on it is there again afterwards."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __enter__(self) -> Self:
        self._write(_ENTER)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._write(_LEAVE)

    @property
    def size(self) -> tuple[int, int]:
        """Columns and lines, as they are now."""
        try:
            columns, lines = os.get_terminal_size(self._stream.fileno())
        except (OSError, ValueError):
            return _USUAL_SIZE
        return (columns, lines) if columns > 0 and lines > 0 else _USUAL_SIZE

    def draw(self, lines: Sequence[str]) -> None:
        """Show these lines, as many as there is room for."""
        _, height = self.size
        shown = "\r\n".join(f"{line}\033[0m\033[K" for line in fitting(lines, height))
        self._write(f"{_BEGIN}{shown}{_END}")

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()


def fitting(lines: Sequence[str], height: int) -> list[str]:
    """Return at most so many lines; the last one says how many were cut."""
    if len(lines) <= height:
        return list(lines)
    kept = max(0, height - 1)
    return [*lines[:kept], f"… {len(lines) - kept} more"]
