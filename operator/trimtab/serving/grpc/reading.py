"""What a `ModelInferRequest` asks for, as the reader of JSON requests says it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from google.protobuf.message import DecodeError

from trimtab.serving.errors import RequestInvalid
from trimtab.serving.grpc.contents import RAW, read_column
from trimtab.serving.grpc.wire_bounds import check_message, malformed
from trimtab.serving.inference.outputs import Outputs, Wanted
from trimtab.serving.inference.reading import MAX_ID_CHARACTERS, Asked
from trimtab.serving.inference.validation import Inputs

_MOST_OUTPUTS: Final = 1000
_MEMORY: Final = "shared_memory_region"
# They say where the other transport has its bytes.
_HTTP_ONLY: Final = ("binary_data", "binary_data_output", "binary_data_size")


class Call(NamedTuple):
    """A request that fits; `is_raw`: with raw inputs, and so with raw outputs."""

    asked: Asked
    is_raw: bool


def parsed(kind: Any, body: bytes) -> Any:
    """Return the message that `body` is; raise RequestInvalid."""
    try:
        return kind.FromString(body)
    except DecodeError as error:
        raise RequestInvalid(f"the message is no {kind.DESCRIPTOR.name}") from error


def parsed_infer(kind: Any, body: bytes, inputs: Inputs) -> Any:
    """Return the `ModelInferRequest` that `body` is; raise RequestInvalid."""
    check_message(body, inputs.bounds.commas)
    try:
        return kind.FromString(body)
    except DecodeError as error:
        raise malformed() from error


def read_call(message: Any, inputs: Inputs, outputs: Outputs) -> Call:
    """Return what a `ModelInferRequest` asks for; raise RequestInvalid with the field named."""
    if len(message.id) > MAX_ID_CHARACTERS:
        raise RequestInvalid(f"id: a string of at most {MAX_ID_CHARACTERS} is wanted")
    is_raw = len(message.raw_input_contents) > 0
    parameters = _plain(message.parameters)
    wanted = [
        one if one.is_binary is is_raw else Wanted(one.name, is_raw, one.top)
        for one in outputs.chosen(_outputs(message), parameters)
    ]
    rows = inputs.read(_inputs(message, len(inputs.tensors), is_raw), column=read_column)
    return Call(Asked(message.id or None, parameters, wanted, rows), is_raw)


def _inputs(message: Any, most: int, is_raw: bool) -> list[dict[str, Any]]:
    sent = message.inputs
    if len(sent) > most:
        raise RequestInvalid(f"inputs: {len(sent)} tensors, the model has {most}")
    raw = message.raw_input_contents
    if is_raw and len(raw) != len(sent):
        raise RequestInvalid(f"{RAW}: {len(raw)} items, there are {len(sent)} inputs")
    items: list[dict[str, Any]] = []
    for index, one in enumerate(sent):
        item = {"name": one.name, "datatype": one.datatype, "shape": list(one.shape)}
        if _MEMORY in one.parameters:
            raise RequestInvalid(
                f"inputs[{index}].parameters.{_MEMORY}: no memory is shared with clients here"
            )
        if not is_raw:
            item["contents"] = one.contents
        elif one.HasField("contents"):
            raise RequestInvalid(f"inputs[{index}].contents: is given beside {RAW}")
        else:
            item["raw"] = f"{RAW}[{index}]", raw[index]
        items.append(item)
    return items


def _outputs(message: Any) -> list[dict[str, Any]] | None:
    wanted = message.outputs
    if not wanted:
        return None
    if len(wanted) > _MOST_OUTPUTS:
        raise RequestInvalid(f"outputs: at most {_MOST_OUTPUTS} can be asked for")
    for index, one in enumerate(wanted):
        if _MEMORY in one.parameters:
            raise RequestInvalid(
                f"outputs[{index}].parameters.{_MEMORY}: no memory is shared with clients here"
            )
    return [{"name": one.name, "parameters": _plain(one.parameters)} for one in wanted]


def _plain(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of parameters; one that says nothing is None."""
    plain: dict[str, Any] = {}
    for name, parameter in parameters.items():
        choice = parameter.WhichOneof("parameter_choice")
        plain[name] = None if choice is None else getattr(parameter, choice)
    for name in _HTTP_ONLY:
        plain.pop(name, None)
    return plain
