"""How large a model's file is once it is unpacked, found out without keeping any of it.

What loading takes follows from this: 4 MiB of a compressed file can be 800 MiB of numbers.
"""

from __future__ import annotations

import bz2
import lzma
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, Final

_CHUNK: Final = 1 << 20
_ANY_HEADER: Final = 32 + zlib.MAX_WBITS
_LONGEST_MAGIC: Final = 6
_BESIDE: Final = "booster-*"
"""Native files that a skops file names."""
_WORST_RATIOS: Final = {b"ZF": 1032, b"\x04\x22\x4d\x18": 255}
"""Of what is not unpacked here: the old form of joblib, and lz4."""


def unpacked_bytes(file: Path, most: int) -> int:
    """Return the size of `file` unpacked, at least its own, with its boosters.

    Counting stops beyond `most`. What is damaged counts as far as it can be read: the loader says
    what is wrong with it.
    """
    size = file.stat().st_size
    if file.suffix == ".skops":
        return max(size, _of_zip(file)) + sum(
            one.stat().st_size for one in file.parent.glob(_BESIDE)
        )
    if file.suffix not in (".joblib", ".pkl", ".pickle"):
        return size
    with file.open("rb") as stream:
        magic = stream.read(_LONGEST_MAGIC)
        stream.seek(0)
        for start, ratio in _WORST_RATIOS.items():
            if magic.startswith(start):
                return size * ratio
        chunks = next((chunks for start, chunks in _PACKED if magic.startswith(start)), None)
        return size if chunks is None else max(size, _counted(chunks(stream), most))


def _of_zip(file: Path) -> int:
    try:
        with zipfile.ZipFile(file) as packed:
            return sum(entry.file_size for entry in packed.infolist())
    except (OSError, ValueError, zipfile.BadZipFile):
        return 0


def _counted(chunks: Iterator[int], most: int) -> int:
    total = 0
    try:
        for length in chunks:
            total += length
            if total > most:
                break
    except (OSError, EOFError, zlib.error, lzma.LZMAError):
        pass  # damaged
    return total


def _inflated(stream: BinaryIO) -> Iterator[int]:
    """Yield the lengths of what one or several streams of zlib or gzip hold."""
    machine = zlib.decompressobj(_ANY_HEADER)
    rest = b""
    while rest := rest or stream.read(_CHUNK):
        if machine.eof:
            machine = zlib.decompressobj(_ANY_HEADER)
        yield len(machine.decompress(rest, _CHUNK))
        rest = machine.unused_data if machine.eof else machine.unconsumed_tail


def _bz2(stream: BinaryIO) -> Iterator[int]:
    return _lengths(bz2.BZ2File(stream).read)


def _lzma(stream: BinaryIO) -> Iterator[int]:
    return _lengths(lzma.LZMAFile(stream).read)


def _lengths(read: Callable[[int], bytes]) -> Iterator[int]:
    return iter(lambda: len(read(_CHUNK)), 0)


_PACKED: Final[list[tuple[bytes, Callable[[BinaryIO], Iterator[int]]]]] = [
    (b"\x78", _inflated),
    (b"\x1f\x8b", _inflated),
    (b"BZ", _bz2),
    (b"\xfd7zXZ", _lzma),
    (b"\x5d\x00", _lzma),
]
