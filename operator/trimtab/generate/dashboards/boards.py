"""All dashboards, by the name of their file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from trimtab.generate.dashboards import rollout

DASHBOARDS: Final[Mapping[str, Callable[[], str]]] = {
    "rollout": rollout.text,
}
