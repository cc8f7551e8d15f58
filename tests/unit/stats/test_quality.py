"""Estimated and realised quality come from one confusion matrix, and a floor needs proof."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trimtab.stats.quality import (
    Confusion,
    Metric,
    Share,
    auc_floor_test,
    estimated_auc,
    estimated_confusion,
    f1_floor_test,
    floor_test,
    labelled_share,
    needed_rows,
    quality_floor_test,
    realised_confusion,
)


def calibrated_rows(n: int, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of the positive class, and labels that follow them exactly in law."""
    draws = np.random.default_rng(seed)
    p = draws.beta(0.5, 0.6, n)
    return p, draws.random(n) < p


def binary_estimate(p: np.ndarray) -> Confusion:
    yes = p >= 0.5
    return estimated_confusion(
        {"yes": float(yes.sum()), "no": float((~yes).sum())},
        {
            ("yes", "yes"): float(p[yes].sum()),
            ("yes", "no"): float((1 - p[yes]).sum()),
            ("no", "yes"): float(p[~yes].sum()),
            ("no", "no"): float((1 - p[~yes]).sum()),
        },
    )


def test_the_estimate_is_the_truth_in_expectation() -> None:
    p, actual = calibrated_rows(200_000)
    estimate = binary_estimate(p)
    counts: dict[tuple[str, str], float] = {}
    for guess, truth in zip(p >= 0.5, actual, strict=True):
        cell = ("yes" if guess else "no", "yes" if truth else "no")
        counts[cell] = counts.get(cell, 0) + 1
    real = realised_confusion(counts)
    assert estimate.accuracy().value == pytest.approx(real.accuracy().value, abs=0.004)
    assert estimate.precision("yes").value == pytest.approx(real.precision("yes").value, abs=0.004)
    assert estimate.recall("yes").value == pytest.approx(real.recall("yes").value, abs=0.004)
    assert estimate.f1("yes") == pytest.approx(real.f1("yes"), abs=0.004)


def test_figures_of_a_small_confusion() -> None:
    confusion = realised_confusion(
        {("a", "a"): 8, ("a", "b"): 2, ("b", "a"): 1, ("b", "b"): 4, ("c", "a"): 1}
    )
    assert confusion.n == 16
    assert confusion.classes == ("a", "b", "c")
    assert confusion.accuracy() == Share(12, 16)
    assert confusion.precision("a") == Share(8, 10)
    assert confusion.recall("a") == Share(8, 10)
    assert confusion.f1("b") == pytest.approx(2 * 4 / (5 + 6))


def test_many_classes_give_accuracy_and_precision_only() -> None:
    diagonal = {(str(k), str(k)): 9.0 for k in range(30)}
    confusion = estimated_confusion({str(k): 10.0 for k in range(30)}, diagonal)
    assert confusion.accuracy().value == pytest.approx(0.9)
    assert confusion.precision("3").value == pytest.approx(0.9)
    assert math.isnan(confusion.recall("3").value)
    assert math.isnan(confusion.f1("3"))


def test_binned_auc_lies_within_its_error() -> None:
    p, _ = calibrated_rows(20_000)
    bins = np.minimum((p * 20).astype(int), 19)
    found = estimated_auc(np.bincount(bins, minlength=20), np.bincount(bins, p, minlength=20))
    order = np.argsort(p)
    ranked = p[order]
    negatives = np.cumsum(1 - ranked)
    exact = float((ranked * (negatives - (1 - ranked) / 2)).sum())
    exact /= float(ranked.sum() * (1 - ranked).sum())
    assert abs(found.value - exact) <= found.error
    assert found.error < 0.03
    assert auc_floor_test(found, 0.99).is_below
    assert not auc_floor_test(found, found.value).is_below


def test_auc_of_one_class_is_not_known() -> None:
    found = estimated_auc([10, 10], [0, 0])
    assert math.isnan(found.value)
    assert not auc_floor_test(found, 0.9).is_below


@pytest.mark.parametrize(
    ("hits", "rows", "is_below", "is_enough"),
    [
        pytest.param(160, 200, True, True, id="proven_with_few_rows"),
        pytest.param(186, 200, False, False, id="just_below_with_few_rows"),
        pytest.param(935, 1000, False, True, id="just_below_with_enough_rows"),
        pytest.param(9300, 10_000, True, True, id="just_below_with_many_rows"),
        pytest.param(980, 1000, False, True, id="above"),
        pytest.param(0, 0, False, False, id="no_rows"),
    ],
)
def test_floor(hits: float, rows: float, is_below: bool, is_enough: bool) -> None:
    found = floor_test(Share(hits, rows), floor=0.94)
    assert (found.is_below, found.is_enough) == (is_below, is_enough)
    assert found.lower <= found.upper


def test_floor_test_at_the_floor_keeps_its_level() -> None:
    draws = np.random.default_rng(9)
    hits = draws.binomial(500, 0.9, 1500)
    cache = {k: floor_test(Share(float(k), 500), 0.9).is_below for k in np.unique(hits)}
    assert np.mean([cache[k] for k in hits]) <= 0.06


def test_f1_floor() -> None:
    confusion = binary_estimate(calibrated_rows(5000)[0])
    value = confusion.f1("yes")
    found = f1_floor_test(confusion, "yes", value + 0.05)
    assert found.lower < found.value < found.upper
    assert found.is_below
    assert not f1_floor_test(confusion, "yes", value).is_below


def test_needed_rows() -> None:
    assert 400 < needed_rows(0.94, drop=0.03) < 480
    assert needed_rows(0.9, drop=0.01) > needed_rows(0.9, drop=0.05)
    with pytest.raises(ValueError):
        needed_rows(0.9, drop=0)


def test_small_figures() -> None:
    assert labelled_share(5, 10) == 0.5
    assert labelled_share(11, 10) == 1
    assert labelled_share(0, 0) == 0


THREE = {("a", "a"): 80.0, ("a", "b"): 20.0, ("b", "b"): 40.0, ("b", "c"): 10.0, ("c", "c"): 50.0}


def test_one_entry_for_every_metric_of_a_confusion() -> None:
    confusion = realised_confusion(THREE)
    assert quality_floor_test(confusion, Metric.ACCURACY, None, 0.8) == floor_test(
        confusion.accuracy(), 0.8
    )
    assert quality_floor_test(confusion, Metric.RECALL, "b", 0.8) == floor_test(
        confusion.recall("b"), 0.8
    )
    assert quality_floor_test(confusion, Metric.PRECISION, "a", 0.8) == floor_test(
        confusion.precision("a"), 0.8
    )
    assert quality_floor_test(confusion, Metric.F1, "c", 0.8) == f1_floor_test(confusion, "c", 0.8)
    macro_f1 = quality_floor_test(confusion, Metric.F1, None, 0.8)
    assert macro_f1.value == pytest.approx(sum(confusion.f1(name) for name in "abc") / 3)


@pytest.mark.parametrize("metric", [Metric.RECALL, Metric.F1, Metric.AUC])
def test_a_metric_that_the_counters_do_not_give_is_refused(metric: Metric) -> None:
    with pytest.raises(ValueError, match=r"full matrix|score bins"):
        quality_floor_test(Confusion({"a": 9.0}, {("a", "a"): 8.0}, False), metric, None, 0.8)


def test_a_macro_breach_is_false_in_at_most_five_percent() -> None:
    draws, recall, rows = np.random.default_rng(4), (0.9, 0.8, 0.7), (400, 100, 40)
    breaches = 0
    for _ in range(500):
        cells: dict[tuple[str, str], float] = {}
        for name, p, n in zip("abc", recall, rows, strict=True):
            hits = float(draws.binomial(n, p))
            cells[name, name] = hits
            cells["c" if name != "c" else "a", name] = n - hits
        found = quality_floor_test(realised_confusion(cells), Metric.RECALL, None, 0.8)
        breaches += found.is_below
    assert breaches / 500 <= 0.05


def test_a_macro_breach_is_found_and_too_few_rows_are_said() -> None:
    many = realised_confusion({pair: rows * 10 for pair, rows in THREE.items()})
    low = quality_floor_test(many, Metric.RECALL, None, 0.95)
    assert low.is_below
    few = quality_floor_test(realised_confusion(THREE), Metric.RECALL, None, 0.85)
    assert not few.is_enough
    assert 50 <= few.n <= 80
    nothing = quality_floor_test(realised_confusion({}), Metric.RECALL, None, 0.85)
    assert math.isnan(nothing.value)
    assert not nothing.is_enough


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31), st.integers(2, 25), st.floats(0.2, 5.0), st.integers(200, 5000))
def test_binned_auc_holds_that_of_the_scores_and_comes_near_it(
    seed: int, bins: int, sharpness: float, n: int
) -> None:
    """Any calibrated score, in bins of equal counts: bounds hold, and ties alone are worse."""
    draws = np.random.default_rng(seed)
    p = np.sort(1 / (1 + np.exp(-sharpness * draws.normal(size=n))))
    places = np.minimum(np.arange(n) * bins // n, bins - 1)
    rows, sums = np.bincount(places, minlength=bins), np.bincount(places, p, minlength=bins)
    found = estimated_auc(rows, sums)
    exact = estimated_auc(np.ones(n), p)
    assert found.value - found.error - 1e-9 <= exact.value - exact.error
    assert exact.value + exact.error_above <= found.value + found.error_above + 1e-9
    negatives = rows - sums
    before = np.concatenate([[0.0], np.cumsum(negatives)[:-1]])
    tied = float((sums * (before + negatives / 2)).sum() / (sums.sum() * negatives.sum()))
    assert abs(found.value - exact.value) <= abs(tied - exact.value) + 1e-9
