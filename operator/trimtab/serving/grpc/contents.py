"""The elements of a tensor in a message: typed ones, or raw bytes as in the binary extension."""

from __future__ import annotations

from math import prod
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trimtab.contract.artifact import Tensor
from trimtab.serving.errors import RequestInvalid
from trimtab.serving.inference.binary import read_binary
from trimtab.serving.inference.elements import Column, fitting_floats, fitting_whole

FIELD_OF: Final = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
"""Of `InferTensorContents`; other datatypes are sent raw."""

RAW: Final = "raw_input_contents"


def read_column(place: str, tensor: Tensor, rows: int, item: dict[str, Any], _: Any) -> Column:
    """Return the elements of one input, each checked as those of a JSON request are.

    `item` has `raw`, the bytes with their place, or `contents`, the message.
    """
    sent = item["datatype"]
    if "raw" in item:
        where, content = item["raw"]
        return read_binary(place, tensor, sent, rows, memoryview(content), said_at=where)
    return _typed(f"{place}.contents", tensor, sent, rows * prod(tensor.shape), item["contents"])


def _typed(place: str, tensor: Tensor, sent: str, count: int, contents: Any) -> Column:
    field = FIELD_OF.get(sent)
    if field is None:
        raise RequestInvalid(f"{place}: {sent} is sent in {RAW} only")
    for other, _ in contents.ListFields():
        if other.name != field:
            raise RequestInvalid(f"{place}.{other.name}: {sent} is sent in {field}")
    place = f"{place}.{field}"
    values = getattr(contents, field)
    if len(values) != count:
        raise RequestInvalid(f"{place}: {len(values)} elements, the shape has {count}")
    if sent == "BYTES":
        return _texts(place, values)
    numbers = np.array(values)
    if sent == "BOOL":
        return numbers.astype(np.float64)
    if numbers.dtype.kind == "f":
        return fitting_floats(place, tensor, sent, numbers.astype(np.float64))
    return fitting_whole(place, tensor, _narrowed(place, sent, numbers))


def _narrowed(place: str, sent: str, numbers: NDArray[Any]) -> NDArray[Any]:
    """Small whole numbers travel in fields of 32 bits."""
    limits = np.iinfo(sent.lower())
    bad = (numbers < limits.min) | (numbers > limits.max)
    if bad.any():
        index = int(bad.argmax())
        raise RequestInvalid(f"{place}[{index}]: {numbers[index]} does not fit into {sent}")
    return numbers


def _texts(place: str, values: Any) -> NDArray[np.object_]:
    texts = np.empty(len(values), dtype=object)
    for index, value in enumerate(values):
        try:
            texts[index] = value.decode()
        except UnicodeDecodeError as error:
            raise RequestInvalid(f"{place}[{index}]: is not UTF-8") from error
    return texts


def write_contents(contents: Any, datatype: str, data: Any) -> None:
    """Set the elements of an output: an array or (BYTES) a list of strings."""
    values = [text.encode() for text in data] if datatype == "BYTES" else data.tolist()
    getattr(contents, FIELD_OF[datatype]).extend(values)
