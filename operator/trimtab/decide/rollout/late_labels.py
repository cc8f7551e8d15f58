"""Labels that come late under guard, where those of wrong answers do not lag as right ones do.

Then labels of one time are of answers of two: after a surge of traffic wrong ones may still come as
in it, and right ones as before, or the other way round. A version is worse only if it is so
whatever the delay of its wrong labels: `stats.delays`. Labels that come all at once, as once a
night, are compared with each other by the detector itself.
"""

from __future__ import annotations

import math
import operator
from dataclasses import replace
from itertools import accumulate, zip_longest

from trimtab.decide.rollout.counting import EARLIEST, Side, answer_counts, count_since
from trimtab.decide.rollout.evidence import MOST_AWAITED
from trimtab.decide.rollout.measures import labelled_measure, wrong_measure
from trimtab.decide.rollout.snapshot import LateLabels, ProcessView, Span
from trimtab.stats.change import reference_upper_bound
from trimtab.stats.counts import BadTotal, sum_of
from trimtab.stats.delays import least_evidence

DAY = 86_400.0
MOST_SPANS = 480
"""They get twice as long until so many are a day, and the oldest is forgotten then."""
SHORTEST_SPAN = 1.0
_NONE: Span = (0.0, 0.0, 0.0)
_CHUNK = 10.0
"""Wrong labels that are expected of as many spans as tell whether wrong ones come."""
_STEADY_CHUNKS = 4
"""In which wrong ones came, one after the other: then what was missing before has come."""
_BEYOND_CHANCE = 3.0
"""Standard deviations."""
_SURELY = 2.0
"""Times longer than labels that lag can take, which by chance are more or less."""


def labels_per_answer(processes: tuple[ProcessView, ...], side: Side) -> float | None:
    """Return how many labels an answer of a version got, by all that its pods have answered.

    None: that is not known. Labels arrive on whichever process received them.
    """
    answers, labels = _in_all(processes, side)
    if answers <= 0 or labels.total <= 0:
        return None
    return min(labels.total / answers, MOST_AWAITED)


def late_labels(
    processes: tuple[ProcessView, ...], good: Side, side: Side, width: float
) -> LateLabels | None:
    """Return what is known of labels when a version is promoted; None: nothing.

    good: the version before. width: seconds of a span, as long as between two rounds.
    """
    each = labels_per_answer(processes, good)
    if each is None:
        return None
    answers, labels = _in_all(processes, side)
    usual = _in_all(processes, good)[1]
    return LateLabels(each, usual, answers, labels, width=max(width, SHORTEST_SPAN))


def _in_all(processes: tuple[ProcessView, ...], side: Side) -> tuple[float, BadTotal]:
    answers = sum_of(answer_counts(side, processes, (), EARLIEST).values()).total
    names = wrong_measure(side.digest), labelled_measure(side.digest)
    return answers, count_since(processes, (), *names, None, EARLIEST)


def with_look(late: LateLabels, elapsed: float, answers: float, labels: BadTotal) -> LateLabels:
    """Return what is remembered after a look; answers, labels: counted since the last one.

    elapsed: seconds since then, in which they came evenly for all that is known.
    """
    grown = (answers, labels.total, labels.bad)
    width, began = late.width, late.seconds
    ended = began + min(max(0.0, elapsed), DAY)
    first = int(began // width) if ended > began else max(0, len(late.spans) - 1)
    last = max(first, math.ceil(ended / width) - 1)
    spans = [*late.spans, *[_NONE] * (last + 1 - len(late.spans))]
    for at in range(first, last + 1):
        within = min(ended, (at + 1) * width) - max(began, at * width)
        part = within / (ended - began) if ended > began else 1.0
        spans[at] = _sum(spans[at], tuple(part * count for count in grown))
    while len(spans) > MOST_SPANS and width * MOST_SPANS < DAY:
        spans = [_sum(*two) for two in zip_longest(spans[::2], spans[1::2], fillvalue=_NONE)]
        width *= 2
    forgotten = max(0, len(spans) - MOST_SPANS)
    return replace(
        late.at(late.answers + answers, late.labels + labels.total),
        spans=tuple(spans[forgotten:]),
        width=width,
        seconds=ended - forgotten * width,
    )


def _sum(one: Span, other: tuple[float, ...]) -> Span:
    return one[0] + other[0], one[1] + other[1], one[2] + other[2]


def log_evidence(late: LateLabels, share: float, margin: float | None, spread: float) -> float:
    """Return the logarithm of the evidence that answers are worse, whatever the delay of labels.

    share: the bound of the detector. margin: beyond what the version before showed in all its life;
    None: the bound is a limit. What it showed lately may be labels of one kind, too. inf: no labels
    lag.
    """
    each = late.per_answer
    if late.answers > 0:
        each = min(max(each, late.labels / late.answers), MOST_AWAITED)
    answers = [each * span[0] for span in late.spans]
    most = _longest(late, each, answers)
    if most == 0:
        return math.inf
    usual = _usual_at_worst(late)
    if margin is not None:
        share = max(share, reference_upper_bound(usual.divided(spread), margin))
    last = late.seconds / late.width - (len(late.spans) - 1)
    return least_evidence(
        _without_batches(late, answers, usual.share),
        answers,
        most,
        share,
        spread,
        min(1.0, last) if last > 0 else 1.0,
        _earlier(late, each),
    )


def _usual_at_worst(late: LateLabels) -> BadTotal:
    """Return what labels of the version before show once all have come, if those were wrong ones.

    That some were missing the version shows: once it had more labels per answer, beyond chance.
    """
    usual = late.usual
    if late.per_answer <= 0:
        return usual
    answers, labels = late.before_answers, late.before_labels.total
    most = 0.0
    for span in late.spans:
        answers, labels = answers + span[0], labels + span[1]
        if answers >= 1:
            each = min(1.0, labels / answers)
            chance = _BEYOND_CHANCE * math.sqrt(each * (1 - each) / answers) + 1 / answers
            most = max(most, each - chance)
    missing = max(0.0, min(most / late.per_answer, MOST_AWAITED) - 1) * usual.total
    return BadTotal(usual.bad + missing, usual.total + missing)


def _without_batches(late: LateLabels, answers: list[float], usual: float) -> list[float]:
    """Return the wrong labels of each span, less those that were missing right before.

    Where right ones come at once and wrong ones in batches, a batch has those of a longer time. It
    can have no more than labels lag, nor than wrong ones were fewer than usual since they last came
    steadily. answers: of each span, as many labels as they get. usual: share of wrong ones.
    """
    missing = max(0.0, usual * late.per_answer * late.before_answers - late.before_labels.bad)
    lag = late.lag_before
    found, steady = [], 0
    wrong_of_chunk = expected_of_chunk = 0.0
    for came, span in zip(answers, late.spans, strict=True):
        expected, wrong = usual * came, span[2]
        found.append(wrong - max(0.0, min(wrong - expected, missing, lag)))
        missing = max(0.0, missing + expected - wrong)
        lag += came - span[1]
        wrong_of_chunk, expected_of_chunk = wrong_of_chunk + wrong, expected_of_chunk + expected
        if expected_of_chunk >= _CHUNK:
            steady = steady + 1 if wrong_of_chunk > expected_of_chunk / 2 else 0
            wrong_of_chunk = expected_of_chunk = 0.0
        if steady >= _STEADY_CHUNKS:
            missing = 0.0
    return found


def _longest(late: LateLabels, each: float, answers: list[float]) -> int:
    """Return the longest delay that wrong labels may have, in spans; 0: no labels lag.

    answers: of each span, `each` times what was answered: as many labels as they get. Were all that
    lag wrong ones, they would be all that are wrong of the answers of that time.
    """
    lag = each * (late.before_answers + late.answers) - late.before_labels.total - late.labels
    grown = [one - span[1] for one, span in zip(answers, late.spans, strict=True)]
    most = max(0.0, *accumulate(reversed(grown), operator.sub, initial=lag))
    if most <= 0 or late.usual.bad <= 0:
        return len(answers) if most > 0 else 0
    of_answers = _SURELY * most / late.usual.share
    return 1 + sum(total <= of_answers for total in accumulate(reversed(answers)))


def _earlier(late: LateLabels, each: float) -> float:
    """Return of how many labels of answers before the promotion wrong ones may still come.

    By what such answers usually show, but for chance.
    """
    wrong, usual = late.before_labels.bad, late.usual
    if usual.bad <= 0:
        return each * late.before_answers
    wrong -= _SURELY * math.sqrt(wrong + wrong**2 / usual.bad)
    return max(0.0, each * late.before_answers - max(0.0, wrong) / usual.share)
