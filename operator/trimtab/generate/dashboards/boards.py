"""All dashboards, by the name of their file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from trimtab.generate.dashboards import fleet, operator, quality, retraining, rollout, serving

DASHBOARDS: Final[Mapping[str, Callable[[], str]]] = {
    "fleet": fleet.text,
    "rollout": rollout.text,
    "quality": quality.text,
    "retraining": retraining.text,
    "serving": serving.text,
    "operator": operator.text,
}
