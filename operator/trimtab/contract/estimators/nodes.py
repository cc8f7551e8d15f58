"""What of a skops file has to be checked before any object is made from it.

The compiled code that makes a tree takes sizes and arrays as they are: out of a file they could
take the process down while it is loaded.
"""

from __future__ import annotations

import importlib
import json
import zipfile
from typing import Any, Final

import numpy as np

from trimtab.contract.estimators.refused import UnsafeModel
from trimtab.contract.estimators.trees import TREE

_LOADER: Final = "TreeNode"
_MOST_OUTPUTS: Final = 10**6


def check_loaders(packed: zipfile.ZipFile) -> None:
    """Raise UnsafeModel where the file has a tree made by other means than `check_arguments`."""
    waiting: list[Any] = [json.loads(packed.read("schema.json"))]
    while waiting:
        part = waiting.pop()
        if isinstance(part, list):
            waiting += part
        elif isinstance(part, dict):
            waiting += part.values()
            name = f"{part.get('__module__')}.{part.get('__class__')}"
            if name == TREE and part.get("__loader__") != _LOADER:
                raise UnsafeModel(f"a tree is to be made by {str(part.get('__loader__'))[:40]}")


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
