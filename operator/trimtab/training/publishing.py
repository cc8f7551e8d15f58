"""The library call of notebooks and other trainers: a model in, an artifact in a store out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from trimtab.contract.artifact import Interval, Signature, Tensor
from trimtab.contract.estimators.several import classes_of_targets
from trimtab.contract.onnx_graph import fitting_inputs
from trimtab.training.alone import OUTLIER_CLASSES, classes_of, has_all_truths
from trimtab.training.arguments import Destination, check_input_name, destination
from trimtab.training.assembly import Assembled, Labelled, assemble, assemble_unlabelled, write
from trimtab.training.boosters import refuse_unpublished
from trimtab.training.columns import (
    Task,
    make_labels,
    make_matrix,
)
from trimtab.training.errors import CodeBroken, DataBroken, InsufficientRows
from trimtab.training.estimators import check_model
from trimtab.training.fitting import fit
from trimtab.training.given import Given, read_rows
from trimtab.training.kinds import learns_alone
from trimtab.training.models import Graph, graph_errors, load_graph
from trimtab.training.split import split_rows
from trimtab.training.tables import Classes, Fitted, as_served, fitted, inputs_of
from trimtab.training.targets import (
    SeveralClasses,
    make_targets,
    names_of_targets,
    place_of,
    renamed,
    signature_of,
)
from trimtab.training.truths import (
    check_classes,
    check_known,
    check_targets,
    named_columns,
    read_truths,
    task_of,
)
from trimtab.training.ways import check_own_labels

Rows = Any
"""A table of pandas or polars, a matrix (dense, or sparse of scipy), or a column of texts."""
Pair = tuple[Rows, ArrayLike | None]

_DATATYPES = {"f4": "FP32", "b1": "BOOL", "i4": "INT32", "i8": "INT64"}


@dataclass(frozen=True)
class Published:
    """Where the version lies and what it is worth: what a ModelVersion needs.

    uri: folder of the artifact. digest: of its manifest. baseline: digest of the baseline.
    """

    uri: str
    digest: str
    baseline: str
    metrics: list[Interval]


def publish(
    model: Any,
    X: Rows,  # noqa: N803 - the field's own name
    y: ArrayLike | None = None,
    *,
    uri: str,
    model_name: str,
    version: str,
    calibrate: Pair | None = None,
    evaluate: Pair | None = None,
    feature_names: Sequence[str] | None = None,
    inputs: Sequence[Tensor] | None = None,
    input_name: str | None = None,
    minimum: float | None = None,
    maximum: float | None = None,
    task: Task | None = None,
    classes: Sequence[Any] | None = None,
    outputs: Mapping[str, str | None] | None = None,
    counted: str | None = None,
    credentials: Path | None = None,
    created: datetime | None = None,
    seed: int = 0,
) -> Published:
    """Fit the model if it is not fitted, then write it as an artifact below `uri`.

    X: table or [n, features]; y: truths [n]. `calibrate` and `evaluate` are (X, y) that the model
    has not learned from; without them X is split 60/20/20, which needs an unfitted model.
    Clusterers and mixtures have no truths: y is None, and `evaluate=(X, None)` is enough. The same
    holds for outlier detectors, of which y may also be known: -1 for an outlier, else 1.
    Inputs are, in this order of precedence: `inputs` as given; one vector called `input_name`; the
    columns of the table; columns named by `feature_names`. `minimum` and `maximum` declare the
    range of every number. A model may also be an ONNX graph (its bytes, a path, or a ModelProto);
    numbers are then of the datatype that the graph takes, and `classes` are the labels in the
    order of its scores, sorted by default. `outputs` calls outputs otherwise, for example
    `{"class": "output-0", "probabilities": None}`; None leaves probabilities out. y may have a
    column for each of several targets, which are then outputs of their own, called as the columns
    of a table; `counted` names the one that is counted, compared and judged, else the first.
    The artifact lies at `<uri>/<16 hex of the digest>/`
    and is never overwritten. Raise CodeBroken, DataBroken, InsufficientRows, LocationError.
    """
    into = destination(uri, credentials, model_name, version)
    check_input_name(input_name)
    refuse_unpublished(model)
    graph = _graph(model)
    if graph is None:
        check_model(model)
    is_ready = graph is not None or _is_fitted(model)
    pairs = _given((X, y), calibrate, evaluate)
    has_truths = graph is not None or has_all_truths(model, pairs)
    _check_given(pairs, is_ready=is_ready, has_truths=has_truths)
    given = {
        name: read_rows(pair[0], name, feature_names, input_name) for name, pair in pairs.items()
    }
    truths = _truths(model, pairs, given, task, counted) if has_truths else _Truths()
    labelled = truths.parts
    if len(given) == 1:
        given, labelled = _split(given["X"], labelled, seed)
    if not is_ready:
        learned = given["X"]
        fit(model, learned.own, labelled["X"].learned if has_truths else None, learned.frame)
    check_own_labels(model)
    read = fitted(model, given)
    tensors = [_ranged(one, minimum, maximum) for one in _inputs(graph, read, given, inputs)]
    if has_truths:
        known, several = _classes(model, graph, classes, labelled, truths)
    else:
        known, several = list(classes_of(model, [rows.own for rows in given.values()])), []
    signature = signature_of(
        tensors,
        truths.task,
        known,
        SeveralClasses(truths.names, several, truths.counted),
        has_probabilities=graph is not None or hasattr(model, "predict_proba"),
    )
    if graph is not None:
        model, signature = _graph_served(graph, signature, outputs)
    else:
        if outputs is not None:
            signature = renamed(signature, outputs)
        model, signature = as_served(read, signature, given, Classes(known, several))
    if not has_truths:
        unseen: Any = [make_matrix(rows.frame, tensors) for rows in list(given.values())[1:]]
        found = assemble_unlabelled(model, signature, known, np.concatenate(unseen))
        return published(found, into, created)
    tune, test = (
        replace(labelled[name], matrix=make_matrix(given[name].frame, tensors))
        for name in ("calibrate", "evaluate")
    )
    assembled = assemble(model, signature, known, calibrate=tune, evaluate_on=test, several=several)
    return published(assembled, into, created)


def published(assembled: Assembled, into: Destination, created: datetime | None) -> Published:
    """Write what was assembled into the store, and say where; raise CodeBroken, LocationError."""
    written = write(
        assembled, into.location, model=into.model, version=into.version, created=created
    )
    return Published(written.uri, written.digest, assembled.baseline.digest, assembled.metrics)


@dataclass(frozen=True)
class _Truths:
    """What is known of each part's rows: nothing at all, unless `parts` says so."""

    parts: dict[str, Labelled] = field(default_factory=dict)
    task: Task = "classification"
    names: list[str] = field(default_factory=list)
    """Of several targets."""
    counted: int = 0


def _truths(
    model: Any,
    pairs: Mapping[str, Pair],
    given: Mapping[str, Given],
    task: Task | None,
    counted: str | None,
) -> _Truths:
    found = {
        name: read_truths(
            _truths_of(model, pair[1], len(given[name])), len(given[name]), _name_of(name)
        )
        for name, pair in pairs.items()
    }
    learned = found["X"]
    chosen = task_of(model, learned, task)
    if not learns_alone(model):
        (check_classes if chosen == "classification" else check_targets)(learned, model)
    names = names_of_targets(pairs["X"][1], learned.shape[1]) if learned.ndim == 2 else []
    place = place_of(counted, names) if names or counted is not None else 0
    parts = {name: _labelled(one, chosen, names, place) for name, one in found.items()}
    return _Truths(parts, chosen, names, place)


def _inputs(
    graph: bytes | None, read: Fitted, given: Mapping[str, Given], inputs: Sequence[Tensor] | None
) -> list[Tensor]:
    if inputs:
        return list(inputs)
    if given["X"].shape is not None:
        tensors = [_vector_input(read.columns[0], given.values())]
    else:
        tensors = inputs_of(read, given)
    if graph is not None:
        with graph_errors():
            tensors = fitting_inputs(graph, tensors)
    return tensors


def _labelled(truths: NDArray[Any], task: Task, names: Sequence[str], counted: int) -> Labelled:
    matrix = np.empty((len(truths), 0))  # follows once the inputs are known
    if truths.ndim == 1:
        return Labelled(matrix, make_labels(pd.Series(truths, name="y"), task))
    targets = make_targets(truths, task, names)
    return Labelled(matrix, targets[:, counted], targets)


def _classes(
    model: Any,
    graph: bytes | None,
    given: Sequence[Any] | None,
    read: Mapping[str, Labelled],
    truths: _Truths,
) -> tuple[list[Any], list[list[Any]]]:
    """Return the classes of what is counted, and of each of several targets; check the truths."""
    if truths.task == "regression":
        return [], []
    if truths.names and graph is None:
        several = classes_of_targets(model, len(truths.names))
        for place, column in enumerate(truths.names):
            for part, rows in read.items():
                assert rows.targets is not None
                where = f"column {column!r} of {_name_of(part)}"
                check_known(rows.targets[:, place], several[place], where)
        return several[truths.counted], several
    known = getattr(model, "classes_", OUTLIER_CLASSES) if graph is None else given
    labels = _labels(*read.values()) if known is None else list(known)
    for part, rows in read.items():
        check_known(rows.actual, labels, _name_of(part))
    return labels, []


def labelled_rows(
    X: Rows,  # noqa: N803 - the field's own name
    y: ArrayLike,
    signature: Signature,
    feature_names: Sequence[str] | None = None,
) -> Labelled:
    """Return rows and truths in the form of a version that there is; raise DataBroken.

    A matrix whose columns have no names has those of the signature's inputs.
    """
    inputs = signature.inputs
    name = inputs[0].name if len(inputs) == 1 and inputs[0].shape else None
    given = read_rows(X, "X", feature_names or [tensor.name for tensor in inputs], name)
    truths = read_truths(y, len(given))
    names = [target.output for target in signature.targets] or [
        tensor.name for tensor in signature.outputs
    ]
    if truths.ndim == 2 and len(names) != truths.shape[1]:
        raise DataBroken(f"y has {truths.shape[1]} columns, the version has {len(names)} targets")
    if truths.ndim == 1 and signature.targets:
        raise DataBroken(f"y has one column, the version has {len(names)} targets")
    labelled = _labelled(truths, signature.task, names, signature.counted)
    return replace(labelled, matrix=make_matrix(given.frame, inputs))


def _given(learned: Pair, calibrate: Pair | None, evaluate: Pair | None) -> dict[str, Pair]:
    """Return the pairs of rows and truths by name: `X` alone, or with rows of their own."""
    given = {"X": learned}
    for name, pair in (("calibrate", calibrate), ("evaluate", evaluate)):
        if pair is None:
            continue
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise CodeBroken(f"{name} is a pair: {name}=(X, y)")
        given[name] = (pair[0], pair[1])
    return given


def _check_given(given: Mapping[str, Pair], *, is_ready: bool, has_truths: bool) -> None:
    if has_truths and len(given) == 2:
        raise CodeBroken("give both calibrate and evaluate, or neither")
    if is_ready and len(given) == 1:
        raise CodeBroken("a fitted model needs rows that it has not seen: calibrate and evaluate")


def _truths_of(model: Any, given: ArrayLike | None, rows: int) -> ArrayLike:
    """Return the truths; of an outlier detector, which does not learn from them, inliers."""
    if given is not None:
        return given
    if not learns_alone(model):
        raise DataBroken("y is missing")
    return np.ones(rows, dtype=int)


def _name_of(part: str) -> str:
    return "y" if part == "X" else f"y of {part}"


def _split(
    rows: Given, labelled: Mapping[str, Labelled], seed: int
) -> tuple[dict[str, Given], dict[str, Labelled]]:
    """Return rows to learn from, to calibrate on and to evaluate on, with any truths."""
    try:
        split = split_rows(len(rows), calibrate=0.2, held_out=0.2, seed=seed).parts()
    except InsufficientRows as error:
        raise InsufficientRows(
            f"{error}; with fewer, fit the model yourself and give `calibrate` and `evaluate`",
            error.needed,
        ) from error
    chosen = dict(zip(("X", "calibrate", "evaluate"), split.values(), strict=True))
    truths = labelled.get("X")
    if truths is not None:
        _check_each_learned(truths, split["train"])
    return (
        {name: rows.only(numbers) for name, numbers in chosen.items()},
        {} if truths is None else {name: truths.only(numbers) for name, numbers in chosen.items()},
    )


def _check_each_learned(truths: Labelled, train: NDArray[Any]) -> None:
    """Raise DataBroken where a class is so rare that no row of it would be learned from."""
    if truths.actual.dtype.kind == "f":
        return
    for what, column in named_columns(truths.learned, "y"):
        unseen = np.setdiff1d(column, column[train])
        if len(unseen):
            count = int((column == unseen[0]).sum())
            raise DataBroken(
                f"{what} holds {unseen.tolist()[0]!r} in {count} of its rows, none of which is "
                "among the 60 % that are learned from; give more rows of it, or leave it out"
            )


def _graph(model: Any) -> bytes | None:
    """Return the ONNX graph, or nothing where the model is an estimator."""
    if isinstance(model, bytes):
        return model
    if isinstance(model, str | Path):
        try:
            return Path(model).read_bytes()
        except OSError as error:
            raise CodeBroken(
                f"{model}: {error.strerror}; a text or path names the file of an ONNX graph"
            ) from error
    if hasattr(model, "SerializeToString"):
        body: bytes = model.SerializeToString()
        return body
    return None


def _graph_served(
    graph: bytes, declared: Signature, outputs: Mapping[str, str | None] | None
) -> tuple[Graph, Signature]:
    """Return the loaded graph, and the signature with the outputs that it gives."""
    loaded = load_graph(graph, declared)
    signature = _as_given(declared, has_probabilities=loaded.model.has_probabilities)
    if outputs is not None:
        signature = renamed(signature, outputs)
    return loaded if signature == declared else load_graph(graph, signature), signature


def _as_given(signature: Signature, *, has_probabilities: bool) -> Signature:
    """Return the signature of a graph that may give classes alone."""
    if not signature.classes or has_probabilities:
        return signature
    return signature.model_copy(update={"outputs": signature.outputs[:1]})


def _labels(*parts: Labelled) -> list[Any]:
    return list(np.unique(np.concatenate([part.actual for part in parts])).tolist())


def _is_fitted(model: Any) -> bool:
    from sklearn.exceptions import NotFittedError
    from sklearn.utils.validation import check_is_fitted

    try:
        check_is_fitted(model)
    except NotFittedError:
        return False
    return True


def _vector_input(name: str, given: Iterable[Given]) -> Tensor:
    """One input that is a row as a whole."""
    parts = list(given)
    first = parts[0]
    datatype: Any = "FP64"
    if hasattr(first.own, "dtype"):
        datatype = _DATATYPES.get(first.own.dtype.str[1:], "FP64")
    if datatype.startswith("INT") and not isinstance(first.own, np.ndarray):
        datatype = "FP64"  # counts of words, which may be weights tomorrow
    has_gaps = any(
        part.shape and pd.isna(np.stack(part.frame[name].tolist())).any() for part in parts
    )
    return Tensor(
        name=name, datatype=datatype, shape=list(first.shape or ()), missing_allowed=has_gaps
    )


def _ranged(tensor: Tensor, minimum: float | None, maximum: float | None) -> Tensor:
    if tensor.datatype in {"BYTES", "BOOL"}:
        return tensor
    update = {"minimum": minimum, "maximum": maximum}
    return tensor.model_copy(update={k: v for k, v in update.items() if v is not None})
