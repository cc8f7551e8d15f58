"""Labels that are still to come when a version answers more than before: after its promotion.

Then those that come at once are of all its answers, and those that come late of the fewer ones
before: if wrong answers get their labels first, it looks worse than it is until the others come.
"""

from __future__ import annotations

from dataclasses import replace

from trimtab.decide.rollout.counting import Side
from trimtab.decide.rollout.evidence import MOST_AWAITED
from trimtab.decide.rollout.measures import ERRORS, REJECTED, REQUESTS, labelled_measure
from trimtab.decide.rollout.snapshot import LateLabels, ProcessView


def labels_per_answer(processes: tuple[ProcessView, ...], side: Side) -> float | None:
    """Return how many labels an answer of a version got, by all that its pods have answered.

    None: that is not known. Labels arrive on whichever process received them.
    """
    own = [process.counts for process in processes if process.revision == side.revision]
    answers = sum(
        counts.get(REQUESTS, 0.0) - counts.get(ERRORS, 0.0) - counts.get(REJECTED, 0.0)
        for counts in own
    )
    labels = sum(one.counts.get(labelled_measure(side.digest), 0.0) for one in processes)
    return min(labels / answers, MOST_AWAITED) if answers > 0 and labels > 0 else None


def lag_further(late: LateLabels, answers: float, labels: float) -> tuple[LateLabels, float]:
    """Return what is remembered after a look, and by how many labels they lag more than ever.

    answers, labels: counted since the last look. What lags is right until it comes. Only a record
    counts: by chance labels lag a little more and less at each look, and where all of a day come at
    night they lag each day anew.
    """
    after = replace(late, answers=late.answers + answers, labels=late.labels + labels)
    more = max(0.0, after.lag - late.most)
    return replace(after, most=late.most + more), more
