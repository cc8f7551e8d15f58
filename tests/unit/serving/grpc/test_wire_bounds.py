"""What a message may hold before it is parsed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.serving.grpc.asking import message

from trimtab.serving.errors import RequestInvalid
from trimtab.serving.grpc.wire_bounds import check_message
from trimtab.serving.inference.body_bounds import COUNTED_BYTES

MIB = 1 << 20


def within(*parts: tuple[int, bytes]) -> bytes:
    """Return a message of fields of bytes."""
    return b"".join(
        bytes([number << 3 | 2]) + varint(len(content)) + content for number, content in parts
    )


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def contents(*parts: tuple[int, bytes]) -> bytes:
    return within((5, within((5, within(*parts)))))


@pytest.mark.parametrize(
    "body",
    [
        b"\x2a\x00" * MIB,  # inputs
        b"\x32\x00" * MIB,  # outputs
        b"\x3a\x00" * MIB,  # raw contents
        b"\x22\x00" * MIB,  # parameters
        b"\x7a\x00" * MIB,  # what nobody knows
        within((5, b"\x22\x00" * MIB)),  # parameters of an input
        within((6, b"\x12\x00" * MIB)),  # parameters of an output
        within((5, b"\x18\x01" * MIB)),  # dimensions
        contents((8, b"")) + contents(*[(8, b"")] * MIB),  # texts
        contents((1, b"\x01" * MIB)),  # truths
        contents((3, b"\x01" * MIB)),  # whole numbers, packed
        within((5, within((5, b"\x18\x01" * MIB)))),  # and one by one
        within((5, within((5, b"\x35\x00\x00\x00\x00" * MIB)))),
    ],
)
def test_too_many_of_anything(body: bytes) -> None:
    with pytest.raises(RequestInvalid, match="holds more than any request") as raised:
        check_message(body, 200_000)
    assert raised.value.status == 413


def test_what_a_request_may_hold_is_taken() -> None:
    numbers = np.linspace(0, 1, 100_000)
    for fields in (
        {"fp64_contents": numbers},
        {"fp32_contents": numbers[:-1]},
        {"int64_contents": range(2**40, 2**40 + 100_000)},
        {"bytes_contents": [b"a word"] * 100_000},
    ):
        sent = [{"name": "x", "datatype": "-", "shape": [1], "contents": fields}]
        body = message("ModelInferRequest", inputs=sent).SerializeToString()
        assert len(body) >= 390_000
        check_message(body + b"\x0a" + varint(COUNTED_BYTES) + b"a" * COUNTED_BYTES, 100_100)
    raw = message("ModelInferRequest", raw_input_contents=[bytes(16 * MIB)]).SerializeToString()
    check_message(raw, 10)


def test_small_messages_are_not_counted() -> None:
    check_message(b"\x2a\x00" * 1000, 1)


@pytest.mark.parametrize(
    "broken",
    [b"\x2a", b"\x2a\x7f", b"\x80", b"\xff" * 12, b"\x0b", b"\x0e", b"\x39\x00", b"\x3d\x00"],
)
def test_what_ends_too_early_or_has_no_type(broken: bytes) -> None:
    body = within((1, b"a" * COUNTED_BYTES)) + broken
    with pytest.raises(RequestInvalid, match="the message is no ModelInferRequest"):
        check_message(body, 1000)


KINDS: dict[str, st.SearchStrategy[Any]] = {
    "bool_contents": st.booleans(),
    "int_contents": st.integers(-(2**31), 2**31 - 1),
    "int64_contents": st.integers(-(2**63), 2**63 - 1),
    "uint_contents": st.integers(0, 2**32 - 1),
    "uint64_contents": st.integers(0, 2**64 - 1),
    "fp32_contents": st.floats(width=32),
    "fp64_contents": st.floats(),
    "bytes_contents": st.binary(max_size=20),
}


@given(st.sampled_from(sorted(KINDS)), st.data())
def test_elements_are_counted_exactly(field: str, data: st.DataObject) -> None:
    values: Iterable[Any] = data.draw(st.lists(KINDS[field], min_size=1, max_size=50))
    count = len(list(values))
    sent = [{"contents": {field: values}}]
    filler = within((9, bytes(COUNTED_BYTES)))
    body = message("ModelInferRequest", inputs=sent).SerializeToString() + filler
    # Beside the elements: the input, its contents, the filler, and a packed field's one head.
    heads = 3 + (field != "bytes_contents")
    check_message(body, count + heads)
    with pytest.raises(RequestInvalid):
        check_message(body, count + heads - 1)
