"""What the memory of counted tokens promises, and where it ends."""

from __future__ import annotations

import struct

from trimtab.serving.counting.repeats import RepeatMemory

PROMISED = 524_288


def id_of(number: int) -> bytes:
    """Return an id of 12 bytes that looks random (the finaliser of splitmix64)."""
    mixed = (number + 1) * 0x9E3779B97F4A7C15 % 2**64
    mixed = (mixed ^ mixed >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    return struct.pack("<Qi", mixed ^ mixed >> 31, 0)


def test_the_last_half_million_are_refused_and_the_oldest_forgotten() -> None:
    memory = RepeatMemory()
    first = id_of(0)
    assert memory.add(first)
    for number in range(1, PROMISED):
        memory.add(id_of(number))
    assert not memory.add(first)
    assert not memory.add(id_of(1))
    for number in range(PROMISED, 2 * PROMISED):
        memory.add(id_of(number))
    # Half a million later the first half is not promised any more, and the second still is.
    assert not memory.add(id_of(PROMISED))
    assert not memory.add(id_of(2 * PROMISED - 1))
    assert memory.add(first)
    assert not memory.add(first)


def test_ids_that_fall_on_the_same_place_are_told_apart() -> None:
    memory = RepeatMemory()
    ids = [struct.pack("<Qi", 7 + (number << 20), 0) for number in range(100)]
    assert all(memory.add(one) for one in ids)
    assert not any(memory.add(one) for one in ids)
