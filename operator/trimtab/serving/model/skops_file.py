"""Loading a skops file: public scikit-learn, numpy and scipy types, and nothing else."""

from __future__ import annotations

import importlib
import inspect
import zipfile
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import sklearn.utils

from trimtab.contract.trees import TREE_TYPES, UnsafeModel, check_trees
from trimtab.serving.errors import ArtifactRefused

LARGEST_RATIO: Final = 100
SMALL_BYTES: Final = 64 << 20


def load_skops(file: Path) -> Any:
    """Return the model; raise ArtifactRefused naming every type that is not trusted."""
    skops_io = _import_skops()
    try:
        _check_unpacked(file)
        named = skops_io.get_untrusted_types(file=file)
        unknown = [
            name for name in named if name not in TREE_TYPES and not _is_public_estimator(name)
        ]
        if unknown:
            raise ArtifactRefused(
                "UntrustedType", "the model holds types that are not loaded: " + ", ".join(unknown)
            )
        model = skops_io.load(file, trusted=named)
        check_trees(model)
        return model
    except ArtifactRefused:
        raise
    except UnsafeModel as error:
        raise ArtifactRefused("UnsafeModel", str(error)) from error
    except Exception as error:
        # A damaged file may raise anything, and some errors hold the whole file.
        said = f"{type(error).__name__}: {str(error)[:300]}"
        raise ArtifactRefused("Malformed", f"{file.name}: {said}") from error


def _check_unpacked(file: Path) -> None:
    """Refuse what would fill the memory: no more is unpacked than the directory of the zip says."""
    with zipfile.ZipFile(file) as packed:
        unpacked = sum(entry.file_size for entry in packed.infolist())
    if unpacked > max(LARGEST_RATIO * file.stat().st_size, SMALL_BYTES):
        raise ArtifactRefused("TooLarge", f"{file.name} unpacks to {unpacked:,} bytes")


def _import_skops() -> ModuleType:
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


def _is_public_estimator(name: str) -> bool:
    """Whether `name` is an estimator that scikit-learn offers under a public module."""
    module, _, attribute = name.rpartition(".")
    public = ".".join(_until_private(module.split(".")))
    if public.partition(".")[0] != "sklearn" or attribute.startswith("_"):
        return False
    try:
        offered = getattr(importlib.import_module(public), attribute, None)
    except ImportError:
        return False
    base = importlib.import_module("sklearn.base").BaseEstimator
    return (
        inspect.isclass(offered)
        and issubclass(offered, base)
        and not inspect.isabstract(offered)
        and offered.__module__ == module
    )


def _until_private(parts: list[str]) -> list[str]:
    for index, part in enumerate(parts):
        if part.startswith("_"):
            return parts[:index]
    return parts
