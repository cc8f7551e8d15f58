"""The types that a stored model may hold: public estimators, and others one by one with a check.

skops makes an object of a type with any attributes, or calls the type with any arguments. So a
type is trusted here only if neither runs code of a file, and if what it holds is checked or is read
by code that checks. The same holds for functions, which a file may have called with anything.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Iterable
from functools import partial
from typing import Any, Final

import numpy as np
from scipy import sparse

from trimtab.contract.estimators import trees
from trimtab.contract.estimators.arrays import (
    check_array,
    check_arrays,
    check_dtype,
    check_partial,
    check_sparse,
)
from trimtab.contract.estimators.boosted.estimators import TYPES as BOOSTED_TYPES
from trimtab.contract.estimators.rebuilt import check_columns, rebuild
from trimtab.contract.estimators.walk import Owners, check_methods, kinds_of, name_of, parts

_KERNELS: Final = (
    *("CompoundKernel", "ConstantKernel", "DotProduct", "ExpSineSquared", "Exponentiation"),
    *("Matern", "PairwiseKernel", "Product", "RBF", "RationalQuadratic", "Sum", "WhiteKernel"),
)
_PLAIN_TYPES: Final = frozenset(
    {
        "functools.partial",  # of a function that is trusted itself
        "numpy.dtype",
        "sklearn._loss.loss.HalfTweedieLoss",
        "sklearn._loss.loss.HalfTweedieLossIdentity",
        "sklearn.calibration._CalibratedClassifier",
        "sklearn.calibration._SigmoidCalibration",
        "sklearn.calibration._TemperatureScaling",
        "sklearn.cluster._bisect_k_means._BisectingTree",
        "sklearn.gaussian_process._gpc._BinaryGaussianProcessClassifierLaplace",
        *(f"sklearn.gaussian_process.kernels.{name}" for name in _KERNELS),
        "sklearn.impute._iterative._ImputerTriplet",
        "sklearn.metrics._scorer._CurveScorer",
        "sklearn.multiclass._ConstantPredictor",
        "sklearn.utils._bunch.Bunch",
    }
)
_SPARSE_TYPES: Final = frozenset(
    f"scipy.sparse._{form}.{form}_{kind}" for form in ("csr", "csc") for kind in ("matrix", "array")
)
_LOADERS: Final = {
    "functools.partial": "PartialNode",
    "numpy.dtype": "DTypeNode",
    "sklearn.utils._bunch.Bunch": "DictNode",
    trees.TREE: "TreeNode",
}
"""Of types that skops does not make by their attributes."""
_TREE_TYPES: Final = frozenset({trees.TREE, trees.PREDICTOR})
_TESTS: Final = {"conftest", "tests"}
_FUNCTIONS: Final = {
    "numpy": frozenset(
        {
            *("around", "clip", "cumsum", "mean", "median", "nan_to_num", "nanmax", "nanmean"),
            *("nanmedian", "nanmin", "nanstd", "nansum", "prod", "round", "sort", "std", "sum"),
            *("amax", "amin", "max", "min", "ravel", "real", "var"),
        }
    ),
    "scipy.special": frozenset({"log_softmax", "logsumexp", "softmax"}),
    "sklearn.metrics.pairwise": frozenset(
        {
            *("additive_chi2_kernel", "chi2_kernel", "cosine_distances", "cosine_similarity"),
            *("euclidean_distances", "haversine_distances", "laplacian_kernel", "linear_kernel"),
            *("manhattan_distances", "polynomial_kernel", "rbf_kernel", "sigmoid_kernel"),
        }
    ),
    "sklearn.utils": frozenset({"check_array"}),
}
"""By public module. Whatever they are called with, they compute, and do nothing else."""


def untrusted(names: Iterable[str]) -> list[str]:
    """Return those of the full names of types, unknown to skops, that are not loaded here either.

    Whoever loads the others calls `check` before the first prediction.
    """
    known = _PLAIN_TYPES | _SPARSE_TYPES | _TREE_TYPES | BOOSTED_TYPES
    return [
        name
        for name in names
        if name not in known and not _is_function(name) and not _is_public_estimator(name)
    ]


def loader_of(name: str) -> str:
    """Return by which of its loaders skops makes a trusted type, or finds a trusted function."""
    if name in _SPARSE_TYPES:
        return "SparseMatrixNode"
    if _is_function(name):
        return "FunctionNode"
    return _LOADERS.get(name, "ObjectNode")


def check(model: Any) -> None:
    """Raise UnsafeModel unless what was trusted by name is safe to run; make the model whole."""
    found = parts(model)
    for part, owners in found:
        _check_part(part, owners)
    once = list({id(part): part for part, _ in found if hasattr(part, "__dict__")}.values())
    for part in once:
        rebuild(part)
    for part in reversed(once):  # what is within comes first
        check_columns(part)


def _check_part(part: Any, owners: Owners) -> None:
    name = name_of(part)
    if name == trees.TREE:
        trees.check_tree(part, owners)
    elif name == trees.PREDICTOR:
        trees.check_predictor(part, owners)
    elif isinstance(part, np.dtype):
        check_dtype(part)
    elif isinstance(part, np.ndarray):
        check_array(part)
    elif isinstance(part, partial):
        check_partial(part)
    elif sparse.issparse(part):  # a file may name another format than it holds
        check_methods(part)
        check_sparse(part)
    elif hasattr(part, "__dict__") and not inspect.isroutine(part) and not isinstance(part, type):
        check_methods(part)
        check_arrays(part)
        kinds = kinds_of(part)
        if "sklearn.ensemble._iforest.IsolationForest" in kinds and "estimators_" in vars(part):
            trees.check_isolation(part)
        if trees.BOOSTER in kinds:
            trees.check_booster(part)


def _is_function(name: str) -> bool:
    """Whether `name` is a function of `_FUNCTIONS`, or a ufunc that NumPy or SciPy offers."""
    module, _, attribute = name.rpartition(".")
    root = module.partition(".")[0]
    for public, functions in _FUNCTIONS.items():
        if root != public.partition(".")[0]:
            continue
        offered = getattr(importlib.import_module(public), attribute, None)
        if offered is None or (attribute not in functions and not isinstance(offered, np.ufunc)):
            continue
        # Where it is defined is known by now. A module that only a file names is not imported: some
        # are programs.
        return getattr(sys.modules.get(module), attribute, None) is offered
    return False


def _is_public_estimator(name: str) -> bool:
    """Whether `name` is an estimator that scikit-learn offers under a public module."""
    module, _, attribute = name.rpartition(".")
    path = _until_private(module.split("."))
    public = ".".join(path)
    if path[:1] != ["sklearn"] or attribute.startswith("_") or _TESTS & set(path):
        return False
    if path[1:2] and path[1] not in importlib.import_module("sklearn").__all__:
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
