"""What holds for every ring."""

from collections.abc import Generator

import pytest
from hypothesis import settings
from tests.patience import stretched

# A slow machine is no failure: speed is measured by the benchmarks.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Give a test the time that it needs on a machine as slow as this one is now."""
    marker = item.get_closest_marker("timeout")
    limit = marker.args[0] if marker is not None else item.config.getini("timeout")
    if limit:
        item.add_marker(pytest.mark.timeout(stretched(float(limit))), append=False)
    return (yield)
