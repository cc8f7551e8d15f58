"""How many series the page of one pod has, and what bounds them.

    page = requests + features x (bins + 3) + score bins + classes + hours + labels

What a model brings is known when it is loaded, and bounded then. Labels add series as they come;
the runtime takes none that would need more than `MOST_SERIES` in all, since the operator refuses a
page beyond 20,000 as a whole.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from trimtab.contract.metrics import BATCH_ROWS_BUCKETS, REQUEST_SECONDS_BUCKETS

MOST_SERIES: Final = 18_000
"""Of a page of the runtime; some hundred more while two versions are compared."""
MANY_SERIES: Final = 10_000
"""Of one pod: beyond, a Prometheus has more to keep of it than of most programs together."""
MAX_FEATURES: Final = 200
"""Whose bins are counted: of those that the signature marks, the first."""
MAX_FEATURE_SERIES: Final = 10_000
"""Of all features together: 47 bins each where there are 200. Fewer where labels need the room."""
LEAST_FEATURE_SERIES: Final = 2_000
MAX_CLASSES_CROSSED: Final = 20
MAX_CLASSES_NAMED: Final = 1000
MAX_PAIRS: Final = 2000
"""Series of (predicted, actual) per version; a wrong pair beyond counts as actual `(other)`."""
MAX_HOURLY_CLASSES: Final = 10
MAX_HOURLY_PAIRS: Final = 5000
"""Hours times classes squared, up to which pairs are told by hour; beyond, right or wrong only."""
GRACE_HOURS: Final = 2
"""That labels are taken for beyond their delay."""
MAX_HOURS: Final = 4400
"""That are told apart, half a year; labels of older rows are counted, but not by hour."""

_OF_FEATURE: Final = 3
"""Missing, unseen and out of range, beside the bins."""
_FROM_THE_START: Final = 4
"""Codes of answers; further ones come as they are given."""
_HISTOGRAM: Final = len(REQUEST_SECONDS_BUCKETS) + 3
"""Also the bucket of all, the count and the sum."""
_REQUESTS: Final = (
    # process start, model info, requests started, queue depth
    4 + _FROM_THE_START + 3 * _HISTOGRAM + len(BATCH_ROWS_BUCKETS) + 3
)
_REFUSALS: Final = 5


def hours_told(delay_seconds: float) -> int:
    """Return how many past hours are told apart where labels may be so late."""
    return min(int(-(-delay_seconds // 3600)) + GRACE_HOURS, MAX_HOURS)


def tells_pairs_by_hour(classes: int, hours: int) -> bool:
    """Whether predicted and actual class are told by hour."""
    return 0 < classes <= MAX_HOURLY_CLASSES and hours * classes**2 <= MAX_HOURLY_PAIRS


@dataclass(frozen=True)
class Cardinality:
    """Series of one pod by what they are about.

    hours: predicted rows by hour. labels: at most, of one version; those of each further version
    whose labels reach this pod come on top. features_counted: of how many the bins are told.
    """

    requests: int
    features: int
    features_counted: int
    scores: int
    classes: int
    hours: int
    labels: int

    @property
    def without_labels(self) -> int:
        """What a model brings by itself."""
        return self.requests + self.features + self.scores + self.classes + self.hours

    @property
    def total(self) -> int:
        """With the labels of one version, within the bound."""
        return min(self.without_labels + self.labels, MOST_SERIES)


def cardinality(bins: Sequence[int], score_bins: int, classes: int, hours: int) -> Cardinality:
    """Return how many series a pod has.

    bins: of each feature that is watched, in order. classes: 0 for a regression. hours: that are
    told apart, as `hours_told`; 0 where there are no tokens.
    """
    is_crossed = classes <= MAX_CLASSES_CROSSED
    named = min(classes, MAX_CLASSES_NAMED)
    predicted = named + (classes > MAX_CLASSES_NAMED) if classes else 1
    rest = Cardinality(
        requests=_REQUESTS + (_REFUSALS if hours else 0),
        features=0,
        features_counted=0,
        scores=2 * score_bins,
        classes=predicted + (classes**2 if is_crossed else named),
        hours=hours + 1 if hours else 0,
        labels=_labels(classes, hours) if hours else 0,
    )
    left = MOST_SERIES - rest.total
    counted = _counted(bins, max(LEAST_FEATURE_SERIES, min(left, MAX_FEATURE_SERIES)))
    features = sum(bins[:counted]) + _OF_FEATURE * counted
    return replace(rest, features=features, features_counted=counted)


def _counted(bins: Iterable[int], room: int) -> int:
    """Return of how many features, the first, there is room for the bins."""
    count = series = 0
    for own in bins:
        series += own + _OF_FEATURE
        if count == MAX_FEATURES or series > room:
            break
        count += 1
    return count


def _labels(classes: int, hours: int) -> int:
    by_hour = hours + 1
    if not classes:
        return 4 + 4 * by_hour
    crossed = tells_pairs_by_hour(classes, hours)
    return min(classes**2, MAX_PAIRS) + by_hour * (classes**2 if crossed else 2)
