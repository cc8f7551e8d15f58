"""Change in a running stream whose bad ones show late, nobody knows by how much.

What is bad shows some time after the request it is of. The detector of `change` is asked for each
time that this may take: with the requests of so much earlier. Where traffic changes, one of them
finds what is only the trace of a busier time; the one of the true delay does not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from trimtab.stats.change import LIFTS, lifted


def least_evidence(
    bad: Sequence[float],
    requests: Sequence[float],
    most: int,
    reference_share: float,
    spread: float = 1.0,
    last: float = 1.0,
    earlier: float = 0.0,
) -> float:
    """Return the logarithm of the detector's evidence with the delay that explains most.

    bad, requests: by equal spans of time, oldest first, not empty. most: the longest delay in
    spans, >= 0. reference_share, spread: see `change.update`. last: how much of the last span is
    over, in (0, 1]. earlier: requests before the first span of which bad ones may show in any that
    the delay reaches. -inf: nothing can be worse than the reference; inf: nothing may be bad.
    """
    lifts = [share for lift in LIFTS if (share := lifted(reference_share, lift)) is not None]
    if not lifts:
        return -math.inf if reference_share > 0 else math.inf
    spans = len(requests)
    wrong, came = np.asarray(bad, dtype=float), np.asarray(requests, dtype=float)
    delays = np.arange(min(most, spans) + 1)[:, None]
    of_span = np.arange(spans) - delays
    total = np.where(of_span >= 0, came[of_span], 0.0)
    total[1:, -1] *= last  # the last span of bad ones has only begun
    at_begin = np.where(of_span < 0, earlier, 0.0)
    found = []
    for p1 in lifts:
        of_good = math.log((1 - p1) / (1 - reference_share)) / spread
        of_bad = math.log(p1 / reference_share) / spread - of_good
        since = np.cumsum((wrong * of_bad + total * of_good)[:, ::-1], axis=1)[:, ::-1]
        found.append(np.logaddexp.reduce(since + at_begin * of_good, axis=1))
    return float((np.logaddexp.reduce(found, axis=0) - math.log(len(LIFTS))).min())
