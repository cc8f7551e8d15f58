"""Evidence from pairs: its size, its error rate, and labels that depend on the answer."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.stats.paired import (
    GRID,
    CellCounts,
    Labelling,
    Pairs,
    labelling_of,
    paired_evidence,
    reweighted_evidence,
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


def cell(predicted: float, worse: float = 0, better: float = 0, same: float = 0) -> CellCounts:
    labelled = {1: worse, -1: better, 0: same}
    return CellCounts(predicted, {d: rows for d, rows in labelled.items() if rows})


def pairs(cells: dict[tuple[str, str], CellCounts]) -> Pairs:
    requests: dict[float, float] = {}
    for one in cells.values():
        for d, rows in one.labelled.items():
            requests[float(d)] = requests.get(float(d), 0.0) + rows
    return Pairs(requests, cells)


def test_even_labels_do_not_depend_on_the_answer() -> None:
    cells = {
        ("0", "0"): cell(1000, same=101),
        ("1", "1"): cell(500, same=48),
        ("1", "0"): cell(200, worse=12, better=9),
    }
    assert labelling_of(pairs(cells)) == Labelling()


def test_a_cell_without_labels_is_named() -> None:
    cells = {
        ("1", "1"): cell(500, same=500),
        ("1", "0"): cell(100, worse=60, better=40),
        ("0", "1"): cell(100),
        ("0", "0"): cell(500),
    }
    assert labelling_of(pairs(cells)) == Labelling(differs=True, missing=(("0", "1"),))


def test_equal_answers_need_no_labels() -> None:
    cells = {("1", "0"): cell(100, worse=60, better=40), ("0", "0"): cell(500)}
    assert labelling_of(pairs(cells)).missing == ()
    many = {("(any)", "(same)"): cell(500), ("(any)", "(different)"): cell(100, worse=60)}
    assert labelling_of(pairs(many)).missing == ()


def test_few_rows_do_not_tell() -> None:
    cells = {("1", "1"): cell(50, same=50), ("0", "1"): cell(5)}
    assert labelling_of(pairs(cells)).missing == ()


def test_rows_of_one_request_get_their_labels_together() -> None:
    """64 rows a request, alike: a cell that no labelled request fell in is no cell without any."""
    cells = {("1", "1"): cell(6400, same=640), ("0", "1"): cell(128)}
    alone = Pairs({0.0: 640.0}, cells)
    together = Pairs({0.0: 10.0}, cells)
    assert labelling_of(alone).missing == (("0", "1"),)
    assert labelling_of(together) == Labelling()


def test_rows_stand_for_those_that_got_no_label() -> None:
    """Worse where labels are few, better where they are many: equal in all, and found so."""
    cells = {
        ("1", "0"): cell(1000, worse=0, better=900),
        ("0", "1"): cell(1000, worse=100, better=0),
        ("0", "0"): cell(8000, same=4000),
    }
    even = pairs(cells)
    assert labelling_of(even).differs
    assert reweighted_evidence(even, 0.01) < 10
    worse = {**cells, ("0", "1"): cell(3000, worse=300, better=0)}
    assert reweighted_evidence(pairs(worse), 0.01) > 1000


def test_equal_weights_give_the_plain_evidence() -> None:
    cells = {("1", "0"): cell(100, worse=30), ("0", "0"): cell(200, same=60)}
    whole = pairs(cells)
    assert reweighted_evidence(whole, 0.01) == pytest.approx(
        paired_evidence(whole.requests, 0.01), rel=1e-6
    )
