"""Which release of a package is here, by the name that a manifest calls it."""

from __future__ import annotations

import importlib
from importlib.metadata import PackageNotFoundError, version
from typing import Final

_BY_MODULE: Final = frozenset({"lightgbm", "xgboost"})
"""Packages that come in distributions of several names; the module knows its own release."""


def version_of(package: str) -> str:
    """Return the release; raise PackageNotFoundError where the package is not here."""
    try:
        return version(package)
    except PackageNotFoundError:
        if package not in _BY_MODULE:
            raise
    try:
        return str(importlib.import_module(package).__version__)
    except ImportError as error:
        raise PackageNotFoundError(package) from error
