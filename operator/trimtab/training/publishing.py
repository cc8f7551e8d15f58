"""The library call of notebooks and other trainers: a model in, an artifact in a store out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from trimtab.contract.artifact import Interval, Tensor
from trimtab.contract.location import open_location
from trimtab.contract.onnx_graph import fitting_inputs
from trimtab.training.assembly import Labelled, assemble, write
from trimtab.training.boosters import refuse_unpublished
from trimtab.training.columns import (
    Task,
    infer_inputs,
    infer_task,
    make_labels,
    make_matrix,
    make_signature,
)
from trimtab.training.models import graph_errors, load_graph
from trimtab.training.split import split_rows

Rows = pd.DataFrame | ArrayLike
Pair = tuple[Rows, ArrayLike]

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
    y: ArrayLike,
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
    credentials: Path | None = None,
    created: datetime | None = None,
    seed: int = 0,
) -> Published:
    """Fit the model if it is not fitted, then write it as an artifact below `uri`.

    X: table or [n, features]; y: truths [n]. `calibrate` and `evaluate` are (X, y) that the model
    has not learned from; without them X is split 60/20/20, which needs an unfitted model.
    Inputs are, in this order of precedence: `inputs` as given; one vector called `input_name`; the
    columns of the table; columns named by `feature_names`. `minimum` and `maximum` declare the
    range of every number. A model may also be an ONNX graph (its bytes, a path, or a ModelProto);
    numbers are then of the datatype that the graph takes, and `classes` are the labels in the
    order of its scores, sorted by default. The artifact lies at `<uri>/<16 hex of the digest>/`
    and is never overwritten. Raise CodeBroken, DataBroken, InsufficientRows, LocationError.
    """
    refuse_unpublished(model)
    graph = _graph(model)
    is_ready = graph is not None or _is_fitted(model)
    if (calibrate is None) != (evaluate is None):
        raise ValueError("give both calibrate and evaluate, or neither")
    if is_ready and calibrate is None:
        raise ValueError("a fitted model needs rows that it has not seen: calibrate and evaluate")
    frame = _as_frame(X, feature_names, input_name)
    tensors = list(inputs or ())
    if not tensors and input_name is not None:
        tensors = [_vector_input(input_name, np.asarray(X))]
    if not tensors:  # from all rows, so that a category or a gap in any of them is known
        pairs = [pair for pair in (calibrate, evaluate) if pair]
        others = [_as_frame(pair[0], feature_names, None) for pair in pairs]
        whole_frame = pd.concat([frame, *others], ignore_index=True)
        tensors = infer_inputs(whole_frame, [str(name) for name in frame.columns])
    if graph is not None and not inputs:
        with graph_errors():
            tensors = fitting_inputs(graph, tensors)
    tensors = [_ranged(one, minimum, maximum) for one in tensors]
    truths = pd.Series(np.asarray(y).reshape(-1), name="y")
    chosen: Task = task or infer_task(truths)
    whole = Labelled(make_matrix(frame, tensors), make_labels(truths, chosen))
    if calibrate is not None and evaluate is not None:
        learn = whole
        tune, test = (
            Labelled(
                make_matrix(_as_frame(rows, feature_names, input_name), tensors),
                make_labels(pd.Series(np.asarray(actual).reshape(-1), name="y"), chosen),
            )
            for rows, actual in (calibrate, evaluate)
        )
    else:
        split = split_rows(len(frame), calibrate=0.2, held_out=0.2, seed=seed)
        learn, tune, test = (whole.only(rows) for rows in split.parts().values())
    if not is_ready:
        model.fit(learn.matrix, learn.actual)
    labels: list[Any] = []
    if chosen == "classification":
        known = model.classes_ if graph is None else classes
        labels = _labels(whole, tune, test) if known is None else list(known)
    signature = make_signature(tensors, chosen, labels)
    if graph is not None:
        model = load_graph(graph, signature)
    assembled = assemble(model, signature, labels, calibrate=tune, evaluate_on=test)
    written = write(
        assembled,
        open_location(uri, credentials),
        model=model_name,
        version=version,
        created=created,
    )
    return Published(written.uri, written.digest, assembled.baseline.digest, assembled.metrics)


def _graph(model: Any) -> bytes | None:
    """Return the ONNX graph, or nothing where the model is an estimator."""
    if isinstance(model, bytes):
        return model
    if isinstance(model, str | Path):
        return Path(model).read_bytes()
    if hasattr(model, "SerializeToString"):
        body: bytes = model.SerializeToString()
        return body
    return None


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


def _as_frame(
    rows: Rows, feature_names: Sequence[str] | None, input_name: str | None
) -> pd.DataFrame:
    """One column of vectors for a single input, else one column a feature."""
    if isinstance(rows, pd.DataFrame):
        return rows if input_name is None else _vectors(rows.to_numpy(), input_name)
    matrix = np.asarray(rows)
    if input_name is not None:
        return _vectors(matrix, input_name)
    names = list(feature_names or (f"x{index}" for index in range(matrix.shape[1])))
    return pd.DataFrame({name: matrix[:, index] for index, name in enumerate(names)})


def _vectors(matrix: NDArray[Any], name: str) -> pd.DataFrame:
    return pd.DataFrame({name: pd.Series(list(matrix.reshape(len(matrix), -1)), dtype=object)})


def _vector_input(name: str, matrix: NDArray[Any]) -> Tensor:
    datatype: Any = _DATATYPES.get(matrix.dtype.str[1:], "FP64")
    return Tensor(name=name, datatype=datatype, shape=list(matrix.shape[1:]))


def _ranged(tensor: Tensor, minimum: float | None, maximum: float | None) -> Tensor:
    if tensor.datatype in {"BYTES", "BOOL"}:
        return tensor
    update = {"minimum": minimum, "maximum": maximum}
    return tensor.model_copy(update={k: v for k, v in update.items() if v is not None})
