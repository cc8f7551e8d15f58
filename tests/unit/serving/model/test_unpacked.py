"""The unpacked size of files: as much as comes out, counted without keeping it."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest

from trimtab.serving.model.unpacked import unpacked_bytes

MIB = 1 << 20
ZEROS = np.zeros(MIB)  # 8 MiB


@pytest.mark.parametrize("compress", [0, 3, "gzip", "bz2", "xz", "lzma"])
def test_what_joblib_packs(tmp_path: Path, compress: Any) -> None:
    file = tmp_path / "model.joblib"
    joblib.dump({"weights": ZEROS, "more": 1}, file, compress=compress)
    size = unpacked_bytes(file, 100 * MIB)
    assert size == pytest.approx(8 * MIB, rel=0.01)
    assert 2 * MIB < unpacked_bytes(file, 2 * MIB) <= size


def test_streams_that_follow_each_other_count_all(tmp_path: Path) -> None:
    file, one = tmp_path / "model.pkl", tmp_path / "one"
    joblib.dump(ZEROS, one, compress=("gzip", 3))
    file.write_bytes(2 * one.read_bytes())
    assert unpacked_bytes(file, 100 * MIB) == pytest.approx(16 * MIB, rel=0.01)


def test_a_zip_says_it_itself(tmp_path: Path) -> None:
    file = tmp_path / "model.skops"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("one.npy", bytes(3 * MIB))
        packed.writestr("two.npy", bytes(MIB))
    assert unpacked_bytes(file, MIB) == 4 * MIB


@pytest.mark.parametrize("name", ["model.skops", "model.joblib", "model.onnx", "model.pickle"])
@pytest.mark.parametrize("start", [b"", b"\x78", b"\x1f\x8b", b"BZ", b"\xfd7zXZ", b"\x5d\x00"])
def test_what_is_damaged_counts_as_it_is(tmp_path: Path, name: str, start: bytes) -> None:
    file = tmp_path / name
    file.write_bytes(start + b"\xff" * 1000)
    assert unpacked_bytes(file, MIB) == 1000 + len(start)


@pytest.mark.parametrize("start", [b"ZF0x1", b"\x04\x22\x4d\x18"], ids=["old", "lz4"])
def test_what_is_not_unpacked_here_counts_as_its_worst(tmp_path: Path, start: bytes) -> None:
    file = tmp_path / "model.joblib"
    file.write_bytes(start + bytes(1000))
    assert unpacked_bytes(file, MIB) > 250_000
