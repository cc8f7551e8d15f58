"""What of a skops file has to be checked before any object is made from it.

The compiled code that makes a tree takes sizes and arrays as they are: out of a file they could
take the process down while it is loaded.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np

from trimtab.contract.estimators.refused import UnsafeModel

_LOADER: Final = "TreeNode"
_MOST_OUTPUTS: Final = 10**6


def check_written(schema: Any) -> None:
    """Raise UnsafeModel where parts name each other, so that a short file is a long model.

    skops writes what is shared in full at each place, but reads a part that only names another
    one: sixty lists, each with the one before twice, would keep it busy for ever.
    """
    written = list(_nodes(schema))
    if _Sizes(written).of(schema) > 2 * len(written):
        raise UnsafeModel("parts of the model name others, over and over")


def check_loaders(schema: Any, loaders: Mapping[str, str]) -> None:
    """Raise UnsafeModel unless each type is made by the loader that skops writes for it.

    loaders: by the full name of a type or function. Once a name is trusted, any other loader would
    take it, too: and call it with arguments of the file, or set a state that nobody checks.
    """
    for part in _nodes(schema):
        name = f"{part.get('__module__')}.{part.get('__class__')}"
        loader = part.get("__loader__")
        if name in loaders and loader not in (loaders[name], "CachedNode"):
            raise UnsafeModel(f"a {name[:60]} is to be made by {str(loader)[:40]}")


def files_of(schema: Any) -> list[dict[str, Any]]:
    """Return the parts that are read from a file of their own; what is shared comes once."""
    found = {
        (part.get("__id__") or id(part), part["file"]): part
        for part in _nodes(schema)
        if isinstance(part.get("file"), str) and "__loader__" in part
    }
    return list(found.values())


class _Sizes:
    """How many parts there are below one, if each is followed to what it names."""

    def __init__(self, written: list[dict[str, Any]]) -> None:
        self._meant: dict[Any, list[dict[str, Any]]] = {}
        for part in written:
            if part.get("__id__"):
                self._meant.setdefault(part["__id__"], []).append(part)
        self._known: dict[Any, int] = {}

    def of(self, part: Any) -> int:
        if isinstance(part, list):
            return sum(map(self.of, part))
        if not isinstance(part, dict):
            return 0
        name = part.get("__id__")
        if not name:
            return self._below(part)
        if name not in self._known:
            self._known[name] = -1
            self._known[name] = max(map(self._below, self._meant[name]))
        if self._known[name] < 0:
            raise UnsafeModel("a part of the model is within itself")
        return self._known[name]

    def _below(self, part: dict[str, Any]) -> int:
        return 1 + sum(map(self.of, part.values()))


def _nodes(schema: Any) -> Iterator[dict[str, Any]]:
    waiting: list[Any] = [schema]
    while waiting:
        part = waiting.pop()
        if isinstance(part, list):
            waiting += part
        elif isinstance(part, dict):
            waiting += part.values()
            yield part


def guard_trees() -> None:
    """Let skops check the arguments of each tree before it makes one; once is enough."""
    audit = importlib.import_module("skops.io._audit")
    found = next(node for (name, _), node in audit.NODE_TYPE_MAPPING.items() if name == _LOADER)
    if getattr(found, "checks_arguments", False):
        return

    class CheckedTreeNode(found):  # type: ignore[valid-type, misc]
        checks_arguments = True

        def _construct(self) -> Any:
            check_arguments(self.args.construct())  # each is made once, and kept
            check_state(self.attrs.construct(), self.args.construct())
            return super()._construct()

    for key in [key for key in audit.NODE_TYPE_MAPPING if key[0] == _LOADER]:
        audit.NODE_TYPE_MAPPING[key] = CheckedTreeNode


def check_state(state: Any, arguments: Any) -> None:
    """Raise UnsafeModel unless nodes and values are arrays that fit each other and `arguments`."""
    _, classes, outputs = arguments
    if type(state) is not dict:
        raise UnsafeModel("a tree has no state")
    nodes, values = state.get("nodes"), state.get("values")
    if type(nodes) is not np.ndarray or nodes.ndim != 1 or not len(nodes) or not nodes.dtype.names:
        raise UnsafeModel("a tree has no nodes")
    shape = (len(nodes), outputs, int(classes.max()))
    if type(values) is not np.ndarray or values.shape != shape or values.dtype.kind != "f":
        raise UnsafeModel("a tree has not one value for each of its nodes")
    if any(type(state.get(name)) is not int for name in ("node_count", "max_depth")):
        raise UnsafeModel("a tree has no number of nodes")
    if not 0 < state["node_count"] <= len(nodes):
        raise UnsafeModel(f"a tree claims {state['node_count']} nodes in space for {len(nodes)}")


def check_arguments(arguments: Any) -> None:
    """Raise UnsafeModel unless they are features, numbers of classes, and as many outputs."""
    if not isinstance(arguments, tuple) or len(arguments) != 3:
        raise UnsafeModel("a tree is to be made of something else than its three sizes")
    features, classes, outputs = arguments
    if type(features) is not int or type(outputs) is not int or not 1 <= outputs <= _MOST_OUTPUTS:
        raise UnsafeModel(f"a tree is to have {str(outputs)[:20]} outputs")
    if (
        type(classes) is not np.ndarray
        or classes.dtype.kind not in "iu"
        or classes.shape != (outputs,)
        or int(classes.min()) < 1
    ):
        raise UnsafeModel(f"a tree has not the number of classes of {outputs} outputs")
