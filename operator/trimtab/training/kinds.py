"""What kind of estimator a model is: by its last step, or by what a search found best."""

from __future__ import annotations

from typing import Any, Final

_ALONE: Final = ("clusterer", "density_estimator", "outlier_detector")


def kind_of(model: Any) -> str | None:
    """Return scikit-learn's own word for it (`classifier`, `clusterer`, ...), if it has one."""
    from sklearn.utils import get_tags

    try:
        found: str | None = get_tags(model).estimator_type
    except (AttributeError, TypeError):  # no estimator of scikit-learn's
        return None
    return found


def learns_alone(model: Any) -> bool:
    """Whether an estimator, or a pipeline's last step, learns without labels."""
    return kind_of(model) in _ALONE


def is_outlier_detector(model: Any) -> bool:
    """Whether its answers are -1 for an outlier, and 1."""
    return kind_of(model) == "outlier_detector"


def last_step(model: Any) -> Any:
    """Return what answers: the last step of a pipeline, or what a search found best."""
    steps = getattr(model, "steps", None)
    if steps:
        return last_step(steps[-1][1])
    best = getattr(model, "best_estimator_", None)
    return model if best is None else last_step(best)
