"""Who learns from which rows: train, calibrate, held out; by time, or at random with a seed."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trimtab.training.errors import InsufficientRows

FEWEST_TRAIN: Final = 50
FEWEST_CALIBRATE: Final = 30
FEWEST_HELD_OUT: Final = 50

Rows = NDArray[np.intp]


@dataclass(frozen=True)
class Split:
    """Row numbers of each part; the parts are disjoint."""

    train: Rows
    calibrate: Rows
    held_out: Rows

    def parts(self) -> dict[str, Rows]:
        """By the role that lineage names."""
        return {"train": self.train, "calibrate": self.calibrate, "evaluate": self.held_out}


def split_rows(
    n: int,
    *,
    calibrate: float,
    held_out: float,
    times: NDArray[Any] | None = None,
    seed: int = 0,
) -> Split:
    """Split n rows: with `times` [n] the oldest train and the newest are held out.

    Rows of one time stay in the order of the data. Raise InsufficientRows with the rows needed.
    """
    order = (
        np.argsort(times, kind="stable")
        if times is not None
        else np.random.default_rng(seed).permutation(n)
    )
    held_rows, calibrate_rows = round(n * held_out), round(n * calibrate)
    train_rows = n - held_rows - calibrate_rows
    needed = max(
        int(np.ceil(FEWEST_TRAIN / (1 - calibrate - held_out))),
        int(np.ceil(FEWEST_CALIBRATE / calibrate)),
        int(np.ceil(FEWEST_HELD_OUT / held_out)),
    )
    if n < needed:
        raise InsufficientRows(
            f"{n} labelled rows; to split them into rows to learn from, to calibrate on and to "
            f"evaluate on takes at least {needed}",
            needed,
        )
    cut = train_rows + calibrate_rows
    return Split(order[:train_rows], order[train_rows:cut], order[cut:])


def rows_digest(data_digest: str, rows: Rows) -> str:
    """`sha256:` that names these rows of these files: a part of a dataset, without its content."""
    numbers = np.sort(rows).astype("<u8").tobytes()
    return "sha256:" + hashlib.sha256(data_digest.encode() + numbers).hexdigest()
