"""Labels that come hours after their rows are judged with the hour of their prediction."""

from __future__ import annotations

import pytest
from tests.unit.drift_counts import series, with_identity
from tests.unit.loop_objects import DIGEST_2
from tests.unit.reconcile.kinds.policies import (
    BASELINE,
    POLICY,
    TELEMETRY_KEY,
    PolicyShop,
    policy_object,
)

from trimtab.contract import metrics
from trimtab.telemetry.port import Target


def by_hour(shop: PolicyShop, rows: int, right: int, wrong: int, digest: str = "") -> None:
    """Let the pods tell labels of the hour in which the shop opened."""
    hour = str(int(shop.cluster.time.timestamp() // 3600))
    counts = {
        series(metrics.PREDICTED_BY_HOUR, hour=hour): float(rows),
        series(metrics.OUTCOMES_BY_HOUR, hour=hour, correct="true"): float(right),
        series(metrics.OUTCOMES_BY_HOUR, hour=hour, correct="false"): float(wrong),
    }
    named = with_identity(counts, digest=digest or shop.digest, baseline=BASELINE.digest)
    shop.counts.update(named)


LATE = {"kind": "outcomes", "floor": {"limit": "90%"}, "labelDelay": "2h"}


@pytest.mark.parametrize(
    ("rows", "right", "wrong", "verdict", "n"),
    [
        pytest.param(1000, 780, 20, "Stable", 800, id="right_enough"),
        pytest.param(1000, 600, 200, "Drifting", 800, id="wrong_too_often"),
        pytest.param(1000, 300, 100, "InsufficientData", 400, id="fewer_than_half_of_the_labels"),
    ],
)
async def test_late_labels_are_judged_with_the_hour_of_their_prediction(
    rows: int, right: int, wrong: int, verdict: str, n: int
) -> None:
    shop = PolicyShop()
    shop.feed = None
    by_hour(shop, rows, right, wrong)
    by_hour(shop, 5000, 0, 5000, digest=DIGEST_2)  # of a version that is no longer served
    shop.apply(policy_object(LATE, window="1h", season="1h"))
    await shop.harness.advance(2 * 3600)
    assert shop.verdict("outcomes") == "NoData"
    await shop.harness.advance(3600 + 30)
    (entry,) = shop.harness.world.memory[POLICY].decided.signals
    assert (entry.verdict, entry.n) == (verdict, n), entry.message


async def test_late_labels_are_judged_by_whole_hours() -> None:
    """A window of 90 minutes would end within the hour whose labels are judged."""
    shop = PolicyShop()
    shop.feed = None
    opened = shop.cluster.time.timestamp()
    by_hour(shop, 1000, 780, 20)
    shop.apply(policy_object(LATE, window="90m", season="90m"))
    due = (opened // 7200 + 1) * 7200 + 2 * 3600
    await shop.harness.advance(due - opened - 120)
    assert shop.verdict("outcomes") == "NoData"
    await shop.harness.advance(150)
    (entry,) = shop.harness.world.memory[POLICY].decided.signals
    assert (entry.verdict, entry.n) == ("Stable", 800), entry.message


async def test_late_labels_outlive_the_pod_that_counted_them() -> None:
    shop = PolicyShop()
    shop.feed = None
    shop.apply(policy_object(LATE, window="1h", season="1h"))
    by_hour(shop, 1000, 600, 200)
    await shop.harness.advance(60)
    for number in range(60):
        target = Target(f"uid-{number}/now", f"pod-{number}", "revv1", "http://10.0.0.2:9090")
        shop.telemetry.set_targets(TELEMETRY_KEY, [target])
    shop.counts.clear()
    shop.silent = True
    await shop.harness.advance(3 * 3600)
    (entry,) = shop.harness.world.memory[POLICY].decided.signals
    assert (entry.verdict, entry.n) == ("Drifting", 800), entry.message
