"""Loading a skops file: no code runs from it, and what it holds is checked before it is run."""

from __future__ import annotations

import importlib
import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import sklearn.utils

from trimtab.contract.estimators.boosted.estimators import Read, attach
from trimtab.contract.estimators.nodes import check_loaders, guard_trees
from trimtab.contract.estimators.refused import ModelRefused, UntrustedTypes
from trimtab.contract.estimators.trusted import check, untrusted

LARGEST_RATIO: Final = 100
SMALL_BYTES: Final = 64 << 20


def load_skops(file: Path | bytes, beside: Mapping[str, bytes] | None = None) -> Any:
    """Return the model; raise ModelRefused naming every type that is not trusted.

    beside: the native files of boosters, where `file` is no path; else they lie in its folder.
    """
    skops_io = import_skops()
    guard_trees()
    try:
        _check_unpacked(file)
        if isinstance(file, bytes):
            named = skops_io.get_untrusted_types(data=file)
        else:
            named = skops_io.get_untrusted_types(file=file)
        unknown = untrusted(named)
        if unknown:
            raise UntrustedTypes(unknown)
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


def _check_unpacked(file: Path | bytes) -> None:
    """Refuse what would fill the memory, or lead it astray while it is loaded.

    No more is unpacked than the directory of the zip says.
    """
    is_bytes = isinstance(file, bytes)
    size = len(file) if isinstance(file, bytes) else file.stat().st_size
    with zipfile.ZipFile(io.BytesIO(file) if isinstance(file, bytes) else file) as packed:
        unpacked = sum(entry.file_size for entry in packed.infolist())
        if unpacked <= max(LARGEST_RATIO * size, SMALL_BYTES):
            check_loaders(packed)
            return
    name = "the model" if is_bytes else getattr(file, "name", "")
    raise ModelRefused("TooLarge", f"{name} unpacks to {unpacked:,} bytes")


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
