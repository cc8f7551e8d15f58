"""Pictures small enough to keep: 256 colours are enough for figures and curves."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

MOST_BYTES = 300_000


def shrink(file: Path) -> None:
    """Write a PNG with a palette. ValueError: it stays too large."""
    with Image.open(file) as image:
        small = image.convert("RGB").quantize(256, dither=Image.Dither.NONE)
    small.save(file, optimize=True)
    if file.stat().st_size > MOST_BYTES:
        raise ValueError(f"{file.name} has {file.stat().st_size} bytes; at most {MOST_BYTES}")
