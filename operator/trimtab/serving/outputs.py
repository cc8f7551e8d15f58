"""From predictions to the tensors of an answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

from trimtab.contract.artifact import Signature, Tensor
from trimtab.serving.errors import ArtifactRefused, RequestInvalid
from trimtab.serving.model import Prediction

_Make = Callable[[Prediction, slice], Any]


class Outputs:
    """The outputs of a signature: each is the class, the probabilities, or the value."""

    def __init__(self, signature: Signature, *, has_probabilities: bool) -> None:
        self._classes = signature.classes
        self._make = {
            tensor.name: (tensor, self._maker(tensor, signature, has_probabilities))
            for tensor in signature.outputs
        }
        self._all = tuple(self._make)

    def chosen(self, wanted: Any) -> Sequence[str]:
        """Return the names that the request's `outputs` ask for; all when it does not say."""
        if wanted is None:
            return self._all
        if type(wanted) is not list:
            raise RequestInvalid("outputs: a list is wanted")
        names: list[str] = []
        for index, item in enumerate(wanted):
            name = item.get("name") if type(item) is dict else None
            if type(name) is not str or name not in self._make:
                known = ", ".join(self._all)
                raise RequestInvalid(f"outputs[{index}].name: is not an output; there is {known}")
            if name in names:
                raise RequestInvalid(f"outputs[{index}].name: {name!r} is asked for twice")
            parameters = item.get("parameters")
            if parameters is not None and type(parameters) is not dict:
                raise RequestInvalid(f"outputs[{index}].parameters: an object is wanted")
            if parameters is not None and parameters.get("binary_data"):
                raise RequestInvalid(
                    f"outputs[{index}].parameters.binary_data: only JSON is answered"
                )
            names.append(name)
        return names or self._all

    def tensors(self, names: Sequence[str], prediction: Prediction, rows: slice) -> list[Any]:
        """Return the tensors of `rows` of a prediction, data flat and row-major."""
        count = rows.stop - rows.start
        found = []
        for name in names:
            tensor, make = self._make[name]
            found.append(
                {
                    "name": name,
                    "datatype": tensor.datatype,
                    "shape": [count, *tensor.shape],
                    "data": make(prediction, rows),
                }
            )
        return found

    def plain(self, prediction: Prediction, rows: slice) -> Any:
        """Return one class or value a row, as the first scalar output gives it."""
        for tensor, make in self._make.values():
            if not tensor.shape:
                return make(prediction, rows)
        if prediction.values is not None:
            return prediction.values[rows]
        return [self._classes[index] for index in _part(prediction.predicted, rows).tolist()]

    def _maker(self, tensor: Tensor, signature: Signature, has_probabilities: bool) -> _Make:
        place = f"signature.json: outputs: {tensor.name}"
        if signature.task == "regression":
            if prod(tensor.shape) == 1 and tensor.datatype in ("FP32", "FP64"):
                return lambda prediction, rows: _part(prediction.values, rows)
        elif not tensor.shape:
            return self._class_maker(tensor, place)
        elif tensor.shape == [len(signature.classes)] and tensor.datatype in ("FP32", "FP64"):
            if not has_probabilities:
                raise ArtifactRefused("OutputsDiffer", f"{place}: the model has no predict_proba")
            return lambda prediction, rows: _part(prediction.probabilities, rows).ravel()
        raise ArtifactRefused("OutputsDiffer", f"{place}: neither class, probabilities nor value")

    def _class_maker(self, tensor: Tensor, place: str) -> _Make:
        try:
            shown: list[Any]
            if tensor.datatype == "BYTES":
                shown = self._classes
            elif tensor.datatype == "BOOL":
                shown = [name.lower() in ("true", "1") for name in self._classes]
            else:
                shown = [int(float(name)) for name in self._classes]
        except (ValueError, OverflowError) as error:
            raise ArtifactRefused("OutputsDiffer", f"{place}: classes are not numbers") from error
        return lambda prediction, rows: [
            shown[index] for index in _part(prediction.predicted, rows).tolist()
        ]


def _part(values: Any, rows: slice) -> Any:
    return values[rows]
