"""The binary tensor data extension: tensors behind the JSON of a body instead of in it.

Little-endian, row-major, no padding; BOOL is one byte of 0 or 1, an element of BYTES its length in
4 bytes and then itself. Source: Triton Inference Server, `extension_binary_data.md`.
"""

from __future__ import annotations

from math import prod
from struct import Struct
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trimtab.contract.artifact import Tensor
from trimtab.serving.errors import RequestInvalid
from trimtab.serving.inference.elements import Column, fitting_floats, fitting_times, fitting_whole

EXTENSION: Final = "binary_tensor_data"
HEADER: Final = b"inference-header-content-length"

_NUMBERS: Final[dict[str, np.dtype[Any]]] = {
    "INT8": np.dtype("i1"),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "UINT8": np.dtype("u1"),
    "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"),
    "UINT64": np.dtype("<u8"),
    "FP16": np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
}
_TRUTH: Final[np.dtype[Any]] = np.dtype("u1")
_LENGTH: Final = Struct("<I")


class Tail:
    """What follows the JSON of a body, handed out to the inputs in their order."""

    def __init__(self, body: bytes, json_bytes: int) -> None:
        self._rest = memoryview(body)[json_bytes:]

    def take(self, place: str, size: int) -> memoryview:
        """Return the next `size` bytes; raise RequestInvalid when there are fewer."""
        if size > len(self._rest):
            raise RequestInvalid(
                f"{place}.parameters.binary_data_size: {size} bytes, {len(self._rest)} are left"
            )
        taken, self._rest = self._rest[:size], self._rest[size:]
        return taken

    def finish(self) -> None:
        """Raise RequestInvalid when bytes are left that no input named."""
        if self._rest:
            raise RequestInvalid(
                f"the body: {len(self._rest)} bytes after the last input's binary data"
            )


def binary_size(place: str, item: dict[str, Any]) -> int | None:
    """Return the bytes that an input says it has in the tail; nothing for one in JSON."""
    parameters = item.get("parameters")
    if not parameters or "binary_data_size" not in parameters:
        return None
    size = parameters["binary_data_size"]
    if type(size) is not int or size < 0:
        raise RequestInvalid(f"{place}.parameters.binary_data_size: a whole number is wanted")
    if "data" in item:
        raise RequestInvalid(f"{place}.data: is given beside binary_data_size")
    return size


def read_binary(
    place: str, tensor: Tensor, sent: str, rows: int, data: memoryview, *, said_at: str = ""
) -> Column:
    """Return the elements of one tensor as `read_elements` does for the same values in JSON.

    said_at: the one place that says both size and data, where it is not `place`.
    """
    count = rows * prod(tensor.shape)
    size_at = said_at or f"{place}.parameters.binary_data_size"
    data_at = said_at or f"{place}.data"
    if sent == "BYTES":
        texts = _texts(size_at, data_at, data, count)
        return texts if tensor.unit is None else fitting_times(data_at, tensor, texts)
    kind = _TRUTH if sent == "BOOL" else _NUMBERS[sent]
    if len(data) != count * kind.itemsize:
        raise RequestInvalid(
            f"{size_at}: {len(data)} bytes, {count} elements of {sent} are {count * kind.itemsize}"
        )
    values = np.frombuffer(data, dtype=kind)
    if sent == "BOOL":
        return _truths(data_at, values)
    if kind.kind == "f":
        # A copy: the body's bytes are not aligned, and not ours to keep.
        with np.errstate(invalid="ignore"):  # a signalling NaN is a NaN like others
            numbers = values.astype(np.float64)
        return fitting_floats(data_at, tensor, sent, numbers)
    return fitting_whole(data_at, tensor, values)


def _truths(data_at: str, values: NDArray[np.uint8]) -> NDArray[np.float64]:
    bad = values > 1
    if bad.any():
        raise RequestInvalid(f"{data_at}[{int(bad.argmax())}]: a byte of 0 or 1 is wanted")
    return values.astype(np.float64)


def _texts(size_at: str, data_at: str, data: memoryview, count: int) -> NDArray[np.object_]:
    if count * _LENGTH.size > len(data):
        raise RequestInvalid(f"{size_at}: {len(data)} bytes cannot hold {count} lengths")
    texts = np.empty(count, dtype=object)
    at = 0
    for index in range(count):
        start = at + _LENGTH.size
        end = start + _LENGTH.unpack_from(data, at)[0] if start <= len(data) else start
        if end > len(data):
            raise RequestInvalid(f"{size_at}: {len(data)} bytes end within element {index}")
        try:
            texts[index] = str(data[start:end], "utf-8")
        except UnicodeDecodeError as error:
            raise RequestInvalid(f"{data_at}[{index}]: is not UTF-8") from error
        at = end
    if at < len(data):
        raise RequestInvalid(f"{size_at}: {len(data)} bytes, {count} elements are {at}")
    return texts


def written(datatype: str, data: Any) -> bytes:
    """Return the elements of an output, an array or (BYTES) a list of strings, as bytes."""
    if datatype != "BYTES":
        kind = _TRUTH if datatype == "BOOL" else _NUMBERS[datatype]
        return np.ascontiguousarray(data, dtype=kind).tobytes()
    encoded = [text.encode() for text in data]
    return b"".join(part for one in encoded for part in (_LENGTH.pack(len(one)), one))


def raw_content(tensors: list[Tensor], size: int) -> dict[str, Any]:
    """Return the request that a body of `size` bytes without any JSON stands for.

    The model has one input of fixed element size; the rows follow from the bytes.
    """
    tensor = tensors[0]
    if len(tensors) > 1 or tensor.datatype == "BYTES":
        raise RequestInvalid(f"{HEADER.decode()}: 0, but the inputs have to be described")
    kind = _TRUTH if tensor.datatype == "BOOL" else _NUMBERS[tensor.datatype]
    row = kind.itemsize * prod(tensor.shape)
    if size % row:
        raise RequestInvalid(f"the body: {size} bytes, a row of {tensor.name!r} is {row}")
    described = {
        "name": tensor.name,
        "datatype": tensor.datatype,
        "shape": [size // row, *tensor.shape],
        "parameters": {"binary_data_size": size},
    }
    return {"inputs": [described], "parameters": {"binary_data_output": True}}
