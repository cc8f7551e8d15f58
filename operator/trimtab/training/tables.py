"""From a model fitted on rows as a person has them to one that serving can ask, with its inputs.

First the model by position, which needs no pandas. Where that answers otherwise than the model
itself, the model as it is, with a table of the dtypes that it was fitted on; then the serving image
has to have pandas, and the manifest says so.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from trimtab.contract.artifact import Signature, TableColumn, Tensor, feature_names
from trimtab.contract.estimators.answering import AnsweringEstimator
from trimtab.contract.estimators.refused import ModelRefused
from trimtab.training.boosters import as_fitted
from trimtab.training.columns import Matrix, infer_inputs, make_matrix
from trimtab.training.errors import CodeBroken, DataBroken
from trimtab.training.given import Given, odd_cell
from trimtab.training.models import answer
from trimtab.training.positions import Layout, by_position, used_columns, without_selectors

MOST_COMPARED: Final = 5_000
"""Rows of each part; those with missing values first."""
_MOST_CATEGORIES: Final = 10_000
_TIE: Final = 1e-6
"""Of the two largest probabilities: which one is the largest may hang on how a sum is rounded."""


@dataclass(frozen=True)
class Fitted:
    """A fitted model, what it calls the columns of a table, and which of them it looks at.

    columns: in the order that it was fitted with. texts: those that it takes as lists of texts.
    selects: whether it picks its columns, so that they may lie in any order.
    """

    model: Any
    columns: list[str]
    used: list[int]
    texts: frozenset[str]
    selects: bool

    @property
    def inputs(self) -> list[str]:
        """What a request has to hold."""
        return [self.columns[place] for place in self.used]


@dataclass(frozen=True)
class Classes:
    """Of the model, in the order of its scores: what is counted, and each of several targets."""

    counted: list[Any]
    several: list[list[Any]]


def fitted(model: Any, given: Mapping[str, Given]) -> Fitted:
    """Read the columns off the model, or off the rows; raise DataBroken where one is missing."""
    learned = given["X"]
    columns = [str(name) for name in learned.frame.columns]
    names = getattr(model, "feature_names_in_", None)
    if names is not None and learned.form == "table" and learned.shape is None:
        # LightGBM names a column "a b" as "a_b"
        given_as = {name.replace(" ", "_"): name for name in columns}
        columns = [
            name if name in columns else given_as.get(name, name) for name in map(str, names)
        ]
    used, texts, selects = used_columns(model, len(columns))
    if used and used[-1] >= len(columns):
        raise DataBroken(f"X has {len(columns)} columns; the model was fitted with more")
    read = Fitted(
        model, columns, used, frozenset(columns[place] for place in texts), selects=selects
    )
    for part, rows in given.items():
        absent = [name for name in read.inputs if name not in rows.frame.columns]
        if absent:
            more = f" and {len(absent) - 1} more" if len(absent) > 1 else ""
            raise DataBroken(f"{part} has no column {absent[0]!r}{more}, which the model looks at")
    return read


def inputs_of(read: Fitted, given: Mapping[str, Given]) -> list[Tensor]:
    """Describe what a request has to hold, from all rows: a gap in any of them is known."""
    learned = given["X"]
    if learned.form == "texts":
        return [
            Tensor(name=read.columns[0], datatype="BYTES", watched=False)
        ]  # no list of the texts that were learned from leaves the trainer
    frames = [rows.frame[read.inputs] for rows in given.values()]
    return infer_inputs(pd.concat(frames, ignore_index=True), read.inputs, texts=read.texts)


def as_served(
    read: Fitted, signature: Signature, given: Mapping[str, Given], classes: Classes
) -> tuple[Any, Signature]:
    """Return the model to store, and the signature that says what it takes.

    Raise CodeBroken or DataBroken where no way gives the answers that the model itself gives.
    """
    if given["X"].form == "texts":
        signature = signature.model_copy(update={"takes": "texts"})
    own = {name: _own_answers(read.model, rows, name) for name, rows in given.items()}
    matrices = {name: make_matrix(rows.frame, signature.inputs) for name, rows in given.items()}
    said = ""
    for model, tried in _ways(read, signature, given["X"]):
        difference = _difference(model, tried, classes, own, matrices)
        if difference is None:
            return model, tried
        said = said or difference
    raise CodeBroken(f"{type(read.model).__name__} would be served with other answers: {said}")


def _ways(read: Fitted, signature: Signature, learned: Given) -> Iterator[tuple[Any, Signature]]:
    yield by_position(read.model, _layout(read, signature, learned)), signature
    if learned.form == "table" and learned.shape is None and isinstance(learned.own, pd.DataFrame):
        columns = _table_columns(signature.inputs, learned.own)
        if columns is not None:
            told = signature.model_copy(update={"takes": "table", "columns": columns})
            yield without_selectors(read.model), told


def _layout(read: Fitted, signature: Signature, learned: Given) -> Layout:
    features = [name for tensor in signature.inputs for name in feature_names(tensor)]
    width = len(features)
    texts: set[int] = set()
    at = 0
    for tensor in signature.inputs:
        if tensor.datatype == "BYTES" and tensor.unit is None:
            texts.update(range(at, at + prod(tensor.shape)))
        at += prod(tensor.shape)
    if learned.shape is not None:
        return Layout({place: place for place in range(width)}, width, frozenset(texts))
    absent = [name for name in read.inputs if name not in features]
    if absent:
        raise DataBroken(f"inputs leave out {absent[0]!r}, which the model looks at")
    places = {place: features.index(read.columns[place]) for place in read.used}
    if not read.selects and features != read.columns:
        raise DataBroken(
            "inputs have to be the columns that the model was fitted with, in their order: "
            + ", ".join(read.columns[:20])
        )
    return Layout(places, width, frozenset(texts))


def _table_columns(inputs: Sequence[Tensor], frame: pd.DataFrame) -> list[TableColumn] | None:
    """Describe the columns with their dtypes; nothing where an input is no column of its own."""
    by_name: dict[str, Any] = {str(name): name for name in frame.columns}
    columns: list[TableColumn] = []
    for tensor in inputs:
        name = by_name.get(tensor.name)
        if name is None or tensor.shape or isinstance(name, tuple):
            return None
        dtype = frame[name].dtype
        categories: list[Any] | None = None
        ordered = False
        if isinstance(dtype, pd.CategoricalDtype):
            categories, ordered = dtype.categories.tolist(), bool(dtype.ordered)
            if len(categories) > _MOST_CATEGORIES:
                return None
        columns.append(
            TableColumn(
                name=name if isinstance(name, int) else str(name),
                dtype=str(dtype),
                categories=categories,
                ordered=ordered,
            )
        )
    return columns


@dataclass(frozen=True)
class _Own:
    """What the model itself answers to the chosen rows of a part."""

    rows: NDArray[np.intp]
    predicted: NDArray[Any]
    scores: NDArray[np.float64] | None


def _own_answers(model: Any, given: Given, name: str) -> _Own:
    rows = _compared(given)
    own = given.only(rows).own
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            predicted = np.asarray(model.predict(own))
            probable = getattr(model, "predict_proba", None)
            scores = None if probable is None else probable(own)
    except Exception as error:
        # A model may raise anything, most often about the rows.
        text = " ".join(f"{type(error).__name__}: {error}".split())[:400]
        raise CodeBroken(
            f"the model could not answer the rows given to it: {name}: {text}"
            f"{odd_cell(given.only(rows).frame, text)}"
        ) from error
    if len(predicted) != len(rows):
        raise CodeBroken(
            f"the model gives {len(predicted)} answers for {len(rows)} rows of {name}; a model of "
            "texts takes one column of the table, such as X['text']"
        )
    is_table = isinstance(scores, np.ndarray) and scores.ndim == 2
    return _Own(rows, predicted, scores if is_table else None)


def _compared(given: Given) -> NDArray[np.intp]:
    total = len(given)
    if total <= MOST_COMPARED:
        return np.arange(total)
    gaps = np.flatnonzero(given.frame.isna().any(axis=1).to_numpy())[: MOST_COMPARED // 2]
    spread = np.linspace(0, total - 1, MOST_COMPARED - len(gaps)).astype(np.intp)
    return np.union1d(gaps, spread)


def _difference(
    model: Any,
    signature: Signature,
    classes: Classes,
    own: Mapping[str, _Own],
    matrices: Mapping[str, Matrix],
) -> str | None:
    """Say where the model would be served with other answers than its own."""
    try:
        served = AnsweringEstimator(as_fitted(model, signature), signature)
        for name, mine in own.items():
            rows = matrices[name][mine.rows]
            theirs = answer(
                served,
                rows,
                classes.counted,
                counted=signature.counted,
                several=classes.several,
            )
            every = theirs.all_predicted
            predicted = theirs.predicted if every is None else every
            row = _first_other(mine, predicted, theirs.score if every is None else None)
            if row is not None:
                before, after = str(mine.predicted[row])[:80], str(predicted[row])[:80]
                told = (
                    f"{before}, and would be {after}"
                    if before != after
                    else f"{before} of other scores"
                )
                return (
                    f"row {int(mine.rows[row])} of {name} is {told}; requests hold doubles, so "
                    "make whole numbers beyond 2^53 texts, and other numbers float64"
                )
    except ModelRefused as error:
        return str(error)
    except CodeBroken as error:
        return str(error)
    return None


def _first_other(mine: _Own, predicted: NDArray[Any], scores: Any) -> int | None:
    wanted = mine.predicted.reshape(predicted.shape)
    if wanted.dtype.kind == "f":
        same = np.isclose(wanted, predicted, equal_nan=True)
    else:
        same = wanted.astype(str) == predicted.astype(str)
    if mine.scores is not None and scores is not None and mine.scores.shape == scores.shape:
        near = np.isclose(mine.scores, scores, equal_nan=True).all(axis=1)
        top = np.sort(scores, axis=1)
        same = near & (same | (top[:, -1] - top[:, -2] < _TIE))
    if same.ndim > 1:
        same = same.all(axis=1)
    return None if same.all() else int((~same).argmax())
