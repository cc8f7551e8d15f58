"""What the API server makes of an object that no operator has looked at."""

from __future__ import annotations

import pytest
from tests.e2e.api.server import Json, Server
from tests.gitops.judges import ask, find_verdicts, health_of
from tests.unit.api.objects import DEPLOYMENT, DRIFT_POLICY, MODEL_VERSION, RETRAIN_JOB

from trimtab.api.deployment import DeploymentStatus
from trimtab.cli.wait import outcome_of

pytestmark = pytest.mark.cluster
ALL = [MODEL_VERSION, DEPLOYMENT, DRIFT_POLICY, RETRAIN_JOB]
CONDITION = {
    "type": "Stalled",
    "status": "False",
    "reason": "AsWanted",
    "lastTransitionTime": "2026-01-01T00:00:00Z",
}


@pytest.mark.parametrize("obj", ALL, ids=[obj["kind"] for obj in ALL])
def test_it_is_not_done_for_anybody(server: Server, obj: Json) -> None:
    """Also one that is applied with a status, as a backup has it."""
    kind, name = obj["kind"], obj["metadata"]["name"]
    path = server.path(kind, name)
    server.delete(path, missing_ok=True)
    backup = {"status": {"observedGeneration": 1, "conditions": [CONDITION]}}
    server.create(server.path(kind), server.ours(obj | backup))
    try:
        live = server.read(path)
        assert live["status"] == {"observedGeneration": 0}
        assert DeploymentStatus.model_validate(live["status"]) == DeploymentStatus(
            observed_generation=0
        )
        assert health_of(live)[0] == "Progressing"
        assert outcome_of(live).code is None
        program = find_verdicts()
        if program is None:
            pytest.skip("nothing to ask: `python -m tests.cluster verdicts` builds it")
        (verdict,) = ask(program, [live])
        assert (verdict.kstatus, verdict.flux, verdict.flux_alone) == ("InProgress",) * 3
        told = {"status": {"conditions": [CONDITION], "observedGeneration": 1}}
        assert server.merge(f"{path}/status", told)["status"] == told["status"]
    finally:
        server.delete(path)
