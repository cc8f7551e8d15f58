"""Without its operator a Deployment goes on serving; a new one takes it up as it is."""

import pytest
from tests.e2e.conftest import NAMESPACES
from tests.e2e.kit.api import until
from tests.e2e.kit.operator_process import OperatorProcess
from tests.e2e.kit.release import install, uninstall

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]


def test_pods_serve_on_when_the_release_is_uninstalled(make_shop, release: OperatorProcess):
    shop = make_shop("orphaned")
    shop.serve("good")
    before, history = shop.pod_uids("good"), shop.outcomes()
    with shop.load(20) as load:
        try:
            uninstall()
            until("the operator is gone", lambda: not release.pod(), 60)
            seen = len(load.answers)
            shop.wait_for("users go on", lambda: len(load.answers) > seen + 40)
            assert shop.pod_uids("good") == before
        finally:
            install(NAMESPACES)
            release.wait_until_working()
        assert shop.serves("good")
        assert shop.pod_uids("good") == before
        assert shop.outcomes() == history
    assert load.lost() == []
    assert {answer.status for answer in load.answers} == {200}
