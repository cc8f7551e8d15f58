"""Labels that are still to come when a version answers more than before: after its promotion.

Then those that come at once are of all its answers, and those that come late of the fewer ones
before: if wrong answers get their labels first, it looks worse than it is until the others come.
"""

from __future__ import annotations

from dataclasses import replace

from trimtab.decide.rollout.counting import EARLIEST, Side, answer_counts, count_since
from trimtab.decide.rollout.evidence import MOST_AWAITED
from trimtab.decide.rollout.measures import labelled_measure
from trimtab.decide.rollout.snapshot import LateLabels, ProcessView
from trimtab.stats.counts import sum_of


def labels_per_answer(processes: tuple[ProcessView, ...], side: Side) -> float | None:
    """Return how many labels an answer of a version got, by all that its pods have answered.

    None: that is not known. Labels arrive on whichever process received them.
    """
    answers = sum_of(answer_counts(side, processes, (), EARLIEST).values()).total
    name = labelled_measure(side.digest)
    labels = count_since(processes, (), name, name, None, EARLIEST).total
    return min(labels / answers, MOST_AWAITED) if answers > 0 and labels > 0 else None


def lag_further(late: LateLabels, answers: float, labels: float) -> tuple[LateLabels, float]:
    """Return what is remembered after a look, and by how many labels they lag more than ever.

    answers, labels: counted since the last look. What lags is right until it comes. Only a record
    counts: by chance labels lag a little more and less at each look, and where all of a day come at
    night they lag each day anew.
    """
    after = late.at(late.answers + answers, late.labels + labels)
    more = max(0.0, after.lag - late.most)
    return replace(after, most=late.most + more), more
