"""An ONNX graph as a model: a matrix of the signature's columns in, classes or values out.

Serving runs it and training measures it, so both see the same answers. A graph says its inputs,
their types and ranks itself; what the signature says has to fit, or nothing is loaded. No operator
library is registered, so a graph holds no code but ONNX's own operators.

Inputs: either the graph's are named as the signature's, or the graph has one that takes all columns
as a matrix. Outputs of a classifier: a label (text, or a whole number) and probabilities, as a
tensor [n, K], [n, 1] of the second of two classes, or skl2onnx's list of maps. Source: the ONNX
specification, ai.onnx and ai.onnx.ml.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trimtab.contract.answers import Answers, Floats, Indices
from trimtab.contract.artifact import Signature, Tensor
from trimtab.contract.onnx_layout import (
    GraphRefused,
    class_outputs,
    feeds,
    fitted,
    value_outputs,
)

_SUM_TOLERANCE: Final = 0.01


class AnswerRefused(ValueError):
    """The graph answered with something that is no class, no probability or no value."""


class OnnxModel:
    """A loaded graph that fits `signature`.

    file: a path (weights beside the graph are found there) or the graph itself. Raises
    GraphRefused, and ImportError without onnxruntime. It runs in as many threads as
    OMP_NUM_THREADS says, one by default.
    """

    def __init__(self, file: Path | bytes, signature: Signature) -> None:
        self._session = open_session(file)
        self._classes = list(signature.classes)
        self._numbers_are_names = all(map(_is_whole, self._classes))
        self._index = {name: place for place, name in enumerate(self._classes)}
        given = self._session.get_inputs()
        self._feeds, batch = feeds(given, signature.inputs)
        self._one_by_one = batch == 1
        self._outputs: list[str] = []
        self._label: str | None = None
        self._scores: str | None = None
        found = self._session.get_outputs()
        if signature.task == "regression":
            self._outputs = value_outputs(found, signature.outputs)
        else:
            self._label, self._scores = class_outputs(found, signature.outputs)
            self._outputs = [name for name in (self._label, self._scores) if name is not None]
        self._is_regression = signature.task == "regression"
        self.has_probabilities = self._scores is not None
        self.has_decision = False
        self.keeps_whole = any(
            feed.kind is np.int64 and tensor.datatype == "INT64"
            for feed, tensor in zip(self._feeds, signature.inputs, strict=False)
        )
        """Whether a whole number of 64 bits reaches the graph as it is."""

    def prepare_thread(self) -> None:
        """Nothing: a session may run in any thread."""

    def answers(self, rows: NDArray[Any]) -> Answers:
        """Return the answers for `rows` (n, columns of the signature); raise AnswerRefused.

        Errors of the runtime itself are its own.
        """
        if len(rows) == 1 or not self._one_by_one:
            return self._run(rows)
        parts = [self._run(rows[at : at + 1]) for at in range(len(rows))]
        return Answers(
            *(
                None if single[0] is None else np.concatenate(single)
                for single in zip(*map(_fields, parts), strict=True)
            )
        )

    def _run(self, rows: NDArray[Any]) -> Answers:
        count = len(rows)
        fed = {
            feed.name: np.ascontiguousarray(
                rows[:, feed.columns].astype(feed.kind, copy=False)
            ).reshape(count, *feed.dims)
            for feed in self._feeds
        }
        found = dict(zip(self._outputs, self._session.run(self._outputs, fed), strict=True))
        if self._is_regression:
            parts = [_rows(name, value, count) for name, value in found.items()]
            return Answers(values=np.hstack(parts))
        return Answers(
            chosen=None if self._label is None else self._chosen(found[self._label], count),
            probabilities=None
            if self._scores is None
            else self._probabilities(self._scores, found[self._scores], count),
        )

    def _chosen(self, labels: Any, count: int) -> Indices:
        flat = np.asarray(labels).reshape(-1)
        if len(flat) != count:
            raise AnswerRefused(f"{self._label}: {len(flat)} labels for {count} rows")
        return np.array([self._place(label) for label in flat.tolist()], dtype=np.intp)

    def _place(self, label: Any) -> int:
        if type(label) is int and not self._numbers_are_names:
            if 0 <= label < len(self._classes):
                return label
        elif (place := self._index.get(str(label))) is not None:
            return place
        raise AnswerRefused(f"{self._label}: {str(label)[:80]!r} is no class of the signature")

    def _probabilities(self, name: str, scores: Any, count: int) -> Floats:
        known = len(self._classes)
        if isinstance(scores, list):
            scores = self._from_maps(scores)
        table = _rows(name, scores, count)
        if table.shape[1] == 1 and known == 2:
            table = np.hstack([1 - table, table])
        if table.shape[1] != known:
            raise AnswerRefused(f"{name}: {table.shape[1]} columns for {known} classes")
        sums = table.sum(axis=1)
        # Written so that NaN fails too.
        if not (
            table.min(initial=0.0) >= -_SUM_TOLERANCE
            and bool((np.abs(sums - 1) <= _SUM_TOLERANCE).all())
        ):
            raise AnswerRefused(
                f"{name}: holds {table[0][:5].tolist()}, which are no probabilities; end the graph "
                "with a Softmax (or, of one column, a Sigmoid)"
            )
        return np.clip(table, 0.0, 1.0)

    def _from_maps(self, maps: list[dict[Any, float]]) -> Floats:
        table = np.zeros((len(maps), len(self._classes)))
        for key in maps[0] if maps else ():
            table[:, self._place(key)] = [row[key] for row in maps]
        return table


def _fields(found: Answers) -> tuple[Any, ...]:
    return found.chosen, found.probabilities, found.values


def open_session(file: Path | bytes) -> Any:
    """Return onnxruntime's session of a graph; raise GraphRefused in words."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors; its warnings are about its own optimisations
    options.intra_op_num_threads = _threads()
    options.inter_op_num_threads = 1
    # A plan is kept for each number of rows, and joined requests have any.
    options.enable_mem_pattern = False
    # Threads that wait must not burn the CPU that the pod is limited to.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(
            file if isinstance(file, bytes) else os.fspath(file),
            options,
            providers=["CPUExecutionProvider"],
        )
    except Exception as error:
        # Its errors have no common class below Exception.
        said = f"{type(error).__name__}: {str(error)[:300]}"
        raise GraphRefused(f"onnxruntime {onnxruntime.__version__}: {said}") from error


def _threads() -> int:
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    return int(wanted) if wanted.isdecimal() and int(wanted) > 0 else 1


def fitting_inputs(file: bytes, inputs: Sequence[Tensor]) -> list[Tensor]:
    """Return `inputs` with the datatypes that the graph takes, where theirs do not fit.

    A table says FP64 of every number; most graphs take FP32. Raises GraphRefused.
    """
    return fitted(open_session(file).get_inputs(), inputs)


def _rows(name: str, value: Any, count: int) -> Floats:
    table = np.asarray(value, dtype=np.float64)
    if not table.ndim or len(table) != count:
        raise AnswerRefused(f"{name}: shape {list(table.shape)} for {count} rows")
    return table.reshape(count, -1)


def _is_whole(name: str) -> bool:
    return name.removeprefix("-").isdecimal()
