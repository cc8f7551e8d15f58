"""The types that a stored model may hold: public estimators, and others one by one with a check."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterable
from typing import Any

from trimtab.contract.estimators.boosted.estimators import TYPES as BOOSTED_TYPES
from trimtab.contract.estimators.trees import TREE_TYPES, check_trees


def untrusted(names: Iterable[str]) -> list[str]:
    """Return those of the full names of types, unknown to skops, that are not loaded here either.

    Whoever loads the others calls `check` before the first prediction.
    """
    return [
        name
        for name in names
        if name not in TREE_TYPES | BOOSTED_TYPES and not _is_public_estimator(name)
    ]


def check(model: Any) -> None:
    """Raise UnsafeModel unless what was trusted by name is safe to run."""
    check_trees(model)


def _is_public_estimator(name: str) -> bool:
    """Whether `name` is an estimator that scikit-learn offers under a public module."""
    module, _, attribute = name.rpartition(".")
    public = ".".join(_until_private(module.split(".")))
    if public.partition(".")[0] != "sklearn" or attribute.startswith("_"):
        return False
    try:
        offered = getattr(importlib.import_module(public), attribute, None)
    except ImportError:
        return False
    base = importlib.import_module("sklearn.base").BaseEstimator
    return (
        inspect.isclass(offered)
        and issubclass(offered, base)
        and not inspect.isabstract(offered)
        and offered.__module__ == module
    )


def _until_private(parts: list[str]) -> list[str]:
    for index, part in enumerate(parts):
        if part.startswith("_"):
            return parts[:index]
    return parts
