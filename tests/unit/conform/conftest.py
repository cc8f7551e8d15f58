"""The models that the runtime's own tests serve."""

from tests.unit.serving.conftest import binary, regression, settings, table

__all__ = ["binary", "regression", "settings", "table"]
