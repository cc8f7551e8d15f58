"""From JSON tensors to the matrix a model takes; every refusal names the field at fault."""

from __future__ import annotations

import json
from itertools import chain
from math import isnan, prod
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

from trimtab.contract.artifact import Signature, Tensor
from trimtab.serving.errors import RequestInvalid
from trimtab.serving.model import Matrix

_INTEGERS: Final = {f"{sign}INT{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64)}
_FLOATS: Final = {"FP16", "FP32", "FP64"}
# What may be sent for what the signature wants: nothing is lost on the way.
_SENT_FOR: Final = {
    "FP32": _FLOATS | _INTEGERS,
    "FP64": _FLOATS | _INTEGERS,
    "INT32": _INTEGERS,
    "INT64": _INTEGERS,
    "BOOL": {"BOOL"},
    "BYTES": {"BYTES"},
}
_TYPES: Final[dict[str, set[type]]] = {
    "FP32": {float, int},
    "FP64": {float, int},
    "INT32": {int},
    "INT64": {int},
    "BOOL": {bool},
    "BYTES": {str},
}
_WORDS: Final = {
    "FP32": "a number",
    "FP64": "a number",
    "INT32": "a whole number of 32 bits",
    "INT64": "a whole number of 64 bits",
    "BOOL": "true or false",
    "BYTES": "a string",
}
_LIMITS: Final = {"INT32": 2**31, "INT64": 2**63, "FP32": float(np.finfo(np.float32).max)}
_KINDS: Final = {
    type(None): "null",
    bool: "true or false",
    int: "a number",
    float: "a number",
    str: "a string",
    list: "a list",
    dict: "an object",
}


def parse_json(body: bytes) -> Any:
    """Return the body's content; NaN and Infinity, which are not JSON, are read as numbers.

    Clients written in Python send them for missing values; validation names the place then.
    """
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        if b"NaN" not in body and b"Infinity" not in body:
            raise RequestInvalid(f"the body is not JSON: {error}") from error
    try:
        content = json.loads(body)
        orjson.dumps(content)  # what is echoed has to be writable
    except (ValueError, RecursionError, orjson.JSONEncodeError) as error:
        raise RequestInvalid(f"the body is not JSON: {error}") from error
    return content


class Inputs:
    """What a signature asks for."""

    def __init__(self, signature: Signature, max_rows: int) -> None:
        self._tensors = {tensor.name: tensor for tensor in signature.inputs}
        self._order = [tensor.name for tensor in signature.inputs]
        self._max_rows = max_rows
        self.is_text = any(tensor.datatype == "BYTES" for tensor in signature.inputs)
        self.width = sum(prod(tensor.shape) for tensor in signature.inputs)

    def read(self, inputs: Any) -> Matrix:
        """Return the rows of `inputs` of an infer request, shape (rows, features)."""
        if type(inputs) is not list or not inputs:
            raise RequestInvalid("inputs: a list of tensors is wanted")
        columns: dict[str, _Column] = {}
        rows = 0
        for index, item in enumerate(inputs):
            place = f"inputs[{index}]"
            tensor = self._named(place, item)
            if tensor.name in columns:
                raise RequestInvalid(f"{place}.name: {tensor.name!r} is given twice")
            count = self._row_count(place, tensor, item)
            if index and count != rows:
                raise RequestInvalid(f"{place}.shape: {count} rows, the inputs before have {rows}")
            rows = count
            if "data" not in item:
                raise RequestInvalid(f"{place}.data: is missing")
            columns[tensor.name] = _column(f"{place}.data", tensor, rows, item["data"])
        return self._joined("inputs", columns, rows)

    def read_instances(self, instances: Any) -> Matrix:
        """Return the rows of `instances` of a KServe v1 request."""
        if type(instances) is not list or not instances:
            raise RequestInvalid("instances: a list of rows is wanted")
        rows = len(instances)
        self._check_rows("instances", rows)
        if len(self._order) == 1 and type(instances[0]) is not dict:
            tensor = self._tensors[self._order[0]]
            columns = {tensor.name: _column("instances", tensor, rows, instances)}
        else:
            columns = {
                name: _column(
                    f"instances[*].{name}",
                    self._tensors[name],
                    rows,
                    [self._cell(place, row, name) for place, row in enumerate(instances)],
                )
                for name in self._order
            }
        return self._joined("instances", columns, rows)

    def _cell(self, index: int, row: Any, name: str) -> Any:
        if type(row) is dict:
            if name not in row:
                raise RequestInvalid(f"instances[{index}].{name}: is missing")
            if len(row) > len(self._order):
                unknown = next(key for key in row if key not in self._tensors)
                raise RequestInvalid(f"instances[{index}].{unknown}: no such input")
            return row[name]
        if type(row) is list and len(row) == len(self._order):
            return row[self._order.index(name)]
        raise RequestInvalid(
            f"instances[{index}]: an object or a list of {len(self._order)} is wanted"
        )

    def _named(self, place: str, item: Any) -> Tensor:
        if type(item) is not dict:
            raise RequestInvalid(f"{place}: an object is wanted")
        name = item.get("name")
        tensor = self._tensors.get(name) if type(name) is str else None
        if tensor is None:
            known = ", ".join(self._order[:20])
            raise RequestInvalid(f"{place}.name: {_shown(name)} is not an input; there is {known}")
        datatype = item.get("datatype")
        if type(datatype) is not str or datatype not in _SENT_FOR[tensor.datatype]:
            raise RequestInvalid(
                f"{place}.datatype: {_shown(datatype)} does not fit, {tensor.datatype} is wanted"
            )
        return tensor

    def _row_count(self, place: str, tensor: Tensor, item: dict[str, Any]) -> int:
        shape = item.get("shape")
        if type(shape) is not list or not shape or any(type(size) is not int for size in shape):
            raise RequestInvalid(f"{place}.shape: a list of whole numbers is wanted")
        rest = shape[1:]
        if rest != tensor.shape and not (rest == [1] and not tensor.shape):
            wanted = ", ".join(["rows", *map(str, tensor.shape)])
            raise RequestInvalid(f"{place}.shape: {shape[:8]} does not fit, [{wanted}] is wanted")
        rows: int = shape[0]
        self._check_rows(f"{place}.shape", rows)
        return rows

    def _check_rows(self, place: str, rows: int) -> None:
        if rows < 1:
            raise RequestInvalid(f"{place}: at least one row is wanted")
        if rows > self._max_rows:
            raise RequestInvalid(f"{place}: {rows} rows, at most {self._max_rows} are taken", 413)

    def _joined(self, place: str, columns: dict[str, _Column], rows: int) -> Matrix:
        if len(columns) < len(self._order):
            missing = next(name for name in self._order if name not in columns)
            raise RequestInvalid(f"{place}: {missing!r} is missing")
        if len(columns) == 1 and not self.is_text:
            return columns[self._order[0]].reshape(rows, -1)
        table: Matrix = np.empty((rows, self.width), np.float64)
        if self.is_text:
            table = np.empty((rows, self.width), np.object_)
        at = 0
        for name in self._order:
            column = columns[name].reshape(rows, -1)
            table[:, at : at + column.shape[1]] = column
            at += column.shape[1]
        return table


_Column = NDArray[np.float64] | NDArray[np.object_]


def _column(place: str, tensor: Tensor, rows: int, data: Any) -> _Column:
    """Return the elements of one tensor, row-major, as float64 or (BYTES) objects."""
    flat = _flattened(place, data, [rows, *tensor.shape])
    kinds = set(map(type, flat))
    if not kinds <= _TYPES[tensor.datatype]:
        _check_types(place, tensor, flat, kinds)
    datatype = tensor.datatype
    if datatype == "BYTES":
        texts = np.empty(len(flat), dtype=object)
        texts[:] = flat
        return texts
    try:
        numbers = np.array(flat, dtype=np.float64)
    except OverflowError as error:
        raise RequestInvalid(f"{place}: holds a number that is too large") from error
    if not np.isfinite(numbers).all():
        _check_finite(place, tensor, numbers)
    limit = _LIMITS.get(datatype)
    if limit is not None:
        numbers = _check_range(place, tensor, numbers, limit)
    return numbers


def _flattened(place: str, data: Any, shape: list[int]) -> list[Any]:
    """Return nested or flat `data` as one list; both are allowed by the protocol."""
    if type(data) is not list:
        raise RequestInvalid(f"{place}: a list is wanted")
    total = prod(shape)
    if data and type(data[0]) is list and len(shape) > 1:
        return _unnested(place, data, shape)
    if len(data) == total:
        return data
    if len(shape) > 1 and place == "instances":
        raise RequestInvalid(f"{place}[0]: a list of {shape[1]} numbers is wanted")
    raise RequestInvalid(f"{place}: {len(data)} elements, the shape says {total}")


def _unnested(place: str, data: list[Any], shape: list[int]) -> list[Any]:
    if len(data) != shape[0]:
        raise RequestInvalid(f"{place}: {len(data)} elements, the shape says {shape[0]}")
    for depth in range(1, len(shape)):
        for index, part in enumerate(data):
            if type(part) is not list or len(part) != shape[depth]:
                raise RequestInvalid(f"{place}[{index}]: a list of {shape[depth]} is wanted")
        data = list(chain.from_iterable(data))
    return data


def _check_types(place: str, tensor: Tensor, flat: list[Any], kinds: set[type]) -> None:
    allowed = _TYPES[tensor.datatype]
    nothing = type(None)
    if tensor.missing_allowed:
        # NaN of a Python client stands for null in columns of other types, too.
        if float in kinds and float not in allowed:
            for index, value in enumerate(flat):
                if type(value) is float and isnan(value):
                    flat[index] = None
            kinds = set(map(type, flat))
        allowed = allowed | {nothing}
        if kinds <= allowed:
            if tensor.datatype != "BYTES":
                flat[:] = [float("nan") if value is None else value for value in flat]
            return
    index, value = next((i, v) for i, v in enumerate(flat) if type(v) not in allowed)
    if value is None:
        raise RequestInvalid(f"{place}[{index}]: null is not allowed here")
    raise RequestInvalid(
        f"{place}[{index}]: {_WORDS[tensor.datatype]} is wanted, not {_KINDS[type(value)]}"
    )


def _check_finite(place: str, tensor: Tensor, numbers: NDArray[np.float64]) -> None:
    bad = np.isinf(numbers) if tensor.missing_allowed else ~np.isfinite(numbers)
    if bad.any():
        index = int(bad.argmax())
        word = "NaN" if np.isnan(numbers[index]) else "infinity"
        raise RequestInvalid(f"{place}[{index}]: {word} is not allowed here")


def _check_range(
    place: str, tensor: Tensor, numbers: NDArray[np.float64], limit: float
) -> NDArray[np.float64]:
    if tensor.datatype == "FP32":
        bad = np.abs(numbers) > limit
    else:
        bad = (numbers < -limit) | (numbers >= limit)
    if bad.any():
        index = int(bad.argmax())
        raise RequestInvalid(f"{place}[{index}]: does not fit into {tensor.datatype}")
    if tensor.datatype == "FP32":
        # Bins were cut on what the model saw: values of 32 bits.
        return numbers.astype(np.float32).astype(np.float64)
    return numbers


def _shown(value: Any) -> str:
    return "nothing" if value is None else repr(value)[:80]
