"""What quality and outcomes are held to."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.decide.drift.policies import QUALITY

from trimtab.api.drift_policy import Signal
from trimtab.decide.drift.signals.harm import no_standard, standard_of
from trimtab.decide.drift.snapshot import WatchedDeployment

WATCHED = WatchedDeployment(
    "digits",
    "digits",
    best_scores={"quality": 0.974, "outcomes": 4.0},
    stable_scores={"quality": 0.95, "outcomes": 5.0},
)


@pytest.mark.parametrize(
    ("floor", "expected"),
    [
        pytest.param({"dropBy": "3%"}, 0.944, id="below_the_best_promoted"),
        pytest.param({"dropBy": "3%", "from": "stable"}, 0.92, id="below_the_one_that_serves"),
        pytest.param({"limit": "90%"}, 0.9, id="a_number"),
    ],
)
def test_floor(floor: dict[str, str], expected: float) -> None:
    signal = Signal.model_validate({"kind": "quality", "floor": floor})
    standard = standard_of(signal, WATCHED)
    assert standard is not None
    assert standard.bound == pytest.approx(expected)


@pytest.mark.parametrize(
    ("ceiling", "expected"),
    [
        pytest.param({"riseBy": "10%"}, 4.4, id="above_the_best_promoted"),
        pytest.param({"riseBy": "10%", "from": "stable"}, 5.5, id="above_the_one_that_serves"),
        pytest.param({"limit": 3}, 3.0, id="a_number"),
    ],
)
def test_ceiling(ceiling: dict[str, Any], expected: float) -> None:
    signal = Signal.model_validate({"kind": "outcomes", "metric": "rmse", "ceiling": ceiling})
    standard = standard_of(signal, WATCHED)
    assert standard is not None
    assert standard.bound == pytest.approx(expected)
    assert standard.is_error


def test_a_drop_from_nothing_is_no_floor() -> None:
    signal = Signal.model_validate(QUALITY)
    assert standard_of(signal, WatchedDeployment("digits", "digits")) is None


@pytest.mark.parametrize("score", [97.4, -0.1, float("nan"), float("inf")])
def test_a_score_that_is_no_share_is_no_reference_and_says_so(score: float) -> None:
    signal = Signal.model_validate(QUALITY)
    watched = WatchedDeployment("digits", "digits", best_scores={"quality": score})
    assert standard_of(signal, watched) is None
    assert "a share from 0 to 1" in no_standard(signal).message
