"""Binary tensors that do not fit: sizes, the head's length, types, texts, trailing bytes."""

from __future__ import annotations

import json
import struct
from typing import Any

from tests.corpus.sent import Sent, request

_FOUR = struct.pack("<4d", 0.1, 0.2, 0.3, 0.4)
_SIZE = "inputs[0].parameters.binary_data_size"
_HEAD = "inference-header-content-length"
_COLUMNS: dict[str, tuple[str, bytes]] = {
    "age": ("INT64", struct.pack("<2q", 30, 40)),
    "colour": ("BYTES", b"\x03\0\0\0red\x04\0\0\0blue"),
    "member": ("BOOL", b"\x01\x00"),
    "z": ("FP32", struct.pack("<2f", 0.5, 1.5)),
}


def _wire(head: bytes, tail: bytes, length: Any = ..., **headers: str) -> bytes:
    """Return a request; `length` is what the head says of the JSON, its true length by default."""
    said = str(len(head)) if length is ... else str(length)
    kind = {"content-type": "application/octet-stream"}
    return request(head + tail, **kind, **{_HEAD: said}, **headers)


def _head(parameters: Any = ..., **changes: Any) -> bytes:
    fields: dict[str, Any] = {"name": "x", "datatype": "FP64", "shape": [1, 4]}
    fields["parameters"] = {"binary_data_size": 32} if parameters is ... else parameters
    fields |= changes
    return json.dumps({"inputs": [{k: v for k, v in fields.items() if v is not ...}]}).encode()


def _sized(size: Any, tail: bytes = _FOUR, **changes: Any) -> bytes:
    return _wire(_head({"binary_data_size": size}, **changes), tail)


def _table(**changed: bytes | int | tuple[str, bytes]) -> bytes:
    """Return two rows of the table; a change is another block, or another size of the same."""
    inputs, tail = [], b""
    for name, (datatype, block) in _COLUMNS.items():
        other = changed.get(name, block)
        size = other if isinstance(other, int) else None
        if isinstance(other, tuple):
            datatype, block = other  # noqa: PLW2901 - the column as it is sent
        elif isinstance(other, bytes):
            block = other  # noqa: PLW2901 - as above
        shown = {"binary_data_size": len(block) if size is None else size}
        inputs.append({"name": name, "datatype": datatype, "shape": [2], "parameters": shown})
        tail += block
    return _wire(json.dumps({"inputs": inputs}).encode(), tail)


_NAN = struct.pack("<4d", 0.1, float("nan"), 0.3, 0.4)
_INFINITE = struct.pack("<4d", 0.1, 0.2, float("-inf"), 0.4)
_GOOD = _head()

BINARIES: dict[str, Sent] = {
    f"binary_{name}": sent
    for name, sent in {
        "size_small": Sent(_sized(24, _FOUR[:24]), 400, "inputs[0]"),
        "size_large": Sent(_sized(40, _FOUR + b"\0" * 8), 400, "inputs[0]"),
        "size_beyond_body": Sent(_sized(64), 400, _SIZE),
        "size_of_ages": Sent(_sized(10**30), 400, _SIZE),
        "size_64_bits": Sent(_sized(2**63), 400, _SIZE),
        "size_negative": Sent(_sized(-32), 400, _SIZE),
        "size_zero": Sent(_sized(0, b""), 400, "inputs[0]"),
        "size_fraction": Sent(_sized(32.0), 400, _SIZE),
        "size_text": Sent(_sized("32"), 400, _SIZE),
        "size_null": Sent(_sized(None), 400, "inputs[0]"),
        "size_true": Sent(_sized(True), 400, _SIZE),
        "size_list": Sent(_sized([32]), 400, _SIZE),
        "size_missing": Sent(_wire(_head({}), _FOUR), 400, "inputs[0].data"),
        "no_parameters": Sent(_wire(_head(None), _FOUR), 400, "inputs[0].data"),
        "parameters_list": Sent(_wire(_head([]), _FOUR), 400, "inputs[0].parameters"),
        "no_tail": Sent(_wire(_GOOD, b""), 400, _SIZE),
        "tail_cut": Sent(_wire(_GOOD, _FOUR[:-1]), 400, _SIZE),
        "bytes_behind": Sent(_wire(_GOOD, _FOUR + b"\0"), 400, "the body"),
        "data_and_bytes": Sent(_wire(_head({}, data=[1, 2, 3, 4]), _FOUR), 400, "the body"),
        "head_beyond_body": Sent(_wire(_GOOD, _FOUR, 10**6), 400, _HEAD),
        "head_of_ages": Sent(_wire(_GOOD, _FOUR, 10**25), 400, _HEAD),
        "head_negative": Sent(_wire(_GOOD, _FOUR, -1), 400, _HEAD),
        "head_fraction": Sent(_wire(_GOOD, _FOUR, "12.0"), 400, _HEAD),
        "head_plus": Sent(_wire(_GOOD, _FOUR, "+12"), 400, _HEAD),
        "head_hex": Sent(_wire(_GOOD, _FOUR, "0x10"), 400, _HEAD),
        "head_word": Sent(_wire(_GOOD, _FOUR, "all"), 400, _HEAD),
        "head_one_less": Sent(_wire(_GOOD, _FOUR, len(_GOOD) - 1), 400, "the body"),
        "head_one_more": Sent(_wire(_GOOD, _FOUR, len(_GOOD) + 1), 400, "the body"),
        "head_whole_body": Sent(_wire(_GOOD, b"", len(_GOOD)), 400, _SIZE),
        "no_head": Sent(request(_GOOD + _FOUR), 400, "the body"),
        "bytes_without_head": Sent(
            request(_GOOD + _FOUR, **{"content-type": "application/octet-stream"}), 400, "the body"
        ),
        "json_only_says_size": Sent(request(_GOOD), 400, _SIZE),
        "nan": Sent(_wire(_GOOD, _NAN), 400, "inputs[0].data[1]"),
        "infinite": Sent(_wire(_GOOD, _INFINITE), 400, "inputs[0].data[2]"),
        "datatype_unknown": Sent(_sized(32, datatype="FP63"), 400, "inputs[0].datatype"),
        "datatype_bfloat": Sent(_sized(8, _FOUR[:8], datatype="BF16"), 400, "inputs[0].datatype"),
        "datatype_text": Sent(_sized(32, datatype="BYTES"), 400, "inputs[0].datatype"),
        "datatype_missing": Sent(_sized(32, datatype=...), 400, "inputs[0].datatype"),
        "datatype_narrower": Sent(_sized(32, datatype="FP32"), 400, "inputs[0]"),
        "shape_more_rows": Sent(_sized(32, shape=[2, 4]), 400, "inputs[0]"),
        "shape_too_many_rows": Sent(_sized(32, shape=[65, 4]), 413, "inputs[0].shape"),
        "shape_huge": Sent(_sized(32, shape=[2**62, 4]), 413, "inputs[0].shape"),
        "name_unknown": Sent(_sized(32, name="y"), 400, "inputs[0].name"),
        "raw_short": Sent(_wire(b"", _FOUR[:-1]), 400, "the body"),
        "raw_empty": Sent(_wire(b"", b""), 400, ""),
        "column_size_taken_from_next": Sent(_table(age=24), 400, "inputs[", table=True),
        "column_size_given_to_next": Sent(_table(age=8), 400, "inputs[", table=True),
        "column_overlaps_all": Sent(_table(z=10**6), 400, "binary_data_size", table=True),
        "text_cut": Sent(
            _table(colour=b"\x03\0\0\0red\x05\0\0\0blue"), 400, "inputs[1]", table=True
        ),
        "text_length_huge": Sent(
            _table(colour=b"\xff\xff\xff\xffred\x04\0\0\0blue"), 400, "inputs[1]", table=True
        ),
        "text_one": Sent(_table(colour=b"\x03\0\0\0red"), 400, "inputs[1]", table=True),
        "text_three": Sent(
            _table(colour=_COLUMNS["colour"][1] + b"\0\0\0\0"), 400, "inputs[1]", table=True
        ),
        "text_not_utf8": Sent(
            _table(colour=b"\x03\0\0\0red\x01\0\0\0\xff"), 400, "inputs[1].data[1]", table=True
        ),
        "text_surrogate": Sent(
            _table(colour=b"\x03\0\0\0red\x03\0\0\0\xed\xa0\x80"),
            400,
            "inputs[1].data[1]",
            table=True,
        ),
        "truth_two": Sent(_table(member=b"\x01\x02"), 400, "inputs[2].data[1]", table=True),
        "truths_as_int32": Sent(
            _table(member=("INT32", struct.pack("<2i", 1, 0))),
            400,
            "inputs[2].datatype",
            table=True,
        ),
        "whole_as_double": Sent(
            _table(age=("FP64", struct.pack("<2d", 30, 40))), 400, "inputs[0].datatype", table=True
        ),
        "whole_beyond": Sent(
            _table(age=("UINT64", struct.pack("<2Q", 30, 2**64 - 1))),
            400,
            "inputs[0].data[1]",
            table=True,
        ),
        "single_infinite": Sent(
            _table(z=struct.pack("<2f", 0.5, float("inf"))), 400, "inputs[3].data[1]", table=True
        ),
    }.items()
}
