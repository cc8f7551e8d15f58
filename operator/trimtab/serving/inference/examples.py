"""Requests as a person would write them, with values that the training has seen."""

from __future__ import annotations

from math import prod
from typing import Any, Final

from trimtab.contract.artifact import Baseline, Signature, Tensor
from trimtab.contract.rows import time_text
from trimtab.serving.inference.samples import sample_rows

DIGITS: Final = 6
"""Of a number with a fraction: enough to try, and short enough to read."""


def example_tensors(signature: Signature, baseline: Baseline) -> list[dict[str, Any]]:
    """Return the `inputs` of an infer request of one row: what lies in the middle of each feature.

    Numbers, texts and truths are those of JSON; data is flat.
    """
    values = _values(signature, baseline)
    return [
        {"name": one.name, "datatype": one.datatype, "shape": [1, *one.shape], "data": data}
        for one, data in zip(signature.inputs, values, strict=True)
    ]


def example_instance(signature: Signature, baseline: Baseline) -> Any:
    """Return the same row as one of the `instances` of a KServe v1 request."""
    values = _values(signature, baseline)
    cells = [_nested(data, one.shape) for one, data in zip(signature.inputs, values, strict=True)]
    if len(cells) == 1:
        return cells[0]
    return {one.name: cell for one, cell in zip(signature.inputs, cells, strict=True)}


def _values(signature: Signature, baseline: Baseline) -> list[list[Any]]:
    row = sample_rows(signature, baseline, 1)[0].tolist()
    found, at = [], 0
    for tensor in signature.inputs:
        size = prod(tensor.shape)
        found.append([_plain(tensor, value) for value in row[at : at + size]])
        at += size
    return found


def _plain(tensor: Tensor, value: Any) -> Any:
    if tensor.unit is not None:
        return time_text(value, tensor.unit)
    match tensor.datatype:
        case "BYTES":
            return str(value)
        case "BOOL":
            return bool(value)
        case "INT32" | "INT64":
            return int(value)
    number = float(value)
    return number if number.is_integer() else float(f"{number:.{DIGITS}g}")


def _nested(data: list[Any], shape: list[int]) -> Any:
    if not shape:
        return data[0]
    size = len(data) // shape[0]
    if len(shape) == 1:
        return data
    return [_nested(data[at : at + size], shape[1:]) for at in range(0, len(data), size)]
