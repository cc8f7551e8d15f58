"""The model that the runtime's own tests serve."""

from tests.unit.serving.conftest import binary, settings

__all__ = ["binary", "settings"]
