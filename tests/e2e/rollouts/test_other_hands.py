"""Hands add to the children what we never wrote, while no operator is there to see it."""

import pytest
from tests.e2e.kit.api import Json, until
from tests.e2e.kit.operator_process import OperatorProcess
from tests.e2e.rollouts.conftest import MakeShop

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(240)]


def test_what_was_added_while_nobody_watched_is_taken_out(
    release: OperatorProcess, make_shop: MakeShop
):
    shop = make_shop("hands")
    shop.serve()
    workload = shop.status["stable"]["workload"]

    def specs() -> tuple[Json, Json]:
        service, pods = shop.api.get("Service", shop.name), shop.api.get("Workload", workload)
        assert service is not None
        assert pods is not None
        return service["spec"], pods["spec"]

    before = specs()
    pod: Json = {"nodeSelector": {"disk": "ssd"}, "serviceAccountName": "default"}
    # `paused`: nobody makes pods meanwhile, which would take ports of the node.
    added: Json = {"paused": True, "template": {"spec": pod | {"hostNetwork": True}}}
    with release.away():
        shop.api.patch("Service", shop.name, {"spec": {"selector": {"app": "other"}}})
        shop.api.patch("Workload", workload, {"spec": added})
        assert specs()[1]["template"]["spec"]["hostNetwork"] is True
    until("what was added to be gone", lambda: specs() == before, 60)
    shop.wait_for("the Service answers", shop.answers)
    assert shop.serves("good")
    told = [e["note"] for e in shop.api.events(shop.name) if "taken out" in e["note"]]
    assert told
