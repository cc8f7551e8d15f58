"""Where a baseline is, and how to get there: arguments of `lint` and `replay`."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_baseline(one: argparse._ActionsContainer) -> None:
    """Add `--baseline`."""
    one.add_argument(
        "--baseline", metavar="WHERE", help="a baseline.json, or the folder or URI of an artifact"
    )


def add_credentials(one: argparse._ActionsContainer) -> None:
    """Add `--credentials`."""
    one.add_argument(
        "--credentials",
        type=Path,
        metavar="FOLDER",
        help="credentials of the store, a file for each setting (default: the environment)",
    )
