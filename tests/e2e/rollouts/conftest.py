"""A namespace with the program of the faulty server, and Deployments that go when a test ends."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import pytest
from tests.e2e.kit.api import Api
from tests.e2e.kit.operator_process import OperatorProcess
from tests.e2e.kit.shop import Shop, provide_code

NAMESPACE = "e2e-rollouts"


class MakeShop(Protocol):
    """Make a Deployment of that name; it is deleted when the test ends."""

    def __call__(self, name: str, **options: Any) -> Shop: ...


@pytest.fixture(scope="session")
def api(release: OperatorProcess) -> Api:
    """Return the administrator's access to the namespace of these tests."""
    api = Api(NAMESPACE)
    provide_code(api)
    return api


@pytest.fixture
def make_shop(api: Api) -> Iterator[MakeShop]:
    """Return what makes Deployments."""
    made: list[Shop] = []

    def make(name: str, **options: Any) -> Shop:
        made.append(Shop(api, name, **options))
        return made[-1]

    yield make
    for shop in made:
        shop.delete()
