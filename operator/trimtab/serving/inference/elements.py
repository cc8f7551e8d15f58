"""The elements of one tensor: from a list to an array, each checked against its datatypes.

A request says which datatype it sends, the signature which one the model takes. A value has to be
one of both: 300 is no INT8, and 1.5 is no INT32 even where the model would take it.
"""

from __future__ import annotations

from itertools import chain
from math import isnan, nan, prod
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trimtab.contract.artifact import Tensor
from trimtab.contract.rows import time_number
from trimtab.serving.errors import RequestInvalid

_WHOLE: Final[dict[str, type[np.integer[Any]]]] = {
    "INT8": np.int8,
    "INT16": np.int16,
    "INT32": np.int32,
    "INT64": np.int64,
    "UINT8": np.uint8,
    "UINT16": np.uint16,
    "UINT32": np.uint32,
    "UINT64": np.uint64,
}
_FLOATS: Final[dict[str, type[np.floating[Any]]]] = {
    "FP16": np.float16,
    "FP32": np.float32,
    "FP64": np.float64,
}
NO_GAPS: Final = "is not allowed here: the rows that the model was published with had no gaps"
_LARGEST: Final = {name: float(np.finfo(kind).max) for name, kind in _FLOATS.items()}
_TYPES: Final[dict[str, set[type]]] = {
    "BOOL": {bool},
    "BYTES": {str},
    **{name: {float, int} for name in _FLOATS},
    **{name: {int} for name in _WHOLE},
}
_KINDS: Final = {
    type(None): "null",
    bool: "true or false",
    int: "a number",
    float: "a number",
    str: "a string",
    list: "a list",
    dict: "an object",
}


class ElementInvalid(RequestInvalid):
    """One element of a tensor does not fit; `index`: its number, row-major.

    is_part: it is a list in a nested tensor, and `index` its number among those of its depth.
    """

    def __init__(self, place: str, index: int, what: str, *, is_part: bool = False) -> None:
        super().__init__(f"{place}[{index}]: {what}")
        self.index = index
        self.what = what
        self.is_part = is_part


Column = NDArray[np.float64] | NDArray[np.int64] | NDArray[np.object_]


def why_no_name(name: Any, what: str) -> str:
    """Return what is wrong with a name that nothing has; what: what it should be of."""
    return "is missing" if name in (None, "") else f"{name!r}"[:80] + f" is not {what}"


def may_be_sent(sent: str, wanted: str) -> bool:
    """Whether values of one datatype can be those of another; each value is checked, too."""
    if wanted in _FLOATS:
        return sent in _FLOATS or sent in _WHOLE
    return wanted in _WHOLE and sent in _WHOLE


def read_elements(place: str, tensor: Tensor, sent: str, rows: int, data: Any) -> Column:
    """Return the elements of one tensor sent as datatype `sent`, row-major.

    int64 for a tensor of whole numbers (float64 with NaN where values are missing), float64 for
    other numbers and truths, objects for BYTES.
    """
    flat = _flattened(place, data, [rows, *tensor.shape])
    kinds = set(map(type, flat))
    missing: list[int] = []
    if not kinds <= _TYPES[sent]:
        missing = _check_types(place, tensor, sent, flat, kinds)
    if sent == "BYTES":
        texts = np.empty(len(flat), dtype=object)
        texts[:] = flat
        return texts if tensor.unit is None else fitting_times(place, tensor, texts)
    if sent in _WHOLE:
        return _whole_numbers(place, tensor, sent, flat, missing)
    try:
        numbers = np.array(flat, dtype=np.float64)
    except OverflowError as error:
        raise RequestInvalid(f"{place}: holds a number that is too large") from error
    return fitting_floats(place, tensor, sent, numbers)


def fitting_floats(
    place: str, tensor: Tensor, sent: str, numbers: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return numbers sent as `sent` as the model takes them; raise for one that does not fit."""
    if not np.isfinite(numbers).all():
        _check_finite(place, tensor, numbers)
    if sent == tensor.datatype == "FP64":
        return numbers
    for datatype in (sent, tensor.datatype):
        if datatype not in ("FP64", "BOOL"):
            _check_range(place, datatype, numbers)
    return _as_model_saw(tensor, numbers)


def fitting_times(place: str, tensor: Tensor, texts: NDArray[np.object_]) -> NDArray[np.float64]:
    """Return times as the model takes them, NaN where missing; raise for what is no time."""
    assert tensor.unit is not None
    numbers = np.full(len(texts), nan)
    for index, text in enumerate(texts.tolist()):
        if text is None:
            continue
        try:
            numbers[index] = time_number(text, tensor.unit)
        except (ValueError, OverflowError) as error:
            what = "a time is wanted, such as 2026-11-30T12:00:00Z (ISO 8601)"
            raise ElementInvalid(place, index, what) from error
    return numbers


def fitting_whole(
    place: str, tensor: Tensor, values: NDArray[np.integer[Any]]
) -> NDArray[np.float64] | NDArray[np.int64]:
    """Return whole numbers as the model takes them; raise for one that does not fit."""
    kind = _WHOLE.get(tensor.datatype)
    if kind is None:
        return _as_model_saw(tensor, values.astype(np.float64))
    limits = np.iinfo(kind)
    bad = (values < limits.min) | (values > limits.max)
    if bad.any():
        index = int(bad.argmax())
        raise ElementInvalid(place, index, f"{values[index]} does not fit into {tensor.datatype}")
    return values.astype(np.int64)


def _whole_numbers(
    place: str, tensor: Tensor, sent: str, flat: list[Any], missing: list[int]
) -> NDArray[np.float64] | NDArray[np.int64]:
    """Return whole numbers, each checked exactly against both datatypes; NaN where missing."""
    for index in missing:
        flat[index] = 0
    for datatype in (sent, tensor.datatype):
        if datatype in _WHOLE:
            try:
                whole = np.array(flat, dtype=_WHOLE[datatype])
            except OverflowError as error:
                index = _first_beyond(flat, datatype)
                what = f"{flat[index]} does not fit into {datatype}"
                raise ElementInvalid(place, index, what) from error
    if tensor.datatype in _WHOLE and not missing:
        return whole.astype(np.int64)
    numbers = _as_model_saw(tensor, whole.astype(np.float64))
    numbers[missing] = np.nan
    return numbers


def _first_beyond(flat: list[int], datatype: str) -> int:
    limits = np.iinfo(_WHOLE[datatype])
    return next(i for i, value in enumerate(flat) if not limits.min <= value <= limits.max)


def _as_model_saw(tensor: Tensor, numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    """Round to the datatype of the signature: bins were cut on such values."""
    kind = _FLOATS.get(tensor.datatype, np.float64)
    return numbers if kind is np.float64 else numbers.astype(kind).astype(np.float64)


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
                what = f"a list of {shape[depth]} is wanted"
                raise ElementInvalid(place, index, what, is_part=True)
        data = list(chain.from_iterable(data))
    return data


def _check_types(
    place: str, tensor: Tensor, sent: str, flat: list[Any], kinds: set[type]
) -> list[int]:
    """Raise for an element of another type; return the places of those that may be missing.

    Missing is null, and the NaN of a Python client in columns of other types, too.
    """
    allowed = _TYPES[sent]
    missing: list[int] = []
    if tensor.missing_allowed:
        for index, value in enumerate(flat):
            if value is None or (type(value) is float and isnan(value)):
                missing.append(index)
                flat[index] = None if sent == "BYTES" else nan
    absent = set(missing)
    for index, value in enumerate(flat):
        if type(value) in allowed or index in absent:
            continue
        if value is None:
            raise ElementInvalid(place, index, f"null {NO_GAPS}")
        if type(value) is float and value.is_integer() and sent in _WHOLE and int in kinds:
            # A number of more than 64 bits is read as a float.
            raise ElementInvalid(place, index, f"{value:g} is no whole number of {sent}")
        what = f"{_words(sent)} is wanted, not {_KINDS[type(value)]}"
        raise ElementInvalid(place, index, what)
    return missing


def _words(datatype: str) -> str:
    if datatype in _WHOLE:
        return f"a whole number ({datatype})"
    return {"BOOL": "true or false", "BYTES": "a string"}.get(datatype, "a number")


def _check_finite(place: str, tensor: Tensor, numbers: NDArray[np.float64]) -> None:
    bad = np.isinf(numbers) if tensor.missing_allowed else ~np.isfinite(numbers)
    if bad.any():
        index = int(bad.argmax())
        is_gap = bool(np.isnan(numbers[index]))
        why = f"NaN {NO_GAPS}" if is_gap else "infinity is not allowed here"
        raise ElementInvalid(place, index, why)


def _check_range(place: str, datatype: str, numbers: NDArray[np.float64]) -> None:
    bad = np.abs(numbers) > _LARGEST[datatype]
    if bad.any():
        raise ElementInvalid(place, int(bad.argmax()), f"does not fit into {datatype}")
