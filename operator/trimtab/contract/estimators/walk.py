"""Every object within a model that came out of a file, each with the estimators around it."""

from __future__ import annotations

import inspect
from collections import defaultdict
from collections.abc import Iterator
from functools import partial
from typing import Any, Final

import numpy as np

from trimtab.contract.estimators.refused import UnsafeModel

Owners = tuple[Any, ...]
"""The estimators around a part, the nearest last."""

_DEEPEST: Final = 150
_NOTHING: Final = object()
_PLAIN: Final = (str, bytes, int, float, complex, bool, type(None), np.generic)


def parts(model: Any) -> list[tuple[Any, Owners]]:
    """Return every object within `model`, once for each of its owners.

    Looks into attributes, lists, tuples, sets, dicts, object arrays and what a partial function is
    given. Raise UnsafeModel where it
    is nested deeper than 150 levels.
    """
    return list(_parts(model, (), set(), 0))


def name_of(part: Any) -> str:
    """Return the full name of the class of `part`."""
    return f"{type(part).__module__}.{type(part).__qualname__}"


def kinds_of(part: Any) -> set[str]:
    """Return the full names of the class of `part` and of all that it inherits from."""
    return {f"{kind.__module__}.{kind.__qualname__}" for kind in type(part).__mro__}


def check_methods(part: Any) -> None:
    """Raise UnsafeModel where an attribute hides a method, and with it what the method checks.

    The same holds for what a class keeps for itself, such as the names of its kernels.
    """
    for name in _attributes(part):
        hidden = inspect.getattr_static(type(part), name, _NOTHING)
        if hidden is _NOTHING or hasattr(hidden, "__set__"):
            continue
        if hasattr(hidden, "__get__") or str(name).startswith("_"):
            raise UnsafeModel(f"a {type(part).__name__} hides its own method {str(name)[:40]}")


def _parts(
    part: Any, owners: Owners, seen: set[tuple[int, ...]], depth: int
) -> Iterator[tuple[Any, Owners]]:
    if isinstance(part, _PLAIN):
        return
    place = (id(part), *map(id, owners[-2:]))  # what is shared has to suit each of its owners
    if place in seen:
        return
    seen.add(place)
    if depth > _DEEPEST:
        raise UnsafeModel(f"the model is nested deeper than {_DEEPEST} levels")
    yield part, owners
    if hasattr(part, "get_params") or hasattr(part, "fit"):
        owners = (*owners, part)
    for child in _children(part):
        yield from _parts(child, owners, seen, depth + 1)


def _children(part: Any) -> list[Any]:
    attributes = list(_attributes(part).values())
    if isinstance(part, partial):
        return [part.func, part.args, part.keywords, *attributes]
    if isinstance(part, defaultdict):
        attributes.append(part.default_factory)
    if isinstance(part, dict):
        return [*part.keys(), *part.values(), *attributes]
    if isinstance(part, list | tuple | set | frozenset):
        return [*part, *attributes]
    if isinstance(part, np.ndarray):
        return part.ravel().tolist() if part.dtype == object else []
    return attributes


def _attributes(part: Any) -> dict[Any, Any]:
    if isinstance(part, type) or not isinstance(found := getattr(part, "__dict__", None), dict):
        return {}
    return found
