"""With which releases a version was made, and which are here."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError
from typing import Final

from trimtab.contract.releases import version_of

_NOT_ASKED: Final = frozenset({"python", "skops"})
"""Packages whose release says nothing of answers."""


def other_releases(frameworks: dict[str, str]) -> list[str]:
    """Return `scikit-learn 1.5.2 (here 1.9.1)` for each package of another release than here."""
    found = []
    for name, made_with in frameworks.items():
        if name in _NOT_ASKED:
            continue
        try:
            here = version_of(name)
        except PackageNotFoundError:
            continue  # the loader says what is missing
        if here != made_with:
            found.append(f"{name} {made_with} (here {here})")
    return found
