"""Newly labelled rows, as people would send them after the camera was knocked askew."""

from __future__ import annotations

import io
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd

from trimtab.contract.location import open_location
from trimtab.quickstart.digits import Angles, Pool, load_pools, rotate_images

LABELLED_FROM = ("train", "calibrate", "evaluate", "fresh")


def labelled_frame(rows: int, angles: Angles, ended: datetime, spread: timedelta) -> pd.DataFrame:
    """Return rows of columns `image` (64 numbers), `label`, `time`.

    Times ascend evenly over `spread` and end at `ended`. All copies of one image lie together in
    time, and the images that no version has seen come last, so that a split by time holds out new
    images and leaks (almost) none.
    """
    pools = load_pools()
    chosen = [pools[name] for name in LABELLED_FROM]
    source = Pool(
        np.concatenate([pool.images for pool in chosen]),
        np.concatenate([pool.labels for pool in chosen]),
    )
    rows_of_source = np.sort(np.arange(rows) % len(source))
    random = np.random.default_rng(rows)
    images = rotate_images(source.images[rows_of_source], angles.draw(rows, random))
    steps = np.linspace(-spread.total_seconds(), 0.0, rows)
    times = [ended + timedelta(seconds=float(step)) for step in steps]
    return pd.DataFrame(
        {
            "image": pd.Series(list(images), dtype=object),
            "label": source.labels[rows_of_source],
            "time": pd.to_datetime(pd.Series(times), utc=True),
        }
    )


def write_labels(frame: pd.DataFrame, uri: str, credentials: Path | None) -> str:
    """Write one Parquet file below `uri`, in place of one written before; return its URI."""
    buffer = io.BytesIO()
    frame.to_parquet(buffer, index=False)
    name = "labels.parquet"  # played twice, the same images would be trained on and held out
    location = open_location(uri, credentials)
    location.put(name, buffer.getvalue())
    return location.uri + name
