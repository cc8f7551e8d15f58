"""A retraining by hand follows the template of the policy that watches."""

from __future__ import annotations

from datetime import timedelta

import pytest
from tests.unit.cli.fakes import ANN, Desk
from tests.unit.reconcile.kinds.policies import policy_object
from tests.unit.reconcile.worlds import KEY, Shop

from trimtab.api.retrain_job import RetrainJob
from trimtab.cli.retrain import retrain
from trimtab.cluster.port import DRIFT_POLICIES, RETRAIN_JOBS
from trimtab.errors import SpecError

QUALITY = {"kind": "quality", "floor": {"dropBy": "8%"}}


async def desk() -> Desk:
    shop = Shop()
    await shop.serve("v1")
    return Desk(shop)


def made(at: Desk) -> RetrainJob:
    (job,) = at.shop.cluster.find(RETRAIN_JOBS)
    return RetrainJob.model_validate(job)


async def test_the_job_names_its_person_and_takes_the_template() -> None:
    at = await desk()
    at.shop.cluster.user_apply(policy_object(QUALITY, retrain={"cooldown": "1m"}))
    assert await retrain(at.session, KEY, None) == 0
    job = made(at)
    assert job.spec.cause.manual == ANN
    assert job.spec.cause.deployment == "digits"
    assert job.spec.model == "digits"
    assert job.spec.data.since is None
    assert f"trimtab why rj/{job.metadata.name}" in at.text


async def test_rows_since_the_window_that_fired_or_as_asked() -> None:
    at = await desk()
    at.shop.cluster.user_apply(policy_object(QUALITY, retrain={"cooldown": "1m"}))
    signal = {
        "kind": "quality",
        "deployment": "digits",
        "verdict": "Drifting",
        "windowStart": "2026-01-01T00:00:00Z",
    }
    key = KEY._replace(resource=DRIFT_POLICIES)
    at.shop.cluster.user_change(key, lambda obj: obj.update(status={"signals": [signal]}))
    await retrain(at.session, KEY, None)
    assert "rows since 2026-01-01 00:00:00Z" in at.text
    await retrain(at.session, KEY, timedelta(hours=1))
    assert "rows since 2025-12-31" in at.text


async def test_without_a_policy_it_says_what_is_missing() -> None:
    at = await desk()
    with pytest.raises(SpecError, match="no DriftPolicy selects digits"):
        await retrain(at.session, KEY, None)
    at.shop.cluster.user_apply(policy_object(QUALITY, selector={"deployments": ["other"]}))
    with pytest.raises(SpecError, match="no DriftPolicy selects digits"):
        await retrain(at.session, KEY, None)
    assert at.shop.cluster.find(RETRAIN_JOBS) == []
