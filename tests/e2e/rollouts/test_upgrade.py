"""A new release of the operator restarts no pod that serves."""

import pytest
from tests.e2e.conftest import NAMESPACES
from tests.e2e.kit.operator_process import OperatorProcess
from tests.e2e.kit.release import install

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]


def test_new_default_image_is_for_new_revisions_only(make_shop, release: OperatorProcess):
    shop = make_shop("upgraded")
    shop.serve("good")
    before, operator = shop.pod_uids("good"), release.pod()["metadata"]["uid"]
    status = {k: v for k, v in shop.status.items() if k in ("stable", "history")}
    try:
        with shop.load(20) as load:
            install(NAMESPACES, "images.serving.tag=next")
            release.wait_until_working()
            assert release.pod()["metadata"]["uid"] != operator
            assert {k: v for k, v in shop.status.items() if k in status} == status
            assert shop.pod_uids("good") == before
            shop.try_version("better")
            shop.wait_for_outcome("better Promoted")
        assert load.lost() == []
        assert shop.status["stable"]["image"].endswith(":next")
        assert shop.status["lastGood"]["image"].endswith(":dev")
    finally:
        install(NAMESPACES)
        release.wait_until_working()
    assert shop.serves("better")
