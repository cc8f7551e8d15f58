"""From predictions to the tensors of an answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any, Final, NamedTuple

import numpy as np

from trimtab.contract.artifact import Signature, Target, Tensor
from trimtab.serving.errors import ArtifactRefused, RequestInvalid
from trimtab.serving.inference.binary import written
from trimtab.serving.inference.elements import why_no_name
from trimtab.serving.model.base import Prediction

CLASSIFICATION: Final = "classification"
"""Triton's extension: the k likeliest classes a row as strings `probability:index:class`."""

_Make = Callable[[Prediction, slice], Any]
_KINDS: Final[dict[str, type[np.generic]]] = {
    "BOOL": np.bool_,
    "INT32": np.int32,
    "INT64": np.int64,
    "FP32": np.float32,
    "FP64": np.float64,
}


class Wanted(NamedTuple):
    """One output of an answer: behind the JSON or in it, `top` likeliest classes or (0) all."""

    name: str
    is_binary: bool = False
    top: int = 0


class Outputs:
    """The outputs of a signature: each is a class, its probabilities, or values.

    The outputs of a regression share the model's columns in their order. Those of several
    classifications are named by the signature's targets.
    """

    def __init__(self, signature: Signature, *, has_probabilities: bool) -> None:
        self._classes = signature.classes
        self._counted = signature.counted
        self._is_several = bool(signature.targets)
        self._targets = _targets_of(signature)
        self._make: dict[str, tuple[Tensor, _Make]] = {}
        self._probable: set[str] = set()
        column = 0
        for tensor in signature.outputs:
            make = self._maker(tensor, signature, has_probabilities, column)
            self._make[tensor.name] = tensor, make
            column += prod(tensor.shape)
        self._declared = tuple(self._make)
        self._all = tuple(map(Wanted, self._declared))
        self._all_binary = tuple(Wanted(name, is_binary=True) for name in self._declared)
        self._probabilities = self._probability_output() if has_probabilities else None

    @property
    def tensors_known(self) -> list[Tensor]:
        """The outputs of the signature, and those that may be asked for beside them."""
        return [tensor for tensor, _ in self._make.values()]

    def chosen(self, wanted: Any, parameters: dict[str, Any]) -> Sequence[Wanted]:
        """Return what the request's `outputs` and `parameters` ask for; all if they do not say.

        `parameters.binary_data_output` is the default of `outputs[*].parameters.binary_data`;
        `parameters.probabilities` adds the probabilities of all classes.
        """
        binary = _truth("parameters", parameters, "binary_data_output")
        chosen = self._all_binary if binary else self._all
        if wanted is not None:
            if type(wanted) is not list:
                raise RequestInvalid("outputs: a list is wanted")
            named: list[Wanted] = []
            for index, item in enumerate(wanted):
                one = self._asked(f"outputs[{index}]", item, binary)
                if any(one.name == other.name for other in named):
                    raise RequestInvalid(f"outputs[{index}].name: {one.name!r} is asked for twice")
                named.append(one)
            chosen = tuple(named) or chosen
        if parameters and _truth("parameters", parameters, "probabilities"):
            return self._with_probabilities(chosen, binary)
        return chosen

    def _asked(self, place: str, item: Any, binary: bool) -> Wanted:
        name = item.get("name") if type(item) is dict else None
        if type(name) is not str or name not in self._make:
            outputs = ", ".join(self._make)
            what = why_no_name(name, "an output")
            raise RequestInvalid(f"{place}.name: {what}; there is {outputs}")
        parameters = item.get("parameters")
        if parameters is None:
            return Wanted(name, binary)
        if type(parameters) is not dict:
            raise RequestInvalid(f"{place}.parameters: an object is wanted")
        top = parameters.get("classification", 0)
        if type(top) is not int or top < 0:
            raise RequestInvalid(f"{place}.parameters.classification: a whole number is wanted")
        if top and name not in self._probable:
            raise RequestInvalid(f"{place}.parameters.classification: {name!r} is no probabilities")
        is_binary = _truth(f"{place}.parameters", parameters, "binary_data", binary)
        return Wanted(name, is_binary, min(top, len(self._classes)))

    def _with_probabilities(self, chosen: tuple[Wanted, ...], binary: bool) -> Sequence[Wanted]:
        if self._probabilities is None:
            raise RequestInvalid("parameters.probabilities: the model gives none")
        if any(one.name in self._probable for one in chosen):
            return chosen
        return *chosen, Wanted(self._probabilities, binary)

    def tensors(
        self, wanted: Sequence[Wanted], prediction: Prediction, rows: slice
    ) -> tuple[list[dict[str, Any]], list[bytes]]:
        """Return the tensors of `rows` of a prediction, data flat and row-major, and what of it
        goes behind the JSON.
        """
        count = rows.stop - rows.start
        tensors: list[dict[str, Any]] = []
        tail: list[bytes] = []
        for name, is_binary, top in wanted:
            tensor, make = self._make[name]
            datatype, shape, data = tensor.datatype, tensor.shape, make(prediction, rows)
            if top:
                datatype, shape, data = (
                    "BYTES",
                    [top],
                    self._likeliest(data.reshape(count, -1), top),
                )
            item: dict[str, Any] = {"name": name, "datatype": datatype, "shape": [count, *shape]}
            if is_binary:
                tail.append(written(datatype, data))
                item["parameters"] = {"binary_data_size": len(tail[-1])}
            else:
                item["data"] = data
            tensors.append(item)
        return tensors, tail

    def plain(self, prediction: Prediction, rows: slice) -> Any:
        """Return one class or value a row, of the first scalar output; of several a list."""
        if self._is_several:
            makes = [self._make[name][1] for name in self._declared if name in self._targets]
            return [
                list(row) for row in zip(*(make(prediction, rows) for make in makes), strict=True)
            ]
        if prediction.targets is not None:
            return prediction.targets[rows].tolist()
        for name in self._declared:
            tensor, make = self._make[name]
            if not tensor.shape:
                return make(prediction, rows)
        if prediction.values is not None:
            return prediction.values[rows]
        return [self._classes[index] for index in _part(prediction.predicted, rows).tolist()]

    def _likeliest(self, probabilities: Any, top: int) -> list[str]:
        order = np.argsort(-probabilities, axis=1, kind="stable")[:, :top]
        return [
            f"{row[place]:f}:{place}:{self._classes[place]}"
            for row, places in zip(probabilities, order.tolist(), strict=True)
            for place in places
        ]

    def _probability_output(self) -> str:
        """Return the name of the signature's probabilities, or of those that may be asked for."""
        if self._probable:
            return next(name for name in self._declared if name in self._probable)
        name = "probabilities"
        while name in self._make:
            name += "_"
        tensor = Tensor(name=name, datatype="FP64", shape=[len(self._classes)])
        self._make[name] = tensor, _probabilities(np.float64)
        self._probable.add(name)
        return name

    def _maker(
        self, tensor: Tensor, signature: Signature, has_probabilities: bool, column: int
    ) -> _Make:
        place = f"signature.json: outputs: {tensor.name}"
        kind = _KINDS.get(tensor.datatype)
        if self._is_several:
            return self._target_maker(tensor, has_probabilities, place)
        if signature.task == "regression":
            if tensor.datatype in ("FP32", "FP64") and kind is not None:
                return _values(kind, slice(column, column + prod(tensor.shape)))
        elif not tensor.shape:
            return self._class_maker(tensor, place)
        elif tensor.shape == [len(signature.classes)] and tensor.datatype in ("FP32", "FP64"):
            if not has_probabilities:
                raise ArtifactRefused(
                    "OutputsDiffer", f"{place}: the model has no predict_proba; publish it again"
                )
            assert kind is not None
            self._probable.add(tensor.name)
            return _probabilities(kind)
        raise ArtifactRefused("OutputsDiffer", f"{place}: neither class, probabilities nor value")

    def _target_maker(self, tensor: Tensor, has_probabilities: bool, place: str) -> _Make:
        """Of one of several targets: its class, or its probabilities."""
        if (found := self._targets.get(tensor.name)) is not None and not tensor.shape:
            column, target, _ = found
            return _class_maker(
                tensor, place, target.classes, lambda prediction: _column(prediction.labels, column)
            )
        for column, target, columns in self._targets.values():
            if target.probabilities == tensor.name and tensor.shape == [len(target.classes)]:
                if not has_probabilities:
                    raise ArtifactRefused(
                        "OutputsDiffer", f"{place}: the model has no predict_proba"
                    )
                kind = _KINDS.get(tensor.datatype)
                if kind not in (np.float32, np.float64):
                    break
                if target.classes == self._classes and column == self._counted:
                    self._probable.add(tensor.name)
                return _spread(kind, columns)
        raise ArtifactRefused("OutputsDiffer", f"{place}: belongs to no target")

    def _class_maker(self, tensor: Tensor, place: str) -> _Make:
        return _class_maker(tensor, place, self._classes, lambda prediction: prediction.predicted)


def _targets_of(signature: Signature) -> dict[str, tuple[int, Target, slice]]:
    """Return of each output that is a class its column, its target, and where it spreads."""
    found: dict[str, tuple[int, Target, slice]] = {}
    at = 0
    for column, target in enumerate(signature.targets):
        found[target.output] = column, target, slice(at, at + len(target.classes))
        at += len(target.classes)
    return found


def _class_maker(
    tensor: Tensor, place: str, names: Sequence[str], indices: Callable[[Prediction], Any]
) -> _Make:
    if tensor.datatype == "BYTES":
        return lambda prediction, rows: [
            names[index] for index in _part(indices(prediction), rows).tolist()
        ]
    try:
        if tensor.datatype == "BOOL":
            truths = [name.lower() in ("true", "1") for name in names]
            shown = np.array(truths, dtype=np.bool_)
        else:
            shown = np.array([int(float(name)) for name in names], dtype=_KINDS[tensor.datatype])
    except (ValueError, OverflowError) as error:
        raise ArtifactRefused("OutputsDiffer", f"{place}: classes are not numbers") from error
    return lambda prediction, rows: shown[_part(indices(prediction), rows)]


def _spread(kind: type[np.generic], columns: slice) -> _Make:
    return lambda prediction, rows: (
        _part(prediction.spread, rows)[:, columns].astype(kind, copy=False).ravel()
    )


def _values(kind: type[np.generic], columns: slice) -> _Make:
    def make(prediction: Prediction, rows: slice) -> Any:
        if prediction.targets is None:
            return _part(prediction.values, rows).astype(kind, copy=False)
        return prediction.targets[rows, columns].astype(kind, copy=False).ravel()

    return make


def _probabilities(kind: type[np.generic]) -> _Make:
    return lambda prediction, rows: (
        _part(prediction.probabilities, rows).astype(kind, copy=False).ravel()
    )


def _column(labels: Any, column: int) -> Any:
    return labels[:, column]


def _part(values: Any, rows: slice) -> Any:
    return values[rows]


def _truth(place: str, parameters: dict[str, Any], name: str, default: bool = False) -> bool:
    value = parameters.get(name, default)
    if type(value) is not bool:
        raise RequestInvalid(f"{place}.{name}: true or false is wanted")
    return value
