"""The part of Universal Binary JSON that XGBoost writes, and nothing beside it.

Arrays of numbers stay arrays: of a file nothing is made that is much larger than the file. What a
second reader could understand in another way is refused: a name that comes twice, a length that is
no 64-bit one, bytes behind the end.
Source: https://ubjson.org, draft 12, optimised containers.
"""

from __future__ import annotations

import struct
from typing import Any, Final

import numpy as np

from trimtab.contract.estimators.refused import UnsafeModel

_ARRAYS: Final[dict[int, np.dtype[Any]]] = {
    ord("U"): np.dtype("u1"),
    ord("i"): np.dtype("i1"),
    ord("I"): np.dtype(">i2"),
    ord("l"): np.dtype(">i4"),
    ord("L"): np.dtype(">i8"),
    ord("d"): np.dtype(">f4"),
    ord("D"): np.dtype(">f8"),
}
_NUMBERS: Final = {
    ord("U"): struct.Struct(">B"),
    ord("i"): struct.Struct(">b"),
    ord("I"): struct.Struct(">h"),
    ord("l"): struct.Struct(">i"),
    ord("L"): struct.Struct(">q"),
    ord("d"): struct.Struct(">f"),
    ord("D"): struct.Struct(">d"),
}
_LENGTH: Final = struct.Struct(">q")
_DEEPEST: Final = 12
MOST_PARTS: Final = 4_000_000
"""Objects, lists, texts and single numbers of one file; an array of numbers is one part."""


def read_ubjson(raw: bytes) -> Any:
    """Return what `raw` holds: dicts, lists, texts, numbers and arrays; raise UnsafeModel."""
    reader = _Reader(raw)
    try:
        value = reader.value(0)
    except (IndexError, struct.error, UnicodeDecodeError) as error:
        raise UnsafeModel("the file of XGBoost ends too early or holds broken text") from error
    if reader.place != len(raw):
        raise UnsafeModel("the file of XGBoost goes on behind its end")
    return value


class _Reader:
    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self.place = 0
        self._parts = 0

    def value(self, depth: int) -> Any:
        self._parts += 1
        if depth > _DEEPEST or self._parts > MOST_PARTS:
            raise UnsafeModel("the file of XGBoost is nested too deep or has too many parts")
        marker = self._raw[self.place]
        self.place += 1
        if marker == ord("{"):
            return self._object(depth)
        if marker == ord("["):
            return self._list(depth)
        if marker == ord("S"):
            return self._text()
        number = _NUMBERS.get(marker)
        if number is None:
            raise UnsafeModel(f"the file of XGBoost has an unknown marker {chr(marker)!r}")
        (found,) = number.unpack_from(self._raw, self.place)
        self.place += number.size
        return found

    def _object(self, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while self._raw[self.place] != ord("}"):
            name = self._text()
            if name in found:
                raise UnsafeModel(f"the file of XGBoost has {name[:40]!r} twice")
            found[name] = self.value(depth + 1)
        self.place += 1
        return found

    def _list(self, depth: int) -> Any:
        kind = None
        if self._raw[self.place] == ord("$"):
            kind = _ARRAYS.get(self._raw[self.place + 1])
            if kind is None:
                raise UnsafeModel("the file of XGBoost has an array of an unknown kind")
            self.place += 2
        if self._raw[self.place] != ord("#"):
            raise UnsafeModel("the file of XGBoost has an array without a length")
        self.place += 1
        length = self._length()
        if kind is None:
            return [self.value(depth + 1) for _ in range(length)]
        start, size = self.place, length * kind.itemsize
        if size > len(self._raw) - start:
            raise UnsafeModel(f"the file of XGBoost has no room for {length:,} numbers")
        self.place += size
        return np.frombuffer(self._raw, kind, length, start)

    def _length(self) -> int:
        if self._raw[self.place] != ord("L"):
            raise UnsafeModel("the file of XGBoost has a length that is not of 64 bits")
        (length,) = _LENGTH.unpack_from(self._raw, self.place + 1)
        self.place += 1 + _LENGTH.size
        if not 0 <= length <= len(self._raw) - self.place:
            raise UnsafeModel(f"the file of XGBoost has no room for {length:,} of something")
        return int(length)

    def _text(self) -> str:
        length = self._length()
        start = self.place
        self.place += length
        return self._raw[start : self.place].decode()
