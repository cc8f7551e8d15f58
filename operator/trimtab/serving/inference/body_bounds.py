"""Large bodies are counted before they are parsed.

A parser makes objects of every value: 16 MiB of `[],[],[],` are five million lists, made while
nobody else is answered. What a request that is allowed can hold follows from the signature, so a
body that holds more is refused unread. A small one is not counted: it cannot hold much.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Final

import numpy as np

from trimtab.contract.artifact import Signature
from trimtab.serving.errors import RequestInvalid

COUNTED_BYTES: Final = 512 << 10
"""Bodies from this size on are counted: smaller ones take at most 30 ms and 20 MiB."""
SPARE: Final = 10_000
"""Values beside the data: parameters and outputs."""
_FIELDS: Final = 32
"""Values that describe one input."""
_PART_BYTES: Final = 1 << 20
_QUOTE: Final = ord('"')
_PAIRS: Final = ((b"[", b"]"), (b"{", b"}"))


@dataclass(frozen=True, slots=True)
class BodyBounds:
    """What one body may hold at most."""

    containers: int
    """Lists and objects."""
    commas: int
    names: int
    """Of fields of objects."""

    def check(self, body: bytes) -> None:
        """Raise RequestInvalid where `body` may hold more. Costs about 1 ms a MiB."""
        if len(body) < COUNTED_BYTES or self._hold(body):
            return
        # Brackets, commas and colons in texts count for nothing; few bodies have that many.
        bare = _without_texts(body)
        if self._hold(bare):
            return
        if any(bare.count(left) != bare.count(right) for left, right in _PAIRS):
            raise RequestInvalid("the body is no valid JSON: brackets are left open")
        raise RequestInvalid("the body holds more than any request that is taken", 413)

    def _hold(self, body: bytes) -> bool:
        return (
            body.count(b"[") + body.count(b"{") <= self.containers
            and body.count(b",") <= self.commas
            and body.count(b":") <= self.names
        )


def bounds_of(signature: Signature, max_rows: int) -> BodyBounds:
    """Return what a request of `max_rows` rows may hold, whatever its form."""
    inputs = len(signature.inputs)
    values = sum(prod(tensor.shape) for tensor in signature.inputs)
    # Nested data: for shape [2, 3] a row is a list of two lists.
    lists = sum(
        prod(tensor.shape[:depth])
        for tensor in signature.inputs
        for depth in range(len(tensor.shape))
    )
    fields = _FIELDS * inputs
    return BodyBounds(
        containers=max_rows * (1 + lists) + fields + SPARE,
        commas=max_rows * (1 + lists + values) + fields + SPARE,
        names=max_rows * inputs + fields + SPARE,
    )


def _without_texts(body: bytes) -> bytes:
    """Return `body` with nothing between its quotes."""
    bare = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    parts: list[bytes] = []
    is_inside = 0
    for at in range(0, len(bare), _PART_BYTES):
        part = np.frombuffer(bare[at : at + _PART_BYTES], dtype=np.uint8)
        inside = (np.cumsum(part == _QUOTE, dtype=np.uint8) + np.uint8(is_inside)) & 1
        parts.append(part[inside == 0].tobytes())
        is_inside = int(inside[-1])
    return b"".join(parts)
