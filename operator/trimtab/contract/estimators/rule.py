"""Whose `predict` is not the class of the largest probability: serving and training must agree."""

from __future__ import annotations

from typing import Any, Final

_OWN_RULE: Final = frozenset(
    {"SVC", "NuSVC", "FixedThresholdClassifier", "TunedThresholdClassifierCV", "RidgeClassifier"}
)


def has_own_rule(estimator: Any) -> bool:
    """Whether `predict` of an estimator, or of a pipeline's last step, says the class."""
    steps = getattr(estimator, "steps", None)
    return has_own_rule(steps[-1][1]) if steps else type(estimator).__name__ in _OWN_RULE
