"""The messages that answer."""

from __future__ import annotations

from typing import Any, Final

from trimtab.serving.grpc.contents import write_contents
from trimtab.serving.grpc.protocol import Messages
from trimtab.serving.inference.reading import Asked
from trimtab.serving.inference.served import Served
from trimtab.serving.model.base import Prediction

_LARGEST_SIGNED: Final = 2**63 - 1


class Writer:
    """Writes answers of one process."""

    def __init__(self, messages: Messages) -> None:
        self._infer = messages.of("ModelInferResponse")

    def infer(
        self,
        served: Served,
        asked: Asked,
        parameters: dict[str, Any],
        prediction: Prediction,
        rows: slice,
    ) -> bytes:
        """Return the answer to one request, of which `rows` of a prediction are.

        Outputs that are wanted binary are raw; either all are or none.
        """
        identity = served.identity
        message = self._infer(
            model_name=identity.model, model_version=identity.version, id=asked.id or ""
        )
        for name, value in parameters.items():
            _set(message.parameters[name], value)
        tensors, raw = served.outputs.tensors(asked.outputs, prediction, rows)
        for tensor in tensors:
            name, datatype = tensor["name"], tensor["datatype"]
            output = message.outputs.add(name=name, datatype=datatype, shape=tensor["shape"])
            if "data" in tensor:
                write_contents(output.contents, datatype, tensor["data"])
        message.raw_output_contents.extend(raw)
        written: bytes = message.SerializeToString()
        return written


def _set(parameter: Any, value: Any) -> None:
    if isinstance(value, bool):
        parameter.bool_param = value
    elif isinstance(value, str):
        parameter.string_param = value
    elif isinstance(value, float):
        parameter.double_param = value
    elif isinstance(value, int) and value > _LARGEST_SIGNED:
        parameter.uint64_param = value
    elif isinstance(value, int):
        parameter.int64_param = value
