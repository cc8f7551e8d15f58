"""Evidence from pairs: its size, its error rate, and labels that depend on the answer."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.stats.paired import (
    GRID,
    CellCounts,
    Labelling,
    Pairs,
    evened,
    evidence_below,
    labelling_of,
    paired_evidence,
    smallest_detectable_difference,
)

COUNTS = st.dictionaries(st.sampled_from(GRID), st.integers(0, 10**6).map(float))


def outcome(worse: float, better: float, same: float) -> dict[float, float]:
    return {1.0: worse, -1.0: better, 0.0: same}


def test_no_requests_are_no_evidence() -> None:
    assert paired_evidence({}, 0.01) == 1.0


def test_one_request_is_the_mean_of_the_bets() -> None:
    """By hand: 40 even bets up to the largest, 1 / (1 + margin); D = 1 gains 1 - margin each."""
    bets = [(2 * k + 1) / 80 / 1.01 for k in range(40)]
    assert paired_evidence({1.0: 1.0}, 0.01) == pytest.approx(
        sum(1 + bet * 0.99 for bet in bets) / 40
    )


@given(COUNTS, st.floats(0.0, 0.9))
def test_evidence_is_finite_and_grows_with_what_is_worse(
    counts: dict[float, float], margin: float
) -> None:
    evidence = paired_evidence(counts, margin)
    assert math.isfinite(evidence)
    assert evidence > 0
    assert paired_evidence({**counts, 1.0: counts.get(1.0, 0.0) + 1}, margin) >= evidence


def test_evidence_that_a_rise_is_not_all_there_is() -> None:
    assert evidence_below({}, 0.1) == 1.0
    assert evidence_below(outcome(50, 50, 900), 0.1) > 1000
    assert evidence_below(outcome(150, 50, 800), 0.1) < 1
    assert evidence_below({0.0: 5.0}, 0.05) < 2, "a few without a difference say little"
    with pytest.raises(ValueError, match="rise"):
        evidence_below({}, 1.0)


def test_a_rise_that_is_there_is_seldom_denied() -> None:
    """At any of 200 looks."""
    draws, denied = np.random.default_rng(5), 0
    for _ in range(200):
        counts = np.cumsum(draws.multinomial(10, [0.08, 0.03, 0.89], size=200), axis=0)
        denied += any(evidence_below(outcome(*row), 0.05) >= 20 for row in counts[::10].tolist())
    assert denied <= 14


@pytest.mark.parametrize("margin", [-0.1, 1.0, 1.5])
def test_a_margin_that_is_no_share_is_refused(margin: float) -> None:
    with pytest.raises(ValueError, match="margin"):
        paired_evidence({}, margin)


def first_crossing(worse: float, better: float, margin: float, rows: int, seed: int) -> int | None:
    """Return after how many requests the evidence reaches 100; looked at ever more seldom."""
    rng = np.random.default_rng(seed)
    drawn = rng.choice([1, -1, 0], p=[worse, better, 1 - worse - better], size=rows)
    w, b = np.cumsum(drawn == 1), np.cumsum(drawn == -1)
    at = 20
    while at <= rows:
        counts = outcome(float(w[at - 1]), float(b[at - 1]), float(at - w[at - 1] - b[at - 1]))
        if paired_evidence(counts, margin) >= 100:
            return at
        at = max(at + 1, int(at * 1.03))
    return None


@pytest.mark.parametrize(
    ("worse", "better", "rows"), [(0.04, 0.01, 1137), (0.07, 0.01, 268), (0.12, 0.01, 104)]
)
def test_it_needs_as_many_labels_as_the_design_measured(
    worse: float, better: float, rows: int
) -> None:
    found = [first_crossing(worse, better, 0.01, 20_000, seed) for seed in range(41)]
    assert float(np.median([at or math.inf for at in found])) == pytest.approx(rows, rel=0.25)


def test_versions_at_the_boundary_are_seldom_found() -> None:
    found = [first_crossing(0.03, 0.02, 0.01, 10_000, seed) for seed in range(100)]
    assert sum(at is not None for at in found) <= 4


def test_the_smallest_difference_is_the_one_that_reaches_the_threshold() -> None:
    quiet = outcome(10, 10, 980)
    smallest = smallest_detectable_difference(quiet, 0.01, 400)
    assert smallest is not None
    worse = 1000 * smallest
    assert paired_evidence(outcome(10 + worse + 1, 10, 979 - worse), 0.01) >= 400
    assert paired_evidence(outcome(10 + worse * 0.9, 10, 980 - worse * 0.9), 0.01) < 400
    assert smallest_detectable_difference({}, 0.01, 400) is None
    assert smallest_detectable_difference({0.0: 3.0}, 0.01, 400) is None


# --- labels that depend on the answer -------------------------------------------------------------

EVEN = {"0": (1000.0, 100.0), "1": (500.0, 52.0)}
ONLY_ONES = {"0": (1000.0, 0.0), "1": (500.0, 500.0)}


def cell(predicted: float, worse: float = 0, better: float = 0, same: float = 0) -> CellCounts:
    labelled = {1: worse, -1: better, 0: same}
    return CellCounts(predicted, {d: rows for d, rows in labelled.items() if rows})


def pairs(cells: dict[tuple[str, str], CellCounts]) -> Pairs:
    return Pairs(cells=cells)


def test_even_labels_do_not_depend_on_the_answer() -> None:
    cells = {
        ("0", "0"): cell(1000, same=101),
        ("1", "1"): cell(500, same=48),
        ("1", "0"): cell(200, worse=12, better=9),
    }
    assert labelling_of(pairs(cells), [EVEN, EVEN]) == Labelling(is_even=True)


def test_before_anything_is_labelled_nothing_is_known() -> None:
    assert labelling_of(Pairs(), [{}, {"0": (5.0, 0.0)}]) == Labelling()


def test_all_labelled_is_even() -> None:
    whole = {"0": (100.0, 100.0), "1": (50.0, 50.0)}
    assert labelling_of(Pairs(), [whole]).is_even


def test_a_cell_without_labels_is_named() -> None:
    cells = {
        ("1", "1"): cell(500, same=500),
        ("1", "0"): cell(100, worse=60, better=40),
        ("0", "1"): cell(100),
        ("0", "0"): cell(500),
    }
    found = labelling_of(pairs(cells), [ONLY_ONES, ONLY_ONES])
    assert found == Labelling(differs=True, missing=(("0", "1"),), scarce=("0",))


def test_a_difference_that_is_none_of_chance_is_evened_out_however_small() -> None:
    """Equal versions with errors on other rows: 0 gets labels less often, by a fifth or a third."""
    for less in (0.5, 0.43):
        answers = {"0": (5000.0, 5000 * less), "1": (5000.0, 3000.0)}
        cells = {
            ("0", "0"): cell(4000, same=4000 * less),
            ("0", "1"): cell(1000, better=1000 * less),
            ("1", "0"): cell(1000, worse=600),
            ("1", "1"): cell(4000, same=2400),
        }
        found = labelling_of(pairs(cells), [answers, answers])
        assert found.differs
        assert found.is_even, "by so little that versions compare by other rows, too"
        counts = evened(cells)
        assert counts[1.0] == pytest.approx(counts[-1.0])


def test_many_small_cells_are_evened_out_together() -> None:
    cells = {
        **{(f"{n}", "(same)"): cell(500, same=300) for n in range(4)},
        **{(f"{n}", "(different)"): cell(9, worse=3, better=3) for n in range(4)},
    }
    assert evened(cells)[-1.0] == pytest.approx(12)


def test_few_pairs_do_not_hide_what_all_answers_show() -> None:
    cells = {("1", "0"): cell(5, worse=3)}
    assert labelling_of(pairs(cells), [ONLY_ONES]).differs
    assert evened(cells)[1.0] == 0


def test_equal_answers_need_no_labels() -> None:
    cells = {("1", "0"): cell(100, worse=60, better=40), ("0", "0"): cell(500)}
    assert labelling_of(pairs(cells), []).missing == ()


def test_of_many_classes_nobody_can_tell_which_rows_lack_labels() -> None:
    cells = {("(any)", "(same)"): cell(500), ("(any)", "(different)"): cell(100, worse=60)}
    assert labelling_of(pairs(cells), [ONLY_ONES]).is_hidden
    even = {("(any)", "(same)"): cell(500, same=50), ("(any)", "(different)"): cell(100, worse=10)}
    assert not labelling_of(pairs(even), [EVEN]).is_hidden
    assert labelling_of(pairs(even), []) == Labelling(is_hidden=True), "nothing was shown yet"


def test_rows_of_one_request_get_their_labels_together() -> None:
    answers = {"0": (3000.0, 0.0), "1": (3000.0, 64.0)}
    assert labelling_of(Pairs(), [answers], 1.0).differs
    assert not labelling_of(Pairs(), [answers], 64.0).differs


def test_what_gets_more_labels_counts_less() -> None:
    """Worse where labels are few, better where they are many: equal in all, and found so."""
    cells = {
        ("1", "0"): cell(1000, better=900),
        ("0", "1"): cell(1000, worse=100),
        ("0", "0"): cell(8000, same=4000),
    }
    assert evened(cells) == pytest.approx({1.0: 100.0, -1.0: 100.0, 0.0: 800.0})
    worse = {**cells, ("0", "1"): cell(3000, worse=300)}
    assert paired_evidence(evened(worse), 0.01) > 1000


def test_what_lacks_labels_is_taken_as_if_ours_were_right() -> None:
    cells = {
        ("1", "0"): cell(100, worse=50),
        ("0", "1"): cell(60),
        ("0", "0"): cell(500, same=250),
        ("2", "0"): cell(4),
    }
    assert evened(cells) == {1.0: 50.0, -1.0: 32.0, 0.0: 250.0}
    bad = {**cells, ("1", "0"): cell(1000, worse=500)}
    assert paired_evidence(evened(bad), 0.01) > 1e6, "bad whatever the rest would say"


@given(
    st.dictionaries(
        st.tuples(st.sampled_from("abc"), st.sampled_from("abc")),
        st.tuples(st.integers(0, 1000), st.integers(0, 300), st.integers(0, 300)),
    )
)
def test_nothing_counts_for_more_than_it_is(drawn: Any) -> None:
    cells = {
        place: cell(max(n, worse + better), worse=worse, better=better)
        for place, (n, worse, better) in drawn.items()
    }
    counts = evened(cells)
    assert counts[1.0] <= sum(one.labelled.get(1, 0) for one in cells.values()) + 1e-9
    assert sum(counts.values()) <= sum(one.predicted for one in cells.values()) + 1e-6
    assert all(count >= 0 for count in counts.values())


def test_awaited_labels_may_be_all_that_the_other_has_wrong() -> None:
    cells = {
        ("0", "0"): CellCounts(800, {0: 40}),
        ("0", "1"): CellCounts(100, {1: 50}),
        ("1", "0"): CellCounts(100, {1: 10, -1: 20}),
    }
    pairs = Pairs({1.0: 60, -1.0: 20, 0.0: 40}, cells)
    assert pairs.with_awaited(1.0) == pairs.requests
    more = pairs.with_awaited(1000 / 120)
    assert more == pytest.approx({1.0: 60, -1.0: 20 + 120, 0.0: 40 + 760})
    slightly = pairs.with_awaited(
        1.5
    )  # of all 18 % are labelled then: more of those that differ are
    assert slightly == pytest.approx({1.0: 60, -1.0: 20, 0.0: 100})
    assert Pairs({1.0: 3}).with_awaited(2.0) == {1.0: 3, -1.0: 3, 0.0: 0}  # nobody knows
