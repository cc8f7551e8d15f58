"""Cells and differences of rows that two versions answered, counted by hand."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.serving.loopback import samples

from trimtab.contract.pairing import Pair, mark
from trimtab.serving.counting.exposition import render
from trimtab.serving.counting.pairs import (
    MAX_PAIRS_OF_VERSIONS,
    PairedAnswers,
    PairedOutcomes,
    on_grid,
)

LABELS = (("model", "m"), ("version", "v"), ("digest", "d"), ("baseline", "b"))


def named(*names: str, against: str = "o") -> Pair:
    return Pair(against, names, ())


def told(counted: PairedOutcomes) -> dict[str, float]:
    return samples(render(counted.families(), openmetrics=False).decode())


def test_a_row_is_told_by_both_answers_and_who_was_wrong() -> None:
    counted = PairedOutcomes(lambda: 0.5)
    assert counted.families() == []
    counted.add(LABELS, ["a", "a", "b", "b"], named("a", "b", "a", "b"), ["a", "a", "a", None])
    rows = "trimtab_paired_outcomes_total{against=o"
    assert told(counted) == {
        f"{rows},served=a,other=a,difference=0}}": pytest.approx(1 / 3),
        f"{rows},served=a,other=b,difference=-1}}": pytest.approx(1 / 3),
        f"{rows},served=b,other=a,difference=1}}": pytest.approx(1 / 3),
        "trimtab_paired_requests_total{against=o,difference=0}": 1,
    }


def test_of_many_classes_it_is_told_whether_they_are_the_same() -> None:
    counted = PairedOutcomes()
    pair = Pair("o", None, (mark("a"), mark("b")))
    counted.add(LABELS, ["a", "a"], pair, ["b", "b"])
    rows = "trimtab_paired_outcomes_total{against=o,served=(any)"
    assert told(counted) == {
        f"{rows},other=(same),difference=0}}": 0.5,
        f"{rows},other=(different),difference=1}}": 0.5,
        "trimtab_paired_requests_total{against=o,difference=0.5}": 1,
    }


@pytest.mark.parametrize("truth", ["(other)", "c"])
def test_a_class_that_neither_knows_is_wrong_for_both(truth: str) -> None:
    counted = PairedOutcomes()
    counted.add(LABELS, ["a"], named("(other)"), [truth])
    assert told(counted)["trimtab_paired_requests_total{against=o,difference=0}"] == 1


def test_rows_beyond_the_paired_ones_and_tokens_without_truth_count_nothing() -> None:
    counted = PairedOutcomes()
    counted.add(LABELS, ["a", "b", "b"], named("b"), ["a", "b", "b"])
    counted.add(LABELS, ["a"], named("b"), [None])
    assert sum(told(counted).values()) == 2


def test_the_number_of_pairs_of_versions_is_bounded() -> None:
    counted = PairedOutcomes()
    for number in range(MAX_PAIRS_OF_VERSIONS + 4):
        counted.add(LABELS, ["a"], named("a", against=str(number)), ["a"])
    assert len(told(counted)) == 2 * MAX_PAIRS_OF_VERSIONS


@given(st.lists(st.integers(-1, 1), min_size=1, max_size=30), st.integers(0, 2**32))
def test_the_grid_keeps_the_expectation(differences: list[int], seed: int) -> None:
    mean = sum(differences) / len(differences)
    draw = random.Random(seed).random
    places = {on_grid(mean, draw) for _ in range(20)}
    assert all(-4 <= place <= 4 and abs(place / 4 - mean) < 0.25 + 1e-9 for place in places)
    # The chance of the upper one, read off a draw that is even.
    even = [on_grid(mean, lambda step=step: step / 1000) for step in range(1000)]  # type: ignore[misc]
    assert sum(even) / 4000 == pytest.approx(mean, abs=0.001)


def test_answers_are_told_by_cell() -> None:
    answers = PairedAnswers(LABELS, "o", ["a", "b"], ["b", "c"], is_named=True)
    answers.add([0, 1, 1], [1, 0, 0])
    render_later = answers.snapshot()
    answers.add([0], [0])
    assert samples(render(render_later(), openmetrics=True).decode()) == {
        "trimtab_paired_predicted_total{against=o,served=a,other=c}": pytest.approx(1 / 3),
        "trimtab_paired_predicted_total{against=o,served=b,other=b}": pytest.approx(2 / 3),
    }
    many = PairedAnswers(LABELS, "o", ["a", "b"], ["b", "c"], is_named=False)
    many.add([0, 1, 1], [1, 0, 0])
    assert samples(render(many.snapshot()(), openmetrics=False).decode()) == {
        "trimtab_paired_predicted_total{against=o,served=(any),other=(different)}": pytest.approx(
            1 / 3
        ),
        "trimtab_paired_predicted_total{against=o,served=(any),other=(same)}": pytest.approx(2 / 3),
    }
