"""Counters of a window as arrays: one row a feature, by the bins of the baseline.

Where a series belongs is worked out once for each baseline and kept, since a window of 200 features
holds thousands of series, and reading their labels would cost more than every test on them.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trimtab.contract import metrics
from trimtab.contract.artifact import Baseline
from trimtab.contract.metrics import Series, SeriesKey

KEPT_LAYOUTS = 64
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Histograms:
    """Features of one number of bins. names: [F]; baseline, current: counts [F, B]."""

    names: tuple[str, ...]
    baseline: Floats
    current: Floats

    @property
    def n(self) -> Floats:
        """Current rows by feature, [F]."""
        return np.asarray(self.current.sum(axis=1))


@dataclass(frozen=True)
class _Layout:
    """Groups by number of bins, and for each series its place in all of them laid end to end."""

    names: tuple[tuple[str, ...], ...]
    baselines: tuple[Floats, ...]
    places: Mapping[SeriesKey, int]
    size: int


_layouts: OrderedDict[str, _Layout] = OrderedDict()


def feature_histograms(counts: Series, baseline: Baseline) -> list[Histograms]:
    """Return the features with two bins or more, grouped by their number of bins.

    Bins and features that the baseline does not have are left out.
    """
    layout = _layouts.get(baseline.digest)
    if layout is None:
        layout = _layout_of(baseline)
        if baseline.digest:
            _layouts[baseline.digest] = layout
            while len(_layouts) > KEPT_LAYOUTS:
                _layouts.popitem(last=False)
    values = np.zeros(layout.size)
    find = layout.places.get
    for key, value in counts.items():
        place = find(key)
        if place is not None:
            values[place] = value
    groups = []
    at = 0
    for names, reference in zip(layout.names, layout.baselines, strict=True):
        current = values[at : at + reference.size].reshape(reference.shape)
        groups.append(Histograms(names, reference, current))
        at += reference.size
    return groups


def _layout_of(baseline: Baseline) -> _Layout:
    by_bins: dict[int, list[tuple[str, list[int]]]] = {}
    for feature in baseline.features:
        if len(feature.counts) >= 2:
            by_bins.setdefault(len(feature.counts), []).append((feature.name, feature.counts))
    places: dict[SeriesKey, int] = {}
    at = 0
    for bins, features in by_bins.items():
        for name, _ in features:
            for index in range(bins):
                labels = frozenset({("feature", name), ("bin", str(index))})
                places[metrics.FEATURE_BIN, labels] = at
                at += 1
    return _Layout(
        tuple(tuple(name for name, _ in features) for features in by_bins.values()),
        tuple(
            np.array([counts for _, counts in features], dtype=np.float64)
            for features in by_bins.values()
        ),
        places,
        at,
    )
