"""Large messages are counted before they are parsed, as JSON bodies are.

The parser makes an object of every two bytes of a message that is made for it: 370 MiB of 16 MiB.
What a request that is allowed can hold follows from the signature, so one that holds more is
refused unparsed. Source: protobuf.dev, "Encoding".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

import numpy as np

from trimtab.serving.errors import RequestInvalid
from trimtab.serving.inference.body_bounds import COUNTED_BYTES

_VARINT: Final = 0
_FIXED64: Final = 1
_LENGTH: Final = 2
_FIXED32: Final = 5
_LONGEST_VARINT: Final = 10

_CONTENTS: Final = "contents"
_WITHIN: Final[Mapping[str, Mapping[int, str]]] = {
    "request": {5: "input", 6: "output"},
    "input": {5: _CONTENTS},
    "output": {},
    _CONTENTS: {},
}
_BYTES_CONTENTS: Final = 8
_PACKED_SIZES: Final = {6: 4, 7: 8}
"""Of the fields of `InferTensorContents` whose elements have a fixed size."""


def check_message(body: bytes, most: int) -> None:
    """Raise RequestInvalid where a `ModelInferRequest` holds more than `most` fields and elements.

    Small ones are not counted: they cannot hold much. Costs up to 1 us for each of `most`.
    """
    if len(body) < COUNTED_BYTES:
        return
    left = most
    waiting = [("request", 0, len(body))]
    while waiting:
        kind, start, stop = waiting.pop()
        within = _WITHIN[kind]
        for number, wire, first, last in _fields(body, start, stop):
            left -= 1
            if wire == _LENGTH:
                if number in within:
                    waiting.append((within[number], first, last))
                elif kind == _CONTENTS and number < _BYTES_CONTENTS:
                    left -= _elements(body, number, first, last)
            if left < 0:
                raise RequestInvalid("the message holds more than any request that is taken", 413)


def malformed() -> RequestInvalid:
    """Return the refusal of what is no message at all."""
    return RequestInvalid("the message is no ModelInferRequest")


def _elements(body: bytes, number: int, first: int, last: int) -> int:
    """Return how many numbers a packed field holds."""
    size = _PACKED_SIZES.get(number)
    if size is not None:
        return (last - first) // size
    # The last byte of each is below 128.
    return int(np.count_nonzero(np.frombuffer(body, np.uint8, last - first, first) < 0x80))


def _fields(body: bytes, at: int, stop: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield number, wire type, and where the content lies, of each field of a message."""
    while at < stop:
        tag, at = _varint(body, at, stop)
        wire = tag & 7
        first = at
        if wire == _LENGTH:
            size, first = _varint(body, at, stop)
            at = first + size
        elif wire == _VARINT:
            at = _varint(body, at, stop)[1]
        elif wire == _FIXED64:
            at += 8
        elif wire == _FIXED32:
            at += 4
        else:
            raise malformed()
        if at > stop:
            raise malformed()
        yield tag >> 3, wire, first, at


def _varint(body: bytes, at: int, stop: int) -> tuple[int, int]:
    """Return the number that begins at `at`, and where what follows it begins."""
    value = shift = 0
    for place in range(at, min(stop, at + _LONGEST_VARINT)):
        byte = body[place]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place + 1
        shift += 7
    raise malformed()
