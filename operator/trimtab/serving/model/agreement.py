"""Whether the parts of an artifact belong together, checked before a row is predicted.

A signature that cannot be served, or a baseline of another model, would otherwise be counted
wrongly, not loudly. Every refusal names the file and the field.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Sequence
from itertools import islice, pairwise
from math import isfinite, prod
from typing import Final

from trimtab.contract.artifact import (
    BASELINE,
    SIGNATURE,
    Baseline,
    Calibration,
    CategoricalFeature,
    NumericFeature,
    Signature,
    Tensor,
)
from trimtab.contract.cardinality import MAX_FEATURES
from trimtab.serving.errors import ArtifactRefused

log = logging.getLogger(__name__)

MAX_ELEMENTS: Final = 2**21
"""Elements of one row: 16 MiB as doubles, which is what a body may hold."""
MAX_DIMENSIONS: Final = 16
MAX_BINS: Final = 1000
"""Of one feature or of the score: each is a series of every pod."""
_PLACE: Final = re.compile(r"0|[1-9][0-9]{0,9}")
_TRUTHS: Final = {"false", "true"}

_Feature = NumericFeature | CategoricalFeature


def check_signature(signature: Signature) -> None:
    """Raise ArtifactRefused where no request could be read by `signature`."""
    for kind, tensors in (("inputs", signature.inputs), ("outputs", signature.outputs)):
        for tensor in tensors:
            _check_shape(f"{SIGNATURE}: {kind}: {tensor.name}", tensor)
            _check_range(f"{SIGNATURE}: {kind}: {tensor.name}", tensor.minimum, tensor.maximum)
        _check_unique(f"{SIGNATURE}: {kind}", [tensor.name for tensor in tensors])
    elements = sum(prod(tensor.shape) for tensor in signature.inputs)
    if elements > MAX_ELEMENTS:
        raise _malformed(
            f"{SIGNATURE}: inputs: {elements} elements a row, at most {MAX_ELEMENTS} are served"
        )
    inputs = _Elements(signature.inputs)
    for tensor in signature.inputs:
        other = inputs.get(tensor.name)
        if not tensor.shape and other is not None and other is not tensor:
            raise _malformed(
                f"{SIGNATURE}: inputs: {tensor.name!r} is also an element of {other.name!r}"
            )
    _check_unique(f"{SIGNATURE}: classes", signature.classes)
    if (signature.task == "regression") == bool(signature.classes):
        raise _malformed(f"{SIGNATURE}: classes: a classifier names them, a regression has none")
    _check_targets(signature)
    _check_adjustment(signature)


def check_baseline(baseline: Baseline, signature: Signature) -> None:
    """Raise ArtifactRefused where `baseline` is broken, or one of another model."""
    _check_unique(f"{BASELINE}: features", [feature.name for feature in baseline.features])
    inputs = _Elements(signature.inputs)
    for feature in baseline.features:
        place = f"{BASELINE}: features: {feature.name}"
        tensor = inputs.get(feature.name)
        if tensor is None:
            raise _other(f"{place}: the signature has no such input")
        if len(feature.counts) > MAX_BINS:
            raise _malformed(f"{place}: {len(feature.counts)} bins, at most {MAX_BINS} are counted")
        _check_counts(place, [*feature.counts, feature.missing], baseline.n)
        if isinstance(feature, NumericFeature):
            _check_numeric(place, feature, tensor)
        else:
            _check_categorical(place, feature, tensor)
    _check_all_watched(baseline.features, signature)
    _check_score(baseline, signature)
    _check_calibration(baseline, signature)
    _check_residuals(baseline, signature)


def _check_targets(signature: Signature) -> None:
    targets, place = signature.targets, f"{SIGNATURE}: targets"
    if signature.task == "regression":
        columns = sum(prod(tensor.shape) for tensor in signature.outputs)
    else:
        columns = max(len(targets), 1)
    if signature.counted >= columns:
        raise _malformed(f"{SIGNATURE}: counted: {signature.counted} of {columns} targets")
    if not targets:
        return
    if signature.task == "regression":
        raise _malformed(f"{place}: a regression has outputs only")
    names = {tensor.name for tensor in signature.outputs}
    _check_unique(place, [target.output for target in targets])
    for target in targets:
        for output in (target.output, target.probabilities):
            if output is not None and output not in names:
                raise _malformed(f"{place}: {output!r} is not among the outputs")
        if not target.classes:
            raise _malformed(f"{place}: {target.output}: has no classes")
        _check_unique(f"{place}: {target.output}", target.classes)
    if sum(len(target.classes) for target in targets) > MAX_ELEMENTS:
        raise _malformed(f"{place}: too many classes together")
    if targets[signature.counted].classes != signature.classes:
        raise _malformed(f"{place}: the classes of the counted one are not the signature's")


def _check_shape(place: str, tensor: Tensor) -> None:
    if len(tensor.shape) > MAX_DIMENSIONS:
        raise _malformed(f"{place}: shape: at most {MAX_DIMENSIONS} dimensions are served")
    if any(size < 1 for size in tensor.shape):
        raise _malformed(f"{place}: shape: {tensor.shape} holds a size below 1")
    if prod(tensor.shape) > MAX_ELEMENTS:
        raise _malformed(
            f"{place}: shape: {tensor.shape} is more than {MAX_ELEMENTS} elements a row"
        )


def _check_range(place: str, minimum: float | None, maximum: float | None) -> None:
    if not all(isfinite(limit) for limit in (minimum, maximum) if limit is not None):
        raise _malformed(f"{place}: minimum or maximum is not finite")
    if minimum is not None and maximum is not None and minimum > maximum:
        raise _malformed(f"{place}: minimum is above maximum")


def _check_unique(place: str, names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise _malformed(f"{place}: {name!r} is named twice")
        seen.add(name)


def _check_numeric(place: str, feature: NumericFeature, tensor: Tensor) -> None:
    if tensor.datatype == "BYTES":
        raise _other(f"{place}: numeric, the signature says {tensor.datatype}")
    _check_edges(place, feature.edges, feature.counts)
    _check_range(place, feature.minimum, feature.maximum)


def _check_categorical(place: str, feature: CategoricalFeature, tensor: Tensor) -> None:
    if len(feature.categories) != len(feature.counts):
        raise _malformed(f"{place}: categories and counts differ in number")
    _check_unique(f"{place}: categories", feature.categories)
    allowed = _TRUTHS if tensor.datatype == "BOOL" else tensor.categories
    if allowed is not None:
        unknown = set(feature.categories).difference(allowed)
        if unknown:
            raise _other(f"{place}: {min(unknown)[:80]!r} is no category of the signature")
    elif tensor.datatype != "BYTES" and not all(map(_is_number, feature.categories)):
        raise _other(f"{place}: its categories are words, the signature says {tensor.datatype}")


def _check_all_watched(features: Sequence[_Feature], signature: Signature) -> None:
    if not features:
        log.warning(
            "no drift of inputs is watched: %s describes none, as for a model of texts; answers "
            "are counted all the same",
            BASELINE,
        )
        return
    counted = {feature.name for feature in features}
    watched = _names(tensor for tensor in signature.inputs if tensor.watched)
    for name in islice(watched, MAX_FEATURES):
        if name not in counted:
            raise _other(f"{BASELINE}: features: {name!r} of the signature is missing")


def _check_score(baseline: Baseline, signature: Signature) -> None:
    place = f"{BASELINE}: scoreEdges"
    edges = baseline.score_edges
    if len(baseline.score_counts) > MAX_BINS:
        raise _malformed(f"{place}: {len(baseline.score_counts)} bins, at most {MAX_BINS}")
    _check_edges(place, edges, baseline.score_counts)
    _check_counts(f"{BASELINE}: scoreCounts", baseline.score_counts, baseline.n)
    if signature.classes and edges:
        if baseline.score_kind == "none":
            raise _other(f"{place}: scoreKind says that there are no scores")
        if baseline.score_kind == "probability" and not 0 <= edges[0] <= edges[-1] <= 1:
            raise _other(f"{place}: {edges[0]:g} to {edges[-1]:g} are no probabilities")
    unknown = set(baseline.predicted_counts).difference(signature.classes)
    if unknown:
        raise _other(
            f"{BASELINE}: predictedCounts: {min(unknown)[:80]!r} is no class of the signature"
        )
    _check_counts(
        f"{BASELINE}: predictedCounts", list(baseline.predicted_counts.values()), baseline.n
    )


def _check_adjustment(signature: Signature) -> None:
    adjustment, place = signature.adjustment, f"{SIGNATURE}: adjustment"
    if adjustment is None:
        return
    targets = sum(prod(tensor.shape) for tensor in signature.outputs)
    if adjustment.offsets and len(adjustment.offsets) != targets:
        raise _malformed(f"{place}: {len(adjustment.offsets)} offsets, and {targets} targets")
    if not all(map(isfinite, adjustment.offsets)):
        raise _malformed(f"{place}: offset is not finite")
    # Whether these are of probabilities or of decision values is the model's to say.
    _check_maps(place, adjustment.calibration, len(signature.classes), is_probability=False)
    if adjustment.threshold is not None and not (
        len(signature.classes) == 2 and 0 <= adjustment.threshold <= 1
    ):
        raise _malformed(f"{place}: threshold is of two classes, and lies in 0..1")


def _check_calibration(baseline: Baseline, signature: Signature) -> None:
    maps, kind = baseline.calibration, baseline.score_kind
    if maps and kind == "none":
        raise _other(f"{BASELINE}: calibration: scoreKind says that there are no scores")
    _check_maps(BASELINE, maps, len(signature.classes), is_probability=kind == "probability")


def _check_maps(
    where: str, maps: Sequence[Calibration], classes: int, *, is_probability: bool
) -> None:
    if maps and len(maps) != (1 if classes == 2 else classes):
        raise _malformed(f"{where}: calibration: {len(maps)} maps for {classes} classes")
    for index, one in enumerate(maps):
        place = f"{where}: calibration[{index}]"
        if len(one.x) != len(one.y) or not one.x:
            raise _malformed(f"{place}: x and y differ in length, or are empty")
        if not all(map(isfinite, one.x)):
            raise _malformed(f"{place}: x holds a number that is not finite")
        for values in (one.x, one.y) if is_probability else (one.y,):
            if not all(0 <= value <= 1 for value in values):
                raise _malformed(f"{place}: holds a number outside 0..1")
        for values in (one.x, one.y):
            if any(after < before for before, after in pairwise(values)):
                raise _malformed(f"{place}: x or y descends")


def _check_residuals(baseline: Baseline, signature: Signature) -> None:
    residuals = baseline.residuals
    if residuals is None:
        return
    place = f"{BASELINE}: residuals"
    if signature.task != "regression":
        raise _other(f"{place}: the signature is no regression")
    _check_counts(f"{place}: rows", residuals.rows, baseline.n)
    for sums in (residuals.rows, residuals.absolute, residuals.squares, residuals.fourth):
        if len(sums) != len(baseline.score_counts):
            raise _malformed(f"{place}: {len(sums)} bins, the score has others")
        if not all(isfinite(one) and one >= 0 for one in sums):
            raise _malformed(f"{place}: holds a sum that is negative or not finite")


def _check_edges(place: str, edges: Sequence[float], counts: Sequence[int]) -> None:
    if len(counts) != len(edges) + 1:
        raise _malformed(f"{place}: {len(edges)} edges, {len(counts)} counts")
    if not all(map(isfinite, edges)):
        raise _malformed(f"{place}: an edge is not finite")
    if any(after <= before for before, after in pairwise(edges)):
        raise _malformed(f"{place}: edges do not ascend")


def _check_counts(place: str, counts: Sequence[int], n: int) -> None:
    if any(count < 0 for count in counts):
        raise _malformed(f"{place}: a count is negative")
    if sum(counts) > n:
        raise _malformed(f"{place}: {sum(counts)} rows are counted, n is {n}")


class _Elements:
    """Finds the input that an element of a row belongs to, by the element's name."""

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        self._scalars = {tensor.name: tensor for tensor in tensors if not tensor.shape}
        self._vectors = {tensor.name: tensor for tensor in tensors if tensor.shape}

    def get(self, name: str) -> Tensor | None:
        """Return the input, or nothing; `x[3]` is an element of the vector `x` first."""
        start, bracket, index = name.removesuffix("]").rpartition("[")
        tensor = self._vectors.get(start) if bracket and name.endswith("]") else None
        if tensor is not None and _PLACE.fullmatch(index) and int(index) < prod(tensor.shape):
            return tensor
        return self._scalars.get(name)


def _names(tensors: Iterable[Tensor]) -> Iterable[str]:
    """Yield the names of the elements of a row; see Signature."""
    for tensor in tensors:
        if tensor.shape:
            yield from (f"{tensor.name}[{index}]" for index in range(prod(tensor.shape)))
        else:
            yield tensor.name


def _is_number(text: str) -> bool:
    try:
        return isfinite(float(text))
    except ValueError:
        return False


def _malformed(message: str) -> ArtifactRefused:
    return ArtifactRefused("Malformed", message)


def _other(message: str) -> ArtifactRefused:
    return ArtifactRefused("BaselineMismatch", message)
