"""SIGKILL at writes of the operator to a real API server, and watches that come back with 410.

A short stretch of level 2 of `make faults`.
"""

from collections.abc import Iterator

import pytest
from tests.e2e.kit.api import Api, until
from tests.e2e.kit.operator_process import OperatorProcess
from tests.faults.real.process import Operator
from tests.faults.real.proxy import Kill
from tests.faults.real.story import GOOD, play_all, published

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(400)]

KILLS = {"early": (2, True), "middle": (9, False), "late": (17, True)}
"""Number of the write, and whether it has its effect."""


@pytest.fixture
def names(api: Api) -> Iterator[list[str]]:
    """Return names of Deployments, which go when the test ends."""
    found = ["level2-calm", *(f"level2-{name}" for name in KILLS), "level2-watch"]
    yield found
    for name in found:
        api.delete("Deployment", name)


def test_killed_at_a_write_and_watched_anew_the_end_is_the_same(
    api: Api, release: OperatorProcess, names: list[str]
):
    shops = published(api, names)
    kills = [Kill(f"level2-{name}", *at) for name, at in KILLS.items()]
    with release.away(), Operator() as operator:
        calm, *others = play_all(operator, shops[:-1], kills)
        assert calm.ending["history"][0][:2] == (GOOD, "Promoted")
        assert len(operator.proxy.done) == len(KILLS)
        assert operator.starts == 1 + len(KILLS)
        for played in others:
            assert played.ending == calm.ending, f"{played.name}: {operator.proxy.done}"
        assert [played.lost for played in (calm, *others)] == [0] * (1 + len(KILLS))

        shop = shops[-1]
        shop.want(GOOD)
        shop.wait_for("it serves", lambda: shop.serves(GOOD), 120)
        operator.proxy.cut_watches()
        api.delete("Service", shop.name)
        until("no Service", lambda: api.get("Service", shop.name) is None, 30)
        operator.proxy.give_back_watches()
        # The list that repairs the view by the clock comes after ten minutes.
        shop.wait_for("the Service is back", lambda: api.get("Service", shop.name), 45)
