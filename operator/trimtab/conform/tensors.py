"""Requests made from a model's metadata, and answers held against it.

Source: github.com/kserve/open-inference-protocol, `protocol/inference_rest.md`.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from math import prod
from typing import Any, Final, TypeAlias

from trimtab.conform.rows import Failed, Skipped

Body: TypeAlias = dict[str, Any]

WHOLE: Final = {
    "INT8": "b", "INT16": "h", "INT32": "i", "INT64": "q",
    "UINT8": "B", "UINT16": "H", "UINT32": "I", "UINT64": "Q",
}  # fmt: skip
FLOATS: Final = {"FP16": "e", "FP32": "f", "FP64": "d"}
DATATYPES: Final = frozenset({*WHOLE, *FLOATS, "BOOL", "BYTES", "BF16"})
MAX_ELEMENTS: Final = 4_000_000
_ONE: Final[dict[str, Any]] = {
    "BOOL": True,
    "BYTES": "a",
    **dict.fromkeys(WHOLE, 1),
    **dict.fromkeys(FLOATS, 0.5),
}


def synthesised(metadata: Mapping[str, Any], rows: int = 1) -> Body:
    """Return a request with the inputs of the metadata, each filled with one plain value.

    The first dimension is rows where it is -1 or there is none; other unknown ones become 1.
    """
    return {"inputs": [_tensor(tensor, rows) for tensor in metadata["inputs"]]}


def _tensor(tensor: Mapping[str, Any], rows: int) -> dict[str, Any]:
    datatype = tensor["datatype"]
    if datatype not in _ONE:
        raise Failed(f"{tensor['name']}: {datatype} cannot be sent as JSON", "give --request FILE")
    first, *rest = tensor["shape"] or [-1]
    shape = [rows if first < 0 else first, *(1 if size < 0 else size for size in rest)]
    if prod(shape) > MAX_ELEMENTS:
        raise Failed(f"{tensor['name']} has {prod(shape)} elements", "give --request FILE")
    return {
        "name": tensor["name"],
        "datatype": datatype,
        "shape": shape,
        "data": [_ONE[datatype]] * prod(shape),
    }


def rows_of(body: Mapping[str, Any]) -> int:
    """Return the rows of a request that `readable` let pass."""
    return max(int(body["inputs"][0]["shape"][0]), 1)


def readable(body: Any) -> str:
    """Return what keeps `body` from being a JSON inference request; empty if nothing does."""
    inputs = body.get("inputs") if isinstance(body, dict) else None
    if not isinstance(inputs, list) or not inputs:
        return "inputs: a list of tensors is wanted"
    for index, tensor in enumerate(inputs):
        place = f"inputs[{index}]"
        if not isinstance(tensor, dict) or not isinstance(tensor.get("data"), list):
            return f"{place}: an object with a list `data` is wanted"
        if not isinstance(tensor.get("name"), str) or not is_datatype(tensor.get("datatype")):
            return f"{place}: name and datatype are wanted"
        if not _is_shape(tensor.get("shape")) or not tensor["shape"]:
            return f"{place}.shape: a list of whole numbers is wanted"
        if tensor["shape"][0] < 1:
            return f"{place}.shape: at least one row is wanted"
    return ""


def repeated(body: Body, times: int, metadata: Mapping[str, Any]) -> Body:
    """Return the request with its rows repeated; raise Skipped where the model takes no more.

    Data is in row-major order, flat or nested, so repeating the list repeats the rows.
    """
    if times == 1:
        return body
    if has_fixed_rows(body, metadata):
        raise Skipped("the metadata fixes the number of rows")
    inputs = []
    for tensor in body["inputs"]:
        shape = [tensor["shape"][0] * times, *tensor["shape"][1:]]
        if prod(shape) > MAX_ELEMENTS:
            raise Skipped(f"{shape[0]} rows have more than {MAX_ELEMENTS} elements")
        inputs.append(tensor | {"shape": shape, "data": tensor["data"] * times})
    return body | {"inputs": inputs}


def has_fixed_rows(body: Body, metadata: Mapping[str, Any]) -> bool:
    """Whether the metadata fix the first dimension of an input of the request."""
    shapes = {tensor["name"]: tensor["shape"] for tensor in metadata.get("inputs", ())}
    wanted = [shapes.get(tensor["name"]) for tensor in body["inputs"]]
    return any(shape and shape[0] >= 0 for shape in wanted)


def described(metadata: Mapping[str, Any], field: str) -> str:
    """Return what is wrong with the tensors `field` of the metadata; empty if nothing."""
    tensors = metadata.get(field)
    if not isinstance(tensors, list) or not tensors:
        return f"{field} is {_kind(tensors)}"
    for index, tensor in enumerate(tensors):
        place = f"{field}[{index}]"
        if not isinstance(tensor, dict) or not isinstance(tensor.get("name"), str):
            return f"{place} has no name"
        if not is_datatype(tensor.get("datatype")):
            return f"{place}.datatype is {str(tensor.get('datatype'))[:40]!r}"
        if not _is_shape(tensor.get("shape")):
            return f"{place}.shape is {str(tensor.get('shape'))[:40]}"
    return ""


def fault_of_outputs(answer: Mapping[str, Any], metadata: Mapping[str, Any], rows: int) -> str:
    """Return what is wrong with the outputs of an answer to `rows` rows; empty if nothing."""
    outputs = answer.get("outputs")
    if not isinstance(outputs, list) or not outputs:
        return f"outputs is {_kind(outputs)}"
    known = {tensor["name"]: tensor for tensor in metadata.get("outputs", ())}
    names = [one.get("name") if isinstance(one, dict) else None for one in outputs]
    if any(not isinstance(name, str) for name in names) or len(set(names)) < len(names):
        return f"outputs have the names {names}"
    for output in outputs:
        fault = _fault_of_output(output, rows) or _strange(output, known)
        if fault:
            return f"{output['name']}: {fault}"
    return ""


def _fault_of_output(output: Mapping[str, Any], rows: int) -> str:
    datatype, shape = output.get("datatype"), output.get("shape")
    if not is_datatype(datatype):
        return f"datatype is {str(datatype)[:40]!r}"
    if not _is_shape(shape) or any(size < 0 for size in shape or ()):
        return f"shape is {str(shape)[:40]}"
    if not shape or shape[0] != rows:
        return f"shape is {shape} for {rows} rows"
    if not isinstance(output.get("data"), list):
        return f"data is {_kind(output.get('data'))}"
    values = flat(output["data"])
    if len(values) != prod(shape):
        return f"shape {shape}, but data has {len(values)} elements"
    wrong = next((value for value in values if not _fits(str(datatype), value)), _NOTHING)
    return "" if wrong is _NOTHING else f"data has {str(wrong)[:40]!r}, datatype is {datatype}"


def _strange(output: Mapping[str, Any], known: Mapping[str, Mapping[str, Any]]) -> str:
    if not known:
        return ""
    own = known.get(output["name"])
    if own is None:
        return "is not in the metadata"
    if own["datatype"] != output["datatype"]:
        return f"datatype is {output['datatype']}, the metadata says {own['datatype']}"
    wanted, shape = own["shape"] or [-1], output["shape"]
    if len(wanted) != len(shape) or any(
        size not in (-1, found) for size, found in zip(wanted, shape, strict=True)
    ):
        return f"shape is {shape}, the metadata says {own['shape']}"
    return ""


def values_of(answer: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Return the flat data of each output in JSON by name; what is none is left out."""
    outputs = answer.get("outputs")
    return {
        str(one["name"]): flat(one["data"])
        for one in (outputs if isinstance(outputs, list) else [])
        if isinstance(one, dict) and "name" in one and isinstance(one.get("data"), list)
    }


def flat(data: Sequence[Any]) -> list[Any]:
    """Return nested lists as one, in row-major order."""
    found = list(data)
    while found and any(isinstance(value, list) for value in found):
        found = [
            part for value in found for part in (value if isinstance(value, list) else [value])
        ]
    return found


_NOTHING: Final = object()


def _fits(datatype: str, value: Any) -> bool:
    if datatype == "BOOL":
        return isinstance(value, bool)
    if datatype == "BYTES":
        return isinstance(value, str)
    if datatype in WHOLE:
        return isinstance(value, int) and not isinstance(value, bool)
    # JSON has no NaN: null stands for one.
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


def is_datatype(value: Any) -> bool:
    """Whether the protocol has a datatype of this name."""
    return isinstance(value, str) and value in DATATYPES


def _is_shape(shape: Any) -> bool:
    return isinstance(shape, list) and all(
        isinstance(size, int) and not isinstance(size, bool) and size >= -1 for size in shape
    )


def _kind(value: Any) -> str:
    if value is None:
        return "missing"
    return "empty" if value in ([], {}, "") else f"a {type(value).__name__}"


# --- the binary tensor extension ----------------------------------------------------------------


def packed(datatype: str, data: Sequence[Any]) -> bytes:
    """Return flat data as the extension lays it out: little-endian, BYTES with 4 bytes of length.

    Source: Triton Inference Server, `extension_binary_data.md`. Raises Skipped for BF16.
    """
    if datatype == "BYTES":
        texts = [str(value).encode() for value in data]
        return b"".join(struct.pack("<I", len(text)) + text for text in texts)
    if datatype == "BOOL":
        return bytes(int(bool(value)) for value in data)
    code = WHOLE.get(datatype) or FLOATS.get(datatype)
    if code is None:
        raise Skipped(f"{datatype} is not packed here")
    return struct.pack(f"<{len(data)}{code}", *data)


def unpacked(datatype: str, raw: bytes, count: int) -> list[Any]:
    """Return `count` elements; raise ValueError when the bytes are not exactly these."""
    if datatype == "BYTES":
        return _texts(raw, count)
    if datatype == "BOOL":
        if len(raw) != count or any(value > 1 for value in raw):
            raise ValueError(f"{len(raw)} bytes are not {count} BOOL of 0 or 1")
        return [bool(value) for value in raw]
    code = WHOLE.get(datatype) or FLOATS.get(datatype)
    if code is None:
        raise ValueError(f"{datatype} is not read here")
    size = struct.calcsize(f"<{code}")
    if len(raw) != size * count:
        raise ValueError(f"{len(raw)} bytes are not {count} {datatype}")
    return list(struct.unpack(f"<{count}{code}", raw))


def _texts(raw: bytes, count: int) -> list[Any]:
    found, at = [], 0
    for _ in range(count):
        if at + 4 > len(raw):
            raise ValueError(f"{len(raw)} bytes end within {count} BYTES")
        (length,) = struct.unpack_from("<I", raw, at)
        found.append(raw[at + 4 : at + 4 + length].decode())
        at += 4 + length
    if at != len(raw):
        raise ValueError(f"{len(raw)} bytes are not {count} BYTES of {at} bytes")
    return found
