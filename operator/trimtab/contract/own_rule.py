"""Whose `predict` is not the class of the largest probability: serving and training must agree."""

from __future__ import annotations

from typing import Any, Final

_OWN_RULE: Final = frozenset(
    {"SVC", "NuSVC", "FixedThresholdClassifier", "TunedThresholdClassifierCV", "RidgeClassifier"}
)


def has_own_rule(estimator: Any) -> bool:
    """Whether `predict` of an estimator, or of a pipeline's last step, says the class."""
    last = last_step(estimator)
    said = getattr(last, "has_own_rule", None)
    return said if isinstance(said, bool) else type(last).__name__ in _OWN_RULE


def last_step(estimator: Any) -> Any:
    """Return the last step of a pipeline, or the estimator itself."""
    steps = getattr(estimator, "steps", None)
    return last_step(steps[-1][1]) if steps else estimator
