"""Skops files changed in one place: what an attacker who knows the format could write."""

from __future__ import annotations

import copy
import io
import json
import zipfile
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

NUMBERS: Final = (0, -1, 1, 2, 7, 255, 10**6, 2**31 - 1, -(2**31), 2**62, -(2**62))
PLAIN: Final = (*NUMBERS, 0.5, float("nan"), float("inf"), None, True, False, "x", "", "linear")
_SCHEMA: Final = "schema.json"


class Forger:
    """One file, and the places in it that can be changed."""

    def __init__(self, file: bytes) -> None:
        with zipfile.ZipFile(io.BytesIO(file)) as packed:
            self._entries = {name: packed.read(name) for name in packed.namelist()}
        self._schema = json.loads(self._entries[_SCHEMA])
        self.arrays = sorted(name for name in self._entries if name.endswith(".npy"))

    def with_array(self, which: int, how: int, where: int, value: int) -> bytes:
        """Return the file with one of its arrays changed."""
        name = self.arrays[which % len(self.arrays)]
        array = np.load(io.BytesIO(self._entries[name]), allow_pickle=False)
        changed = _ARRAYS[how % len(_ARRAYS)](array, where, value)
        buffer = io.BytesIO()
        np.save(buffer, changed, allow_pickle=False)
        return self._packed({name: buffer.getvalue()})

    def with_node(self, how: int, where: int, value: int) -> bytes:
        """Return the file with a part of its description changed."""
        schema = copy.deepcopy(self._schema)
        found = list(_nodes(schema))
        node = found[where % len(found)]
        if how % 4 == 0 and node["__loader__"] == "JsonNode":
            node["content"] = json.dumps(PLAIN[value % len(PLAIN)])
        elif how % 4 == 1 and isinstance(node.get("content"), list) and node["content"]:
            del node["content"][value % len(node["content"])]
        elif how % 4 == 2 and isinstance(node.get("content"), dict) and node["content"]:
            del node["content"][sorted(node["content"])[value % len(node["content"])]]
        else:
            other = copy.deepcopy(found[value % len(found)])
            node.clear()
            node.update(other)
        return self._packed({_SCHEMA: json.dumps(schema).encode()})

    def _packed(self, changed: dict[str, bytes]) -> bytes:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as packed:
            for name, content in (self._entries | changed).items():
                packed.writestr(name, content)
        return buffer.getvalue()


def _nodes(part: Any) -> Iterator[dict[str, Any]]:
    if isinstance(part, dict):
        if "__loader__" in part:
            yield part
        for child in part.values():
            yield from _nodes(child)
    elif isinstance(part, list):
        for child in part:
            yield from _nodes(child)


def _one(array: NDArray[Any], where: int, value: int) -> NDArray[Any]:
    changed = array.copy()
    if changed.size:
        _fill(changed.reshape(-1)[where % changed.size : where % changed.size + 1], value)
    return changed


def _all(array: NDArray[Any], _where: int, value: int) -> NDArray[Any]:
    changed = array.copy()
    _fill(changed.reshape(-1), value)
    return changed


def _fill(target: NDArray[Any], value: int) -> None:
    if target.dtype.names:
        _fill(target[target.dtype.names[value % len(target.dtype.names)]], value // 7)
    elif target.dtype.kind in "iu":
        info = np.iinfo(target.dtype)
        target[...] = min(max(NUMBERS[value % len(NUMBERS)], info.min), info.max)
    elif target.dtype.kind == "f":
        target[...] = (*NUMBERS, np.nan, np.inf)[value % (len(NUMBERS) + 2)]
    elif target.dtype.kind == "b":
        target[...] = bool(value % 2)


def _shorter(array: NDArray[Any], _where: int, value: int) -> NDArray[Any]:
    return array[: (0, 1, len(array) // 2, len(array) - 1)[value % 4]] if array.ndim else array


def _narrower(array: NDArray[Any], _where: int, value: int) -> NDArray[Any]:
    if array.ndim < 2:
        return array
    return np.ascontiguousarray(array[:, : (0, 1, array.shape[1] - 1)[value % 3]])


def _longer(array: NDArray[Any], _where: int, _value: int) -> NDArray[Any]:
    return np.concatenate([array, array, array]) if array.ndim else array


def _wider(array: NDArray[Any], _where: int, _value: int) -> NDArray[Any]:
    return np.concatenate([array, array], axis=1) if array.ndim > 1 else array


def _other_shape(array: NDArray[Any], _where: int, value: int) -> NDArray[Any]:
    shapes = ((-1,), (-1, 1), (1, -1), array.T.shape)
    return array.reshape(shapes[value % 4]) if array.size else array


def _other_type(array: NDArray[Any], _where: int, value: int) -> NDArray[Any]:
    if array.dtype.names or array.dtype.kind not in "iufb":
        return array
    with np.errstate(all="ignore"):
        return array.astype(("f8", "f4", "i8", "i4", "u1", "u4", "?")[value % 7])


_ARRAYS: Final = (
    *(_one, _one, _all, _shorter, _narrower),
    *(_longer, _wider, _other_shape, _other_type),
)
