"""Rules on a DriftPolicy, each with a policy that it is for and one that it is not for."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.api.drift_policy import DriftPolicy
from trimtab.contract.artifact import (
    Baseline,
    Calibration,
    CategoricalFeature,
    Interval,
    NumericFeature,
    Residuals,
    Signature,
    Tensor,
)
from trimtab.decide.drift.budget import SMALLEST_ALPHA, alpha_of_look
from trimtab.decide.drift.signals.inputs import judge_inputs
from trimtab.lint.facts import POD_LABEL_DELAY, Facts
from trimtab.lint.policy import policy_remarks
from trimtab.lint.remarks import Remark
from trimtab.serving.settings import ServingSettings

ACCURACY = {"kind": "quality", "floor": {"dropBy": "3%"}}


def policy(*signals: dict[str, Any], **spec: Any) -> DriftPolicy:
    return DriftPolicy.model_validate(
        {
            "metadata": {"name": "digits", "namespace": "shop"},
            "spec": {
                "selector": {"deployments": ["digits"]},
                "signals": list(signals) or [{"kind": "inputs"}],
                **spec,
            },
        }
    )


def baseline(classes: int = 2, n: int = 10_000, bins: int = 10, **parts: Any) -> Baseline:
    return Baseline(
        **{
            "digest": "sha256:" + "1" * 64,
            "n": n,
            "features": [
                NumericFeature(
                    name=name,
                    edges=[float(edge) for edge in range(bins - 1)],
                    counts=[n // bins] * bins,
                    minimum=-1.0,
                    maximum=float(bins),
                )
                for name in ("a", "b")
            ],
            "score_edges": [0.5],
            "score_counts": [n // 2, n // 2],
            "predicted_counts": {f"c{i}": n // max(classes, 1) for i in range(classes)},
            "calibration": [Calibration(x=[0.0, 1.0], y=[0.0, 1.0])],
            "metrics": [Interval(metric="accuracy", value=0.9, interval=(0.89, 0.91), n=n)],
            **parts,
        }
    )


def remarks(one: DriftPolicy, **facts: Any) -> list[tuple[str, str, str]]:
    """Severity, rule and field of each remark that is more than a note."""
    found = policy_remarks(one, Facts(**facts))
    return [(r.severity, r.rule, r.field) for r in found if r.severity != "note"]


def only(one: DriftPolicy, **facts: Any) -> Remark:
    (found,) = (r for r in policy_remarks(one, Facts(**facts)) if r.severity != "note")
    return found


# --- window, rows, budget, tolerance ------------------------------------------------------------


def test_a_window_that_is_not_a_whole_season() -> None:
    assert remarks(policy(window="5h")) == [("warning", "window", "spec.window")]
    assert remarks(policy(window="48h")) == []
    assert remarks(policy(window="5h", season="1h")) == []


def test_rows_are_noted_where_traffic_is_not_known_and_compared_where_it_is() -> None:
    (note,) = policy_remarks(policy(), Facts())
    assert (note.severity, note.rule) == ("note", "rows")
    needed = int(note.message.split()[3])
    assert remarks(policy(), rows=needed) == []
    assert remarks(policy(), rows=needed - 1) != []


def test_the_figure_is_the_one_that_the_verdict_asks_for() -> None:
    one, known = policy(window="1h", season="1h"), baseline()
    finding = judge_inputs(
        {("trimtab_feature_bin_total", frozenset({("feature", "a"), ("bin", "0")})): 1.0},
        known,
        0.02,
        alpha_of_look(one.spec),
    )
    (note,) = policy_remarks(one, Facts(baseline=known))
    assert f"needs {finding.needed} rows" in note.message


def test_too_few_rows_whatever_the_budget_say_how_long_a_window_would_do() -> None:
    one = policy(window="1h", season="1h")
    found = only(one, rows=100)
    assert (found.severity, found.rule, found.field) == ("warning", "rows", "spec.window")
    hours = int(found.message.rpartition("a window of ")[2].removesuffix("h"))
    longer = policy(window=f"{hours}h", season="1h")
    assert remarks(longer, rows=100 * hours) == []
    shorter = policy(window=f"{hours - 1}h", season="1h")
    assert remarks(shorter, rows=100 * (hours - 1)) != []


def test_a_budget_too_strict_for_the_rows_says_which_would_do() -> None:
    one = policy(window="1h", season="1h", falseAlarms={"perQuarter": 0.01})
    found = only(one, rows=250)
    assert (found.rule, found.field) == ("budget", "spec.falseAlarms.perQuarter")
    budget = float(found.message.rpartition(" ")[2])
    assert budget > 0.01
    enough = policy(window="1h", season="1h", falseAlarms={"perQuarter": budget})
    assert remarks(enough, rows=250) == []


def test_a_budget_that_no_test_can_keep() -> None:
    one = policy(window="1s", season="1s", falseAlarms={"perQuarter": 1e-6})
    assert remarks(one) == [("warning", "budget", "spec.falseAlarms.perQuarter")]
    assert alpha_of_look(one.spec) == SMALLEST_ALPHA


def test_a_baseline_too_small_for_the_budget_is_one_that_no_traffic_helps() -> None:
    one = policy(window="1m", season="1m", falseAlarms={"perQuarter": 0.01})
    found = only(one, baseline=baseline(n=300), rows=10**6)
    assert found.rule == "budget"
    assert "no traffic shows" in found.message
    assert remarks(one, baseline=baseline(n=30_000), rows=10**6) == []


def test_a_tolerance_below_chance_says_what_is_found() -> None:
    one = policy({"kind": "inputs", "tolerance": 0.001})
    found = only(one, rows=2000)
    assert (found.rule, found.field) == ("tolerance", "spec.signals[0].tolerance")
    assert "by chance alone their PSI is about 0.0045" in found.message
    assert remarks(one, rows=20_000) == []
    assert remarks(policy({"kind": "inputs", "tolerance": 0.02}), rows=2000) == []


def test_an_accuracy_needs_rows_too() -> None:
    found = only(policy(ACCURACY), rows=200, baseline=baseline())
    assert found.rule == "rows"
    assert "an accuracy 3% below the floor of 0.870" in found.message


# --- the model ----------------------------------------------------------------------------------


def quality(metric: str, **more: Any) -> dict[str, Any]:
    bound: dict[str, Any] = {"floor": {"limit": "50%"}}
    if metric in ("mae", "rmse"):
        bound = {"ceiling": {"limit": 0.5}}
    return {"kind": "quality", "metric": metric, **bound, **more}


def outcomes(metric: str, **more: Any) -> dict[str, Any]:
    return {**quality(metric), "kind": "outcomes", **more}


REGRESSION = Signature(
    task="regression",
    inputs=[Tensor(name="x", datatype="FP64")],
    outputs=[Tensor(name="y", datatype="FP64")],
)


@pytest.mark.parametrize(
    ("signal", "known", "field"),
    [
        pytest.param(quality("recall"), baseline(21), "metric", id="recall_of_many"),
        pytest.param(quality("recall"), baseline(20), None, id="recall_of_some"),
        pytest.param(quality("auc"), baseline(3), "metric", id="auc_of_three"),
        pytest.param(quality("auc"), baseline(2), None, id="auc_of_two"),
        pytest.param(quality("accuracy"), baseline(calibration=[]), "metric", id="no_calibration"),
        pytest.param(outcomes("accuracy"), baseline(calibration=[]), None, id="labels_need_none"),
        pytest.param(quality("mae"), baseline(2), "metric", id="mae_of_classes"),
        pytest.param(outcomes("accuracy"), baseline(0), "metric", id="accuracy_of_a_regression"),
        pytest.param(quality("mae"), baseline(0), "metric", id="no_residuals"),
        pytest.param(
            quality("mae"),
            baseline(0, residuals=Residuals(rows=[1], absolute=[1], squares=[1], fourth=[1])),
            None,
            id="residuals",
        ),
        pytest.param(outcomes("mae"), baseline(0), None, id="errors_of_labels_need_none"),
        pytest.param(
            quality("precision", **{"class": "cat"}), baseline(2), "class", id="no_such_class"
        ),
        pytest.param(quality("precision", **{"class": "c1"}), baseline(2), None, id="a_class"),
        pytest.param({"kind": "inputs"}, baseline(features=[]), "kind", id="no_features"),
        pytest.param(
            {"kind": "predictions"},
            baseline(score_counts=[5], predicted_counts={"c": 5}),
            "kind",
            id="no_predictions",
        ),
        pytest.param(
            {"kind": "quality", "metric": "f1", "floor": {"dropBy": "3%"}},
            baseline(2),
            "floor",
            id="f1_is_not_known",
        ),
        pytest.param(ACCURACY, baseline(2), None, id="accuracy_is_known"),
    ],
)
def test_what_the_model_cannot_give_is_an_error(
    signal: dict[str, Any], known: Baseline, field: str | None
) -> None:
    expected = [] if field is None else [("error", "model", f"spec.signals[0].{field}")]
    assert remarks(policy(signal), baseline=known, rows=10**7) == expected


def test_a_signature_alone_says_the_task() -> None:
    assert remarks(policy(quality("accuracy")), signature=REGRESSION) == [
        ("error", "model", "spec.signals[0].metric")
    ]
    assert remarks(policy(quality("accuracy"))) == []


def test_what_a_version_states_counts_as_known() -> None:
    signal = {"kind": "quality", "metric": "f1", "floor": {"dropBy": "3%"}}
    scores = {("f1", "all"): 0.8}
    assert remarks(policy(signal), baseline=baseline(), scores=scores, rows=10**7) == []


def test_a_floor_above_what_the_version_began_with_fires_at_once() -> None:
    found = only(policy(quality("accuracy", floor={"limit": "95%"})), baseline=baseline())
    assert (found.severity, found.field) == ("warning", "spec.signals[0].floor.limit")


def test_data_of_kinds_that_no_feature_has() -> None:
    signal = {"kind": "data", "missing": "1%", "unseen": "1%", "outOfRange": "1%"}
    assert remarks(policy(signal), baseline=baseline()) == [
        ("warning", "model", "spec.signals[0].unseen")
    ]
    words = CategoricalFeature(name="w", categories=["a", "b"], counts=[5, 5])
    assert remarks(policy(signal), baseline=baseline(features=[words])) == [
        ("warning", "model", "spec.signals[0].outOfRange")
    ]


def test_labels_later_than_the_pods_take_them() -> None:
    late = policy(outcomes("accuracy", labelDelay="150h"))
    assert remarks(late) == [("error", "labels", "spec.signals[0].labelDelay")]
    assert remarks(late, pod_label_delay=POD_LABEL_DELAY * 2) == []
    assert remarks(policy(outcomes("accuracy", labelDelay="48h"))) == []


def test_labels_of_a_window_that_ends_within_an_hour_are_waited_for_by_whole_hours() -> None:
    """As the operator judges them: a window of 90 minutes has the labels of two hours."""
    late = policy(outcomes("accuracy", labelDelay="1h"), window="90m", season="90m")
    assert remarks(late, pod_label_delay=timedelta(hours=3)) == []
    remark = only(late, pod_label_delay=timedelta(hours=3) - timedelta(minutes=1))
    assert (remark.severity, remark.rule) == ("error", "labels")
    assert "until 3h after its first row" in remark.message


def test_classes_of_late_labels_are_told_of_few_classes_only() -> None:
    late = policy(outcomes("recall", labelDelay="48h"))
    assert remarks(late, tells_pairs=False) == [("error", "labels", "spec.signals[0].metric")]
    assert remarks(late, tells_pairs=True) == []
    soon = policy(outcomes("recall", labelDelay="30m"))
    assert remarks(soon, tells_pairs=False) == []


def test_the_delay_of_pods_is_theirs() -> None:
    assert ServingSettings.__dataclass_fields__["label_delay_seconds"].default == (
        POD_LABEL_DELAY.total_seconds()
    )


# --- actions ------------------------------------------------------------------------------------


def test_actions_that_never_happen() -> None:
    given = [
        {"signal": "quality", "do": ["pause"]},
        {"signal": "inputs", "do": ["notify"]},
        {"signal": "inputs", "do": ["pause"]},
    ]
    assert remarks(policy(actions=given)) == [
        ("warning", "actions", "spec.actions[0].signal"),
        ("warning", "actions", "spec.actions[2].signal"),
    ]
    assert remarks(policy()) == []


@given(
    window=st.sampled_from(["1ms", "1s", "20s", "1h", "24h", "5h", "87600h"]),
    season=st.sampled_from(["1ms", "7s", "1h", "24h", "87600h"]),
    budget=st.sampled_from([1e-6, 0.001, 1.0, 1000.0]),
    tolerance=st.sampled_from([0.0, 1e-9, 0.001, 0.02, 1.0, 10.0]),
    rows=st.none() | st.sampled_from([1e-3, 1.0, 50.0, 1e4, 1e9, 1e12]),
    n=st.none() | st.sampled_from([0, 1, 300, 10**6]),
)
def test_any_policy_that_the_schema_lets_through_can_be_told_about(
    window: str, season: str, budget: float, tolerance: float, rows: float | None, n: int | None
) -> None:
    signals: list[dict[str, Any]] = [
        {"kind": "inputs", "tolerance": tolerance},
        {"kind": "outcomes", "floor": {"limit": "0.01%"}, "labelDelay": "1h"},
        {"kind": "quality", "floor": {"limit": "100%"}},
    ]
    one = policy(*signals, window=window, season=season, falseAlarms={"perQuarter": budget})
    known = None if n is None else baseline(n=n)
    for remark in policy_remarks(one, Facts(rows=rows, baseline=known)):
        assert remark.message
        assert "nan" not in remark.message
        assert " inf" not in remark.message
