"""A bounded memory of ids that were counted already."""

from __future__ import annotations

from typing import Final

import numpy as np

_SLOTS: Final = 2**20
_FULL: Final = _SLOTS // 2


class RepeatMemory:
    """Remembers at least the last 524,288 ids and at most twice as many, in 16 MiB.

    Two tables of 64-bit keys with open addressing; when the newer one is half full it becomes the
    older one. Memory is touched only as it fills. Ids are random, so 64 bits of one are a key.
    """

    def __init__(self) -> None:
        self._newer = _table()
        self._older = _table()
        self._held = 0

    def add(self, id: bytes) -> bool:
        """Remember `id` (at least 8 random bytes); False when it was known."""
        key = int.from_bytes(id[:8], "little") or 1
        place = _place(self._newer, key)
        if self._newer[place] == key or self._older[_place(self._older, key)] == key:
            return False
        self._newer[place] = key
        self._held += 1
        if self._held >= _FULL:
            self._older, self._newer, self._held = self._newer, _table(), 0
        return True


def _table() -> memoryview:
    # Zeros from numpy are pages that are not touched yet; a view indexes faster than an array.
    return np.zeros(_SLOTS, dtype=np.uint64).data


def _place(table: memoryview, key: int) -> int:
    """Return the slot that holds `key`, or the free one where it belongs."""
    place = key & (_SLOTS - 1)
    while (held := table[place]) != 0 and held != key:
        place = (place + 1) & (_SLOTS - 1)
    return place
