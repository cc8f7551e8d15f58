"""Parsers of which the arguments come when they are needed: `--version` pays for no command."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

Fill = Callable[[argparse.ArgumentParser], None]


class LazyParser(argparse.ArgumentParser):
    """A parser that adds its arguments before it is first used; fill: what adds them."""

    def __init__(self, *args: Any, fill: Fill | None = None, **more: Any) -> None:
        super().__init__(*args, **more)
        self._fill = fill

    def complete(self) -> None:
        """Add the arguments, once."""
        fill, self._fill = self._fill, None
        if fill is not None:
            fill(self)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """See argparse."""
        self.complete()
        return super().parse_known_args(args, namespace)

    def format_help(self) -> str:
        """See argparse."""
        self.complete()
        return super().format_help()
