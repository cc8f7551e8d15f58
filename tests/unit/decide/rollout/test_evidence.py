"""What gates remember of a step, and the evidence in it."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from trimtab.decide.rollout.blocks import LENGTHS, Strata
from trimtab.decide.rollout.evidence import Counted, GateMemory, Moment, evidence_of
from trimtab.stats.counts import BadTotal
from trimtab.stats.sequential import gate_evidence
from trimtab.stats.spread import Spread

NOW = datetime(2026, 1, 1, tzinfo=UTC)
INTERVAL = timedelta(seconds=5)
AT = Moment(NOW, INTERVAL)


def test_what_a_pod_counted_over_several_rounds_is_of_no_moment() -> None:
    """A bad moment of both, in which one of the candidate's two pods was not seen."""
    both = frozenset({"c1", "c2"})
    bad = GateMemory().look(
        Counted({"c1": BadTotal(50, 50), "c2": BadTotal(0, 0)}, both),
        Counted({"s1": BadTotal(300, 300)}, OLD),
        replace(AT, behind=frozenset({"c2"})),
    )
    good = bad.look(
        Counted({"c1": BadTotal(50, 100), "c2": BadTotal(50, 100)}, both),
        Counted({"s1": BadTotal(300, 600)}, OLD),
        AT,
    )
    assert evidence_of(good, {}, 0.005, None) == 1.0
    assert good.strata.compared()[0] == BadTotal(50, 100)
    worse = good.look(
        Counted({"c1": BadTotal(100, 150), "c2": BadTotal(100, 150)}, both),
        Counted({"s1": BadTotal(300, 900)}, OLD),
        AT,
    )
    assert evidence_of(worse, {}, 0.005, None) > 1000, "from then on it counts again"


@pytest.mark.parametrize("silent", [False, True], ids=["the candidate", "stable"])
def test_what_one_side_shows_while_the_other_is_out_of_sight_is_no_evidence(silent: bool) -> None:
    """Rounds go on without a side that is silent for long; both were out meanwhile."""

    def look(seen: GateMemory, bad: float, total: float, *, is_behind: bool) -> GateMemory:
        frozen = frozenset({"s1"} if silent else {"c1"})
        shown = BadTotal(bad, total)
        last = seen.last[1 if silent else 0].get("s1" if silent else "c1", BadTotal(0, 0))
        return seen.look(
            Counted({"c1": last if is_behind and not silent else shown}, frozenset({"c1"})),
            Counted({"s1": last if is_behind and silent else shown}, frozenset({"s1"})),
            replace(AT, behind=frozen if is_behind else frozenset()),
        )

    calm = look(GateMemory(), 0, 100, is_behind=False)
    out = look(calm, 100, 200, is_behind=True)
    back = look(out, 100, 300, is_behind=False)
    assert calm.strata == out.strata == back.strata
    cells = [one.cells().total.sum() for one in back.candidate.values()]
    assert cells == [100] * len(LENGTHS)
    again = look(back, 200, 400, is_behind=False)
    assert again.strata.compared() == (BadTotal(100, 200), BadTotal(100, 200))


OLD = frozenset({"s1", "s2"})


def stable_of(*counts: BadTotal, served: frozenset[str] = OLD) -> Counted:
    return Counted({f"s{number}": one for number, one in enumerate(counts, 1)}, served)


def test_who_came_in_the_midst_of_an_outage_is_compared_with_its_own_time() -> None:
    """Both are out; stable was there before, too."""
    out = stable_of(BadTotal(250, 400), BadTotal(250, 400))
    for served in (BadTotal(108, 108), BadTotal(50, 108)):
        seen = GateMemory().look(Counted({"c": served}), out, AT)
        assert evidence_of(seen, {}, 0.005, None) == 1.0
    known = Counted({"c": BadTotal(108, 108)}, frozenset({"c"}))
    assert evidence_of(GateMemory().look(known, out, AT), {}, 0.005, None) > 1e6


def test_who_fails_from_its_first_request_on_is_found_at_once() -> None:
    for bad in (0, 1, 2):  # of stable's 160: the base rate
        stable = stable_of(BadTotal(bad, 80), BadTotal(0, 80))
        seen = GateMemory().look(Counted({"c": BadTotal(12, 12)}), stable, AT)
        assert evidence_of(seen, {}, 0.005, None) > 1000


def test_what_stable_did_before_the_candidate_served_is_of_no_moment() -> None:
    waiting = GateMemory().look(
        Counted({"c": BadTotal(0, 0)}), stable_of(BadTotal(0, 300), BadTotal(0, 300)), AT
    )
    assert waiting.strata == Strata()
    out = stable_of(BadTotal(100, 400), BadTotal(100, 400))
    seen = waiting.look(Counted({"c": BadTotal(100, 100)}), out, AT)
    assert evidence_of(seen, {}, 0.005, None) == 1.0


def test_a_new_pod_of_stable_has_not_seen_the_whole_moment() -> None:
    """The outage was over when it came."""
    ours = Counted({"c": BadTotal(40, 100)}, frozenset({"c"}))
    old = stable_of(BadTotal(40, 100), BadTotal(40, 100), BadTotal(0, 60))
    assert evidence_of(GateMemory().look(ours, old, AT), {}, 0.005, None) == 1.0
    only_new = stable_of(BadTotal(0, 60), served=frozenset())
    assert GateMemory().look(ours, only_new, AT).strata == Strata()
    both_new = GateMemory().look(Counted({"c": BadTotal(40, 100)}), only_new, AT)
    assert both_new.strata.compared()[1] == BadTotal(0, 60)


def look(candidate: BadTotal, stable: BadTotal) -> GateMemory:
    return GateMemory().look(Counted({"c": candidate}), Counted({"s": stable}), AT)


def test_the_least_of_all_lengths_is_the_evidence() -> None:
    seen = look(BadTotal(30, 100), BadTotal(3, 300))
    alone = evidence_of(seen, {}, 0.005, None)
    assert alone == pytest.approx(gate_evidence(BadTotal(30, 100), BadTotal(3, 300), 0.005))
    loose = evidence_of(seen, {1: Spread(1.2, 0.002)}, 0.005, None)
    both = evidence_of(seen, {1: Spread(1.2, 0.002), 12: Spread(5.0, 0.04)}, 0.005, None)
    assert both < loose < alone


def test_limits_allow_for_spread_too() -> None:
    seen = look(BadTotal(30, 100), BadTotal(0, 300))
    alone = evidence_of(seen, {}, None, 0.05)
    assert 1 < evidence_of(seen, {6: Spread(5.0, 0.04)}, None, 0.05) < alone
    assert evidence_of(seen, {}, None, None) == 0.0


def labelled(
    ours: BadTotal, theirs: BadTotal, our_answers: float, their_answers: float
) -> GateMemory:
    """One look: labels of both sides, and the requests that both answered."""
    return GateMemory().look(
        Counted({"c": ours}, answered={"c": BadTotal(0.0, our_answers)}),
        Counted({"s": theirs}, answered={"s": BadTotal(0.0, their_answers)}),
        AT,
    )


def test_wrong_answers_that_get_their_labels_first_are_no_evidence() -> None:
    """5 % of both are wrong, and right answers get their labels five minutes later."""
    ours, theirs = BadTotal(21, 21), BadTotal(79, 1585)
    assert evidence_of(look(ours, theirs), {}, 0.01, None) > 1000
    seen = labelled(ours, theirs, 400, 1600)
    assert seen.awaited == pytest.approx(400 * 1585 / 1600 / 21)
    assert evidence_of(seen, {}, 0.01, None) == 1.0
    assert evidence_of(look(ours, theirs), {}, None, 0.1) > 1000
    assert evidence_of(seen, {}, None, 0.1) == 1.0  # nor against a limit
    spreads = {1: Spread(1.5, 0.01)}
    assert evidence_of(look(ours, theirs), spreads, 0.01, 0.1) > 10
    assert evidence_of(seen, spreads, 0.01, 0.1) == 1.0


@pytest.mark.parametrize("our_labels", [100, 130])
def test_labels_that_are_all_there_tell_what_they_told(our_labels: float) -> None:
    """Also of a version of which more answers get a label."""
    ours, theirs = BadTotal(30, our_labels), BadTotal(9, 300)
    seen = labelled(ours, theirs, 1000, 3000)
    assert seen.awaited == 1.0
    assert evidence_of(seen, {}, 0.01, 0.1) == evidence_of(look(ours, theirs), {}, 0.01, 0.1)


@pytest.mark.parametrize("answers", [(0, 100), (100, 0)])
def test_without_answers_there_is_nothing_to_await(answers: tuple[float, float]) -> None:
    assert labelled(BadTotal(3, 10), BadTotal(1, 100), *answers).awaited == 1.0
    assert labelled(BadTotal(0, 0), BadTotal(1, 100), 10, 100).awaited == 1.0
    assert labelled(BadTotal(1, 1), BadTotal(1, 1e300), 1e300, 1e-300).awaited == 1e6


def test_answers_of_a_process_that_is_gone_are_not_forgotten() -> None:
    seen = labelled(BadTotal(10, 10), BadTotal(30, 600), 200, 600)
    gone = seen.look(
        Counted({"d": BadTotal(5, 5)}, answered={"d": BadTotal(0.0, 100)}),
        Counted({"s": BadTotal(45, 900)}, answered={"s": BadTotal(0.0, 900)}),
        replace(AT, now=NOW + INTERVAL),
    )
    assert gone.awaited == pytest.approx(300 / 15)


def test_labels_that_lag_behind_a_bad_time_of_both_are_no_evidence() -> None:
    """It is over when right answers of that time get their labels: they weigh the time after it."""
    seen, ours, theirs = GateMemory(), BadTotal(0, 0), BadTotal(0, 0)
    moments = [
        (BadTotal(100, 100), BadTotal(300, 3000)),
        (BadTotal(10, 10), BadTotal(30, 3000)),
        (BadTotal(10, 910), BadTotal(30, 3000)),
    ]
    for number, (our_moment, their_moment) in enumerate(
        itertools.chain(*([one] * 20 for one in moments)), 1
    ):
        ours, theirs = ours + our_moment, theirs + their_moment
        seen = seen.look(
            Counted({"c": ours}, answered={"c": BadTotal(0.0, 1000.0 * number)}),
            Counted({"s": theirs}, answered={"s": BadTotal(0.0, 3000.0 * number)}),
            replace(AT, now=NOW + number * INTERVAL),
        )
    our_counts, (in_moments, altogether) = seen.compared()
    assert our_counts.bad == 2400
    assert our_counts.total == pytest.approx(60_000)
    assert gate_evidence(our_counts, in_moments, 0.01) > 100
    assert altogether.share == pytest.approx(our_counts.share)
    assert evidence_of(seen, {}, 0.01, None) == 1.0


def test_awaited_labels_never_make_evidence() -> None:
    draws = np.random.default_rng(1)
    spreads = {1: Spread(1.5, 0.01), 6: Spread(4.0, 0.03)}
    for _ in range(200):
        total, other = int(draws.integers(1, 300)), int(draws.integers(50, 900))
        ours = BadTotal(float(draws.binomial(total, draws.random())), float(total))
        theirs = BadTotal(float(draws.binomial(other, draws.random() ** 2)), float(other))
        seen = labelled(ours, theirs, total * draws.uniform(0.5, 3), other)
        for limits in ((0.01, None), (None, 0.05)):
            without = evidence_of(look(ours, theirs), spreads, *limits)
            assert evidence_of(seen, spreads, *limits) <= max(1.0, without) * (1 + 1e-9)
