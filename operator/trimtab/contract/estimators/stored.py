"""Loading a skops file: no code runs from it, and what it holds is checked before it is run."""

from __future__ import annotations

import copy
import importlib
import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import sklearn.utils

from trimtab.contract.estimators.boosted.estimators import Read, attach
from trimtab.contract.estimators.nodes import (
    check_loaders,
    check_written,
    files_of,
    guard_trees,
)
from trimtab.contract.estimators.refused import ModelRefused, UntrustedTypes
from trimtab.contract.estimators.trusted import check, loader_of, untrusted

LARGEST_RATIO: Final = 100
SMALL_BYTES: Final = 64 << 20
_CHUNK: Final = 1 << 20
_SCHEMA: Final = "schema.json"


def load_skops(file: Path | bytes, beside: Mapping[str, bytes] | None = None) -> Any:
    """Return the model; raise ModelRefused naming every type that is not trusted.

    beside: the native files of boosters, where `file` is no path; else they lie in its folder.
    """
    skops_io = import_skops()
    guard_trees()
    try:
        schema = _checked_schema(file)
        check_written(schema)
        if isinstance(file, bytes):
            named = skops_io.get_untrusted_types(data=file)
        else:
            named = skops_io.get_untrusted_types(file=file)
        unknown = untrusted(named)
        if unknown:
            raise UntrustedTypes(unknown)
        check_loaders(schema, {name: loader_of(name) for name in named})
        if isinstance(file, bytes):
            model = skops_io.loads(file, trusted=named)
        else:
            model = skops_io.load(file, trusted=named)
        check(model)
        attach(model, _reader(file, beside))
        return model
    except ModelRefused:
        raise
    except Exception as error:
        # A damaged file may raise anything, and some errors hold the whole file.
        name = "the model" if isinstance(file, bytes) else file.name
        said = f"{type(error).__name__}: {str(error)[:300]}"
        raise ModelRefused("Malformed", f"{name}: {said}") from error


def _reader(file: Path | bytes, beside: Mapping[str, bytes] | None) -> Read:
    def read(name: str) -> bytes:
        try:
            return (
                (beside or {})[name]
                if isinstance(file, bytes)
                else (file.parent / name).read_bytes()
            )
        except (KeyError, FileNotFoundError) as error:
            raise ModelRefused("FileMissing", f"the artifact has no file {name}") from error

    return read


def _checked_schema(file: Path | bytes) -> Any:
    """Return the description of the model, unless unpacking the file would fill the memory."""
    name = "the model" if isinstance(file, bytes) else file.name
    size = len(file) if isinstance(file, bytes) else file.stat().st_size
    with zipfile.ZipFile(io.BytesIO(file) if isinstance(file, bytes) else file) as packed:
        most = max(LARGEST_RATIO * size, SMALL_BYTES)
        _check_entries(packed, most, name)
        schema = json.loads(packed.read(_SCHEMA))
        left = most
        for part in files_of(schema):
            left -= packed.getinfo(part["file"]).file_size
            if left >= 0 and part["__loader__"] == "SparseMatrixNode":
                with zipfile.ZipFile(io.BytesIO(packed.read(part["file"]))) as inner:
                    left -= _check_entries(inner, left, name)
            if left < 0:
                raise ModelRefused("TooLarge", f"{name} unpacks to more than {most:,} bytes")
        return schema


def _check_entries(packed: zipfile.ZipFile, most: int, name: str) -> int:
    """Return how many bytes all entries have together; raise ModelRefused beyond `most`."""
    unpacked = sum(entry.file_size for entry in packed.infolist())
    if unpacked > most:
        raise ModelRefused("TooLarge", f"{name} unpacks to {unpacked:,} bytes")
    for entry in packed.infolist():
        _check_entry(packed, entry, name)
    return unpacked


def _check_entry(packed: zipfile.ZipFile, entry: zipfile.ZipInfo, name: str) -> None:
    """Raise ModelRefused where more comes out than the directory says.

    `read` unpacks all of it at once, and only then leaves out what is too much.
    """
    if entry.compress_type == zipfile.ZIP_STORED:
        return
    if entry.compress_type != zipfile.ZIP_DEFLATED:
        raise ModelRefused("Malformed", f"{name} is packed by other means than deflate")
    further = copy.copy(entry)
    further.file_size += 1
    left = further.file_size
    with packed.open(further) as stream:
        while chunk := stream.read(_CHUNK):
            left -= len(chunk)
    if left < 1:
        raise ModelRefused("TooLarge", f"{name} unpacks to more than it says")


def import_skops() -> ModuleType:
    """Import skops without its import of every estimator of scikit-learn.

    skops lists all public estimators at import, to trust them: 0.8 s and 40 MiB of start-up. The
    same rule is applied here to the names that a file really holds.
    """
    listed = sklearn.utils.all_estimators
    sklearn.utils.all_estimators = list
    try:
        return importlib.import_module("skops.io")
    finally:
        sklearn.utils.all_estimators = listed
